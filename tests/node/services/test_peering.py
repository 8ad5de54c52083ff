"""Links to team-mates: made, lost, made again, and never with somebody else."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from node.errors import UnreachableError
from node.services.context import Context
from node.services.events import Events
from node.system import system_entropy
from node.transport.driver import Reply, Session
from node.transport.listener import ListenError
from node.unlocked import Unlocked
from node.vault.vault import Vault
from protocol.errors import Reason, Refused, SafelightError
from protocol.messages import (
    Deliver,
    Done,
    FetchRendition,
    Hello,
    OpenRequest,
    Request,
    RosterFetch,
    RosterUpdate,
    Streamed,
)
from tests.node.services.conditions import cut, cut_off, greet, raw_session, until
from tests.node.services.team import PASSPHRASE, Person, eventually, join, new_person, team


async def linked(person: Person, to: Person) -> None:
    """Wait until both have a greeted link to each other."""
    await until(lambda: person.node.peering.link(to.me) and to.node.peering.link(person.me))


async def both_know_of_two_histories(one: Person, other: Person) -> None:
    """Wait until each has the other's history as the rival of its own."""
    await linked(one, other)
    mine, theirs = one.node.membership, other.node.membership
    await until(
        lambda: (
            mine.rival is not None
            and theirs.rival is not None
            and (mine.rival.hash, theirs.rival.hash) == (theirs.roster_hash, mine.roster_hash)
        )
    )


@asynccontextmanager
async def newcomer(
    folder: Path, administrator: Person, name: str = "carol"
) -> AsyncIterator[Person]:
    """Hold a person who has just joined."""
    person = await new_person(folder, name, administrator.imaging)
    try:
        await join(administrator, person)
        yield person
    finally:
        await person.node.close()


# Coming and going -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_a_member_who_restarts_is_reached_again_within_seconds(
    tmp_path: Path, who: str
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        listened = bob.node.peering.listening
        for _ in range(3):
            person = alice if who == "alice" else bob
            await person.restart()
            await linked(alice, bob)
        assert bob.node.peering.listening == listened


async def test_a_lost_connection_is_made_again_and_the_team_sees_who_is_there(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        told: list[dict[str, Any]] = []

        async def listen() -> None:
            async for event in alice.node.context.events.listen():
                told.append(event)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await cut_off(alice, bob)
        await linked(alice, bob)

        members = {one["name"]: one for one in (await alice.node.team())["members"]}
        assert (members["bob"]["online"], members["alice"]["online"]) == (True, True)
        (peer,) = await alice.node.peers()
        assert (peer["name"], peer["path"]) == ("bob", "lan")
        assert peer["rtt_ms"] < 1_000
        await bob.node.close()
        await until(lambda: alice.node.peering.online() == set())
        members = {one["name"]: one for one in (await alice.node.team())["members"]}
        assert not members["bob"]["online"]
        assert members["bob"]["last_seen"] is not None
        (peer,) = await alice.node.peers()
        assert (peer["path"], peer["rtt_ms"]) == ("none", None)
        with pytest.raises(UnreachableError, match="bob"):
            await alice.node.peering.reach(bob.me, 0.2)
        listening.cancel()
        peers = [one["online"] for one in told if one["kind"] == "peer"]
        assert {True, False} == set(peers)
        assert peers[-1] is False
        await bob.restart()


async def test_whoever_does_not_answer_is_asked_less_and_less_often(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await bob.node.close()
        dials: list[float] = []
        clock = asyncio.get_running_loop().time

        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The HTTP client tries a second time at once.
            if not dials or clock() - dials[-1] > 0.1:
                dials.append(clock())
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await alice.node.membership.remove_addresses(bob.me)
        await alice.node.membership.add_addresses(bob.me, [("127.0.0.1", port)], source="added")
        await asyncio.sleep(2.5)
        server.close()

        pauses = [later - earlier for earlier, later in itertools.pairwise(dials)]
        assert 2 <= len(pauses) <= 4
        assert pauses[-1] > pauses[0]
        await bob.restart()
        await alice.node.membership.add_addresses(bob.me, bob.node.addresses(), source="added")
        await linked(alice, bob)


async def test_both_dialling_at_once_is_harmless(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)

        for _ in range(5):
            cut(alice)
            await linked(alice, bob)

        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        assert (await bob.open(shared["id"]))["opens_left"] == 9
        assert len(await bob.events("received")) == 1
        assert len(alice.node.peering._links[bob.me]) <= 4
        assert alice.node.peering.online() == {bob.me}
        assert await alice.events("witness_alarm") == []
        assert await bob.events("witness_alarm") == []


async def test_a_node_keeps_its_port_and_takes_another_where_it_is_taken(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        ((host, port),) = alice.node.peering.listening
        await alice.restart()
        assert alice.node.peering.listening == [(host, port)]
        await alice.node.close()
        with socket.create_server((host, port)):
            await alice.restart()
            ((_, other),) = alice.node.peering.listening
            assert other != port
            await linked(alice, bob)


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_leaves_no_trace(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,):
        context = alice.node.context
        await alice.node.close()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            place = f"127.0.0.1:{taken.getsockname()[1]}"
            vault = await Vault.open(
                alice.home, passphrase=PASSPHRASE, clock=alice.clock, entropy=system_entropy
            )
            with pytest.raises(ListenError) as refused:
                await Unlocked.start(
                    Context(
                        vault=vault,
                        imaging=context.imaging,
                        clock=alice.clock,
                        entropy=system_entropy,
                        events=Events(),
                    ),
                    listen=place,
                )
            assert "--listen" in refused.value.hint
        await alice.restart()


# Rosters --------------------------------------------------------------------------------------


async def test_everybody_online_knows_a_new_member_at_once(tmp_path: Path) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        newcomer(tmp_path, alice) as carol,
    ):
        await until(lambda: bob.node.membership.member(carol.me) is not None)

        assert bob.node.membership.roster_hash == alice.node.membership.roster_hash


async def test_a_newcomer_shows_the_roster_to_who_has_not_heard_of_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await bob.node.close()
        async with newcomer(tmp_path, alice) as carol:
            await alice.node.close()
            await bob.restart()
            assert bob.node.membership.member(carol.me) is None

            await carol.node.membership.add_addresses(bob.me, bob.node.addresses(), source="added")

            await linked(carol, bob)
            assert bob.node.membership.version == 3
            (image,) = await carol.import_pictures(1)
            (shared,) = await carol.share([image["id"]], ["bob"])
            await bob.wait_ready(shared["id"])
            assert (await bob.open(shared["id"]))["opens_left"] == 9
            await alice.restart()


async def test_several_versions_are_caught_up_with_in_one_contact(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await bob.node.close()
        for name in ("carol", "dora", "emil"):
            async with newcomer(tmp_path, alice, name):
                pass

        await bob.restart()

        await linked(alice, bob)
        await until(lambda: bob.node.membership.version == 5)
        assert len(bob.node.membership.trusted.members) == 5
        await bob.restart()
        assert bob.node.membership.version == 5


@asynccontextmanager
async def two_administrators(folder: Path) -> AsyncIterator[tuple[Person, Person, str]]:
    """Hold alice, bob, and what she granted to him; his node has just closed."""
    async with team(folder, "alice") as (alice,):
        bob = await new_person(folder, "bob", alice.imaging)
        try:
            await join(alice, bob, "admin")
            await linked(alice, bob)
            (image,) = await alice.import_pictures(1)
            (shared,) = await alice.share([image["id"]], ["bob"])
            await bob.wait_ready(shared["id"])
            await bob.node.close()
            yield alice, bob, shared["id"]
        finally:
            await bob.node.close()


async def test_two_rosters_of_one_version_do_not_end_what_was_granted_to_members_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.viewing._REACH_S", 2)
    async with two_administrators(tmp_path) as (alice, bob, granted):
        async with newcomer(tmp_path, alice, "carol"):
            pass
        await alice.node.close()
        await bob.restart()
        async with newcomer(tmp_path, bob, "dora"):
            pass
        await alice.restart()
        assert alice.node.membership.version == bob.node.membership.version == 3
        assert alice.node.membership.roster_hash != bob.node.membership.roster_hash

        await both_know_of_two_histories(alice, bob)
        assert (await bob.open(granted))["opens_left"] == 9


async def test_two_histories_of_different_length_do_not_end_what_was_granted_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("viewing", "fetching"):
        monkeypatch.setattr(f"node.services.{module}._REACH_S", 2)
    async with two_administrators(tmp_path) as (alice, bob, granted):
        for name in ("carol", "emil"):
            async with newcomer(tmp_path, alice, name):
                pass
        await alice.node.close()
        await bob.restart()
        async with newcomer(tmp_path, bob, "dora"):
            pass
        await alice.restart()
        assert (alice.node.membership.version, bob.node.membership.version) == (4, 3)

        await both_know_of_two_histories(alice, bob)
        assert (await bob.open(granted))["opens_left"] == 9


# Strangers and hostile members ----------------------------------------------------------------


async def test_a_stranger_who_becomes_a_member_meanwhile_is_greeted_on_the_same_session(
    tmp_path: Path,
) -> None:
    """A roster may come from somebody else while the session of a newcomer is open already."""
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        carol = await new_person(tmp_path, "carol", alice.imaging)
        greeted = asyncio.Event()

        async def hear(session: Session, request: Request) -> Reply:
            if isinstance(request, Hello):
                greeted.set()
            return Done()

        try:
            async with raw_session(carol, bob, hear) as session:
                identity = carol.node.membership.identity_file(carol.node.addresses())
                await alice.node.membership.add(identity, "editor", addresses=[])
                await until(lambda: bob.node.membership.member(carol.me) is not None)
                membership = bob.node.membership
                await session.request(
                    Hello(
                        roster_version=membership.version,
                        roster_hash=membership.roster_hash,
                        my_head=b"",
                        your_head=b"",
                        log_keys=0,
                    )
                )

                async with asyncio.timeout(45):
                    await greeted.wait()
        finally:
            await carol.node.close()


async def test_a_stranger_may_show_a_roster_once_and_nothing_else(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        mallory = await new_person(tmp_path, "mallory", alice.imaging)
        try:
            await mallory.node.membership.create("Mine")
            stream = await mallory.node.membership.versions_after(0)
            fetched = 0

            async def show(session: Session, request: Request) -> Reply:
                nonlocal fetched
                assert isinstance(request, RosterFetch)
                fetched += 1

                async def pieces() -> AsyncIterator[bytes]:
                    yield stream

                return Streamed(length=len(stream)), pieces()

            async with raw_session(mallory, alice, show) as session:
                for message in (
                    Hello(
                        roster_version=0, roster_hash=b"", my_head=b"", your_head=b"", log_keys=0
                    ),
                    RosterFetch(have_version=0),
                    FetchRendition(rendition_id=bytes(32), offset=0),
                    OpenRequest(signed=b""),
                    Deliver(sealed=b""),
                ):
                    with pytest.raises(Refused) as refused:
                        await session.request(message)
                    assert refused.value.reason is Reason.NOT_MEMBER
                with pytest.raises(SafelightError):
                    await session.request(RosterUpdate(version=99, hash=bytes(32)))
                with pytest.raises(SafelightError):
                    await session.request(RosterUpdate(version=99, hash=bytes(32)))
                await until(session.closed.is_set)

            assert fetched == 1
            assert alice.node.membership.version == 1
            assert alice.node.peering.online() == set()
            assert alice.node.peering._links == {}
        finally:
            await mallory.node.close()


async def test_nobody_is_dealt_with_before_both_logs_heads_were_shown(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        manifest = await bob.manifest(shared["id"])

        async with raw_session(bob, alice) as session:
            for message in (
                FetchRendition(rendition_id=manifest.rendition_id, offset=0),
                OpenRequest(signed=b""),
                Deliver(sealed=b""),
            ):
                with pytest.raises(Refused) as refused:
                    await session.request(message)
                assert refused.value.reason is Reason.NOT_READY
            await greet(bob, alice, session)
            answer = await session.request(
                FetchRendition(rendition_id=manifest.rendition_id, offset=0)
            )
            assert isinstance(answer, Streamed)


async def test_no_number_of_a_peer_is_a_fault_of_the_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        largest = 2**64 - 1
        link = await bob.node.peering.reach(alice.me, 45)
        capsys.readouterr()

        for message in (
            RosterFetch(have_version=largest),
            RosterFetch(have_version=-(2**63)),
            FetchRendition(rendition_id=bytes(32), offset=largest),
            FetchRendition(rendition_id=b"x" * 1000, offset=-1),
            RosterUpdate(version=-1, hash=b""),
        ):
            try:
                _, stream = await link.session.request_stream(message)
                await stream.aclose()
            except Refused:
                continue

        assert "fault" not in capsys.readouterr().err
        assert await bob.node.peering.ping(alice.me) is not None


async def test_a_member_who_promises_a_newer_roster_and_has_none_is_refused(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):

        async def nothing(session: Session, request: Request) -> Reply:
            if isinstance(request, RosterFetch):

                async def pieces() -> AsyncIterator[bytes]:
                    yield b"\x00\x00\x00\x04true"

                return Streamed(length=8), pieces()
            return Done()

        async with raw_session(bob, alice, nothing) as session:
            hello = await bob.node.peering._hello(alice.me)
            with pytest.raises(Refused) as refused:
                await session.request(
                    Hello(
                        roster_version=77,
                        roster_hash=bytes(32),
                        my_head=hello.my_head,
                        your_head=hello.your_head,
                        log_keys=hello.log_keys,
                    )
                )
            assert refused.value.reason is Reason.NOT_MEMBER
        assert alice.node.membership.version == 2
        await linked(alice, bob)


async def test_closing_a_node_leaves_no_task_of_it_behind(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await bob.open(shared["id"])

    async def gone() -> bool:
        return not {task for task in asyncio.all_tasks() - before if not task.done()}

    await eventually(gone)
