"""Who may connect: the bounds on connections that have proved nothing yet.

Belongs here: accepting, counting, deadlines, the one answer to whatever is not for us.
Never here: paths and what is said on them (``server``).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections import Counter
from typing import Any, Final

from aiohttp import web

from node.rendezvous.metrics import Metrics
from node.rendezvous.settings import RendezvousSettings

HEADERS: Final = {"Server": "safelight"}
"""Not the library's name and version, which would tell whom it is worth attacking."""
_MAX_HEADERS: Final = 15
"""Header lines; with the request line they share ``header_bytes``."""

# What strangers send is no news, and none of their text belongs in a log.
_UNLOGGED: Final = logging.getLogger("safelight.rendezvous")
_UNLOGGED.disabled = True


class Door(web.Server):
    """Accepts connections, and drops those over the bounds on the unproved ones."""

    def __init__(self, handler: Any, *, settings: RendezvousSettings, metrics: Metrics) -> None:
        line_bytes = settings.header_bytes // (_MAX_HEADERS + 1)
        super().__init__(
            handler,
            access_log=None,
            logger=_UNLOGGED,
            max_line_size=line_bytes,
            max_field_size=line_bytes,
            max_headers=_MAX_HEADERS,
            lingering_time=0,
        )
        self._settings = settings
        self._metrics = metrics
        self._unproved: dict[asyncio.Transport, tuple[str, asyncio.TimerHandle]] = {}
        self._per_address: Counter[str] = Counter()

    def __call__(self) -> web.RequestHandler:
        """Return what reads one connection."""
        return _Reader(self, loop=self._loop, **self._kwargs)

    @property
    def unproved(self) -> int:
        """How many connections have proved nothing yet."""
        return len(self._unproved)

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Give the connection its time, or drop it."""
        super().connection_made(handler, transport)
        address = address_of(transport)
        settings = self._settings
        if (
            len(self._unproved) >= settings.connections_unproved
            or self._per_address[address] >= settings.connections_per_address
        ):
            self._metrics.connections_refused += 1
            # Not yet: its reader begins a turn from now, and ends with a fault where nothing is.
            asyncio.get_running_loop().call_soon(transport.abort)
            return
        self._metrics.connections += 1
        self._per_address[address] += 1
        self._unproved[transport] = (address, self._abort_after(transport, settings.upgrade_s))

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Free its place."""
        transport = self._connections.get(handler)
        if transport is not None:
            self.proved(transport)
        super().connection_lost(handler, exc)

    def give(self, transport: asyncio.Transport, seconds: float) -> None:
        """Give an unproved connection so much time from now."""
        if (entry := self._unproved.get(transport)) is not None:
            address, deadline = entry
            deadline.cancel()
            self._unproved[transport] = (address, self._abort_after(transport, seconds))

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

    @staticmethod
    def _abort_after(transport: asyncio.Transport, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, transport.abort)


class _Reader(web.RequestHandler):
    """Answers what is no HTTP like everything else that is not for us, and quotes none of it."""

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
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(peer[0].partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                return str(address.ipv4_mapped)
            # One host has a /64 to itself.
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(peer[0])
