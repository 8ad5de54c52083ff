"""Pages of the library under filters, for a screen that shows a few of very many.

Belongs here: the one query behind a page and its count.
Never here: changing anything (``library``), or what a person typed (``services.browsing``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.vault.records import Connection, as_row
from node.vault.records.library import IMAGE_COLUMNS, ImageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which pictures: all of the conditions that are given."""

    words: tuple[str, ...] = ()
    """Beginnings of words of names, tags and albums."""
    album_id: bytes | None = None
    tag: str | None = None
    classification: str | None = None
    shared: bool | None = None
    """True: in a capability that is not over; False: in none."""
    received: bool | None = None
    """True: saved from somebody else's capability."""
    holder: bytes | None = None
    """In a capability to this person that is not over."""
    ends_before: int | None = None
    """In a capability that is not over and ends before this time, Unix milliseconds."""


_LIVE = (
    "SELECT m.image_id FROM grant_images m JOIN grants g USING (capability_id)"
    " WHERE g.ended_at IS NULL"
)


def count(db: Connection, wanted: Filter) -> int:
    """Return how many pictures there are under a filter."""
    where, values = _where(wanted)
    (number,) = db.execute(f"SELECT count(*) FROM images i {where}", values).fetchone()
    return int(number)


def page(db: Connection, wanted: Filter, *, offset: int, limit: int) -> list[tuple[ImageRow, int]]:
    """Return pictures with the number of live capabilities that each is in, newest first."""
    where, values = _where(wanted)
    found = db.execute(
        f"""
        SELECT {IMAGE_COLUMNS},
          (SELECT count(*) FROM grant_images m JOIN grants g USING (capability_id)
            WHERE m.image_id = i.image_id AND g.ended_at IS NULL)
        FROM (SELECT image_id, name, classification, imported_at FROM images i {where}
              ORDER BY i.imported_at DESC, i.image_id LIMIT ? OFFSET ?) i
        JOIN versions v ON v.image_id = i.image_id
         AND v.number = (SELECT max(number) FROM versions w WHERE w.image_id = i.image_id)
        ORDER BY i.imported_at DESC, i.image_id
        """,
        (*values, limit, offset),
    ).fetchall()
    return [(as_row(ImageRow, row[:-1]), row[-1]) for row in found]


def thumbnails(db: Connection, image_ids: list[bytes], size: int) -> dict[bytes, bytes]:
    """Return the sealed thumbnails of pictures' newest versions: image id to blob id."""
    marks = ",".join("?" * len(image_ids))
    return dict(
        db.execute(
            f"""
            SELECT v.image_id, t.blob_id FROM versions v JOIN thumbnails t USING (version_id)
            WHERE v.image_id IN ({marks}) AND t.size = ?
              AND v.number = (SELECT max(number) FROM versions w WHERE w.image_id = v.image_id)
            """,
            (*image_ids, size),
        ).fetchall()
    )


def _where(wanted: Filter) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []

    def within(select: str, *bound: Any) -> None:
        conditions.append(f"i.image_id IN ({select})")
        values.extend(bound)

    if wanted.words:
        match = " ".join('"' + word.replace('"', '""') + '"*' for word in wanted.words)
        within("SELECT image_id FROM image_search WHERE image_search MATCH ?", match)
    if wanted.album_id is not None:
        within("SELECT image_id FROM album_images WHERE album_id = ?", wanted.album_id)
    if wanted.tag is not None:
        within("SELECT image_id FROM tags WHERE tag = ?", wanted.tag)
    if wanted.classification is not None:
        conditions.append("i.classification = ?")
        values.append(wanted.classification)
    if wanted.shared is not None:
        conditions.append(f"i.image_id {'' if wanted.shared else 'NOT '}IN ({_LIVE})")
    if wanted.received is not None:
        conditions.append(f"i.provenance IS {'NOT ' if wanted.received else ''}NULL")
    if wanted.holder is not None:
        within(f"{_LIVE} AND g.holder = ?", wanted.holder)
    if wanted.ends_before is not None:
        within(f"{_LIVE} AND g.expires_at < ?", wanted.ends_before)
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), values
