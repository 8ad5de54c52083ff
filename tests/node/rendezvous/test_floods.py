"""Campaigns: slow and flooding clients, full mailboxes, made-up identities, random frames.

Short here; SAFELIGHT_LONG=1 runs them at the sizes that docs/rendezvous.md reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from node.rendezvous.server import Rendezvous
from node.system import SystemClock
from node.transport.websocket import CIRCUIT_PATH, RENDEZVOUS_PATH
from protocol.encoding import encode
from protocol.errors import Reason, Refused, SafelightError
from protocol.limits import MAX_MAIL_BYTES, MAX_REQUESTS_IN_FLIGHT, MIB
from protocol.messages import Done, Message
from protocol.rendezvous.address import RendezvousAddress, parse_rendezvous_address
from protocol.rendezvous.messages import (
    Admit,
    Attend,
    Call,
    Circuit,
    Claim,
    CloseSlot,
    Collect,
    Collected,
    Deposit,
    JoinSlot,
    Mails,
    OpenSlot,
)
from tests.node.rendezvous.attackers import attacking
from tests.node.rendezvous.frames import binary_frame, upgrade_request
from tests.node.rendezvous.members import (
    TEAM,
    Member,
    admission,
    attending,
    claim,
    hang_up,
    key_of,
    receive,
    refusal,
    until,
    visitor,
)
from tests.node.rendezvous.process import serving
from tests.node.rendezvous.server import limits, rendezvous

LONG = bool(os.environ.get("SAFELIGHT_LONG"))
MAX_MEMORY = 512 * MIB


def mail(number: int, *, to: str = "bob", size: int = 200) -> Deposit:
    return Deposit(
        recipient=key_of(to),
        mail_id=number.to_bytes(16, "big"),
        expires_at=SystemClock().now() + 3_600_000,
        sealed=bytes(size),
    )


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)] * 1000


async def timed(step: Callable[[int], Awaitable[None]], seconds: float) -> list[float]:
    """Do a step again and again; return how long each took."""
    times: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.perf_counter()
        await step(len(times))
        times.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    return times


@pytest.mark.slow
async def test_row_40_slow_and_flooding_clients_leave_members_their_speed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow, flooding, seconds = (1_000, 200, 30.0) if LONG else (100, 20, 3.0)
    settings = {"messages_per_s": 1_000, "mails_per_sender": 10**6, "mails_per_recipient": 10**6}
    with serving(tmp_path / "data", settings) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            ours = await alice.join(await alice.ask(Call(key=key_of("bob")), Circuit))
            theirs = await bob.join(await bob.ring())
            sent = 0

            async def through_circuit(number: int) -> None:
                await ours.send([number.to_bytes(4, "big") * 250])
                assert (await receive(theirs) or b"")[:4] == number.to_bytes(4, "big")

            async def by_mail(number: int) -> None:
                nonlocal sent
                await alice.ask(mail(sent), Done)
                sent += 1

            async def measure() -> tuple[float, float]:
                passed, kept = await asyncio.gather(
                    timed(through_circuit, seconds), timed(by_mail, seconds)
                )
                return p99(passed), p99(kept)

            before = await measure()
            with attacking(server.place.port, slow=slow, flooding=flooding):
                await asyncio.sleep(min(seconds, 6))  # until all of them are there
                during = await measure()
                async with attending(server.address, "alice"):
                    pass  # a member gets in meanwhile
                peak = server.peak()
            await until(alice.session.closed.is_set)  # replaced by the one that came
            # Nothing of a member was lost.
            found = 0
            more = True
            while more:
                waiting = await bob.ask(Collect(after=0), Mails)
                numbers = tuple(number for number, _ in waiting.mails)
                found, more = found + len(numbers), bool(numbers)
                if numbers:
                    await bob.ask(Collected(numbers=numbers), Done)
            await ours.close()
            await theirs.close()
    with capsys.disabled():
        print(
            f"\n{slow} slow, {flooding} flooding: p99 of a circuit {before[0]:.1f} ms, then"
            f" {during[0]:.1f} ms; of a deposit {before[1]:.1f} ms, then {during[1]:.1f} ms;"
            f" {peak / MIB:.0f} MiB"
        )

    assert found == sent
    assert peak <= MAX_MEMORY
    # A machine that runs other tests has hiccups of its own.
    for quiet, loud in zip(before, during, strict=True):
        assert loud <= max(2 * quiet, 50 if LONG else 500)


@pytest.mark.slow
async def test_row_41_a_member_that_floods_the_mailbox_takes_nobody_elses_room(
    tmp_path: Path,
) -> None:
    flood = (10 * 1024 if LONG else 48) * MIB
    settings = {"messages_per_s": 10**6, "messages_burst": 10**6}
    with serving(tmp_path / "data", settings) as server:
        await claim(server.address, server.claim, "alice", "bob", "mallory", "dave")
        async with attending(server.address, "alice", "bob", "mallory") as (alice, bob, mallory):
            kept = refused = 0
            done = asyncio.Event()

            async def keep_flooding(part: int) -> None:
                nonlocal kept, refused
                for number in range(flood // MAX_MAIL_BYTES // 8):
                    to = ("bob", "dave", "alice")[number % 3]
                    flooded = mail(part * 10**9 + number, to=to, size=MAX_MAIL_BYTES)
                    try:
                        await mallory.ask(flooded, Done)
                        kept += 1
                    except Refused as error:
                        refused += error.reason is Reason.FULL

            async def go_on() -> int:
                sent = 0
                while not done.is_set() and sent < 100:
                    await alice.ask(mail(sent), Done)
                    sent += 1
                return sent

            others = asyncio.create_task(go_on())
            await asyncio.gather(*map(keep_flooding, range(8)))
            done.set()
            sent = await others
            assert sent > 0
            assert kept == 100
            assert kept + refused == flood // MAX_MAIL_BYTES // 8 * 8
            found = [sealed for sealed in await collected(bob) if len(sealed) != MAX_MAIL_BYTES]
            assert len(found) == sent
            assert server.peak() <= MAX_MEMORY
            used = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
            assert used < 64 * MIB


async def collected(member: Member) -> list[bytes]:
    found: list[bytes] = []
    while mails := (await member.ask(Collect(after=0), Mails)).mails:
        found += [sealed for _, sealed in mails]
        await member.ask(Collected(numbers=tuple(number for number, _ in mails)), Done)
    return found


@pytest.mark.slow
async def test_row_42_made_up_identities_get_nothing(tmp_path: Path) -> None:
    count = 10_000 if LONG else 40
    settings = limits(authentications_per_s=10**6, authentications_in_all_per_s=10**6)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice")
        for start in range(0, count, 8):
            strangers = [await visitor(server.address, f"sybil {start + n}") for n in range(8)]
            reasons = [
                await refusal(one, message)
                for one in strangers
                for message in (Attend(team_id=TEAM), mail(1, to="alice"))
            ]
            assert set(reasons) == {Reason.NOT_MEMBER}
            await hang_up(*strangers)
        gauges = server.gauges()

        assert (gauges["attending"], gauges["waiting_mails"], gauges["open_slots"]) == (0, 0, 0)


async def test_row_42_one_address_holds_and_authenticates_little_at_a_time(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice")
        place = server_place(server)
        async with attending(server.address, "alice"):
            silent = [await asyncio.open_connection(place.host, place.port) for _ in range(40)]
            await until(lambda: server.metrics.connections_refused == 40 - 16)
            assert server.gauges()["unproved_connections"] == 16
            for _, writer in silent:
                writer.close()
            await until(lambda: server.gauges()["unproved_connections"] == 0)
            began = time.monotonic()
            for number in range(11):
                await hang_up(await visitor(server.address, f"sybil {number}"))

            # Five at once, then five a second; what came before counts too.
            assert time.monotonic() - began > 1


async def test_row_40_who_talks_before_their_turn_loses_it(tmp_path: Path) -> None:
    settings = limits(authentications_per_s=1, authentications_in_all_per_s=1, authentication_s=60)
    async with rendezvous(tmp_path, settings=settings) as server:
        place = server_place(server)
        with waiting_line(place) as line:
            await until(lambda: server.gauges()["unproved_connections"] == line)
            reader, writer = await asyncio.open_connection(place.host, place.port)
            writer.write(upgrade_request(RENDEZVOUS_PATH))
            await until(lambda: "127.0.0.1" in server._turnstile._waiting)
            writer.write(bytes(settings.header_bytes))
            async with asyncio.timeout(60):
                assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
            writer.close()
            # So long it counts against its address.
            await until(lambda: server.gauges()["unproved_connections"] <= line)
        await until(lambda: server.gauges()["unproved_connections"] == 0)


async def test_row_40_circuits_of_members_wait_behind_no_stranger(tmp_path: Path) -> None:
    settings = limits(authentications_in_all_per_s=1, authentication_s=60)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            with waiting_line(server_place(server)) as line:
                await until(lambda: server.gauges()["unproved_connections"] >= line - 2)
                circuit = await alice.ask(Call(key=key_of("bob")), Circuit)
                ours, theirs = await alice.join(circuit), await bob.join(await bob.ring())
                await ours.send([b"past them all"])

                assert await receive(theirs) == b"past them all"
                await ours.close()
                await theirs.close()


@contextlib.contextmanager
def waiting_line(place: RendezvousAddress) -> Iterator[int]:
    """Let strangers of many other addresses ask for a session; give their number."""
    line = [
        socket.create_connection((place.host, place.port), source_address=(f"127.4.0.{n}", 0))
        for n in range(1, 31)
    ]
    try:
        for one in line:
            one.sendall(upgrade_request(RENDEZVOUS_PATH))
        yield len(line)
    finally:
        for one in line:
            one.close()


def server_place(server: Rendezvous) -> RendezvousAddress:
    return parse_rendezvous_address(server.address)


# Random frames ------------------------------------------------------------------------------------

FRAMES = 1_000_000 if LONG else 20_000


def some_request(chance: random.Random) -> Message:
    key = chance.choice([key_of("alice"), key_of("bob"), chance.randbytes(32)])
    return chance.choice(
        [
            Attend(team_id=chance.choice([TEAM, chance.randbytes(32)])),
            Claim(secret="x" * chance.randrange(1, 64), admission=chance.randbytes(99)),
            Admit(admission=chance.choice([chance.randbytes(500), admission(["bob"])])),
            Call(key=key),
            OpenSlot(),
            CloseSlot(number=chance.randrange(1, 9_999)),
            JoinSlot(number=chance.randrange(1, 9_999)),
            Collect(after=chance.randrange(2**53)),
            Collected(numbers=(chance.randrange(2**53),)),
            Deposit(
                recipient=key, mail_id=bytes(16), expires_at=chance.randrange(2**45), sealed=b""
            ),
        ]
    )


def some_body(chance: random.Random) -> bytes:
    """Return nonsense, a request, or a request with a few bytes changed."""
    kind = chance.random()
    if kind < 0.3:
        return chance.randbytes(chance.randrange(200))
    body = bytearray(encode(some_request(chance)))
    if kind < 0.8:
        for _ in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body)


def some_frames(chance: random.Random) -> list[bytes]:
    """Return a request to be let in and twenty frames, most of them of the right kind."""
    said = [upgrade_request(chance.choice((RENDEZVOUS_PATH, CIRCUIT_PATH)))]
    for _ in range(20):
        payload = chance.randbytes(chance.choice((0, 32, 48, 500, 65_536)))
        first = chance.choice((0x82, 0x82, 0x82, chance.randrange(256)))
        said.append(binary_frame(payload, first=first))
    return said


async def speak_nonsense(place: RendezvousAddress, said: list[bytes]) -> None:
    """Say all of it, and wait until the server has had enough."""
    reader, writer = await asyncio.open_connection(place.host, place.port)
    with contextlib.suppress(OSError):
        writer.write(said[0])
        async with asyncio.timeout(60):
            await reader.readuntil(b"\r\n\r\n")
        writer.writelines(said[1:])
        async with asyncio.timeout(60):
            await writer.drain()
            await reader.read(100)
    writer.transport.abort()


@pytest.mark.slow
async def test_row_39_random_frames_leave_the_rendezvous_serving(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = limits(
        messages_per_s=10**7,
        messages_burst=10**7,
        admissions_per_minute=10**6,
        authentications_per_s=10**6,
        authentications_in_all_per_s=10**6,
        connections_per_address=1_000,
    )
    chance = random.Random(39)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice", "bob", "mallory")
        place = server_place(server)
        sent = 0
        # Requests of a member, most of them none.
        mallory = await visitor(server.address, "mallory")
        await mallory.attend()
        while sent < FRAMES * 8 // 10:
            bodies = [some_body(chance) for _ in range(32)]
            with contextlib.suppress(SafelightError):
                await asyncio.gather(
                    *(mallory.session._ask(body) for body in bodies), return_exceptions=True
                )
            sent += len(bodies)
            if mallory.session.closed.is_set():
                mallory = await visitor(server.address, "mallory")
                await mallory.attend()
        await hang_up(mallory)
        # Frames of strangers, many at once: each one that is wrong ends a connection.
        while sent < FRAMES:
            await asyncio.gather(*(speak_nonsense(place, some_frames(chance)) for _ in range(50)))
            sent += 50 * 20
        async with attending(server.address, "alice", "bob") as (alice, bob):
            circuit = await alice.ask(Call(key=key_of("bob")), Circuit)
            ours, theirs = await alice.join(circuit), await bob.join(await bob.ring())
            await ours.send([b"still here"])

            assert await receive(theirs) == b"still here"
            await ours.close()
            await theirs.close()
    assert "fault" not in capfd.readouterr().err


async def test_row_38_a_frame_that_says_it_is_compressed_ends_the_connection(
    tmp_path: Path,
) -> None:
    async with rendezvous(tmp_path, settings=limits(authentication_s=1)) as server:
        place = server_place(server)
        for path in (RENDEZVOUS_PATH, CIRCUIT_PATH):
            for bad in (
                binary_frame(bytes(32), first=0xC2),  # RSV1
                b"\x82\xff" + (2**40).to_bytes(8, "big") + bytes(4),  # a terabyte
                b"\x02\x80" + bytes(4),  # a fragment that stays alone
            ):
                reader, writer = await asyncio.open_connection(place.host, place.port)
                writer.write(upgrade_request(path) + bad)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert b"101" in answer
                assert b"extensions" not in answer.lower()
                async with asyncio.timeout(60):
                    await reader.read()
                writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        upgrade_request(RENDEZVOUS_PATH).replace(b"GET", b"POST"),
        upgrade_request(RENDEZVOUS_PATH + "?x"),
        upgrade_request(RENDEZVOUS_PATH)[:-2] + b"Origin: http://x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["other path", "other method", "query", "browser", "long", "many headers", "no HTTP"],
)
async def test_whatever_is_not_for_the_server_gets_one_answer(
    tmp_path: Path, request_: bytes
) -> None:
    async with rendezvous(tmp_path) as server:
        place = server_place(server)
        reader, writer = await asyncio.open_connection(place.host, place.port)
        writer.write(request_)
        async with asyncio.timeout(60):
            answer = await reader.read()

        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.0 404 "))
        assert b"safelight" in answer
        assert b"aiohttp" not in answer.lower()
        assert b"nonsense" not in answer
        writer.close()


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        upgrade_request(RENDEZVOUS_PATH),
        upgrade_request(CIRCUIT_PATH),
        upgrade_request(CIRCUIT_PATH) + binary_frame(bytes(32))[:-1],
    ],
    ids=["nothing", "half a request", "no handshake", "no token", "half a token"],
)
async def test_row_40_who_does_not_get_on_is_hung_up_on(tmp_path: Path, words: bytes) -> None:
    async with rendezvous(tmp_path, settings=limits(upgrade_s=1, authentication_s=1)) as server:
        place = server_place(server)
        reader, writer = await asyncio.open_connection(place.host, place.port)
        writer.write(words)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(60):
                await reader.read()
        await until(lambda: server.gauges()["unproved_connections"] == 0)
        writer.close()


async def test_a_member_that_asks_and_never_reads_is_dropped(tmp_path: Path) -> None:
    async with rendezvous(tmp_path, settings=limits(stalled_s=2, messages_burst=1_000)) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            for number in range(50):
                await alice.ask(mail(number, size=MAX_MAIL_BYTES), Done)
            bob.session._link._transport.pause_reading()
            # The kernels of both sides have room for some megabytes of answers.
            for _ in range(400 // MAX_REQUESTS_IN_FLIGHT):
                for _ in range(MAX_REQUESTS_IN_FLIGHT):
                    bob.session._connection.send_request(encode(Collect(after=0)))
                bob.session._send()
                bob.session._connection._exchanges._asked.clear()  # it counts on no answer
            await until(lambda: server.gauges()["attending"] == 1)
