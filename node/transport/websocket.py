"""One channel's carrier: binary WebSocket messages, either end.

Belongs here: the paths, the bounds and settings of the WebSocket, sending and receiving.
Never here: what the messages hold (``protocol.channel``), who dials or listens.
The specification is docs/spec/websocket.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import aiohttp
from aiohttp import web

PATH: Final = "/safelight/v1/channel"
"""Where a node serves channels."""
JOIN_PATH: Final = "/safelight/v1/join"
"""Where a node serves joining, while an invitation of it is open."""
RENDEZVOUS_PATH: Final = "/safelight/v1/rendezvous"
"""Where a rendezvous serves channels with itself."""
CIRCUIT_PATH: Final = "/safelight/v1/circuit"
"""Where a rendezvous serves the ends of circuits."""

MAX_FRAME_BYTES: Final = 65_600
"""A Noise message has at most 65,535 bytes; more is refused before it is buffered."""

CLOSE_S: Final = 1.0
"""How long the other end may take to answer a close."""

_WRITE_BUFFER_BYTES: Final = 256 * 1024
"""What the socket may hold unsent before the pump waits for it."""


class WebSocketLink:
    """A WebSocket as the pump uses it. Text, pings and every other frame end it."""

    __slots__ = ("_socket", "_transport", "remote")

    def __init__(
        self,
        socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._socket = socket
        self._transport = transport
        peer = transport.get_extra_info("peername") or ("", 0)
        self.remote: tuple[str, int] = (peer[0], peer[1])
        """Address and port of the other end."""

    async def receive(self) -> bytes | None:
        """Return the next message, or None once there is none any more."""
        message = await self._socket.receive()
        return message.data if message.type is aiohttp.WSMsgType.BINARY else None

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send messages in order, waiting while the socket takes no more.

        Raises ConnectionError where the link has ended.
        """
        for message in messages:
            await self._socket.send_bytes(message)

    async def close(self) -> None:
        """End the link: politely where the other end plays along, at once where it does not."""
        with contextlib.suppress(TimeoutError, OSError, aiohttp.ClientError):
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close()
        # An end that has stopped reading would keep a closing transport alive for ever.
        self._transport.abort()
