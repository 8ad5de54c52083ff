"""Heads of logs between peers: an honest log never alarms, a rewritten one always does."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from node.errors import UnreachableError
from node.services.peering import Link
from node.transport.driver import Reply, Session
from node.vault import log_store
from node.vault.connection import SqlConnection
from node.vault.log_keys import read_signer
from node.vault.records import team as rows
from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.entry import decode_entry_untrusted
from protocol.audit.tree import Frontier, leaf_hash
from protocol.errors import Reason, Refused
from protocol.messages import Done, FetchHead, Head, OpenRequest, Request
from tests.node.services.conditions import cut_off, greet, raw_session
from tests.node.services.team import Person, eventually, team


async def held(person: Person, other: Person) -> int:
    """Return the size of another's log as a person holds its newest head."""
    origin = origin_of(other.me)
    found = await person.read(lambda db: rows.peer_head(db, origin))
    return 0 if found is None else found[0]


async def size(person: Person) -> int:
    head = await person.read(log_store.head)
    return 0 if head is None else head.size


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait one second for an issuer, not ten."""
    for module in ("viewing", "fetching"):
        monkeypatch.setattr(f"node.services.{module}._REACH_S", 1)


async def alarms(person: Person) -> list[str]:
    return [one["detail"]["detail"] for one in await person.events("witness_alarm")]


async def test_each_contact_keeps_the_others_newest_head(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.import_pictures(5)

        assert await alice.node.peering.ping(bob.me) is not None

        assert await held(bob, alice) == await size(alice)
        assert await held(alice, bob) > 0
        await alice.import_pictures(1)
        await cut_off(bob, alice)
        await bob.node.peering.reach(alice.me, 45)

        async def newest() -> bool:
            return await held(bob, alice) == await size(alice)

        await eventually(newest)


async def test_a_busy_honest_log_never_alarms(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(8, size=(32, 32))
        (shared,) = await alice.share([one["id"] for one in images], ["bob"], opens=100)
        await bob.wait_ready(shared["id"])

        async def open_again_and_again(image: str) -> int:
            return len([await bob.open(shared["id"], image) for _ in range(6)])

        async def ping_again_and_again() -> int:
            for _ in range(40):
                await bob.node.peering.ping(alice.me)
                await alice.node.peering.ping(bob.me)
            return 0

        opened = await asyncio.gather(
            *(open_again_and_again(one["id"]) for one in images), ping_again_and_again()
        )

        assert sum(opened) == 48
        assert await alarms(alice) == await alarms(bob) == []
        assert not alice.node.witnessing.behind
        assert len(await alice.events("released")) == 48


async def test_a_proof_is_given_for_every_size_there_was_and_none_beyond(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.import_pictures(3)
        link = await bob.node.peering.reach(alice.me, 45)
        whole = await size(alice)

        for known, proven in ((1, True), (whole - 1, True), (0, False), (whole + 99, False)):
            answer = await link.session.request(FetchHead(from_size=known))
            assert isinstance(answer, Head)
            assert answer.note != b""
            assert bool(answer.proof) is proven


async def test_a_log_put_back_to_an_older_state_is_noticed_by_both_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await bob.open(shared["id"])
        await alice.node.close()
        shutil.copytree(alice.home, tmp_path / "older")
        await alice.restart()
        await bob.node.peering.reach(alice.me, 45)
        await alice.import_pictures(9)
        await alice.node.peering.ping(bob.me)
        await alice.node.close()
        shutil.rmtree(alice.home)
        shutil.move(tmp_path / "older", alice.home)

        await alice.restart()
        await alice.node.incarnations.close()  # It would go on with a new log.

        async def noticed() -> bool:
            return bool(await alarms(bob)) and alice.node.witnessing.behind

        await eventually(noticed)
        # They go on trying to reach each other meanwhile.
        await asyncio.sleep(1)
        assert len(await alarms(bob)) == 1
        assert len(await alarms(alice)) == 1
        with pytest.raises((UnreachableError, Refused)):
            await bob.open(shared["id"])
        # Not only until the next start.
        await alice.restart()
        await alice.node.incarnations.close()
        assert alice.node.witnessing.behind
        assert len(await alice.events("released")) == 1


async def test_a_node_whose_log_is_behind_releases_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        alice.node.witnessing.behind = True

        with pytest.raises(Refused) as refused:
            await bob.open(shared["id"])

        assert refused.value.reason is Reason.NOT_READY
        assert await alice.events("released") == []


async def forge(person: Person, index: int) -> None:
    """Rewrite one entry as the log's own keeper can: every hash and the head's signature too."""
    identity = person.node.context.identity

    def rewrite(connection: SqlConnection) -> None:
        key = read_signer(connection, identity.public).key
        entries = [one.entry for one in log_store.walk(connection)]
        entries[index] = entries[index].replace(b'"time":1', b'"time":2', 1)
        frontier = Frontier()
        for number, entry in enumerate(entries):
            leaf = leaf_hash(entry)
            hashes = b"".join([leaf, *(node for _, _, node in frontier.append(leaf))])
            connection.execute(
                "UPDATE log_entries SET entry = ?, hashes = ?, time = ? WHERE log_index = ?",
                (entry, hashes, decode_entry_untrusted(entry).time, number),
            )
        # Its time is years ahead: where searches look, the clock was set back after it.
        back = "INSERT INTO log_clock_back (incarnation, log_index) VALUES (0, ?)"
        connection.execute(back, (index + 1,))
        head = Checkpoint(origin=origin_of(person.me), size=frontier.size, root=frontier.root())
        connection.execute("UPDATE log_head SET note = ?", (sign_checkpoint(head, key),))
        # What others signed of the log as it was would give it away at once.
        connection.execute("DELETE FROM own_cosignatures")

    await person.node.context.database._writer.run(rewrite)
    await person.restart()


async def test_a_history_rewritten_by_its_own_keeper_is_refused_by_who_saw_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await alice.node.peering.ping(bob.me)

        await forge(alice, 2)
        await alice.node.incarnations.close()  # It would go on with a new log.

        # By itself the log is without a fault: only somebody with an older head can tell.
        assert (await alice.node.log_verifying.verify())["ok"]

        async def noticed() -> bool:
            return bool(await alarms(bob)) and alice.node.witnessing.behind

        await eventually(noticed)
        with pytest.raises((UnreachableError, Refused)):
            await bob.open(shared["id"])
        assert await bob.events("opened") == []
        assert alice.me not in bob.node.peering.online()
        # A fork stops the dealings with that log alone.
        await bob.node.membership.add_addresses(carol.me, carol.node.addresses(), source="added")
        await bob.node.peering.reach(carol.me, 45)


async def test_a_release_that_a_newer_head_overtakes_on_its_way_is_no_alarm(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])

        async def slow(session: Session, request: Request) -> Reply:
            if isinstance(request, FetchHead):
                return await alice.node.witnessing.answer_head(request)
            if not isinstance(request, OpenRequest):
                return Done()
            member = alice.node.membership.member(bob.me)
            assert member is not None
            released = await alice.node.opening.answer(
                Link(session=session, member=member), request
            )
            # Over another connection of the two, newer heads arrive before this answer.
            await alice.import_pictures(2)
            assert await alice.node.peering.ping(bob.me) is not None
            return released

        row = await bob.node.inbox.resolve(shared["id"])
        images = await bob.node.inbox.resolve_images(row, [])
        await bob.node.fetching.fetch(row, images, progress=lambda *_: None)
        async with raw_session(alice, bob, slow) as session:
            await greet(alice, bob, session)

            opened = await bob.open(shared["id"])

        assert opened["opens_left"] == 9
        assert await alarms(bob) == []
