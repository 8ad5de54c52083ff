"""The one writer: group commit, savepoints, time, proofs, and its end.

What a bad disk does stands in ``test_database_disks``.
"""

from __future__ import annotations

import asyncio
import os
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
from node.vault.database import Committed, Database, LogDraft, LogSigner, Subject, WriteTransaction
from node.vault.records import Connection, set_meta
from protocol.audit.checkpoint import open_checkpoint_untrusted, origin_of
from protocol.audit.proof import verify_consistency, verify_inclusion
from protocol.audit.tree import leaf_hash
from protocol.errors import LocalError
from protocol.limits import MAX_GROUP_COMMIT
from protocol.primitives import SigningKey
from tests.node.vault.support import START, ManualClock
from tests.node.vault.writing import LOGGED, has, log, open_database, put, report

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
