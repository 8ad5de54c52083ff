"""Where each member may be reached: one list from fixed addresses, the network and the past.

Belongs here: the places of each member in the order to try them, and what peering needs of a
rendezvous.
Never here: dialling (``services.peering``), multicast (``mdns``), or who somebody is: a place is
a hint, and only the handshake tells who answers there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from node.ports import Clock
from node.transport.link import Link
from node.transport.websocket import WebSocketLink
from node.vault.database import Database, WriteTransaction
from node.vault.records import team as rows

_SIGHTINGS: Final = 8
"""Sightings of one member that are remembered: every interface of a laptop."""
_NEWS: Final = 16
"""Sightings of one member within ``_NEWS_MS`` that are listened to. Anybody on a network can make
them, for any address, so they may neither fill memory nor keep the dialler running."""
_NEWS_MS: Final = 10_000
_SEEN_KEPT: Final = 4
"""Proved sightings of one member that are kept for the next start: home, office, and two more."""

_SEEN: Final = "seen"


@dataclass(frozen=True, slots=True)
class Place:
    """An address at which a member may be listening."""

    kind: Literal["lan", "fixed"]
    """``lan``: seen on this network, now or before. ``fixed``: told by a person or a file."""
    host: str
    port: int
    source: str
    """``sighted``, or the source of the row of peer_addresses."""


@dataclass(slots=True)
class _Sightings:
    """What the network says of one member."""

    places: dict[tuple[str, int], None] = field(default_factory=dict)
    """Oldest first."""
    times: deque[int] = field(default_factory=lambda: deque(maxlen=_NEWS))


class Directory:
    """The places of every member. Nothing in it has proved anything."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._rows: dict[bytes, list[tuple[str, int, str]]] = {}
        self._sighted: dict[bytes, _Sightings] = {}
        self.changed: Callable[[bytes], None] = lambda _fingerprint: None
        """Called with a member's fingerprint when there is a reason to dial them at once."""

    async def load(self) -> None:
        """Read the kept addresses again: somebody has changed them."""
        self._rows = await self._database.read(rows.address_rows)

    def places(self, fingerprint: bytes) -> list[Place]:
        """Return a member's places, the likeliest first.

        Where they were reached before; what a person said; where they seem to be now; what a
        file said.
        """
        kept = self._rows.get(fingerprint, [])
        found = [Place("lan", host, port, source) for host, port, source in kept if source == _SEEN]
        found.reverse()
        fixed = [
            Place("fixed", host, port, source) for host, port, source in kept if source != _SEEN
        ]
        found += [place for place in fixed if place.source == "added"]
        if (sightings := self._sighted.get(fingerprint)) is not None:
            found += [Place("lan", *place, "sighted") for place in reversed(sightings.places)]
        found += [place for place in fixed if place.source != "added"]
        first = {(place.host, place.port): place for place in reversed(found)}
        return [place for place in found if first[place.host, place.port] is place]

    def sighted(self, fingerprint: bytes, host: str, port: int) -> None:
        """Take note that a member seems to listen there now."""
        sightings = self._sighted.setdefault(fingerprint, _Sightings())
        now = self._clock.monotonic()
        if len(sightings.times) == _NEWS and now - sightings.times[0] < _NEWS_MS:
            return
        sightings.times.append(now)
        sightings.places.pop((host, port), None)
        sightings.places[host, port] = None
        while len(sightings.places) > _SIGHTINGS:
            del sightings.places[next(iter(sightings.places))]
        self.changed(fingerprint)

    def lost(self, fingerprint: bytes, host: str, port: int) -> None:
        """Take note that a member has left a place that was sighted."""
        if (sightings := self._sighted.get(fingerprint)) is not None:
            sightings.places.pop((host, port), None)

    async def proved(self, fingerprint: bytes, place: Place) -> None:
        """Keep a place on the network that has led to the member, for the next start."""
        if place.kind != "lan":
            return
        kept = [row[:2] for row in self._rows.get(fingerprint, []) if row[2] == _SEEN]
        if kept and kept[-1] == (place.host, place.port):
            return

        def job(transaction: WriteTransaction) -> None:
            rows.keep_seen(
                transaction.connection, fingerprint, place.host, place.port, most=_SEEN_KEPT
            )

        await self._database.write(job)
        await self.load()


class Relay(Protocol):
    """What peering needs of a rendezvous: who is there, and circuits to them."""

    on_ring: Callable[[WebSocketLink, bytes, bytes], Awaitable[None]]
    """Called with the link, the session id and what the rendezvous says is the caller's agreement
    key, when somebody has called this node; returns, or raises SafelightError, when the channel
    is open or was not to be. The link is the callee's from then on."""
    on_presence: Callable[[], None]
    """Called when ``online``, ``state`` or ``problem`` has changed."""

    @property
    def state(self) -> str:
        """``off``, ``connecting``, ``connected``, ``unreachable`` or ``not_admitted``."""
        ...

    @property
    def problem(self) -> str:
        """Why it is not connected, in words of our own; empty where nothing is wrong."""
        ...

    @property
    def online(self) -> frozenset[bytes]:
        """The agreement keys of the members who are connected to it, this node's aside."""
        ...

    async def call(self, agreement_key: bytes) -> tuple[Link, bytes]:
        """Return a link to a member and the rendezvous' id of its session.

        Raises UnreachableError, or Refused where the rendezvous says no.
        """
        ...
