"""Looking at each part of a vault for damage; ``node.vault.check`` puts them together."""
