"""Rows of witnessing: heads of peers, cosignatures of the own log, outside witnesses, alarms.

Belongs here: reading and writing those tables.
Never here: proofs, signatures, or what an alarm leads to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.vault.records import Connection, as_row, as_row_or_none
from node.vault.records.team import NEXT_CHANGE
from protocol.limits import MAX_HEAD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """A head of an own log as one witness signed it."""

    witness: str
    """Its verifier key."""
    size: int
    note: bytes = field(repr=False)
    """The head with the log's signature and the witness's below it."""
    signed_at: int
    """Unix milliseconds, as the witness says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessUrl:
    """A witness outside the team."""

    url: str
    vkey: str
    added_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """A log that contradicts itself."""

    alarm_id: int
    fingerprint: bytes
    """Whose log it is."""
    origin: str
    kind: str
    """``rollback``, ``fork`` or ``equivocation``."""
    detail: str
    first: bytes = field(repr=False)
    second: bytes = field(repr=False)
    evidence: bytes | None = field(repr=False)
    """What convinces anybody (``protocol.audit.equivocation``), where there is such."""
    raised_at: int
    over_at: int | None
    """When its keeper was seen to have begun another log."""
    cleared_at: int | None


# Heads of peers ---------------------------------------------------------------------------------


def held_heads(db: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """Return (number of the change, note) of the heads that changed after a number.

    Among them are those that contradict a head that is held.
    """
    rows = db.execute(
        "SELECT change, note FROM peer_heads WHERE change > ? UNION ALL"
        " SELECT change, second FROM alarms WHERE change > ? AND cleared_at IS NULL"
        " AND length(second) BETWEEN 1 AND ? ORDER BY 1 LIMIT ?",
        (after, after, MAX_HEAD_BYTES, limit),
    )
    return [(change, note) for change, note in rows.fetchall()]


def held_origins(db: Connection) -> list[str]:
    """Return every log of which a head is held."""
    return [origin for (origin,) in db.execute("SELECT origin FROM peer_heads").fetchall()]


def forget_heads(db: Connection, origin: str) -> None:
    """Forget every head of a log: the next one that its keeper shows is the first."""
    db.execute("DELETE FROM peer_heads WHERE origin = ?", (origin,))
    db.execute("DELETE FROM release_heads WHERE origin = ?", (origin,))


def unproven(db: Connection, origin: str) -> int:
    """Return how many heads of a log wait to be proven."""
    (count,) = db.execute(
        "SELECT count(*) FROM release_heads WHERE origin = ?", (origin,)
    ).fetchone()
    return int(count)


# Cosignatures of the own log --------------------------------------------------------------------


def cosignatures(db: Connection, origin: str) -> list[Cosigned]:
    """Return what each witness signed of an own log, the largest first."""
    rows = db.execute(
        "SELECT witness, size, note, signed_at FROM own_cosignatures WHERE origin = ?"
        " ORDER BY size DESC, witness",
        (origin,),
    )
    return [as_row(Cosigned, row) for row in rows.fetchall()]


def put_cosignature(db: Connection, origin: str, row: Cosigned) -> None:
    """Keep what a witness signed; never a smaller head than before."""
    db.execute(
        "INSERT INTO own_cosignatures (origin, witness, size, note, signed_at)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (origin, witness) DO UPDATE SET"
        " size = excluded.size, note = excluded.note, signed_at = excluded.signed_at"
        " WHERE excluded.size >= size",
        (origin, row.witness, row.size, row.note, row.signed_at),
    )


# Witnesses outside the team ---------------------------------------------------------------------


def witness_urls(db: Connection) -> list[WitnessUrl]:
    """Return the outside witnesses, in the order of their addition."""
    rows = db.execute("SELECT url, vkey, added_at FROM witness_urls ORDER BY added_at, url")
    return [as_row(WitnessUrl, row) for row in rows.fetchall()]


def put_witness_url(db: Connection, row: WitnessUrl) -> None:
    """Use an outside witness from now on."""
    db.execute(
        "INSERT INTO witness_urls (url, vkey, added_at) VALUES (?, ?, ?)"
        " ON CONFLICT (url) DO UPDATE SET vkey = excluded.vkey",
        (row.url, row.vkey, row.added_at),
    )


def remove_witness_url(db: Connection, url: str) -> bool:
    """Ask an outside witness no more; False where there is none of this address."""
    return db.execute("DELETE FROM witness_urls WHERE url = ?", (url,)).rowcount > 0


# Alarms -----------------------------------------------------------------------------------------

_ALARM = (
    "SELECT alarm_id, fingerprint, origin, kind, detail, first, second, evidence,"
    " raised_at, over_at, cleared_at FROM alarms"
)


def alarms(db: Connection) -> list[AlarmRow]:
    """Return every alarm there was, oldest first."""
    rows = db.execute(f"{_ALARM} ORDER BY alarm_id")
    return [as_row(AlarmRow, row) for row in rows.fetchall()]


def alarm(db: Connection, alarm_id: int) -> AlarmRow | None:
    """Return one alarm, or None."""
    row = db.execute(f"{_ALARM} WHERE alarm_id = ?", (alarm_id,)).fetchone()
    return as_row_or_none(AlarmRow, row)


def insert_alarm(
    db: Connection,
    *,
    fingerprint: bytes,
    origin: str,
    kind: str,
    detail: str,
    first: bytes,
    second: bytes,
    evidence: bytes | None,
    now: int,
) -> bool:
    """Keep an alarm; False where the very same was raised before."""
    added = db.execute(
        "INSERT OR IGNORE INTO alarms (fingerprint, origin, kind, detail, first, second, evidence,"
        f" raised_at, change) VALUES (?, ?, ?, ?, ?, ?, ?, ?, {NEXT_CHANGE})",
        (fingerprint, origin, kind, detail, first, second, evidence, now),
    )
    return added.rowcount > 0


def end_alarm(db: Connection, alarm_id: int, now: int) -> None:
    """Note that the log of an alarm was given up for another one; the first time counts."""
    db.execute(
        "UPDATE alarms SET over_at = ? WHERE alarm_id = ? AND over_at IS NULL", (now, alarm_id)
    )


def clear_alarm(db: Connection, alarm_id: int, now: int) -> bool:
    """Note that a person has looked into an alarm; False where it does not stand."""
    cleared = db.execute(
        "UPDATE alarms SET cleared_at = ? WHERE alarm_id = ? AND cleared_at IS NULL",
        (now, alarm_id),
    )
    return cleared.rowcount > 0
