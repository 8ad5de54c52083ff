"""Connections to the encrypted index, and its schema's versions.

Belongs here: how SQLCipher is opened and set, the thread a connection lives in,
and schema migrations.
Never here: transactions, queries, or what a table means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

import aiosqlite
import sqlcipher3.dbapi2 as sqlcipher

from node.vault.errors import StorageFailedError, index_errors
from node.vault.records import Connection
from protocol.errors import UnsupportedError

T = TypeVar("T")


class SqlConnection(Connection, Protocol):
    """An open index in the calling thread. Its errors are sqlcipher3.dbapi2's, not sqlite3's."""

    in_transaction: bool

    def executescript(self, script: str, /) -> object:
        """Run statements, each in the transaction that is open then."""
        ...

    def close(self) -> None:
        """Close; the last connection of a file also folds its WAL in."""
        ...


class ConnectionThread(aiosqlite.Connection):
    """A connection with a thread of its own, which runs whole functions on it."""

    def __init__(self, connector: Callable[[], Any]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # A process that ends without closing must end; what was committed is on disk.
        self._thread.daemon = True

    async def run(self, function: Callable[[SqlConnection], T]) -> T:
        """Return what function returns, run in the connection's thread."""
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return result


async def connect(path: Path, key: bytes, *, read_only: bool = False) -> ConnectionThread:
    """Return a connection in a thread of its own; raises as `open_index`."""

    def connector() -> Any:  # aiosqlite names sqlite3's class here
        return open_index(path, key, read_only=read_only)

    thread = ConnectionThread(connector)
    await thread
    return thread


_SETTINGS: Final = (
    "PRAGMA cipher_compatibility = 4",
    # Wiping every freed page costs four fifths of the append rate; core dumps are off instead.
    "PRAGMA cipher_memory_security = OFF",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: through the drive's cache; elsewhere without effect
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32768",  # KiB
    "PRAGMA busy_timeout = 500",  # ms; only emptying the WAL ever waits for another connection
    # A checkpoint inside COMMIT hides its errors; the database runs it and looks at them.
    "PRAGMA wal_autocheckpoint = 0",
)


def open_index(path: Path, key: bytes, *, read_only: bool) -> SqlConnection:
    """Open the index at path, which exists, with its 32-byte key, in the calling thread.

    Raises DamagedError where its first pages do not authenticate, StorageFailedError where it
    cannot be opened.
    """
    with index_errors():
        connection = open_unread(path, key, read_only=read_only)
        try:
            for setting in _SETTINGS:
                connection.execute(setting)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not read_only:
                _require_wal(connection)
        except (sqlcipher.Error, StorageFailedError):
            connection.close()
            raise
    return connection


def _require_wal(connection: SqlConnection) -> None:
    # Where it cannot, SQLite says so by naming the old mode, and would go on in it.
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StorageFailedError("the vault's disk takes no write-ahead log")


def open_unread(path: Path, key: bytes, *, read_only: bool) -> SqlConnection:
    """Open the index without reading a page: for looking at one that may be damaged."""
    mode = "ro" if read_only else "rw"
    connection: SqlConnection = sqlcipher.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,  # transactions are begun by name
        cached_statements=512,
    )
    # SQLCipher would write to stderr, and what failed is in the exception.
    connection.execute("PRAGMA cipher_log_level = NONE")
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    return connection


# Migrations -------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


def read_migrations(folder: Path) -> tuple[str, ...]:
    """Return the scripts of folder; the one at place n takes a schema from version n to n + 1."""
    names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1)), "a gap"
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


MIGRATIONS: Final = read_migrations(Path(__file__).parent / "sql")
"""Every version of the schema this build knows."""


def migrate(connection: SqlConnection, scripts: Sequence[str] = MIGRATIONS) -> None:
    """Bring the schema to the newest version, each step in one transaction.

    Raises UnsupportedError where a newer Safelight has written the index.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        raise UnsupportedError(
            f"the vault has schema {version}, this build knows {len(scripts)}",
            hint="use the newer Safelight that wrote it",
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlcipher.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
