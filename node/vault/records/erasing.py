"""What is destroyed when a subject is erased: its key, its values, and the rows it stands in.

Belongs here: finding and destroying them inside the caller's transaction.
Never here: deciding what may be erased, or saying what stays (``services.erasing``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from node.vault.log_store import pseudonym, values
from node.vault.records import Connection

REFERENCES = ("holder", "issuer", "member", "image", "capability", "album")
"""Fields of entries that hold a fingerprint or id: their values are no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRow:
    """A subject that the log has a key for."""

    subject_id: int
    kind: str
    reference: bytes
    key: bytes = field(repr=False)

    @property
    def pseudonym(self) -> str:
        """What stands for it in entries, hexadecimal."""
        return pseudonym(self.key).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A text beside an entry."""

    incarnation: int
    index: int
    field: str
    text: str


def subject(db: Connection, kind: str, reference: bytes) -> SubjectRow | None:
    """Return a subject, or None where the log says nothing about it."""
    row = db.execute(
        "SELECT subject_id, key FROM log_subjects WHERE kind = ? AND reference = ?",
        (kind, reference),
    ).fetchone()
    if row is None:
        return None
    return SubjectRow(subject_id=row[0], kind=kind, reference=reference, key=row[1])


def subjects(db: Connection) -> list[tuple[str, bytes]]:
    """Return (kind, reference) of everything the log has a key for."""
    return db.execute("SELECT kind, reference FROM log_subjects ORDER BY subject_id").fetchall()


def value_count(db: Connection, subject_id: int) -> tuple[int, int]:
    """Return how many values a subject's key seals, and beside how many entries."""
    values, entries = db.execute(
        "SELECT count(*), count(DISTINCT incarnation || ' ' || log_index) FROM log_values"
        " WHERE subject_id = ?",
        (subject_id,),
    ).fetchone()
    return int(values), int(entries)


def facts_of(db: Connection, subject_id: int) -> list[Fact]:
    """Return the texts that a subject's key seals."""
    places = db.execute(
        "SELECT incarnation, log_index, field FROM log_values WHERE subject_id = ?", (subject_id,)
    ).fetchall()
    return [
        Fact(
            incarnation=incarnation,
            index=index,
            field=name,
            text=values(db, index, incarnation)[name].value.decode(errors="replace"),
        )
        for incarnation, index, name in places
        if name not in REFERENCES
    ]


# Secure deletion is on (``vault.connection``): SQLite overwrites what is deleted with zeros, and
# leaves no copy behind where it moves rows between pages.


def destroy_facts(db: Connection, facts: list[Fact]) -> None:
    """Destroy single values."""
    db.executemany(
        "DELETE FROM log_values WHERE incarnation = ? AND log_index = ? AND field = ?",
        [(one.incarnation, one.index, one.field) for one in facts],
    )


def destroy_subject(db: Connection, row: SubjectRow) -> int:
    """Destroy a subject's key, every value under it, and the receipts beside such a value.

    Returns how many receipts there were: they name persons, pictures and capabilities in clear.
    """
    receipts = db.execute(
        "DELETE FROM receipts WHERE (incarnation, log_index) IN"
        " (SELECT incarnation, log_index FROM log_values WHERE subject_id = ?)",
        (row.subject_id,),
    ).rowcount
    db.execute("DELETE FROM log_subjects WHERE subject_id = ?", (row.subject_id,))
    db.execute("DELETE FROM log_values WHERE subject_id = ?", (row.subject_id,))
    return receipts


def destroy_orphans(db: Connection) -> int:
    """Delete the values whose key is gone: entries of the transaction that erased had some."""
    return db.execute(
        "DELETE FROM log_values WHERE subject_id NOT IN (SELECT subject_id FROM log_subjects)"
    ).rowcount


# Persons ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsRow:
    """A capability's terms, issued or held, as they may have to be rewritten."""

    table: str
    """``grants`` or ``held``."""
    capability_id: bytes
    terms: bytes
    ended: bool
    signed: bool
    """As it was issued: not rewritten yet."""


def terms_with(db: Connection, fingerprint: bytes) -> list[TermsRow]:
    """Return the capabilities that a person holds of us, and those that we hold of them."""
    found = db.execute(
        "SELECT 'grants', capability_id, terms, ended_at IS NOT NULL, signature <> x'' FROM grants"
        " WHERE holder = ?"
        " UNION ALL SELECT 'held', capability_id, terms, holder_share IS NULL,"
        " signature <> x'' FROM held WHERE issuer = ?",
        (fingerprint, fingerprint),
    ).fetchall()
    return [_terms(row) for row in found]


def terms_of(db: Connection, capability_id: bytes) -> list[TermsRow]:
    """Return a capability's terms; none where there is no such capability."""
    found = db.execute(
        "SELECT 'grants', capability_id, terms, ended_at IS NOT NULL, signature <> x'' FROM grants"
        " WHERE capability_id = ? UNION ALL SELECT 'held', capability_id, terms,"
        " holder_share IS NULL, signature <> x'' FROM held WHERE capability_id = ?",
        (capability_id, capability_id),
    ).fetchall()
    return [_terms(row) for row in found]


def _terms(row: tuple[Any, ...]) -> TermsRow:
    table, capability_id, terms, ended, signed = row
    return TermsRow(
        table=table,
        capability_id=capability_id,
        terms=terms,
        ended=bool(ended),
        signed=bool(signed),
    )


def rewrite_terms(db: Connection, row: TermsRow, terms: bytes, other: bytes) -> None:
    """Put other terms, unsigned, in a capability's place, and another fingerprint in its row."""
    if row.table == "grants":
        db.execute(
            "UPDATE grants SET terms = ?, holder = ?, signature = x'', ownership = NULL"
            " WHERE capability_id = ?",
            (terms, other, row.capability_id),
        )
    else:
        db.execute(
            "UPDATE held SET terms = ?, issuer = ?, signature = x'' WHERE capability_id = ?",
            (terms, other, row.capability_id),
        )
        db.execute("UPDATE held_images SET name = '' WHERE capability_id = ?", (row.capability_id,))
    db.execute("DELETE FROM outbox WHERE capability_id = ?", (row.capability_id,))


def provenances(db: Connection) -> list[tuple[bytes, bytes]]:
    """Return (image id, provenance) of the pictures that were saved under a capability."""
    return db.execute(
        "SELECT image_id, provenance FROM images WHERE provenance IS NOT NULL"
    ).fetchall()


def set_provenance(db: Connection, image_id: bytes, provenance: bytes) -> None:
    """Say anew where a picture came from."""
    db.execute("UPDATE images SET provenance = ? WHERE image_id = ?", (provenance, image_id))


def forget_peer(db: Connection, fingerprint: bytes, key_name: str) -> int:
    """Forget how a peer is reached, what waits for it, and what it and its log have signed.

    ``key_name`` is its fingerprint as the names of logs and witnesses have it. Alarms stay: they
    are evidence. Returns how many rows there were.
    """
    rows = 0
    for sql in (
        "DELETE FROM peers WHERE fingerprint = ?",
        "DELETE FROM peer_addresses WHERE fingerprint = ?",
        "DELETE FROM denials WHERE holder = ?",
        "DELETE FROM outbox WHERE peer = ?",
        "DELETE FROM peer_heads WHERE fingerprint = ?",
        "DELETE FROM peer_log_keys WHERE fingerprint = ?",
    ):
        rows += db.execute(sql, (fingerprint,)).rowcount
    for sql in (
        "DELETE FROM release_heads WHERE instr(origin, ?)",
        "DELETE FROM own_cosignatures WHERE instr(witness, ?)",
    ):
        rows += db.execute(sql, (key_name,)).rowcount
    return rows


# Pictures ---------------------------------------------------------------------------------------


def image_exists(db: Connection, image_id: bytes) -> bool:
    """Say whether a picture is in the library."""
    return db.execute("SELECT 1 FROM images WHERE image_id = ?", (image_id,)).fetchone() is not None


def live_with_image(db: Connection, image_id: bytes) -> int:
    """Return how many live capabilities, issued or held, name a picture."""
    (count,) = db.execute(
        "SELECT (SELECT count(*) FROM grant_images JOIN grants USING (capability_id)"
        " WHERE image_id = ?1 AND ended_at IS NULL)"
        " + (SELECT count(*) FROM held_images JOIN held USING (capability_id)"
        " WHERE image_id = ?1 AND holder_share IS NOT NULL)",
        (image_id,),
    ).fetchone()
    return int(count)


def forget_image(db: Connection, image_id: bytes) -> int:
    """Remove what is left of a picture that is gone: its words in the search index, its names.

    Returns how many rows there were.
    """
    rows = db.execute("DELETE FROM image_search WHERE image_id = ?", (image_id,)).rowcount
    rows += db.execute("DELETE FROM tags WHERE image_id = ?", (image_id,)).rowcount
    return (
        rows
        + db.execute(
            "UPDATE held_images SET name = '' WHERE image_id = ? AND name <> ''"
            " AND capability_id IN (SELECT capability_id FROM held WHERE holder_share IS NULL)",
            (image_id,),
        ).rowcount
    )


def forget_searched_words(db: Connection) -> None:
    """Merge the search index: it keeps the words of what was deleted until then."""
    db.execute("INSERT INTO image_search (image_search) VALUES ('optimize')")
