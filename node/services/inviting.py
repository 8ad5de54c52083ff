"""Invitations by a short code: which are open, and the one guess that each is good for.

Belongs here: opening, announcing and ending invitations, and answering who comes with a code.
Never here: using one (``joining``), the six messages (``protocol.joining``), what admitting
writes (``membership``), multicast or the rendezvous (``node.discovery``).

An invitation ends with the first of: somebody who proves the code; anybody who begins and does
not (a wrong code, or breaking off); ten minutes; whoever invited cancels, locks or stops. From
the moment a first message names its number nobody else gets an answer for it, so whatever
arrives, over the network and the rendezvous together, there is one guess.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from node.discovery.nearby import Nearby
from node.discovery.rendezvous import RendezvousClient
from node.errors import NodeError, UnknownError, UsageError
from node.faults import report_fault
from node.services.context import Context
from node.services.entries import draft
from node.services.membership import Address, Membership
from node.services.moments import rfc3339
from node.transport.dialer import place_text
from node.transport.link import Link
from node.vault.database import WriteTransaction
from protocol.encoding import decode
from protocol.errors import AuthenticationError, Reason, RemoteError, SafelightError
from protocol.identity import format_fingerprint, is_address, parse_identity_file_untrusted
from protocol.joining.code import InvitationCode, new_words
from protocol.joining.session import Accepted, Inviter, JoinOffer
from protocol.limits import (
    INVITATION_MS,
    JOINING_TIMEOUT_MS,
    MAX_ADDRESSES,
    MAX_INVITATION_NUMBER,
    MAX_OFFER_BYTES,
)
from protocol.roster.metadata import ROLES

_MOST_OPEN: Final = 8
"""Invitations open at once: a class of newcomers, not a printed list of codes."""
_MOST_ENDED: Final = 32
"""Ended invitations whose end is remembered for whoever asks a moment later."""
_TICK_S: Final = 1.0
"""How often an open invitation's time is looked at."""
_TURN_S: Final = 2.0
"""How long one of several open invitations is announced before the next has its turn."""
_SETTLE_S: Final = 5.0
"""How long a new invitation waits for a rendezvous that is being connected to."""
_FIRST_S: Final = 10.0
"""How long somebody who came may take for a first message, through a slow relay too."""


@dataclass(slots=True, eq=False)
class _Invitation:
    """A code that somebody may join with, once."""

    code: InvitationCode = field(repr=False)
    role: str
    deadline: int
    """Of the monotonic clock, in milliseconds."""
    expires_at: int
    slot: bool
    """Whether a rendezvous lets somebody in for it."""
    taken: bool = False
    """Its one guess is under way."""
    outcome: dict[str, Any] | NodeError | None = None
    """Who came, or why nobody did; None while it is open."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Inviting:
    """Opens invitations and answers who comes with a code."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        rendezvous: RendezvousClient,
        nearby: Nearby,
        *,
        addresses: Callable[[], list[Address]],
        open_listener: Callable[[bool], None],
    ) -> None:
        """Prepare.

        ``addresses`` returns where this node listens; ``open_listener`` is told whether
        newcomers are expected, who are then handed to ``answer``.
        """
        self._context = context
        self._membership = membership
        self._rendezvous = rendezvous
        self._nearby = nearby
        self._addresses = addresses
        self._open_listener = open_listener
        self._open: dict[int, _Invitation] = {}
        self._ended: dict[int, _Invitation] = {}
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clockwork: asyncio.Task[None] | None = None
        self._announced: int | None = None
        rendezvous.on_slot_ring = self._answer_slot

    async def close(self) -> None:
        """End every invitation."""
        self.end_all("the node has stopped")
        tasks = [*self._tasks, *([] if self._clockwork is None else [self._clockwork])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Inviting -------------------------------------------------------------------------------------

    async def invite(self, role: str) -> dict[str, Any]:
        """Open an invitation; it is in the log before its code is told."""
        if role not in ROLES:
            raise UsageError(f"no role {role!r}", hint="roles: " + ", ".join(ROLES))
        self._membership.check_administrator()
        self._membership.may_change()
        async with self._opening:
            if len(self._open) >= _MOST_OPEN:
                raise NodeError(
                    f"{_MOST_OPEN} invitations are open already",
                    code="too_many",
                    hint="wait until one is used or over, or lock the vault to end them all",
                )
            number, slot = await self._number()
            await self._log("issued", {"invitation": str(number), "role": role})
            now = self._context.clock
            invitation = _Invitation(
                code=InvitationCode(number=number, words=new_words(self._context.entropy)),
                role=role,
                deadline=now.monotonic() + INVITATION_MS,
                expires_at=now.now() + INVITATION_MS,
                slot=slot,
            )
            self._open[number] = invitation
            self._ended.pop(number, None)
        self._show()
        if self._clockwork is None or self._clockwork.done():
            self._clockwork = asyncio.create_task(self._run_clockwork(), name="invitations")
        address = self._rendezvous.address
        return {
            "code": invitation.code.text,
            "number": number,
            "expires_at": rfc3339(invitation.expires_at),
            "role": role,
            "rendezvous": None if not slot or address is None else address.text,
            "addresses": [place_text(host, port) for host, port in self._addresses()],
        }

    async def wait(self, number: int) -> dict[str, Any]:
        """Return who came; NodeError where nobody did. Hanging up cancels the invitation."""
        invitation = self._open.get(number) or self._ended.get(number)
        if invitation is None:
            raise UnknownError(f"no invitation {number}", hint="safelight invite")
        try:
            await invitation.over.wait()
        except asyncio.CancelledError:
            self.cancel(number)
            raise
        if isinstance(invitation.outcome, NodeError):
            raise invitation.outcome
        assert invitation.outcome is not None, "what is over has an outcome"
        return invitation.outcome

    def cancel(self, number: int) -> None:
        """Take an invitation back; one that is over stays as it ended."""
        if (invitation := self._open.get(number)) is not None:
            self._end(invitation, NodeError("the invitation was cancelled", code="cancelled"))

    def end_all(self, why: str) -> None:
        """End every open invitation, those that are being answered too."""
        for invitation in list(self._open.values()):
            self._end(invitation, NodeError(f"the invitation is over: {why}", code="cancelled"))

    async def _number(self) -> tuple[int, bool]:
        """Return the number of a new invitation, and whether a rendezvous has a slot for it."""
        # The first command starts the node, and may be here before the rendezvous has answered.
        if await self._rendezvous.settled(_SETTLE_S):
            with contextlib.suppress(SafelightError):
                slot = await self._rendezvous.open_slot()
                if slot.number not in self._open:
                    return slot.number, True
                # One of ours without a slot has it already.
                await self._rendezvous.close_slot(slot.number)
        while True:
            drawn = int.from_bytes(self._context.entropy(8), "big")
            if (number := 1 + drawn % MAX_INVITATION_NUMBER) not in self._open:
                return number, False

    async def _log(self, event: str, facts: dict[str, str]) -> None:
        me = self._context.me

        def job(transaction: WriteTransaction) -> None:
            transaction.append(draft(event, actor=me, about=me, facts=facts))

        await self._context.database.write(job)

    def _show(self) -> None:
        """Let newcomers in where one is expected, and announce what is open."""
        waiting = [one.code.number for one in self._open.values() if not one.taken]
        self._open_listener(bool(waiting))
        self._announce(waiting[-1] if waiting else None)

    def _announce(self, number: int | None) -> None:
        if number != self._announced:
            self._announced = number
            self._nearby.announce(number)

    async def _run_clockwork(self) -> None:
        """End what is over its time; let each of several have its turn to be announced."""
        turn = 0.0
        while self._open:
            await asyncio.sleep(_TICK_S)
            now = self._context.clock.monotonic()
            for invitation in list(self._open.values()):
                if now >= invitation.deadline and not invitation.taken:
                    self._end(
                        invitation,
                        NodeError(
                            "nobody came within ten minutes",
                            code="timeout",
                            hint="invite again: safelight invite",
                        ),
                    )
            turn += _TICK_S
            waiting = [one.code.number for one in self._open.values() if not one.taken]
            if len(waiting) > 1 and self._announced in waiting and turn >= _TURN_S:
                turn = 0.0
                self._announce(waiting[(waiting.index(self._announced) + 1) % len(waiting)])

    def _end(self, invitation: _Invitation, outcome: dict[str, Any] | NodeError) -> None:
        """End an invitation, once."""
        number = invitation.code.number
        if invitation.over.is_set():
            return
        invitation.outcome = outcome
        invitation.over.set()
        self._open.pop(number, None)
        self._ended[number] = invitation
        while len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        if invitation.slot:
            self._spawn(self._close_slot(number))
        self._show()
        self._context.events.tell(
            "invitation",
            number=number,
            outcome=outcome.code if isinstance(outcome, NodeError) else "joined",
        )

    async def _close_slot(self, number: int) -> None:
        with contextlib.suppress(SafelightError):
            await self._rendezvous.close_slot(number)

    # Being asked ----------------------------------------------------------------------------------

    async def answer(self, link: Link) -> None:
        """Talk to somebody who came over the network, to the end; the link is the caller's."""
        first = await _first_message(link)
        if first is None:
            return
        try:
            number = decode(JoinOffer, first, limit=MAX_OFFER_BYTES).number
        except RemoteError:
            return
        invitation = self._open.get(number)
        if invitation is not None and not invitation.taken:
            await self._spend(invitation, link, first)

    async def _answer_slot(self, link: Link, number: int) -> None:
        """Talk to whom the rendezvous let in: it lets in one, who spends the guess anyhow."""
        try:
            invitation = self._open.get(number)
            if invitation is None or invitation.taken or not invitation.slot:
                return
            first = await _first_message(link)
            if not invitation.taken:
                await self._spend(invitation, link, first)
        finally:
            await link.close()

    async def _spend(self, invitation: _Invitation, link: Link, first: bytes | None) -> None:
        """Let somebody try the code; whatever comes of it, nobody else does."""
        # No other task runs between the look at `taken` and this.
        invitation.taken = True
        self._show()
        number = invitation.code.number
        try:
            if first is None:
                raise ConnectionError  # noqa: TRY301  as when it ends a little later
            async with asyncio.timeout(JOINING_TIMEOUT_MS / 1000):
                outcome = await self._converse(invitation, link, first)
        except AuthenticationError:
            await self._burn(invitation, "wrong code", "wrong_code")
        except (RemoteError, OSError, TimeoutError):
            await self._burn(invitation, "broken off", "broken_off")
        except SafelightError as error:
            self._end(
                invitation, NodeError(f"nobody joined: {error}", code=error.code, hint=error.hint)
            )
        except BaseException:
            self._end(
                invitation, NodeError(f"invitation {number} was broken off", code="broken_off")
            )
            raise
        else:
            self._end(invitation, outcome)

    async def _burn(self, invitation: _Invitation, detail: str, code: str) -> None:
        """End an invitation whose guess somebody spent, and keep in the log that they did."""
        number = invitation.code.number
        said = (
            "somebody tried a wrong code"
            if code == "wrong_code"
            else "somebody began to join and broke off"
        )
        self._end(
            invitation,
            NodeError(
                f"{said}: invitation {number} is burnt",
                code=code,
                hint="if it was not whom you invited, somebody is guessing; else invite again",
            ),
        )
        await self._log("unlock_failed", {"invitation": str(number), "detail": detail})

    async def _converse(
        self, invitation: _Invitation, link: Link, first: bytes
    ) -> dict[str, Any] | NodeError:
        """Answer until the newcomer has proved the code and is admitted; say who it is."""
        inviter = Inviter(invitation.code, self._context.identity, self._context.entropy)
        data: bytes | None = first
        while inviter.joiner_file is None:
            if data is None:
                raise ConnectionError
            if (answer := inviter.receive_untrusted(data)) is not None:
                await link.send([answer])
            if inviter.joiner_file is None:
                data = await link.receive()
        if invitation.over.is_set():
            # Cancelled or locked meanwhile: nobody is admitted by it.
            raise ConnectionError
        return await self._admit(invitation, link, inviter, inviter.joiner_file)

    async def _admit(
        self, invitation: _Invitation, link: Link, inviter: Inviter, identity_file: bytes
    ) -> dict[str, Any] | NodeError:
        person, places = parse_identity_file_untrusted(identity_file)
        try:
            admitted = await self._membership.admit(person, invitation.role, list(places))
        except SafelightError:
            with contextlib.suppress(OSError):
                await link.send([inviter.decline(Reason.POLICY)])
            raise
        if admitted == "pending":
            with contextlib.suppress(OSError):
                await link.send([inviter.decline(Reason.NOT_READY)])
            return NodeError(
                f"{person.name} proved the code, and is a member once more administrators have "
                "signed",
                code="pending",
                hint="they sign with: safelight team sign; then invite again",
            )
        # The newcomer may be able to reach this node through the rendezvous alone.
        with contextlib.suppress(SafelightError):
            await self._rendezvous.admit()
        verdict = inviter.accept(self._accepted(invitation.role))
        # Admitted is admitted: where this gets lost, the next code says the same.
        with contextlib.suppress(OSError):
            await link.send([verdict])
        return {
            "joined": True,
            "name": person.name,
            "fingerprint": format_fingerprint(person.fingerprint),
            "role": invitation.role,
            "words": list(inviter.words),
        }

    def _accepted(self, role: str) -> Accepted:
        trusted = self._membership.trusted
        address = self._rendezvous.address
        return Accepted(
            team_id=trusted.team_id,
            team_name=trusted.roster.team_name,
            role=role,
            version=trusted.version,
            roster_hash=trusted.hash,
            certificate=self._context.identity.public.certificate,
            addresses=tuple(one for one in self._addresses() if is_address(*one))[:MAX_ADDRESSES],
            rendezvous="" if address is None else address.text,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SafelightError):
            report_fault("an invitation", error)


async def _first_message(link: Link) -> bytes | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_S):
            return await link.receive()
    return None
