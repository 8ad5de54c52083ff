"""The own log as peers witness it: cosigned on contact and while it grows, and what is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.services import witnessed
from node.vault import log_store
from node.vault.records import witness as rows
from node.vault.records.witness import Cosigned as CosignedRow
from protocol.audit.checkpoint import origin_of, sign_checkpoint
from protocol.audit.log_keys import LogKeys
from protocol.audit.note import open_note_untrusted
from protocol.audit.witness import witness_key
from protocol.messages import AddCheckpoint, Cosigned, Held
from tests.attacks.mallory import enlisted, refused
from tests.node.services.conditions import execute
from tests.node.services.team import Person, eventually, team


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer heads every fifth of a second."""
    monkeypatch.setattr(witnessed, "_PAUSE_S", 0.2)


async def cosignatures(person: Person) -> list[CosignedRow]:
    return await person.read(lambda db: rows.cosignatures(db, origin_of(person.me)))


async def size(person: Person) -> int:
    head = await person.read(log_store.head)
    return 0 if head is None else head.size


async def test_peers_cosign_the_newest_head_and_the_note_proves_it(
    tmp_path: Path, hurry: None
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        await alice.import_pictures(3)

        async def all_of_it() -> bool:
            found = await cosignatures(alice)
            return len(found) == 2 and {one.size for one in found} == {await size(alice)}

        await eventually(all_of_it)

        keys = {witness_key(one.node.context.identity.public) for one in (bob, carol)}
        signed = set()
        for row in await cosignatures(alice):
            note = open_note_untrusted(row.note, keys)
            signed |= {one.key for one in note.verified}
            head = LogKeys.of(alice.node.context.identity.public).open_head_untrusted(row.note)
            assert head.size == row.size
        assert signed == keys


async def test_what_is_witnessed_is_told_with_the_tail_that_is_not(
    tmp_path: Path, hurry: None
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.import_pictures(2)

        async def all_of_it() -> bool:
            return bool((await alice.node.witnessed.describe())["unwitnessed"] == 0)

        await eventually(all_of_it)
        covered = await size(alice)
        told = await alice.node.witnessed.describe()
        assert told["size"] == covered
        assert (told["witnesses"], told["members"]) == (1, 1)
        assert [one["name"] for one in told["cosigned_by"]] == ["bob"]
        assert told["unwitnessed_s"] == 0

        await bob.node.close()
        await alice.import_pictures(1, size=(40, 40))
        alice.clock.advance(90_000)
        later = await alice.node.witnessed.describe()

        assert later["size"] == covered
        assert later["unwitnessed"] == await size(alice) - covered > 0
        assert 90 <= later["unwitnessed_s"] < 600
        await bob.restart()
        await eventually(all_of_it)


async def test_a_log_is_cosigned_on_contact_without_waiting_for_the_next_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnessed, "_PAUSE_S", 3600.0)
    async with team(tmp_path, "alice", "bob") as (alice, _):
        await alice.import_pictures(1)
        before = await size(alice)
        await alice.restart()

        async def covered() -> bool:
            return any(one.size >= before for one in await cosignatures(alice))

        await eventually(covered)


async def test_nobody_writes_to_a_log_by_witnessing(tmp_path: Path, hurry: None) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.import_pictures(1)

        async def all_of_it() -> bool:
            return all([(await one.node.witnessed.describe())["unwitnessed"] == 0
                        for one in (alice, bob)])  # fmt: skip

        await eventually(all_of_it)
        sizes = [await size(one) for one in (alice, bob)]
        links = [bob.node.peering.link(alice.me)]
        for _ in range(3):
            await bob.node.witnessed.exchange([link for link in links if link is not None])

        assert [await size(one) for one in (alice, bob)] == sizes


async def test_a_witness_answers_as_one_over_http_does(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(11):
            mallory.log.append()
        session = await mallory.dial(bob)
        log = mallory.log
        honest = AddCheckpoint(old=12, proof=(), note=log.head())

        # The greeting showed a head of size 12.
        answer = await session.request(AddCheckpoint(old=5, proof=(), note=log.head()))
        assert answer == Held(size=12)
        assert isinstance(await session.request(honest), Cosigned)

        log.append()
        assert await refused(session.request(AddCheckpoint(old=12, proof=(), note=b""))) != "taken"
        stranger = log.copy()
        stranger.origin = origin_of(alice.me)
        foreign = AddCheckpoint(old=0, proof=(), note=stranger.head())
        assert await refused(session.request(foreign)) != "taken"
        # Nothing contradicts itself so far; the proof is only missing.
        assert await refused(session.request(AddCheckpoint(old=12, proof=(), note=log.head())))
        assert await bob.node.describe_alarms() == []


async def test_row_23_a_forked_head_is_not_cosigned_and_stops_dealings(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(11):
            mallory.log.append()
        session = await mallory.dial(bob)
        fork = mallory.log.fork(8, grown=4)

        request = AddCheckpoint(old=12, proof=(), note=fork.head())
        assert await refused(session.request(request)) != "taken"

        (alarm,) = await bob.node.describe_alarms()
        assert (alarm["name"], alarm["kind"], alarm["proven"]) == ("mallory", "equivocation", True)
        assert await refused(session.request(mallory.hello())) in ("closed", "unknown")


async def test_a_cosignature_by_another_key_is_not_kept(tmp_path: Path, hurry: None) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _), enlisted(alice) as mallory:
        asked: list[AddCheckpoint] = []

        async def wrong(_session: object, request: AddCheckpoint) -> Cosigned:
            asked.append(request)
            line = sign_checkpoint(
                LogKeys.of(alice.node.context.identity.public).open_head_untrusted(request.note),
                mallory.local.cosigning,
                witness_key(mallory.local.public).name,
            ).rpartition(b"\n\n")[2]
            return Cosigned(line=line)

        mallory.script[AddCheckpoint] = wrong
        await mallory.dial(alice)

        async def twice() -> bool:
            return len(asked) > 1

        await alice.import_pictures(1)
        await eventually(twice)
        told = await alice.node.witnessed.describe()
        assert "mallory" not in [one["name"] for one in told["cosigned_by"]]


async def test_a_witness_that_holds_less_than_was_thought_is_asked_from_there(
    tmp_path: Path, hurry: None
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.import_pictures(1)

        async def all_of_it() -> bool:
            return bool((await alice.node.witnessed.describe())["unwitnessed"] == 0)

        await eventually(all_of_it)
        await execute(bob, "DELETE FROM peer_heads WHERE origin = ?", origin_of(alice.me))
        await alice.import_pictures(1, size=(50, 50))

        await eventually(all_of_it)
