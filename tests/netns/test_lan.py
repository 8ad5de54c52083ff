"""Real nodes on one LAN: they find each other by themselves, and nobody else is found.

Belongs here: what multicast DNS shows, costs and finds, with processes in network namespaces.
Never here: rendezvous, or the packets themselves (``tests/node/discovery``).
"""

from __future__ import annotations

import asyncio
import base64
import random
import socket
import struct
import time
from pathlib import Path

import pytest

from node.discovery.packets import Sighting, announcement_packet, question_packet
from protocol.announcement import announcement_values
from protocol.identity import Identity, format_fingerprint
from tests.netns.ears import GROUP, sightings, talker
from tests.netns.lab import Host, Lab, frames
from tests.netns.machines import TEAM, Machine, all_linked, stop, team, until
from tests.netns.proxy import DelayingProxy
from tests.node.discovery import hostile

pytestmark = pytest.mark.root

FOUND_S = 2.0
"""The promise: nodes of one segment find each other within this of the last one's start."""
HEALED_S = 30.0
"""The promise after a cut."""
PATIENCE_S = 60.0
FLOOD = 100_000
FLOOD_A_SECOND = 20_000


async def sighting_of(sniffer: socket.socket, machine: Machine) -> Sighting:
    """Return a machine's announcement as somebody on the network hears it."""
    found: list[Sighting] = []

    async def heard() -> bool:
        found.extend(
            one for one in sightings(list(frames(sniffer))) if machine.host.address in one.hosts
        )
        return bool(found)

    await until(heard, PATIENCE_S)
    return found[0]


async def test_two_three_and_ten_nodes_find_each_other(lab: Lab, folder: Path) -> None:
    names = [f"member{number}" for number in range(10)]
    took: dict[int, float] = {}
    async with team(lab, folder, lab.segment("192.0.2"), *names) as machines:
        running: list[Machine] = []
        for count in (2, 3, 10):
            fresh = machines[len(running) : count]
            for machine in fresh:
                machine.launch()
            for machine in fresh:
                await machine.serves()
            running += fresh
            took[count] = await found_within(running)
            # A busy machine may be slow once; the nodes may not.
            for _ in range(3):
                if took[count] > FOUND_S:
                    stop(running[-1])
                    await running[-1].start()
                    took[count] = min(took[count], await found_within(running))
        paths = {await one.path_to(machines[0]) for one in machines[1:]}
        stop(*machines)
    print("seconds from the last start until all have found all:", took)

    assert max(took.values()) <= FOUND_S, took
    assert paths == {"lan"}


async def found_within(machines: list[Machine]) -> float:
    async def linked() -> bool:
        return await all_linked(machines)

    return await until(linked, PATIENCE_S)


async def test_a_node_that_gets_another_address_during_a_cut_is_reached_again(
    lab: Lab, folder: Path
) -> None:
    office = lab.segment("192.0.2")
    async with team(lab, folder, office, "anna", "ben") as (anna, ben):
        await anna.start()
        await ben.start()
        await found_within([anna, ben])
        office.cut(ben.host)
        ben.host.readdress("192.0.2.77")
        office.heal(ben.host)

        async def reached() -> bool:
            both = [await anna.peer(ben), await ben.peer(anna)]
            return all(one["path"] == "lan" and one["rtt_ms"] is not None for one in both)

        took = await until(reached, PATIENCE_S)
        print(f"reached again after {took:.1f} s")
        stop(anna, ben)

    assert took <= HEALED_S


async def test_row_11_a_rogue_with_a_members_tag_and_address_is_never_that_member(
    lab: Lab, folder: Path
) -> None:
    office = lab.segment("192.0.2")
    async with team(lab, folder, office, "anna", "ben", strangers=["eve"]) as machines:
        anna, ben, eve = machines
        with eve.host.sniffer() as sniffer, talker(eve.host) as rogue:
            await ben.start()
            true = await sighting_of(sniffer, ben)
            stop(ben)
            await eve.start("--no-mdns")
            target = (eve.host.address, await eve.port())
            async with DelayingProxy(
                eve.host, port=true.port, target=target, delay_s=0, seed=1
            ) as door:
                await anna.start()
                begun = time.monotonic()
                # Ben's own tag, said from Eve's address, where a real node answers.
                while door.connections < 3:
                    rogue.sendto(copied(true, eve.host.address), GROUP)
                    assert await anna.online() == 0
                    assert await anna.path_to(ben) == "none"
                    assert time.monotonic() - begun < PATIENCE_S, door.connections
                    await asyncio.sleep(0.3)
                # Ben himself is found although she goes on.
                await ben.start()
                rogue.sendto(copied(true, eve.host.address), GROUP)
                await found_within([anna, ben])
                assert await anna.path_to(ben) == "lan"
                assert await eve.online() == 0
        stop(*machines)


def copied(sighting: Sighting, address: str) -> bytes:
    """Return an announcement of the same tag for another address."""
    return announcement_packet(
        instance="0123456789abcdef",
        host="fedcba9876543210",
        address=address,
        port=sighting.port,
        values=announcement_values(sighting.announcement),
    )


async def test_row_12_a_flood_costs_little_and_the_real_peers_are_found_afterwards(
    lab: Lab, folder: Path
) -> None:
    office = lab.segment("192.0.2")
    async with team(lab, folder, office, "anna", "ben") as (anna, ben):
        enemy = lab.host("enemy", office)
        await anna.start()
        with talker(enemy) as sending, enemy.sniffer() as sniffer:
            true = await sighting_of(sniffer, anna)
            packets = list(hostile.many(random.Random(12), 20_000))
            before, cpu, begun = anna.memory(), anna.cpu(), time.monotonic()
            for _ in range(FLOOD // len(packets)):
                await flood(sending, packets)
                sending.sendto(copied(true, enemy.address), GROUP)
            took = time.monotonic() - begun
            grown, used = anna.memory() - before, anna.cpu() - cpu
        print(
            f"flood of {took:.1f} s: {before / 2**20:.0f} MiB and {grown / 2**20:.1f} more,",
            f"{used:.1f} s of processor time",
        )
        assert len(await anna.call("peers")) == 1
        assert await anna.online() == 0
        await ben.start()
        await found_within([anna, ben])
        stop(anna, ben)

    assert grown < 30 * 2**20
    assert used < took / 2


async def flood(sending: socket.socket, packets: list[bytes]) -> None:
    """Send packets to everybody, at a steady rate."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number, packet in enumerate(packets):
        sending.sendto(packet, GROUP)
        if number % 200 == 0:
            await asyncio.sleep(max(0, begun + number / FLOOD_A_SECOND - loop.time()))


async def test_row_13_nobody_on_the_network_learns_a_name_or_a_key(lab: Lab, folder: Path) -> None:
    office = lab.segment("192.0.2")
    async with team(lab, folder, office, "anna", "ben") as machines:
        anna, ben = machines
        enemy = lab.host("enemy", office)
        heard: list[bytes] = []
        with anna.host.sniffer() as by_anna, ben.host.sniffer() as by_ben:
            await anna.start()
            await ben.start()
            await found_within(machines)
            await anna.call("peers")
            for machine in machines:
                probe(enemy, machine.host.address, await machine.port())
            with talker(enemy) as asking:
                ask_everything(asking)
                await asyncio.sleep(1.5)
            stop(*machines)
            heard += [*frames(by_anna), *frames(by_ben)]

    announced = sightings(heard)
    assert {host for one in announced for host in one.hosts} == {
        anna.host.address,
        ben.host.address,
    }
    assert sum(len(frame) for frame in heard) > 10_000
    for secret in secrets_of(anna.identity, ben.identity):
        assert not any(secret in frame for frame in heard), secret


def secrets_of(*members: Identity) -> list[bytes]:
    """Return what must not be on the wire, in the spellings that somebody may have used."""
    texts = [TEAM, "canary-", "Canary", str(Path.home())]
    raw: list[bytes] = []
    for member in members:
        raw += [
            member.fingerprint,
            member.identity_key,
            member.agreement_key,
            member.log_key,
            member.cosigning_key,
            member.certificate,
        ]
        texts += [format_fingerprint(member.fingerprint), member.name]
    for value in list(raw):
        texts += [value.hex(), base64.b64encode(value).decode().rstrip("=")]
        texts.append(base64.b32encode(value).decode().rstrip("=").lower())
    return [*raw, *(text.encode() for text in texts)]


def probe(host: Host, address: str, port: int) -> None:
    """Connect as nobody in particular, and say what such people say."""
    key = base64.b64encode(b"0" * 16).decode()
    upgrade = (
        f"Host: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    for said in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        *(
            f"GET /safelight/v1/{path} HTTP/1.1\r\n{upgrade}".encode() + b"\x82\x83\0\0\0\0abc"
            for path in ("channel", "join", "circuit", "rendezvous")
        ),
        random.Random(13).randbytes(500),
    ):
        with host.new_socket(socket.AF_INET, socket.SOCK_STREAM) as prober:
            prober.settimeout(1)
            prober.connect((address, port))
            prober.sendall(said)
            try:
                while prober.recv(65_536):
                    pass
            except (TimeoutError, ConnectionResetError):
                continue


def ask_everything(asking: socket.socket) -> None:
    """Ask by multicast all that one can ask about the service."""
    asking.sendto(question_packet("somebody"), GROUP)
    services = hostile.name(b"_services", b"_dns-sd", b"_udp", b"local")
    for owner in (hostile.SERVICE, services):
        for kind in (hostile.PTR, hostile.TXT, hostile.SRV, hostile.A, 28, 13, 255):
            data = owner + struct.pack(">HH", kind, 1)
            asking.sendto(hostile.packet(data, flags=0, questions=1), GROUP)
