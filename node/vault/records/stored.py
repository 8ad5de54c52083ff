"""What the index says about files beside it: sealed files and keyslots, with their pictures.

Belongs here: the queries of a health check.
Never here: looking at files, or judging them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.vault.records import Connection, as_row


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """A sealed file, and everything that lets one check it and name it."""

    blob_id: bytes
    kind: str
    key: bytes | None = field(repr=False)
    """Wherever the index keeps it; None where it is not ours to keep."""
    context: bytes
    sealed_bytes: int
    sealed_sha256: bytes
    picture: str | None
    """Name of a picture that needs the file."""


_BLOB = """
SELECT blob_id, kind,
  coalesce(key,
    (SELECT r.key FROM renditions r WHERE r.blob_id = b.blob_id),
    (SELECT g.list_key FROM grants g WHERE g.list_blob_id = b.blob_id),
    (SELECT h.list_key FROM held h WHERE h.list_blob_id = b.blob_id)),
  context, sealed_bytes, sealed_sha256,
  coalesce(
    (SELECT i.name FROM versions v JOIN images i USING (image_id) WHERE v.blob_id = b.blob_id),
    (SELECT i.name FROM thumbnails t JOIN versions v USING (version_id)
       JOIN images i USING (image_id) WHERE t.blob_id = b.blob_id),
    (SELECT i.name FROM sidecars s JOIN images i USING (image_id) WHERE s.blob_id = b.blob_id),
    (SELECT i.name FROM renditions r JOIN versions v USING (version_id)
       JOIN images i USING (image_id) WHERE r.blob_id = b.blob_id),
    (SELECT m.name FROM held_images m WHERE m.blob_id = b.blob_id),
    (SELECT i.name FROM grants g JOIN grant_images m USING (capability_id)
       JOIN images i USING (image_id) WHERE g.list_blob_id = b.blob_id ORDER BY m.position),
    (SELECT m.name FROM held h JOIN held_images m USING (capability_id)
       WHERE h.list_blob_id = b.blob_id ORDER BY m.position))
FROM blobs b
"""


def blobs_after(db: Connection, blob_id: bytes, limit: int) -> list[StoredBlob]:
    """Return up to limit sealed files whose ids follow blob_id."""
    rows = db.execute(
        _BLOB + "WHERE blob_id > ? ORDER BY blob_id LIMIT ?", (blob_id, limit)
    ).fetchall()
    return [as_row(StoredBlob, row) for row in rows]


def blob(db: Connection, blob_id: bytes) -> StoredBlob | None:
    """Return one sealed file, or None where its row is gone."""
    row = db.execute(_BLOB + "WHERE blob_id = ?", (blob_id,)).fetchone()
    return None if row is None else as_row(StoredBlob, row)


def blob_ids(db: Connection) -> set[bytes]:
    """Return the ids of all sealed files that have a row."""
    return {blob_id for (blob_id,) in db.execute("SELECT blob_id FROM blobs").fetchall()}


def blob_count(db: Connection) -> int:
    """Return the number of sealed files that have a row."""
    (count,) = db.execute("SELECT count(*) FROM blobs").fetchone()
    return int(count)


def ended_capabilities(db: Connection) -> set[bytes]:
    """Return the capabilities whose keyslot must no longer exist."""
    rows = db.execute("SELECT capability_id FROM grants WHERE slot IS NULL").fetchall()
    return {capability_id for (capability_id,) in rows}


def pictures_of(db: Connection, capability_id: bytes) -> str | None:
    """Return the first picture's name of a capability of ours, and how many more there are."""
    row = db.execute(
        "SELECT i.name, (SELECT image_count FROM grants WHERE capability_id = m.capability_id)"
        " FROM grant_images m JOIN images i USING (image_id)"
        " WHERE m.capability_id = ? ORDER BY m.position LIMIT 1",
        (capability_id,),
    ).fetchone()
    if row is None:
        return None
    name, count = row
    return f"{name} and {count - 1} more" if count > 1 else name
