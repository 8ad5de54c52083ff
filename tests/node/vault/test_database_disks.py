"""What full, failing and damaged disks do to the one writer."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
from pathlib import Path

import pytest

from node.vault import log_store
from node.vault.connection import SqlConnection
from node.vault.database import Database, LogDraft, LogSigner, WriteTransaction
from node.vault.errors import DamagedError, StorageFailedError, StorageFullError
from node.vault.records import Connection, get_meta
from tests.node.vault.disks import tmpfs
from tests.node.vault.support import flip
from tests.node.vault.writing import has, log, open_database, put, report


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
        with pytest.raises(OSError):
            fill(ballast)

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


def fill(file: Path) -> None:
    """Write to a file until the disk has no room; OSError."""
    with file.open("wb") as ballast:
        while True:
            ballast.write(bytes(4096))
            ballast.flush()


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
        "UPDATE log_entries SET hashes = zeroblob(32) WHERE log_index = 4",
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
