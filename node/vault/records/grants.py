"""Rows of the capabilities this node issued: grants, their pictures, renditions and releases.

Belongs here: the issuer's tables, the conditional count of an open among them.
Never here: whether an open is allowed (``protocol.capability``).
"""

from __future__ import annotations

from dataclasses import dataclass

from node.vault.records import Connection, as_row, as_row_or_none, capabilities_starting


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRow:
    """A capability as its issuer keeps it."""

    capability_id: bytes
    capability_hash: bytes
    holder: bytes
    terms: bytes
    signature: bytes
    holder_share: bytes | None
    list_key: bytes | None
    list_blob_id: bytes | None
    slot: int | None
    image_count: int
    created_at: int
    expires_at: int
    opens_added: int
    amendments: int
    opens: int
    last_open: int | None
    delivered_at: int | None
    received_at: int | None
    revoked_at: int | None
    revocation_seen: int | None
    ended_at: int | None
    lapsed_at: int | None
    reissued_as: bytes | None
    ownership: bytes | None

    def __repr__(self) -> str:
        return f"GrantRow({self.capability_id.hex()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantImageRow:
    """One picture of a capability."""

    capability_id: bytes
    position: int
    image_id: bytes
    version_id: bytes
    rendition_id: bytes | None
    manifest: bytes | None
    ready_at: int | None
    """When the manifest was bound to it, Unix milliseconds."""
    opens: int
    problem_code: str | None
    """Why there is no rendition, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionRow:
    """Bytes derived from a version, sealed under R."""

    rendition_id: bytes
    version_id: bytes
    spec: str
    blob_id: bytes
    key: bytes
    commitment: bytes
    format: str
    width: int
    height: int
    disclosure: bytes

    def __repr__(self) -> str:
        return f"RenditionRow({self.rendition_id.hex()}, {self.spec})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """A release that was counted and logged."""

    open_id: bytes
    capability_id: bytes
    image_id: bytes
    rendition_id: bytes
    incarnation: int
    """Of the log that the index is of."""
    log_index: int
    released_at: int
    opened_at: int | None
    saved_at: int | None
    redelivered_at: int | None


_GRANT = "SELECT " + ", ".join(GrantRow.__slots__) + " FROM grants "
_GRANT_IMAGE = "SELECT " + ", ".join(GrantImageRow.__slots__) + " FROM grant_images "
_RENDITION = "SELECT " + ", ".join(RenditionRow.__slots__) + " FROM renditions "
_RELEASE = "SELECT " + ", ".join(ReleaseRow.__slots__) + " FROM releases "


def insert_grant(db: Connection, row: GrantRow, images: list[tuple[bytes, bytes]]) -> None:
    """Add a capability with its (image id, version id) in order."""
    db.execute(
        f"INSERT INTO grants ({', '.join(GrantRow.__slots__)})"
        f" VALUES ({', '.join('?' * len(GrantRow.__slots__))})",
        tuple(getattr(row, name) for name in GrantRow.__slots__),
    )
    db.executemany(
        "INSERT INTO grant_images (capability_id, position, image_id, version_id)"
        " VALUES (?, ?, ?, ?)",
        [
            (row.capability_id, position, image_id, version_id)
            for position, (image_id, version_id) in enumerate(images)
        ],
    )


def grant(db: Connection, capability_id: bytes) -> GrantRow | None:
    """Return a capability by its id, or None."""
    return _grant(db.execute(_GRANT + "WHERE capability_id = ?", (capability_id,)).fetchone())


def grant_by_hash(db: Connection, capability_hash: bytes) -> GrantRow | None:
    """Return a capability by its hash, or None."""
    return _grant(db.execute(_GRANT + "WHERE capability_hash = ?", (capability_hash,)).fetchone())


def _grant(row: tuple[object, ...] | None) -> GrantRow | None:
    return as_row_or_none(GrantRow, row)


def grants(db: Connection) -> list[GrantRow]:
    """Return every capability, newest first."""
    rows = db.execute(_GRANT + "ORDER BY created_at DESC, capability_id").fetchall()
    return [as_row(GrantRow, row) for row in rows]


def find_grants(db: Connection, text: str) -> list[bytes]:
    """Return the ids of the capabilities whose id starts with this text."""
    return capabilities_starting(db, "grants", text)


def grants_with_image_of_album(db: Connection, album_id: bytes) -> list[bytes]:
    """Return the ids of the capabilities that hold a picture of an album."""
    rows = db.execute(
        "SELECT DISTINCT capability_id FROM grant_images WHERE image_id IN"
        " (SELECT image_id FROM album_images WHERE album_id = ?)",
        (album_id,),
    )
    return [one for (one,) in rows.fetchall()]


def holders_of(db: Connection, image_id: bytes) -> list[GrantRow]:
    """Return the capabilities that hold a picture, newest first."""
    rows = db.execute(
        _GRANT + "WHERE capability_id IN (SELECT capability_id FROM grant_images"
        " WHERE image_id = ?) ORDER BY created_at DESC",
        (image_id,),
    ).fetchall()
    return [as_row(GrantRow, row) for row in rows]


def live_slots(db: Connection) -> dict[int, bytes]:
    """Return the keyslots in use, each with its capability's id."""
    return dict(
        db.execute("SELECT slot, capability_id FROM grants WHERE slot IS NOT NULL").fetchall()
    )


def grant_images(db: Connection, capability_id: bytes) -> list[GrantImageRow]:
    """Return a capability's pictures in order."""
    rows = db.execute(
        _GRANT_IMAGE + "WHERE capability_id = ? ORDER BY position", (capability_id,)
    ).fetchall()
    return [as_row(GrantImageRow, row) for row in rows]


def grant_image_by_rendition(
    db: Connection, capability_id: bytes, rendition_id: bytes
) -> GrantImageRow | None:
    """Return the picture of a capability that a rendition belongs to, or None."""
    row = db.execute(
        _GRANT_IMAGE + "WHERE capability_id = ? AND rendition_id = ?",
        (capability_id, rendition_id),
    ).fetchone()
    return None if row is None else as_row(GrantImageRow, row)


def image_names(db: Connection, capability_id: bytes) -> list[tuple[bytes, str]]:
    """Return (image id, name) of a capability's pictures in order."""
    return db.execute(
        "SELECT g.image_id, coalesce(i.name, '') FROM grant_images g"
        " LEFT JOIN images i USING (image_id) WHERE capability_id = ? ORDER BY position",
        (capability_id,),
    ).fetchall()


def count_open(
    db: Connection, capability_id: bytes, image_id: bytes, *, limit: int, whole: bool, now: int
) -> int | None:
    """Count one open if fewer than limit are counted; return what is left, or None.

    ``whole`` counts all pictures of the capability together.
    """
    if whole:
        counted = db.execute(
            "UPDATE grants SET opens = opens + 1, last_open = ?"
            " WHERE capability_id = ? AND opens < ?",
            (now, capability_id, limit),
        ).rowcount
        db.execute(
            "UPDATE grant_images SET opens = opens + ? WHERE capability_id = ? AND image_id = ?",
            (counted, capability_id, image_id),
        )
        query = "SELECT opens FROM grants WHERE capability_id = ?"
        key: tuple[bytes, ...] = (capability_id,)
    else:
        counted = db.execute(
            "UPDATE grant_images SET opens = opens + 1"
            " WHERE capability_id = ? AND image_id = ? AND opens < ?",
            (capability_id, image_id, limit),
        ).rowcount
        db.execute(
            "UPDATE grants SET opens = opens + ?, last_open = max(coalesce(last_open, 0), ?)"
            " WHERE capability_id = ?",
            (counted, now, capability_id),
        )
        query = "SELECT opens FROM grant_images WHERE capability_id = ? AND image_id = ?"
        key = (capability_id, image_id)
    if not counted:
        return None
    (opens,) = db.execute(query, key).fetchone()
    return limit - int(opens)


def opens_used(db: Connection, capability_id: bytes) -> int:
    """Return the fewest opens that any picture of a capability has."""
    (fewest,) = db.execute(
        "SELECT coalesce(min(opens), 0) FROM grant_images WHERE capability_id = ?",
        (capability_id,),
    ).fetchone()
    return int(fewest)


def every_image_used_up(db: Connection, capability_id: bytes, limit: int) -> bool:
    """Say whether no picture of a capability has an open left."""
    (left,) = db.execute(
        "SELECT count(*) FROM grant_images WHERE capability_id = ? AND opens < ?",
        (capability_id, limit),
    ).fetchone()
    return not left


def release(db: Connection, open_id: bytes) -> ReleaseRow | None:
    """Return the release of an open id, or None."""
    row = db.execute(_RELEASE + "WHERE open_id = ?", (open_id,)).fetchone()
    return as_row_or_none(ReleaseRow, row)


def insert_release(db: Connection, row: ReleaseRow) -> None:
    """Keep a release, so that the same open id is never counted again."""
    db.execute(
        f"INSERT INTO releases ({', '.join(ReleaseRow.__slots__)})"
        f" VALUES ({', '.join('?' * len(ReleaseRow.__slots__))})",
        tuple(getattr(row, name) for name in ReleaseRow.__slots__),
    )


def mark_opened(db: Connection, open_id: bytes, now: int) -> None:
    """Note the holder's receipt for a release: it is not delivered again."""
    db.execute(
        "UPDATE releases SET opened_at = coalesce(opened_at, ?) WHERE open_id = ?", (now, open_id)
    )


def mark_saved(db: Connection, open_id: bytes, now: int) -> None:
    """Note the holder's receipt for a picture saved under a release."""
    db.execute("UPDATE releases SET saved_at = ? WHERE open_id = ?", (now, open_id))


def mark_redelivered(db: Connection, open_id: bytes, now: int) -> None:
    """Note when a release was last delivered again."""
    db.execute("UPDATE releases SET redelivered_at = ? WHERE open_id = ?", (now, open_id))


def mark_received(db: Connection, capability_id: bytes, now: int) -> None:
    """Note the holder's receipt for the capability."""
    db.execute(
        "UPDATE grants SET received_at = ?, delivered_at = coalesce(delivered_at, ?)"
        " WHERE capability_id = ?",
        (now, now, capability_id),
    )


def mark_delivered(db: Connection, capability_id: bytes, now: int) -> None:
    """Note that the holder has stored the capability."""
    db.execute(
        "UPDATE grants SET delivered_at = coalesce(delivered_at, ?) WHERE capability_id = ?",
        (now, capability_id),
    )


def mark_revocation_seen(db: Connection, capability_id: bytes, now: int) -> None:
    """Note that the holder has seen the revocation."""
    db.execute(
        "UPDATE grants SET revocation_seen = coalesce(revocation_seen, ?) WHERE capability_id = ?",
        (now, capability_id),
    )


def end(db: Connection, capability_id: bytes, *, revoked_at: int | None, now: int) -> None:
    """End a capability: its secrets leave the index; the caller then overwrites its keyslot."""
    db.execute(
        "UPDATE grants SET ended_at = ?, revoked_at = ?, holder_share = NULL, list_key = NULL,"
        " slot = NULL WHERE capability_id = ?",
        (now, revoked_at, capability_id),
    )


def lapse(db: Connection, capability_id: bytes, now: int) -> None:
    """Note that a capability that was revoked is over because this node began a new log."""
    db.execute("UPDATE grants SET lapsed_at = ? WHERE capability_id = ?", (now, capability_id))


def live(db: Connection) -> list[GrantRow]:
    """Return the capabilities that have not ended, oldest first."""
    rows = db.execute(_GRANT + "WHERE ended_at IS NULL ORDER BY created_at, capability_id")
    return [as_row(GrantRow, row) for row in rows.fetchall()]


def lapsed(db: Connection) -> list[GrantRow]:
    """Return the capabilities that a new log ended and nothing was issued for, oldest first."""
    rows = db.execute(
        _GRANT + "WHERE lapsed_at IS NOT NULL AND reissued_as IS NULL"
        " ORDER BY created_at, capability_id"
    )
    return [as_row(GrantRow, row) for row in rows.fetchall()]


def reissue(db: Connection, capability_id: bytes, by: bytes) -> bool:
    """Note which capability was issued for one that lapsed; False where one was already."""
    return (
        db.execute(
            "UPDATE grants SET reissued_as = ? WHERE capability_id = ? AND lapsed_at IS NOT NULL"
            " AND reissued_as IS NULL",
            (by, capability_id),
        ).rowcount
        > 0
    )


def amend(
    db: Connection, capability_id: bytes, *, expires_at: int, opens_added: int, sequence: int
) -> None:
    """Apply an amendment."""
    db.execute(
        "UPDATE grants SET expires_at = ?, opens_added = ?, amendments = ? WHERE capability_id = ?",
        (expires_at, opens_added, sequence, capability_id),
    )


def expired(db: Connection, now: int) -> list[GrantRow]:
    """Return the capabilities whose time is over and whose keyslot still exists."""
    rows = db.execute(_GRANT + "WHERE ended_at IS NULL AND expires_at <= ?", (now,)).fetchall()
    return [as_row(GrantRow, row) for row in rows]


def next_expiry(db: Connection) -> int | None:
    """Return when the next live capability expires, or None."""
    (moment,) = db.execute("SELECT min(expires_at) FROM grants WHERE ended_at IS NULL").fetchone()
    return None if moment is None else int(moment)


# Renditions -------------------------------------------------------------------------------------


def rendition(db: Connection, rendition_id: bytes) -> RenditionRow | None:
    """Return a rendition by its id, or None."""
    return _rendition(db.execute(_RENDITION + "WHERE rendition_id = ?", (rendition_id,)).fetchone())


def rendition_of(db: Connection, version_id: bytes, spec: str) -> RenditionRow | None:
    """Return the rendition of a version by its spec, or None."""
    return _rendition(
        db.execute(_RENDITION + "WHERE version_id = ? AND spec = ?", (version_id, spec)).fetchone()
    )


def _rendition(row: tuple[object, ...] | None) -> RenditionRow | None:
    return as_row_or_none(RenditionRow, row)


def rendition_sha256(db: Connection, rendition_id: bytes) -> bytes | None:
    """Return the SHA-256 of a rendition's sealed file, or None."""
    row = db.execute(
        "SELECT sealed_sha256 FROM renditions JOIN blobs USING (blob_id) WHERE rendition_id = ?",
        (rendition_id,),
    ).fetchone()
    return None if row is None else bytes(row[0])


def insert_rendition(db: Connection, row: RenditionRow, now: int) -> None:
    """Add a rendition whose sealed file is durable."""
    db.execute(
        f"INSERT INTO renditions ({', '.join(RenditionRow.__slots__)}, created_at)"
        f" VALUES ({', '.join('?' * len(RenditionRow.__slots__))}, ?)",
        (*(getattr(row, name) for name in RenditionRow.__slots__), now),
    )


def copies_of_ended(db: Connection) -> list[tuple[bytes, bytes]]:
    """Return (rendition id, blob id) of copies that only a capability needs that has ended.

    Their spec names it: `preview:2048 for 3f9a…`.
    """
    return db.execute(
        "SELECT r.rendition_id, r.blob_id FROM renditions r JOIN grants g"
        " ON g.capability_id = unhex(substr(r.spec, instr(r.spec, ' for ') + 5))"
        " WHERE r.spec LIKE '% for %' AND g.ended_at IS NOT NULL"
    ).fetchall()


def drop_copies(db: Connection, copies: list[tuple[bytes, bytes]]) -> None:
    """Forget copies by (rendition id, blob id); the caller deletes the files after the commit."""
    db.executemany("DELETE FROM renditions WHERE rendition_id = ?", [(one,) for one, _ in copies])
    db.executemany("DELETE FROM blobs WHERE blob_id = ?", [(blob,) for _, blob in copies])


def waiting_for_rendition(db: Connection, limit: int) -> list[tuple[GrantImageRow, GrantRow]]:
    """Return pictures of live capabilities without a manifest, oldest capability first."""
    images = [f"m.{name}" for name in GrantImageRow.__slots__]
    grants_ = [f"g.{name}" for name in GrantRow.__slots__]
    rows = db.execute(
        f"SELECT {', '.join(images + grants_)} FROM grant_images m JOIN grants g"
        " USING (capability_id) WHERE m.rendition_id IS NULL AND g.ended_at IS NULL"
        " ORDER BY g.created_at, m.version_id, m.position LIMIT ?",
        (limit,),
    ).fetchall()
    cut = len(images)
    return [
        (
            as_row(GrantImageRow, row[:cut]),
            as_row(GrantRow, row[cut:]),
        )
        for row in rows
    ]


def set_manifest(
    db: Connection,
    capability_id: bytes,
    image_id: bytes,
    *,
    rendition_id: bytes,
    manifest: bytes,
    now: int,
) -> bool:
    """Bind a picture of a live capability to its rendition; False where it is no longer live."""
    return bool(
        db.execute(
            "UPDATE grant_images SET rendition_id = ?, manifest = ?, ready_at = ?,"
            " problem_code = NULL, problem = NULL"
            " WHERE capability_id = ? AND image_id = ? AND rendition_id IS NULL"
            " AND capability_id IN (SELECT capability_id FROM grants WHERE ended_at IS NULL)",
            (rendition_id, manifest, now, capability_id, image_id),
        ).rowcount
    )


def set_problem(
    db: Connection, pictures: list[tuple[bytes, bytes]], *, code: str, problem: str
) -> None:
    """Note why there is no rendition for (capability id, image id) of these."""
    db.executemany(
        "UPDATE grant_images SET problem_code = ?, problem = ?"
        " WHERE capability_id = ? AND image_id = ? AND rendition_id IS NULL",
        [(code, problem, *picture) for picture in pictures],
    )


def problems_of(db: Connection, capability_id: bytes) -> list[tuple[bytes, str, str, str]]:
    """Return (image id, name, code, problem) of the pictures of which no rendition can be made."""
    return db.execute(
        "SELECT m.image_id, coalesce(i.name, ''), m.problem_code, m.problem FROM grant_images m"
        " LEFT JOIN images i USING (image_id)"
        " WHERE m.capability_id = ? AND m.problem_code IS NOT NULL ORDER BY m.position",
        (capability_id,),
    ).fetchall()


def count_ready(db: Connection, capability_id: bytes) -> int:
    """Return of how many pictures of a capability the rendition is made."""
    (count,) = db.execute(
        "SELECT count(*) FROM grant_images WHERE capability_id = ? AND rendition_id IS NOT NULL",
        (capability_id,),
    ).fetchone()
    return int(count)


def problem_of(db: Connection, capability_id: bytes, image_id: bytes) -> str | None:
    """Return why there is no rendition of a picture for a capability, in words; None if there is.

    None too while nobody has tried.
    """
    (problem,) = db.execute(
        "SELECT problem FROM grant_images WHERE capability_id = ? AND image_id = ?",
        (capability_id, image_id),
    ).fetchone()
    return None if problem is None else str(problem)


# Denials ----------------------------------------------------------------------------------------


def denial(db: Connection, holder: bytes) -> tuple[int, int, int]:
    """Return (window start, logged, suppressed) of a holder's denials."""
    row = db.execute(
        "SELECT window_start, logged, suppressed FROM denials WHERE holder = ?", (holder,)
    ).fetchone()
    return (0, 0, 0) if row is None else row


def set_denial(
    db: Connection, holder: bytes, *, window_start: int, logged: int, suppressed: int
) -> None:
    """Keep a holder's window of denials."""
    db.execute(
        "INSERT OR REPLACE INTO denials (holder, window_start, logged, suppressed)"
        " VALUES (?, ?, ?, ?)",
        (holder, window_start, logged, suppressed),
    )


def suppressed_denials(db: Connection, before: int) -> list[tuple[bytes, int]]:
    """Return (holder, count) of the windows that began before a moment and want their summary."""
    return db.execute(
        "SELECT holder, suppressed FROM denials WHERE suppressed > 0 AND window_start <= ?",
        (before,),
    ).fetchall()
