"""Rows of the roster's versions, the peers and their addresses.

Belongs here: reading and writing the team's tables.
Never here: the roster's rules (``protocol.roster``) or connections.
"""

from __future__ import annotations

from node.vault.records import Connection


def roster_versions(db: Connection, *, after: int = 0) -> list[bytes]:
    """Return the exact signed rosters of the versions after one, ascending."""
    rows = db.execute(
        "SELECT signed FROM roster_versions WHERE version > ? ORDER BY version", (after,)
    )
    return [signed for (signed,) in rows.fetchall()]


def insert_roster(db: Connection, *, version: int, roster_hash: bytes, signed: bytes) -> None:
    """Keep a roster version; all are kept."""
    db.execute(
        "INSERT INTO roster_versions (version, hash, signed) VALUES (?, ?, ?)",
        (version, roster_hash, signed),
    )


def add_address(db: Connection, fingerprint: bytes, host: str, port: int, *, source: str) -> None:
    """Remember where a peer listens."""
    db.execute("INSERT OR IGNORE INTO peers (fingerprint) VALUES (?)", (fingerprint,))
    db.execute(
        "INSERT OR REPLACE INTO peer_addresses (fingerprint, host, port, source)"
        " VALUES (?, ?, ?, ?)",
        (fingerprint, host, port, source),
    )


def remove_addresses(db: Connection, fingerprint: bytes) -> int:
    """Forget where a peer listens; return how many addresses there were."""
    return db.execute("DELETE FROM peer_addresses WHERE fingerprint = ?", (fingerprint,)).rowcount


def addresses(db: Connection) -> dict[bytes, list[tuple[str, int]]]:
    """Return every peer's addresses, those a person added first."""
    found: dict[bytes, list[tuple[str, int]]] = {}
    rows = db.execute("SELECT fingerprint, host, port FROM peer_addresses ORDER BY source, rowid")
    for fingerprint, host, port in rows.fetchall():
        found.setdefault(fingerprint, []).append((host, port))
    return found


def seen(db: Connection, fingerprint: bytes, now: int) -> None:
    """Note when a peer was last in contact."""
    db.execute(
        "INSERT INTO peers (fingerprint, last_seen) VALUES (?, ?)"
        " ON CONFLICT (fingerprint) DO UPDATE SET last_seen = excluded.last_seen",
        (fingerprint, now),
    )


def last_seen(db: Connection) -> dict[bytes, int]:
    """Return when each peer was last in contact."""
    return dict(
        db.execute(
            "SELECT fingerprint, last_seen FROM peers WHERE last_seen IS NOT NULL"
        ).fetchall()
    )


def peer_head(db: Connection, origin: str) -> tuple[int, bytes] | None:
    """Return (size, note) of the newest verified head of a peer's log, or None."""
    row: tuple[int, bytes] | None = db.execute(
        "SELECT size, note FROM peer_heads WHERE origin = ?", (origin,)
    ).fetchone()
    return row


def set_peer_head(
    db: Connection, *, origin: str, fingerprint: bytes, size: int, note: bytes, now: int
) -> None:
    """Keep a peer's verified head with its log's signature; never a smaller one."""
    db.execute(
        "INSERT INTO peer_heads (origin, fingerprint, size, note, seen_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, note = excluded.note,"
        " seen_at = excluded.seen_at WHERE excluded.size >= size",
        (origin, fingerprint, size, note, now),
    )


def release_heads(db: Connection, origin: str) -> list[bytes]:
    """Return heads of a peer's releases that its log is not yet proven to extend."""
    rows = db.execute("SELECT note FROM release_heads WHERE origin = ? ORDER BY size", (origin,))
    return [note for (note,) in rows.fetchall()]


def add_release_head(db: Connection, *, origin: str, size: int, note: bytes) -> None:
    """Keep the head of a release until the peer's log is proven to extend it."""
    db.execute(
        "INSERT OR IGNORE INTO release_heads (origin, size, note) VALUES (?, ?, ?)",
        (origin, size, note),
    )


def remove_release_head(db: Connection, *, origin: str, note: bytes) -> None:
    """Forget a release's head that the peer's log extends."""
    db.execute("DELETE FROM release_heads WHERE origin = ? AND note = ?", (origin, note))
