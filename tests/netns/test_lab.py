"""The laboratory itself: who reaches whom, cuts, losses, delays, and nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import Host, Lab, frames, ip
from tests.netns.proxy import DelayingProxy

pytestmark = pytest.mark.root

NAMESPACES = Path("/run/netns")


def reaches(one: Host, other: Host, address: str | None = None, *, tries: int = 20) -> bool:
    """Whether a datagram of one host arrives at another."""
    with (
        one.new_socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
        other.new_socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving,
    ):
        receiving.bind(("0.0.0.0", 7))
        receiving.settimeout(0.1)
        for _ in range(tries):
            try:
                sending.sendto(b"?", (address or other.address, 7))
                return receiving.recv(16) == b"?"
            except OSError:
                time.sleep(0.02)
    return False


def until_quiet(receiving: socket.socket) -> Iterator[bytes]:
    """Yield what arrives until nothing does for a while."""
    receiving.settimeout(0.5)
    while True:
        try:
            yield receiving.recv(16)
        except TimeoutError:
            return


def test_hosts_of_one_segment_reach_each_other_and_no_other_segment(lab: Lab) -> None:
    office, branch = lab.segment("192.0.2"), lab.segment("198.51.100")
    anna, ben = lab.host("anna", office), lab.host("ben", branch)
    server = lab.host("server", office, branch)

    assert reaches(anna, server)
    assert reaches(ben, server, server.addresses[1])
    assert not reaches(anna, ben, tries=3)


def test_a_cut_heals(lab: Lab) -> None:
    office = lab.segment("192.0.2")
    anna, ben = lab.host("anna", office), lab.host("ben", office)
    assert reaches(anna, ben)

    office.cut(ben)
    assert not reaches(anna, ben, tries=3)
    office.heal(ben)
    assert reaches(anna, ben, tries=100)
    office.cut()
    assert not reaches(anna, ben, tries=3)


def test_a_wire_loses_about_its_share(lab: Lab) -> None:
    office = lab.segment("192.0.2")
    anna, ben = lab.host("anna", office), lab.host("ben", office, seed=7)
    assert reaches(anna, ben)
    ben.lose(0.3)

    with (
        anna.new_socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
        ben.new_socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving,
    ):
        receiving.bind(("0.0.0.0", 7))
        arrived = 0
        for _ in range(4):
            for _ in range(150):
                sending.sendto(b"?", (ben.address, 7))
            arrived += len(list(until_quiet(receiving)))

    assert 350 < arrived < 490


def test_a_wire_holds_frames_up(lab: Lab) -> None:
    office = lab.segment("192.0.2")
    anna, ben = lab.host("anna", office), lab.host("ben", office, seed=7)
    assert reaches(anna, ben)
    if ben.wire is None:
        pytest.skip("no /dev/net/tun")
    ben.wire.delay_s = 0.5

    begun = time.monotonic()
    assert reaches(anna, ben, tries=30)

    assert time.monotonic() - begun >= 0.5


async def test_the_proxy_holds_up_and_keeps_the_order(lab: Lab) -> None:
    office = lab.segment("192.0.2")
    anna, ben = lab.host("anna", office), lab.host("ben", office)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000):
            writer.write(data)
        writer.close()

    listening = ben.new_socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("0.0.0.0", 7))
    server = await asyncio.start_server(echo, sock=listening)
    sent = b"".join(b"%06d" % number for number in range(5_000))

    async with DelayingProxy(anna, port=8, target=(ben.address, 7), delay_s=0.4, seed=1) as proxy:
        connecting = ben.new_socket(socket.AF_INET, socket.SOCK_STREAM)
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, (anna.address, 8))
        reader, writer = await asyncio.open_connection(sock=connecting)
        begun = time.monotonic()
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(60):
            received = await reader.read()
        took = time.monotonic() - begun
        writer.close()
    server.close()

    assert received == sent
    assert took >= 0.4
    assert proxy.connections == 1


def test_a_sniffer_hears_what_its_host_sends(lab: Lab) -> None:
    office = lab.segment("192.0.2")
    anna, ben = lab.host("anna", office), lab.host("ben", office)

    with anna.sniffer() as sniffer:
        assert reaches(anna, ben)
        heard = list(frames(sniffer))

    assert any(frame.endswith(b"?") for frame in heard)


def test_nothing_is_left_behind(lab: Lab) -> None:
    with Lab() as other:
        host = other.host("anna", other.segment("192.0.2"))
        process = host.start("sleep", "600")
        assert (NAMESPACES / host.namespace).exists()

    assert process.wait(20) != 0
    assert not (NAMESPACES / host.namespace).exists()
    assert (NAMESPACES / lab.switch).exists()


def test_what_a_killed_process_left_is_swept(lab: Lab) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    ip("netns", "add", f"slab-{dead.pid}-0-left")

    with Lab():
        pass

    assert not (NAMESPACES / f"slab-{dead.pid}-0-left").exists()
