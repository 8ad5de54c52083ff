"""One run of the terminal UI in this process.

Belongs here: reading the few options it takes, and what must happen before the framework loads.
Never here: screens (``app``) or what the node does.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tui import garbage
from tui.safety import forget_debugging

_TICKS: Final = 240
"""A second, while something changes; none while nothing does."""


def run(arguments: list[str]) -> int:
    """Open the terminal UI for the home that the arguments name; return its exit code."""
    garbage.put_off()
    forget_debugging(os.environ)
    # The framework draws at the next tick after a key: a person feels sixteen milliseconds less.
    os.environ["TEXTUAL_FPS"] = str(_TICKS)
    home, passphrase_file = _options(arguments)
    answer = _ask_terminal()
    from tui.app import SafelightApp
    from tui.pictures.terminal import TRUE_COLOURS, has_true_colours

    name = answer()
    if has_true_colours(name):
        # Over SSH the variable that says so is left behind.
        os.environ.update(TRUE_COLOURS)
    app = SafelightApp(home=home, passphrase_file=passphrase_file, terminal=name)
    if sys.platform != "win32":
        from tui.driver import TerminalDriver

        app.driver_class = TerminalDriver
    app.run()
    return app.return_code or 0


def _ask_terminal() -> Callable[[], str]:
    """Begin to ask the terminal for its name while the program loads; return how to get it."""
    from tui.pictures.terminal import ask_name, is_known, patience_with

    if is_known(os.environ):
        return str
    names: list[str] = []
    patience_s = patience_with(os.environ)
    asking = threading.Thread(target=lambda: names.append(ask_name(sys.stdin.fileno(), patience_s)))
    asking.start()

    def answer() -> str:
        asking.join()
        return names[0] if names else ""

    return answer


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
