"""The log's own keys: replaced, erased, and the log that begins anew."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from node.vault import keyring, log_keys, log_store
from node.vault.check import check
from node.vault.database import LogDraft, WriteTransaction
from node.vault.errors import DamagedError
from node.vault.records import Connection
from node.vault.vault import Vault, recover
from protocol.audit.checkpoint import Checkpoint, origin_of
from protocol.audit.log_keys import LogKeys, verify_log_key_untrusted
from protocol.audit.verify import verify_log
from protocol.errors import LocalError
from tests.node.vault.support import PASSPHRASE, SMALL, ManualClock, kill_writer, reopen

PAGE = 4096
RESERVED = 80
"""SQLCipher keeps the vector and the authentication code of a page at its end."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of `vault`."""
    return tmp_path / "home"


def log(transaction: WriteTransaction) -> int:
    return transaction.append(LogDraft(event="imported"))


async def keys_of(vault: Vault) -> LogKeys:
    return await vault.database.read(lambda db: log_keys.own_keys(db, vault.identity.public))


async def newest_head(vault: Vault, incarnation: int | None = None) -> bytes:
    head = await vault.database.read(lambda db: log_store.head(db, incarnation))
    assert head is not None
    return head.note


async def opened_head(vault: Vault) -> Checkpoint:
    return (await keys_of(vault)).open_head_untrusted(await newest_head(vault))


def entries_of(db: Connection, incarnation: int) -> list[bytes]:
    return [one.entry for one in log_store.walk(db, incarnation)]


async def assert_verifies(vault: Vault) -> None:
    """Let the log's own verifier, and the vault's check, look at every entry of every log."""
    keys = await keys_of(vault)
    for incarnation in await vault.database.read(log_store.incarnations):
        entries = await vault.database.read(partial(entries_of, incarnation=incarnation))
        report = verify_log(
            entries,
            await newest_head(vault, incarnation),
            keys=keys,
            origin=origin_of(vault.identity.public.fingerprint, incarnation),
        )
        assert report.problems == ()
    assert await check(vault) == []


async def seed(vault: Vault) -> bytes:
    rows = await vault.database.read(
        lambda db: db.execute("SELECT seed FROM log_keys WHERE seed IS NOT NULL").fetchall()
    )
    ((found,),) = rows
    return bytes(found)


# Rolling ------------------------------------------------------------------------------------------


async def test_a_roll_closes_the_epoch_with_a_head_of_the_old_key(vault: Vault) -> None:
    first = (await keys_of(vault)).key
    for _ in range(3):
        await vault.database.write(log)

    statement = await vault.roll_log_key()

    keys = await keys_of(vault)
    assert keys.statements == (statement,)
    closing = keys.closings(keys.origin)
    assert [one.size for one in closing] == [4]
    assert await opened_head(vault) == closing[0]
    assert keys.spans(keys.origin) == ((0, 4, first), (5, None, keys.key))
    said = verify_log_key_untrusted(statement, signer=vault.identity.public)
    assert said.previous == await newest_head(vault)
    entry = await vault.database.read(lambda db: log_store.entry(db, 3))
    values = await vault.database.read(lambda db: log_store.values(db, 3))
    assert entry is not None
    assert entry.event == "epoch_closed"
    assert values["epoch"].value == b"0"
    assert values["key"].value == keys.key.hex().encode()
    before = keys.open_head_untrusted(values["closing"].value)
    assert before.size == 3
    committed = await vault.database.write(log)
    assert keys.open_head_untrusted(committed.head).size == 5
    await assert_verifies(vault)


async def test_rolls_of_an_empty_log_and_one_after_another(vault: Vault, home: Path) -> None:
    for _ in range(3):
        await vault.roll_log_key()
    await vault.close()

    again = await reopen(home)
    keys = await keys_of(again)
    assert [one.size for one in keys.closings(keys.origin)] == [1, 2, 3]
    await again.database.write(log)
    await assert_verifies(again)
    await again.close()


async def test_what_is_written_beside_a_roll_is_in_one_epoch_or_the_other(vault: Vault) -> None:
    writes = [asyncio.create_task(vault.database.write(log)) for _ in range(300)]
    rolls = [asyncio.create_task(vault.roll_log_key()) for _ in range(2)]
    writes += [asyncio.create_task(vault.database.write(log)) for _ in range(300)]

    await asyncio.gather(*writes, *rolls)

    keys = await keys_of(vault)
    assert len(keys.closings(keys.origin)) == 2
    assert (await opened_head(vault)).size == 602
    for committed in {one.result().head for one in writes}:
        keys.open_head_untrusted(committed)
    await assert_verifies(vault)


async def test_a_roll_that_fails_changes_nothing(vault: Vault) -> None:
    before = await keys_of(vault)

    def fails(transaction: WriteTransaction) -> None:
        transaction.roll_log_key(lambda _: b"not a statement")
        raise RuntimeError("afterwards")

    with pytest.raises(RuntimeError, match="afterwards"):
        await vault.database.write(fails, alone=True)

    assert await keys_of(vault) == before
    await vault.database.write(log)
    await vault.roll_log_key()
    await assert_verifies(vault)


# Erased -------------------------------------------------------------------------------------------


def plain_pages(path: Path, key: bytes) -> bytes:
    """Return every page of an index as SQLCipher decrypts it, also those that nothing refers to."""
    data = path.read_bytes()
    found = b""
    for start in range(0, len(data), PAGE):
        page = data[start : start + PAGE]
        salt = 16 if start == 0 else 0
        vector = page[PAGE - RESERVED : PAGE - RESERVED + 16]
        decryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
        found += decryptor.update(page[salt : PAGE - RESERVED]) + decryptor.finalize()
    return found


async def test_an_erased_log_key_is_in_no_file_of_the_home(vault: Vault, home: Path) -> None:
    erased = []
    for turn in range(3):
        for _ in range(40):
            await vault.database.write(log)
        old = await seed(vault)
        if turn == 1:
            # Once copied from the write-ahead log into the index, it has to be erased there.
            await vault.database.truncate_wal()
            assert old in plain_pages(home / "index.db", vault.keys.index)
        erased.append(old)

        await vault.roll_log_key()

        assert (home / "index.db-wal").stat().st_size == 0
        pages = plain_pages(home / "index.db", vault.keys.index)
        assert await seed(vault) in pages
        for gone in erased:
            assert gone not in pages
            for path in home.rglob("*"):
                assert path.is_dir() or gone not in path.read_bytes()
    assert len(set(erased)) == 3


async def test_a_vault_holds_no_first_key_in_its_identity(vault: Vault) -> None:
    with pytest.raises(LocalError):
        _ = vault.identity.log


# Due after a passphrase -------------------------------------------------------------------------


async def test_a_changed_passphrase_replaces_the_key(vault: Vault, home: Path) -> None:
    await vault.change_passphrase(PASSPHRASE, "new horse", entropy=os.urandom, memory_bytes=SMALL)

    assert (await keys_of(vault)).epoch == 1
    assert not keyring.roll_is_due(home)
    await vault.close()


async def test_a_passphrase_changed_beside_the_vault_replaces_the_key_when_it_is_opened(
    vault: Vault, home: Path, clock: ManualClock
) -> None:
    await vault.close()
    keyring.change_passphrase(home, PASSPHRASE, "new horse", entropy=os.urandom, memory_bytes=SMALL)

    again = await Vault.open(home, passphrase="new horse", clock=clock, entropy=os.urandom)
    assert (await keys_of(again)).epoch == 1
    await again.close()
    again = await Vault.open(home, passphrase="new horse", clock=clock, entropy=os.urandom)
    assert (await keys_of(again)).epoch == 1
    await assert_verifies(again)
    await again.close()


async def test_a_recovered_vault_replaces_the_key_when_it_is_opened(
    tmp_path: Path, clock: ManualClock
) -> None:
    home = tmp_path / "recovered"
    vault, phrase = await Vault.create(
        home,
        name="alice",
        passphrase=PASSPHRASE,
        clock=clock,
        entropy=os.urandom,
        memory_bytes=SMALL,
    )
    await vault.close()
    await recover(
        home, phrase=phrase, passphrase="new horse", entropy=os.urandom, memory_bytes=SMALL
    )

    again = await Vault.open(home, passphrase="new horse", clock=clock, entropy=os.urandom)
    assert (await keys_of(again)).epoch == 1
    await again.close()


async def test_a_vault_from_a_backup_begins_a_new_log_before_its_key_is_replaced(
    vault: Vault, home: Path
) -> None:
    await vault.close()
    (home / "keyslots").unlink()
    again = await reopen(home)
    assert again.restored

    with pytest.raises(LocalError):
        await again.roll_log_key()

    assert (await keys_of(again)).epoch == 0
    await again.close()


# The next log -----------------------------------------------------------------------------------


async def test_the_next_log_begins_at_nothing_and_leaves_the_old_one_as_it_is(
    vault: Vault, home: Path
) -> None:
    for _ in range(5):
        await vault.database.write(log)
    old = await newest_head(vault)

    index = await vault.begin_log(1, old, lambda transaction: transaction.append(
        LogDraft(event="imported")
    ))  # fmt: skip

    assert index == 1
    origin = origin_of(vault.identity.public.fingerprint, 1)
    keys = await keys_of(vault)
    assert (keys.origin, keys.epoch) == (origin, 0)
    assert await newest_head(vault, 0) == old
    head = await opened_head(vault)
    assert (head.origin, head.size) == (origin, 2)
    first = await vault.database.read(lambda db: log_store.entry(db, 0))
    values = await vault.database.read(lambda db: log_store.values(db, 0))
    assert first is not None
    assert (first.incarnation, first.event) == (1, "incarnation_started")
    assert values["previous"].value == old
    assert values["incarnation"].value == b"1"
    committed = await vault.database.write(log)
    assert (committed.incarnation, committed.value, committed.size) == (1, 2, 3)
    await vault.roll_log_key()
    await vault.database.write(log)
    await assert_verifies(vault)
    await vault.close()
    again = await reopen(home)
    assert await again.database.read(log_store.incarnations) == [0, 1]
    await assert_verifies(again)
    await again.close()


async def test_a_new_log_that_fails_to_begin_leaves_the_old_one_in_use(vault: Vault) -> None:
    await vault.database.write(log)

    def fails(_transaction: WriteTransaction) -> None:
        raise RuntimeError("afterwards")

    with pytest.raises(RuntimeError, match="afterwards"):
        await vault.begin_log(1, b"", fails)

    committed = await vault.database.write(log)
    assert (committed.incarnation, committed.value) == (0, 1)
    assert await vault.database.read(log_store.incarnations) == [0]
    await assert_verifies(vault)


async def test_the_erased_key_of_the_old_log_is_in_no_file_either(vault: Vault, home: Path) -> None:
    await vault.database.write(log)
    old = await seed(vault)

    await vault.begin_log(1, b"", log)

    assert old not in plain_pages(home / "index.db", vault.keys.index)
    assert (home / "index.db-wal").stat().st_size == 0


# Damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE log_keys SET seed = NULL",
        "UPDATE log_keys SET seed = zeroblob(32) WHERE seed IS NOT NULL",
        "UPDATE log_keys SET seed = zeroblob(32)",
        "UPDATE log_keys SET statement = x'00' WHERE epoch = 1",
        "UPDATE log_keys SET statement = NULL WHERE epoch = 1",
        "DELETE FROM log_keys",
    ],
)
async def test_log_keys_that_do_not_fit_are_damage(vault: Vault, home: Path, change: str) -> None:
    await vault.roll_log_key()
    await vault.database.write(lambda transaction: transaction.connection.execute(change).rowcount)
    await vault.close()

    with pytest.raises(DamagedError):
        await reopen(home)


async def test_statements_that_do_not_follow_each_other_are_a_problem_of_the_check(
    vault: Vault,
) -> None:
    for _ in range(2):
        await vault.roll_log_key()
    await vault.database.write(
        lambda transaction: (
            transaction.connection.execute("DELETE FROM log_keys WHERE epoch = 1").rowcount
        )
    )

    assert [one.code for one in await check(vault)] == ["index"]


# Killed -------------------------------------------------------------------------------------------

ROLLER = """
import asyncio, os, sys
from pathlib import Path
from node.system import SystemClock
from node.vault.database import LogDraft
from node.vault.vault import Vault
async def main():
    vault = await Vault.open(Path(sys.argv[1]), passphrase=sys.argv[2], clock=SystemClock(),
        entropy=os.urandom)
    async def append():
        while True:
            done = await vault.database.write(
                lambda transaction: transaction.append(LogDraft(event="imported")))
            os.write(1, b"a %d\\n" % done.value)
    async def roll():
        while True:
            await vault.roll_log_key()
            os.write(1, b"r\\n")
    await asyncio.gather(append(), append(), roll())
asyncio.run(main())
"""


async def test_a_kill_at_any_instant_of_a_roll_leaves_one_epoch_or_the_next(
    vault: Vault, home: Path, tmp_path: Path
) -> None:
    await vault.close()
    program = tmp_path / "roller.py"
    program.write_text(ROLLER)
    trials = 100 if os.environ.get("SAFELIGHT_LONG") else 5
    told_rolls = 0
    trial = 0
    while trial < trials or not told_rolls:
        # A machine that has not rolled once in all of these is given longer.
        after = 0.003 * (trial * 7 % 40) * (1 + trial // trials)
        trial += 1
        told = await kill_writer(program, home, after=after)
        told_rolls += sum(1 for line in told if line[0] == b"r")
        highest = max((int(line[1]) for line in told if line[0] == b"a"), default=-1)

        again = await reopen(home)
        keys = await keys_of(again)
        head = await opened_head(again)
        assert head.size > highest
        assert keys.epoch >= told_rolls
        assert await seed(again)
        await assert_verifies(again)
        await again.close()
