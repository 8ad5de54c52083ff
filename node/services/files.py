"""Pictures as files outside the vault, on a person's explicit request.

Belongs here: making a new file that never replaces one and never leaves its folder.
Never here: deciding who may have a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from node.errors import NodeError

_MAX_TRIES: Final = 10_000
"""Numbered names tried before giving up on a folder."""

_MAX_NAME_BYTES: Final = 200
"""Bytes of a file name before its number: file systems take 255."""

_MAX_ENDING: Final = 12
"""Characters behind the last full stop that are still an ending."""

_RESERVED: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10))]
)
"""Device names of other systems: such a file must not travel there."""


def safe_file_name(name: str) -> str:
    """Return a file name for a picture's name, which may come from a peer."""
    kept = "".join("_" if character in '/\\:*?"<>|' or ord(character) < 32 else character
                   for character in name)  # fmt: skip
    stem, dot, ending = kept.strip(". ").rpartition(".")
    if not dot or len(ending) > _MAX_ENDING:
        stem, dot, ending = stem + dot + ending, "", ""
    if not stem or stem.split(".")[0].casefold() in _RESERVED:
        stem = f"picture_{stem}"
    room = _MAX_NAME_BYTES - len((dot + ending).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + ending


def make_folder(folder: Path) -> None:
    """Make a folder for files to be written to; NodeError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NodeError(
            f"cannot use the folder {folder}: {error.strerror}",
            code="write_failed",
            hint="name another folder",
        ) from None


def write_new_file(folder: Path, name: str, data: bytes) -> Path:
    """Write data to a new file of folder, numbered where the name is taken; return its path.

    The folder is made if it is missing. The file is durable on return; a file that
    cannot be written whole is removed.
    """
    make_folder(folder)
    stem, dot, ending = safe_file_name(name).rpartition(".")
    if not dot:
        stem, ending = ending, ""
    for number in range(_MAX_TRIES):
        path = folder / (stem + (f"-{number}" if number else "") + dot + ending)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            continue
        except OSError as error:
            raise NodeError(f"cannot write {path}: {error.strerror}", code="write_failed") from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            path.unlink(missing_ok=True)
            raise NodeError(
                f"cannot write {path}: {error.strerror}",
                code="write_failed",
                hint="free some space, or choose another folder",
            ) from None
        return path
    raise NodeError(f"{folder} has too many files of that name", code="write_failed")
