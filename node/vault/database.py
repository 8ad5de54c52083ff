"""The encrypted index: one writer that commits in groups, one reader, one audit log.

Belongs here: transactions, group commit, what happens when the disk is full or
fails, and opening and closing the index.
Never here: SQL of a use case (``records``), the log's tables (``log_writer``,
``log_store``), how SQLCipher is set (``connection``).

A write is a job: a function of a WriteTransaction. Jobs run one after another in the
writer's thread, each in a savepoint, many in one transaction. While one transaction is
being made durable the next jobs gather; no timer ever waits for more of them. A job's
caller continues only after the COMMIT that holds its work.

    full disk       the whole transaction is rolled back, its callers get StorageFullError,
                    and the next write is tried as if nothing had been
    failed disk     callers get StorageFailedError, and so does everything after: what
                    the disk holds is unknown, so nothing is tried again
    damaged page    as a failed disk, with DamagedError; other readers go on
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import sqlcipher3.dbapi2 as sqlcipher

from node.ports import Clock
from node.vault.connection import ConnectionThread, SqlConnection, connect, migrate
from node.vault.errors import (
    DamagedError,
    StorageFullError,
    index_error,
    index_errors,
    storage_errors,
)
from node.vault.files import sync_folder
from node.vault.log_writer import LogDraft, LogSigner, LogWriter, SignLogKey, Subject
from node.vault.records import Connection
from protocol.errors import LocalError
from protocol.limits import MAX_GROUP_COMMIT
from protocol.primitives import Entropy

__all__ = ["Committed", "Database", "LogDraft", "LogSigner", "Subject", "WriteTransaction"]

T = TypeVar("T")

_CHECKPOINT_PAGES: Final = 1000
"""WAL pages after which they are copied into the index: 4 MiB, SQLite's own default."""


class WriteTransaction:
    """What a job may do. Valid until the job returns."""

    __slots__ = ("_connection", "_log", "changing", "now")

    def __init__(self, connection: Connection, log: LogWriter, now: int) -> None:
        self._connection = connection
        self._log = log
        self.now = now
        """Wall time at the job's start, Unix milliseconds; the time of its entries."""
        self.changing = False
        """The job has asked for the connection."""

    @property
    def connection(self) -> Connection:
        """The index. Entries of this transaction are not in its log tables before the commit."""
        if not self.changing:
            # Most of a busy node's jobs only log, and need no savepoint.
            self._connection.execute("SAVEPOINT job")
            self.changing = True
        return self._connection

    @property
    def clock_high_water(self) -> int:
        """Latest wall time of any entry, Unix milliseconds; 0 where the log is empty."""
        return self._log.clock_high_water

    def append(self, draft: LogDraft) -> int:
        """Append an entry to the log and return its index; it exists if the job returns.

        Raises LocalError or LimitError for a draft that makes no entry.
        """
        return self._log.append(draft, self.now)

    def forget_subject(self, kind: str, reference: bytes) -> None:
        """Seal nothing more under the key of a subject whose row this job has deleted."""
        self._log.forget(kind, reference)

    @property
    def incarnation(self) -> int:
        """Which of the node's logs `append` appends to."""
        return self._log.incarnation

    def roll_log_key(self, sign: SignLogKey) -> None:
        """Close the log key's epoch with one more entry; the last the job does, and alone.

        ``sign`` signs, with the identity key, what peers are told of the next key. From the next
        transaction on that one signs; the old one is erased.
        """
        self._log.roll(self.connection, self.now, sign)

    def begin_log(self, origin: str, incarnation: int, previous: bytes, sign: SignLogKey) -> None:
        """Begin the next log, with the last known head of the one before; the job is alone.

        Entries from here on stand in the new one. ``sign`` as in `roll_log_key`.
        """
        self._log.begin(self.connection, self.now, origin, incarnation, previous, sign)


Job = Callable[[WriteTransaction], T]
Query = Callable[[Connection], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Generic[T]):
    """What a durable job left."""

    value: T
    """What the job returned."""
    size: int
    """Size of the log after the commit."""
    head: bytes = field(repr=False)
    """The signed head of that size, or empty where the log is."""
    incarnation: int
    """Which of the node's logs that is."""


class _Waiting(NamedTuple):
    job: Job[Any]
    future: asyncio.Future[Committed[Any]]
    alone: bool


@dataclass(slots=True)
class _Group:
    """One transaction that is durable."""

    results: list[tuple[Any, Exception | None]] = field(default_factory=list)
    """For each job that ran: what it returned, or what it raised and was rolled back for."""
    size: int = 0
    head: bytes = b""
    incarnation: int = 0
    checkpoint_due: bool = False


class Database:
    """The index of one vault. Made by `open`, ended by `close`."""

    def __init__(
        self,
        writer: ConnectionThread,
        reader: ConnectionThread,
        log: LogWriter,
        *,
        clock: Clock,
        open_reader: Callable[[], Awaitable[ConnectionThread]],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._open_reader = open_reader
        self._replacing = asyncio.Lock()
        self._log = log
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._failure: sqlcipher.Error | None = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        key: bytes,
        *,
        clock: Clock,
        entropy: Entropy,
        prepare: Callable[[Connection], LogSigner],
    ) -> Database:
        """Open the index at path, which exists and may be empty, with its 32-byte key.

        ``prepare`` runs in a transaction of its own once the schema is the newest, and says who
        signs the log. After an unclean stop the whole index is checked first. Raises DamagedError
        (a page, the log's head), UnsupportedError (a newer schema), StorageFullError,
        StorageFailedError, and whatever ``prepare`` raises.
        """

        async def open_reader() -> ConnectionThread:
            return await connect(path, key, read_only=True)

        # A clean stop folds the WAL in and removes it.
        unclean = await asyncio.to_thread(_has_content, path.with_name(path.name + "-wal"))

        def start(connection: SqlConnection) -> LogWriter:
            if unclean:
                _check_integrity(connection)
            migrate(connection)
            with _transaction(connection, "IMMEDIATE"):
                signer = prepare(connection)
            return LogWriter(connection, signer=signer, entropy=entropy)

        writer = await connect(path, key)
        try:
            with index_errors():
                log = await writer.run(start)
            # SQLite syncs the name of a new WAL too, but tells nobody where that fails.
            await asyncio.to_thread(_sync_folder_of, path)
            reader = await open_reader()
        except BaseException:
            await writer.close()
            raise
        return cls(writer, reader, log, clock=clock, open_reader=open_reader)

    # Writing --------------------------------------------------------------------------------------

    async def write(self, job: Job[T], *, alone: bool = False) -> Committed[T]:
        """Run job in the writer's thread and return once what it did is durable.

        ``alone`` gives it a transaction of its own, in its turn.
        What job raises is raised here, and then nothing of it is stored. Also raises
        StorageFullError (nothing stored, may be called again), StorageFailedError or DamagedError
        (what is stored is unknown, and everything after raises the same). A caller that is
        cancelled leaves the outcome open: the job has run, or will, or never will.
        """
        self._check_usable()
        future: asyncio.Future[Committed[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, future, alone))
        if self._pump is None:
            self._pump = asyncio.create_task(self._commit_waiting())
        return await future

    async def _commit_waiting(self) -> None:
        """Commit group after group until no job waits."""
        try:
            while self._waiting:
                await self._commit_group()
        finally:
            self._pump = None

    async def _commit_group(self) -> None:
        group = self._next_group()
        group = [waiting for waiting in group if not waiting.future.done()]
        if not group:
            return
        jobs = [waiting.job for waiting in group]
        try:
            self._check_usable(closing=True)
            done = await self._writer.run(partial(self._commit, jobs))
        except Exception as error:  # noqa: BLE001  it is the callers'
            for waiting in group:
                _fail(waiting.future, self._failure_of(error))
            return
        self._waiting.extendleft(reversed(group[len(done.results) :]))
        for waiting, (value, failure) in zip(group, done.results, strict=False):
            if failure is not None:
                _fail(waiting.future, failure)
            elif not waiting.future.done():
                waiting.future.set_result(
                    Committed(
                        value=value,
                        size=done.size,
                        head=done.head,
                        incarnation=done.incarnation,
                    )
                )
        if done.checkpoint_due:
            await self._copy_wal("PASSIVE")

    def _next_group(self) -> list[_Waiting]:
        """Take what goes into the next transaction from those that wait."""
        size = min(len(self._waiting), MAX_GROUP_COMMIT)
        for place in range(size):
            if self._waiting[place].alone:
                size = max(place, 1)
                break
        return [self._waiting.popleft() for _ in range(size)]

    def _commit(self, jobs: list[Job[Any]], connection: SqlConnection) -> _Group:
        """Run jobs in one durable transaction; only as many as fill it. In the writer's thread."""
        done = _Group()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                done.results.append(self._run(job, connection))
                if self._log.pending >= MAX_GROUP_COMMIT:
                    break
            self._log.flush()
            connection.execute("COMMIT")
        except BaseException:
            self._log.rolled_back()
            _roll_back(connection)
            raise
        self._log.committed()
        done.size, done.head = self._log.size, self._log.head
        done.incarnation = self._log.incarnation
        done.checkpoint_due = _is_wal_long(connection)
        return done

    def _run(self, job: Job[Any], connection: SqlConnection) -> tuple[Any, Exception | None]:
        """Run one job; where it raises, nothing of it stays, its log entries included."""
        mark = self._log.mark()
        transaction = WriteTransaction(connection, self._log, self._clock.now())
        try:
            value = job(transaction)
        except Exception as error:
            if isinstance(error, sqlcipher.Error) and index_error(error) is not None:
                raise  # The disk, not the job: the whole transaction is lost.
            self._log.cut(mark)
            if transaction.changing:
                connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
            return None, error
        if transaction.changing:
            connection.execute("RELEASE job")
        return value, None

    # Reading --------------------------------------------------------------------------------------

    async def read(self, query: Query[T]) -> T:
        """Return what query returns, run in the reader's thread on one snapshot of the index.

        It sees every write that has returned. What it raises is raised here; also
        DamagedError and StorageFailedError.
        """
        while True:
            self._check_usable()
            reader = self._reader
            try:
                return await reader.run(partial(_on_snapshot, query))
            except sqlcipher.Error as error:
                failure = self._failure_of(error, reading=True)
                if not isinstance(failure, DamagedError) or await self._replace_reader(reader):
                    raise failure from error
                # Another query met the damage, after which its connection answers nothing.

    async def _replace_reader(self, damaged: ConnectionThread) -> bool:
        """Go on with a connection that has met no damaged page; False where it was done already."""
        async with self._replacing:
            if self._reader is not damaged:
                return False
            self._reader = await self._open_reader()
            await damaged.close()
            return True

    # Stopping and maintenance ---------------------------------------------------------------------

    async def truncate_wal(self) -> None:
        """Copy the WAL into the index and empty it, so that no older state of a page stays there.

        Waits up to 0.5 s for a query that still reads from it, and leaves it for later then.
        """
        self._check_usable()
        await self._copy_wal("TRUNCATE")
        self._check_usable()

    async def _copy_wal(self, mode: str) -> None:
        def copy(connection: SqlConnection) -> None:
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

        try:
            await self._writer.run(copy)
        except sqlcipher.Error as error:
            # With a full disk the WAL just stays as it is: everything is in it.
            self._failure_of(error)

    async def close(self) -> None:
        """Finish the jobs that wait, fold the WAL in, and close. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        while self._pump is not None:
            await asyncio.wait([self._pump])
        if self._failure is None:
            await self._copy_wal("TRUNCATE")
        connections = [self._reader, self._writer]
        if self._failure is not None:
            # The last one to close would copy the WAL: then let it be the one that cannot.
            connections.reverse()
        for connection in connections:
            with suppress(sqlcipher.Error):
                await connection.close()

    def _failure_of(self, error: Exception, *, reading: bool = False) -> Exception:
        """Return what a caller gets for error, and stop everything where the disk failed."""
        failure = index_error(error) if isinstance(error, sqlcipher.Error) else None
        if failure is None:
            return error
        harmless = isinstance(failure, StorageFullError)
        if not harmless and not (reading and isinstance(failure, DamagedError)):
            self._failure = self._failure or error
        return failure

    def _check_usable(self, *, closing: bool = False) -> None:
        if self._failure is not None:
            raise index_error(self._failure) or self._failure
        if self._closed and not closing:
            raise LocalError("the vault is closed")


@contextmanager
def _transaction(connection: SqlConnection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _is_wal_long(connection: SqlConnection) -> bool:
    """Say whether the WAL should be copied; where that cannot be told, copying will tell why."""
    try:
        _, pages, copied = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    except sqlcipher.Error:
        return True
    return bool(pages - copied >= _CHECKPOINT_PAGES)


def _roll_back(connection: SqlConnection) -> None:
    # SQLite has rolled back by itself after some errors, and cannot after others.
    if connection.in_transaction:
        with suppress(sqlcipher.Error):
            connection.execute("ROLLBACK")


def _on_snapshot(query: Query[T], connection: SqlConnection) -> T:
    with _transaction(connection, "DEFERRED"):
        return query(connection)


def _fail(future: asyncio.Future[Committed[Any]], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _sync_folder_of(path: Path) -> None:
    with storage_errors():
        sync_folder(path.parent)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _check_integrity(connection: SqlConnection) -> None:
    """Raise DamagedError unless SQLite finds the index sound."""
    found = [text for (text,) in connection.execute("PRAGMA integrity_check").fetchall()]
    if found != ["ok"]:
        raise DamagedError("index", f"after an unclean stop: {found[0]}", hint="run a check")
