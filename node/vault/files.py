"""Files that are only ours, and that survive a power cut.

Belongs here: private folders and files, syncing, atomic replacement.
Never here: what stands in a file.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.vault.errors import StorageFailedError, storage_errors

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


def sync(descriptor: int) -> None:
    """Return once what was written to descriptor survives a power cut."""
    if sys.platform == "darwin":
        # There fsync leaves the data in the drive's cache.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Return once names made, renamed and removed in folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make folder, and what is missing above it, for us alone and durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        sync_folder(folder.parent)


def create_file(path: Path) -> int:
    """Return a descriptor for a new empty file of ours; FileExistsError where there is one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, FILE_MODE)


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write every byte of data at the descriptor's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_file(path: Path, data: bytes) -> None:
    """Make data the content of path: after a crash either the old or the new one is there.

    Raises StorageFullError or StorageFailedError; the old content is then still there.
    """
    temporary = path.with_name(path.name + ".tmp")
    with storage_errors():
        temporary.unlink(missing_ok=True)
        descriptor = create_file(temporary)
        try:
            write_all(descriptor, data)
            sync(descriptor)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        temporary.rename(path)
        sync_folder(path.parent)


class FailStop:
    """Lets nothing more be written once an error has left the disk's content unknown."""

    def __init__(self) -> None:
        self._failed = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn an OSError inside into StorageFullError, or into StorageFailedError for good."""
        if self._failed:
            raise StorageFailedError("the vault's disk failed before")
        try:
            with storage_errors():
                yield
        except StorageFailedError:
            self._failed = True
            raise
