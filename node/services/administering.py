"""What administrators do to the team: roles, removals, signatures, renewal, joining histories.

Belongs here: each command of an administrator, what it tells, and the renewal that needs no
command.
Never here: how a version is signed, stored and taken (``membership``), or its rules
(``protocol.roster``).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from node.errors import AmbiguousError, NodeError, UnknownError, UsageError
from node.services.context import Context
from node.services.loops import forever
from node.services.membership import Address, Membership
from node.services.moments import rfc3339
from node.services.pending import Outcome
from node.services.roster_words import sentence
from protocol.errors import Refused
from protocol.identity import Identity, fingerprint_words, format_fingerprint
from protocol.limits import ROSTER_RENEWAL_MS
from protocol.messages import Answer, Done
from protocol.roster.changes import describe_changes
from protocol.roster.metadata import (
    ADMIN,
    ROLES,
    renewed,
    with_role,
    with_threshold,
    without_member,
)
from protocol.roster.proposal import Proposal

_DAY_MS: Final = 24 * 3_600_000
_STAGGER_MS: Final = 2 * _DAY_MS
"""Between the renewals of two administrators: the first one's reaches the second in time."""
_AFTER_START_S: Final = 600.0
"""Before a node renews by itself: what others did while it was off comes first."""
_LOOK_S: Final = 3_600.0
"""How often a node looks whether the roster is due: machines sleep, and clocks are set."""


class Administering:
    """Changes the team as its administrators ask, and keeps its roster from expiring."""

    def __init__(self, context: Context, membership: Membership) -> None:
        self._context = context
        self._membership = membership
        self._renewal: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew the roster when it is due."""
        self._renewal = asyncio.create_task(forever(self._keep_renewed, "renewal"), name="renewal")

    async def close(self) -> None:
        """Stop; what is due meanwhile is renewed after the next start."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    # Changes --------------------------------------------------------------------------------------

    async def add(
        self, identity_file: bytes, role: str, *, addresses: list[Address]
    ) -> tuple[dict[str, Any], bytes]:
        """Add the person of an identity file; return what to tell, and the WELCOME or nothing."""
        membership = self._membership
        welcome, person = await membership.add(identity_file, role, addresses=addresses)
        outcome = membership.proposal_adding(person.fingerprint)
        told = {
            "name": person.name,
            "fingerprint": format_fingerprint(person.fingerprint),
            "words": list(fingerprint_words(person.fingerprint)),
            "role": role,
        }
        return {**told, **self._told(outcome)}, welcome

    async def role(self, who: str, role: str) -> dict[str, Any]:
        """Give a member another role."""
        if role not in ROLES:
            raise UsageError(f"no role {role!r}", hint="roles: " + ", ".join(ROLES))
        person = self._membership.resolve(who)
        if self._membership.role_of(person.fingerprint) == role:
            raise UsageError(f"{person.name} is {role} already")
        now = self._context.clock.now()
        outcome = await self._membership.change(
            lambda trusted: with_role(trusted.roster, person.fingerprint, role, now=now)
        )
        return {"name": person.name, "role": role, **self._told(outcome)}

    async def remove(self, who: str) -> dict[str, Any]:
        """Remove a member: also from an expired roster, and while there are two histories."""
        person = self._membership.resolve(who)
        now = self._context.clock.now()
        outcome = await self._membership.change(
            lambda trusted: without_member(trusted.roster, person.fingerprint, now=now),
            urgent=True,
        )
        return {
            "name": person.name,
            "fingerprint": format_fingerprint(person.fingerprint),
            **self._told(outcome),
        }

    async def threshold(self, threshold: int) -> dict[str, Any]:
        """Let this many administrators sign each next version."""
        if self._membership.trusted.roster.threshold == threshold:
            raise UsageError(f"the threshold is {threshold} already")
        now = self._context.clock.now()
        outcome = await self._membership.change(
            lambda trusted: with_threshold(trusted.roster, threshold, now=now)
        )
        return {"threshold": threshold, **self._told(outcome)}

    async def renew(self) -> dict[str, Any]:
        """Let the roster last a year from now."""
        if (rival := self._membership.rival) is not None:
            raise NodeError(
                f"there are two histories of {rival.roster.team_name}: joining them renews it",
                code="roster_conflict",
                hint="safelight team resolve",
            )
        now = self._context.clock.now()
        outcome = await self._membership.change(
            lambda trusted: renewed(trusted.roster, now=now), urgent=True
        )
        return {
            "expires_at": rfc3339(self._membership.trusted.roster.expires_at),
            **self._told(outcome),
        }

    def _told(self, outcome: Outcome | None) -> dict[str, Any]:
        """Return what became of a change; None where there was nothing left to change."""
        if outcome is None or not outcome.pending:
            return {"pending": False, "version": self._membership.version}
        return {
            "pending": True,
            "proposal": outcome.hash.hex(),
            "version": outcome.version,
            "missing": outcome.missing,
        }

    # Proposals ------------------------------------------------------------------------------------

    def pending(self) -> list[dict[str, Any]]:
        """Return the versions that wait for signatures, oldest first."""
        return [self._describe(one) for one in self._membership.proposals()]

    def _describe(self, proposal: Proposal) -> dict[str, Any]:
        changes = describe_changes(self._membership.trusted.roster, proposal.roster)
        return {
            "id": proposal.hash.hex(),
            "version": proposal.roster.version,
            "changes": [sentence(one) for one in changes],
            "signed_by": sorted(self._membership.name_of(one) for one in proposal.signers),
            "signed": self._context.me in proposal.signers,
            "missing": max(proposal.missing_old, proposal.missing_new),
            "created": rfc3339(proposal.roster.created),
        }

    async def sign(self, proposal: str) -> dict[str, Any]:
        """Sign a version that waits; without an id or prefix the only one."""
        found = [one for one in self.pending() if one["id"].startswith(proposal.lower())]
        if not found:
            raise UnknownError(
                f"no proposal {proposal!r}" if proposal else "nothing waits for a signature",
                hint="safelight team pending lists what does",
            )
        if len(found) > 1:
            raise AmbiguousError(
                "several proposals fit" if proposal else "several proposals wait",
                [one["id"][:12] for one in found],
            )
        outcome = await self._membership.sign(bytes.fromhex(found[0]["id"]))
        return {"changes": found[0]["changes"], **self._told(outcome)}

    async def hear_proposal_untrusted(self, member: Identity, signed: bytes) -> Answer:
        """Take in another administrator's proposal; Done once it is durable, else Refused."""
        await self._membership.hear_proposal_untrusted(member, signed)
        return Done()

    # Two histories --------------------------------------------------------------------------------

    async def resolve(self, *, dry_run: bool, keep_ours: bool) -> dict[str, Any]:
        """Join two histories of the team; with dry_run only say what would come of it."""
        membership = self._membership
        membership.check_administrator()
        joined = membership.joined_roster(keep_ours=keep_ours)
        rival = membership.rival
        assert rival is not None, "there is nothing to join without one"
        told = {
            "changes": [
                sentence(one) for one in describe_changes(membership.trusted.roster, joined)
            ],
            "changes_elsewhere": [sentence(one) for one in describe_changes(rival.roster, joined)],
            "version": joined.version,
        }
        if dry_run:
            return {**told, "dry_run": True}
        outcome = await membership.join_rival(keep_ours=keep_ours)
        return {**told, **self._told(outcome)}

    # Renewal --------------------------------------------------------------------------------------

    async def _keep_renewed(self) -> None:
        await asyncio.sleep(_AFTER_START_S)
        while True:
            # Whoever renews at the same moment, or has no room on the disk, is met again later.
            with contextlib.suppress(NodeError, Refused):
                await self.renew_if_due()
            await asyncio.sleep(_LOOK_S)

    async def renew_if_due(self) -> bool:
        """Renew a roster that has little left; say whether a version was signed.

        One that has expired is left to a person: it may be a frozen one. The administrators take
        turns by the order of their fingerprints, so that they make no rivals of each other.
        """
        membership, me = self._membership, self._context.me
        if not membership.founded or membership.role_of(me) != ADMIN:
            return False
        if membership.rival is not None or self._renewal_is_proposed():
            return False
        trusted, now = membership.trusted, self._context.clock.now()
        turn = sorted(one.fingerprint for one in trusted.administrators).index(me)
        due = trusted.roster.expires_at - ROSTER_RENEWAL_MS + turn * _STAGGER_MS
        if not due <= now < trusted.roster.expires_at:
            return False
        await membership.change(lambda newest: renewed(newest.roster, now=now))
        return True

    def _renewal_is_proposed(self) -> bool:
        """Say whether a renewal waits already: signing it is for people."""
        current = self._membership.trusted.roster
        return any(
            one.kind == "renewed"
            for proposal in self._membership.proposals()
            for one in describe_changes(current, proposal.roster)
        )
