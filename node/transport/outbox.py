"""Sealed messages on their way to the link.

Belongs here: their order, how many may wait, and whose turn it is to seal more.
Never here: sealing (``protocol.channel``), or what messages are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from node.transport.link import Link
from protocol.limits import MIB

_UNSENT_STREAM_BYTES: Final = 512 * 1024
"""Unsent bytes from which on no stream seals more."""
_MAX_UNSENT_BYTES: Final = 16 * MIB
"""Over what a peer that reads its answers can cause: 64 requests and 64 answers of 60,000 bytes
and the streams' share are 8 MiB. A peer that asks and does not read is dropped here."""


class Outbox:
    """Takes messages at once, and sends them as fast as the link takes them."""

    def __init__(self, link: Link, *, overrun: Callable[[], None]) -> None:
        self._link = link
        self._overrun = overrun
        self._messages: list[bytes] = []
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        # First come, first served: no stream is left behind by the others.
        self._turn = asyncio.Lock()
        self._ended = False

    @property
    def unsent(self) -> int:
        """How many bytes the link has not taken."""
        return self._bytes

    def put(self, messages: list[bytes]) -> None:
        """Take messages; calls ``overrun`` where the peer has let too many wait."""
        self._messages += messages
        self._bytes += sum(map(len, messages))
        if self._bytes >= _UNSENT_STREAM_BYTES:
            self._room.clear()
            if self._bytes > _MAX_UNSENT_BYTES:
                self._overrun()
        self._filled.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until this stream may seal its next part."""
        async with self._turn:
            await self._room.wait()
            yield

    def end(self) -> None:
        """Let ``run`` return once nothing is left."""
        self._ended = True
        self._filled.set()

    def clear(self) -> None:
        """Forget what has not been sent."""
        self._messages.clear()

    async def run(self) -> None:
        """Send until the end; ConnectionError where the link ends first."""
        while not self._ended or self._messages:
            await self._filled.wait()
            self._filled.clear()
            while self._messages:
                messages, self._messages = self._messages, []
                await self._link.send(messages)
                self._bytes -= sum(map(len, messages))
                if self._bytes < _UNSENT_STREAM_BYTES:
                    self._room.set()
