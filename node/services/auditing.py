"""The own log as people read it, receipts taken into it, and its verification.

Belongs here: entries in words, filters, following, verifying, receipts of holders.
Never here: appending what other services do, formats, or proofs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from node.services.context import Context
from node.services.entries import draft, facts_of
from node.services.library import Library, bounded
from node.services.membership import Membership
from node.services.moments import parse_moment, rfc3339
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.log_store import StoredEntry
from node.vault.records import Connection, library, log
from node.vault.records import grants as rows
from node.vault.records.grants import ReleaseRow
from protocol.audit.checkpoint import origin_of
from protocol.audit.tree import leaf_hash
from protocol.audit.verify import verify_log
from protocol.capability.statements import Receipt, verify_receipt_untrusted
from protocol.errors import Reason, Refused, RemoteError
from protocol.identity import Identity, format_fingerprint
from protocol.messages import Answer, Done

_FOLLOW_PAUSE_S: Final = 0.2
"""How often a follower looks for entries it was not told of."""


class Auditing:
    """Reads and verifies the own log; takes in what holders sign."""

    def __init__(self, context: Context, membership: Membership, library_service: Library) -> None:
        self._context = context
        self._membership = membership
        self._library = library_service

    # Receipts -------------------------------------------------------------------------------------

    async def take_receipt(self, holder: Identity, signed: bytes) -> Answer:
        """Verify a holder's receipt and append it to the log; Done once it is durable."""
        try:
            receipt = verify_receipt_untrusted(
                signed, holder=holder, team_id=self._membership.team_id
            )
        except RemoteError:
            raise Refused(Reason.UNKNOWN) from None
        grant = await self._context.database.read(
            lambda db: rows.grant_by_hash(db, receipt.capability_hash)
        )
        if grant is None or grant.holder != holder.fingerprint:
            raise Refused(Reason.UNKNOWN)
        now = self._context.clock.now()
        committed = await self._context.database.write(
            lambda transaction: self._take(transaction, holder, grant.capability_id, receipt, now)
        )
        if not committed.value:
            raise Refused(Reason.UNKNOWN)
        self._context.events.tell(
            receipt.event, holder=holder.name, capability=grant.capability_id.hex()
        )
        return Done()

    def _take(
        self,
        transaction: WriteTransaction,
        holder: Identity,
        capability_id: bytes,
        receipt: Receipt,
        now: int,
    ) -> bool:
        """Apply a receipt once; False where it speaks of what never was."""
        db = transaction.connection
        event = "delivered" if receipt.event == "received" else receipt.event
        references = {"holder": holder.fingerprint}
        if receipt.open_id is not None:
            release = rows.release(db, receipt.open_id)
            if release is None or not self._names_release(db, receipt, release, capability_id):
                return False
            if (release.opened_at if event == "opened" else release.saved_at) is not None:
                return True
            note = rows.mark_opened if event == "opened" else rows.mark_saved
            note(db, receipt.open_id, now)
            references["image"] = release.image_id
        else:
            grant = rows.grant(db, capability_id)
            assert grant is not None, "grants are never deleted"
            if event == "delivered":
                if grant.received_at is not None:
                    return True
                rows.mark_received(db, capability_id, now)
            else:
                if grant.revoked_at is None:
                    return False
                if grant.revocation_seen is not None:
                    return True
                rows.mark_revocation_seen(db, capability_id, now)
        transaction.append(
            draft(
                event,
                actor=holder.fingerprint,
                about=holder.fingerprint,
                references={**references, "capability": capability_id},
                facts={"release": str(receipt.index)} if receipt.open_id is not None else {},
            )
        )
        return True

    def _names_release(
        self, db: Connection, receipt: Receipt, release: ReleaseRow, capability_id: bytes
    ) -> bool:
        """Say whether a receipt names the release's own entry in this log, and nothing else."""
        entry = log_store.entry(db, release.log_index)
        return (
            entry is not None
            and (
                receipt.origin,
                receipt.index,
                receipt.leaf_hash,
                receipt.image_id,
            )
            == (
                origin_of(self._context.me),
                release.log_index,
                leaf_hash(entry.entry),
                release.image_id,
            )
            and release.capability_id == capability_id
        )

    # Reading --------------------------------------------------------------------------------------

    async def entries(
        self, *, who: str | None, image: str | None, since: str | None, limit: int
    ) -> dict[str, Any]:
        """Return the newest entries that match, oldest first."""
        subjects = await self._subjects(who, image)
        start = None if since is None else parse_moment(since, now=self._context.clock.now())

        def query(db: Connection) -> list[dict[str, Any]]:
            found = log.newest(db, subjects=subjects, since=start, limit=bounded(limit))
            return [self._describe(db, one) for one in found]

        return {"entries": await self._context.database.read(query)}

    async def follow(
        self, *, who: str | None, image: str | None, since: str | None, limit: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the entries that match, then new ones as they are committed, without end."""
        subjects = await self._subjects(who, image)
        start = None if since is None else parse_moment(since, now=self._context.clock.now())

        def begin(db: Connection) -> tuple[int, list[dict[str, Any]]]:
            found = log.newest(db, subjects=subjects, since=start, limit=bounded(limit))
            head = log_store.head(db)
            return 0 if head is None else head.size, [self._describe(db, one) for one in found]

        position, first = await self._context.database.read(begin)
        for entry in first:
            yield entry
        while True:

            def query(db: Connection, start: int = position) -> tuple[int, list[dict[str, Any]]]:
                found = log_store.entries(db, start=start, limit=256)
                matching = [one for one in found if log.concerns(db, one.index, subjects)]
                end = found[-1].index + 1 if found else start
                return end, [self._describe(db, one) for one in matching]

            position, new = await self._context.database.read(query)
            for entry in new:
                yield entry
            if not new:
                await asyncio.sleep(_FOLLOW_PAUSE_S)

    async def _subjects(self, who: str | None, image: str | None) -> list[tuple[str, bytes]]:
        subjects = []
        if who is not None:
            me = self._context.identity.public
            person = me if who == me.name else self._membership.resolve(who)
            subjects.append(("member", person.fingerprint))
        if image is not None:
            row = await self._library.resolve_image(image)
            subjects.append(("image", row.image_id))
        return subjects

    def _describe(self, db: Connection, entry: StoredEntry) -> dict[str, Any]:
        values = {name: one.value for name, one in log_store.values(db, entry.index).items()}
        references, facts = facts_of(values)
        actor = references.get("holder") if entry.event in _BY_HOLDER else None
        if actor is None and entry.event in _BY_ISSUER:
            actor = references.get("issuer")
        subject = None
        if "image" in references:
            row = library.image(db, references["image"])
            subject = references["image"].hex()[:8] if row is None else row.name
        elif "capability" in references:
            subject = f"capability {references['capability'].hex()[:8]}"
        elif "member" in references:
            subject = self._membership.name_of(references["member"])
        return {
            "index": entry.index,
            "time": rfc3339(entry.time),
            "event": entry.event,
            "actor": self._membership.name_of(actor or self._context.me),
            "subject": subject,
            "detail": self._detail(references, facts),
        }

    def _detail(self, references: dict[str, bytes], facts: dict[str, str]) -> dict[str, str]:
        detail = dict(facts)
        for field in ("holder", "issuer", "member"):
            if field in references:
                detail[field] = self._membership.name_of(references[field])
        for field in ("image", "capability"):
            if field in references:
                detail[field] = references[field].hex()
        return detail

    # Verifying ------------------------------------------------------------------------------------

    async def verify(self) -> dict[str, Any]:
        """Verify every entry of the own log against its signed head."""
        public = self._context.identity.public
        origin = origin_of(public.fingerprint)

        def query(db: Connection) -> tuple[list[bytes], bytes]:
            head = log_store.head(db)
            if head is None:
                return [], b""
            return [one.entry for one in log_store.walk(db)][: head.size], head.note

        entries, head = await self._context.database.read(query)
        if not head:
            return {"ok": True, "origin": origin, "size": 0, "root": None, "cosigned_by": [],
                    "unwitnessed": 0, "problems": []}  # fmt: skip
        report = await asyncio.to_thread(
            verify_log, entries, head, origin=origin, log_public=public.log_key
        )
        return {
            "ok": report.ok,
            "origin": origin,
            "size": report.size,
            "root": None if report.root is None else report.root.hex(),
            "cosigned_by": [],
            "unwitnessed": report.size,
            "problems": [
                {"index": one.index, "code": one.code, "message": one.message}
                for one in report.problems
            ],
            "flagged": [
                {"index": one.index, "code": one.code, "message": one.message}
                for one in report.flagged
            ],
            "log": format_fingerprint(public.fingerprint),
        }


_BY_HOLDER: Final = frozenset(
    ["released", "redelivered", "denied", "delivered", "opened", "saved", "revocation_seen"]
)
"""Events in the issuer's log that the holder brought about."""

_BY_ISSUER: Final = frozenset(["received", "revocation_seen", "amended"])
"""Events in the holder's log that the issuer brought about."""
