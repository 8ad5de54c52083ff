"""Which log entries concern whom.

Belongs here: finding entries by subject, actor, event and time.
Never here: proofs and values (``log_store``), appending (``log_writer``).

A search reads indexes alone, and of these what it needs: the entries take many times as many
pages. Times grow with the places of a log but where its clock was set back, and
``log_clock_back`` has those places: between them a time is found as in a book.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from node.vault.log_store import StoredEntry, stored_entry
from node.vault.records import Connection

_MOST_SET_BACK: Final = 64
"""Of a log whose clock was set back more often every entry's time is looked at."""
_FEW: Final = 1_024
"""Places that are passed over one by one, in the time that counting others takes."""
_GUESSES: Final = 8
"""How often a deep place is guessed at: entries that match may stand in heaps."""
_EVER: Final = 2**63 - 1


class _Span(NamedTuple):
    """A run of entries of one log outside which none is of the times asked for."""

    incarnation: int
    start: int
    end: int
    exact: bool
    """Whether all of them are of these times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """The query for the places in a span that match."""

    db: Connection
    span: _Span
    sql: str
    """Selects ``log_index`` from ``:start`` up to ``:end``."""
    values: dict[str, Any]
    order: str
    """What lets its parts be merged in the order of their indexes, where they are not disjoint."""
    everything: bool
    """Whether every entry of the span matches."""

    def count(self, start: int, end: int) -> int:
        """Return how many places match between two."""
        if self.everything:
            return end - start
        (count,) = self.db.execute(
            f"SELECT count(*) FROM ({self.sql}{self.order})", self._between(start, end)
        ).fetchone()
        return int(count)

    def entries(self, end: int, *, offset: int, limit: int) -> list[StoredEntry]:
        """Return some of the entries before a place, newest first."""
        if self.everything:
            end, offset = end - offset, 0
        rows = self.db.execute(
            "SELECT e.incarnation, e.log_index, e.time, e.event, e.entry FROM"
            f" ({self.sql} ORDER BY 1 DESC LIMIT :limit OFFSET :offset) AS found"
            " CROSS JOIN log_entries AS e"
            " WHERE e.incarnation = :log AND e.log_index = found.log_index"
            " ORDER BY e.log_index DESC",
            {**self._between(self.span.start, end), "limit": limit, "offset": offset},
        ).fetchall()
        return [stored_entry(row) for row in rows]

    def page(self, total: int, *, offset: int, limit: int) -> list[StoredEntry]:
        """Return some of the ``total`` entries that match, newest first.

        Counting takes a fraction of the time of passing over. Where a deep place is, is guessed
        from how many match, and the shorter side of it counted.
        """
        start, end = self.span.start, self.span.end
        left = offset
        for _ in range(_GUESSES):
            if left <= _FEW or self.everything:
                break
            place = end - (end - start) * (left - _FEW // 2) // total
            place = min(max(place, start + 1), end - 1)
            nearer = place < (start + end) // 2
            count = total - self.count(start, place) if nearer else self.count(place, end)
            if count <= left:
                left, total, end = left - count, total - count, place
            else:
                total, start = count, place
        return self.entries(end, offset=left, limit=limit)

    def _between(self, start: int, end: int) -> dict[str, Any]:
        return {**self.values, "start": start, "end": end}


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
    found: list[StoredEntry] = []
    for search in _searches(db, subjects, since, until, events):
        if len(found) < limit:
            found += search.entries(search.span.end, offset=0, limit=limit - len(found))
    return found[::-1]


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
    total = 0
    found: list[StoredEntry] = []
    for search in _searches(db, subjects, since, until, events):
        count = search.count(search.span.start, search.span.end)
        after = max(0, offset - total)
        if len(found) < limit and after < count:
            found += search.page(count, offset=after, limit=limit - len(found))
        total += count
    return total, found


# What is searched for -----------------------------------------------------------------------------


def _searches(
    db: Connection,
    subjects: list[tuple[str, bytes]],
    since: int | None,
    until: int | None,
    events: Sequence[str],
) -> list[_Search]:
    """Return the searches of all logs, the newest first."""
    events = tuple(dict.fromkeys(events))
    sought = [(kind, _subject_id(db, (kind, reference))) for kind, reference in subjects]
    logs = db.execute("SELECT incarnation, size FROM log_head ORDER BY incarnation DESC").fetchall()
    spans = [_span(db, incarnation, size, since, until) for incarnation, size in logs]
    values = {
        "since": 0 if since is None else since,
        "until": _EVER if until is None else until,
        **{f"event{number}": event for number, event in enumerate(events)},
        **{f"subject{number}": subject for number, (_, subject) in enumerate(sought)},
    }
    return [
        _Search(
            db=db,
            span=span,
            sql=_sql([kind for kind, _ in sought], len(events), exact=span.exact),
            values={**values, "log": span.incarnation},
            order=" ORDER BY 1 DESC LIMIT -1" if sought else "",
            everything=span.exact and not sought and not events,
        )
        for span in spans
    ]


def _sql(kinds: Sequence[str], events: int, *, exact: bool) -> str:
    """Return the query for the places of one log: of so many events, about subjects of kinds."""
    times = "" if exact else " AND time >= :since AND time < :until"
    by_event = "SELECT log_index FROM log_entries INDEXED BY log_entries_by_event WHERE"
    if not kinds:
        if events:
            # Parts that are disjoint, each in the order of its index.
            return " UNION ALL ".join(
                f"{by_event} event = :event{number} AND {_BETWEEN}{times}"
                for number in range(events)
            )
        if exact:
            return f"SELECT log_index FROM log_entries WHERE {_BETWEEN}"
        return f"{by_event} {_BETWEEN}{times}"
    # There are many entries about, or by, a member: where something else is sought too, that leads.
    first, *others = sorted(range(len(kinds)), key=lambda number: kinds[number] == "member")
    places = _concerning(kinds[first], f":subject{first}")
    conditions = [_concerned(kinds[number], f":subject{number}") for number in others]
    if events or not exact:
        named = ", ".join(f":event{number}" for number in range(events))
        chosen = (
            f"INDEXED BY log_entries_by_event WHERE event IN ({named}) AND" if events else "WHERE"
        )
        conditions.append(f"EXISTS (SELECT 1 FROM log_entries {chosen} {_HERE}{times})")
    if not conditions:
        return places
    return (
        f"SELECT log_index FROM ({places} ORDER BY 1 DESC LIMIT -1) AS place"
        f" WHERE {' AND '.join(conditions)}"
    )


_BETWEEN: Final = "incarnation = :log AND log_index >= :start AND log_index < :end"
_HERE: Final = "incarnation = :log AND log_index = place.log_index"


def _concerning(kind: str, subject: str) -> str:
    """Return the query for the places about, or by, a subject."""
    about = f"SELECT DISTINCT log_index FROM log_values WHERE subject_id = {subject} AND {_BETWEEN}"
    if kind != "member":
        return about
    return f"{about} UNION SELECT log_index FROM log_entries WHERE actor = {subject} AND {_BETWEEN}"


def _concerned(kind: str, subject: str) -> str:
    """Return the condition that the entry at a place is about, or by, a subject."""
    about = f"EXISTS (SELECT 1 FROM log_values WHERE subject_id = {subject} AND {_HERE})"
    if kind != "member":
        return about
    return f"({about} OR EXISTS (SELECT 1 FROM log_entries WHERE actor = {subject} AND {_HERE}))"


def _subject_id(db: Connection, subject: tuple[str, bytes]) -> int | None:
    """Return the number of a (kind, reference), or None, which matches nothing."""
    row = db.execute(
        "SELECT subject_id FROM log_subjects WHERE kind = ? AND reference = ?", subject
    ).fetchone()
    return None if row is None else int(row[0])


def _span(
    db: Connection, incarnation: int, size: int, since: int | None, until: int | None
) -> _Span:
    """Return where a log has entries of some times."""
    if since is None and until is None:
        return _Span(incarnation, 0, size, exact=True)
    rows = db.execute(
        "SELECT log_index FROM log_clock_back WHERE incarnation = ? ORDER BY log_index LIMIT ?",
        (incarnation, _MOST_SET_BACK + 1),
    ).fetchall()
    if len(rows) > _MOST_SET_BACK:
        return _Span(incarnation, 0, size, exact=False)

    def time_at(place: int) -> int:
        row = db.execute(
            "SELECT time FROM log_entries WHERE incarnation = ? AND log_index >= ?"
            " ORDER BY log_index LIMIT 1",
            (incarnation, place),
        ).fetchone()
        return _EVER if row is None else int(row[0])

    found: list[tuple[int, int]] = []
    for start, end in pairwise([0, *(place for (place,) in rows), size]):
        first, last = start, end
        if since is not None:
            first = bisect_left(range(size), since, start, end, key=time_at)
        if until is not None:
            last = bisect_left(range(size), until, first, end, key=time_at)
        if first < last:
            found.append((first, last))
    if not found:
        return _Span(incarnation, 0, 0, exact=True)
    start, end = found[0][0], found[-1][1]
    exact = sum(last - first for first, last in found) == end - start
    return _Span(incarnation, start, end, exact=exact)


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
    place = {"log": entry.incarnation, "start": entry.index, "end": entry.index + 1}
    return all(
        db.execute(
            f"SELECT 1 FROM ({_concerning(kind, ':subject')}) LIMIT 1",
            {**place, "subject": _subject_id(db, (kind, reference))},
        ).fetchone()
        is not None
        for kind, reference in subjects
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
