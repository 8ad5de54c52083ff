"""The one writer: group commit, savepoints, and what a bad disk does."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlcipher3.dbapi2 as sqlcipher
from hypothesis import given, settings
from hypothesis import strategies as st

from node.vault import log_store
from node.vault.connection import SqlConnection
from node.vault.database import (
    Committed,
    Database,
    LogDraft,
    LogSigner,
    Subject,
    WriteTransaction,
)
from node.vault.errors import DamagedError, StorageFailedError, StorageFullError
from node.vault.records import Connection, get_meta, set_meta
from protocol.audit.checkpoint import open_checkpoint_untrusted, origin_of
from protocol.audit.log_keys import OneLogKey
from protocol.audit.proof import verify_consistency, verify_inclusion
from protocol.audit.tree import leaf_hash
from protocol.audit.verify import Report, verify_log
from protocol.errors import LocalError
from protocol.limits import MAX_GROUP_COMMIT
from protocol.primitives import SigningKey
from tests.node.vault.disks import tmpfs
from tests.node.vault.support import START, ManualClock, flip

IMAGE = Subject(kind="image", reference=b"\x07" * 16)
LOGGED = LogDraft(event="imported", subjects=(IMAGE,), values=(("name", b"sea.jpg", IMAGE),))


async def open_database(index: Path, signer: LogSigner) -> Database:
    return await Database.open(
        index, bytes(32), clock=ManualClock(), entropy=os.urandom, prepare=lambda _: signer
    )


def log(transaction: WriteTransaction) -> int:
    return transaction.append(LOGGED)


def put(key: str, value: bytes = b"1") -> Callable[[WriteTransaction], None]:
    return lambda transaction: set_meta(transaction.connection, key, value)


def has(key: str) -> Callable[[Connection], bool]:
    return lambda db: get_meta(db, key) is not None


async def report(database: Database, signer: LogSigner) -> Report:
    """Verify the whole stored log."""

    def read(db: Connection) -> tuple[list[bytes], bytes]:
        head = log_store.head(db)
        assert head is not None
        return [one.entry for one in log_store.walk(db)], head.note

    entries, note = await database.read(read)
    return verify_log(entries, note, keys=OneLogKey(origin=signer.origin, public=signer.key.public))


# Commits ------------------------------------------------------------------------------------------


async def test_a_write_returns_what_its_job_did_and_the_signed_head(
    database: Database, signer: LogSigner
) -> None:
    committed = await database.write(log)

    checkpoint = open_checkpoint_untrusted(
        committed.head, origin=signer.origin, log_public=signer.key.public
    )
    assert (committed.value, committed.size, checkpoint.size) == (0, 1, 1)
    entry = await database.read(lambda db: log_store.entry(db, 0))
    assert entry is not None
    assert checkpoint.root == leaf_hash(entry.entry)
    assert (entry.event, entry.time) == ("imported", START)


async def test_a_write_without_entries_keeps_the_head(database: Database) -> None:
    before = await database.write(put("a"))
    logged = await database.write(log)
    after = await database.write(put("b"))

    assert (before.size, before.head) == (0, b"")
    assert (logged.size, logged.head) == (after.size, after.head)


async def test_a_read_sees_every_write_that_has_returned(database: Database) -> None:
    for number in range(20):
        await database.write(put(f"key-{number}"))

        assert await database.read(has(f"key-{number}"))


async def test_jobs_that_wait_together_are_committed_together_in_order(
    database: Database,
) -> None:
    done = await asyncio.gather(*(database.write(log) for _ in range(100)))

    assert [one.value for one in done] == list(range(100))
    assert len({one.head for one in done}) == 1
    assert {one.size for one in done} == {100}


async def test_jobs_gather_while_a_commit_runs_and_no_group_is_over_its_bound(
    database: Database,
) -> None:
    done = await asyncio.gather(*(database.write(log) for _ in range(1000)))

    sizes = [one.size for one in done]
    assert [one.value for one in done] == list(range(1000))
    assert max(sizes.count(size) for size in set(sizes)) == MAX_GROUP_COMMIT


async def test_a_job_of_many_entries_is_one_commit_and_the_jobs_behind_it_come_next(
    database: Database,
) -> None:
    def many(transaction: WriteTransaction) -> int:
        return [transaction.append(LOGGED) for _ in range(300)][-1]

    first, second = await asyncio.gather(database.write(many), database.write(log))

    assert (first.value, first.size) == (299, 300)
    assert (second.value, second.size) == (300, 301)


async def test_what_a_write_acknowledged_is_in_the_files_at_that_moment(
    database: Database, index: Path, signer: LogSigner, tmp_path: Path
) -> None:
    committed = await database.write(log)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (index, Path(f"{index}-wal")):
        shutil.copy(path, copy / path.name)

    survivor = await open_database(copy / index.name, signer)
    head = await survivor.read(log_store.head)
    await survivor.close()

    assert head is not None
    assert head.note == committed.head


# Savepoints ---------------------------------------------------------------------------------------


async def test_a_job_that_raises_takes_back_only_its_own_rows_and_entries(
    database: Database, signer: LogSigner
) -> None:
    def fails(transaction: WriteTransaction) -> None:
        transaction.append(LOGGED)
        set_meta(transaction.connection, "bad", b"1")
        transaction.append(LOGGED)
        raise LookupError("no such thing")

    def good(key: str) -> Callable[[WriteTransaction], int]:
        def job(transaction: WriteTransaction) -> int:
            set_meta(transaction.connection, key, b"1")
            return transaction.append(LOGGED)

        return job

    first, bad, second = await asyncio.gather(
        database.write(good("first")),
        database.write(fails),
        database.write(good("second")),
        return_exceptions=True,
    )

    assert isinstance(bad, LookupError)
    assert isinstance(first, Committed)
    assert isinstance(second, Committed)
    assert (first.value, second.value, second.size) == (0, 1, 2)
    assert await database.read(has("first"))
    assert await database.read(has("second"))
    assert not await database.read(has("bad"))
    assert (await report(database, signer)).ok


async def test_a_subject_first_seen_by_a_job_that_raises_is_made_anew(
    database: Database, signer: LogSigner
) -> None:
    def fails(transaction: WriteTransaction) -> None:
        assert transaction.connection is not None
        transaction.append(LOGGED)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(fails)
    committed = await database.write(log)

    values = await database.read(lambda db: log_store.values(db, committed.value))
    assert values["name"].value == b"sea.jpg"


async def test_an_error_of_the_job_s_own_sql_is_the_job_s(database: Database) -> None:
    def fails(transaction: WriteTransaction) -> None:
        transaction.connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlcipher.OperationalError):
        await database.write(fails)

    await database.write(log)


@settings(max_examples=25, deadline=None)
@given(
    jobs=st.lists(
        st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=30
    )
)
def test_any_mix_of_jobs_leaves_exactly_the_log_of_those_that_returned(
    jobs: list[tuple[int, bool, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    signer = LogSigner(origin=origin_of(bytes(32)), key=SigningKey(bytes(32)))
    index = tmp_path_factory.mktemp("mix") / "index.db"
    index.touch()

    def job(number: int, entries: int, touches: bool, raises: bool) -> Callable[..., list[int]]:
        def run(transaction: WriteTransaction) -> list[int]:
            if touches:
                set_meta(transaction.connection, f"job-{number}", b"1")
            subject = Subject(kind="album", reference=bytes((number,)))
            draft = LogDraft(event="issued", subjects=(subject,))
            indices = [transaction.append(draft) for _ in range(entries)]
            if raises:
                raise LookupError
            return indices

        return run

    async def play() -> None:
        database = await open_database(index, signer)
        done = await asyncio.gather(
            *(database.write(job(number, *one)) for number, one in enumerate(jobs)),
            return_exceptions=True,
        )
        good = [one.value for one in done if isinstance(one, Committed)]
        expected = sum(entries for entries, _, raises in jobs if not raises)
        assert list(range(expected)) == [index for indices in good for index in indices]
        for number, (_, touches, raises) in enumerate(jobs):
            assert (touches and not raises) == await database.read(has(f"job-{number}"))
        if expected:
            assert (await report(database, signer)).ok
        await database.close()
        again = await open_database(index, signer)
        await again.close()

    asyncio.run(play())


# Time ---------------------------------------------------------------------------------------------


async def test_the_clock_s_high_water_mark_is_kept_with_the_entries(
    index: Path, database: Database, clock: ManualClock, signer: LogSigner
) -> None:
    def mark(transaction: WriteTransaction) -> int:
        return transaction.clock_high_water

    assert (await database.write(mark)).value == 0
    clock.time = START + 5000
    await database.write(log)
    clock.time = START - 60_000

    committed = await database.write(log)

    assert (await database.write(mark)).value == START + 5000
    entry = await database.read(lambda db: log_store.entry(db, committed.value))
    assert entry is not None
    assert entry.time == START - 60_000
    await database.close()
    again = await open_database(index, signer)
    assert (await again.write(mark)).value == START + 5000
    await again.close()


async def test_the_mark_counts_entries_of_the_same_transaction(
    database: Database, clock: ManualClock
) -> None:
    clock.time = START + 1

    def job(transaction: WriteTransaction) -> int:
        transaction.append(LOGGED)
        return transaction.clock_high_water

    assert (await database.write(job)).value == START + 1


# Proofs -------------------------------------------------------------------------------------------


async def test_every_entry_has_a_proof_at_every_size_and_sizes_are_consistent(
    database: Database,
) -> None:
    heads = []
    for _ in range(9):
        heads.append((await database.write(log)).size)
        await database.write(log)
    committed = await database.write(log)
    leaves = [
        leaf_hash(one.entry) for one in await database.read(lambda db: list(log_store.walk(db)))
    ]

    def roots(db: Connection) -> None:
        read = log_store.node_reader(db)
        from protocol.audit.tree import Frontier

        root_of = {
            size: Frontier.from_nodes(size, read).root() for size in range(1, committed.size + 1)
        }
        for size in range(1, committed.size + 1):
            for index in range(size):
                proof = log_store.inclusion_proof(db, index, size)
                verify_inclusion(index, size, leaves[index], proof, root_of[size])
            for old in range(1, size + 1):
                proof = log_store.consistency_proof(db, old, size)
                verify_consistency(old, size, root_of[old], root_of[size], proof)

    await database.read(roots)


# Disks --------------------------------------------------------------------------------------------


async def limit_pages(database: Database, more: int | None) -> None:
    """Let the index grow by so many pages only, or again without bound."""

    def limit(connection: SqlConnection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        most = 2**30 if more is None else pages + more
        connection.execute(f"PRAGMA max_page_count = {most}")

    await database._writer.run(limit)


async def test_a_full_index_fails_each_waiting_caller_and_works_again_later(
    database: Database, signer: LogSigner
) -> None:
    await database.write(log)
    await limit_pages(database, 2)

    failed = await asyncio.gather(
        *(database.write(log) for _ in range(3)),
        database.write(put("big", bytes(100_000))),
        return_exceptions=True,
    )
    assert [StorageFullError] * 4 == [type(one) for one in failed]
    assert len({id(one) for one in failed}) == 4

    await limit_pages(database, None)
    committed = await database.write(log)

    assert (committed.value, committed.size) == (1, 2)
    assert (await report(database, signer)).ok


@pytest.mark.root
async def test_a_full_disk_fails_each_waiting_caller_and_works_again_later(
    tmp_path: Path, signer: LogSigner
) -> None:
    with tmpfs(tmp_path, kib=3000) as folder:
        index = folder / "index.db"
        index.touch()
        database = await open_database(index, signer)
        first = await database.write(log)
        ballast = folder / "ballast"
        with pytest.raises(OSError), ballast.open("wb") as file:  # noqa: PT012
            while True:
                file.write(bytes(4096))
                file.flush()

        full = 0
        size = first.size
        for number in range(200):
            try:
                size = (await database.write(put(f"big-{number}", bytes(50_000)))).size
                size = (await database.write(log)).size
            except StorageFullError:
                full += 1
        assert full
        ballast.unlink()
        committed = await database.write(log)

        assert committed.size == size + 1
        assert (await report(database, signer)).ok
        await database.close()
        again = await open_database(index, signer)
        assert (await report(again, signer)).size == committed.size
        await again.close()


async def test_a_failed_write_stops_everything_and_loses_nothing_acknowledged(
    index: Path, signer: LogSigner
) -> None:
    database = await open_database(index, signer)
    committed = await database.write(log)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{index}-wal").stat().st_size, hard))
    try:
        failed = await asyncio.gather(
            *(database.write(log) for _ in range(3)), return_exceptions=True
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [StorageFailedError] * 3 == [type(one) for one in failed]
    with pytest.raises(StorageFailedError):
        await database.write(log)
    with pytest.raises(StorageFailedError):
        await database.read(log_store.head)
    with pytest.raises(StorageFailedError):
        await database.truncate_wal()
    await database.close()
    assert Path(f"{index}-wal").stat().st_size > 0

    again = await open_database(index, signer)
    head = await again.read(log_store.head)
    assert head is not None
    assert head.note == committed.head
    await again.close()


async def fill_pages(database: Database) -> int:
    """Store values that lie on pages of their own; return an offset in the one of "right"."""

    def last_page(connection: SqlConnection) -> int:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        return int(pages)

    await database.write(put("right", os.urandom(20_000)))
    page = await database._writer.run(last_page)
    await database.write(put("left", os.urandom(20_000)))
    return (page - 2) * 4096 - 2000  # The very last page may be a node of the tree.


async def test_a_damaged_page_fails_the_query_that_needs_it_and_no_other(
    index: Path, database: Database, signer: LogSigner
) -> None:
    offset = await fill_pages(database)
    await database.close()
    flip(index, offset)
    again = await open_database(index, signer)

    def right(db: Connection) -> object:
        return get_meta(db, "right")

    results = await asyncio.gather(
        again.read(right), again.read(has("left")), again.read(right), return_exceptions=True
    )

    assert [DamagedError, bool, DamagedError] == [type(one) for one in results]
    assert await again.read(has("left"))
    await again.write(log)
    await again.close()


async def test_a_damaged_page_met_while_writing_stops_everything(
    index: Path, database: Database, signer: LogSigner
) -> None:
    offset = await fill_pages(database)
    await database.close()
    flip(index, offset)
    again = await open_database(index, signer)

    with pytest.raises(DamagedError):
        await again.write(lambda transaction: get_meta(transaction.connection, "right"))

    with pytest.raises(DamagedError):
        await again.write(log)
    await again.close()


async def test_the_whole_index_is_checked_after_an_unclean_stop_only(
    index: Path, database: Database, signer: LogSigner, tmp_path: Path
) -> None:
    offset = await fill_pages(database)
    await database.truncate_wal()
    await database.write(log)
    unclean = tmp_path / "unclean"
    unclean.mkdir()
    for path in (index, Path(f"{index}-wal")):
        shutil.copy(path, unclean / path.name)
    await database.close()
    clean = tmp_path / "clean.db"
    shutil.copy(index, clean)
    copied = unclean / index.name
    for path in (copied, clean):
        flip(path, offset)

    again = await open_database(clean, signer)
    await again.close()
    with pytest.raises(DamagedError):
        await open_database(copied, signer)


async def test_an_index_with_a_rolled_back_head_is_damaged(
    index: Path, database: Database, signer: LogSigner
) -> None:
    old = await database.write(log)
    await database.write(log)

    def roll_back(transaction: WriteTransaction) -> None:
        transaction.connection.execute("UPDATE log_head SET size = 1, note = ?", (old.head,))

    await database.write(roll_back)
    await database.close()

    with pytest.raises(DamagedError):
        await open_database(index, signer)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM log_head",
        "DELETE FROM log_entries WHERE log_index = 3",
        "UPDATE log_entries SET leaf_hash = zeroblob(32) WHERE log_index = 4",
        "UPDATE log_head SET note = CAST(replace(CAST(note AS TEXT), 'safe', 'Safe') AS BLOB)",
    ],
)
async def test_a_log_that_does_not_fit_its_head_is_damaged(
    index: Path, database: Database, signer: LogSigner, change: str
) -> None:
    bare = LogDraft(event="imported")
    for _ in range(5):
        await database.write(lambda transaction: transaction.append(bare))
    await database.write(lambda transaction: transaction.connection.execute(change).rowcount)
    await database.close()

    with pytest.raises(DamagedError):
        await open_database(index, signer)


# Ending -------------------------------------------------------------------------------------------


async def test_closing_finishes_what_waits_and_folds_the_wal_in(
    index: Path, database: Database, signer: LogSigner
) -> None:
    writes = [asyncio.create_task(database.write(log)) for _ in range(600)]
    await asyncio.sleep(0)

    await database.close()

    assert [one.result().value for one in writes] == list(range(600))
    assert [index.name] == [path.name for path in index.parent.iterdir()]
    with pytest.raises(LocalError):
        await database.write(log)
    with pytest.raises(LocalError):
        await database.read(log_store.head)


async def test_closing_twice_is_harmless(database: Database) -> None:
    await database.close()
    await database.close()


async def test_a_caller_that_goes_away_before_its_turn_leaves_no_trace(
    database: Database,
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(transaction: WriteTransaction) -> None:
        started.set()
        go_on.wait(10)

    first = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(started.wait, 10)
    gone = asyncio.create_task(database.write(put("gone")))
    stays = asyncio.create_task(database.write(put("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    go_on.set()
    await asyncio.gather(first, stays)

    assert await database.read(has("stays"))
    assert not await database.read(has("gone"))


async def test_emptying_the_wal_leaves_no_older_page_in_it(index: Path, database: Database) -> None:
    await database.write(log)
    assert Path(f"{index}-wal").stat().st_size > 0

    await database.truncate_wal()

    assert Path(f"{index}-wal").stat().st_size == 0
    assert (await database.write(log)).size == 2


async def test_a_long_wal_is_copied_without_being_asked(index: Path, database: Database) -> None:
    for number in range(60):
        await database.write(put(f"big-{number}", bytes(100_000)))

    def left(connection: SqlConnection) -> int:
        _, pages, copied = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
        return int(pages) - int(copied)

    assert await database._writer.run(left) < 1100
    assert index.stat().st_size > 2_000_000


async def test_prepare_runs_in_a_transaction_that_its_error_rolls_back(
    index: Path, signer: LogSigner, clock: ManualClock
) -> None:
    def prepare(db: Connection) -> LogSigner:
        set_meta(db, "half", b"1")
        raise LookupError

    with pytest.raises(LookupError):
        await Database.open(index, bytes(32), clock=clock, entropy=os.urandom, prepare=prepare)

    again = await open_database(index, signer)
    assert not await again.read(has("half"))
    await again.close()
