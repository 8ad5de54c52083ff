"""Receipts: what holders sign of what they were given, taken into the own log and kept.

Belongs here: checking a receipt against what was given, and its one entry.
Never here: reading the log (``log_reading``), verifying it (``log_verifying``).
"""

from __future__ import annotations

from node.services.context import Context
from node.services.entries import draft
from node.services.membership import Membership
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection, log
from node.vault.records import grants as rows
from node.vault.records.grants import ReleaseRow
from protocol.audit.checkpoint import origin_of
from protocol.audit.tree import leaf_hash
from protocol.capability.statements import Receipt, verify_receipt_untrusted
from protocol.errors import Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.messages import Answer, Done


class Auditing:
    """Takes in what holders sign."""

    def __init__(self, context: Context, membership: Membership) -> None:
        self._context = context
        self._membership = membership

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
            lambda transaction: self._take(
                transaction, holder, grant.capability_id, receipt, signed, now
            )
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
        signed: bytes,
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
        index = transaction.append(
            draft(
                event,
                actor=holder.fingerprint,
                about=holder.fingerprint,
                references={**references, "capability": capability_id},
                facts={"release": str(receipt.index)} if receipt.open_id is not None else {},
            )
        )
        log.put_receipt(
            db,
            incarnation=transaction.incarnation,
            index=index,
            holder=holder.fingerprint,
            signed=signed,
        )
        return True

    def _names_release(
        self, db: Connection, receipt: Receipt, release: ReleaseRow, capability_id: bytes
    ) -> bool:
        """Say whether a receipt names the release's own entry in this log, and nothing else."""
        entry = log_store.entry(db, release.log_index, release.incarnation)
        return (
            entry is not None
            and (
                receipt.origin,
                receipt.index,
                receipt.leaf_hash,
                receipt.image_id,
            )
            == (
                origin_of(self._context.me, release.incarnation),
                release.log_index,
                leaf_hash(entry.entry),
                release.image_id,
            )
            and release.capability_id == capability_id
        )
