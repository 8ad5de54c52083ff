"""The issuer's side of an open: check, count, log, commit, release, in that order.

Belongs here: the one transaction that decides an open, and the answer after it.
Never here: the rules themselves (``protocol.capability.opening``), the holder's side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from node.services.clock import ClockGuard
from node.services.context import Context
from node.services.entries import draft
from node.services.loops import forever
from node.services.membership import Membership
from node.services.peering import Link
from node.services.witnessing import Witnessing
from node.vault import log_store
from node.vault.database import Committed, WriteTransaction
from node.vault.errors import VaultError
from node.vault.keyslots import KeyslotRecord
from node.vault.records import Connection, library
from node.vault.records import grants as rows
from node.vault.records.grants import GrantImageRow, GrantRow, ReleaseRow
from protocol.capability.keys import factor_matches, issuer_share
from protocol.capability.opening import (
    GrantState,
    OpenBody,
    check,
    check_redelivery,
    open_nonce,
    verify_open_untrusted,
)
from protocol.capability.terms import Terms, parse_terms_untrusted
from protocol.errors import Reason, RemoteError
from protocol.limits import DENIALS_LOGGED_PER_MINUTE
from protocol.messages import Denied, OpenRequest, Released
from protocol.policy import allows_open

_MINUTE_MS: Final = 60_000
_WRONG_FACTORS_PER_MINUTE: Final = 5
"""Guesses of a second factor that are looked at, per holder key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """An open that was counted or is delivered again; its entry is in the log by now."""

    incarnation: int
    log_index: int
    opens_left: int


class Opening:
    """Answers open requests of members."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        witnessing: Witnessing,
        clock_guard: ClockGuard,
    ) -> None:
        self._context = context
        self._membership = membership
        self._witnessing = witnessing
        self._clock_guard = clock_guard
        self._wrong_factors: dict[bytes, deque[int]] = {}
        self._summaries: asyncio.Task[None] | None = None
        self._suppressed = asyncio.Event()

    def start(self) -> None:
        """Begin to write the counted summaries of denials, an earlier run's included."""
        self._summaries = asyncio.create_task(forever(self._summarise, "denials"), name="denials")

    async def close(self) -> None:
        """Stop; summaries that are due come at the next start."""
        if self._summaries is not None:
            self._summaries.cancel()
            await asyncio.gather(self._summaries, return_exceptions=True)

    async def answer(self, link: Link, request: OpenRequest) -> Released | Denied:
        """Answer one open request with the issuer's share or the one reason why not."""
        try:
            body = verify_open_untrusted(
                request.signed,
                holder=link.member,
                team_id=self._membership.team_id,
                handshake_hash=link.session.handshake_hash,
            )
        except RemoteError:
            return await self._deny_unread(link, Reason.UNKNOWN)
        grant = await self._context.database.read(
            lambda db: rows.grant_by_hash(db, body.capability_hash)
        )
        if grant is None or grant.holder != link.member.fingerprint:
            return await self._deny_unread(link, Reason.UNKNOWN)
        record = await self._keyslot(grant)
        # Without its keyslot nothing can be released, whatever the factor: that is said instead.
        factor_ok = record is None or self._factor_ok(link, grant, record, body)
        committed = await self._context.database.write(
            lambda transaction: self._decide(
                transaction, link, body, factor_ok=factor_ok, has_key=record is not None
            )
        )
        outcome = committed.value
        if isinstance(outcome, Reason):
            self._context.events.tell(
                "denied", holder=link.member.name, reason=outcome.value,
                capability=grant.capability_id.hex(),
            )  # fmt: skip
            return Denied(reason=outcome.value)
        assert record is not None, "what has no key is refused"
        return await self._release(grant, body, record, outcome, committed)

    # The decision ---------------------------------------------------------------------------------

    def _decide(
        self,
        transaction: WriteTransaction,
        link: Link,
        body: OpenBody,
        *,
        factor_ok: bool,
        has_key: bool,
    ) -> _Counted | Reason:
        """Check, count and log one open inside the writer's transaction."""
        db = transaction.connection
        grant = rows.grant_by_hash(db, body.capability_hash)
        assert grant is not None, "grants are never deleted"
        terms = parse_terms_untrusted(grant.terms)
        image = rows.grant_image_by_rendition(db, grant.capability_id, body.rendition_id)
        earlier = rows.release(db, body.open_id)
        now = self._context.clock.now()
        barred = self._membership.may_release(grant.holder)
        clock_ok = self._clock_guard.trusted(high_water=transaction.clock_high_water, now=now)
        standing: dict[str, Any] = {
            "now": now,
            # A clock that is wrong cannot tell whether the roster has expired: it is said instead.
            "member": barred is not Reason.NOT_MEMBER or not clock_ok,
            "clock_ok": clock_ok,
            "policy_ok": barred is not Reason.POLICY and self._policy_ok(db, grant, terms, image),
            "factor_ok": factor_ok,
        }
        state = self._state(db, grant, terms, image, body)
        if earlier is None:
            reason = check(state, **standing)
        else:
            reason = check_redelivery(
                state if self._same_open(earlier, grant, body) else None,
                **standing,
                released_at=earlier.released_at,
                opened=earlier.opened_at is not None,
            )
        if reason is None and (self._witnessing.behind or not has_key):
            # A restored node appends and releases nothing.
            reason = Reason.NOT_READY
        if reason is not None:
            self._log_denial(transaction, link, reason, grant.capability_id, image, now)
            return reason
        assert image is not None, "check refuses what is unknown"
        if earlier is not None:
            if now - (earlier.redelivered_at or 0) > _MINUTE_MS:
                # Once a minute: a holder that asks in a loop does not fill the log.
                self._log(transaction, "redelivered", link, grant, image, body, now)
                rows.mark_redelivered(db, body.open_id, now)
            return _Counted(
                incarnation=earlier.incarnation,
                log_index=earlier.log_index,
                opens_left=_left(terms, grant, image),
            )
        left = rows.count_open(
            db,
            grant.capability_id,
            image.image_id,
            limit=terms.max_opens + grant.opens_added,
            whole=terms.scope == "capability",
            now=now,
        )
        assert left is not None, "checked in this transaction, and there is one writer"
        index = self._log(transaction, "released", link, grant, image, body, now)
        rows.insert_release(
            db,
            ReleaseRow(
                open_id=body.open_id,
                capability_id=grant.capability_id,
                image_id=image.image_id,
                rendition_id=body.rendition_id,
                incarnation=transaction.incarnation,
                log_index=index,
                released_at=now,
                opened_at=None,
                saved_at=None,
                redelivered_at=None,
            ),
        )
        return _Counted(incarnation=transaction.incarnation, log_index=index, opens_left=left)

    def _state(
        self,
        db: Connection,
        grant: GrantRow,
        terms: Terms,
        image: GrantImageRow | None,
        body: OpenBody,
    ) -> GrantState | None:
        """Return what the index says, None where the holder names bytes that were not granted."""
        if image is None or rows.rendition_sha256(db, body.rendition_id) != body.blob_sha256:
            return None
        return GrantState(
            revoked=grant.revoked_at is not None,
            not_before=terms.not_before,
            # What has ended stays ended, also where the clock steps back a little.
            expires_at=grant.expires_at if grant.ended_at is None else 0,
            max_opens=terms.max_opens,
            opens_added=grant.opens_added,
            scope=terms.scope,
            opens_of_image=image.opens,
            opens_of_capability=grant.opens,
            rendition_ready=image.manifest is not None,
        )

    def _policy_ok(
        self, db: Connection, grant: GrantRow, terms: Terms, image: GrantImageRow | None
    ) -> bool:
        """Say whether today's policy still allows what was granted, classified as it is today."""
        row = None if image is None else library.image(db, image.image_id)
        return row is not None and allows_open(
            terms,
            classification=row.classification,
            holder_role=self._membership.role_of(grant.holder) or "guest",
        )

    def _same_open(self, earlier: ReleaseRow, grant: GrantRow, body: OpenBody) -> bool:
        """Say whether a known open id asks again for what it was released for."""
        return (earlier.capability_id, earlier.rendition_id) == (
            grant.capability_id,
            body.rendition_id,
        )

    def _log(
        self,
        transaction: WriteTransaction,
        event: str,
        link: Link,
        grant: GrantRow,
        image: GrantImageRow,
        body: OpenBody,
        now: int,
    ) -> int:
        return transaction.append(
            draft(
                event,
                actor=link.member.fingerprint,
                about=link.member.fingerprint,
                # The nonce lets the holder find its own open in this log, and nobody else.
                nonce=open_nonce(body.capability_hash, body.open_id)
                if event == "released"
                else None,
                references={
                    "holder": link.member.fingerprint,
                    "image": image.image_id,
                    "capability": grant.capability_id,
                },
            )
        )

    # Denials --------------------------------------------------------------------------------------

    async def _deny_unread(self, link: Link, reason: Reason) -> Denied:
        """Deny and log a request that names nothing of ours."""
        now = self._context.clock.now()
        await self._context.database.write(
            lambda transaction: self._log_denial(transaction, link, reason, None, None, now)
        )
        return Denied(reason=reason.value)

    def _log_denial(
        self,
        transaction: WriteTransaction,
        link: Link,
        reason: Reason,
        capability_id: bytes | None,
        image: GrantImageRow | None,
        now: int,
    ) -> None:
        """Log a denial, or count it where the holder's minute is full (4.5)."""
        db, holder = transaction.connection, link.member.fingerprint
        start, logged, suppressed = rows.denial(db, holder)
        if not start <= now < start + _MINUTE_MS:
            if suppressed:
                self._log_summary(transaction, holder, suppressed)
            start, logged, suppressed = now, 0, 0
        if logged >= DENIALS_LOGGED_PER_MINUTE:
            rows.set_denial(
                db, holder, window_start=start, logged=logged, suppressed=suppressed + 1
            )
            self._suppressed.set()
            return
        rows.set_denial(db, holder, window_start=start, logged=logged + 1, suppressed=suppressed)
        references = {"holder": holder}
        if image is not None:
            references["image"] = image.image_id
        if capability_id is not None:
            references["capability"] = capability_id
        transaction.append(
            draft(
                "denied",
                actor=holder,
                about=holder,
                references=references,
                facts={"reason": reason.value},
            )
        )

    def _log_summary(self, transaction: WriteTransaction, holder: bytes, count: int) -> None:
        transaction.append(
            draft(
                "denied",
                actor=holder,
                about=holder,
                references={"holder": holder},
                facts={"count": str(count), "reason": "more denials in one minute"},
            )
        )

    async def _summarise(self) -> None:
        """Write the counted summary of each window of denials that is over."""
        while True:
            self._suppressed.clear()
            while await self._context.database.read(
                lambda db: rows.suppressed_denials(db, before=2**62)
            ):
                now = self._context.clock.now()

                def job(transaction: WriteTransaction, now: int = now) -> None:
                    over = rows.suppressed_denials(transaction.connection, now - _MINUTE_MS)
                    for holder, count in over:
                        self._log_summary(transaction, holder, count)
                        rows.set_denial(
                            transaction.connection, holder, window_start=0, logged=0, suppressed=0
                        )

                if await self._context.database.read(
                    partial(rows.suppressed_denials, before=now - _MINUTE_MS)
                ):
                    await self._context.database.write(job)
                await asyncio.sleep(1)
            await self._suppressed.wait()

    # The second factor ----------------------------------------------------------------------------

    def _factor_ok(
        self, link: Link, grant: GrantRow, record: KeyslotRecord, body: OpenBody
    ) -> bool:
        """Compare the proof of the second factor; beyond a few wrong ones a minute, refuse all."""
        if parse_terms_untrusted(grant.terms).factor_salt is None:
            return True
        now = self._context.clock.monotonic()
        wrong = self._wrong_factors.setdefault(link.member.fingerprint, deque())
        while wrong and wrong[0] <= now - _MINUTE_MS:
            wrong.popleft()
        if len(wrong) >= _WRONG_FACTORS_PER_MINUTE:
            return False
        if factor_matches(
            record.proof_key,
            body.factor_proof,
            handshake_hash=body.handshake_hash,
            open_id=body.open_id,
        ):
            return True
        wrong.append(now)
        return False

    # The release ----------------------------------------------------------------------------------

    async def _keyslot(self, grant: GrantRow) -> KeyslotRecord | None:
        if grant.slot is None:
            return None
        with contextlib.suppress(VaultError):
            return await asyncio.to_thread(
                self._context.vault.keyslots.read, grant.slot, grant.capability_id
            )
        return None

    async def _release(
        self,
        grant: GrantRow,
        body: OpenBody,
        record: KeyslotRecord,
        counted: _Counted,
        committed: Committed[_Counted | Reason],
    ) -> Released:
        """Return the share with the proof that its entry stands in the committed log."""
        # With a new log every capability of the old one is over, so nothing of it is redelivered.
        assert counted.incarnation == committed.incarnation, "refused before"

        def prove(db: Connection) -> tuple[bytes, tuple[bytes, ...]]:
            index, size = counted.log_index, committed.size
            entry = log_store.entry(db, index, counted.incarnation)
            assert entry is not None, "committed a moment ago"
            proof = log_store.inclusion_proof(db, index, size, counted.incarnation)
            return entry.entry, tuple(proof)

        entry, proof = await self._context.database.read(prove)
        self._context.events.tell("released", capability=grant.capability_id.hex())
        return Released(
            issuer_share=issuer_share(record.slot_secret, body.rendition_id),
            entry=entry,
            index=counted.log_index,
            proof=proof,
            checkpoint=committed.head,
            opens_left=counted.opens_left,
        )


def _left(terms: Terms, grant: GrantRow, image: GrantImageRow) -> int:
    used = grant.opens if terms.scope == "capability" else image.opens
    return max(0, terms.max_opens + grant.opens_added - used)
