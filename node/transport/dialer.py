"""The dialling end: one WebSocket to one address, one session.

Belongs here: the client's settings, time-outs, what a failed dial is called.
Never here: which address to dial and when to try again (services).
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from yarl import URL

from node.errors import UnreachableError
from node.ports import Clock
from node.transport.driver import Handler, Session
from node.transport.websocket import CLOSE_S, MAX_FRAME_BYTES, PATH, WebSocketLink
from protocol.channel.connection import Connection
from protocol.channel.states import Role
from protocol.primitives import Entropy

_MAX_LINE_BYTES: Final = 1024
_MAX_HEADERS: Final = 16


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
    timeout: float,  # noqa: ASYNC109  the caller's patience is part of what a dial is
) -> Session:
    """Return a session with the node at host:port, which has proved remote_static.

    Raises UnreachableError where there is none within ``timeout`` seconds: nothing listens,
    something else does, or whoever does has another key or belongs to another team.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout):
            link = await _connect(host, port)
            connection = Connection(
                role=Role.INITIATOR,
                static_secret=static_secret,
                remote_static=remote_static,
                team_id=team_id,
                entropy=entropy,
                now=clock.monotonic(),
            )
            return await Session.open(
                link, connection, initiator=True, clock=clock, handler=handler
            )
    except TimeoutError:
        raise UnreachableError(f"{place} did not answer within {timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError, OverflowError) as error:
        raise UnreachableError(f"{place} was not reached: {_cause(error)}") from None


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


async def _connect(host: str, port: int) -> WebSocketLink:
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
            URL.build(scheme="http", host=host, port=port, path=PATH),
            autoping=False,
            compress=0,
            max_msg_size=MAX_FRAME_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
        )
        return _ClientLink(socket, transports[0], http)
    except BaseException:
        await http.close()
        raise


def _cause(error: Exception) -> str:
    """Return our own words for a failure: nothing that the other end wrote."""
    match error:
        case _NoWebSocketError() | aiohttp.WSServerHandshakeError():
            return "no node answers there"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case OSError(strerror=str(reason)):
            return reason.lower()
        case _:
            return type(error).__name__
