"""The dialling end: one WebSocket to one address, one session or one bare link.

Belongs here: the client's settings, time-outs, what a failed dial is called.
Never here: which address to dial and when to try again (services).
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

import aiohttp
from yarl import URL

from node.errors import UnreachableError
from node.ports import Clock
from node.transport.codec import NODE_CODEC, Codec
from node.transport.driver import Handler, Session, SessionClosedError
from node.transport.link import Link
from node.transport.websocket import (
    CIRCUIT_PATH,
    CLOSE_S,
    MAX_FRAME_BYTES,
    PATH,
    WebSocketLink,
)
from protocol.channel.connection import Connection
from protocol.channel.offer import DIRECT, Offer
from protocol.channel.states import Role
from protocol.limits import HANDSHAKE_TIMEOUT_MS
from protocol.primitives import Entropy

_MAX_LINE_BYTES: Final = 1024
_MAX_HEADERS: Final = 16


class DialError(UnreachableError):
    """One address did not lead to who was dialled."""

    def __init__(self, cause: str, place: str) -> None:
        super().__init__(f"{place} was not reached: {cause}")
        self.cause = cause
        """Why, in our own words: nothing that the other end wrote."""


async def dial(
    host: str,
    port: int,
    *,
    remote_static: bytes,
    static_secret: bytes,
    team_id: bytes,
    handler: Handler,
    clock: Clock,
    entropy: Entropy,
    timeout: float,
    path: str = PATH,
    codec: Codec = NODE_CODEC,
) -> Session:
    """Return a session with the node at host:port, which has proved remote_static.

    Raises DialError where there is none within ``timeout`` seconds: nothing listens,
    something else does, or whoever does has another key or belongs to another team.
    """
    place = place_text(host, port)
    try:
        async with asyncio.timeout(timeout):
            link = await dial_link(host, port, path=path, timeout=timeout)
            return await open_channel_over(
                link,
                remote_static=remote_static,
                static_secret=static_secret,
                team_id=team_id,
                handler=handler,
                clock=clock,
                entropy=entropy,
                codec=codec,
            )
    except TimeoutError:
        raise DialError(f"no answer within {timeout:g} s", place) from None
    except SessionClosedError as error:
        raise DialError(handshake_cause(error), place) from None


async def dial_link(
    host: str,
    port: int,
    *,
    path: str,
    timeout: float,
    max_message_bytes: int = MAX_FRAME_BYTES,
) -> WebSocketLink:
    """Return a bare link to a path of host:port, over which nothing has passed yet.

    Raises DialError where there is none within ``timeout`` seconds.
    """
    place = place_text(host, port)
    try:
        async with asyncio.timeout(timeout):
            return await _connect(host, port, path, max_message_bytes)
    except TimeoutError:
        raise DialError(f"no answer within {timeout:g} s", place) from None
    except (aiohttp.ClientError, OSError, ValueError, OverflowError) as error:
        raise DialError(_cause(error), place) from None


async def dial_circuit(
    host: str,
    port: int,
    token: bytes,
    *,
    timeout: float,
) -> WebSocketLink:
    """Return this side's end of a circuit through the rendezvous at host:port.

    What is sent over it reaches whoever holds the other end's token, now or once they come.
    Raises DialError where the rendezvous is not there within ``timeout`` seconds.
    """
    link = await dial_link(host, port, path=CIRCUIT_PATH, timeout=timeout)
    try:
        await link.send([token])
    except OSError:
        await link.close()
        raise DialError("the circuit ended at once", place_text(host, port)) from None
    except BaseException:
        await link.close()
        raise
    return link


async def open_channel_over(
    link: Link,
    *,
    remote_static: bytes | None,
    static_secret: bytes,
    team_id: bytes,
    handler: Handler,
    clock: Clock,
    entropy: Entropy,
    relay_session: bytes = b"",
    codec: Codec = NODE_CODEC,
) -> Session:
    """Return a session over a link; the link is the session's from here on.

    Who names the key to reach as ``remote_static`` initiates; the other end passes None.
    ``relay_session`` is the rendezvous' id of a circuit, empty for a link of one's own.
    Raises SessionClosedError where the ends do not prove themselves within the channel's
    handshake time, LocalError for keys or a session id that cannot be used.
    """
    initiator = remote_static is not None
    offer = Offer(transport="relay", relay_session=relay_session) if relay_session else DIRECT
    try:
        connection = Connection(
            role=Role.INITIATOR if initiator else Role.RESPONDER,
            static_secret=static_secret,
            remote_static=remote_static,
            team_id=team_id,
            entropy=entropy,
            now=clock.monotonic(),
            offer=offer,
        )
    except BaseException:
        await link.close()
        raise
    return await Session.open(
        link,
        connection,
        initiator=initiator,
        clock=clock,
        handler=handler,
        codec=codec,
        relayed=bool(relay_session),
    )


def handshake_cause(error: SessionClosedError) -> str:
    """Return why a handshake that ended early did, in our own words."""
    return _HANDSHAKE.get(error.reason, _NOT_THEM)


def place_text(host: str, port: int) -> str:
    """Return HOST:PORT as people write it; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _ClientLink(WebSocketLink):
    """A link that also ends the HTTP session it came from."""

    __slots__ = ("_http",)

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        transport: asyncio.Transport,
        http: aiohttp.ClientSession,
    ) -> None:
        super().__init__(socket, transport)
        self._http = http

    async def close(self) -> None:
        """End the link and the HTTP session."""
        await super().close()
        await self._http.close()


class _NoWebSocketError(aiohttp.ClientError):
    """Whatever listens there answered with something else than an upgrade."""


async def _connect(host: str, port: int, path: str, max_message_bytes: int) -> WebSocketLink:
    """Return a WebSocket to host:port. No proxy, cookie, redirect or compression."""
    transports: list[asyncio.Transport] = []

    async def only_upgrades(
        request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await send(request)
        connection = response.connection
        if response.status != 101 or connection is None or connection.transport is None:
            # A redirect would let a peer aim requests of ours at others.
            response.close()
            raise _NoWebSocketError("no node answers there")
        transports.append(connection.transport)
        return response

    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": "safelight"},
        skip_auto_headers=("Accept", "Accept-Encoding"),
        max_line_size=_MAX_LINE_BYTES,
        max_field_size=_MAX_LINE_BYTES,
        max_headers=_MAX_HEADERS,
        middlewares=(only_upgrades,),
    )
    try:
        socket = await http.ws_connect(
            URL.build(scheme="http", host=host, port=port, path=path),
            autoping=False,
            compress=0,
            # The library takes a message only where it is shorter.
            max_msg_size=max_message_bytes + 1,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
        )
        return _ClientLink(socket, transports[0], http)
    except BaseException:
        await http.close()
        raise


_NOT_THEM: Final = "whoever answers there is not them"
"""A listener with another key or team ends a handshake without a word."""
_HANDSHAKE: Final = {
    "handshake_timeout": f"no handshake within {HANDSHAKE_TIMEOUT_MS / 1000:g} s",
    "unsupported": "another version of Safelight answers there",
}
"""What the end of a handshake is called, by its reason."""


def _cause(error: Exception) -> str:
    """Return our own words for a failure: nothing that the other end wrote."""
    match error:
        case _NoWebSocketError() | aiohttp.WSServerHandshakeError():
            return "no node answers there"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
        case OSError():
            return "none of its addresses answers"
        case _:
            return type(error).__name__
