"""Changes to a live capability: a later expiry, more opens.

Belongs here: the issuer's signed amendments, within policy.
Never here: the original terms, which never change (``sharing``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.errors import UsageError
from node.services.context import Context
from node.services.entries import draft, limits_in_words
from node.services.granted import Granted
from node.services.membership import Membership
from node.services.moments import parse_duration
from node.vault.database import WriteTransaction
from node.vault.records import grants as rows
from node.vault.records import outbox
from node.vault.records.grants import GrantRow
from protocol.capability.statements import Amendment, sign_amendment
from protocol.capability.terms import Terms, parse_terms_untrusted
from protocol.errors import Reason, Refused
from protocol.limits import MAX_OPENS
from protocol.policy import Deny, ShareRequest, decide


class Amending:
    """Extends capabilities while they are live."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        granted: Granted,
        *,
        deadlines_changed: Callable[[], None],
        poke: Callable[[bytes], None],
    ) -> None:
        self._context = context
        self._membership = membership
        self._granted = granted
        self._deadlines_changed = deadlines_changed
        self._poke = poke

    async def extend(
        self, *, capability: str, duration: str | None, opens: int | None
    ) -> dict[str, Any]:
        """Amend a live capability: expiry to now + duration (never earlier), more opens."""
        if duration is None and opens is None:
            raise UsageError("nothing to extend", hint="give --for DURATION, --opens N, or both")
        if opens is not None and not 0 < opens <= MAX_OPENS:
            raise UsageError("opens to add are a positive number")
        capability_id = await self._granted.resolve(capability)
        now = self._context.clock.now()
        lasting = None if duration is None else parse_duration(duration, now=now)

        def job(transaction: WriteTransaction) -> GrantRow:
            grant = rows.grant(transaction.connection, capability_id)
            assert grant is not None, "resolved a moment ago; grants are never deleted"
            self._amend(transaction, grant, lasting, opens, now)
            return grant

        committed = await self._context.database.write(job)
        self._deadlines_changed()
        self._poke(committed.value.holder)
        return await self._granted.describe(capability_id)

    def _amend(
        self,
        transaction: WriteTransaction,
        grant: GrantRow,
        lasting: int | None,
        opens: int | None,
        now: int,
    ) -> None:
        """Sign, apply, queue and log one amendment inside the transaction."""
        terms = parse_terms_untrusted(grant.terms)
        before = terms.max_opens + grant.opens_added
        after = before + (opens or 0)
        self._check(grant, terms, lasting, after, now)
        amendment = Amendment(
            capability_hash=grant.capability_hash,
            sequence=grant.amendments + 1,
            expires_at=max(grant.expires_at, now + (lasting or 0)),
            opens_added=after - terms.max_opens,
            time=now,
        )
        rows.amend(
            transaction.connection,
            grant.capability_id,
            expires_at=amendment.expires_at,
            opens_added=amendment.opens_added,
            sequence=amendment.sequence,
        )
        outbox.put(
            transaction.connection,
            peer=grant.holder,
            kind="amendment",
            body=sign_amendment(
                amendment, issuer=self._context.identity, team_id=self._membership.team_id
            ),
            capability_id=grant.capability_id,
            now=now,
        )
        transaction.append(
            draft(
                "amended",
                actor=self._context.me,
                about=self._context.me,
                references={"holder": grant.holder, "capability": grant.capability_id},
                facts={
                    "old": limits_in_words(grant.expires_at, before),
                    "new": limits_in_words(amendment.expires_at, after),
                },
            )
        )

    def _check(
        self, grant: GrantRow, terms: Terms, lasting: int | None, opens: int, now: int
    ) -> None:
        """Refuse what has ended, and what the policy would not grant today on the same terms."""
        if grant.revoked_at is not None:
            raise Refused(Reason.REVOKED, "that capability is revoked", hint="share anew")
        if grant.ended_at is not None or grant.expires_at <= now:
            raise Refused(Reason.EXPIRED, "that capability has expired", hint="share anew")
        self._membership.may_grant(grant.holder)
        decision = decide(
            ShareRequest(
                classifications=(terms.classification,),
                duration_ms=lasting,
                opens=opens,
                rendition=terms.rendition,
                watermark=terms.watermark or None,
                rights=terms.rights,
                lease_ms=terms.lease,
            ),
            holder_role=self._membership.role_of(grant.holder) or "guest",
            sharer_role=self._membership.role_of(self._context.me) or "guest",
        )
        if isinstance(decision, Deny):
            raise Refused(Reason.POLICY, decision.reason, hint=decision.hint)
