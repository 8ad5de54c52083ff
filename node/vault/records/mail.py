"""Rows of the mail this node has dealt with.

Belongs here: which mail was seen, until it could not be replayed any more.
Never here: opening mail (``protocol.mail``) or what it says.
"""

from __future__ import annotations

from node.vault.records import Connection


def was_seen(db: Connection, message_id: bytes) -> bool:
    """Say whether a mail was dealt with before."""
    row = db.execute("SELECT 1 FROM mail_seen WHERE message_id = ?", (message_id,)).fetchone()
    return row is not None


def set_seen(db: Connection, message_id: bytes, *, expires_at: int) -> None:
    """Remember that a mail was dealt with."""
    db.execute(
        "INSERT OR IGNORE INTO mail_seen (message_id, expires_at) VALUES (?, ?)",
        (message_id, expires_at),
    )


def forget_expired(db: Connection, before: int) -> None:
    """Forget mail that expired before a moment: nobody opens it any more."""
    db.execute("DELETE FROM mail_seen WHERE expires_at < ?", (before,))
