"""What each request of a node does.

Belongs here: one method for each request, who may make it, and in which words it is refused.
Never here: sockets and deadlines (``server``), or what the parts behind it keep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.ports import Clock
from node.rendezvous.admission import Teams
from node.rendezvous.journal import Journal
from node.rendezvous.mailbox import Mailbox
from node.rendezvous.metrics import Metrics
from node.rendezvous.pace import Tries
from node.rendezvous.presence import Attendant, Presence
from node.rendezvous.relay import Relay
from node.rendezvous.settings import RendezvousSettings
from node.rendezvous.slots import Slots
from node.services.whole import whole
from node.transport.driver import Reply, Session
from protocol.errors import Reason, Refused, SafelightError
from protocol.messages import Done
from protocol.rendezvous.messages import (
    NO_CALLER,
    Admit,
    Attend,
    Attending,
    Call,
    Circuit,
    Claim,
    CloseSlot,
    Collect,
    Collected,
    Deposit,
    JoinSlot,
    NodeRequest,
    OpenSlot,
    Ring,
    Slot,
)

NO_SLOT: Final = 0
"""In a ring: it is a call, not a slot."""


@dataclass(slots=True, kw_only=True, eq=False)
class Visitor:
    """Whoever is at the other end of a control connection. Its key is proved by its session."""

    address: str
    proved: Callable[[], None]
    """Called when the visitor turns out to be a member."""
    attendant: Attendant | None = None
    """Set while they attend."""
    requests: int = 0
    """Made before they attended."""


class Desk:
    """Answers the requests of every control session."""

    def __init__(
        self,
        *,
        teams: Teams,
        presence: Presence,
        relay: Relay,
        slots: Slots,
        mailbox: Mailbox,
        settings: RendezvousSettings,
        metrics: Metrics,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._teams = teams
        self._presence = presence
        self._relay = relay
        self._slots = slots
        self._mailbox = mailbox
        self._settings = settings
        self._metrics = metrics
        self._journal = journal
        self._claim_tries = Tries(per_minute=settings.claim_tries_per_minute, clock=clock)
        self._slot_tries = Tries(per_minute=settings.slot_tries_per_minute, clock=clock)
        self._uploads = Tries(per_minute=settings.admissions_per_minute, clock=clock)
        self._addresses: Counter[str] = Counter()
        """How many members attend from each address."""
        teams.removed = self._removed

    async def answer(self, visitor: Visitor, session: Session, request: NodeRequest) -> Reply:
        """Return the reply to one request, or raise Refused or a RemoteError."""
        self._metrics.requests += 1
        try:
            if visitor.attendant is None:
                return await self._answer_stranger(visitor, session, request)
            return await self._answer_member(visitor.attendant, request)
        except Refused as refusal:
            self._metrics.refused[refusal.reason.value] += 1
            raise
        except SafelightError:
            self._metrics.refused[Reason.UNKNOWN.value] += 1
            raise

    def leave(self, visitor: Visitor) -> None:
        """Take note that a control session has ended."""
        if visitor.attendant is not None:
            self._presence.leave(visitor.attendant)
            self._addresses[visitor.address] -= 1
            if not self._addresses[visitor.address]:
                del self._addresses[visitor.address]

    def attended_from(self, address: str) -> bool:
        """Say whether a member attends from an address."""
        return address in self._addresses

    # Strangers ------------------------------------------------------------------------------------

    async def _answer_stranger(
        self, visitor: Visitor, session: Session, request: NodeRequest
    ) -> Reply:
        visitor.requests += 1
        if visitor.requests > self._settings.stranger_requests:
            raise Refused(Reason.NOT_MEMBER)
        match request:
            case Attend():
                return await self._attend(visitor, session, request)
            case Claim():
                return await self._claim(visitor, request)
            case JoinSlot():
                return await self._join_slot(visitor, request)
            case _:
                raise Refused(Reason.NOT_MEMBER)

    async def _attend(self, visitor: Visitor, session: Session, request: Attend) -> Attending:
        team_id, key = request.team_id, session.peer_key
        if not self._teams.admits(team_id, key):
            raise Refused(Reason.NOT_MEMBER)
        visitor.proved()
        attendant = visitor.attendant = Attendant(session, team_id=team_id, key=key)
        self._addresses[visitor.address] += 1
        replaced = self._presence.arrive(attendant)
        if replaced is not None:
            replaced.hang_up("replaced")
        self._metrics.attendances += 1
        if await self._mailbox.waits(team_id, key):
            attendant.tell_mail()
        return self._attending(attendant)

    def _attending(self, attendant: Attendant) -> Attending:
        return Attending(
            version=self._teams.version(attendant.team_id),
            online=self._presence.online(attendant),
        )

    async def _claim(self, visitor: Visitor, request: Claim) -> Done:
        if not self._claim_tries.allow(visitor.address):
            raise Refused(Reason.BUSY)
        admission = await whole(self._teams.claim(request.secret, request.admission))
        self._metrics.claims += 1
        self._journal.tell("claimed", team=admission.team_id, version=admission.version)
        return Done()

    async def _join_slot(self, visitor: Visitor, request: JoinSlot) -> Circuit:
        if not self._slot_tries.allow(visitor.address):
            raise Refused(Reason.BUSY)
        slot = self._slots.find(request.number)
        host = self._presence.find(slot.team_id, slot.key)
        if host is None:
            raise Refused(Reason.NOT_READY)
        # At once: nobody else is to find it while that is made durable.
        slot.used = True
        await whole(self._slots.keep_used(slot))
        if host is not self._presence.find(slot.team_id, slot.key):
            raise Refused(Reason.NOT_READY)
        ours, theirs, session = self._relay.open(
            team_id=slot.team_id, owner=slot.key, other=None, slot=True
        )
        host.ring(Ring(caller=NO_CALLER, token=theirs, session=session, slot=slot.number))
        return Circuit(token=ours, session=session)

    # Members --------------------------------------------------------------------------------------

    async def _answer_member(self, member: Attendant, request: NodeRequest) -> Reply:
        team_id, key = member.team_id, member.key
        if not self._teams.admits(team_id, key):
            raise Refused(Reason.NOT_MEMBER)  # their session is about to end
        match request:
            case Attend(team_id=again) if again == team_id:
                return self._attending(member)
            case Admit():
                if not self._uploads.allow(team_id + key):
                    raise Refused(Reason.BUSY)
                return await whole(self._teams.admit(team_id, request.admission))
            case Call():
                return self._call(member, request)
            case OpenSlot():
                slot = await whole(self._slots.open(team_id, key))
                self._metrics.slots += 1
                return Slot(number=slot.number, expires_at=slot.expires_at)
            case CloseSlot():
                await whole(self._slots.close(request.number, team_id, key))
                return Done()
            case Deposit():
                return await self._deposit(member, request)
            case Collect():
                return await self._mailbox.collect(team_id, key, request.after)
            case Collected():
                await self._mailbox.collected(team_id, key, request.numbers)
                return Done()
            case _:
                raise Refused(Reason.UNKNOWN)

    def _call(self, member: Attendant, request: Call) -> Circuit:
        team_id, key = member.team_id, member.key
        if request.key == key or not self._teams.admits(team_id, request.key):
            raise Refused(Reason.UNKNOWN)
        callee = self._presence.find(team_id, request.key)
        if callee is None:
            raise Refused(Reason.NOT_READY)
        if self._relay.count(team_id, key) >= self._settings.circuits_per_member:
            raise Refused(Reason.BUSY)
        ours, theirs, session = self._relay.open(team_id=team_id, owner=key, other=request.key)
        try:
            callee.ring(Ring(caller=key, token=theirs, session=session, slot=NO_SLOT))
        except Refused:
            self._relay.cancel(ours)
            raise
        return Circuit(token=ours, session=session)

    async def _deposit(self, member: Attendant, request: Deposit) -> Done:
        if not self._teams.admits(member.team_id, request.recipient):
            raise Refused(Reason.UNKNOWN)
        try:
            await self._mailbox.deposit(member.team_id, member.key, request)
        except Refused as refusal:
            if refusal.reason is Reason.FULL:
                self._journal.tell("full", team=member.team_id, sender=member.key)
            raise
        recipient = self._presence.find(member.team_id, request.recipient)
        if recipient is not None:
            recipient.tell_mail()
        return Done()

    # Lists ----------------------------------------------------------------------------------------

    def _removed(self, team_id: bytes, keys: frozenset[bytes]) -> None:
        """End whatever those had who are no members any more."""
        self._slots.remove(team_id, keys)
        self._relay.remove(team_id, keys)
        for attendant in self._presence.remove(team_id, keys):
            attendant.hang_up("not_member")
        self._journal.tell("removed", team=team_id, members=len(keys))
