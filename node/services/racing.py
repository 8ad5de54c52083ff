"""Ways to a member, tried against each other: every address at once, and the rendezvous.

Belongs here: who is dialled when within one attempt to reach a member, and why a way failed.
Never here: when the next attempt is due (``peering``), what places there are (``directory``), or
bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from node.discovery.directory import Directory, Place, Relay
from node.faults import report_fault
from node.services.context import Context
from node.services.links import Links
from node.services.membership import Membership
from node.transport.dialer import (
    DialError,
    dial_link,
    handshake_cause,
    open_channel_over,
    place_text,
)
from node.transport.driver import Handler, Session, SessionClosedError
from node.transport.websocket import PATH
from protocol.errors import SafelightError
from protocol.identity import Identity, clean_text

_MOST_DIALS: Final = 8
"""Addresses of one member dialled at once; the next one's turn comes when one has failed."""
_DIAL_TIMEOUT_S: Final = 10.0
"""A connection, an upgrade and a handshake over a line that takes a second each way."""
_HEAD_START_S: Final = 0.15
"""What a direct way has before the rendezvous is asked: several round trips of a local network."""
_TURN_S: Final = 0.1
"""How long one address keeps the others from greeting too: where many lead to one node, it need
not greet on each of them, and one that stalls holds up nobody."""
_MOST_CAUSES: Final = 3
_MAX_WHY_BYTES: Final = 400


class Begin(Protocol):
    """Greets over a session that has proved a member's key."""

    def __call__(self, session: Session, member: Identity, place: Place | None) -> Awaitable[bool]:
        """Say whether the greeting succeeded; else the session is closed."""
        ...


@dataclass(slots=True, eq=False)
class Wake:
    """Tells who keeps a member reached that something has changed."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    fresh: bool = False
    """Whether an address that has failed is worth another try."""

    def set(self, *, fresh: bool) -> None:
        """Wake."""
        self.fresh = self.fresh or fresh
        self.event.set()

    def clear(self) -> bool:
        """Wait for the next change from here on; say whether addresses are worth another try."""
        fresh, self.fresh = self.fresh, False
        self.event.clear()
        return fresh


@dataclass(slots=True, eq=False)
class _Race:
    """One attempt under way."""

    member: Identity
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    tried: dict[tuple[str, int], asyncio.Task[None]] = field(default_factory=dict)
    relay: asyncio.Task[bool] | None = None
    proved: bool = False
    """Whether a direct way has led to the member, greeted or not."""

    def running(self) -> set[asyncio.Task[Any]]:
        tasks = {*self.tried.values(), *([] if self.relay is None else [self.relay])}
        return {task for task in tasks if not task.done()}

    def dials(self) -> int:
        return sum(not task.done() for task in self.tried.values())


class Racing:
    """Tries the ways to members, and remembers why they failed."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        directory: Directory,
        relay: Relay | None,
        links: Links,
        *,
        handler: Handler,
        begin: Begin,
    ) -> None:
        self._context = context
        self._membership = membership
        self._directory = directory
        self._relay = relay
        self._links = links
        self._handler = handler
        self._begin = begin
        self._causes: dict[bytes, dict[str, str]] = {}
        """Why each place of a member failed when it was last tried, by how people write it."""
        self._relay_causes: dict[bytes, str] = {}

    def anything(self, member: Identity) -> bool:
        """Say whether there is any way to try."""
        return bool(self._directory.places(member.fingerprint)) or self._at_relay(member)

    async def race(self, member: Identity, wake: Wake) -> bool:
        """Try every way until a direct one is greeted or all have failed; say which.

        A relayed link that comes first carries requests meanwhile.
        """
        race = _Race(member=member)
        self._forget_causes(member.fingerprint)
        started = asyncio.get_running_loop().time()
        try:
            while True:
                if wake.clear():
                    race.tried = {at: one for at, one in race.tried.items() if not one.done()}
                self._start_dials(race)
                left = started + _HEAD_START_S - asyncio.get_running_loop().time()
                if not race.dials() or (left <= 0 and not race.proved):
                    self._start_relay(race)
                if not race.running():
                    return False
                await _first(race.running(), wake, left if left > 0 else None)
                if self._links.direct(member.fingerprint):
                    return True
        finally:
            running = race.running()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _start_dials(self, race: _Race) -> None:
        for place in self._directory.places(race.member.fingerprint):
            if race.dials() >= _MOST_DIALS:
                return
            if (place.host, place.port) not in race.tried:
                race.tried[place.host, place.port] = asyncio.create_task(
                    self._direct(race, place), name="dial"
                )

    def _start_relay(self, race: _Race) -> None:
        relay = race.relay
        if (
            # Once where it failed, and again where what it led to is lost.
            (relay is None or (relay.done() and relay.result()))
            and self._at_relay(race.member)
            and self._links.best(race.member.fingerprint) is None
        ):
            race.relay = asyncio.create_task(self._relayed(race.member), name="call")

    def _at_relay(self, member: Identity) -> bool:
        return self._relay is not None and member.agreement_key in self._relay.online

    # One way --------------------------------------------------------------------------------------

    async def _direct(self, race: _Race, place: Place) -> None:
        """Dial one place, and greet when it is its turn."""
        try:
            link = await dial_link(place.host, place.port, path=PATH, timeout=_DIAL_TIMEOUT_S)
            try:
                await race.turn.acquire()
            except BaseException:
                await link.close()
                raise
            release = _Once(race.turn.release)
            timer = asyncio.get_running_loop().call_later(_TURN_S, release)
            try:
                session = await open_channel_over(
                    link,
                    remote_static=race.member.agreement_key,
                    static_secret=self._context.identity.agreement_secret,
                    team_id=self._membership.team_id,
                    handler=self._handler,
                    clock=self._context.clock,
                    entropy=self._context.entropy,
                )
                race.proved = True
                race.proved = await self._greet(session, race.member, place)
            finally:
                timer.cancel()
                release()
            cause = "" if race.proved else "they were reached, and did not answer the greeting"
        except Exception as error:  # noqa: BLE001  one way must not end the others
            cause = _cause_of(error)
        causes = self._causes.setdefault(race.member.fingerprint, {})
        if cause:
            causes[place_text(place.host, place.port)] = cause
        else:
            causes.pop(place_text(place.host, place.port), None)

    async def _relayed(self, member: Identity) -> bool:
        """Call a member through the rendezvous, and greet; say whether that succeeded."""
        assert self._relay is not None, "only who is at a rendezvous is called"
        try:
            async with asyncio.timeout(_DIAL_TIMEOUT_S):
                link, session_id = await self._relay.call(member.agreement_key)
                session = await open_channel_over(
                    link,
                    remote_static=member.agreement_key,
                    static_secret=self._context.identity.agreement_secret,
                    team_id=self._membership.team_id,
                    handler=self._handler,
                    clock=self._context.clock,
                    entropy=self._context.entropy,
                    relay_session=session_id,
                )
            greeted = await self._greet(session, member, None)
            cause = "" if greeted else "they did not answer the greeting"
        except Exception as error:  # noqa: BLE001  one way must not end the others
            cause = _cause_of(error)
        if cause:
            self._relay_causes[member.fingerprint] = cause
        return not cause

    async def _greet(self, session: Session, member: Identity, place: Place | None) -> bool:
        try:
            return await self._begin(session, member, place)
        except BaseException:
            # Another way was faster, or this node stops.
            await session.close()
            raise

    # Why ------------------------------------------------------------------------------------------

    def _forget_causes(self, fingerprint: bytes) -> None:
        """Keep the causes of places that are still there, until they are tried again."""
        places = {place_text(one.host, one.port) for one in self._directory.places(fingerprint)}
        causes = self._causes.pop(fingerprint, {})
        if kept := {place: causes[place] for place in causes if place in places}:
            self._causes[fingerprint] = kept
        self._relay_causes.pop(fingerprint, None)

    def describe(self, member: Identity) -> dict[str, str]:
        """Return by which ``path`` a member is reached (lan, relay, none), and ``why`` by that."""
        link = self._links.best(member.fingerprint)
        if link is not None and not link.session.relayed:
            host, port = link.session.remote
            why = f"direct to {place_text(host, port)}"
            if not link.session.initiator:
                why = f"direct: they dialled from {host}"
            return {"path": "lan", "why": why}
        if link is not None:
            why = f"{self._why_not_direct(member)}; relayed through the rendezvous"
            return {"path": "relay", "why": _clean(why)}
        why = f"{self._why_not_direct(member)}; {self._why_not_relayed(member)}"
        return {"path": "none", "why": _clean(why)}

    def _why_not_direct(self, member: Identity) -> str:
        if not (places := self._directory.places(member.fingerprint)):
            return "direct: no address of theirs is known"
        by_cause: dict[str, list[str]] = {}
        for place, cause in self._causes.get(member.fingerprint, {}).items():
            by_cause.setdefault(cause, []).append(place)
        if not by_cause:
            return f"direct: {place_text(places[0].host, places[0].port)} has not answered yet"
        told = [f"{cause} at {', '.join(where)}" for cause, where in by_cause.items()]
        return "direct: " + ", ".join(told[:_MOST_CAUSES])

    def _why_not_relayed(self, member: Identity) -> str:
        relay = self._relay
        if relay is None or relay.state == "off":
            return "no rendezvous is in use"
        if relay.state != "connected":
            return f"rendezvous: {relay.problem or relay.state}"
        if not self._at_relay(member):
            return "rendezvous: they are not connected to it"
        cause = self._relay_causes.get(member.fingerprint)
        return f"rendezvous: {cause}" if cause else "rendezvous: they are being called"


class _Once:
    """A call that is made once, whoever makes it first."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work

    def __call__(self) -> None:
        if self._work is not None:
            work, self._work = self._work, None
            work()


async def _first(
    tasks: set[asyncio.Task[Any]],
    wake: Wake,
    timeout: float | None,
) -> None:
    """Wait until one of the tasks has ended, something has changed, or time has passed."""
    waking = asyncio.create_task(wake.event.wait())
    try:
        await asyncio.wait({*tasks, waking}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waking.cancel()


def _cause_of(error: Exception) -> str:
    """Return why a way failed, in our own words; report what is a fault of this node."""
    match error:
        case DialError():
            return error.cause
        case SessionClosedError():
            return handshake_cause(error)
        case TimeoutError():
            return f"no answer within {_DIAL_TIMEOUT_S:g} s"
        case SafelightError():
            return str(error)
        case _:
            report_fault("a dial", error)
            return "a fault of this node"


def _clean(why: str) -> str:
    return clean_text(why, _MAX_WHY_BYTES)
