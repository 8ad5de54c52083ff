"""Rows of the capabilities this node holds, their pictures and its opens.

Belongs here: the holder's tables.
Never here: verifying what an issuer sent (``protocol.capability``).
"""

from __future__ import annotations

from dataclasses import dataclass

from node.vault.records import Connection, as_row, as_row_or_none, capabilities_starting


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A capability as its holder keeps it."""

    capability_id: bytes
    capability_hash: bytes
    issuer: bytes
    terms: bytes
    signature: bytes
    holder_share: bytes | None
    list_key: bytes | None
    list_blob_id: bytes | None
    received_at: int
    expires_at: int
    opens_added: int
    amendments: int
    revoked_at: int | None

    def __repr__(self) -> str:
        return f"HeldRow({self.capability_id.hex()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldImageRow:
    """One picture of a held capability."""

    capability_id: bytes
    position: int
    image_id: bytes
    name: str
    manifest: bytes | None
    blob_id: bytes | None
    opens: int


_HELD = "SELECT " + ", ".join(HeldRow.__slots__) + " FROM held "
_IMAGE = "SELECT " + ", ".join(HeldImageRow.__slots__) + " FROM held_images "


def insert_held(db: Connection, row: HeldRow, images: list[tuple[bytes, str]]) -> None:
    """Add a received capability with its (image id, sanitised name) in order."""
    db.execute(
        f"INSERT INTO held ({', '.join(HeldRow.__slots__)})"
        f" VALUES ({', '.join('?' * len(HeldRow.__slots__))})",
        tuple(getattr(row, name) for name in HeldRow.__slots__),
    )
    db.executemany(
        "INSERT INTO held_images (capability_id, position, image_id, name) VALUES (?, ?, ?, ?)",
        [
            (row.capability_id, position, image_id, name)
            for position, (image_id, name) in enumerate(images)
        ],
    )


def held(db: Connection, capability_id: bytes) -> HeldRow | None:
    """Return a held capability by its id, or None."""
    return _held(db.execute(_HELD + "WHERE capability_id = ?", (capability_id,)).fetchone())


def held_by_hash(db: Connection, capability_hash: bytes) -> HeldRow | None:
    """Return a held capability by its hash, or None."""
    return _held(db.execute(_HELD + "WHERE capability_hash = ?", (capability_hash,)).fetchone())


def _held(row: tuple[object, ...] | None) -> HeldRow | None:
    return as_row_or_none(HeldRow, row)


def all_held(db: Connection) -> list[HeldRow]:
    """Return every held capability, newest first."""
    rows = db.execute(_HELD + "ORDER BY received_at DESC, capability_id").fetchall()
    return [as_row(HeldRow, row) for row in rows]


def pictures_of(db: Connection, issuer: bytes) -> int:
    """Return how many pictures all capabilities of an issuer have."""
    (count,) = db.execute(
        "SELECT count(*) FROM held_images WHERE capability_id IN"
        " (SELECT capability_id FROM held WHERE issuer = ?)",
        (issuer,),
    ).fetchone()
    return int(count)


def find_held(db: Connection, text: str) -> list[bytes]:
    """Return the ids of the held capabilities whose id starts with this text."""
    return capabilities_starting(db, "held", text)


def held_images(db: Connection, capability_id: bytes) -> list[HeldImageRow]:
    """Return a held capability's pictures in order."""
    rows = db.execute(_IMAGE + "WHERE capability_id = ? ORDER BY position", (capability_id,))
    return [as_row(HeldImageRow, row) for row in rows.fetchall()]


def held_image(db: Connection, capability_id: bytes, image_id: bytes) -> HeldImageRow | None:
    """Return one picture of a held capability, or None."""
    row = db.execute(
        _IMAGE + "WHERE capability_id = ? AND image_id = ?", (capability_id, image_id)
    ).fetchone()
    return as_row_or_none(HeldImageRow, row)


def set_manifest(db: Connection, capability_id: bytes, image_id: bytes, manifest: bytes) -> bool:
    """Keep a verified manifest; the first one stays."""
    return bool(
        db.execute(
            "UPDATE held_images SET manifest = ?"
            " WHERE capability_id = ? AND image_id = ? AND manifest IS NULL",
            (manifest, capability_id, image_id),
        ).rowcount
    )


def set_ciphertext(db: Connection, capability_id: bytes, image_id: bytes, blob_id: bytes) -> None:
    """Note the whole, verified ciphertext of a picture."""
    db.execute(
        "UPDATE held_images SET blob_id = ? WHERE capability_id = ? AND image_id = ?",
        (blob_id, capability_id, image_id),
    )


def forget_ciphertext(db: Connection, blob_id: bytes) -> None:
    """Forget a ciphertext that is no longer whole; the caller deletes the file."""
    db.execute("UPDATE held_images SET blob_id = NULL WHERE blob_id = ?", (blob_id,))
    db.execute("DELETE FROM blobs WHERE blob_id = ?", (blob_id,))


def amend(
    db: Connection, capability_id: bytes, *, expires_at: int, opens_added: int, sequence: int
) -> None:
    """Apply a verified amendment."""
    db.execute(
        "UPDATE held SET expires_at = ?, opens_added = ?, amendments = ? WHERE capability_id = ?",
        (expires_at, opens_added, sequence, capability_id),
    )


def end(db: Connection, capability_id: bytes, *, revoked_at: int | None) -> list[bytes]:
    """Drop a capability's secrets and ciphertext; return the sealed files to delete."""
    blobs = [
        blob_id
        for (blob_id,) in db.execute(
            "SELECT blob_id FROM held_images WHERE capability_id = ? AND blob_id IS NOT NULL",
            (capability_id,),
        ).fetchall()
    ]
    db.execute("UPDATE held_images SET blob_id = NULL WHERE capability_id = ?", (capability_id,))
    db.execute(
        "UPDATE held SET holder_share = NULL, revoked_at = coalesce(revoked_at, ?)"
        " WHERE capability_id = ?",
        (revoked_at, capability_id),
    )
    db.executemany("DELETE FROM blobs WHERE blob_id = ?", [(one,) for one in blobs])
    return blobs


def expired(db: Connection, now: int) -> list[bytes]:
    """Return the held capabilities whose time is over and whose secrets still exist."""
    rows = db.execute(
        "SELECT capability_id FROM held WHERE holder_share IS NOT NULL AND expires_at <= ?"
        # An amendment may come right behind a capability that waited for this node.
        " AND received_at <= ?",
        (now, now),
    )
    return [one for (one,) in rows.fetchall()]


def next_expiry(db: Connection) -> int | None:
    """Return when the next held capability expires, or None."""
    (moment,) = db.execute(
        "SELECT min(max(expires_at, received_at)) FROM held WHERE holder_share IS NOT NULL"
    ).fetchone()
    return None if moment is None else int(moment)


def waiting_open(db: Connection, capability_id: bytes, image_id: bytes) -> bytes | None:
    """Return an open id that was stored and never answered, or None."""
    row = db.execute(
        "SELECT open_id FROM held_opens WHERE capability_id = ? AND image_id = ?"
        " AND answered_at IS NULL ORDER BY stored_at LIMIT 1",
        (capability_id, image_id),
    ).fetchone()
    return None if row is None else row[0]


def store_open(
    db: Connection, open_id: bytes, capability_id: bytes, image_id: bytes, now: int
) -> None:
    """Keep an open id before it is first sent."""
    db.execute(
        "INSERT INTO held_opens (open_id, capability_id, image_id, stored_at) VALUES (?, ?, ?, ?)",
        (open_id, capability_id, image_id, now),
    )


def answer_open(db: Connection, open_id: bytes, now: int) -> None:
    """Note that an open id has had its answer."""
    db.execute(
        "UPDATE held_opens SET answered_at = coalesce(answered_at, ?) WHERE open_id = ?",
        (now, open_id),
    )


def count_open(db: Connection, capability_id: bytes, image_id: bytes) -> None:
    """Count an open as the holder saw it."""
    db.execute(
        "UPDATE held_images SET opens = opens + 1 WHERE capability_id = ? AND image_id = ?",
        (capability_id, image_id),
    )
