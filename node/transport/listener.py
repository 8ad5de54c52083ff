"""The listening end: accepts members' and strangers' WebSockets, within bounds.

Belongs here: the TCP sockets, the bounds on those who have not proved a key, the
paths.
Never here: who a key belongs to, or what a session is for (the handler).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

from node.errors import NodeError
from node.faults import reported_faults
from node.ports import Clock
from node.transport.door import HEADERS, Bounds, Door, not_found
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
    KIB,
    MAX_JOINING_MESSAGE_BYTES,
)
from protocol.primitives import Entropy

_JOINING_S: Final = JOINING_TIMEOUT_MS / 1000
_BOUNDS: Final = Bounds(
    # An office behind one address redials at once after a power cut; a flood is more.
    per_address=16,
    # Bounds memory and descriptors whatever the number of addresses.
    in_all=512,
    # Ours have 300.
    request_bytes=8 * KIB,
    request_s=HANDSHAKE_TIMEOUT_MS / 2000,
    proof_s=HANDSHAKE_TIMEOUT_MS / 1000,
)
_BACKLOG: Final = 128


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
        self._door: Door | None = None
        self._listening: list[asyncio.AbstractServer] = []
        self._sessions: set[Session] = set()
        self.addresses: list[tuple[str, int]] = []
        """Where it listens: address and port of each socket."""

    async def start(self) -> None:
        """Listen; ListenError where the address cannot be had."""
        self._door = Door(self._handle, bounds=_BOUNDS, serves=self._serves)
        loop = asyncio.get_running_loop()
        try:
            for bound in await _bind(self._host, self._port):
                # Some systems let connections in from here on, none earlier.
                server = await loop.create_server(self._door, sock=bound, backlog=_BACKLOG)
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
        if self._door is not None:
            # First those who are about to become sessions.
            self._door.abort_unproved()
        while self._sessions:
            await asyncio.gather(*(session.close() for session in self._sessions))
            await asyncio.sleep(0)
        if self._door is not None:
            await self._door.shutdown()

    def _serves(self, path: str) -> bool:
        return path == PATH or (path == JOIN_PATH and self.joining_open)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        joining = request.path_qs == JOIN_PATH
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
            or not self._serves(request.path_qs)
            # No browser has business here, and nothing is to be negotiated.
            or "Origin" in request.headers
            or "Sec-WebSocket-Protocol" in request.headers
            or not upgrade.can_prepare(request)
        ):
            return not_found()
        upgrade.headers.update(HEADERS)
        await upgrade.prepare(request)
        link = WebSocketLink(upgrade, transport)
        assert self._door is not None, "connections exist only after start"
        if joining:
            self._door.give(transport, _JOINING_S)
        await (self._join(link) if joining else self._serve(link, transport))
        return upgrade

    async def _join(self, link: WebSocketLink) -> None:
        assert self._on_joining is not None, "joining opens only where there is a handler"
        try:
            with reported_faults("a joining"), suppress(SafelightError):
                await self._on_joining(link)
        finally:
            await link.close()

    async def _serve(self, link: WebSocketLink, transport: asyncio.Transport) -> None:
        assert self._door is not None, "connections exist only after start"
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
        self._door.proved(transport)
        self._sessions.add(session)
        try:
            with reported_faults("a new session"):
                self._on_session(session)
                await session.closed.wait()
        finally:
            self._sessions.discard(session)
            await session.close()


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
