"""Typed rows of the index: every SQL statement of the services lives here.

Belongs here: functions from a connection and values to frozen rows and back.
Never here: decisions, cryptography, or transactions (the caller's).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Cursor(Protocol):
    """What a statement gives back."""

    rowcount: int

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...


class Connection(Protocol):
    """The part of a database connection that records use."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement for each row."""
        ...


def as_row(kind: type[T], values: Sequence[Any]) -> T:
    """Return a row class made of columns in the order of its fields."""
    names: Sequence[str] = kind.__slots__  # type: ignore[attr-defined]
    return kind(**dict(zip(names, values, strict=True)))


def as_row_or_none(kind: type[T], values: Sequence[Any] | None) -> T | None:
    """Return a row class, or None where there is no row."""
    return None if values is None else as_row(kind, values)


def capabilities_starting(db: Connection, table: str, text: str) -> list[bytes]:
    """Return the ids, at most 20, that begin with a text; none where it is no beginning of one."""
    prefix = text.lower()
    if not prefix or prefix.strip("0123456789abcdef"):
        return []
    rows = db.execute(
        f"SELECT capability_id FROM {table} WHERE lower(hex(capability_id)) GLOB ? LIMIT 20",
        (prefix + "*",),
    )
    return [one for (one,) in rows.fetchall()]


def get_meta(db: Connection, key: str) -> bytes | None:
    """Return a value of the node's own notes, or None."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else bytes(row[0])


def set_meta(db: Connection, key: str, value: bytes) -> None:
    """Keep a value among the node's own notes."""
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
