"""The links with each member: which one carries new requests, and when the others end.

Belongs here: the order of links, the bound on them, finding out which are dead.
Never here: how a link comes to be (``racing``, ``peering``), or what is said on it.

Several links with one member arise where both dial at once, where one runs through the rendezvous
and another does not, and where one has died unnoticed. Both sides prefer the same one, by a rule
that needs no message: one that answers, over one that has not been heard since a younger one
came; a direct one, over a relayed one; that of the dialler with the smaller fingerprint; the
youngest. The others carry to its end what is under way on them, and are closed when nothing has
been asked on them for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from node.discovery.directory import Place
from node.ports import Clock
from node.transport.driver import Session, SessionClosedError
from protocol.errors import SafelightError
from protocol.identity import Identity
from protocol.messages import FetchHead

_MOST_LINKS: Final = 4
"""Links with one member: two arise where both dial at once, and two more of a path that changes."""
_PROBE_S: Final = 2.0
"""How long a peer may take to be heard after this machine has moved: most links are dead then."""
_DOUBT_S: Final = 10.0
"""The same where a younger link has come. That one is used meanwhile, so there is no haste, and
both sides must not each end the link that the other would keep because a line is slow."""
_QUIET_S: Final = 5.0
"""A link that is not the preferred one is closed when nothing was asked on it for this long: the
other side has heard of the better one by then."""


@dataclass(slots=True, kw_only=True, eq=False)
class Link:
    """A session with a member."""

    session: Session
    member: Identity
    place: Place | None = None
    """Where this side dialled it; None where the peer dialled, or the rendezvous carries it."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """The member's own greeting has passed: their log is the one they showed before."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """The member's own greeting was answered, whatever the answer was; or the session is over."""
    begun: bool = False
    """This side greets, or has."""
    greeted: bool = False
    """Both greetings have passed."""
    number: int = 0
    """The order in which links were greeted."""
    doubted: bool = False
    """A younger link has come, and this one has not been heard since."""
    roster_told: int = 0
    """The newest roster version that this side has told of."""


class Links(dict[bytes, list[Link]]):
    """Every link by the member's fingerprint, oldest first; a member without one is absent."""

    def __init__(
        self, me: bytes, clock: Clock, *, spawn: Callable[[Coroutine[Any, Any, object]], None]
    ) -> None:
        super().__init__()
        self._me = me
        self._clock = clock
        self._spawn = spawn
        self._greeted = 0
        self._settling: set[bytes] = set()

    def greeted(self, fingerprint: bytes) -> list[Link]:
        """Return the greeted links with a member."""
        return [link for link in self.get(fingerprint, []) if link.greeted]

    def online(self) -> set[bytes]:
        """Return the fingerprints of the members with a greeted link."""
        return {fingerprint for fingerprint in self if self.greeted(fingerprint)}

    def best(self, fingerprint: bytes) -> Link | None:
        """Return the greeted link that carries new requests, or None."""
        return max(self.greeted(fingerprint), key=self._rank, default=None)

    def direct(self, fingerprint: bytes) -> bool:
        """Say whether a member is reached without the rendezvous."""
        return any(not link.session.relayed for link in self.greeted(fingerprint))

    def add(self, link: Link) -> None:
        """Keep a link; over the bound one ends that is not needed, or else this one."""
        fingerprint = link.member.fingerprint
        links = self.setdefault(fingerprint, [])
        links.append(link)
        if len(links) > _MOST_LINKS:
            best = self.best(fingerprint)
            surplus = [one for one in self.greeted(fingerprint) if one is not best]
            # One that is being greeted is left alone: it may be the one that comes to be used.
            self._spawn((surplus or links[-1:])[0].session.close())

    def forget(self, link: Link) -> None:
        """Drop a link whose session is over; once is enough."""
        links = self.get(link.member.fingerprint, [])
        if link in links:
            links.remove(link)
            if not links:
                del self[link.member.fingerprint]

    def greet(self, link: Link) -> None:
        """Let a link carry requests; those there were have to be heard again, or end."""
        older = self.greeted(link.member.fingerprint)
        self._greeted += 1
        link.number = self._greeted
        link.greeted = True
        for other in older:
            other.doubted = True
            self._spawn(self.probe(other, _DOUBT_S))
        if older and link.member.fingerprint not in self._settling:
            self._spawn(self._end_surplus(link.member.fingerprint))

    async def probe(self, link: Link, seconds: float = _PROBE_S) -> None:
        """Find out whether a link still carries anything, and close it where it does not."""
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await link.session.request(FetchHead(from_size=0))
        except SessionClosedError:
            return
        except TimeoutError:
            # A peer that is slow to answer this may be busy with what it was asked before.
            if link.session.heard_at <= asked_at:
                await link.session.close("silent")
                return
        except SafelightError:
            pass  # Whatever it answers, it is there.
        link.doubted = False

    def _rank(self, link: Link) -> tuple[bool, bool, bool, int]:
        dialled_by_smaller = link.session.initiator == (self._me < link.member.fingerprint)
        return (not link.doubted, not link.session.relayed, dialled_by_smaller, link.number)

    async def _end_surplus(self, fingerprint: bytes) -> None:
        """Close the links that are not preferred, each once it is quiet."""
        self._settling.add(fingerprint)
        try:
            asked: dict[Link, int] = {}
            while len(links := self.greeted(fingerprint)) > 1:
                best = self.best(fingerprint)
                for link in links:
                    session = link.session
                    if (
                        link is not best
                        and not session.busy
                        and asked.get(link) == session.requests
                    ):
                        await session.close()
                asked = {link: link.session.requests for link in links}
                await asyncio.sleep(_QUIET_S)
        finally:
            self._settling.discard(fingerprint)
