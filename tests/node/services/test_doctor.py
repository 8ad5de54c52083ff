"""What a running node tells of its own health."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node import dispatch
from node.control import schema
from node.imaging.messages import Wall, WallName, WallState
from node.services import log_verifying
from node.services.doctor import decoding
from node.services.findings import Finding, State, described, report
from node.vault import keyring
from node.vault.records import grants as rows
from tests.attacks.mallory import enlisted, show_two_histories
from tests.node.services.team import PASSPHRASE, Person, eventually, start_node, team

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


async def found(person: Person, check: str) -> Finding:
    """Return the finding of one check."""
    (finding,) = [one for one in await person.node.look_at_health() if one.check == check]
    return finding


async def ended(person: Person) -> bool:
    """Say whether the one capability that a person granted has ended, its secret destroyed."""
    (grant,) = await person.read(rows.grants)
    return grant.ended_at is not None


def walls(**states: WallState) -> list[Wall]:
    """Return walls that all stand but for those named."""
    return [Wall(name=name, state=states.get(name.name, WallState.STANDS)) for name in WallName]


def test_whole_walls_are_well() -> None:
    finding = decoding(walls())

    assert finding.state == State.OK
    assert "Landlock" in finding.message
    assert "seccomp" in finding.message


def test_a_wall_that_the_system_does_not_have_is_a_warning_that_names_it() -> None:
    finding = decoding(walls(SYSTEM_CALLS=WallState.UNSUPPORTED))

    assert finding.state == State.WARNING
    assert finding.message.startswith("this system cannot give decoders: no other system calls")
    assert finding.hint


def test_a_wall_that_decoding_did_not_survive_is_a_problem_that_names_it() -> None:
    finding = decoding(walls(FILES=WallState.FAILED, NETWORK=WallState.UNSUPPORTED))

    assert finding.state == State.PROBLEM
    assert finding.message.startswith("pictures cannot be decoded behind: no files (Landlock);")


def test_no_decoder_is_a_problem() -> None:
    assert decoding([]).state == State.PROBLEM


def test_a_process_that_was_not_protected_is_told_from_one_that_was() -> None:
    script = (
        "from node.services.doctor import core_dumps\n"
        "from node.vault.process import protect_process\n"
        "print(core_dumps().state)\n"
        "protect_process()\n"
        "print(core_dumps().state)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()

    assert said[1] == "ok"
    if sys.platform == "linux":
        assert said[0] == "problem"


async def test_a_node_in_order_has_nothing_to_tell(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        for person in (alice, bob):
            findings = await person.node.look_at_health()

            assert [one.state for one in findings] == [State.OK] * 6
            assert report(described(findings))["ok"]


async def test_a_clock_that_was_moved_is_a_problem_until_it_is_accepted(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"], duration="1h")
        await bob.wait_ready(granted["id"])
        manifest = await bob.manifest(granted["id"])

        alice.clock.shift = 2 * HOUR_MS
        alice.node.ending.deadlines_changed()
        moved = await found(alice, "clock")

        assert moved.state == State.PROBLEM
        assert "+2.0 h" in moved.message
        assert "--accept-clock" in moved.hint
        assert await bob.ask(granted["id"], manifest) == "clock"
        # What is over only by the moved clock is not destroyed.
        assert not await ended(alice)

        await alice.node.accept_clock()

        # Who reads the log later learns that the times in it went by a clock that was moved.
        (logged,) = await alice.events("verified")
        assert logged["detail"]["what"] == "clock"
        assert 7190 < int(logged["detail"]["moved"].removesuffix(" s")) < 7210
        assert (await found(alice, "clock")).state == State.OK
        assert await eventually(lambda: ended(alice))


async def test_a_moved_clock_that_is_set_right_has_destroyed_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"], duration="1h")
        await bob.wait_ready(granted["id"])

        alice.clock.shift = 30 * DAY_MS
        alice.node.ending.deadlines_changed()
        assert (await found(alice, "clock")).state == State.PROBLEM
        alice.clock.shift = 0

        assert (await found(alice, "clock")).state == State.OK
        assert (await bob.open(granted["id"]))["width"] > 0


async def test_a_clock_behind_the_log_is_a_problem(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        alice.clock.shift = -HOUR_MS // 2

        finding = await found(alice, "clock")

        assert finding.state == State.PROBLEM
        assert finding.hint == "set the clock right"


async def test_a_roster_that_ends_soon_is_a_warning_and_one_that_ended_a_problem(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (_alice, bob):
        left = bob.node.membership.trusted.roster.expires_at - bob.clock.now()

        bob.clock.advance(left - 7 * DAY_MS)
        assert (await found(bob, "team")).state == State.WARNING
        bob.clock.advance(8 * DAY_MS)
        expired = await found(bob, "team")

        assert expired.state == State.PROBLEM
        assert "expired" in expired.message
        assert "safelight team renew" in expired.hint


async def test_an_alarm_is_a_problem_until_somebody_has_looked_into_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await show_two_histories(mallory, bob)

        alarm = await found(bob, "log")
        bob.clock.advance(31 * DAY_MS)
        later = await found(bob, "log")
        (standing,) = await bob.node.describe_alarms()
        await bob.node.witnessing.alarms.clear(standing["id"])

        assert alarm == later
        assert (alarm.state, alarm.code) == (State.PROBLEM, "fork")
        assert "about the log of mallory" in alarm.message
        assert (await found(bob, "log")).state == State.OK


ANOTHER_EVENT = (
    "UPDATE log_entries SET entry = CAST(replace(CAST(entry AS TEXT), 'imported', 'exported')"
    " AS BLOB) WHERE log_index = 2"
)


async def change_the_log(person: Person, sql: str) -> None:
    """Change what is stored of the log behind the node's back."""
    await person.node.context.database._writer.run(lambda db: db.execute(sql))


async def test_a_log_that_was_verified_says_up_to_where_and_when(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        await alice.import_pictures(3)
        before = await found(alice, "verified")
        assert before.message.endswith("the whole of the own log was not verified yet")
        assert before.hint == "safelight audit verify"

        report = await dispatch.call(alice.node, "audit_verify", schema.Empty(), lambda *_: None)
        await alice.node.accept_clock()  # That is noted as verified too, and is not the log.
        await alice.restart()
        after = await found(alice, "verified")

        (noted, _clock) = await alice.events("verified")
        assert after.state is State.OK
        assert f"verified up to {report['size']} entries at {noted['time'][:19]}" in after.message
        assert "the newest entries fit the signed head: " in after.message


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            ANOTHER_EVENT,
            "the entries do not hash to the signed root",
        ),
        ("UPDATE log_entries SET entry = x'00' WHERE log_index = 2", "entry 2: "),
        ("DELETE FROM log_entries WHERE log_index = 2", "DOES NOT VERIFY"),
        ("DELETE FROM log_entries WHERE log_index > 1", "not all of them are here"),
        ("UPDATE log_head SET note = x'00'", "DOES NOT VERIFY: the signed head"),
        ("DELETE FROM log_head", "DOES NOT VERIFY: the signed head"),
        ("UPDATE log_head SET size = 1", ""),
    ],
)
async def test_a_log_that_was_changed_is_a_problem_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, said: str
) -> None:
    for newest in (2, 512):
        monkeypatch.setattr(log_verifying, "_NEWEST", newest)
        async with team(tmp_path / str(newest), "alice") as (alice,):
            await alice.import_pictures(3)
            assert (await found(alice, "verified")).state is State.OK

            await change_the_log(alice, sql)
            changed = await found(alice, "verified")

            if not said:  # What is stored beside the signed head decides nothing.
                assert changed.state is State.OK
                continue
            assert (changed.state, changed.code) == (State.PROBLEM, "verification")
            assert said in changed.message
            assert "safelight audit verify" in changed.hint


async def test_what_a_verification_found_is_told_until_one_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deep in a log a moment's look comes to nothing; what was found there is remembered."""
    monkeypatch.setattr(log_verifying, "_NEWEST", 2)
    async with team(tmp_path, "alice") as (alice,):
        await alice.import_pictures(9)
        (kept,) = await alice.read(
            lambda db: db.execute("SELECT entry FROM log_entries WHERE log_index = 1").fetchone()
        )
        await change_the_log(alice, "UPDATE log_entries SET entry = x'00' WHERE log_index = 1")
        assert (await found(alice, "verified")).state is State.OK

        await dispatch.call(alice.node, "audit_verify", schema.Empty(), lambda *_: None)
        await alice.restart()
        told = await found(alice, "verified")
        assert (told.state, told.code) == (State.PROBLEM, "verification")
        assert "the own log DID NOT VERIFY at " in told.message

        mended = f"UPDATE log_entries SET entry = x'{kept.hex()}' WHERE log_index = 1"
        await change_the_log(alice, mended)
        await dispatch.call(alice.node, "audit_verify", schema.Empty(), lambda *_: None)
        assert (await found(alice, "verified")).state is State.OK


async def test_keys_are_told_with_their_age_and_what_is_due(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _bob):
        (image,) = await alice.import_pictures(1)
        await alice.share([image["id"]], ["bob"])
        first = await found(alice, "keys")
        assert first.state is State.OK
        assert first.message.startswith("the log is signed by its key 1, since 20")
        assert "keyslots in use: 1;" in first.message

        alice.clock.advance(DAY_MS)
        await alice.node.log_keys.roll()
        (closed,) = await alice.events("epoch_closed")
        rolled = await found(alice, "keys")
        assert f"its key 2, since {closed['time'][:19]}" in rolled.message

        keyring.change_passphrase(
            alice.home,
            PASSPHRASE,
            PASSPHRASE,
            entropy=alice.node.context.entropy,
            memory_bytes=64 * 1024 * 1024,
        )
        due = await found(alice, "keys")
        assert (due.state, due.hint) == (State.WARNING, "safelight audit roll")
        await alice.node.log_keys.roll_if_due()
        assert (await found(alice, "keys")).state is State.OK


async def test_keyslots_that_were_damaged_are_told(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        await alice.node.close()
        file = alice.home / "keyslots"
        data = bytearray(file.read_bytes())
        data[-10] ^= 1
        file.write_bytes(data)
        alice.node = await start_node(alice.home, alice.clock, alice.imaging)

        damaged = await found(alice, "keys")

        assert (damaged.state, damaged.hint) == (State.WARNING, "safelight check")
        assert "keyslots that were damaged, none of them in use: 1" in damaged.message


async def test_a_vault_that_was_restored_says_so(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        alice.node.witnessing.behind = True

        restored = await found(alice, "own log")

        assert (restored.state, restored.code) == (State.PROBLEM, "restored")
