"""Which log entries concern whom.

Belongs here: finding entries by subject, actor and time.
Never here: proofs and values (``log_store``), appending (``log_writer``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.vault.log_store import StoredEntry, pseudonym, stored_entry
from node.vault.records import Connection

_ABOUT = (
    "SELECT DISTINCT incarnation, log_index FROM log_values WHERE subject_id ="
    " (SELECT subject_id FROM log_subjects WHERE kind = ? AND reference = ?)"
)
_BY = (
    "SELECT incarnation, log_index FROM log_entries"
    " WHERE substr(entry, 11, 32) = ? AND substr(entry, 11, 32) >= x'30'"
)
"""An entry's bytes are canonical: who did it stands there at one place, in one spelling."""


def newest(
    db: Connection,
    *,
    subjects: list[tuple[str, bytes]],
    since: int | None,
    limit: int,
    until: int | None = None,
    events: Sequence[str] = (),
) -> list[StoredEntry]:
    """Return the newest entries about, or by, all these (kind, reference), oldest first.

    ``since`` and ``until`` (Unix milliseconds, the first included, the last not) bound their
    times; with ``events`` they are of one of these.
    """
    places, values = _places(db, subjects, since, until, events)
    return _entries_at(db, places, (*values, limit, 0))[::-1]


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
    places, values = _places(db, subjects, since, until, events)
    (total,) = db.execute(f"SELECT count(*) FROM ({places})", values).fetchone()
    return total, _entries_at(db, places, (*values, limit, offset))


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


def _places(
    db: Connection,
    subjects: list[tuple[str, bytes]],
    since: int | None,
    until: int | None,
    events: Sequence[str],
) -> tuple[str, list[Any]]:
    """Return the query for the places of entries that match, newest first, and its values.

    It reads indexes alone, in their order: the entries take many times as many pages.
    """
    parts: list[str] = []
    values: list[Any] = []
    for subject in subjects:
        part, sought = _concerning(db, subject)
        parts.append(part)
        values += sought
    conditions = []
    if since is not None:
        conditions.append("time >= ?")
        values.append(since)
    if until is not None:
        conditions.append("time < ?")
        values.append(until)
    if events:
        conditions.append(f"event IN ({', '.join('?' * len(events))})")
        values.extend(events)
    if conditions or not subjects:
        where = " AND ".join(conditions or ["TRUE"])
        index = "INDEXED BY log_entries_by_event" if conditions else ""
        parts.append(f"SELECT incarnation, log_index FROM log_entries {index} WHERE {where}")
    return f"{' INTERSECT '.join(parts)} ORDER BY incarnation DESC, log_index DESC", values


def _concerning(db: Connection, subject: tuple[str, bytes]) -> tuple[str, list[Any]]:
    """Return the query for the places of entries about, or by, a (kind, reference)."""
    kind, _ = subject
    row = db.execute(
        "SELECT key FROM log_subjects WHERE kind = ? AND reference = ?", subject
    ).fetchone()
    if kind != "member" or row is None:
        return _ABOUT, [*subject]
    # Compared with bytes: a text is never equal to them.
    return f"SELECT * FROM ({_ABOUT} UNION {_BY})", [*subject, pseudonym(row[0]).hex().encode()]


def _entries_at(db: Connection, places: str, values: Sequence[Any]) -> list[StoredEntry]:
    """Return entries at places, newest first; ``values`` ends with how many, and after how many."""
    rows = db.execute(
        "SELECT incarnation, log_index, time, event, entry"
        f" FROM ({places} LIMIT ? OFFSET ?) CROSS JOIN log_entries USING (incarnation, log_index)"
        " ORDER BY incarnation DESC, log_index DESC",
        values,
    ).fetchall()
    return [stored_entry(row) for row in rows]


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
    """Say whether an entry is about, or by, all these (kind, reference)."""
    place = (entry.incarnation, entry.index)
    return all(
        db.execute(f"SELECT 1 WHERE (?, ?) IN ({part})", (*place, *values)).fetchone() is not None
        for part, values in (_concerning(db, subject) for subject in subjects)
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
