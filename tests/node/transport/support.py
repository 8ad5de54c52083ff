"""Pairs of sessions over loopback sockets and over memory, and what they say."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from node.system import SystemClock, system_entropy
from node.transport.dialer import dial
from node.transport.door import Door
from node.transport.driver import Handler, Reply, Session
from node.transport.listener import Listener
from protocol.channel.connection import Connection
from protocol.channel.states import Role
from protocol.messages import (
    Deliver,
    Done,
    FetchHead,
    FetchRendition,
    Head,
    Hello,
    Released,
    Request,
    Streamed,
)
from protocol.primitives import x25519_public

DIALLER_SECRET = bytes(range(32))
LISTENER_SECRET = bytes(range(1, 33))
DIALLER_KEY = x25519_public(DIALLER_SECRET)
LISTENER_KEY = x25519_public(LISTENER_SECRET)
TEAM = bytes(range(2, 34))
CLOCK = SystemClock()

HELLO = Hello(roster_version=1, roster_hash=bytes(32), my_head=b"", your_head=b"", log_keys=0)
FETCH = FetchRendition(rendition_id=bytes(32), offset=0)
RELEASED = Released(
    issuer_share=bytes(32),
    entry=b"{}",
    index=7,
    proof=(bytes(32),) * 20,
    checkpoint=b"note",
    opens_left=2,
)

Pair = tuple[Session, Session]
"""The dialler's session and the listener's."""
MakePair = Callable[..., Any]


async def answer_done(session: Session, request: Request) -> Reply:
    """Answer every request with Done."""
    return Done()


async def answer_by_kind(session: Session, request: Request) -> Reply:
    """Echo what a request holds: a delivery's bytes in a head, a fetch's offset as a stream."""
    match request:
        case Deliver(sealed=sealed):
            return Head(note=sealed, proof=())
        case FetchHead(from_size=size):
            return Head(note=str(size).encode(), proof=())
        case FetchRendition(offset=length):
            return Streamed(length=length), pieces(pattern(length), 100_000)
        case _:
            return Done()


def pattern(length: int) -> bytes:
    """Return bytes that repeat at no multiple of a message's size."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield data in pieces."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def collect(stream: AsyncIterator[bytes]) -> bytes:
    """Return everything a stream holds."""
    return b"".join([piece async for piece in stream])


def bound(listens: Listener, **changes: Any) -> Door:
    """Change what a listener lets those take who have proved nothing; return its door."""
    door = listens._door
    assert door is not None
    door.bounds = dataclasses.replace(door.bounds, **changes)
    return door


@asynccontextmanager
async def listening(
    handler: Handler = answer_done,
    on_session: Callable[[Session], None] = lambda _: None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Listener]:
    """Listen on a free port of this machine."""
    listener = Listener(
        host=host,
        port=0,
        static_secret=LISTENER_SECRET,
        team_id=lambda: TEAM,
        handler=handler,
        on_session=on_session,
        clock=CLOCK,
        entropy=system_entropy,
    )
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()


async def dial_listener(
    listener: Listener,
    handler: Handler = answer_done,
    *,
    remote_static: bytes = LISTENER_KEY,
    team_id: bytes = TEAM,
    timeout: float = 5,
) -> Session:
    """Dial a listener of ours."""
    host, port = listener.addresses[0]
    return await dial(
        host,
        port,
        remote_static=remote_static,
        static_secret=DIALLER_SECRET,
        team_id=team_id,
        handler=handler,
        clock=CLOCK,
        entropy=system_entropy,
        timeout=timeout,
    )


@asynccontextmanager
async def loopback_pair(
    dialler: Handler = answer_done, listener: Handler = answer_done
) -> AsyncIterator[Pair]:
    """Give two sessions over a loopback socket."""
    accepted: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
    async with listening(listener, accepted.set_result) as listens:
        session = await dial_listener(listens, dialler)
        try:
            yield session, await accepted
        finally:
            await session.close()


class MemoryLink:
    """One end of a link in memory. It takes a few messages, then waits for the reader."""

    remote = ("memory", 0)

    def __init__(self, receives: asyncio.Queue[bytes | None], sends: asyncio.Queue[bytes | None]):
        self._receives = receives
        self._sends = sends
        self.silent = False
        """Whether what is sent is lost, as on a link that was cut."""

    async def receive(self) -> bytes | None:
        """Return the next message, or None at the end."""
        return await self._receives.get()

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send messages, waiting while the queue is full."""
        for message in messages:
            if not self.silent:
                await self._sends.put(message)

    async def close(self) -> None:
        """End both directions."""
        for queue in (self._sends, self._receives):
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)


def memory_links(capacity: int = 4) -> tuple[MemoryLink, MemoryLink]:
    """Return the two ends of a link in memory."""
    there: asyncio.Queue[bytes | None] = asyncio.Queue(capacity)
    back: asyncio.Queue[bytes | None] = asyncio.Queue(capacity)
    return MemoryLink(back, there), MemoryLink(there, back)


def connection(role: Role, clock: Any = CLOCK) -> Connection:
    """Return one side of a channel between the two."""
    initiates = role is Role.INITIATOR
    return Connection(
        role=role,
        static_secret=DIALLER_SECRET if initiates else LISTENER_SECRET,
        remote_static=LISTENER_KEY if initiates else None,
        team_id=TEAM,
        entropy=system_entropy,
        now=clock.monotonic(),
    )


@asynccontextmanager
async def memory_pair(
    dialler: Handler = answer_done,
    listener: Handler = answer_done,
    *,
    clock: Any = CLOCK,
    links: tuple[MemoryLink, MemoryLink] | None = None,
) -> AsyncIterator[Pair]:
    """Give two sessions over a link in memory."""
    one, other = links or memory_links()
    opening = (
        Session.open(
            one, connection(Role.INITIATOR, clock), initiator=True, clock=clock, handler=dialler
        ),
        Session.open(
            other, connection(Role.RESPONDER, clock), initiator=False, clock=clock, handler=listener
        ),
    )
    sessions = await asyncio.gather(*opening)
    try:
        yield sessions[0], sessions[1]
    finally:
        await asyncio.gather(*(session.close() for session in sessions))


async def soon(condition: Callable[[], bool], timeout: float = 5) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


Check = Callable[[MakePair], Awaitable[None]]
