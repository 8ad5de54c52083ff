"""A vault as a whole: made, opened, restored, and shared with nobody."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from node.vault import keyring, log_store
from node.vault.database import LogDraft, WriteTransaction
from node.vault.errors import (
    DamagedError,
    VaultBusyError,
    VaultExistsError,
    VaultMissingError,
    WrongPassphraseError,
)
from node.vault.keyslots import KeyslotRecord, SlotState, look
from node.vault.records import get_meta, set_meta
from node.vault.vault import Vault, recover
from protocol.audit.checkpoint import open_checkpoint_untrusted, origin_of
from protocol.audit.entry import decode_entry_untrusted
from protocol.errors import LocalError
from tests.node.vault.support import (
    PASSPHRASE,
    SMALL,
    ManualClock,
    fill,
    flip,
    kill_writer,
    new_vault,
    reopen,
)
from tests.support import ROOT

RECORD = KeyslotRecord(slot_secret=b"\x01" * 32, mix=bytes(32))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def files(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


async def test_a_new_vault_has_an_identity_that_reopening_finds_again(
    vault: Vault, home: Path
) -> None:
    made = vault.identity
    await vault.close()

    again = await reopen(home)

    assert made.public == again.identity.public
    assert made.agreement_secret == again.identity.agreement_secret
    assert made.public.name == "Ada's laptop"
    assert not again.restored
    await again.close()


async def test_the_log_is_signed_in_the_name_of_the_identity(vault: Vault) -> None:
    committed = await vault.database.write(
        lambda transaction: transaction.append(LogDraft(event="imported"))
    )

    checkpoint = open_checkpoint_untrusted(
        committed.head,
        origin=origin_of(vault.identity.public.fingerprint),
        log_public=vault.identity.public.log_key,
    )
    assert checkpoint.size == 1


async def test_a_closed_vault_is_these_files_and_no_others(vault: Vault, home: Path) -> None:
    await vault.close()

    assert files(home) == {"vault", "index.db", "keyslots", "lock"}


async def test_row_48_nothing_of_a_home_is_open_to_other_users(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    old = os.umask(0)
    try:
        vault = await new_vault(home)
        await fill(vault)
    finally:
        os.umask(old)

    modes = {path: path.stat().st_mode & 0o777 for path in [home, *home.rglob("*")]}
    assert {0o700} == {mode for path, mode in modes.items() if path.is_dir()}
    assert {0o600} == {mode for path, mode in modes.items() if path.is_file()}
    await vault.close()


async def test_guarantee_1_nothing_is_in_the_clear_at_rest(vault: Vault, home: Path) -> None:
    filled = await fill(vault)
    canary = b"canary of a picture" * 100
    key, sealed_under = os.urandom(32), b"\x05" * 96
    await vault.blobs.seal_bytes(canary, key, sealed_under)
    seeds = [vault.identity.agreement_secret, vault.keys.index, vault.keys.keyslots, key]

    words = [
        b"canary",
        PASSPHRASE.encode(),
        vault.identity.public.name.encode(),
        vault.identity.public.fingerprint,
        *(picture.name.encode() for picture in filled.pictures),
        *(picture.image_id for picture in filled.pictures),
        filled.capability_id,
        *seeds,
    ]
    for path in [path for path in home.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        for word in words:
            assert word not in data
            assert word.hex().encode() not in data


async def test_a_wrong_passphrase_opens_nothing_and_is_in_the_log_after_a_right_one(
    vault: Vault, home: Path
) -> None:
    await vault.close()
    for _ in range(2):
        with pytest.raises(WrongPassphraseError):
            await Vault.open(home, passphrase="wrong", clock=ManualClock(), entropy=os.urandom)

    again = await reopen(home)

    stored = await again.database.read(lambda db: log_store.entry(db, 0))
    values = await again.database.read(lambda db: log_store.values(db, 0))
    assert stored is not None
    assert decode_entry_untrusted(stored.entry).event == "unlock_failed"
    assert values["count"].value == b"2"
    assert keyring.failed_unlocks(home) == 0
    await again.close()


async def test_an_open_vault_checks_a_passphrase_without_opening_again(vault: Vault) -> None:
    with pytest.raises(WrongPassphraseError):
        await vault.check_passphrase("wrong")

    await vault.check_passphrase(PASSPHRASE)

    stored = await vault.database.read(lambda db: log_store.entry(db, 0))
    assert stored is not None
    assert stored.event == "unlock_failed"


async def test_the_passphrase_changes_while_the_vault_is_open(vault: Vault, home: Path) -> None:
    await vault.change_passphrase(
        PASSPHRASE, "new passphrase", entropy=os.urandom, memory_bytes=SMALL
    )
    await vault.check_passphrase("new passphrase")
    await vault.close()

    with pytest.raises(WrongPassphraseError):
        await reopen(home)
    again = await Vault.open(
        home, passphrase="new passphrase", clock=ManualClock(), entropy=os.urandom
    )
    await again.close()


async def test_the_recovery_phrase_sets_a_new_passphrase(home: Path) -> None:
    vault, phrase = await Vault.create(
        home,
        name="Ada",
        passphrase="forgotten",
        clock=ManualClock(),
        entropy=os.urandom,
        memory_bytes=SMALL,
    )
    with pytest.raises(VaultBusyError):
        await recover(home, phrase=phrase, passphrase=PASSPHRASE, entropy=os.urandom)
    await vault.close()

    await recover(
        home, phrase=phrase, passphrase=PASSPHRASE, entropy=os.urandom, memory_bytes=SMALL
    )

    again = await reopen(home)
    assert vault.identity.public == again.identity.public
    await again.close()


# One process --------------------------------------------------------------------------------------


async def test_a_second_process_is_told_who_has_the_vault(vault: Vault, home: Path) -> None:
    program = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from node.system import SystemClock\n"
        "from node.vault.errors import VaultBusyError\n"
        "from node.vault.vault import Vault\n"
        "async def main():\n"
        "    try:\n"
        "        await Vault.open(Path(sys.argv[1]), passphrase='x', clock=SystemClock(),"
        " entropy=os.urandom)\n"
        "    except VaultBusyError as error:\n"
        "        print(error.pid)\n"
        "asyncio.run(main())\n"
    )

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(home)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )

    assert done.stdout.strip() == str(os.getpid())
    assert keyring.failed_unlocks(home) == 0


async def test_a_vault_that_was_closed_is_free_again(vault: Vault, home: Path) -> None:
    with pytest.raises(VaultBusyError):
        await reopen(home)
    await vault.close()

    again = await reopen(home)
    await again.close()


async def test_an_open_that_fails_leaves_the_vault_free(vault: Vault, home: Path) -> None:
    await vault.close()
    with pytest.raises(WrongPassphraseError):
        await Vault.open(home, passphrase="wrong", clock=ManualClock(), entropy=os.urandom)

    again = await reopen(home)
    await again.close()


# Making -------------------------------------------------------------------------------------------


async def test_a_second_vault_is_never_made_over_a_first(vault: Vault, home: Path) -> None:
    await vault.close()
    before = (home / "index.db").read_bytes()

    with pytest.raises(VaultExistsError):
        await new_vault(home)

    assert before == (home / "index.db").read_bytes()


async def test_a_home_whose_header_is_gone_is_damaged_not_empty(vault: Vault, home: Path) -> None:
    await vault.close()
    (home / "vault").unlink()

    with pytest.raises(DamagedError):
        await reopen(home)
    with pytest.raises(DamagedError):
        await new_vault(home)
    assert "index.db" in files(home)


async def test_a_folder_with_something_else_in_it_loses_nothing(home: Path) -> None:
    (home / "blobs").mkdir(parents=True)
    mine = home / "blobs" / "holiday.jpg"
    mine.write_bytes(b"mine")

    with pytest.raises(DamagedError):
        await new_vault(home)

    assert mine.read_bytes() == b"mine"


async def test_a_home_whose_index_is_gone_or_empty_is_damaged(vault: Vault, home: Path) -> None:
    await vault.close()
    os.truncate(home / "index.db", 0)
    with pytest.raises(DamagedError):
        await reopen(home)

    (home / "index.db").unlink()

    with pytest.raises(DamagedError):
        await reopen(home)


async def test_a_folder_without_a_vault_says_so(tmp_path: Path) -> None:
    with pytest.raises(VaultMissingError):
        await reopen(tmp_path)
    with pytest.raises(VaultMissingError):
        await reopen(tmp_path / "nowhere")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "passphrase"), [("", "good"), ("two\nlines", "good"), ("ok", "")])
async def test_a_name_or_passphrase_that_cannot_be_makes_no_vault(
    home: Path, name: str, passphrase: str
) -> None:
    with pytest.raises(LocalError):
        await Vault.create(
            home,
            name=name,
            passphrase=passphrase,
            clock=ManualClock(),
            entropy=os.urandom,
            memory_bytes=SMALL,
        )

    with pytest.raises(VaultMissingError):
        await reopen(home)
    vault = await new_vault(home)
    await vault.close()


MAKER = """
import asyncio, os, sys
from pathlib import Path
from node.system import SystemClock
from node.vault.vault import Vault
async def main():
    print("go", flush=True)
    vault, _ = await Vault.create(Path(sys.argv[1]), name="Ada", passphrase=sys.argv[2],
        clock=SystemClock(), entropy=os.urandom, memory_bytes=64 * 1024 * 1024)
    print("made", flush=True)
asyncio.run(main())
"""


async def test_a_kill_while_a_vault_is_made_leaves_one_that_opens_or_none(
    tmp_path: Path,
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    program = tmp_path / "maker.py"
    program.write_text(MAKER)
    points = range(1, 40) if os.environ.get("SAFELIGHT_LONG") else (2, 9, 12, 16, 21, 60)
    outcomes = set()
    for when in points:
        home = tmp_path / f"home-{when}"
        command = ["strace", "-f", "-o", "/dev/null", "-e"]
        command += [f"inject=fsync,fdatasync,unlink,rename:signal=SIGKILL:when={when}"]
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, sys.executable, str(program), str(home), PASSPHRASE],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )

        try:
            vault = await reopen(home)
            outcomes.add("opens")
        except VaultMissingError:
            assert "made" not in done.stdout
            vault = await new_vault(home)
            outcomes.add("made anew")
        await vault.close()
        assert files(home) == {"vault", "index.db", "keyslots", "lock"}
    assert outcomes == {"opens", "made anew"}


# Start-up -----------------------------------------------------------------------------------------


async def test_start_up_destroys_keyslots_that_no_live_capability_names(
    vault: Vault, home: Path
) -> None:
    filled = await fill(vault)
    never = vault.keyslots.allocate()
    vault.keyslots.write(never, b"\x09" * 16, RECORD)

    def end(transaction: WriteTransaction) -> None:
        transaction.connection.execute("UPDATE grants SET slot = NULL, ended_at = 1")

    await vault.close()
    first = await reopen(home)
    assert first.keyslots.read(filled.slot, filled.capability_id)
    await first.database.write(end)
    await first.close()
    second = await reopen(home)

    _, slots = look(home / "keyslots", second.keys.keyslots)
    assert {SlotState.EMPTY} == {slot.state for slot in slots}
    await second.close()


async def test_start_up_removes_sealed_files_without_a_row(vault: Vault, home: Path) -> None:
    await fill(vault)
    kept = files(home / "blobs")
    orphan = await vault.blobs.seal_bytes(b"no row", bytes(32), b"\x05" * 96)
    await vault.close()

    again = await reopen(home)

    assert kept == files(home / "blobs")
    assert orphan.blob_id.hex() not in str(kept)
    await again.close()


async def test_an_index_from_a_backup_is_noticed_by_its_keyslots(vault: Vault, home: Path) -> None:
    await fill(vault)
    await vault.close()
    (home / "keyslots").unlink()

    for _ in range(2):
        again = await reopen(home)
        assert again.restored
        assert await again.database.write(lambda transaction: None)
        await again.close()


async def test_row_46_a_backup_without_passphrase_opens_nothing(
    vault: Vault, home: Path, tmp_path: Path
) -> None:
    await fill(vault)
    await vault.close()
    stolen = tmp_path / "stolen"
    stolen.mkdir()
    for name in ("index.db", "blobs"):
        (shutil.copytree if (home / name).is_dir() else shutil.copy)(home / name, stolen / name)

    with pytest.raises(DamagedError):
        await reopen(stolen)


async def test_damaged_keyslots_are_named_when_the_vault_is_opened(
    vault: Vault, home: Path
) -> None:
    await vault.close()
    flip(home / "keyslots", 20)

    with pytest.raises(DamagedError) as damaged:
        await reopen(home)

    assert damaged.value.what == "keyslots"


async def test_seeds_that_do_not_fit_the_certificate_are_damage(vault: Vault, home: Path) -> None:
    def put(transaction: WriteTransaction, *, key: str, value: bytes) -> None:
        set_meta(transaction.connection, key, value)

    for key, value in (("seeds", bytes(128)), ("seeds", b"short"), ("certificate", b"none")):
        await vault.database.write(partial(put, key=key, value=value))
    await vault.close()

    with pytest.raises(DamagedError):
        await reopen(home)


WRITER = """
import asyncio, os, sys
from pathlib import Path
from node.system import SystemClock
from node.vault.database import LogDraft, Subject
from node.vault.records import set_meta
from node.vault.vault import Vault
async def main():
    vault = await Vault.open(Path(sys.argv[1]), passphrase=sys.argv[2], clock=SystemClock(),
        entropy=os.urandom)
    async def work(number):
        for turn in range(10_000):
            subject = Subject(kind="image", reference=os.urandom(16))
            def job(transaction):
                set_meta(transaction.connection, f"{number}", b"%d" % turn)
                return transaction.append(LogDraft(event="imported", subjects=(subject,)))
            committed = await vault.database.write(job)
            os.write(1, b"%d %d %d\\n" % (number, turn, committed.value))
    await asyncio.gather(*(work(number) for number in range(8)))
asyncio.run(main())
"""


async def test_guarantee_10_what_was_acknowledged_survives_a_kill(
    vault: Vault, home: Path, tmp_path: Path
) -> None:
    await vault.close()
    program = tmp_path / "writer.py"
    program.write_text(WRITER)
    trials = 100 if os.environ.get("SAFELIGHT_LONG") else 4
    total = 0
    for trial in range(trials):
        lines = await kill_writer(program, home, after=0.01 * (trial % 20))
        told = {int(number): (int(turn), int(index)) for number, turn, index in lines}
        assert told

        again = await reopen(home)
        size = await again.database.read(lambda db: log_store.head(db))
        assert size is not None
        assert size.size > max(index for _, index in told.values())
        for number, (turn, _) in told.items():
            kept = await again.database.read(partial(get_meta, key=str(number)))
            assert kept is not None
            assert int(kept) >= turn
        total = size.size
        await again.close()
    assert total > trials


def test_memory_goes_into_no_core_dump_and_files_are_ours_alone() -> None:
    program = (
        "import ctypes, os, resource\n"
        "from node.vault.process import protect_process\n"
        "protect_process()\n"
        "dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)), dumpable)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert done.stdout == "(0, 0) 0o77 0\n"
