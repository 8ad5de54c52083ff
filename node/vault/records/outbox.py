"""Statements on their way to a peer, kept until the peer has stored them.

Belongs here: the outbox table.
Never here: sending (``services.delivery``).
"""

from __future__ import annotations

from dataclasses import dataclass

from node.vault.records import Connection, as_row


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One statement for one peer."""

    message_id: int
    kind: str
    """``capability``, ``manifest``, ``amendment``, ``revocation`` or ``receipt``."""
    body: bytes
    capability_id: bytes | None


def put(
    db: Connection, *, peer: bytes, kind: str, body: bytes, capability_id: bytes | None, now: int
) -> None:
    """Queue a statement behind those that wait for the peer."""
    db.execute(
        "INSERT INTO outbox (peer, kind, body, capability_id, created_at) VALUES (?, ?, ?, ?, ?)",
        (peer, kind, body, capability_id, now),
    )


def waiting(db: Connection, peer: bytes, *, limit: int) -> list[OutboxRow]:
    """Return what waits for a peer, in order, but revocations of what was delivered first."""
    rows = db.execute(
        "SELECT message_id, kind, body, capability_id FROM outbox"
        " WHERE peer = ? ORDER BY kind = 'revocation' AND NOT EXISTS (SELECT 1 FROM outbox earlier"
        "  WHERE earlier.kind = 'capability' AND earlier.capability_id = outbox.capability_id"
        "  AND earlier.peer = outbox.peer) DESC, message_id LIMIT ?",
        (peer, limit),
    ).fetchall()
    return [as_row(OutboxRow, row) for row in rows]


def delivered(db: Connection, message_ids: list[int]) -> None:
    """Forget statements that the peer has stored."""
    db.executemany("DELETE FROM outbox WHERE message_id = ?", [(one,) for one in message_ids])


def drop_undelivered(db: Connection, capability_id: bytes) -> None:
    """Forget what waits of a capability that is over, but for its revocation and receipts."""
    db.execute(
        "DELETE FROM outbox WHERE capability_id = ? AND kind IN ('manifest', 'amendment')",
        (capability_id,),
    )
