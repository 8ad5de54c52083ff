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
    """``capability``, ``manifest``, ``amendment``, ``revocation``, ``receipt`` or ``proposal``."""
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


def drop_body(db: Connection, body: bytes) -> None:
    """Forget a proposal that waits for anybody: it has more signatures now."""
    db.execute("DELETE FROM outbox WHERE kind = 'proposal' AND body = ?", (body,))


def drop_for_former(db: Connection, peer: bytes) -> None:
    """Forget what waits for somebody who is a member no more, but for revocations."""
    db.execute("DELETE FROM outbox WHERE peer = ? AND kind != 'revocation'", (peer,))


# Sealed copies that a rendezvous keeps for a peer who is away -------------------------------------


def to_mail(
    db: Connection, peer: bytes, *, before: int, limit: int, manifests: int
) -> list[OutboxRow]:
    """Return what waits for a peer and was not mailed since a moment, in order, manifests last.

    Of manifests no more than would make ``manifests`` with those that were mailed.
    """
    rows = db.execute(
        "SELECT message_id, kind, body, capability_id FROM outbox"
        " WHERE peer = ? AND kind != 'manifest' AND coalesce(mailed_at, 0) <= ?"
        " ORDER BY message_id LIMIT ?",
        (peer, before, limit),
    ).fetchall()
    rows += db.execute(
        "SELECT message_id, kind, body, capability_id FROM outbox"
        " WHERE peer = ? AND kind = 'manifest' AND coalesce(mailed_at, 0) <= ?"
        " ORDER BY message_id LIMIT max(0, ? - (SELECT count(*) FROM outbox"
        "  WHERE peer = ? AND kind = 'manifest' AND mailed_at > ?))",
        (peer, before, manifests, peer, before),
    ).fetchall()
    return [as_row(OutboxRow, row) for row in rows]


def mailed(db: Connection, message_id: int, now: int) -> None:
    """Note that a rendezvous keeps a copy of a statement, which stays until acknowledged."""
    db.execute("UPDATE outbox SET mailed_at = ? WHERE message_id = ?", (now, message_id))


def is_mailed(db: Connection, peer: bytes, capability_id: bytes) -> bool:
    """Say whether a rendezvous keeps a copy of a capability that waits for a peer."""
    row = db.execute(
        "SELECT 1 FROM outbox WHERE peer = ? AND capability_id = ? AND kind = 'capability'"
        " AND mailed_at IS NOT NULL",
        (peer, capability_id),
    ).fetchone()
    return row is not None
