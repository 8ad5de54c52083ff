"""Where a passphrase comes from: a file or a prompt, never argv or an environment value.

Belongs here: reading secrets that a person types or keeps in a file.
Never here: judging whether they are right.
"""

from __future__ import annotations

import getpass
import os
import stat
from pathlib import Path
from typing import Final

from node.cli import diagnostics
from node.cli.common import Settings
from node.errors import LockedError, UsageError

_MAX_FILE_BYTES: Final = 64 * 1024
"""More is no passphrase file but a mistake."""

MIN_LETTERS: Final = 8
"""Of a new passphrase. Argon2id makes each guess cost a second, so that length is what counts;
NIST SP 800-63B draws the same line."""

_FILE_HINT: Final = "name a file with --passphrase-file or $SAFELIGHT_PASSPHRASE_FILE"


def read_passphrase(settings: Settings) -> str:
    """Return the vault's passphrase from its file or from a prompt.

    LockedError where there is no file and nobody to ask, UsageError for a file that
    cannot be one.
    """
    path = _passphrase_file(settings)
    if path is not None:
        return read_secret_file(path, "passphrase")
    return ask("passphrase: ")


def is_at_hand(settings: Settings) -> bool:
    """Say whether `read_passphrase` has a file to read or a person to ask."""
    return _passphrase_file(settings) is not None or diagnostics.interactive()


def new_passphrase(settings: Settings, *, environment: bool = True) -> str:
    """Return a new passphrase: from its file, or asked for twice.

    ``environment`` lets $SAFELIGHT_PASSPHRASE_FILE name the file.
    """
    path = _passphrase_file(settings) if environment else settings.passphrase_file
    if path is not None:
        passphrase = read_secret_file(path, "passphrase")
        if len(passphrase) < MIN_LETTERS:
            diagnostics.warn(
                f"a passphrase of fewer than {MIN_LETTERS} letters is soon guessed",
                hint="four or five random words are easy to keep in mind",
            )
        return passphrase
    passphrase = ask("new passphrase: ")
    if len(passphrase) < MIN_LETTERS:
        raise UsageError(
            f"the passphrase has fewer than {MIN_LETTERS} letters",
            hint="four or five random words are easy to keep in mind",
        )
    if ask("once more: ") != passphrase:
        raise UsageError("the two are not the same")
    return passphrase


def read_secret_file(path: Path, what: str) -> str:
    """Return the first line of a file, with a warning where others may read the file."""
    try:
        with path.expanduser().open("rb") as file:
            about = os.fstat(file.fileno())
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the {what} file {path}: {error.strerror}") from None
    if stat.S_ISREG(about.st_mode) and about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        diagnostics.warn(f"others may read the {what} file", hint=f"chmod 600 {path}")
    secret = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not secret or len(data) > _MAX_FILE_BYTES:
        raise UsageError(f"no {what} on the first line of {path}")
    try:
        return secret.decode()
    except UnicodeDecodeError:
        raise UsageError(f"the {what} in {path} is not UTF-8") from None


def ask(prompt: str) -> str:
    """Ask for a secret without showing it; LockedError where nobody can be asked."""
    if not diagnostics.interactive():
        raise LockedError("the passphrase is needed and there is no terminal", hint=_FILE_HINT)
    try:
        secret = getpass.getpass(prompt)
    except EOFError:
        raise LockedError("no passphrase was given", hint=_FILE_HINT) from None
    if not secret:
        raise LockedError("no passphrase was given", hint=_FILE_HINT)
    return secret


def _passphrase_file(settings: Settings) -> Path | None:
    if settings.passphrase_file is not None:
        return settings.passphrase_file
    named = os.environ.get("SAFELIGHT_PASSPHRASE_FILE")
    return Path(named) if named else None
