"""One log shown to some and another one to others: found where heads meet, told to everybody."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from node import dispatch
from node.control.schema import AuditEvidence
from node.errors import UnknownError, UnreachableError
from node.services import witnessed
from node.services.witnessing import Shown
from node.vault.records import team as rows
from protocol.audit.checkpoint import parse_checkpoint_untrusted
from protocol.audit.equivocation import decode_evidence_untrusted, verify_evidence_untrusted
from protocol.audit.note import split_note_untrusted
from protocol.errors import Refused, SafelightError
from protocol.messages import AddCheckpoint, Cosigned, FetchHead, FetchHeads, Head, Heads
from tests.attacks.mallory import Log, Mallory, enlisted, receive_grant, refused, show_two_histories
from tests.node.services.conditions import execute
from tests.node.services.team import Person, eventually, start_node, team


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask peers for heads every fifth of a second."""
    monkeypatch.setattr(witnessed, "_PAUSE_S", 0.2)


async def alarms(person: Person) -> list[dict[str, Any]]:
    return await person.node.describe_alarms()


async def all_alarmed(*people: Person) -> None:
    async def found() -> bool:
        return all([await alarms(person) for person in people])

    await eventually(found, seconds=30)


def two_histories(mallory: Mallory) -> tuple[Log, Log]:
    """Return two logs of 16 entries that part after the tenth."""
    for _ in range(9):
        mallory.log.append()
    other = mallory.log.copy()
    for _ in range(6):
        mallory.log.append()
        other.append()
    return mallory.log, other


async def test_t08b_two_heads_of_one_size_shown_to_two_members_are_found_by_everybody(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol),
        enlisted(alice) as mallory,
    ):
        first, second = two_histories(mallory)
        # What one of them was shown, the other is not to hear before it was shown the other one.
        for person in (alice, bob, carol):
            await person.node.witnessed.close()
        to_bob = await mallory.dial(bob)
        # T08a: each of them by itself has no reason to refuse.
        shown = AddCheckpoint(old=16, proof=(), note=first.head())
        assert isinstance(await to_bob.request(shown), Cosigned)
        mallory.log = second
        to_carol = await mallory.dial(carol)
        shown = AddCheckpoint(old=16, proof=(), note=second.head())
        assert isinstance(await to_carol.request(shown), Cosigned)

        # Bob and carol only meet alice, to whom mallory never spoke.
        for person in (alice, bob, carol):
            person.node.witnessed.start()
        await all_alarmed(alice, bob, carol)

        for person in (alice, bob, carol):
            (alarm,) = await alarms(person)
            assert (alarm["name"], alarm["kind"], alarm["proven"]) == (
                "mallory",
                "equivocation",
                True,
            )
            evidence = await dispatch.call(
                person.node, "audit_evidence", AuditEvidence(), lambda *_: None
            )
            proven = verify_evidence_untrusted(
                decode_evidence_untrusted(base64.b64decode(evidence["evidence"]))
            )
            assert proven.identity.fingerprint == mallory.me
            (logged,) = await person.events("witness_alarm")
            assert logged["detail"]["member"] == "mallory"
        await eventually(closed(to_bob))
        await eventually(closed(to_carol))


async def test_two_heads_that_two_members_tell_at_once_are_both_looked_at(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:

        async def known() -> bool:
            return bob.node.membership.member(mallory.me) is not None

        await eventually(known)
        member = mallory.local.public
        shown = [
            Shown(parse_checkpoint_untrusted(split_note_untrusted(note)[0]), note)
            for note in (log.head() for log in two_histories(mallory))
        ]

        await asyncio.gather(*(bob.node.witnessing.hear_of(member, one) for one in shown))

        assert [one["kind"] for one in await alarms(bob)] == ["equivocation"]


def shown_as(note: bytes) -> Shown:
    """Return a signed head as a node has it that has verified it."""
    return Shown(parse_checkpoint_untrusted(split_note_untrusted(note)[0]), note)


@pytest.mark.parametrize("first", ["gossip", "greeting", "both"])
async def test_one_fork_that_is_found_in_two_ways_is_one_alarm(tmp_path: Path, first: str) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for person in (alice, bob):
            await person.node.witnessed.close()
        old = shown_as(mallory.log.head())
        for _ in range(11):
            mallory.log.append()
        held = mallory.log.head()
        await mallory.dial(bob)
        member = mallory.local.public

        async def linked() -> bool:
            return bob.node.peering.link(mallory.me) is not None

        await eventually(linked)
        link = bob.node.peering.link(mallory.me)
        assert link is not None
        # Both are heads of the log that was shown, and the log can prove neither any more.
        mallory.log = mallory.log.fork(0, grown=32)

        async def gossip() -> None:
            assert await bob.node.witnessing.hear_of(member, old)
            with contextlib.suppress(SafelightError):
                await bob.node.witnessing.follow(link.session, member)

        async def greeting() -> None:
            with pytest.raises(SafelightError):
                await mallory.dial(bob)

        if first == "both":
            await asyncio.gather(gossip(), greeting())
        else:
            for step in (gossip, greeting) if first == "gossip" else (greeting, gossip):
                await step()

        (alarm,) = await alarms(bob)
        assert (alarm["kind"], alarm["proven"]) == ("fork", True)
        row = await bob.node.witnessing.alarms.row(None)
        assert (row.first, row.second) == (held, mallory.log.head())
        logged = [one["detail"] for one in await bob.events("witness_alarm")]
        assert [one["kind"] for one in logged if one["kind"] != "head"] == ["fork"]


async def test_two_heads_that_go_together_are_no_alarm_because_one_proof_of_them_is_none(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(11):
            mallory.log.append()
        old = mallory.log.head(5)
        session = await mallory.dial(bob)
        asked: list[tuple[int, int]] = []

        async def wrong_once(_session: object, request: FetchHead) -> Head:
            asked.append((request.from_size, request.to_size))
            answer = mallory.log.answer(request)
            return Head(note=answer.note, proof=()) if len(asked) == 1 else answer

        for _ in range(4):
            mallory.log.append()
        mallory.script[FetchHead] = wrong_once

        await session.request(mallory.hello(my_head=old))

        assert asked == [(5, 12), (12, 16), (5, 16)]
        assert await alarms(bob) == []


async def test_what_a_person_has_looked_into_is_not_found_again_where_others_tell_it(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for person in (alice, bob):
            await person.node.witnessed.close()
        await show_two_histories(mallory, bob)
        (alarm,) = await alarms(bob)
        row = await bob.node.witnessing.alarms.row(alarm["id"])
        await bob.node.witnessing.alarms.clear(alarm["id"])

        # Before a head of it is held again, and after.
        member, old = mallory.local.public, shown_as(row.first)
        assert not await bob.node.witnessing.hear_of(member, old)
        await mallory.dial(bob)
        assert not await bob.node.witnessing.hear_of(member, old)

        await mallory.dial(bob)
        assert await alarms(bob) == []


def closed(session: Any) -> Any:
    async def is_closed() -> bool:
        return bool(session.closed.is_set())

    return is_closed


@pytest.mark.parametrize("size", [15, 16])  # A proof from 16 leaves out the root it starts from.
async def test_t09a_two_heads_of_two_sizes_are_an_alarm_once_the_log_cannot_prove_them(
    tmp_path: Path, size: int
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        # They exchange heads when this test says so.
        await alice.node.witnessed.close()
        await bob.node.witnessed.close()
        first, second = two_histories(mallory)
        del first.entries[size:]
        second.append()
        await mallory.dial(alice)
        mallory.log = second
        await mallory.dial(bob)
        to_bob, to_alice = alice.node.peering.link(bob.me), bob.node.peering.link(alice.me)
        assert to_bob is not None
        assert to_alice is not None
        assert await alarms(alice) == await alarms(bob) == []

        # Of 15 or 16, and of 17 entries. Alice asks mallory for the proof.
        await alice.node.witnessed.exchange([to_bob])

        await all_alarmed(alice)
        (alarm,) = await alarms(alice)
        assert (alarm["name"], alarm["kind"], alarm["proven"]) == ("mallory", "fork", True)
        await bob.node.witnessed.exchange([to_alice])
        await all_alarmed(bob)


async def test_t16b_a_witness_put_back_to_an_older_state_signs_a_fork_and_that_is_found(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol),
        enlisted(alice) as mallory,
    ):
        first, second = two_histories(mallory)
        await mallory.dial(carol)
        mallory.log = first
        to_bob = await mallory.dial(bob)
        # T16a: what bob held when his disk was backed up.
        await execute(
            bob,
            "UPDATE peer_heads SET size = ?, note = ? WHERE origin = ?",
            10,
            first.head(10),
            first.origin,
        )
        mallory.log = second
        shown = AddCheckpoint(old=10, proof=second.consistency(10), note=second.head())
        assert isinstance(await to_bob.request(shown), Cosigned)

        async def proven() -> bool:
            found = [
                {(one["kind"], one["proven"]) for one in await alarms(person)}
                for person in (alice, bob, carol)
            ]
            return all(("equivocation", True) in one for one in found)

        # Some may first find that the fork does not extend an older head.
        await eventually(proven, seconds=30)


async def test_heads_of_an_honest_log_that_peers_hold_of_other_sizes_are_no_alarm(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        await bob.node.membership.add_addresses(carol.me, carol.node.addresses(), source="added")
        await bob.node.peering.reach(carol.me, 45)
        for number in range(4):
            await alice.import_pictures(1, size=(40 + number, 30))
            await bob.node.peering.ping(alice.me)
            await bob.import_pictures(1, size=(40 + number, 31))

        async def even() -> bool:
            told = [await one.node.witnessed.describe() for one in (alice, bob, carol)]
            return all(one["unwitnessed"] == 0 for one in told)

        await eventually(even, seconds=30)
        for person in (alice, bob, carol):
            assert await alarms(person) == []
            assert await person.events("witness_alarm") == []


async def test_row_41_a_peer_that_tells_nonsense_of_others_logs_alarms_nobody(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        told = 0
        held = await bob.read(lambda db: rows.peer_head(db, mallory.log.origin))
        assert held is None
        forged = Log(mallory.local)
        forged.origin = Log(alice.node.context.identity).origin
        forged.append()

        async def nonsense(_session: object, request: FetchHeads) -> Heads:
            nonlocal told
            told += 1
            notes = (b"", b"\n\n", bytes(700), b"x" * 900, forged.head(), mallory.log.head())
            return Heads(notes=notes, next=request.after + 1)

        mallory.script[FetchHeads] = nonsense
        await mallory.dial(bob)

        async def heard() -> bool:
            return told > 3

        await eventually(heard)
        assert await alarms(bob) == []
        assert not bob.node.witnessing.behind


# What follows from an alarm -----------------------------------------------------------------------


async def test_dealings_stop_both_ways_and_after_a_restart_until_a_person_clears_the_alarm(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        held = await mallory.grant(session, mallory.forge(bob))
        row = await bob.node.inbox.resolve(held)
        images = await bob.node.inbox.resolve_images(row, [])
        await bob.node.fetching.fetch(row, images, progress=lambda *_: None)
        unfetched = await mallory.grant(session, mallory.forge(bob))
        (image,) = await bob.import_pictures(1)
        await bob.share([image["id"]], ["mallory"])
        (manifest,) = await receive_grant(mallory)
        await show_two_histories(mallory, bob)
        await eventually(closed(session))

        for _ in range(2):
            for capability in (held, unfetched):
                with pytest.raises(UnreachableError) as refusal:
                    await bob.open(capability)
                assert refusal.value.code == "fork"
            assert bob.node.peering.stopped(mallory.me)
            again = await mallory.dial(bob, greet=False)
            assert isinstance(await mallory.open(again, manifest), str)
            assert await refused(again.request(mallory.hello())) != "taken"
            # Rosters and heads are told on.
            assert (await again.request(mallory.roster_update())) is not None
            shown = [one for one in await bob.node.peers() if one["name"] == "mallory"]
            assert shown[0]["alarm"]
            await bob.restart()
        assert await bob.events("released") == []

        (alarm,) = await alarms(bob)
        with pytest.raises(UnknownError):
            await bob.node.witnessing.alarms.clear(alarm["id"] + 1)
        await bob.node.witnessing.alarms.clear(alarm["id"])

        assert await alarms(bob) == []
        assert [one["state"] for one in await bob.node.describe_alarms(past=True)] == ["cleared"]
        assert len(await bob.events("witness_alarm")) == 2
        await mallory.dial(bob)
        assert not bob.node.peering.stopped(mallory.me)
        # A log that goes on contradicting itself is the next alarm.
        mallory.log.entries[2:] = []
        for _ in range(30):
            mallory.log.append()
        with pytest.raises(Refused):
            await mallory.dial(bob)
        assert [one["kind"] for one in await alarms(bob)] == ["fork"]


async def test_t17_a_copied_disk_is_found_where_the_heads_of_both_meet(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, _, carol):
        await carol.node.close()
        shutil.copytree(carol.home, tmp_path / "copy")
        carol.node = await start_node(carol.home, carol.clock, carol.imaging)
        await carol.import_pictures(2)
        await carol.node.peering.reach(alice.me, 45)

        async def covered() -> bool:
            return bool((await carol.node.witnessed.describe())["unwitnessed"] == 0)

        await eventually(covered)
        await carol.node.close()
        copy = await start_node(tmp_path / "copy", carol.clock, carol.imaging)
        carol.node, kept = copy, carol.home
        carol.home = tmp_path / "copy"

        async def noticed() -> bool:
            return bool(await alice.node.describe_alarms(past=True)) or copy.witnessing.behind

        await eventually(noticed, seconds=30)
        assert kept.exists()
