"""What the log and the records say of an earlier moment.

Belongs here: entries on either side of a moment, and opens that were counted until then.
Never here: what follows from them (``services.then``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.vault.log_store import values
from node.vault.records import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An entry with what is still disclosed of it."""

    event: str
    time: int
    values: dict[str, bytes]
    """By field; erased ones are absent."""


def later(db: Connection, moment: int, events: Sequence[str]) -> list[Told]:
    """Return the entries of these events after a moment, Unix milliseconds, oldest first."""
    return _told(db, f"time > ? AND event IN ({_marks(events)})", (moment, *events), "ASC")


def until(db: Connection, moment: int, events: Sequence[str]) -> list[Told]:
    """Return the entries of these events up to a moment, Unix milliseconds, newest first."""
    return _told(db, f"time <= ? AND event IN ({_marks(events)})", (moment, *events), "DESC")


def about(db: Connection, kind: str, reference: bytes, events: Sequence[str]) -> list[Told]:
    """Return the entries of these events that name a subject, oldest first."""
    concerning = (
        "(incarnation, log_index) IN (SELECT v.incarnation, v.log_index FROM log_values v"
        " JOIN log_subjects s USING (subject_id) WHERE s.kind = ? AND s.reference = ?)"
    )
    where = f"{concerning} AND event IN ({_marks(events)})"
    return _told(db, where, (kind, reference, *events), "ASC")


def _marks(events: Sequence[str]) -> str:
    return ", ".join("?" * len(events))


def _told(db: Connection, where: str, parameters: Sequence[object], order: str) -> list[Told]:
    found = db.execute(
        f"SELECT event, time, incarnation, log_index FROM log_entries WHERE {where}"
        f" ORDER BY incarnation {order}, log_index {order}",
        parameters,
    ).fetchall()
    return [
        Told(
            event=event,
            time=time,
            values={name: one.value for name, one in values(db, index, incarnation).items()},
        )
        for event, time, incarnation, index in found
    ]


def opens_until(db: Connection, capability_id: bytes, moment: int) -> dict[bytes, int]:
    """Return how many opens of each picture of a capability were counted up to a moment."""
    return dict(
        db.execute(
            "SELECT image_id, count(*) FROM releases WHERE capability_id = ? AND released_at <= ?"
            " GROUP BY image_id",
            (capability_id, moment),
        ).fetchall()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """What was released of one picture under one capability, and what its holder signed of it."""

    released: int
    first: int
    last: int
    opened: int
    """Of those, how many have a receipt that the picture was shown."""
    last_opened: int | None
    saved: int
    """Of those, how many have a receipt that the picture was kept."""
    last_saved: int | None


def releases_of(db: Connection, capability_id: bytes, image_id: bytes) -> Releases | None:
    """Return what was released of a picture under a capability, None where nothing was."""
    row = db.execute(
        "SELECT count(*), min(released_at), max(released_at), count(opened_at), max(opened_at),"
        " count(saved_at), max(saved_at) FROM releases WHERE capability_id = ? AND image_id = ?",
        (capability_id, image_id),
    ).fetchone()
    released, first, last, opened, last_opened, saved, last_saved = row
    if not released:
        return None
    return Releases(
        released=released,
        first=first,
        last=last,
        opened=opened,
        last_opened=last_opened,
        saved=saved,
        last_saved=last_saved,
    )


def provenance(db: Connection, image_id: bytes) -> bytes | None:
    """Return where a saved picture came from, None for one that was imported."""
    row = db.execute("SELECT provenance FROM images WHERE image_id = ?", (image_id,)).fetchone()
    return None if row is None else row[0]
