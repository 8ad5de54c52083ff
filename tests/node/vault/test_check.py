"""Bit rot: every flipped byte is found, and named with the picture that it concerns."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from node.vault.check import Problem, check, check_closed, check_files
from node.vault.checks.blobs import check_blobs
from node.vault.checks.index import check_log, check_pages, check_structure
from node.vault.checks.keyslots import check_keyslots
from node.vault.errors import VaultBusyError, VaultMissingError, WrongPassphraseError
from node.vault.home import Home
from node.vault.keyring import HEADER_BYTES, VaultKeys
from node.vault.keyslots import SLOT_BYTES, KeyslotRecord, Keyslots
from tests.node.vault.support import (
    PASSPHRASE,
    Filled,
    end,
    end_in_index,
    fill,
    flip,
    new_vault,
    reopen,
)

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Closed:
    """A vault with everything in it, closed, and what opens it."""

    home: Home
    keys: VaultKeys
    filled: Filled

    async def problems(self, *, read_data: bool = True) -> list[Problem]:
        return await check_files(self.home, self.keys, read_data=read_data)

    async def blob_problems(self, *, read_data: bool = True) -> list[Problem]:
        return await check_blobs(
            self.home, self.keys, read_data=read_data, progress=lambda *_: None
        )

    def blob(self, blob_id: bytes) -> Path:
        return self.home.blobs / blob_id.hex()[:2] / blob_id.hex()


@pytest_asyncio.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Closed]:
    vault = await new_vault(tmp_path / "home")
    filled = await fill(vault)
    await vault.close()
    yield Closed(home=vault.home, keys=vault.keys, filled=filled)


async def test_a_sound_vault_has_no_problem_open_or_closed(closed: Closed) -> None:
    folder = closed.home.folder

    assert await closed.problems() == []
    assert await check_closed(folder, passphrase=PASSPHRASE, read_data=True) == []
    vault = await reopen(folder)
    assert await check(vault, read_data=True) == []
    await vault.close()
    assert await closed.problems() == []


async def test_a_check_changes_nothing(closed: Closed) -> None:
    def contents() -> dict[Path, bytes]:
        files = [path for path in closed.home.folder.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files if path.suffix != ".db-shm"}

    before = contents()
    await closed.problems()

    after = {path: data for path, data in contents().items() if data or path in before}
    assert before.keys() <= after.keys()
    assert all(before[path] == data for path, data in after.items() if path in before)
    vault = await reopen(closed.home.folder)
    await vault.close()


async def test_progress_is_told_up_to_the_last_file(closed: Closed) -> None:
    told: list[tuple[int, int | None, str]] = []

    await check_files(
        closed.home, closed.keys, read_data=True, progress=lambda *one: told.append(one)
    )

    assert told[-1] == (11, 11, "checking sealed files")


# Flips --------------------------------------------------------------------------------------------


async def test_every_flipped_byte_of_the_header_is_found(closed: Closed) -> None:
    for offset in range(0, HEADER_BYTES, 24):
        flip(closed.home.header, offset)
        assert {one.code for one in await closed.problems(read_data=False)} == {"header"}
        flip(closed.home.header, offset)

    flip(closed.home.header, 0)
    (problem,) = await check_closed(closed.home.folder, passphrase=PASSPHRASE)
    assert problem.code == "header"


async def test_a_flip_in_every_page_of_the_index_is_found(closed: Closed) -> None:
    pages = closed.home.index.stat().st_size // PAGE_BYTES
    assert pages > 50
    for page in range(pages):
        offset = page * PAGE_BYTES + (page * 977) % PAGE_BYTES
        flip(closed.home.index, offset, 0x80)
        problems = await asyncio.to_thread(check_pages, closed.home, closed.keys)
        assert {"index"} == {one.code for one in problems}, f"page {page}"
        flip(closed.home.index, offset, 0x80)

    assert await asyncio.to_thread(check_pages, closed.home, closed.keys) == []


async def test_a_damaged_index_is_a_list_of_problems_not_a_crash(closed: Closed) -> None:
    size = closed.home.index.stat().st_size
    for offset in (0, 20, PAGE_BYTES + 7, size // 2, size - 5):
        flip(closed.home.index, offset)
        problems = await check_closed(closed.home.folder, passphrase=PASSPHRASE, read_data=True)
        assert "index" in {one.code for one in problems}
        flip(closed.home.index, offset)

    for length in (0, 100, PAGE_BYTES, size - 100, size - PAGE_BYTES):
        copy = closed.home.index.read_bytes()
        os.truncate(closed.home.index, length)
        problems = await closed.problems()
        assert "index" in {one.code for one in problems}, f"cut to {length}"
        closed.home.index.write_bytes(copy)
    assert await closed.problems() == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once: nothing goes on beside, and there are many looks."""
    monkeypatch.setattr("node.vault.checks.keyslots._PAUSES_S", (0.0,))


@pytest.mark.usefixtures("hasty")
async def test_a_flip_in_every_keyslot_is_found(closed: Closed) -> None:
    path = closed.home.keyslots
    sectors = path.stat().st_size // SLOT_BYTES
    for sector in range(sectors):
        offset = sector * SLOT_BYTES + (sector * 131) % SLOT_BYTES
        flip(path, offset)
        (problem,) = await asyncio.to_thread(check_keyslots, closed.home, closed.keys)
        assert problem.code == "keyslot"
        if sector == closed.filled.slot + 1:
            assert problem.where == f"keyslot {closed.filled.slot}"
            assert problem.picture == "picture-0.jpg and 2 more"
        flip(path, offset)


@pytest.mark.usefixtures("hasty")
async def test_every_flipped_byte_of_a_live_keyslot_names_its_pictures(closed: Closed) -> None:
    start = (closed.filled.slot + 1) * SLOT_BYTES
    for offset in range(start, start + SLOT_BYTES, 16):
        flip(closed.home.keyslots, offset)
        (problem,) = await asyncio.to_thread(check_keyslots, closed.home, closed.keys)
        assert (problem.code, problem.picture) == ("keyslot", "picture-0.jpg and 2 more")
        flip(closed.home.keyslots, offset)


async def test_a_flip_in_every_512_bytes_of_every_sealed_file_names_its_picture(
    closed: Closed,
) -> None:
    names = {
        blob_id: picture.name
        for picture in closed.filled.pictures
        for blob_id in picture.blobs.values()
    }
    names[closed.filled.received] = "sent.jpg"
    flips = 0
    for path in sorted(path for path in closed.home.blobs.rglob("*") if path.is_file()):
        blob_id = bytes.fromhex(path.name)
        for start in range(0, path.stat().st_size, 512):
            offset = min(start + (start // 512 * 37) % 512, path.stat().st_size - 1)
            flip(path, offset, 0x04)
            (problem,) = await closed.blob_problems()
            assert problem.code == "blob"
            assert problem.picture == names.get(blob_id, "picture-0.jpg")
            assert blob_id.hex() in problem.where
            flip(path, offset, 0x04)
            flips += 1
    assert flips > 200
    assert await closed.blob_problems() == []


# Files --------------------------------------------------------------------------------------------


async def test_a_missing_or_cut_file_is_found_without_reading_data(closed: Closed) -> None:
    picture = closed.filled.pictures[1]
    closed.blob(picture.blobs["original"]).unlink()
    os.truncate(closed.blob(picture.blobs["thumbnail"]), 100)

    problems = await closed.problems(read_data=False)

    assert {(one.code, one.message) for one in problems} == {
        ("blob_missing", "its original is missing"),
        ("blob_length", "its thumbnail does not have its length"),
    }
    assert {one.picture for one in problems} == {picture.name}


async def test_row_6_files_put_in_each_other_s_place_are_found(closed: Closed) -> None:
    first, second = (
        closed.blob(picture.blobs["original"]) for picture in closed.filled.pictures[:2]
    )
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)

    problems = await closed.problems()

    assert {one.picture for one in problems} == {"picture-0.jpg", "picture-1.jpg"}


async def test_other_users_permissions_are_found(closed: Closed) -> None:
    closed.home.index.chmod(0o644)

    (problem,) = await closed.problems(read_data=False)

    assert (problem.code, problem.where) == ("permissions", "index.db")


async def test_lost_parts_are_named(closed: Closed) -> None:
    keyslots = closed.home.keyslots.read_bytes()
    closed.home.keyslots.unlink()
    assert {"keyslot"} == {one.code for one in await closed.problems(read_data=False)}
    closed.home.keyslots.write_bytes(keyslots)

    index = closed.home.index.read_bytes()
    closed.home.index.unlink()
    (problem,) = await check_closed(closed.home.folder, passphrase=PASSPHRASE)
    assert problem.code == "index"
    closed.home.index.write_bytes(index)

    closed.home.header.unlink()
    (problem,) = await check_closed(closed.home.folder, passphrase=PASSPHRASE)
    assert problem.code == "header"


async def test_a_wrong_passphrase_a_running_node_and_no_vault_are_no_problems_but_errors(
    closed: Closed, tmp_path: Path
) -> None:
    with pytest.raises(WrongPassphraseError):
        await check_closed(closed.home.folder, passphrase="wrong")
    with pytest.raises(VaultMissingError):
        await check_closed(tmp_path / "nowhere", passphrase=PASSPHRASE)
    vault = await reopen(closed.home.folder)
    with pytest.raises(VaultBusyError):
        await check_closed(closed.home.folder, passphrase=PASSPHRASE)
    await vault.close()


# Keyslots and index that do not fit each other ----------------------------------------------------


async def test_a_secret_that_outlived_its_capability_is_found(closed: Closed) -> None:
    vault = await reopen(closed.home.folder)

    await vault.database.write(
        lambda transaction: end_in_index(transaction, closed.filled.capability_id)
    )
    (problem,) = await check(vault)
    vault.keyslots.destroy([closed.filled.slot])
    after = await check(vault)
    await vault.close()

    assert (problem.code, problem.picture) == ("keyslot_left", "picture-0.jpg and 2 more")
    assert after == []


async def test_a_live_capability_whose_slot_is_empty_is_found(closed: Closed) -> None:
    vault = await reopen(closed.home.folder)
    vault.keyslots.destroy([closed.filled.slot])

    (problem,) = await check(vault)
    await vault.close()

    assert (problem.code, problem.picture) == ("keyslot", "picture-0.jpg and 2 more")


async def test_a_slot_that_is_written_before_its_commit_is_no_problem(closed: Closed) -> None:
    vault = await reopen(closed.home.folder)
    slot = vault.keyslots.allocate()
    vault.keyslots.write(slot, os.urandom(16), KeyslotRecord(slot_secret=bytes(32), mix=bytes(32)))

    assert await check(vault) == []
    await vault.close()


async def test_keyslots_of_another_index_are_found(closed: Closed) -> None:
    closed.home.keyslots.unlink()
    Keyslots.create(closed.home.keyslots, closed.keys.keyslots, entropy=os.urandom).close()

    problems = await closed.problems(read_data=False)

    assert {"restored", "keyslot"} == {one.code for one in problems}


async def test_row_47_an_older_index_in_place_of_the_newer_is_found(closed: Closed) -> None:
    old = closed.home.folder.with_name("old.db")
    shutil.copy(closed.home.index, old)
    vault = await reopen(closed.home.folder)
    await vault.database.write(
        lambda transaction: end_in_index(transaction, closed.filled.capability_id)
    )
    vault.keyslots.destroy([closed.filled.slot])
    await vault.close()
    shutil.copy(old, closed.home.index)

    problems = await closed.problems(read_data=False)

    assert [(one.code, one.picture) for one in problems] == [
        ("keyslot", "picture-0.jpg and 2 more")
    ]


async def test_what_was_repaired_when_the_vault_was_opened_is_told(closed: Closed) -> None:
    free = (closed.filled.slot + 1) % 128
    flip(closed.home.keyslots, (free + 1) * SLOT_BYTES)

    vault = await reopen(closed.home.folder)
    (problem,) = await check(vault)
    await vault.close()

    assert (problem.code, problem.where) == ("keyslot", f"keyslot {free}")
    assert await closed.problems() == []


# Log ----------------------------------------------------------------------------------------------


OTHER_NODE = "CAST(substr(hashes, 1, 32) || zeroblob(32) AS BLOB)"


async def tamper(closed: Closed, sql: str) -> list[Problem]:
    """Change the index as someone with its key could, and look at the log."""
    vault = await reopen(closed.home.folder)
    await vault.database.write(lambda transaction: transaction.connection.execute(sql).rowcount)
    await vault.close()
    return await asyncio.to_thread(check_log, closed.home, closed.keys)


@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("UPDATE log_entries SET entry = x'00' WHERE log_index = 1", "audit log, entry 1"),
        ("DELETE FROM log_entries WHERE log_index = 3", "audit log, entry 3"),
        ("UPDATE log_entries SET hashes = zeroblob(32) WHERE log_index = 2", "entry 2"),
        (f"UPDATE log_entries SET hashes = {OTHER_NODE} WHERE log_index = 1", "audit log, entry 1"),
        ("DELETE FROM log_head", "audit log"),
        ("UPDATE log_head SET size = 2", "audit log"),
        ("UPDATE log_head SET note = x'00'", "audit log"),
        (
            "UPDATE log_entries SET hashes = substr(hashes, 1, 64) WHERE log_index = 3",
            "index.db",
        ),
    ],
)
async def test_a_log_that_was_tampered_with_is_found(closed: Closed, sql: str, where: str) -> None:
    problems = await tamper(closed, sql)

    assert any(where in one.where for one in problems)


async def test_a_dangling_reference_is_found(closed: Closed) -> None:
    vault = await reopen(closed.home.folder)

    def orphan(connection: Any) -> None:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM images")

    await vault.database._writer.run(orphan)
    await vault.close()

    problems = await asyncio.to_thread(check_structure, closed.home, closed.keys)

    assert {"index"} == {one.code for one in problems}
    assert "versions refers to no images" in problems[0].message


async def test_many_problems_of_a_kind_are_counted_not_listed(tmp_path: Path) -> None:
    vault = await new_vault(tmp_path / "home")
    await fill(vault)
    await vault.close()
    pages = vault.home.index.stat().st_size // PAGE_BYTES
    for page in range(pages - 59, pages):
        flip(vault.home.index, page * PAGE_BYTES + 100)

    problems = await asyncio.to_thread(check_pages, vault.home, vault.keys)

    assert len(problems) == 21
    assert problems[-1].message == "39 more of the same kind"


# Beside a working vault ---------------------------------------------------------------------------


async def test_a_check_beside_a_busy_vault_raises_no_alarm(tmp_path: Path) -> None:
    vault = await new_vault(tmp_path / "home")
    busy = True

    async def work() -> None:
        while busy:
            filled = await fill(vault, pictures=1, size=5000)
            await end(vault, filled)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    for _ in range(5):
        assert await check(vault, read_data=True) == []
    busy = False
    await asyncio.gather(*workers)
    assert await check(vault, read_data=True) == []
    await vault.close()
