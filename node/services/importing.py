"""Files that are to become pictures: which there are, what lies beside them, their removal.

Belongs here: everything that an import does with files outside the vault.
Never here: decoding, sealing, or rows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from node.errors import NodeError
from protocol.identity import clean_text
from protocol.limits import MAX_NAME_BYTES, MIB
from protocol.primitives import Sha256

SIDECAR_ENDINGS: Final = frozenset([".xmp", ".aae", ".thm"])
"""Edits, edits of phones, and small pictures of films: files that belong to another one."""

_MAX_FILE_BYTES: Final = 512 * MIB
"""A file is held in memory once while it is imported."""

_MAX_SIDECAR_BYTES: Final = 16 * MIB
"""Edits with many brush strokes take a few MiB."""

_URI: Final = "file:///"
"""How a path starts whose bytes are no text; every other one is absolute."""


class ImportFileError(NodeError):
    """One file that cannot be imported; the rest goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that may be a picture."""

    path: Path
    sidecars: tuple[Path, ...]
    """Files that belong to it and lie beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """A file that belongs to a picture, read."""

    path: Path
    name: str
    data: bytes = field(repr=False)


Failure = dict[str, str]
"""A file that is not imported as JSON has it: path, code, message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of one file."""

    image: dict[str, Any]
    failed: list[Failure]
    """Sidecars that were left out."""
    spent: dict[Path, bytes | None]
    """Sidecars of a moved picture: the SHA-256 of each, None where no sound copy is kept."""


def failure(path: Path, code: str, message: str) -> Failure:
    """Return why a file is not imported, fit to be shown."""
    return {"path": shown(path), "code": code, "message": message}


def shown(path: Path) -> str:
    """Return a path as text, whatever its bytes are."""
    return clean_text(os.fsencode(path).decode(errors="replace"), 4096)


def name_of(path: Path) -> str:
    """Return a picture's name from its file's: never more than text."""
    return clean_text(os.fsencode(path.name).decode(errors="replace"), MAX_NAME_BYTES) or "unnamed"


def collect(paths: list[str]) -> tuple[list[Source], list[Failure]]:
    """Return the files below paths, each once and in order, and what cannot be looked at.

    A sidecar is no source of its own: it comes with the file that it belongs to.
    """
    files: dict[Path, None] = {}
    failed: list[Failure] = []

    def walk(folder: Path) -> Iterator[Path]:
        for base, folders, names in os.walk(folder, onerror=note):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            failed.extend(
                failure(link, "not_a_file", "a link to a folder: not followed")
                for link in (Path(base, name) for name in folders)
                if link.is_symlink()
            )
            for name in sorted(names):
                if not name.startswith("."):
                    yield Path(base, name)

    def note(error: OSError) -> None:
        failed.append(failure(Path(error.filename), "unreadable", error.strerror or "unreadable"))

    for path in map(_path_of, paths):
        try:
            if stat.S_ISDIR(path.stat().st_mode):
                files.update(dict.fromkeys(walk(path)))
            else:
                files[path] = None
        except FileNotFoundError:
            failed.append(failure(path, "not_found", "there is no such file"))
        except OSError as error:
            failed.append(failure(path, "unreadable", error.strerror or "unreadable"))
        except ValueError:
            failed.append(failure(path, "not_found", "no file can have such a name"))
    return _with_sidecars(list(files), failed), failed


def _path_of(text: str) -> Path:
    if text.startswith(_URI):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix("file://"))))
    return Path(text)


def _with_sidecars(files: list[Path], failed: list[Failure]) -> list[Source]:
    folders: dict[Path, dict[str, list[Path]]] = {}
    sources = []
    for path in files:
        if _is_sidecar(path.name):
            continue
        beside = folders.get(path.parent)
        if beside is None:
            beside = folders[path.parent] = _sidecars_in(path.parent)
        # Programs name them both ways: harbour.xmp, harbour.jpg.xmp.
        found = [one for owner in {path.stem, path.name} for one in beside.get(owner, ())]
        sources.append(Source(path=path, sidecars=tuple(sorted(found))))
    taken = {one for source in sources for one in source.sidecars}
    failed.extend(
        failure(path, "sidecar", "it belongs to a picture, which is not beside it")
        for path in files
        if _is_sidecar(path.name) and path not in taken
    )
    return sources


def _sidecars_in(folder: Path) -> dict[str, list[Path]]:
    """Return the sidecars of a folder by the name of what they belong to."""
    found: dict[str, list[Path]] = {}
    try:
        with os.scandir(folder) as entries:
            # Names are enough: a path for each of many files takes far longer.
            names = [entry.name for entry in entries]
    except OSError:
        return found
    for name in names:
        if _is_sidecar(name) and not name.startswith("."):
            found.setdefault(name.rpartition(".")[0], []).append(folder / name)
    return found


def _is_sidecar(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return stem != "" and (dot + ending).lower() in SIDECAR_ENDINGS


def read_file(path: Path, most: int = _MAX_FILE_BYTES) -> bytes:
    """Return the bytes, at most so many, of a regular file; ImportFileError for all else."""
    too_large = ImportFileError(f"larger than {most // MIB} MiB", code="too_large")
    try:
        # Not blocking: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImportFileError("not a regular file", code="not_a_file")
            if status.st_size > most:
                raise too_large
            data = file.read(most + 1)
    except OSError as error:
        raise ImportFileError(error.strerror or "unreadable", code="unreadable") from None
    if len(data) > most:
        raise too_large
    return data


def read_sidecars(paths: tuple[Path, ...]) -> tuple[list[Sidecar], list[Failure]]:
    """Return the sidecars that can be read, and why the others cannot."""
    read, failed = [], []
    for path in paths:
        try:
            data = read_file(path, _MAX_SIDECAR_BYTES)
        except ImportFileError as error:
            failed.append(failure(path, error.code, str(error)))
        else:
            read.append(Sidecar(path=path, name=name_of(path), data=data))
    return read, failed


def remove_unchanged(path: Path, sha256: bytes) -> str:
    """Remove a file that still has these bytes; return why it stays, or nothing."""
    try:
        if path.is_symlink():
            return "it is a link to the file"
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode) or _digest_of(file.fileno()) != sha256:
                return "it has changed meanwhile"
            # What is removed is a name: it must still be that of the bytes just read.
            if _state(os.lstat(path)) != _state(before):
                return "it has changed meanwhile"
            path.unlink()
    except OSError as error:
        return error.strerror or "it cannot be removed"
    return ""


def state_of(path: Path) -> tuple[int, ...] | None:
    """Return what differs once a file was written or replaced; None where it is gone."""
    try:
        return _state(path.stat())
    except OSError:
        return None


def _digest_of(descriptor: int) -> bytes:
    digest = Sha256()
    while piece := os.read(descriptor, MIB):
        digest.update(piece)
    return digest.digest()


def _state(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def remove_sidecars(sources: list[Source], imported: dict[Source, Imported]) -> list[Failure]:
    """Remove each sidecar whose pictures are all gone and have it; return those that stay."""
    owners: dict[Path, list[Source]] = {}
    for source in sources:
        for path in source.sidecars:
            owners.setdefault(path, []).append(source)
    stay = []
    for path, wanted_by in owners.items():
        if not all(one in imported and imported[one].image["moved"] for one in wanted_by):
            continue  # It still belongs to a picture that is there.
        if not all(path in imported[one].spent for one in wanted_by):
            continue  # It could not be read, which is among what failed.
        digests = {imported[one].spent[path] for one in wanted_by}
        digest = digests.pop()
        if digest is None or digests:
            stay.append(failure(path, "not_removed", "the vault has no sound copy of it"))
        elif why := remove_unchanged(path, digest):
            stay.append(failure(path, "not_removed", why))
    return stay
