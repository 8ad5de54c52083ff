"""The ways to a team-mate: raced, changed while requests are under way, and explained."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from node.discovery.directory import Relay
from node.services import links as links_module
from node.services.links import Link
from node.system import system_entropy
from node.transport.driver import Reply, Session
from node.transport.listener import Listener
from node.transport.websocket import WebSocketLink
from node.vault.records import team as rows
from protocol.errors import SafelightError
from protocol.messages import Done, FetchHead, OpenRequest, Request
from tests.attacks.relay import Relay as Wire
from tests.attacks.relay import relaying
from tests.node.services.conditions import cut, cut_off, raw_session, until
from tests.node.services.team import Person, team
from tests.node.transport.circuits import Circuits, RelayEnd, relaying_circuits


def attach(circuits: Circuits, person: Person) -> RelayEnd:
    """Connect a person's node to a relay."""
    peering = person.node.peering
    end = circuits.attach(person.node.context.identity.public.agreement_key)
    relay: Relay = end
    relay.on_ring = peering._rung
    relay.on_presence = peering._presence_changed
    peering._relay = peering._racing._relay = relay
    circuits.told()
    return end


async def strangers_by_address(*people: Person) -> None:
    """Let people forget each other's addresses, and lose their links."""
    for person in people:
        for other in people:
            if other is not person:
                await person.node.membership.remove_addresses(other.me)
    await until(
        lambda: not any(one.node.directory.places(two.me) for one in people for two in people)
    )
    for person in people:
        cut(person)


def path(person: Person, to: Person) -> str:
    return person.node.peering.describe(to.me)["path"]


@asynccontextmanager
async def hanging() -> AsyncIterator[tuple[str, int]]:
    """Hold an address that accepts and never says anything: the worst of dead ones."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(-1)
        finally:
            writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()


def dead_address() -> tuple[str, int]:
    """Return an address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address: tuple[str, int] = taken.getsockname()[:2]
    return address


# Racing ---------------------------------------------------------------------------------------


async def test_who_cannot_be_dialled_is_reached_through_the_rendezvous(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), relaying_circuits() as circuits:
        await strangers_by_address(alice, bob)
        host, port = dead_address()
        await alice.node.membership.add_addresses(bob.me, [(host, port)], source="added")
        await until(lambda: "refused" in alice.node.peering.describe(bob.me)["why"])
        assert alice.node.peering.describe(bob.me) == {
            "path": "none",
            "why": f"direct: connection refused at {host}:{port}; no rendezvous is in use",
        }
        attach(circuits, alice)
        attach(circuits, bob)

        link = await alice.node.peering.reach(bob.me, 45)

        assert link.session.relayed
        assert alice.node.peering.describe(bob.me) == {
            "path": "relay",
            "why": f"direct: connection refused at {host}:{port}; relayed through the rendezvous",
        }
        await until(lambda: bob.node.peering.describe(alice.me)["path"] == "relay")
        (peer,) = await alice.node.peers()
        assert (peer["path"], peer["addresses"]) == ("relay", [f"{host}:{port}"])
        assert peer["rtt_ms"] is not None
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(granted["id"])
        assert (await bob.open(granted["id"]))["opens_left"] == 9


async def test_an_address_that_hangs_delays_neither_another_nor_the_rendezvous(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        relaying_circuits() as circuits,
        hanging() as first,
        hanging() as second,
    ):
        await strangers_by_address(alice, bob)
        attach(circuits, alice)
        clock = asyncio.get_running_loop().time
        for places, expected in (
            ([first, second], "relay"),
            ([first, second, bob.node.peering.listening[0]], "lan"),
        ):
            await strangers_by_address(alice, bob)
            attach(circuits, bob)
            await alice.node.membership.add_addresses(bob.me, places, source="added")
            started = clock()
            await until(partial(path_is, alice, bob, expected))

            # A dial that hangs takes ten seconds.
            assert clock() - started < 5
            circuits.leave(bob.node.context.identity.public.agreement_key)


async def test_the_direct_way_wins_where_there_are_both(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), relaying_circuits() as circuits:
        attach(circuits, alice)
        attach(circuits, bob)
        for _ in range(3):
            await cut_off(alice, bob)
            await alice.node.peering.reach(bob.me, 45)
            await until(lambda: path(alice, bob) == path(bob, alice) == "lan")

        assert alice.node.peering.describe(bob.me)["why"].startswith("direct")


async def test_more_addresses_than_are_dialled_at_once_are_all_tried(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await strangers_by_address(alice, bob)
        places = [dead_address() for _ in range(20)]
        await alice.node.membership.add_addresses(
            bob.me, [*places, *bob.node.peering.listening], source="identity"
        )

        await alice.node.peering.reach(bob.me, 45)

        assert path(alice, bob) == "lan"


async def test_many_addresses_of_one_node_end_in_one_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "_QUIET_S", 0.5)
    async with team(tmp_path, "alice", "bob") as (alice, bob), AsyncExitStack() as stack:
        await strangers_by_address(alice, bob)
        target = bob.node.peering.listening[0]
        wires = [await stack.enter_async_context(relaying(target)) for _ in range(8)]
        await alice.node.membership.add_addresses(
            bob.me, [("127.0.0.1", wire.port) for wire in wires], source="identity"
        )

        await alice.node.peering.reach(bob.me, 15)

        await until(
            lambda: (
                path(alice, bob) == path(bob, alice) == "lan"
                and len(alice.node.peering._links[bob.me]) == 1
                and len(bob.node.peering._links[alice.me]) == 1
            )
        )


async def test_channels_without_a_greeting_displace_none_that_is_used(tmp_path: Path) -> None:
    """Row 40: a member, or who has their key, opens channels and says nothing on them."""
    async with team(tmp_path, "alice", "bob") as (alice, bob), AsyncExitStack() as stack:
        link = await alice.node.peering.reach(bob.me, 45)

        async def say_nothing(session: Session, request: Request) -> Reply:
            await session.closed.wait()
            return Done()

        for _ in range(10):
            await stack.enter_async_context(raw_session(bob, alice, say_nothing))
        await until(lambda: len(alice.node.peering._links[bob.me]) <= 4)

        assert alice.node.peering.link(bob.me) is link
        assert not link.session.closed.is_set()
        assert await bob.node.peering.ping(alice.me) is not None


async def test_a_sighting_leads_to_a_member_and_is_kept_for_the_next_start(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await strangers_by_address(alice, bob)
        host, port = bob.node.peering.listening[0]
        alice.node.directory.sighted(bob.me, host, port)
        await alice.node.peering.reach(bob.me, 45)
        expected = {bob.me: [(host, port, "seen")]}

        async def kept() -> bool:
            return await alice.read(rows.address_rows) == expected

        async with asyncio.timeout(10):
            while not await kept():
                await asyncio.sleep(0.01)
        await alice.restart()

        await alice.node.peering.reach(bob.me, 45)
        assert alice.node.directory.places(bob.me)[0].kind == "lan"


async def test_a_rogue_address_costs_a_handshake_and_is_nobody(tmp_path: Path) -> None:
    """Row 11: whoever advertises a member's place is not taken for the member."""
    asked: list[Request] = []

    async def answer(session: Session, request: Request) -> Reply:
        asked.append(request)
        return Done()

    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await strangers_by_address(alice, bob)
        sessions: list[Session] = []
        rogue = Listener(
            host="127.0.0.1",
            port=0,
            static_secret=system_entropy(32),
            team_id=lambda: alice.node.membership.team_id,
            handler=answer,
            on_session=sessions.append,
            clock=alice.clock,
            entropy=system_entropy,
        )
        await rogue.start()
        alice.node.directory.sighted(bob.me, *rogue.addresses[0])
        await until(lambda: "not them" in alice.node.peering.describe(bob.me)["why"])

        assert path(alice, bob) == "none"
        assert (asked, sessions) == ([], [])
        assert alice.node.peering.online() == set()
        assert (await alice.read(rows.address_rows)).get(bob.me, []) == []
        alice.node.directory.sighted(bob.me, *bob.node.peering.listening[0])
        await alice.node.peering.reach(bob.me, 45)
        await rogue.close()


async def test_what_a_file_calls_an_address_reaches_no_terminal_raw(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await strangers_by_address(alice, bob)
        await alice.node.membership.add_addresses(
            bob.me, [("\x1b]52;c;aGk=\x07", 1), ("x\u202ey" * 50, 2)], source="identity"
        )
        await until(lambda: "has not answered" not in alice.node.peering.describe(bob.me)["why"])
        (peer,) = await alice.node.peers()

        for text in (peer["why"], *peer["addresses"]):
            assert not set(text) & {"\x1b", "\x07", "\u202e"}
            assert len(text.encode()) <= 400


# Changing the way -----------------------------------------------------------------------------


async def test_a_direct_way_that_appears_takes_over_and_loses_no_request_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "_QUIET_S", 0.3)
    async with team(tmp_path, "alice", "bob") as (alice, bob), relaying_circuits() as circuits:
        attach(circuits, alice)
        attach(circuits, bob)
        await strangers_by_address(alice, bob)
        await until(lambda: path(alice, bob) == path(bob, alice) == "relay")
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(granted["id"])
        relayed = bob.node.peering.link(alice.me)
        assert relayed is not None

        serve, asked, go_on = alice.node.peering._serve, asyncio.Event(), asyncio.Event()
        assert serve is not None

        async def slowly(link: Link, request: Request) -> Reply:
            if isinstance(request, OpenRequest):
                asked.set()
                await go_on.wait()
            return await serve(link, request)

        alice.node.peering._serve = slowly
        opening = asyncio.create_task(bob.open(granted["id"]))
        await asked.wait()
        await bob.node.membership.add_addresses(
            alice.me, [alice.node.peering.listening[0]], source="added"
        )
        await until(lambda: path(bob, alice) == path(alice, bob) == "lan")
        # Several times what a link that nobody uses is kept.
        await asyncio.sleep(3 * 0.3)
        assert not relayed.session.closed.is_set()
        assert not opening.done()
        go_on.set()
        opened = await opening

        assert opened["opens_left"] == 9
        await until(relayed.session.closed.is_set)
        assert relayed.session.close_reason == "done"
        await until(lambda: len(alice.node.peering._links[bob.me]) == 1)
        assert len(await alice.events("released")) == 1
        (share,) = await alice.node.granted.shares(album=None, to=None, state=None)
        assert share["opens"] == 1


async def test_where_the_direct_way_dies_the_rendezvous_takes_over_and_back(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        relaying_circuits() as circuits,
        relaying(alice.node.peering.listening[0]) as wire,
    ):
        await strangers_by_address(alice, bob)
        place = ("127.0.0.1", wire.port)
        await bob.node.membership.add_addresses(alice.me, [place], source="added")
        attach(circuits, alice)
        attach(circuits, bob)
        await until(lambda: path(bob, alice) == path(alice, bob) == "lan")

        wire.target = dead_address()
        cut(bob)
        await until(lambda: path(bob, alice) == path(alice, bob) == "relay")
        wire.target = alice.node.peering.listening[0]
        await until(lambda: path(bob, alice) == path(alice, bob) == "lan", seconds=30)


async def test_requests_go_on_while_links_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both dial at once, directly and through the rendezvous, and settle on one link."""
    monkeypatch.setattr(links_module, "_QUIET_S", 0.5)
    async with team(tmp_path, "alice", "bob") as (alice, bob), relaying_circuits() as circuits:
        attach(circuits, alice)
        attach(circuits, bob)
        await bob.node.membership.add_addresses(
            alice.me, alice.node.peering.listening, source="added"
        )
        await alice.node.membership.add_addresses(
            bob.me, bob.node.peering.listening, source="added"
        )
        answered = 0
        lost: list[SafelightError] = []

        async def ask(person: Person, other: Person) -> None:
            nonlocal answered
            while True:
                link = await person.node.peering.reach(other.me, 45)
                try:
                    await link.session.request(FetchHead(from_size=0))
                except SafelightError as error:
                    lost.append(error)
                answered += 1
                await asyncio.sleep(0.001)

        for _ in range(3):
            await cut_off(alice, bob)
            lost.clear()
            asking = [
                asyncio.create_task(ask(alice, bob)),
                asyncio.create_task(ask(bob, alice)),
            ]
            for one, other in ((alice, bob), (bob, alice)):
                member = one.node.membership.member(other.me)
                assert member is not None
                one.node.peering.spawn(one.node.peering._racing._relayed(member))
            await until(
                lambda: (
                    path(alice, bob) == path(bob, alice) == "lan"
                    and len(alice.node.peering._links[bob.me]) == 1
                    and len(bob.node.peering._links[alice.me]) == 1
                )
            )
            mine, theirs = alice.node.peering.link(bob.me), bob.node.peering.link(alice.me)
            assert mine is not None
            assert theirs is not None
            assert mine.session.handshake_hash == theirs.session.handshake_hash
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

            assert lost == []
        assert answered > 100
        assert await alice.events("witness_alarm") == []


@asynccontextmanager
async def on_a_wire(folder: Path) -> AsyncIterator[tuple[Person, Person, Wire]]:
    """Hold alice, and bob who reaches her by a wire that can go dead."""
    async with (
        team(folder, "alice", "bob") as (alice, bob),
        relaying(alice.node.peering.listening[0]) as wire,
    ):
        await strangers_by_address(alice, bob)
        await bob.node.membership.add_addresses(
            alice.me, [("127.0.0.1", wire.port)], source="added"
        )
        await bob.node.peering.reach(alice.me, 45)
        yield alice, bob, wire


async def test_a_link_that_died_without_a_word_is_found_out_after_the_machine_moved(
    tmp_path: Path,
) -> None:
    async with on_a_wire(tmp_path) as (alice, bob, wire):
        dead = bob.node.peering.link(alice.me)
        assert dead is not None
        wire.to_target = wire.from_target = lambda _data: b""
        asking = asyncio.create_task(dead.session.request(FetchHead(from_size=0)))
        await asyncio.sleep(0)
        await bob.node.membership.add_addresses(
            alice.me, [alice.node.peering.listening[0]], source="added"
        )
        assert path(bob, alice) == "lan"

        # As if the machine had slept: the watcher finds its timer late.
        bob.clock.shift += 60_000

        with pytest.raises(SafelightError):
            await asking
        assert dead.session.close_reason == "silent"
        await bob.node.peering.reach(alice.me, 45)
        assert bob.node.peering.link(alice.me) is not dead


async def test_a_younger_link_finds_out_the_dead_one_before_it(tmp_path: Path) -> None:
    """A peer that lost its links without our hearing of it dials anew."""
    async with on_a_wire(tmp_path) as (alice, bob, wire):
        await until(lambda: alice.node.peering.link(bob.me))
        dead = alice.node.peering.link(bob.me)
        assert dead is not None
        # Only bob's end is closed: alice's hears nothing any more.
        wire.to_target = wire.from_target = lambda _data: b""
        await bob.node.membership.remove_addresses(alice.me)
        await bob.node.membership.add_addresses(
            alice.me, [alice.node.peering.listening[0]], source="added"
        )
        bob.node.peering.recheck()

        await until(dead.session.closed.is_set)
        await bob.node.peering.reach(alice.me, 45)
        await until(lambda: alice.node.peering.link(bob.me))
        assert alice.node.peering.link(bob.me) is not dead


# What a rendezvous may do ---------------------------------------------------------------------


def path_is(one: Person, other: Person, expected: str) -> bool:
    return path(one, other) == expected


def met_somebody_else(one: Person, other: Person) -> bool:
    why = one.node.peering.describe(other.me)["why"]
    return why.endswith("rendezvous: whoever answers there is not them")


async def test_a_rendezvous_that_joins_circuits_wrongly_gets_nobody_greeted(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol),
        relaying_circuits() as circuits,
    ):
        people = (alice, bob, carol)
        await strangers_by_address(*people)
        ends = [attach(circuits, one) for one in people]
        # Whoever is called, somebody else is rung: not one circuit leads where it should.
        circuits.ends = dict(zip(circuits.ends, [*ends[1:], ends[0]], strict=True))
        circuits.told()
        for one in people:
            for other in people:
                if other is not one:
                    await until(partial(met_somebody_else, one, other))

        assert circuits.circuits >= 6
        assert [one.node.peering.online() for one in people] == [set()] * 3


async def test_a_circuit_is_not_taken_for_another_or_for_a_direct_connection(
    tmp_path: Path,
) -> None:
    """The session id stands in the offer, which both ends' handshakes hold."""
    async with team(tmp_path, "alice", "bob") as (alice, bob), relaying_circuits() as circuits:
        await strangers_by_address(alice, bob)
        attach(circuits, alice)
        end = attach(circuits, bob)
        ring = end.on_ring

        async def other_id(link: WebSocketLink, session_id: bytes, caller: bytes) -> None:
            await ring(link, bytes(16), caller)

        end.on_ring = other_id
        cut(alice)
        await asyncio.sleep(0)
        calls = circuits.circuits
        await until(lambda: circuits.circuits > calls + 1)

        # Bob calls too, and alice takes his calls rightly: only what bob took is refused.
        assert all(not link.session.initiator for link in alice.node.peering._links.get(bob.me, []))


async def test_bits_flipped_by_a_rendezvous_end_the_link_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), relaying_circuits() as circuits:
        await strangers_by_address(alice, bob)
        attach(circuits, alice)
        attach(circuits, bob)
        await alice.node.peering.reach(bob.me, 45)
        (image,) = await alice.import_pictures(1, size=(1600, 1067))
        (granted,) = await alice.share([image["id"]], ["bob"], rendition="preview:1500")
        await bob.wait_ready(granted["id"])
        flipped = 0

        def flip(data: bytes) -> bytes:
            nonlocal flipped
            if flipped or len(data) < 3_000:
                return data
            flipped += 1
            return data[:1_000] + bytes([data[1_000] ^ 4]) + data[1_001:]

        circuits.change = flip
        with pytest.raises(SafelightError):
            await bob.open(granted["id"])

        assert flipped == 1
        assert await alice.events("released") == []
        assert (await bob.open(granted["id"]))["opens_left"] == 9


async def test_presence_that_is_a_lie_keeps_no_node_busy(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), relaying_circuits() as circuits:
        await strangers_by_address(alice, bob)
        end = attach(circuits, alice)
        key = bob.node.context.identity.public.agreement_key
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - started < 1.5:
            circuits.attach(key)
            await asyncio.sleep(0.001)
            circuits.leave(key)
            await asyncio.sleep(0.001)

        assert end.calls <= 1.5 / 0.15 + 2
