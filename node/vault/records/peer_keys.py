"""Rows of what peers said of their log keys.

Belongs here: that table.
Never here: whether a statement fits the others (``protocol.audit.log_keys``).
"""

from __future__ import annotations

from node.vault.records import Connection


def statements(db: Connection, fingerprint: bytes) -> list[bytes]:
    """Return the signed statements of a peer in their order."""
    rows = db.execute(
        "SELECT statement FROM peer_log_keys WHERE fingerprint = ? ORDER BY position",
        (fingerprint,),
    )
    return [bytes(statement) for (statement,) in rows.fetchall()]


def add_statement(db: Connection, fingerprint: bytes, position: int, signed: bytes) -> None:
    """Keep the next statement of a peer, at the position after those that are kept."""
    db.execute(
        "INSERT INTO peer_log_keys (fingerprint, position, statement) VALUES (?, ?, ?)",
        (fingerprint, position, signed),
    )
