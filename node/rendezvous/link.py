"""The server's end of a control connection: reads no faster than a member may ask.

Belongs here: the pace of one connection, and giving up on an end that takes nothing.
Never here: what the messages say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web

from node.ports import Clock
from node.rendezvous.pace import Pace
from node.rendezvous.settings import RendezvousSettings
from node.transport.websocket import CLOSE_S, WebSocketLink


class ControlLink(WebSocketLink):
    """A link that holds back who asks too much, and who does not read what was answered."""

    __slots__ = ("_clock", "_on_stall", "_pace", "_settings", "_taken", "proved")

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        settings: RendezvousSettings,
        clock: Clock,
        on_stall: Callable[[], None],
    ) -> None:
        super().__init__(socket, transport)
        self._settings = settings
        self._clock = clock
        self._on_stall = on_stall
        self._pace = Pace(
            per_s=settings.messages_per_s, burst=settings.messages_burst, now=clock.monotonic()
        )
        self.proved = False
        """Whether the other end has proved a key."""
        self._taken: asyncio.Future[None] | None = None
        """Done once the other end takes messages again; None while it does."""

    async def receive(self) -> bytes | None:
        """Return the next message when its sender may have sent one, None at the end."""
        message = await super().receive()
        if message is not None:
            cost = max(1.0, len(message) / self._settings.message_bytes)
            if wait := self._pace.take(cost, self._clock.monotonic()):
                await asyncio.sleep(wait / 1000)
            # Each answer that is not taken would be one more in memory.
            if self._taken is not None:
                await asyncio.wait({self._taken})
        return message

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send messages; TimeoutError, which is an OSError, where the other end takes nothing."""
        self._taken = asyncio.get_running_loop().create_future()
        try:
            for message in messages:
                async with asyncio.timeout(self._settings.stalled_s):
                    await super().send((message,))
        except TimeoutError:
            self._on_stall()
            raise
        finally:
            self._taken.set_result(None)
            self._taken = None

    async def close(self) -> None:
        """End the link: politely for who has proved a key, unheard for everybody else."""
        if self.proved:
            await super().close()
        else:
            await hang_up_unheard(self._transport)


async def hang_up_unheard(transport: asyncio.Transport) -> None:
    """End a connection whose other end has proved nothing, after a while of not reading.

    A polite end would read on, and a stranger fill that time. An end at once would let them
    come again at once: so long their address has one connection less.
    """
    if not transport.is_closing():
        transport.pause_reading()
        await asyncio.sleep(CLOSE_S)
        transport.abort()
