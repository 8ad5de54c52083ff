"""Which log entries concern whom.

Belongs here: finding entries by subject and time.
Never here: proofs and values (``log_store``), appending (``log_writer``).
"""

from __future__ import annotations

from typing import Any

from node.vault.log_store import StoredEntry
from node.vault.records import Connection

_CONCERNS = (
    "log_index IN (SELECT v.log_index FROM log_values v JOIN log_subjects s USING (subject_id)"
    " WHERE s.kind = ? AND s.reference = ?)"
)


def newest(
    db: Connection, *, subjects: list[tuple[str, bytes]], since: int | None, limit: int
) -> list[StoredEntry]:
    """Return the newest entries about all these (kind, reference), oldest first."""
    conditions = [_CONCERNS] * len(subjects)
    values: list[Any] = [part for subject in subjects for part in subject]
    if since is not None:
        conditions.append("time >= ?")
        values.append(since)
    where = "WHERE " + " AND ".join(conditions) if conditions else ""
    rows = db.execute(
        f"SELECT log_index, time, event, entry FROM log_entries {where}"
        " ORDER BY log_index DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [
        StoredEntry(index=index, time=time, event=event, entry=entry)
        for index, time, event, entry in reversed(rows)
    ]


def indices_since(db: Connection, event: str, since: int) -> list[int]:
    """Return where entries of an event stand since a time, Unix milliseconds, oldest first."""
    found = db.execute(
        "SELECT log_index FROM log_entries WHERE event = ? AND time >= ? ORDER BY log_index",
        (event, since),
    )
    return [index for (index,) in found.fetchall()]


def concerns(db: Connection, index: int, subjects: list[tuple[str, bytes]]) -> bool:
    """Say whether an entry is about all these (kind, reference)."""
    return all(
        db.execute(
            f"SELECT 1 FROM log_entries WHERE log_index = ? AND {_CONCERNS}", (index, *subject)
        ).fetchone()
        is not None
        for subject in subjects
    )
