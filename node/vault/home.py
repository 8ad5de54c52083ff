"""The folder that holds a vault: its files' names, and the lock of the one process in it.

Belongs here: where things are in a home, and who may touch them.
Never here: what stands in the files.

    vault              header: how a passphrase opens the rest   (``keyring``)
    index.db           SQLCipher database, with -wal and -shm    (``database``)
    keyslots           secrets that can be destroyed             (``keyslots``)
    blobs/             sealed files                              (``blobs``)
    failed-unlocks     how often a passphrase was wrong
    lock               held by the process that uses the vault
    unfinished         there only while a vault is being made
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from node.vault import keyring, keyslots
from node.vault.errors import (
    DamagedError,
    VaultBusyError,
    VaultExistsError,
    VaultMissingError,
    storage_errors,
)
from node.vault.files import (
    FILE_MODE,
    FOLDER_MODE,
    create_file,
    make_folder,
    sync_folder,
    write_all,
)


class Home:
    """The places in one home, and what state they are in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = folder / keyring.HEADER_NAME
        self.index = folder / "index.db"
        self.keyslots = folder / keyslots.FILE_NAME
        self.blobs = folder / "blobs"
        self._lock = folder / "lock"
        self._unfinished = folder / "unfinished"

    def begin(self) -> HomeLock:
        """Make an empty home for a new vault, and lock it; `complete` ends what this begins.

        What a crash left of an earlier attempt is removed. Raises VaultExistsError,
        VaultBusyError, DamagedError where only the header is gone, StorageFullError,
        StorageFailedError.
        """
        with storage_errors():
            make_folder(self.folder)
            self.folder.chmod(FOLDER_MODE)
        lock = self.lock()
        try:
            with storage_errors():
                if self._unfinished.exists():
                    self._remove_unfinished()
                else:
                    self._refuse_existing()
                    os.close(create_file(self._unfinished))
                os.close(create_file(self.index))
                sync_folder(self.folder)
        except BaseException:
            lock.release()
            raise
        return lock

    def complete(self) -> None:
        """Say that the vault is whole. Until then it counts as never made."""
        with storage_errors():
            self._unfinished.unlink()
            sync_folder(self.folder)

    def require(self) -> None:
        """Raise VaultMissingError unless there is a vault, DamagedError where a part is gone."""
        if self._unfinished.exists() or not (self.header.exists() or self.index.exists()):
            raise VaultMissingError("there is no vault in this folder", hint="safelight init")
        if not self.header.exists():
            raise DamagedError("header", "the file is missing", hint="restore it from a backup")
        if not self.index.exists():
            raise DamagedError("index", "the file is missing", hint="restore it from a backup")

    def lock(self) -> HomeLock:
        """Take the home for this process; VaultBusyError where another one has it."""
        with storage_errors():
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._lock, flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).strip()
            os.close(descriptor)
            raise VaultBusyError(int(text) if text.isdigit() else None) from None
        return HomeLock(descriptor)

    def exposed(self) -> list[Path]:
        """Return what of the home other users of the machine may touch."""
        paths = [self.folder, self.blobs, *self._files()]
        return [path for path in paths if path.exists() and path.stat().st_mode & 0o077]

    def _refuse_existing(self) -> None:
        if self.header.exists():
            raise VaultExistsError("there is a vault in this folder already")
        if any(path.exists() for path in (self.index, self.keyslots, self.blobs)):
            raise DamagedError("header", "parts of a vault are here, and its header is missing")

    def _remove_unfinished(self) -> None:
        for path in self._files():
            path.unlink(missing_ok=True)
        if self.blobs.exists():
            shutil.rmtree(self.blobs)

    def _files(self) -> list[Path]:
        index = [self.index.with_name(self.index.name + end) for end in ("", "-wal", "-shm")]
        marks = [self.folder / name for name in (keyring.FAILURES_NAME, keyring.ROLL_NAME)]
        return [self.header, *index, self.keyslots, *marks]


class HomeLock:
    """A home taken by this process, until `release` or the process's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        write_all(descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let other processes have the home."""
        os.close(self._descriptor)
