"""The multicast socket on machines with several networks."""

from __future__ import annotations

import asyncio
import socket

import pytest

from node.discovery.mdns import Mdns
from node.discovery.multicast import Multicast
from tests.netns.ears import GROUP, sightings, talker
from tests.netns.lab import Lab, frames, inside, ip
from tests.node.discovery.support import context

pytestmark = pytest.mark.root


def test_each_network_hears_the_address_on_it_and_no_other(lab: Lab) -> None:
    office, branch = lab.segment("192.0.2"), lab.segment("198.51.100")
    anna, ben = lab.host("anna", office), lab.host("ben", branch)
    both = lab.host("both", office, branch)

    async def announce() -> None:
        mdns = Mdns(
            context(),
            port=7421,
            tag_key=bytes(32),
            interfaces=lambda: both.addresses,
        )
        await mdns.start()
        await asyncio.sleep(0.1)
        await mdns.close()

    with anna.sniffer() as by_anna, ben.sniffer() as by_ben:
        inside(both.namespace, lambda: asyncio.run(announce()))
        heard = [sightings(list(frames(by_anna))), sightings(list(frames(by_ben)))]

    for number, found in enumerate(heard):
        assert found
        assert {one.hosts for one in found} == {(both.addresses[number],)}


def test_only_what_is_sent_to_the_group_on_a_joined_network_is_heard(lab: Lab) -> None:
    office, branch = lab.segment("192.0.2"), lab.segment("198.51.100")
    anna, ben = lab.host("anna", office), lab.host("ben", branch)
    both = lab.host("both", office, branch)
    heard: list[tuple[bytes, str]] = []

    async def listen(by_anna: socket.socket, by_ben: socket.socket) -> None:
        other_program = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with other_program:
            # Somebody else on this machine listens on the other network.
            other_program.setsockopt(
                socket.IPPROTO_IP,
                socket.IP_ADD_MEMBERSHIP,
                socket.inet_aton(GROUP[0]) + socket.inet_aton(both.addresses[1]),
            )
            listening = Multicast(lambda data, source: heard.append((data, source)))
            try:
                listening.join(both.addresses[:1])
                by_ben.sendto(b"another network", GROUP)
                by_anna.sendto(b"to one machine", (both.addresses[0], 5353))
                async with asyncio.timeout(20):
                    while not heard:
                        by_anna.sendto(b"to the group", GROUP)
                        await asyncio.sleep(0.05)
            finally:
                listening.close()

    with talker(anna) as by_anna, talker(ben) as by_ben:
        inside(both.namespace, lambda: asyncio.run(listen(by_anna, by_ben)))

    assert set(heard) == {(b"to the group", anna.address)}


def test_a_network_that_is_down_is_a_problem_until_it_is_up(lab: Lab) -> None:
    office = lab.segment("192.0.2")
    anna, ben = lab.host("anna", office), lab.host("ben", office)
    problems: list[str] = []

    async def come_and_go() -> None:
        mdns = Mdns(context(), port=7421, tag_key=bytes(32), interfaces=lambda: anna.addresses)
        ip("-n", anna.namespace, "link", "set", "eth0", "down")
        await mdns.start()
        try:
            async with asyncio.timeout(60):
                while not mdns.problem:
                    await asyncio.sleep(0.02)
                problems.append(mdns.problem)
                ip("-n", anna.namespace, "link", "set", "eth0", "up")
                while mdns.problem:
                    await asyncio.sleep(0.02)
        finally:
            await mdns.close()

    with ben.sniffer() as by_ben:
        inside(anna.namespace, lambda: asyncio.run(come_and_go()))
        found = sightings(list(frames(by_ben)))

    assert problems == ["multicast is not possible here: Network is unreachable"]
    assert {one.hosts for one in found} == {(anna.address,)}
