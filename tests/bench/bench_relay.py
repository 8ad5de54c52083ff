"""The rendezvous: megabytes a second through a circuit, and the memory of 10,000 idle members.

Belongs here: the real server in a process of its own, bare generators in others, a bare TCP
splice and, where its package is there, magic-wormhole's transit relay in the same run.
Never here: assertions; tests/node/rendezvous holds what must be true.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import multiprocessing
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import uvloop

from node.errors import UnreachableError
from node.rendezvous import store
from node.rendezvous.store import Store
from node.transport.websocket import CIRCUIT_PATH
from protocol.primitives import blake2b
from protocol.rendezvous.address import parse_rendezvous_address
from protocol.rendezvous.messages import Call, Circuit
from tests.node.rendezvous.members import Member, admission, attending, claim, key_of
from tests.node.rendezvous.process import Server, serving

BYTES: Final = 2_000_000_000
ROUNDS: Final = 3
BUDGET_MB_S: Final = 400
MEMBERS: Final = 10_000
BUDGET_MIB: Final = 512

_FRAME_BYTES: Final = 65_535
_TEAM_OF: Final = 10
"""Members of each team of the idle ones: each who comes is told to all others of the team."""
_AT_ONCE: Final = 10
_TRIES: Final = 5
"""The clients share one core with their own pings."""
_PATIENT: Final = {"circuit_claim_s": 60}
"""The generators are processes that have yet to start."""
_SIDE: Final = {"transit": b"please relay " + b"5a" * 32 + b" for side %s\n"}

Results: TypeAlias = "multiprocessing.queues.SimpleQueue[float]"
Generator: TypeAlias = Callable[[int, bytes, Results], None]


def run() -> list[dict[str, Any]]:
    """Measure; megabytes a second, best of three rounds, the ways taking turns."""
    ways: dict[str, Callable[[], float]] = {"circuit": _circuit, "bare TCP splice": _splice}
    transit = importlib.util.find_spec("wormhole_transit_relay") is not None
    if transit:
        ways["magic-wormhole transit relay"] = _transit
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, measure in ways.items():
            seconds[way].append(measure())
    rates = {way: round(BYTES / min(took) / 1e6) for way, took in seconds.items()}
    rows: list[dict[str, Any]] = [
        {"what": f"relayed, {way}", "value": rate, "unit": "MB/s"} for way, rate in rates.items()
    ]
    rows[0] |= {
        "budget": f">= {BUDGET_MB_S}",
        "peer": "the splice",
        "ratio": rates["circuit"] / rates["bare TCP splice"],
    }
    if transit:
        ratio = rates["circuit"] / rates["magic-wormhole transit relay"]
        rows[2] |= {"peer": "it is the circuit", "ratio": ratio}
    else:
        rows.append(
            {"what": "magic-wormhole transit relay", "skipped": "its package is not installed"}
        )
    return [*rows, *_idle()]


# Throughput ---------------------------------------------------------------------------------------


def _circuit() -> float:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "data", _PATIENT) as server,
    ):
        return uvloop.run(_measure_circuit(server))


async def _measure_circuit(server: Server) -> float:
    await claim(server.address, server.claim, "alice", "bob")
    async with attending(server.address, "alice", "bob") as (alice, bob):
        circuit = await alice.ask(Call(key=key_of("bob")), Circuit)
        ring = await bob.ring()
        return await asyncio.to_thread(
            _between,
            server.place.port,
            (_send_frames, circuit.token),
            (_take_frames, ring.token),
        )


def _splice() -> float:
    context = multiprocessing.get_context("spawn")
    port = _free_port()
    relay = context.Process(target=_run_splice, args=(port,))
    relay.start()
    try:
        return _between(port, (_send_bytes, b""), (_take_bytes, b""))
    finally:
        relay.terminate()
        relay.join()


def _transit() -> float:
    port = _free_port()
    relay = subprocess.Popen(
        [
            *(sys.executable, "-m", "twisted", "transitrelay"),
            f"--port=tcp:{port}:interface=127.0.0.1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    hello = _SIDE["transit"]
    try:
        return _between(
            port, (_send_bytes, hello % (b"01" * 8)), (_take_bytes, hello % (b"02" * 8))
        )
    finally:
        relay.terminate()
        relay.wait()


def _between(port: int, sender: tuple[Generator, bytes], taker: tuple[Generator, bytes]) -> float:
    """Run two generators, each in a process; return the seconds that the taking one took."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [
        context.Process(target=generator, args=(port, word, results))
        for generator, word in (sender, taker)
    ]
    for process in processes:
        process.start()
    seconds: float = results.get()
    for process in processes:
        process.join(30)
    return seconds


def _send_frames(port: int, token: bytes, results: Results) -> None:
    """Send full frames, as a client must: masked. A mask of zeros changes nothing for the relay."""
    with _upgraded(port) as link:
        link.sendall(_masked(token))
        frames = _masked(os.urandom(_FRAME_BYTES)) * 16
        # The taking end hangs up when it has them all.
        with contextlib.suppress(OSError):
            for _ in range(BYTES // (16 * _FRAME_BYTES) + 1):
                link.sendall(frames)
            link.recv(1)


def _take_frames(port: int, token: bytes, results: Results) -> None:
    with _upgraded(port) as link:
        link.sendall(_masked(token))
        _take(link, results)


def _send_bytes(port: int, hello: bytes, results: Results) -> None:
    with _connected(port) as link:
        _greet(link, hello)
        data = os.urandom(16 * _FRAME_BYTES)
        with contextlib.suppress(OSError):
            for _ in range(BYTES // len(data) + 1):
                link.sendall(data)
            link.recv(1)


def _take_bytes(port: int, hello: bytes, results: Results) -> None:
    with _connected(port) as link:
        _greet(link, hello)
        _take(link, results)


def _take(link: socket.socket, results: Results) -> None:
    room = bytearray(2**20)
    started = None
    received = 0
    while received < BYTES:
        size = link.recv_into(room)
        started = started or time.perf_counter()
        received += size
        if not size:
            break
    assert started is not None
    # What has ended early was never this slow: the row shows it.
    took = time.perf_counter() - started
    results.put(took if received >= BYTES else float("inf"))


def _greet(link: socket.socket, hello: bytes) -> None:
    if hello:
        link.sendall(hello)
        answer = b""
        while not answer.endswith(b"ok\n"):
            answer += link.recv(1) or b"ok\n"


def _connected(port: int) -> socket.socket:
    for _ in range(200):
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port))
        time.sleep(0.05)
    raise SystemExit("nothing listens")


def _upgraded(port: int) -> socket.socket:
    link = _connected(port)
    link.sendall(
        f"GET {CIRCUIT_PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += link.recv(1)
    return link


def _masked(payload: bytes) -> bytes:
    """Return a binary frame of a client (RFC 6455, 5.2), its mask all zeros."""
    short = len(payload) < 126
    length = bytes([0x80 | len(payload)]) if short else b"\xfe" + struct.pack(">H", len(payload))
    return b"\x82" + length + bytes(4) + payload


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class _Splice(asyncio.Protocol):
    """Joins the first two connections and passes bytes on, as little code as asyncio allows."""

    waiting: list[_Splice]

    def __init__(self, ends: list[_Splice]) -> None:
        self._ends = ends
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one, but does not inherit from it.
        self.transport = cast("asyncio.Transport", transport)
        self._ends.append(self)
        if len(self._ends) == 1:
            self.transport.pause_reading()
        else:
            first = self._ends[0]
            self.transport.writelines(first._early)
            first.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if len(self._ends) == 1:
            self._early.append(data)  # read before the pause
        else:
            self._other().transport.write(data)

    def pause_writing(self) -> None:
        self._other().transport.pause_reading()

    def resume_writing(self) -> None:
        self._other().transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        for end in self._ends:
            end.transport.close()

    def _other(self) -> _Splice:
        first, second = self._ends
        return second if self is first else first


def _run_splice(port: int) -> None:
    async def serve() -> None:
        ends: list[_Splice] = []
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Splice(ends), "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


# Memory -------------------------------------------------------------------------------------------


def _idle() -> list[dict[str, Any]]:
    """Let MEMBERS attend and say nothing; return what the server's memory grew by."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if descriptors < MEMBERS + 500:
        return [{"what": "idle members", "skipped": f"{descriptors} open files are allowed"}]
    generous = {
        "connections_per_address": 1_000,
        "upgrade_s": 60,
        "authentication_s": 60,
        "authentications_per_s": 100_000,
        "authentications_in_all_per_s": 100_000,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        with serving(folder):
            pass  # makes the database
        asyncio.run(_register(folder / "rendezvous.db"))
        with serving(folder, generous) as server:
            before = server.memory()
            context = multiprocessing.get_context("spawn")
            here = context.SimpleQueue()
            clients = context.Process(target=_attend, args=(server.address, here))
            clients.start()
            if not (took := here.get()):
                return [{"what": "idle members", "skipped": "this machine is too slow for them"}]
            time.sleep(12)  # every channel has pinged since
            after = server.memory()
            clients.terminate()
            clients.join()
    return [
        {"what": f"server with {MEMBERS:,} idle members", "value": after / 2**20, "unit": "MiB",
         "budget": f"<= {BUDGET_MIB}"},
        {"what": "of that, each member", "value": (after - before) / MEMBERS / 1024, "unit": "KiB"},
        {"what": "members that came a second", "value": MEMBERS / took, "unit": "/s"},
    ]  # fmt: skip


async def _register(database: Path) -> None:
    """Put the teams of the idle members in force, as if each had claimed."""
    kept = await Store.open(database, failed=lambda: None)
    for team, names in _teams():
        signed = admission(names, team=team)
        await kept.run(partial(store.put_team, team_id=team, signed=signed))
    await kept.close()


def _teams() -> Iterator[tuple[bytes, list[str]]]:
    for start in range(0, MEMBERS, _TEAM_OF):
        names = [f"member {number}" for number in range(start, start + _TEAM_OF)]
        yield blake2b(f"team {start}".encode()), names


def _attend(address: str, here: Results) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        uvloop.run(_attend_all(address, here))
    finally:
        here.put(0.0)  # not all came


async def _attend_all(address: str, here: Results) -> None:
    place = parse_rendezvous_address(address)
    turns = asyncio.Semaphore(_AT_ONCE)
    members: list[Member] = []

    async def come(team: bytes, name: str) -> None:
        async with turns:
            for _ in range(_TRIES):
                with contextlib.suppress(UnreachableError):
                    member = await Member(place, name).connect()
                    await member.attend(team)
                    members.append(member)
                    return
            raise SystemExit(f"{len(members)} came")

    started = time.perf_counter()
    await asyncio.gather(*(come(team, name) for team, names in _teams() for name in names))
    here.put(time.perf_counter() - started)
    await asyncio.Event().wait()


if __name__ == "__main__":
    for row in run():
        print(row)
