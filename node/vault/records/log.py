"""Which log entries concern whom.

Belongs here: finding entries by subject and time.
Never here: proofs and values (``log_store``), appending (``log_writer``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.vault.log_store import StoredEntry, stored_entry
from node.vault.records import Connection

_CONCERNS = (
    "(incarnation, log_index) IN (SELECT v.incarnation, v.log_index"
    " FROM log_values v JOIN log_subjects s USING (subject_id)"
    " WHERE s.kind = ? AND s.reference = ?)"
)


def newest(
    db: Connection,
    *,
    subjects: list[tuple[str, bytes]],
    since: int | None,
    limit: int,
    until: int | None = None,
    events: Sequence[str] = (),
) -> list[StoredEntry]:
    """Return the newest entries about all these (kind, reference), oldest first.

    ``since`` and ``until`` (Unix milliseconds, the first included, the last not) bound their
    times; with ``events`` they are of one of these.
    """
    where, values = _where(subjects, since, until, events)
    rows = db.execute(
        f"SELECT incarnation, log_index, time, event, entry FROM log_entries {where}"
        " ORDER BY incarnation DESC, log_index DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [stored_entry(row) for row in reversed(rows)]


def page_of(
    db: Connection,
    *,
    subjects: list[tuple[str, bytes]],
    since: int | None,
    until: int | None,
    events: Sequence[str],
    offset: int,
    limit: int,
) -> tuple[int, list[StoredEntry]]:
    """Return how many entries match as `newest` has it, and some of them, newest first."""
    where, values = _where(subjects, since, until, events)
    (total,) = db.execute(f"SELECT count(*) FROM log_entries {where}", values).fetchone()
    rows = db.execute(
        f"SELECT incarnation, log_index, time, event, entry FROM log_entries {where}"
        " ORDER BY incarnation DESC, log_index DESC LIMIT ? OFFSET ?",
        (*values, limit, offset),
    ).fetchall()
    return total, [stored_entry(row) for row in rows]


def page(db: Connection, *, offset: int, limit: int) -> tuple[int, list[StoredEntry]]:
    """Return how many entries there are, and some of them, newest first.

    It goes straight to the place: heads say how long each log is.
    """
    sizes = db.execute(
        "SELECT incarnation, size FROM log_head ORDER BY incarnation DESC"
    ).fetchall()
    found: list[StoredEntry] = []
    for incarnation, size in sizes:
        if offset < size:
            rows = db.execute(
                "SELECT incarnation, log_index, time, event, entry FROM log_entries"
                " WHERE incarnation = ? AND log_index < ? ORDER BY log_index DESC LIMIT ?",
                (incarnation, size - offset, limit - len(found)),
            ).fetchall()
            found += [stored_entry(row) for row in rows]
        offset = max(0, offset - size)
    return sum(size for _, size in sizes), found


def _where(
    subjects: list[tuple[str, bytes]],
    since: int | None,
    until: int | None,
    events: Sequence[str],
) -> tuple[str, list[Any]]:
    """Return the condition that entries match, and its values."""
    conditions = [_CONCERNS] * len(subjects)
    values: list[Any] = [part for subject in subjects for part in subject]
    if since is not None:
        conditions.append("time >= ?")
        values.append(since)
    if until is not None:
        conditions.append("time < ?")
        values.append(until)
    if events:
        conditions.append(f"event IN ({', '.join('?' * len(events))})")
        values.extend(events)
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), values


def places_since(db: Connection, event: str, since: int) -> list[tuple[int, int]]:
    """Return (incarnation, index) of the entries of an event since a time, oldest first.

    The time is in Unix milliseconds.
    """
    return db.execute(
        "SELECT incarnation, log_index FROM log_entries WHERE event = ? AND time >= ?"
        " ORDER BY incarnation, log_index",
        (event, since),
    ).fetchall()


def concerns(db: Connection, entry: StoredEntry, subjects: list[tuple[str, bytes]]) -> bool:
    """Say whether an entry is about all these (kind, reference)."""
    return all(
        db.execute(
            f"SELECT 1 FROM log_entries WHERE incarnation = ? AND log_index = ? AND {_CONCERNS}",
            (entry.incarnation, entry.index, *subject),
        ).fetchone()
        is not None
        for subject in subjects
    )


# Receipts ---------------------------------------------------------------------------------------


def put_receipt(
    db: Connection, *, incarnation: int, index: int, holder: bytes, signed: bytes
) -> None:
    """Keep what a holder signed beside the entry that says so."""
    db.execute(
        "INSERT INTO receipts (incarnation, log_index, holder, signed) VALUES (?, ?, ?, ?)",
        (incarnation, index, holder, signed),
    )


def receipt(db: Connection, entry: StoredEntry) -> tuple[bytes, bytes] | None:
    """Return (holder, signed bytes) of the receipt that an entry is about, None for no such."""
    row: tuple[bytes, bytes] | None = db.execute(
        "SELECT holder, signed FROM receipts WHERE incarnation = ? AND log_index = ?",
        (entry.incarnation, entry.index),
    ).fetchone()
    return row
