"""Finding team-mates on the local network by multicast DNS (architecture 4.8).

Belongs here: when to announce and to ask, what is told of sightings, and the bounds on all of it.
Never here: sockets (``multicast``), records (``packets``), dialling, or trust. A sighting is a
hint: who answers at an address is what the handshake proves.

What a node shows to everybody on the network: that Safelight runs at this address and port. The
names are random at every start, and the tag is random to whoever does not know the node's key.

The network is hostile. Nothing of it is kept but at most 256 sightings, and a packet is looked at
only after it has passed, in this order, the bound on reading (``multicast``), a search for the
service's name, and the bounds on parsing below. Questions are never parsed, and are answered at
most once a second however many come. There is no cache to fill.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.discovery.multicast import Multicast
from node.discovery.packets import (
    MARK,
    MAX_PACKET_BYTES,
    Sighting,
    announcement_packet,
    is_question,
    question_packet,
    read_announcements_untrusted,
)
from node.services.context import Context
from node.services.loops import forever
from node.services.membership import Address
from protocol.announcement import (
    NONCE_BYTES,
    Announcement,
    announcement_tag,
    announcement_values,
)
from protocol.errors import RemoteError
from protocol.identity import Identity

_NAME_BYTES: Final = 8
"""Random bytes of a name: no two nodes of a network choose the same."""
_ANNOUNCED: Final = 3
"""Rounds in which a new state is announced: packets get lost."""
_FIRST_PAUSE_S: Final = 1.0
_LAST_PAUSE_S: Final = 20.0
"""Between questions: what a lost packet hides shows after this."""
_ASKED_FOR_US_MS: Final = 10_000
"""A question of somebody else's that is no older does for ours: all hear the answers."""
_OWN_QUESTION_MS: Final = 300_000
"""Then we ask ourselves again, in case only we heard the others' questions."""
_ANSWER_MS: Final = 1_000
"""Between announcements (RFC 6762, section 6): a flood of questions is no amplifier."""
_JITTER_MS: Final = (20, 120)
"""Delay of an answer (RFC 6762, section 6): a question makes many answer."""
_MOST_INTERFACES: Final = 16
_MOST_KNOWN: Final = 256
"""Sightings that are remembered: five times a large team."""
_REPEAT_MS: Final = 60_000
"""A sighting that goes on is told of again after this."""
_PARSED: Final = 200
_PARSED_OF_SOURCE: Final = 20
_TOLD: Final = 20
"""New sightings told of in a second: each is compared with every member."""
_TOLD_OF_SOURCE: Final = 10
"""Leaves half of them to others than one flooding address."""
_MOST_FOUND: Final = 16
"""Places that one search for an invitation yields."""
_MOST_FOUND_OF_SOURCE: Final = 4


def match(announcement: Announcement, port: int, members: Iterable[Identity]) -> Identity | None:
    """Return the member whose tag this is. Anybody can repeat a tag: this proves nothing."""
    for member in members:
        expected = announcement_tag(member.agreement_key, nonce=announcement.nonce, port=port)
        if expected == announcement.tag:
            return member
    return None


@dataclass(slots=True)
class _Second:
    """What was done in one second, so that the next does not begin before it is over."""

    began: int = 0
    parsed: int = 0
    told: int = 0
    parsed_of: dict[str, int] = field(default_factory=dict)
    told_of: dict[str, int] = field(default_factory=dict)

    def may_parse(self, source: str) -> bool:
        if self.parsed >= _PARSED or self.parsed_of.get(source, 0) >= _PARSED_OF_SOURCE:
            return False
        self.parsed += 1
        self.parsed_of[source] = self.parsed_of.get(source, 0) + 1
        return True

    def may_tell(self, source: str) -> bool:
        if self.told >= _TOLD or self.told_of.get(source, 0) >= _TOLD_OF_SOURCE:
            return False
        self.told += 1
        self.told_of[source] = self.told_of.get(source, 0) + 1
        return True


@dataclass(slots=True, eq=False)
class _Search:
    """Somebody who looks for the place of an invitation."""

    number: int
    found: asyncio.Queue[Address] = field(default_factory=lambda: asyncio.Queue(_MOST_FOUND))
    places: set[Address] = field(default_factory=set)
    found_of: dict[str, int] = field(default_factory=dict)

    def take(self, sighting: Sighting, source: str) -> None:
        for host in sighting.hosts:
            place = (host, sighting.port)
            if place in self.places or len(self.places) == _MOST_FOUND:
                continue
            if self.found_of.get(source, 0) == _MOST_FOUND_OF_SOURCE:
                return
            self.found_of[source] = self.found_of.get(source, 0) + 1
            self.places.add(place)
            self.found.put_nowait(place)


class Mdns:
    """Announces this node on the local network and tells of others."""

    def __init__(
        self,
        context: Context,
        *,
        port: int,
        tag_key: bytes,
        interfaces: Callable[[], Sequence[str]],
    ) -> None:
        """Prepare; nothing leaves before ``start``.

        ``port`` is where the node listens, ``tag_key`` its public agreement key, ``interfaces``
        returns the IPv4 addresses at which it can be reached now. Each is announced on its own
        interface and on no other.
        """
        self._clock = context.clock
        self._entropy = context.entropy
        self._port = port
        self._interfaces = interfaces
        self._instance = self._entropy(_NAME_BYTES).hex()
        self._host = self._entropy(_NAME_BYTES).hex()
        nonce = self._entropy(NONCE_BYTES)
        self._tag = announcement_tag(tag_key, nonce=nonce, port=port)
        self._announcement = Announcement(nonce=nonce, tag=self._tag)
        self._started = False
        self._multicast: Multicast | None = None
        self._addresses: list[str] = []
        """Of the interfaces on which the group is joined."""
        self._rounds: asyncio.Task[None] | None = None
        self._answering: asyncio.TimerHandle | None = None
        self._announced_at: int | None = None
        self._asked_at = self._heard_question_at = -_OWN_QUESTION_MS
        self._second = _Second()
        self._known: dict[Sighting, int] = {}
        self._searches: list[_Search] = []
        self.problem = ""
        """Why nobody is found on the network, or empty."""
        self.on_sighting: Callable[[Announcement, list[str], int], None] = lambda *_: None
        """Called with an announcement and where it says that its node listens: a hint."""

    # Life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to announce and to ask. Without multicast the node goes on: see ``problem``."""
        self._started = True
        self._begin()

    async def close(self) -> None:
        """Take the announcement back and end."""
        self._started = False
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
            self._rounds = None
        if self._multicast is not None:
            self._send_announcement(goodbye=True)
        self._leave()

    def announce(self, invitation: int | None) -> None:
        """Announce that an invitation is open here, or that none is."""
        nonce, tag = self._announcement.nonce, self._announcement.tag
        self._announcement = Announcement(nonce=nonce, tag=tag, invitation=invitation)
        self._begin()

    def readvertise(self) -> None:
        """Announce and ask anew: this machine's addresses have changed, or the members have.

        What was seen before is forgotten, so that it is told of again.
        """
        self._known.clear()
        self._begin()

    async def browse_invitation(self, number: int, seconds: float) -> AsyncGenerator[Address, None]:
        """Yield where an invitation of this number says that it is open; anybody can say so.

        Ends after so many seconds, or when it is closed.
        """
        search = _Search(number)
        self._searches.append(search)
        self._begin()
        deadline = self._clock.monotonic() + int(seconds * 1_000)
        try:
            while (left := deadline - self._clock.monotonic()) > 0:
                try:
                    place = await asyncio.wait_for(search.found.get(), left / 1_000)
                except TimeoutError:
                    return
                yield place
        finally:
            self._searches.remove(search)

    # Sending --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin the rounds anew: often at first, then now and then."""
        if not self._started:
            return
        if self._rounds is not None:
            self._rounds.cancel()
        self._rounds = asyncio.create_task(forever(self._go_round, "multicast DNS"))

    async def _go_round(self) -> None:
        pause = _FIRST_PAUSE_S
        announced = 0
        while True:
            if self._joined():
                if announced < _ANNOUNCED:
                    announced += 1
                    self._send_announcement()
                    self._ask()
                elif not self._asked_for_us():
                    self._ask()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE_S)

    def _joined(self) -> bool:
        """Join the group on the interfaces that there are now; return whether there is one."""
        try:
            if self._multicast is None:
                self._multicast = Multicast(self._received)
            self._addresses = self._multicast.join(list(self._interfaces())[:_MOST_INTERFACES])
        except OSError as error:
            self._note(error)
            self._leave()
            return False
        return True

    def _leave(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None
        if self._multicast is not None:
            self._multicast.close()
            self._multicast = None

    def _asked_for_us(self) -> bool:
        now = self._clock.monotonic()
        return (
            now - self._heard_question_at < _ASKED_FOR_US_MS
            and now - self._asked_at < _OWN_QUESTION_MS
        )

    def _ask(self) -> None:
        self._asked_at = self._clock.monotonic()
        packet = question_packet(self._instance)
        self._send(dict.fromkeys(self._addresses, packet))

    def _send_announcement(self, *, goodbye: bool = False) -> None:
        self._announced_at = self._clock.monotonic()
        self._send(
            {
                address: announcement_packet(
                    instance=self._instance,
                    host=self._host,
                    address=address,
                    port=self._port,
                    values=announcement_values(self._announcement),
                    goodbye=goodbye,
                )
                for address in self._addresses
            }
        )

    def _send(self, packets: dict[str, bytes]) -> None:
        if self._multicast is None:
            return
        try:
            self._multicast.send(packets)
        except OSError as error:
            self._note(error)
        else:
            self.problem = ""

    def _note(self, error: OSError) -> None:
        self.problem = f"multicast is not possible here: {error.strerror or error}"

    # Receiving ------------------------------------------------------------------------------------

    def _received(self, data: bytes, source: str) -> None:
        if MARK not in data or len(data) > MAX_PACKET_BYTES:
            return
        if is_question(data):
            # Whoever asks names those that they know of, and a node names itself.
            if self._instance.encode() not in data:
                self._heard_question_at = self._clock.monotonic()
                self._answer_soon()
            return
        second = self._this_second()
        if not second.may_parse(source):
            return
        try:
            sightings = read_announcements_untrusted(data, source=source)
        except RemoteError:
            return
        for sighting in sightings:
            if sighting.announcement.tag != self._tag:
                self._sighted(sighting, source, second)

    def _this_second(self) -> _Second:
        now = self._clock.monotonic()
        if now - self._second.began >= 1_000:
            self._second = _Second(now)
        return self._second

    def _sighted(self, sighting: Sighting, source: str, second: _Second) -> None:
        for search in self._searches:
            if search.number == sighting.announcement.invitation:
                search.take(sighting, source)
        now = self._clock.monotonic()
        told = self._known.get(sighting)
        if told is not None and now - told < _REPEAT_MS:
            return
        if not second.may_tell(source):
            return
        self._known.pop(sighting, None)
        if len(self._known) == _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[sighting] = now
        self.on_sighting(sighting.announcement, list(sighting.hosts), sighting.port)

    def _answer_soon(self) -> None:
        """Announce a moment after a question, and never twice in a second."""
        if self._answering is not None:
            return
        low, high = _JITTER_MS
        wait = low + self._entropy(1)[0] * (high - low) // 255
        if self._announced_at is not None:
            wait = max(wait, self._announced_at + _ANSWER_MS - self._clock.monotonic())
        loop = asyncio.get_running_loop()
        self._answering = loop.call_later(wait / 1_000, self._answer)

    def _answer(self) -> None:
        self._answering = None
        self._send_announcement()
