"""The bytes that follow an answer, on their way in and out.

Belongs here: what has arrived and is not read, cutting what leaves into full messages.
Never here: credit and turns (``driver``), or what the bytes are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final, Self

from protocol.channel.frames import DATA_BYTES

STREAM_PIECE_BYTES: Final = 16 * DATA_BYTES
"""Pieces of a stream of this size are sent without being copied together."""


class IncomingStream:
    """The bytes that follow an answer. An asynchronous iterator; iterate once."""

    __slots__ = ("_abandon", "_consumed", "_inbox", "_loop")

    def __init__(
        self, inbox: Inbox, *, consumed: Callable[[int], None], abandon: Callable[[], None]
    ) -> None:
        self._inbox = inbox
        self._consumed = consumed
        self._abandon = abandon
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece; SessionClosedError or StreamBrokenError where it is cut short."""
        try:
            piece = await self._inbox.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if piece is None:
            raise StopAsyncIteration
        self._consumed(len(piece))
        return piece

    async def aclose(self) -> None:
        """Want no more of it: the peer is told to stop."""
        if not self._inbox.ended:
            self._inbox.drop()
            self._abandon()

    def __del__(self) -> None:
        # The collector may run in any thread, and after the loop.
        if not self._inbox.ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._abandon)


class Inbox:
    """What has arrived of a stream and is not read yet: at most one window of the channel."""

    __slots__ = ("_error", "_pieces", "_waiter", "ended")

    def __init__(self, *, ended: bool = False) -> None:
        self.ended = ended
        """Whether nothing more arrives."""
        self._pieces: deque[bytes] = deque()
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._pieces.append(piece)
        self._wake()

    def end(self, error: Exception | None) -> None:
        """Take note that nothing more arrives: the end, or what cut it short."""
        self.ended = True
        self._error = error
        self._wake()

    def drop(self) -> None:
        """Forget what has arrived: nobody will read it."""
        self._pieces.clear()
        self.end(None)

    async def get(self) -> bytes | None:
        """Return the next piece, or None at the end; raise what cut it short."""
        while not self._pieces:
            if self.ended:
                if self._error is not None:
                    raise self._error
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._pieces.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def full_messages(pieces: AsyncIterator[bytes]) -> AsyncGenerator[memoryview, None]:
    """Yield the same bytes in multiples of DATA_BYTES, the rest last; copies only at the seams."""
    rest = b""
    async for piece in pieces:
        view = memoryview(piece)
        if rest:
            missing = DATA_BYTES - len(rest)
            rest += view[:missing]
            view = view[missing:]
            if len(rest) < DATA_BYTES:
                continue
            yield memoryview(rest)
        full = len(view) - len(view) % DATA_BYTES
        if full:
            yield view[:full]
        rest = bytes(view[full:])
    if rest:
        yield memoryview(rest)
