"""The listening end: accepts members' and strangers' WebSockets, within bounds.

Belongs here: the TCP sockets, the bounds on those who have not proved a key, the
paths.
Never here: who a key belongs to, or what a session is for (the handler).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from node.errors import NodeError
from node.faults import report_fault
from node.ports import Clock
from node.transport.driver import Handler, Session, SessionClosedError
from node.transport.websocket import (
    CLOSE_S,
    JOIN_PATH,
    MAX_FRAME_BYTES,
    PATH,
    WebSocketLink,
)
from protocol.channel.connection import Connection
from protocol.channel.states import Role
from protocol.errors import SafelightError
from protocol.limits import (
    HANDSHAKE_TIMEOUT_MS,
    JOINING_TIMEOUT_MS,
    MAX_JOINING_MESSAGE_BYTES,
)
from protocol.primitives import Entropy

_UNPROVED_S: Final = HANDSHAKE_TIMEOUT_MS / 1000
"""From the upgrade until a key is proved; half of it from the TCP accept to the upgrade."""
_JOINING_S: Final = JOINING_TIMEOUT_MS / 1000
_MAX_UNPROVED_PER_ADDRESS: Final = 16
"""An office behind one address redials at once after a power cut; a flood is more."""
_MAX_UNPROVED: Final = 512
"""Bounds memory and descriptors whatever the number of addresses."""
_MAX_LINE_BYTES: Final = 1024
"""Our request line and header lines are far shorter."""
_MAX_HEADERS: Final = 16
_BACKLOG: Final = 128

# What strangers send is no news, and none of their text belongs in a log.
_UNLOGGED: Final = logging.getLogger("safelight.transport")
_UNLOGGED.disabled = True


class ListenError(NodeError):
    """The address to listen on cannot be had."""

    code = "listen"


class Listener:
    """Listens on one host and port, and hands over each session once its peer's key is proved.

    ``host`` is a name or address; ``::`` stands for every address of both families. ``port`` 0
    takes a free one. ``team_id`` is asked at each new connection, since a node may join a team
    while it listens. ``on_session`` is called before the session's first request is answered.

    While ``joining_open`` is true, ``on_joining`` is given each link of a newcomer and talks over
    it until it returns; the link is closed then, or after the time that a joining may take.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        static_secret: bytes,
        team_id: Callable[[], bytes],
        handler: Handler,
        on_session: Callable[[Session], None],
        clock: Clock,
        entropy: Entropy,
        on_joining: Callable[[WebSocketLink], Awaitable[None]] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._static_secret = static_secret
        self._team_id = team_id
        self._handler = handler
        self._on_session = on_session
        self._clock = clock
        self._entropy = entropy
        self._on_joining = on_joining
        self.joining_open = False
        """Whether newcomers are let in: an invitation is open. Else the path is none."""
        self._http: _BoundedServer | None = None
        self._listening: list[asyncio.AbstractServer] = []
        self._sessions: set[Session] = set()
        self.addresses: list[tuple[str, int]] = []
        """Where it listens: address and port of each socket."""

    async def start(self) -> None:
        """Listen; ListenError where the address cannot be had."""
        self._http = _BoundedServer(
            self._handle,
            access_log=None,
            logger=_UNLOGGED,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
            lingering_time=0,
        )
        loop = asyncio.get_running_loop()
        try:
            for bound in await _bind(self._host, self._port):
                # Some systems let connections in from here on, none earlier.
                server = await loop.create_server(self._http, sock=bound, backlog=_BACKLOG)
                self._listening.append(server)
                self.addresses.append(bound.getsockname()[:2])
        except OSError as error:
            await self.close()
            raise ListenError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}",
                hint="name another address: --listen HOST:PORT, port 0 for any",
            ) from None

    async def close(self) -> None:
        """Stop listening and close every session."""
        for server in self._listening:
            server.close()
        self._listening.clear()
        self.addresses.clear()
        if self._http is not None:
            # First those who are about to become sessions.
            self._http.abort_unproved()
        while self._sessions:
            await asyncio.gather(*(session.close() for session in self._sessions))
            await asyncio.sleep(0)
        if self._http is not None:
            await self._http.shutdown(CLOSE_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        joining = self.joining_open and request.path_qs == JOIN_PATH
        upgrade = web.WebSocketResponse(
            compress=False,
            autoping=False,
            # The library takes a message only where it is shorter; ours are, but for joining.
            max_msg_size=MAX_JOINING_MESSAGE_BYTES + 1 if joining else MAX_FRAME_BYTES,
            timeout=CLOSE_S,
        )
        transport = request.transport
        if (
            transport is None
            or request.method != "GET"
            or not (joining or request.path_qs == PATH)
            # No browser has business here, and nothing is to be negotiated.
            or "Origin" in request.headers
            or "Sec-WebSocket-Protocol" in request.headers
            or not upgrade.can_prepare(request)
        ):
            return _not_found()
        upgrade.headers.update(_HEADERS)
        await upgrade.prepare(request)
        link = WebSocketLink(upgrade, transport)
        assert self._http is not None, "connections exist only after start"
        self._http.upgraded(transport, _JOINING_S if joining else _UNPROVED_S)
        await (self._join(link) if joining else self._serve(link, transport))
        return upgrade

    async def _join(self, link: WebSocketLink) -> None:
        assert self._on_joining is not None, "joining opens only where there is a handler"
        try:
            await self._on_joining(link)
        except SafelightError:
            pass
        except Exception as error:  # noqa: BLE001  one newcomer must not end the node
            report_fault("a joining", error)
        finally:
            await link.close()

    async def _serve(self, link: WebSocketLink, transport: asyncio.Transport) -> None:
        assert self._http is not None, "connections exist only after start"
        connection = Connection(
            role=Role.RESPONDER,
            static_secret=self._static_secret,
            remote_static=None,
            team_id=self._team_id(),
            entropy=self._entropy,
            now=self._clock.monotonic(),
        )
        try:
            session = await Session.open(
                link, connection, initiator=False, clock=self._clock, handler=self._handler
            )
        except SessionClosedError:
            return
        self._http.proved(transport)
        self._sessions.add(session)
        try:
            self._on_session(session)
            await session.closed.wait()
        except Exception as error:  # noqa: BLE001  one session must not end the node
            report_fault("a new session", error)
        finally:
            self._sessions.discard(session)
            await session.close()


class _BoundedServer(web.Server):
    """Drops connections over the bounds on those whose peer has not proved a key."""

    def __init__(self, handler: Any, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._unproved: dict[asyncio.Transport, tuple[str, asyncio.TimerHandle]] = {}
        self._per_address: Counter[str] = Counter()

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Give the connection its time, or drop it."""
        super().connection_made(handler, transport)
        address = _address_of(transport)
        if (
            len(self._unproved) >= _MAX_UNPROVED
            or self._per_address[address] >= _MAX_UNPROVED_PER_ADDRESS
        ):
            # Not yet: its reader begins a turn from now, and ends with a fault where nothing is.
            asyncio.get_running_loop().call_soon(transport.abort)
            return
        deadline = asyncio.get_running_loop().call_later(_UNPROVED_S / 2, transport.abort)
        self._unproved[transport] = (address, deadline)
        self._per_address[address] += 1

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Free its place."""
        transport = self._connections.get(handler)
        if transport is not None:
            self.proved(transport)
        super().connection_lost(handler, exc)

    def __call__(self) -> web.RequestHandler:
        """Return what reads one connection."""
        return _Reader(self, loop=self._loop, **self._kwargs)

    def proved(self, transport: asyncio.Transport) -> None:
        """Count a connection no longer: its peer's key is proved, or it has ended."""
        entry = self._unproved.pop(transport, None)
        if entry is not None:
            address, deadline = entry
            deadline.cancel()
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def upgraded(self, transport: asyncio.Transport, seconds: float) -> None:
        """Give a connection the time that what it has asked for may take."""
        if (entry := self._unproved.get(transport)) is not None:
            address, deadline = entry
            deadline.cancel()
            deadline = asyncio.get_running_loop().call_later(seconds, transport.abort)
            self._unproved[transport] = (address, deadline)

    def abort_unproved(self) -> None:
        """Drop every connection whose peer has not proved a key."""
        for transport in list(self._unproved):
            transport.abort()


class _Reader(web.RequestHandler):
    """Answers what is no HTTP like everything else that is no channel, and quotes none of it."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the one answer."""
        return _not_found()


_HEADERS: Final = {"Server": "safelight"}
"""Not the library's name and version, which would tell whom it is worth attacking."""


async def _bind(host: str, port: int) -> list[socket.socket]:
    """Return a bound socket for each address of host, all on one port."""
    if host == "::" and socket.has_dualstack_ipv6():
        return [socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)]
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    bound: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((entry[0], entry[4][0]) for entry in found):
            bound.append(socket.create_server((str(address), port), family=family))
            port = bound[0].getsockname()[1]
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def _address_of(transport: asyncio.Transport) -> str:
    """Return what stands for one host: its IPv4 address, or the network of its IPv6 address."""
    peer = transport.get_extra_info("peername")
    if not peer:
        return ""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(peer[0].partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                return str(address.ipv4_mapped)
            # One host has a /64 to itself.
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(peer[0])


def _not_found() -> web.Response:
    response = web.Response(status=404, headers=_HEADERS)
    response.force_close()
    return response
