"""A relay of circuits for tests: two sockets joined, as a rendezvous joins them.

Belongs here: the circuit WebSocket's server, and what a node is given of it.
Never here: admission, presence over a wire, mail, limits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from node.errors import UnreachableError
from node.system import system_entropy
from node.transport.dialer import dial_circuit
from node.transport.websocket import CIRCUIT_PATH, MAX_FRAME_BYTES, WebSocketLink
from protocol.limits import CIRCUIT_TOKEN_BYTES

Change = Callable[[bytes], bytes]


class Circuits:
    """Joins the two ends of each circuit, and knows who is there."""

    def __init__(self) -> None:
        self.ends: dict[bytes, RelayEnd] = {}
        """Agreement key to whoever is connected."""
        self.circuits = 0
        """How many were joined."""
        self.change: Change = lambda data: data
        """What becomes of each message."""
        self._partners: dict[bytes, bytes] = {}
        self._waiting: dict[bytes, asyncio.Future[web.WebSocketResponse]] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get(CIRCUIT_PATH, self._accept)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        assert self._runner is not None
        self.cut()
        await asyncio.gather(*(end.close() for end in self.ends.values()))
        await self._runner.cleanup()

    def cut(self) -> None:
        """End every circuit at once."""
        for socket in list(self._sockets):
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()

    def attach(self, key: bytes) -> RelayEnd:
        """Let somebody be there; the others see it."""
        end = self.ends[key] = RelayEnd(self, key)
        self.told()
        return end

    def leave(self, key: bytes) -> None:
        """Let somebody be gone."""
        del self.ends[key]
        self.told()

    def told(self) -> None:
        for end in self.ends.values():
            end.on_presence()

    def new_circuit(self) -> tuple[bytes, bytes, bytes]:
        """Return the tokens of two ends, and the session id."""
        one, other = system_entropy(CIRCUIT_TOKEN_BYTES), system_entropy(CIRCUIT_TOKEN_BYTES)
        self._partners |= {one: other, other: one}
        loop = asyncio.get_running_loop()
        self._waiting |= {one: loop.create_future(), other: loop.create_future()}
        return one, other, system_entropy(16)

    async def _accept(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=MAX_FRAME_BYTES, timeout=0.1
        )
        await socket.prepare(request)
        token = await socket.receive_bytes()
        self._waiting[token].set_result(socket)
        partner = await self._waiting[self._partners[token]]
        self.circuits += 1
        self._sockets.add(socket)
        with contextlib.suppress(ConnectionError):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    await partner.send_bytes(self.change(message.data))
        self._sockets.discard(socket)
        await partner.close()
        return socket


class RelayEnd:
    """One node's view of the relay (``node.discovery.directory.Relay``)."""

    def __init__(self, circuits: Circuits, key: bytes) -> None:
        self._circuits = circuits
        self._key = key
        self._rings: set[asyncio.Task[None]] = set()
        self.calls = 0
        self.state = "connected"
        self.problem = ""
        self.on_ring: Callable[[WebSocketLink, bytes, bytes], Awaitable[None]]
        self.on_presence: Callable[[], None] = lambda: None

    @property
    def online(self) -> frozenset[bytes]:
        if self.state != "connected":
            return frozenset()
        return frozenset(self._circuits.ends) - {self._key}

    async def call(self, agreement_key: bytes) -> tuple[WebSocketLink, bytes]:
        self.calls += 1
        callee = self._circuits.ends.get(agreement_key)
        if callee is None:
            raise UnreachableError("nobody answers the call")
        mine, theirs, session_id = self._circuits.new_circuit()
        ring = asyncio.create_task(callee._ring(theirs, session_id, self._key))
        callee._rings.add(ring)
        ring.add_done_callback(callee._rings.discard)
        return await self._open(mine), session_id

    async def close(self) -> None:
        for ring in self._rings:
            ring.cancel()
        await asyncio.gather(*self._rings, return_exceptions=True)

    async def _ring(self, token: bytes, session_id: bytes, caller: bytes) -> None:
        with contextlib.suppress(UnreachableError):
            await self.on_ring(await self._open(token), session_id, caller)

    async def _open(self, token: bytes) -> WebSocketLink:
        return await dial_circuit("127.0.0.1", self._circuits.port, token, timeout=45)


@asynccontextmanager
async def relaying_circuits() -> AsyncIterator[Circuits]:
    """Hold a relay of circuits."""
    circuits = Circuits()
    await circuits.start()
    try:
        yield circuits
    finally:
        await circuits.close()
