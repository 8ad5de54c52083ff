"""Every error of the vault, as one drawn tree.

Belongs here: classes, each with a stable ``code``, and what the machine's own
errors mean for a vault.
Never here: text for one call site, or what a command does about an error.

    SafelightError
    └── VaultError
        ├── VaultMissingError         there is no vault in this folder
        ├── VaultExistsError          there is one already
        ├── VaultBusyError            another process holds it
        ├── WrongPassphraseError      the passphrase or recovery phrase opens nothing
        ├── DamagedError              stored bytes are not what was written
        ├── StorageFullError          no space; works again when there is some
        ├── StorageBusyError          no file or memory to give just now; may work later
        └── StorageFailedError        the disk failed; nothing is tried again

Match by class or by ``code``, never by text.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlcipher3.dbapi2 as sqlcipher

from protocol.errors import SafelightError


class VaultError(SafelightError):
    """Base of every error of the vault."""

    code = "vault"


class VaultMissingError(VaultError):
    """There is no vault in this folder."""

    code = "no_vault"


class VaultExistsError(VaultError):
    """There is a vault in this folder already."""

    code = "vault_exists"


class VaultBusyError(VaultError):
    """Another process holds the vault."""

    code = "vault_busy"

    def __init__(self, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(f"the vault is in use by {holder}")
        self.pid = pid
        """Process id of the holder, None where it cannot be read."""


class WrongPassphraseError(VaultError):
    """The passphrase or recovery phrase opens nothing. Says no more, by intent."""

    code = "wrong_passphrase"


class DamagedError(VaultError):
    """Stored bytes are not what was written, or are gone."""

    code = "damaged"

    def __init__(self, what: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{what}: {message}", hint=hint)
        self.what = what
        """``header``, ``index``, ``keyslots`` or ``blob``."""
        self.reason = message
        """What is wrong with it, without naming it again."""


class StorageFullError(VaultError):
    """There is no space left. Nothing was stored; the same call works when there is space."""

    code = "storage_full"


class StorageBusyError(VaultError):
    """The system has no file or memory to give just now. The same call may work later."""

    code = "storage_busy"


class StorageFailedError(VaultError):
    """Reading, writing or syncing failed. What the disk holds is unknown, so nothing is retried."""

    code = "storage_failed"


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn an OSError inside into the storage error that it means."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError("no space left on the vault's disk") from error
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise StorageBusyError(f"the system is short: {error.strerror}") from error
        raise StorageFailedError(f"the vault's disk failed: {error.strerror}") from error


# Result codes of SQLite (https://www.sqlite.org/rescode.html); the low byte is the primary code.
_FULL: Final = 13
_SHARED_MEMORY_SIZE: Final = 10 | (19 << 8)
"""Growing the WAL's index file failed: it is a sparse file, so this is a full disk."""
_DAMAGED: Final = frozenset((11, 26))
"""CORRUPT and NOTADB: what SQLCipher says of a page that does not authenticate."""
_FAILED: Final = frozenset((7, 8, 10, 14, 15))
"""NOMEM, READONLY, IOERR, CANTOPEN, PROTOCOL."""


def index_error(error: sqlcipher.Error) -> VaultError | None:
    """Return what an error of the index says about the disk; None where it says nothing."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code == _SHARED_MEMORY_SIZE or code & 0xFF == _FULL:
        return StorageFullError("no space left on the vault's disk")
    if code & 0xFF in _DAMAGED:
        return DamagedError("index", "a part of it does not authenticate", hint="run a check")
    if code & 0xFF in _FAILED:
        return StorageFailedError(f"the vault's disk failed: {error.sqlite_errorname}")
    return None


@contextmanager
def index_errors() -> Iterator[None]:
    """Turn an error of the index inside into what it says about the disk, where it says some."""
    try:
        yield
    except sqlcipher.Error as error:
        failure = index_error(error)
        if failure is None:
            raise
        raise failure from error
