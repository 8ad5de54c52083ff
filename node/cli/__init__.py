"""The safelight command: one file per command."""
