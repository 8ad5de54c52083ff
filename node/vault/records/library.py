"""Rows of images, versions, thumbnails, tags, albums and sealed files.

Belongs here: reading and writing the library's tables.
Never here: importing, resolving what a person typed, or files.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.vault.records import Connection, as_row, as_row_or_none


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """A picture with its newest version."""

    image_id: bytes
    name: str
    classification: str
    imported_at: int
    version_id: bytes
    number: int
    format: str
    width: int
    height: int
    size: int
    sha256: bytes
    blob_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRow:
    """A sealed file of the vault."""

    blob_id: bytes
    kind: str
    key: bytes | None
    context: bytes
    sealed_bytes: int
    sealed_sha256: bytes

    def __repr__(self) -> str:
        return f"BlobRow({self.blob_id.hex()}, {self.kind})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarRow:
    """A file that belongs to a picture."""

    name: str
    size: int
    sha256: bytes
    blob_id: bytes


_MOST_CANDIDATES = 10_000
"""Pictures compared in full for one hint: a few milliseconds."""

IMAGE_COLUMNS = (
    "i.image_id, i.name, i.classification, i.imported_at, v.version_id, v.number, v.format,"
    " v.width, v.height, v.bytes, v.sha256, v.blob_id"
)
"""Of an ``ImageRow``, from ``images i`` and ``versions v``."""

_IMAGE = f"""
SELECT {IMAGE_COLUMNS} FROM images i JOIN versions v ON v.image_id = i.image_id
 AND v.number = (SELECT max(number) FROM versions w WHERE w.image_id = i.image_id)
"""


def image(db: Connection, image_id: bytes) -> ImageRow | None:
    """Return one picture, or None."""
    row = db.execute(_IMAGE + "WHERE i.image_id = ?", (image_id,)).fetchone()
    return None if row is None else as_row(ImageRow, row)


def images_by_content(db: Connection, sha256: bytes) -> list[ImageRow]:
    """Return the pictures of which some version has these original bytes."""
    rows = db.execute(
        _IMAGE + "WHERE i.image_id IN (SELECT image_id FROM versions WHERE sha256 = ?)", (sha256,)
    ).fetchall()
    return [as_row(ImageRow, row) for row in rows]


def search(
    db: Connection, *, words: list[str], album_id: bytes | None, tag: str | None, limit: int
) -> list[ImageRow]:
    """Return pictures, newest first, whose name, tags or albums have words starting with these."""
    conditions: list[str] = []
    values: list[str | bytes] = []
    if words:
        match = " ".join('"' + word.replace('"', '""') + '"*' for word in words)
        conditions.append(
            "i.image_id IN (SELECT image_id FROM image_search WHERE image_search MATCH ?)"
        )
        values.append(match)
    if album_id is not None:
        conditions.append("i.image_id IN (SELECT image_id FROM album_images WHERE album_id = ?)")
        values.append(album_id)
    if tag is not None:
        conditions.append("i.image_id IN (SELECT image_id FROM tags WHERE tag = ?)")
        values.append(tag)
    where = "WHERE " + " AND ".join(conditions) if conditions else ""
    rows = db.execute(
        f"{_IMAGE} {where} ORDER BY i.imported_at DESC, i.image_id LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [as_row(ImageRow, row) for row in rows]


def find_images(db: Connection, text: str) -> list[tuple[bytes, str]]:
    """Return (id, name) of the pictures of this exact name, else of this id prefix."""
    rows = db.execute(
        "SELECT image_id, name FROM images WHERE name = ? LIMIT 20", (text,)
    ).fetchall()
    return rows or _by_prefix(db, "images", "image_id", text)


def find_albums(db: Connection, text: str) -> list[tuple[bytes, str]]:
    """Return (id, name) of the albums of this exact name, else of this id prefix."""
    rows = db.execute("SELECT album_id, name FROM albums WHERE name = ?", (text,)).fetchall()
    return rows or _by_prefix(db, "albums", "album_id", text)


def _by_prefix(db: Connection, table: str, column: str, text: str) -> list[tuple[bytes, str]]:
    prefix = text.lower()
    if len(prefix) < 4 or prefix.strip("0123456789abcdef"):
        return []
    return db.execute(
        f"SELECT {column}, name FROM {table} WHERE lower(hex({column})) GLOB ? LIMIT 20",
        (prefix + "*",),
    ).fetchall()


def insert_image(
    db: Connection,
    row: ImageRow,
    *,
    thumbnails: dict[int, bytes],
    provenance: bytes | None,
    likeness: bytes | None = None,
) -> None:
    """Add a picture with its first version; thumbnails map long edge to blob id."""
    db.execute(
        "INSERT INTO images (image_id, name, classification, imported_at, provenance)"
        " VALUES (?, ?, ?, ?, ?)",
        (row.image_id, row.name, row.classification, row.imported_at, provenance),
    )
    db.execute(
        "INSERT INTO versions (version_id, image_id, number, format, width, height, bytes, sha256,"
        " blob_id, created_at, likeness) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.version_id,
            row.image_id,
            row.number,
            row.format,
            row.width,
            row.height,
            row.size,
            row.sha256,
            row.blob_id,
            row.imported_at,
            likeness,
        ),
    )
    db.executemany(
        "INSERT INTO thumbnails (version_id, size, blob_id) VALUES (?, ?, ?)",
        [(row.version_id, size, blob_id) for size, blob_id in thumbnails.items()],
    )


def similar_candidates(db: Connection, likeness: bytes) -> list[tuple[bytes, str, bytes]]:
    """Return (id, name, likeness) of pictures that share a quarter of these 8 bytes."""
    bands = [likeness[start : start + 2] for start in range(0, 8, 2)]
    return db.execute(
        "SELECT v.image_id, i.name, v.likeness FROM versions v JOIN images i USING (image_id)"
        " WHERE substr(v.likeness, 1, 2) = ? OR substr(v.likeness, 3, 2) = ?"
        " OR substr(v.likeness, 5, 2) = ? OR substr(v.likeness, 7, 2) = ? LIMIT ?",
        (*bands, _MOST_CANDIDATES),
    ).fetchall()


def content_blob(db: Connection, image_id: bytes, sha256: bytes) -> bytes | None:
    """Return the sealed file of the version of a picture with these original bytes, or None."""
    row = db.execute(
        "SELECT blob_id FROM versions WHERE image_id = ? AND sha256 = ?", (image_id, sha256)
    ).fetchone()
    return None if row is None else row[0]


def insert_sidecar(db: Connection, image_id: bytes, row: SidecarRow) -> None:
    """Add a file that belongs to a picture."""
    db.execute(
        "INSERT INTO sidecars (image_id, name, bytes, sha256, blob_id) VALUES (?, ?, ?, ?, ?)",
        (image_id, row.name, row.size, row.sha256, row.blob_id),
    )


def sidecars_of(db: Connection, image_id: bytes) -> list[SidecarRow]:
    """Return the files that belong to a picture, by name."""
    rows = db.execute(
        "SELECT name, bytes AS size, sha256, blob_id FROM sidecars WHERE image_id = ?"
        " ORDER BY name, sha256",
        (image_id,),
    ).fetchall()
    return [as_row(SidecarRow, row) for row in rows]


def classify(db: Connection, image_id: bytes, classification: str) -> None:
    """Give a picture another classification."""
    db.execute(
        "UPDATE images SET classification = ? WHERE image_id = ?", (classification, image_id)
    )


def index_for_search(db: Connection, image_id: bytes) -> None:
    """Write a picture's words into the search index anew."""
    db.execute("DELETE FROM image_search WHERE image_id = ?", (image_id,))
    db.execute(
        "INSERT INTO image_search (image_id, name, tags, albums)"
        " SELECT image_id, name,"
        "  (SELECT group_concat(tag, ' ') FROM tags t WHERE t.image_id = i.image_id),"
        "  (SELECT group_concat(a.name, ' ') FROM albums a JOIN album_images m USING (album_id)"
        "   WHERE m.image_id = i.image_id)"
        " FROM images i WHERE image_id = ?",
        (image_id,),
    )


def add_tags(db: Connection, image_id: bytes, tags: list[str]) -> None:
    """Add tags to a picture."""
    db.executemany(
        "INSERT OR IGNORE INTO tags (image_id, tag) VALUES (?, ?)",
        [(image_id, tag) for tag in tags],
    )


def tags_of(db: Connection, image_id: bytes) -> list[str]:
    """Return a picture's tags in order."""
    rows = db.execute("SELECT tag FROM tags WHERE image_id = ? ORDER BY tag", (image_id,))
    return [tag for (tag,) in rows.fetchall()]


def ensure_album(db: Connection, name: str, *, album_id: bytes, now: int) -> bytes:
    """Return the id of the album of this name, made under album_id where there is none."""
    db.execute(
        "INSERT OR IGNORE INTO albums (album_id, name, created_at) VALUES (?, ?, ?)",
        (album_id, name, now),
    )
    (found,) = db.execute("SELECT album_id FROM albums WHERE name = ?", (name,)).fetchone()
    return bytes(found)


def album_credit(db: Connection, album_id: bytes) -> bytes | None:
    """Return the credit that an album's pictures carry by default, None for none."""
    (credit,) = db.execute("SELECT credit FROM albums WHERE album_id = ?", (album_id,)).fetchone()
    return None if credit is None else bytes(credit)


def set_album_credit(db: Connection, album_id: bytes, credit: bytes | None) -> None:
    """Keep the credit that an album's pictures carry by default."""
    db.execute("UPDATE albums SET credit = ? WHERE album_id = ?", (credit, album_id))


def add_to_album(db: Connection, album_id: bytes, image_id: bytes) -> None:
    """Put a picture at the end of an album."""
    db.execute(
        "INSERT OR IGNORE INTO album_images (album_id, image_id, position) VALUES (?, ?,"
        " (SELECT coalesce(max(position), 0) + 1 FROM album_images WHERE album_id = ?))",
        (album_id, image_id, album_id),
    )


def albums(db: Connection) -> list[tuple[bytes, str, int]]:
    """Return (id, name, number of pictures) of every album by name."""
    return db.execute(
        "SELECT album_id, name, (SELECT count(*) FROM album_images m WHERE m.album_id = a.album_id)"
        " FROM albums a ORDER BY name"
    ).fetchall()


def album_names(db: Connection, image_id: bytes) -> list[str]:
    """Return the names of the albums that a picture is in."""
    rows = db.execute(
        "SELECT a.name FROM albums a JOIN album_images m USING (album_id)"
        " WHERE m.image_id = ? ORDER BY a.name",
        (image_id,),
    )
    return [name for (name,) in rows.fetchall()]


def album_image_ids(db: Connection, album_id: bytes) -> list[bytes]:
    """Return an album's pictures in its order."""
    rows = db.execute(
        "SELECT image_id FROM album_images WHERE album_id = ? ORDER BY position", (album_id,)
    )
    return [image_id for (image_id,) in rows.fetchall()]


def versions_of(db: Connection, image_id: bytes) -> list[tuple[int, str, int, int, int, bytes]]:
    """Return (number, format, width, height, bytes, sha256) of a picture's versions."""
    return db.execute(
        "SELECT number, format, width, height, bytes, sha256 FROM versions"
        " WHERE image_id = ? ORDER BY number",
        (image_id,),
    ).fetchall()


def version_blob(db: Connection, version_id: bytes) -> tuple[bytes, bytes, str, str] | None:
    """Return (image id, blob id, format, name) of a version, or None."""
    row: tuple[bytes, bytes, str, str] | None = db.execute(
        "SELECT v.image_id, v.blob_id, v.format, i.name"
        " FROM versions v JOIN images i USING (image_id) WHERE version_id = ?",
        (version_id,),
    ).fetchone()
    return row


def thumbnail_blob(db: Connection, version_id: bytes, size: int) -> bytes | None:
    """Return the blob id of a thumbnail, or None."""
    row = db.execute(
        "SELECT blob_id FROM thumbnails WHERE version_id = ? AND size = ?", (version_id, size)
    ).fetchone()
    return None if row is None else row[0]


def insert_blob(db: Connection, row: BlobRow, *, now: int) -> None:
    """Add a sealed file that is durable on disk."""
    db.execute(
        "INSERT INTO blobs (blob_id, kind, key, context, sealed_bytes, sealed_sha256, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.blob_id, row.kind, row.key, row.context, row.sealed_bytes, row.sealed_sha256, now),
    )


def blob(db: Connection, blob_id: bytes) -> BlobRow | None:
    """Return a sealed file's row, or None."""
    row = db.execute(
        "SELECT blob_id, kind, key, context, sealed_bytes, sealed_sha256 FROM blobs"
        " WHERE blob_id = ?",
        (blob_id,),
    ).fetchone()
    return as_row_or_none(BlobRow, row)


def delete_blob(db: Connection, blob_id: bytes) -> None:
    """Forget a sealed file; the caller deletes the file after the commit."""
    db.execute("DELETE FROM blobs WHERE blob_id = ?", (blob_id,))
