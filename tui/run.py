"""One run of the terminal UI in this process.

Belongs here: reading the few options it takes, and what must happen before the framework loads.
Never here: screens (``app``) or what the node does.
"""

from __future__ import annotations

import os
from pathlib import Path

from tui.safety import forget_debugging


def run(arguments: list[str]) -> int:
    """Open the terminal UI for the home that the arguments name; return its exit code."""
    forget_debugging(os.environ)
    home, passphrase_file = _options(arguments)
    from tui.app import SafelightApp

    app = SafelightApp(home=home, passphrase_file=passphrase_file)
    app.run()
    return app.return_code or 0


def _options(arguments: list[str]) -> tuple[Path, Path | None]:
    from node.control.runtime import default_home

    values: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        values[name] = value if equals else rest.pop(0)
    home = values.get("--home")
    secret = values.get("--passphrase-file") or os.environ.get("SAFELIGHT_PASSPHRASE_FILE")
    return (
        (Path(home) if home else default_home()).expanduser().absolute(),
        Path(secret).expanduser() if secret else None,
    )
