"""The `safelight` command of a whole installation: the terminal UI, or a command.

Belongs here: choosing between the two. Nothing heavy is imported before the choice.
Never here: what either does.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

_SHARED_WITH_VALUE = ("--home", "--passphrase-file")
_COMPLETION = "_SAFELIGHT_COMPLETE"
"""Set by the script of `safelight completion` where a shell asks what may come next."""


def main() -> NoReturn:
    """Open the terminal UI where no command is named and a person sits there; else run it."""
    arguments = sys.argv[1:]
    if _names_no_command(arguments) and _COMPLETION not in os.environ and _somebody_sits_there():
        from tui.run import run

        code = run(arguments)
        # Nothing is left to do, and taking everything apart piece by piece takes a while.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    from node.cli.main import main as command_line

    command_line()


def _somebody_sits_there() -> bool:
    """Say whether all three streams are a terminal: a file would get the pictures in the clear."""
    return all(one is not None and one.isatty() for one in (sys.stdin, sys.stdout, sys.stderr))


def _names_no_command(arguments: list[str]) -> bool:
    """Say whether the arguments are nothing but where the vault and its passphrase are."""
    rest = list(arguments)
    while rest:
        first = rest.pop(0)
        name, equals, _ = first.partition("=")
        if name not in _SHARED_WITH_VALUE:
            return False
        if not equals:
            if not rest:
                return False
            rest.pop(0)
    return True
