"""Finding each other by multicast on this machine's loopback, and what a flood may cost.

Other tests may announce on the same loopback meanwhile: whoever is not of a test is ignored.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import pytest

from node.discovery.mdns import Mdns, match
from node.discovery.multicast import Multicast
from node.discovery.packets import MARK, is_question, question_packet, read_announcements_untrusted
from node.ports import Clock
from protocol.announcement import Announcement
from protocol.identity import Identity
from tests.node.discovery import hostile
from tests.node.discovery.support import HandClock, context
from tests.protocol.people import person

HERE = "127.0.0.1"
ANNA, BEN, EVE = (person(name).public for name in ("anna", "ben", "eve"))


def works() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(
                socket.IPPROTO_IP,
                socket.IP_ADD_MEMBERSHIP,
                socket.inet_aton("224.0.0.251") + socket.inet_aton(HERE),
            )
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
            probe.sendto(b"", ("224.0.0.251", 9))
        except OSError:
            return False
    return True


multicast = pytest.mark.skipif(not works(), reason="no multicast on this machine's loopback")


def node(member: Identity, port: int, *interfaces: str, clock: Clock | None = None) -> Mdns:
    return Mdns(
        context(clock),
        port=port,
        tag_key=member.agreement_key,
        interfaces=lambda: interfaces or [HERE],
    )


@asynccontextmanager
async def running(*nodes: Mdns) -> AsyncIterator[None]:
    try:
        for one in nodes:
            await one.start()
        yield
    finally:
        for one in nodes:
            await one.close()


@asynccontextmanager
async def wire() -> AsyncIterator[tuple[Multicast, list[bytes]]]:
    """Hold a listener on the loopback and what it heard."""
    heard: list[bytes] = []
    opened = Multicast(lambda data, _source: heard.append(data))
    opened.join([HERE])
    try:
        yield opened, heard
    finally:
        opened.close()


class Seen:
    """The members that a node has sighted."""

    def __init__(self, mdns: Mdns, *members: Identity) -> None:
        self.of: list[tuple[bytes, list[str], int, int | None]] = []
        self.strangers = 0
        self._members = members
        mdns.on_sighting = self.take

    def take(self, announcement: Announcement, hosts: list[str], port: int) -> None:
        member = match(announcement, port, self._members)
        if member is None:
            self.strangers += 1
        else:
            self.of.append((member.fingerprint, hosts, port, announcement.invitation))


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def within(work: Awaitable[Any], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        return await work


@multicast
async def test_two_nodes_sight_each_other() -> None:
    anna, ben = node(ANNA, 1001), node(BEN, 1002)
    by_anna, by_ben = Seen(anna, ANNA, BEN), Seen(ben, ANNA, BEN)

    async with running(anna, ben):
        await until(lambda: by_anna.of and by_ben.of)

    assert by_anna.of[0] == (BEN.fingerprint, [HERE], 1002, None)
    assert by_ben.of[0] == (ANNA.fingerprint, [HERE], 1001, None)
    assert anna.problem == ben.problem == ""


@multicast
async def test_a_node_that_came_first_is_sighted_by_one_that_comes_late() -> None:
    anna, ben = node(ANNA, 1003), node(BEN, 1004)
    by_ben = Seen(ben, ANNA)

    async with running(anna):
        async with wire() as (_, heard):
            await until(lambda: any(not is_question(one) for one in heard))
        async with running(ben):
            await until(lambda: by_ben.of)


async def test_a_tag_matches_its_member_and_port_alone() -> None:
    mdns = node(ANNA, 1005)
    announcement = mdns._announcement

    assert match(announcement, 1005, [BEN, ANNA]) is ANNA
    assert match(announcement, 1006, [BEN, ANNA]) is None
    assert match(announcement, 1005, [BEN, EVE]) is None
    assert match(announcement, 1005, []) is None


@multicast
async def test_every_start_has_other_names_and_says_nothing_stable() -> None:
    packets = []
    for _ in range(2):
        async with wire() as (_, heard), running(node(ANNA, 1007)):
            await until(functools.partial(mine, heard, 1007))
            packets.append(mine(heard, 1007)[0])
    first, second = packets

    assert len(first) == len(second)
    same = bytes(one for one, other in zip(first, second, strict=True) if one == other)
    for secret in (ANNA.agreement_key, ANNA.fingerprint, ANNA.identity_key, ANNA.name.encode()):
        assert secret not in first
        assert secret.hex().encode() not in first
    assert socket.gethostname().encode() not in first
    # What stays is the form of the packet, and one digit in 16 by chance.
    assert len(same) < len(first) - 70


def mine(heard: list[bytes], port: int) -> list[bytes]:
    """Return the announcements of a port."""
    return [
        data
        for data in heard
        if MARK in data
        and not is_question(data)
        and any(one.port == port for one in read_announcements_untrusted(data, source=HERE))
    ]


@multicast
async def test_an_invitation_is_announced_while_it_is_open() -> None:
    anna, ben = node(ANNA, 1008), node(BEN, 1009)
    by_ben = Seen(ben, ANNA)

    async with running(anna, ben):
        await until(lambda: by_ben.of)
        anna.announce(4711)
        await until(lambda: by_ben.of[-1][3] == 4711)
        anna.announce(None)
        async with wire() as (_, heard):
            await until(lambda: mine(heard, 1008))
            assert b"inv" not in mine(heard, 1008)[0]


@multicast
async def test_an_open_invitation_is_found_by_its_number() -> None:
    anna, ben, eve = node(ANNA, 1010), node(BEN, 1011), node(EVE, 1012)
    anna.announce(4712)
    eve.announce(4713)

    async with running(anna, ben, eve):
        async with aclosing(ben.browse_invitation(4712, 20)) as places:
            assert await within(anext(places)) == (HERE, 1010)
        assert [one async for one in ben.browse_invitation(4714, 0.3)] == []

    assert ben._searches == []


async def test_a_search_yields_a_bounded_number_of_places() -> None:
    draw, ben = random.Random(1), node(BEN, 1013, clock=HandClock())
    places = ben.browse_invitation(7, 0.2)
    first = asyncio.ensure_future(anext(places))
    await asyncio.sleep(0)
    for number in range(60):
        announcement = Announcement(nonce=draw.randbytes(16), tag=draw.randbytes(16), invitation=7)
        packet = hostile.whole(draw, announcement=announcement)
        ben._received(packet, f"192.0.2.{number // 10}")

    found = [await first]
    cast("HandClock", ben._clock).time += 1
    (search,) = ben._searches
    found += [search.found.get_nowait() for _ in range(search.found.qsize())]
    await places.aclose()

    assert len(found) == len(set(found)) == 16


@multicast
async def test_a_node_that_closes_says_goodbye() -> None:
    anna = node(ANNA, 1014)

    def packets(heard: list[bytes]) -> list[bytes]:
        return [one for one in heard if anna._instance.encode() in one and not is_question(one)]

    async with wire() as (_, heard):
        async with running(anna):
            await until(lambda: mine(heard, 1014))
        await until(lambda: not mine(packets(heard)[-1:], 1014))


async def test_without_a_network_the_node_goes_on_and_says_why() -> None:
    anna = node(ANNA, 1015)
    for addresses in ((), ("203.0.113.7",)):
        anna._interfaces = functools.partial(tuple, addresses)
        async with running(anna):
            await until(lambda: anna.problem)
            anna.announce(3)
            assert anna.problem.startswith("multicast is not possible here: ")
            assert [one async for one in anna.browse_invitation(3, 0.1)] == []
        anna.problem = ""


@multicast
async def test_a_network_that_comes_is_used() -> None:
    addresses: list[str] = []
    anna, ben = node(ANNA, 1016), node(BEN, 1017)
    anna._interfaces = lambda: addresses
    by_ben = Seen(ben, ANNA)

    async with running(anna, ben):
        await until(lambda: anna.problem)
        addresses.append(HERE)
        anna.readvertise()
        await until(lambda: by_ben.of)

    assert anna.problem == ""


@multicast
async def test_readvertising_tells_of_everybody_again() -> None:
    anna, ben = node(ANNA, 1018), node(BEN, 1019)
    by_ben = Seen(ben, ANNA)

    async with running(anna, ben):
        await until(lambda: by_ben.of)
        told = len(by_ben.of)
        ben.readvertise()
        await until(lambda: len(by_ben.of) > told)


async def test_nothing_leaves_before_the_start() -> None:
    anna = node(ANNA, 1020)
    anna.announce(5)
    anna.readvertise()

    assert anna._rounds is None
    assert anna._multicast is None


@multicast
async def test_questions_however_many_are_answered_once_a_second() -> None:
    anna = node(ANNA, 1021)
    async with wire() as (sending, heard), running(anna):
        await until(lambda: mine(heard, 1021))
        heard.clear()
        begun = asyncio.get_running_loop().time()
        for _ in range(300):
            sending.send({HERE: question_packet("somebody")})
            await asyncio.sleep(0.005)
        await until(lambda: mine(heard, 1021))
        took = asyncio.get_running_loop().time() - begun

    # Those of the first rounds, at one and three seconds, come on top.
    assert len(mine(heard, 1021)) <= took + 3


async def test_a_question_that_names_this_node_is_not_answered() -> None:
    anna = node(ANNA, 1022)

    answers = []
    for asking in (anna._instance, "other"):
        anna._received(question_packet(asking), HERE)
        answers.append(anna._answering is not None)
    anna._leave()

    assert answers == [False, True]


async def test_somebody_elses_question_does_for_ours_but_not_for_ever() -> None:
    clock = HandClock()
    anna = node(ANNA, 1023, clock=clock)
    assert not anna._asked_for_us()
    anna._ask()
    anna._received(question_packet("other"), HERE)
    anna._leave()
    assert anna._asked_for_us()

    clock.time += 10_000
    assert not anna._asked_for_us()
    clock.time += 290_000
    anna._received(question_packet("other"), HERE)
    anna._leave()
    assert not anna._asked_for_us()


# The hostile network ------------------------------------------------------------------------------


async def test_row_12_a_flood_is_told_of_at_twenty_a_second_and_forgotten() -> None:
    draw, clock = random.Random(12), HandClock()
    ben = node(BEN, 1030, clock=clock)
    seen = Seen(ben, ANNA)
    for second in range(30):
        clock.time += 1_000
        before = seen.strangers
        for number in range(200):
            ben._received(hostile.whole(draw), f"10.{second}.0.{number % 250}")
        assert seen.strangers - before == 20

    assert seen.of == []
    assert len(ben._known) == 256


async def test_row_12_one_flooding_address_leaves_room_for_others() -> None:
    draw, clock = random.Random(12), HandClock()
    ben = node(BEN, 1031, clock=clock)
    anna = node(ANNA, 1032)
    seen = Seen(ben, ANNA)
    for _ in range(10_000):
        ben._received(hostile.whole(draw), "10.0.0.66")
    ben._received(hostile.whole(draw, announcement=anna._announcement, port=1032), "10.0.0.1")

    assert seen.strangers == 10
    assert len(seen.of) == 1


async def test_row_12_a_hundred_thousand_packets_cost_no_memory() -> None:
    draw = random.Random(12)
    ben = node(BEN, 1033)
    seen = Seen(ben, ANNA)
    packets = list(hostile.many(draw, 10_000))
    gc.collect()
    tracemalloc.start()
    try:
        for turn in range(10):
            for number, packet in enumerate(packets):
                ben._received(packet, f"10.0.{turn}.{number % 250}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        ben._leave()

    assert peak < 2 * 1024 * 1024
    assert len(ben._known) <= 256
    assert seen.of == []


async def test_row_12_a_copy_of_our_own_announcement_is_nobody() -> None:
    draw, ben = random.Random(1), node(BEN, 1034)
    seen = Seen(ben, BEN)

    ben._received(hostile.whole(draw, announcement=ben._announcement, port=1034), "10.0.0.66")
    ben._received(hostile.whole(draw, instance=ben._instance), "10.0.0.66")

    assert seen.of == []
    assert seen.strangers == 1


@multicast
async def test_row_12_real_peers_are_sighted_after_a_flood() -> None:
    draw = random.Random(12)
    anna, ben = node(ANNA, 1035), node(BEN, 1036)
    by_ben = Seen(ben, ANNA)
    async with wire() as (sending, _), running(ben):
        for packet in hostile.many(draw, 5_000):
            sending.send({HERE: packet})
        async with running(anna):
            await until(lambda: by_ben.of, 60)


@multicast
async def test_a_fault_in_reading_is_told_of_once_and_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heard: list[bytes] = []

    def received(data: bytes, source: str) -> None:
        heard.append(data)
        raise RuntimeError(data)

    async with wire() as (sending, _):
        broken = Multicast(received)
        try:
            broken.join([HERE])
            for _ in range(3):
                sending.send({HERE: b"secret"})
            await until(lambda: heard.count(b"secret") == 3)
        finally:
            broken.close()

    told = capsys.readouterr().err
    assert told.count("fault in reading a multicast packet") == 1
    assert "secret" not in told
