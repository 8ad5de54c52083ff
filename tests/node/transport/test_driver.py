"""The pump against links that stall, fall silent or end, and against a peer that cheats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, get_args

import pytest

from node.transport.driver import Reply, Session, SessionClosedError
from protocol.channel.connection import Connection
from protocol.channel.events import Established, Event
from protocol.channel.states import Role
from protocol.limits import (
    HANDSHAKE_TIMEOUT_MS,
    KEEP_ALIVE_MS,
    MIB,
    SILENCE_MS,
    STREAM_WINDOW_BYTES,
)
from protocol.messages import Deliver, Done, Head, Request, Streamed, encode_message
from tests.node.transport.support import (
    CLOCK,
    FETCH,
    HELLO,
    MemoryLink,
    answer_done,
    connection,
    memory_links,
    memory_pair,
    soon,
)
from tests.node.transport.virtual import LoopClock, VirtualTimeLoop


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    """Run on a loop whose time jumps."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work)


# Time ---------------------------------------------------------------------------------------------


def test_an_idle_session_stays_open_for_days() -> None:
    async def idle() -> None:
        async with memory_pair(clock=LoopClock()) as (dialler, listener):
            await asyncio.sleep(3 * 24 * 3_600)

            assert not dialler.closed.is_set()
            assert not listener.closed.is_set()
            assert await dialler.request(HELLO) == Done()

    in_virtual_time(idle())


@pytest.mark.parametrize("side", [0, 1])
def test_a_silent_peer_is_given_up_on_within_half_a_minute(side: int) -> None:
    async def cut() -> None:
        clock = LoopClock()
        links = memory_links()
        async with memory_pair(clock=clock, links=links) as pair:
            links[1 - side].silent = True
            asking = asyncio.create_task(pair[side].request(HELLO))
            cut_at = clock.monotonic()
            await pair[side].closed.wait()

            assert pair[side].close_reason == "silent"
            assert SILENCE_MS - KEEP_ALIVE_MS <= clock.monotonic() - cut_at <= SILENCE_MS
            with pytest.raises(SessionClosedError, match="silent"):
                await asking

    in_virtual_time(cut())


@pytest.mark.parametrize("role", list(Role))
def test_a_handshake_that_goes_nowhere_ends_after_its_time(role: Role) -> None:
    async def open_alone() -> None:
        clock = LoopClock()
        link, _ = memory_links()
        with pytest.raises(SessionClosedError, match="handshake_timeout"):
            await Session.open(
                link,
                connection(role, clock),
                initiator=role is Role.INITIATOR,
                clock=clock,
                handler=answer_done,
            )
        assert clock.monotonic() == HANDSHAKE_TIMEOUT_MS

    in_virtual_time(open_alone())


# Links --------------------------------------------------------------------------------------------


class BrokenLink(MemoryLink):
    """Fails as sockets fail."""

    async def send(self, messages: Any) -> None:
        """Fail."""
        raise ConnectionResetError


async def test_a_link_that_ends_ends_the_session() -> None:
    links = memory_links()
    async with memory_pair(links=links) as (dialler, listener):
        asking = asyncio.create_task(dialler.request(HELLO))
        await links[1].close()
        with pytest.raises(SessionClosedError) as raised:
            await asking

        async with asyncio.timeout(45):
            await listener.closed.wait()
        assert raised.value.reason == "lost"
        assert (dialler.close_reason, listener.close_reason) == ("lost", "lost")


async def test_a_link_that_fails_ends_the_session() -> None:
    link = BrokenLink(*[asyncio.Queue[bytes | None]() for _ in range(2)])

    with pytest.raises(SessionClosedError, match="lost"):
        await Session.open(
            link, connection(Role.INITIATOR), initiator=True, clock=CLOCK, handler=answer_done
        )


async def test_a_link_that_takes_nothing_more_does_not_hold_up_a_close() -> None:
    links = memory_links()
    async with memory_pair(links=links) as (dialler, _):
        stalled: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        links[0]._sends = stalled
        for _ in range(5):
            asyncio.create_task(dialler.request(HELLO)).add_done_callback(lambda t: t.exception())
        await asyncio.sleep(0.05)

        async with asyncio.timeout(10):
            await dialler.close()


async def test_a_socket_that_takes_nothing_more_stops_the_source() -> None:
    """The bound on sealed and unsent bytes, window or not."""
    produced = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 100_000
            yield bytes(100_000)

    async def handler(session: Session, request: Request) -> Reply:
        return Streamed(length=2**40), source()

    links = memory_links()
    async with memory_pair(links=links, listener=handler) as (dialler, _):
        links[1]._sends = asyncio.Queue(1)
        asking = [asyncio.create_task(dialler.request_stream(FETCH)) for _ in range(20)]
        await asyncio.sleep(0.3)
        for one in asking:
            one.cancel()

    # Twenty windows would be 80 MiB: all streams together share 512 KiB and one turn each.
    assert produced < 20 * 400_000 + MIB
    assert produced < 20 * STREAM_WINDOW_BYTES


# A peer that cheats -------------------------------------------------------------------------------


class Cheat:
    """The dialling end of a channel without a pump: says what it likes, reads when it likes."""

    def __init__(self, link: MemoryLink) -> None:
        self.link = link
        self.channel: Connection = connection(Role.INITIATOR)

    async def establish(self) -> None:
        while not isinstance(self.channel.next_event(), Established):
            await self.say()
            data = await self.link.receive()
            assert data is not None
            self.channel.receive_data(data, now=CLOCK.monotonic())
        await self.say()

    async def say(self) -> None:
        await self.link.send(self.channel.data_to_send())


async def _against_cheat(handler: Any) -> tuple[Cheat, Session]:
    near, far = memory_links(capacity=64)
    cheat = Cheat(near)
    opening = asyncio.create_task(
        Session.open(far, connection(Role.RESPONDER), initiator=False, clock=CLOCK, handler=handler)
    )
    await cheat.establish()
    return cheat, await opening


async def test_a_peer_that_asks_and_never_reads_is_dropped() -> None:
    async def handler(session: Session, request: Request) -> Reply:
        return Head(note=bytes(59_000), proof=())

    cheat, session = await _against_cheat(handler)
    held = 0
    asked = 0
    # Only what it must not have read keeps the cheat's own channel from asking on.
    while not session.closed.is_set():
        cheat.channel._exchanges._asked.clear()
        cheat.channel.send_request(encode_message(HELLO))
        asked += 1
        await cheat.say()
        await asyncio.sleep(0)
        held = max(held, session._outbox.unsent)
        assert asked < 2_000

    assert session.close_reason == "overrun"
    assert held <= 17 * MIB
    await session.close()


async def test_a_peer_that_floods_requests_is_closed() -> None:
    running = 0
    most = 0

    async def handler(session: Session, request: Request) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(60)
        finally:
            running -= 1
        return Done()

    cheat, session = await _against_cheat(handler)
    for _ in range(65):
        cheat.channel._exchanges._asked.clear()
        cheat.channel.send_request(encode_message(HELLO))
    await cheat.say()
    async with asyncio.timeout(10):
        await session.closed.wait()
    await session.close()

    assert session.close_reason == "remote_protocol"
    assert most <= 64
    assert running == 0


async def test_a_peer_that_asks_and_cancels_does_not_multiply_handlers() -> None:
    """A handler that takes its time to stop keeps its place until it has."""
    running = 0
    most = 0
    may_stop = asyncio.Event()

    async def handler(session: Session, request: Request) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await may_stop.wait()
            raise
        finally:
            running -= 1
        return Done()

    cheat, session = await _against_cheat(handler)
    for _ in range(200):
        cheat.channel._exchanges._asked.clear()
        request_id = cheat.channel.send_request(encode_message(HELLO))
        await cheat.say()
        await asyncio.sleep(0.001)
        cheat.channel.cancel(request_id)
        await cheat.say()
        if session.closed.is_set():
            break

    assert session.close_reason == "remote_protocol"
    assert most <= 64
    may_stop.set()
    await session.close()
    assert running == 0


@pytest.mark.parametrize("data", [b"", b"x", bytes(65_535)])
async def test_bytes_that_do_not_verify_close(data: bytes) -> None:
    cheat, session = await _against_cheat(answer_done)
    await cheat.link.send([data])
    async with asyncio.timeout(45):
        await session.closed.wait()

    assert session.close_reason in {"authentication", "remote_protocol"}
    await session.close()


async def test_a_request_of_bytes_that_are_none_is_refused() -> None:
    cheat, session = await _against_cheat(answer_done)
    for body in (b"", b"\xff", bytes(60_000), encode_message(Deliver(sealed=b""))[:-1]):
        cheat.channel.send_request(body)
    await cheat.say()
    await soon(lambda: not session._answers)

    assert not session.closed.is_set()
    await session.close()


def test_every_event_of_the_channel_is_handled() -> None:
    assert set(Session._ON) == set(get_args(Event))
