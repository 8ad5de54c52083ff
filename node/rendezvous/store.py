"""What a rendezvous keeps on disk: one SQLite file, one connection, commits in groups.

Belongs here: every SQL statement of the server, transactions, what a full or failed disk means.
Never here: who may store what (``admission``, ``mailbox``).

A job runs in the connection's thread, in a savepoint of its own; jobs that come while one
transaction is being made durable share the next. A caller goes on only after the COMMIT that
holds its work. After a disk error nothing is tried again (docs/adr/0006).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

import sqlcipher3.dbapi2 as sqlite

from node.vault.connection import ConnectionThread, SqlConnection, migrate, read_migrations
from node.vault.errors import (
    StorageFailedError,
    StorageFullError,
    index_error,
    index_errors,
)
from node.vault.files import create_file, sync_folder
from protocol.errors import SafelightError
from protocol.limits import MAX_GROUP_COMMIT

T = TypeVar("T")
Job = Callable[[SqlConnection], T]

_MIGRATIONS: Final = read_migrations(Path(__file__).parent / "sql")

_SETTINGS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",  # KiB
)


class _Waiting(NamedTuple):
    job: Job[Any]
    future: asyncio.Future[Any]


class Store:
    """The server's database. Made by `open`, ended by `close`."""

    def __init__(self, connection: ConnectionThread, *, failed: Callable[[], None]) -> None:
        self._connection = connection
        self._failed = failed
        self._broken = False
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, *, failed: Callable[[], None]) -> Store:
        """Open the database at path, new where there is none.

        ``failed`` is called once the disk has failed: nothing can be stored any more.
        """
        with contextlib.suppress(FileExistsError):
            os.close(create_file(path))
            sync_folder(path.parent)
        connection = ConnectionThread(partial(_open, path))
        await connection
        try:
            await connection.run(partial(migrate, scripts=_MIGRATIONS))
        except BaseException:
            await connection.close()
            raise
        return cls(connection, failed=failed)

    async def close(self) -> None:
        """Let jobs end, then close."""
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._connection.close()

    async def run(self, job: Job[T]) -> T:
        """Return what a job returns, once it is durable.

        Raises what the job raises, and then it has changed nothing; StorageFullError where there
        is no space, StorageFailedError where the disk has failed.
        """
        if self._broken:
            raise StorageFailedError("the disk of the rendezvous failed before")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Waiting(job, future))
        if self._task is None:
            self._task = loop.create_task(self._commit(), name="store")
        return await future

    async def _commit(self) -> None:
        """Commit group after group until nothing waits."""
        while self._waiting:
            size = min(len(self._waiting), MAX_GROUP_COMMIT)
            group = [self._waiting.popleft() for _ in range(size)]
            results: list[tuple[Any, Exception | None]]
            try:
                results = await self._connection.run(
                    partial(_transaction, jobs=[one.job for one in group])
                )
            except StorageFullError as error:
                results = [(None, error)] * size
            except Exception as error:  # noqa: BLE001  what the disk holds is unknown
                self._broken = True
                results = [(None, error)] * size
                self._failed()
            for one, (value, raised) in zip(group, results, strict=True):
                if one.future.done():
                    continue
                if raised is not None:
                    one.future.set_exception(raised)
                else:
                    one.future.set_result(value)
        self._task = None


def _open(path: Path) -> Any:
    with index_errors():
        connection: SqlConnection = sqlite.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None
        )
        for setting in _SETTINGS:
            connection.execute(setting)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StorageFailedError("the disk of the rendezvous takes no write-ahead log")
    return connection


def _transaction(
    connection: SqlConnection, jobs: list[Job[Any]]
) -> list[tuple[Any, Exception | None]]:
    """Run jobs and commit; what one raises on purpose undoes that one alone."""
    results: list[tuple[Any, Exception | None]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            connection.execute("SAVEPOINT job")
            try:
                results.append((job(connection), None))
            except SafelightError as error:
                connection.execute("ROLLBACK TO job")
                results.append((None, error))
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except sqlite.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise index_error(error) or error from error
    return results


# Claims ------------------------------------------------------------------------------------------


def claims(connection: SqlConnection) -> list[str]:
    """Return every secret that nobody has claimed with."""
    return [secret for (secret,) in connection.execute("SELECT secret FROM claims").fetchall()]


def add_claim(connection: SqlConnection, secret: str) -> None:
    """Keep a new secret."""
    connection.execute("INSERT INTO claims VALUES (?)", (secret,))


def burn_claim(connection: SqlConnection, secret: str) -> None:
    """Forget a secret: somebody has claimed with it."""
    connection.execute("DELETE FROM claims WHERE secret = ?", (secret,))


# Admissions --------------------------------------------------------------------------------------


def teams(connection: SqlConnection) -> list[bytes]:
    """Return the signed admission in force of every team."""
    return [signed for (signed,) in connection.execute("SELECT signed FROM teams").fetchall()]


def put_team(connection: SqlConnection, team_id: bytes, signed: bytes) -> None:
    """Put an admission in force; what was pending starts anew."""
    connection.execute(
        "INSERT INTO teams VALUES (?, ?) ON CONFLICT DO UPDATE SET signed = excluded.signed",
        (team_id, signed),
    )
    connection.execute("DELETE FROM pending WHERE team_id = ?", (team_id,))


def pending(connection: SqlConnection, team_id: bytes, body_hash: bytes) -> bytes | None:
    """Return what was gathered for this body, or None."""
    row = connection.execute(
        "SELECT signed FROM pending WHERE team_id = ? AND body_hash = ?", (team_id, body_hash)
    ).fetchone()
    return None if row is None else bytes(row[0])


def put_pending(
    connection: SqlConnection, team_id: bytes, body_hash: bytes, signed: bytes, *, most: int
) -> None:
    """Keep what was gathered for a body; of more than ``most`` bodies the oldest goes."""
    connection.execute(
        "INSERT INTO pending (team_id, body_hash, signed) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET signed = excluded.signed",
        (team_id, body_hash, signed),
    )
    connection.execute(
        "DELETE FROM pending WHERE team_id = ? AND number NOT IN"
        " (SELECT number FROM pending WHERE team_id = ? ORDER BY number DESC LIMIT ?)",
        (team_id, team_id, most),
    )


# Slots -------------------------------------------------------------------------------------------


class SlotRow(NamedTuple):
    """A slot as it is kept."""

    number: int
    team_id: bytes
    key: bytes
    expires_at: int
    used: int
    """1 once its one circuit has been given away, else 0."""


def slots(connection: SqlConnection) -> list[SlotRow]:
    """Return every slot."""
    found = connection.execute("SELECT number, team_id, key, expires_at, used FROM slots")
    return [SlotRow(*row) for row in found.fetchall()]


def put_slot(connection: SqlConnection, slot: SlotRow) -> None:
    """Keep a slot; one of this number that is over makes room."""
    connection.execute("INSERT OR REPLACE INTO slots VALUES (?, ?, ?, ?, ?)", slot)


def use_slot(connection: SqlConnection, number: int) -> None:
    """Note that a slot's one circuit has been given away."""
    connection.execute("UPDATE slots SET used = 1 WHERE number = ?", (number,))


def drop_slot(connection: SqlConnection, number: int) -> None:
    """Forget a slot."""
    connection.execute("DELETE FROM slots WHERE number = ?", (number,))


def drop_old_slots(connection: SqlConnection, now: int) -> None:
    """Forget the slots whose time is over."""
    connection.execute("DELETE FROM slots WHERE expires_at <= ?", (now,))


# Mail --------------------------------------------------------------------------------------------


class Usage(NamedTuple):
    """How much waits."""

    mails: int
    size: int


def has_mail(
    connection: SqlConnection, team_id: bytes, sender: bytes, recipient: bytes, mail_id: bytes
) -> bool:
    """Say whether this very mail waits already."""
    found = connection.execute(
        "SELECT 1 FROM mail WHERE team_id = ? AND sender = ? AND recipient = ? AND mail_id = ?",
        (team_id, sender, recipient, mail_id),
    )
    return found.fetchone() is not None


def sent_by(connection: SqlConnection, team_id: bytes, sender: bytes) -> Usage:
    """Return how much of one sender waits, whoever it is for."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM mail WHERE team_id = ? AND sender = ?",
        (team_id, sender),
    ).fetchone()
    return Usage(*row)


def waiting_for(connection: SqlConnection, team_id: bytes, recipient: bytes) -> Usage:
    """Return how much waits for one recipient."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM mail WHERE team_id = ? AND recipient = ?",
        (team_id, recipient),
    ).fetchone()
    return Usage(*row)


def all_mail(connection: SqlConnection) -> Usage:
    """Return how much waits in all."""
    return Usage(*connection.execute("SELECT mails, size FROM total").fetchone())


def add_mail(
    connection: SqlConnection,
    *,
    team_id: bytes,
    sender: bytes,
    recipient: bytes,
    mail_id: bytes,
    expires_at: int,
    sealed: bytes,
) -> None:
    """Keep a mail."""
    connection.execute(
        "INSERT INTO mail (team_id, sender, recipient, mail_id, expires_at, size, sealed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (team_id, sender, recipient, mail_id, expires_at, len(sealed), sealed),
    )


def mail_after(
    connection: SqlConnection, team_id: bytes, recipient: bytes, after: int, now: int, *, most: int
) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the next mails of a recipient, oldest first."""
    found = connection.execute(
        "SELECT number, sealed FROM mail WHERE team_id = ? AND recipient = ? AND number > ?"
        " AND expires_at > ? ORDER BY number LIMIT ?",
        (team_id, recipient, after, now, most),
    )
    # One after the other: an answer holds few of what may be megabytes.
    while (row := found.fetchone()) is not None:
        yield row


def drop_mail(
    connection: SqlConnection, team_id: bytes, recipient: bytes, numbers: Iterable[int]
) -> int:
    """Drop mails that their recipient holds; return how many there were."""
    return sum(
        connection.execute(
            "DELETE FROM mail WHERE number = ? AND team_id = ? AND recipient = ?",
            (number, team_id, recipient),
        ).rowcount
        for number in numbers
    )


def drop_members(connection: SqlConnection, team_id: bytes, keys: Iterable[bytes]) -> None:
    """Drop mail for and from people who are no members any more, and their slots."""
    for key in keys:
        connection.execute(
            "DELETE FROM mail WHERE team_id = ? AND (recipient = ? OR sender = ?)",
            (team_id, key, key),
        )
        connection.execute("DELETE FROM slots WHERE team_id = ? AND key = ?", (team_id, key))


def drop_expired(connection: SqlConnection, now: int) -> int:
    """Drop mail whose time is over; return how many."""
    done = connection.execute("DELETE FROM mail WHERE expires_at <= ?", (now,))
    return done.rowcount
