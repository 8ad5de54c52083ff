"""Next versions of the roster that lack signatures: proposed, kept, signed, told to the others.

Belongs here: which versions wait, the bounds on them, their rows, and their way to the other
administrators.
Never here: the rules of a proposal (``protocol.roster.proposal``), or how a version that has its
signatures comes into force (``membership``).

Whoever calls a method that changes something holds off every other change of the roster meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.errors import NodeError, UnknownError, UsageError
from node.services.context import Context
from node.services.standing import Standing
from node.services.whole import whole
from node.vault.database import WriteTransaction
from node.vault.records import outbox
from node.vault.records import team as rows
from protocol.errors import Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.limits import MAX_BODY_BYTES
from protocol.roster.changes import describe_changes
from protocol.roster.metadata import ADMIN, Roster, parse_roster_untrusted
from protocol.roster.proposal import (
    Proposal,
    add_signature,
    combine_untrusted,
    parse_proposal_untrusted,
    propose,
)
from protocol.roster.trusted import TrustedRoster

_MOST_PROPOSALS: Final = 16
"""Pending versions signed by one administrator: bounds what one of them fills a disk with."""
_MOST_PROPOSAL_BYTES: Final = MAX_BODY_BYTES - 1024
"""A proposal travels in one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a change of the roster."""

    hash: bytes
    """Of the version that makes it."""
    version: int
    missing: int
    """Signatures of other administrators that it lacks; 0 where it is in force."""

    @property
    def pending(self) -> bool:
        """Whether it waits for other administrators."""
        return self.missing > 0


class Pending:
    """Holds the versions that lack signatures; each is on disk before it counts."""

    def __init__(
        self,
        context: Context,
        standing: Standing,
        kept: Sequence[rows.ProposalRow],
        *,
        take: Callable[[TrustedRoster], Awaitable[None]],
    ) -> None:
        self._context = context
        self._standing = standing
        self._take = take
        self._signed = {row.hash: row.signed for row in kept}
        """Hash to the version, with the signatures that it has."""
        self.on_proposal: Callable[[bytes], None] = lambda _fingerprint: None
        """Called with an administrator's fingerprint for whom a proposal waits in the outbox."""

    def all(self) -> list[Proposal]:
        """Return them, oldest first."""
        trusted = self._standing.trusted
        return [parse_proposal_untrusted(one, trusted) for one in self._signed.values()]

    def adding(self, fingerprint: bytes) -> Outcome | None:
        """Return the one by which a person would become a member, or None."""
        for proposal in self.all():
            changes = describe_changes(self._standing.trusted.roster, proposal.roster)
            if any(one.kind == "added" and one.fingerprint == fingerprint for one in changes):
                return _outcome(proposal)
        return None

    async def propose(self, body: bytes) -> Outcome:
        """Sign a next version, or the pending one that makes the same change."""
        wanted = self._asked(parse_roster_untrusted(body, known={})[0])
        for proposal in self.all():
            if self._asked(proposal.roster) == wanted:
                return await self.countersign(self._signed[proposal.hash])
        local, team_id = self._context.identity, self._standing.team_id
        return await self._offer(propose(body, signer=local, team_id=team_id))

    def _asked(self, roster: Roster) -> tuple[object, ...]:
        """Return what a version changes, without the times at which it was made."""
        changes = describe_changes(self._standing.trusted.roster, roster)
        lasting = [one for one in changes if one.kind != "renewed"]
        return (roster.parents, *((one.kind, one.fingerprint, one.after) for one in lasting))

    async def sign(self, proposal_hash: bytes) -> Outcome:
        """Sign one; UnknownError where it is pending no more."""
        signed = self._signed.get(proposal_hash)
        if signed is None:
            raise UnknownError("that proposal is pending no more", hint="safelight team show")
        return await self.countersign(signed)

    async def countersign(self, signed: bytes) -> Outcome:
        """Add the own signature to a version that others have signed."""
        local, team_id = self._context.identity, self._standing.team_id
        return await self._offer(add_signature(signed, signer=local, team_id=team_id))

    async def hear_untrusted(self, member: Identity, signed: bytes) -> None:
        """Take in one from another administrator; Refused if it is bad."""
        trusted = self._standing.trusted
        if {trusted.role_of(one) for one in (member.fingerprint, self._context.me)} != {ADMIN}:
            raise Refused(Reason.POLICY)
        try:
            heard = parse_proposal_untrusted(signed, trusted)
            known = self._signed.get(heard.hash)
            together = heard.signed if known is None else combine_untrusted(known, heard.signed)
        except RemoteError as error:
            # A version between is missing here: it will have come when they try again.
            later = error.code == "roster_gap"
            raise Refused(Reason.NOT_READY if later else Reason.UNKNOWN) from None
        if member.fingerprint not in heard.signers:
            raise Refused(Reason.POLICY)
        if known is None and self._signed_by(member.fingerprint) >= _MOST_PROPOSALS:
            raise Refused(Reason.POLICY)
        if together != known:
            # What is more than they have goes on to everybody.
            await self._offer(together, ask=together != heard.signed)

    def dropped_by(self, trusted: TrustedRoster) -> set[bytes]:
        """Return the hashes of those that a newer roster leaves behind."""
        return self._signed.keys() - set(trusted.hashes.values())

    def clear(self) -> None:
        """Forget them, once their rows are dropped: all of them followed the version before."""
        self._signed.clear()

    def _signed_by(self, fingerprint: bytes) -> int:
        return sum(fingerprint in one.signers for one in self.all())

    async def _offer(self, signed: bytes, *, ask: bool = True) -> Outcome:
        """Take a version where enough have signed it, else keep it and ask the others to."""
        proposal = parse_proposal_untrusted(signed, self._standing.trusted)
        if proposal.complete:
            await self._take(self._standing.trusted.update_untrusted(signed))
        else:
            await self._keep(proposal, ask=ask)
        return _outcome(proposal)

    async def _keep(self, proposal: Proposal, *, ask: bool) -> None:
        """Store a version that lacks signatures, and queue it for every other administrator."""
        signed = proposal.signed
        if len(signed) > _MOST_PROPOSAL_BYTES:
            raise NodeError(
                "a roster of so many members is signed by one administrator only",
                code="limit",
                hint="safelight team threshold 1",
            )
        me, now = self._context.me, self._context.clock.now()
        known = self._signed.get(proposal.hash)
        if known is None and me in proposal.signers and self._signed_by(me) >= _MOST_PROPOSALS:
            raise UsageError(
                f"{_MOST_PROPOSALS} of your proposals wait for signatures",
                hint="let the others sign them: safelight team pending",
            )
        administrators = self._standing.trusted.administrators
        asked = [one.fingerprint for one in administrators if ask and one.fingerprint != me]

        def job(transaction: WriteTransaction) -> None:
            db = transaction.connection
            row = rows.ProposalRow(hash=proposal.hash, signed=signed, received_at=now)
            rows.put_proposal(db, row)
            if known is not None:
                outbox.drop_body(db, known)
            for peer in asked:
                outbox.put(db, peer=peer, kind="proposal", body=signed, capability_id=None, now=now)

        async def keep() -> None:
            await self._context.database.write(job)
            self._signed[proposal.hash] = signed

        await whole(keep())
        for peer in asked:
            self.on_proposal(peer)
        self._context.events.tell("proposal", proposal=proposal.hash.hex())


def _outcome(proposal: Proposal) -> Outcome:
    return Outcome(
        hash=proposal.hash,
        version=proposal.roster.version,
        missing=max(proposal.missing_old, proposal.missing_new),
    )
