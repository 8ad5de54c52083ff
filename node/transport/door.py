"""The door of a server: who may connect, and the bounds on those who have proved nothing yet.

Belongs here: accepting, counting, deadlines, waiting for a turn, the one answer to whatever is not
for us.
Never here: which paths there are and what is said on them (``listener``, ``node.rendezvous``).

Nothing of a stranger reaches the HTTP library before their whole request is here, names a path that
is served, and has its turn; until then no more of them is read than one request may have.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web

from node.transport.websocket import CLOSE_S

HEADERS: Final = {"Server": "safelight"}
"""Not the library's name and version, which would tell whom it is worth attacking."""
_NOT_FOUND: Final = (
    b"HTTP/1.1 404 Not Found\r\nServer: safelight\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_GET: Final = b"GET "
_MAX_HEADERS: Final = 15
"""Header lines; with the request line they share the bytes of a request."""

# What strangers send is no news, and none of their text belongs in a log.
_UNLOGGED: Final = logging.getLogger("safelight.door")
_UNLOGGED.disabled = True

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Turn = Callable[[str, str], "asyncio.Future[None] | None"]
"""Given a path and what stands for one host (``address_of``): done at their turn, None is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What those may take who have proved nothing."""

    per_address: int
    """Connections of one host."""
    in_all: int
    """Connections of all of them."""
    request_bytes: int
    """A request with all its headers, and whatever is sent before it is their turn."""
    request_s: float
    """From the accept to a whole request."""
    proof_s: float
    """From there on, until ``Door.give`` or ``Door.proved``."""


class Door:
    """Accepts connections for ``create_server``, and hands those over that ask for what is served.

    ``serves`` says whether a path is. ``handler`` is given each request. ``refused`` is called for
    each connection that is dropped over a bound on their number, ``accepted`` for each other.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        bounds: Bounds,
        serves: Callable[[str], bool],
        turn: Turn = lambda _path, _address: None,
        accepted: Callable[[], None] = lambda: None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.bounds = bounds
        self.serves = serves
        self.turn = turn
        self.http = web.Server(handler)
        # What was read is copied from here before anything else is read.
        self.scratch = memoryview(bytearray(bounds.request_bytes))
        self._accepted = accepted
        self._refused = refused
        self._unproved: dict[asyncio.Transport, tuple[str, asyncio.TimerHandle]] = {}
        self._per_address: Counter[str] = Counter()

    def __call__(self) -> asyncio.BufferedProtocol:
        """Return what reads one connection."""
        return _Stranger(self)

    @property
    def unproved(self) -> int:
        """How many connections have proved nothing yet."""
        return len(self._unproved)

    def enter(self, transport: asyncio.Transport) -> bool:
        """Give a connection its time; False where it is one too many."""
        bounds = self.bounds
        address = address_of(transport)
        if len(self._unproved) >= bounds.in_all or self._per_address[address] >= bounds.per_address:
            self._refused()
            return False
        self._accepted()
        self._per_address[address] += 1
        self._unproved[transport] = (address, _abort_after(transport, bounds.request_s))
        return True

    def give(self, transport: asyncio.Transport, seconds: float) -> None:
        """Give an unproved connection so much time from now."""
        if (entry := self._unproved.get(transport)) is not None:
            address, deadline = entry
            deadline.cancel()
            self._unproved[transport] = (address, _abort_after(transport, seconds))

    def proved(self, transport: asyncio.Transport) -> None:
        """Count a connection no longer: it has proved itself, or has ended."""
        entry = self._unproved.pop(transport, None)
        if entry is not None:
            address, deadline = entry
            deadline.cancel()
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def abort_unproved(self) -> None:
        """Drop every connection that has proved nothing."""
        for transport in list(self._unproved):
            transport.abort()

    async def shutdown(self) -> None:
        """End every connection, within seconds whatever the other ends do."""
        self.abort_unproved()
        await self.http.shutdown(CLOSE_S)


class _Stranger(asyncio.BufferedProtocol):
    """Reads a request, and no more than that, until it is its turn.

    A buffered protocol, since it says itself how much is read at once: the others are handed a
    quarter of a mebibyte, whether they want it or not.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport
        self._said = bytearray()
        self._turn: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let them in, or hang up."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._door.enter(self._transport):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the line."""
        if self._turn is not None:
            self._turn.cancel()
        self._door.proved(self._transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: as many as may still come."""
        return self._door.scratch[: self._door.bounds.request_bytes - len(self._said)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes."""
        said = self._said
        said += self._door.scratch[:nbytes]
        path = _path_untrusted(said)
        if len(said) >= self._door.bounds.request_bytes or (
            path is not None and not self._door.serves(path)
        ):
            self._refuse()
        elif path is not None and self._turn is None and b"\r\n\r\n" in said:
            self._door.give(self._transport, self._door.bounds.proof_s)
            self._turn = self._door.turn(path, address_of(self._transport))
            if self._turn is None:
                self._pass_on()
            else:
                self._turn.add_done_callback(self._on_turn)

    def _on_turn(self, turn: asyncio.Future[None]) -> None:
        if not turn.cancelled() and not self._transport.is_closing():
            self._pass_on()

    def _pass_on(self) -> None:
        """Let the library read what was said, and what comes."""
        transport = self._transport
        reader = _Reader(self._door)
        # Else it would go on to be read the old way.
        transport.pause_reading()
        transport.set_protocol(reader)
        reader.connection_made(transport)
        reader.data_received(bytes(self._said))
        transport.resume_reading()

    def _refuse(self) -> None:
        """Give the one answer, and hang up after a while of not reading.

        An end at once would let them come again at once: so long their address has one connection
        less, and whoever was polite has time to read the answer.
        """
        if self._turn is not None:
            self._turn.cancel()
        self._transport.write(_NOT_FOUND)
        self._transport.write_eof()
        self._transport.pause_reading()
        self._door.give(self._transport, CLOSE_S)


class _Reader(web.RequestHandler):
    """Answers what is no HTTP like everything else that is not for us, and quotes none of it."""

    __slots__ = ("_door", "_stream")

    def __init__(self, door: Door) -> None:
        line_bytes = door.bounds.request_bytes // (_MAX_HEADERS + 1)
        super().__init__(
            door.http,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as it is documented
            logger=_UNLOGGED,
            max_line_size=line_bytes,
            max_field_size=line_bytes,
            max_headers=_MAX_HEADERS,
            lingering_time=0,
        )
        self._door = door
        self._stream: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection over."""
        self._stream = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free its place."""
        self._door.proved(self._stream)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the one answer."""
        return not_found()


def not_found() -> web.Response:
    """Return the answer to whatever is not for us."""
    response = web.Response(status=404, headers=HEADERS)
    response.force_close()
    return response


def address_of(transport: asyncio.Transport) -> str:
    """Return what stands for one host: its IPv4 address, or the network of its IPv6 address."""
    peer = transport.get_extra_info("peername")
    if not peer:
        return ""
    host = str(peer[0])
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    # One host has a /64 to itself.
    return str(ipaddress.ip_network((address, 64), strict=False))


def _path_untrusted(said: bytearray) -> str | None:
    """Return the path that a request asks for, "" where it is none, None while it is not here."""
    if not said.startswith(_GET[: len(said)]):
        return ""
    if (end := said.find(b"\r\n")) < 0:
        return None
    path, _, version = said[len(_GET) : end].partition(b" ")
    return path.decode("latin-1") if version == b"HTTP/1.1" else ""


def _abort_after(transport: asyncio.Transport, seconds: float) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, transport.abort)
