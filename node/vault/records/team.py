"""Rows of the roster's versions, the peers and their addresses.

Belongs here: reading and writing the team's tables.
Never here: the roster's rules (``protocol.roster``) or connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node.vault.records import Connection, as_row, get_meta, set_meta


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRow:
    """A next version of the roster that lacks signatures."""

    hash: bytes
    signed: bytes
    received_at: int


# The roster -------------------------------------------------------------------------------------


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


def rival_versions(db: Connection) -> list[bytes]:
    """Return every version of the team's other history, ascending; none where there is no such."""
    rows = db.execute("SELECT signed FROM roster_rivals ORDER BY version")
    return [signed for (signed,) in rows.fetchall()]


def set_rival(db: Connection, versions: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Keep (version, hash, signed) of another history of the team instead of the one before."""
    db.execute("DELETE FROM roster_rivals")
    db.executemany("INSERT INTO roster_rivals (version, hash, signed) VALUES (?, ?, ?)", versions)


def proposals(db: Connection) -> list[ProposalRow]:
    """Return the versions that lack signatures, oldest first."""
    rows = db.execute(
        "SELECT hash, signed, received_at FROM roster_proposals ORDER BY received_at, hash"
    )
    return [as_row(ProposalRow, row) for row in rows.fetchall()]


def put_proposal(db: Connection, row: ProposalRow) -> None:
    """Keep a version that lacks signatures, with those that it has by now."""
    db.execute(
        "INSERT INTO roster_proposals (hash, signed, received_at) VALUES (?, ?, ?)"
        " ON CONFLICT (hash) DO UPDATE SET signed = excluded.signed",
        (row.hash, row.signed, row.received_at),
    )


def drop_proposals(db: Connection) -> None:
    """Forget every version that lacks signatures, and what waits of them for other nodes."""
    db.execute("DELETE FROM roster_proposals")
    db.execute("DELETE FROM outbox WHERE kind = 'proposal'")


# Peers ------------------------------------------------------------------------------------------


def known_peers(db: Connection) -> set[bytes]:
    """Return everybody whose addresses are known or for whom a statement waits."""
    rows = db.execute("SELECT fingerprint FROM peer_addresses UNION SELECT peer FROM outbox")
    return {fingerprint for (fingerprint,) in rows.fetchall()}


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


def address_rows(db: Connection) -> dict[bytes, list[tuple[str, int, str]]]:
    """Return (host, port, source) of every peer's addresses, the oldest first."""
    found: dict[bytes, list[tuple[str, int, str]]] = {}
    rows = db.execute("SELECT fingerprint, host, port, source FROM peer_addresses ORDER BY rowid")
    for fingerprint, host, port, source in rows.fetchall():
        found.setdefault(fingerprint, []).append((host, port, source))
    return found


def keep_seen(db: Connection, fingerprint: bytes, host: str, port: int, *, most: int) -> None:
    """Remember where a peer was reached on a network, and forget older ones over ``most``.

    An address that a person or a file told of stays what it is.
    """
    db.execute("INSERT OR IGNORE INTO peers (fingerprint) VALUES (?)", (fingerprint,))
    db.execute(
        "DELETE FROM peer_addresses WHERE fingerprint = ? AND host = ? AND port = ?"
        " AND source = 'seen'",
        (fingerprint, host, port),
    )
    db.execute(
        "INSERT OR IGNORE INTO peer_addresses (fingerprint, host, port, source)"
        " VALUES (?, ?, ?, 'seen')",
        (fingerprint, host, port),
    )
    db.execute(
        "DELETE FROM peer_addresses WHERE fingerprint = ? AND source = 'seen' AND rowid NOT IN"
        " (SELECT rowid FROM peer_addresses WHERE fingerprint = ? AND source = 'seen'"
        " ORDER BY rowid DESC LIMIT ?)",
        (fingerprint, fingerprint, most),
    )


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


NEXT_CHANGE = (
    "1 + max(coalesce((SELECT max(change) FROM peer_heads), 0),"
    " coalesce((SELECT max(change) FROM alarms), 0))"
)
"""SQL of the number of a change to what is told of others' logs."""


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
        "INSERT INTO peer_heads (origin, fingerprint, size, note, seen_at, change)"
        f" VALUES (?, ?, ?, ?, ?, {NEXT_CHANGE})"
        " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, note = excluded.note,"
        " seen_at = excluded.seen_at,"
        " change = CASE excluded.size WHEN size THEN change ELSE excluded.change END"
        " WHERE excluded.size >= size",
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


_RENDEZVOUS = "rendezvous"
"""Key in ``meta`` of the address in use; empty where one was taken out of use."""


def rendezvous(db: Connection) -> str:
    """Return the address of the rendezvous in use, or an empty text."""
    kept = get_meta(db, _RENDEZVOUS)
    return "" if kept is None else kept.decode()


def set_rendezvous(db: Connection, text: str) -> None:
    """Use the rendezvous of this address from now on; an empty text stands for none."""
    set_meta(db, _RENDEZVOUS, text.encode())
