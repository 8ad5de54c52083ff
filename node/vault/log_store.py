"""Reading the stored audit log: entries, proofs, the head, and what entries commit to.

Belongs here: queries on the log's tables, and how a value is sealed beside its entry.
Never here: appending (``log_writer``), checking a log (``protocol.audit.verify``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from node.vault.errors import DamagedError
from node.vault.records import Connection
from protocol.audit import tree
from protocol.audit.entry import SALT_BYTES
from protocol.errors import AuthenticationError
from protocol.labels import HASH_PSEUDONYM
from protocol.primitives import NONCE_BYTES, Aead, blake2b

PSEUDONYM_BYTES: Final = 16

_PAGE: Final = 4096
"""Entries read at a time while walking the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest signed head."""

    size: int
    note: bytes
    """A checkpoint as a signed note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """One entry as it is stored."""

    incarnation: int
    """Which of the node's logs it stands in."""
    index: int
    time: int
    """Unix milliseconds."""
    event: str
    entry: bytes
    """The exact bytes that the tree hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What one commitment of an entry commits to."""

    salt: bytes = field(repr=False)
    value: bytes = field(repr=False)


# A node that was restored or copied leaves its log as it is and begins the next one. Every function
# reads the newest log unless it is told an incarnation.


def current(db: Connection) -> int:
    """Return the incarnation of the newest log."""
    (newest,) = db.execute("SELECT coalesce(max(incarnation), 0) FROM log_head").fetchone()
    return int(newest)


def incarnations(db: Connection) -> list[int]:
    """Return the incarnations whose logs have entries, oldest first."""
    rows = db.execute("SELECT incarnation FROM log_head ORDER BY incarnation").fetchall()
    return [incarnation for (incarnation,) in rows]


def _or_current(db: Connection, incarnation: int | None) -> int:
    return current(db) if incarnation is None else incarnation


def head(db: Connection, incarnation: int | None = None) -> Head | None:
    """Return the newest signed head; None where the log is empty."""
    row = db.execute(
        "SELECT size, note FROM log_head WHERE incarnation = ?", (_or_current(db, incarnation),)
    ).fetchone()
    return None if row is None else Head(size=row[0], note=row[1])


_ENTRY: Final = "SELECT incarnation, log_index, time, event, entry FROM log_entries"


def entry(db: Connection, index: int, incarnation: int | None = None) -> StoredEntry | None:
    """Return one entry, or None where the log is shorter."""
    row = db.execute(
        f"{_ENTRY} WHERE incarnation = ? AND log_index = ?", (_or_current(db, incarnation), index)
    ).fetchone()
    return None if row is None else stored_entry(row)


def entries(
    db: Connection, *, start: int, limit: int, incarnation: int | None = None
) -> list[StoredEntry]:
    """Return up to limit entries from index start on."""
    rows = db.execute(
        f"{_ENTRY} WHERE incarnation = ? AND log_index >= ? ORDER BY log_index LIMIT ?",
        (_or_current(db, incarnation), start, limit),
    ).fetchall()
    return [stored_entry(row) for row in rows]


def walk(db: Connection, incarnation: int | None = None) -> Iterator[StoredEntry]:
    """Yield every entry of a log in order, in pages, so that a long log fits in memory."""
    start, incarnation = 0, _or_current(db, incarnation)
    while page := entries(db, start=start, limit=_PAGE, incarnation=incarnation):
        yield from page
        start = page[-1].index + 1


def stored_entry(row: tuple[int, int, int, str, bytes]) -> StoredEntry:
    """Return an entry of the columns incarnation, log_index, time, event and entry."""
    incarnation, index, time, event, data = row
    return StoredEntry(incarnation=incarnation, index=index, time=time, event=event, entry=data)


# Proofs -----------------------------------------------------------------------------------------


def node_reader(db: Connection, incarnation: int | None = None) -> tree.Read:
    """Return the function by which ``protocol.audit.tree`` reads stored hashes."""
    incarnation = _or_current(db, incarnation)

    def read(level: int, position: int) -> bytes:
        # A node stands beside the entry that completes it, behind those below it.
        row = db.execute(
            "SELECT substr(hashes, ?, ?) FROM log_entries WHERE incarnation = ? AND log_index = ?",
            (
                level * tree.HASH_BYTES + 1,
                tree.HASH_BYTES,
                incarnation,
                ((position + 1) << level) - 1,
            ),
        ).fetchone()
        if row is None or len(row[0]) != tree.HASH_BYTES:
            raise DamagedError("index", f"the log's tree lacks node {level}/{position}")
        return bytes(row[0])

    return read


def inclusion_proof(
    db: Connection, index: int, size: int, incarnation: int | None = None
) -> list[bytes]:
    """Return the proof that entry index is in the tree of the first size entries.

    LocalError unless 0 ≤ index < size; size is at most the log's.
    """
    return tree.inclusion_proof(index, size, node_reader(db, incarnation))


def consistency_proof(
    db: Connection, old: int, new: int, incarnation: int | None = None
) -> list[bytes]:
    """Return the proof that the tree of new entries extends that of old.

    LocalError unless 1 ≤ old ≤ new; new is at most the log's size.
    """
    return tree.consistency_proof(old, new, node_reader(db, incarnation))


# Values -----------------------------------------------------------------------------------------

# sealed: nonce (12) ‖ ChaCha20-Poly1305(subject key, nonce, salt (32) ‖ value, ad) with tag (16)
# ad:     incarnation (8, big-endian) ‖ index (8, big-endian) ‖ field name


def pseudonym(subject_key: bytes) -> bytes:
    """Return the 16 bytes that stand for a subject in entries.

    They come from its own random key, so that erasing the key unlinks them from the person.
    """
    return blake2b(HASH_PSEUDONYM, size=PSEUDONYM_BYTES, key=subject_key)


def place_of(incarnation: int, index: int) -> bytes:
    """Return what binds values to their entry: no two entries of a node have the same."""
    return incarnation.to_bytes(8, "big") + index.to_bytes(8, "big")


def seal_value(
    cipher: Aead, nonce: bytes, place: bytes, name: str, salt: bytes, value: bytes
) -> bytes:
    """Return what is stored beside the entry at a place for its field name.

    ``place`` is that of `place_of`; nonce is fresh and random.
    """
    return nonce + cipher.seal(nonce, salt + value, place + name.encode())


def values(db: Connection, index: int, incarnation: int | None = None) -> dict[str, Value]:
    """Return what the commitments of entry index commit to, by field; erased ones are absent.

    Raises DamagedError where a stored value does not authenticate.
    """
    incarnation = _or_current(db, incarnation)
    rows = db.execute(
        "SELECT v.field, v.sealed, s.key FROM log_values v JOIN log_subjects s USING (subject_id)"
        " WHERE v.incarnation = ? AND v.log_index = ? ORDER BY v.field",
        (incarnation, index),
    ).fetchall()
    place = place_of(incarnation, index)
    return {name: _open_value(place, index, name, sealed, key) for name, sealed, key in rows}


def _open_value(place: bytes, index: int, name: str, sealed: bytes, subject_key: bytes) -> Value:
    try:
        salt, value = open_sealed(Aead(subject_key), place, name, sealed)
        return Value(salt=salt, value=value)
    except AuthenticationError:
        raise DamagedError("index", f"field {name} of log entry {index}") from None


def open_sealed(cipher: Aead, place: bytes, name: str, sealed: bytes) -> tuple[bytes, bytes]:
    """Return the salt and the value that `seal_value` sealed, or raise AuthenticationError."""
    plaintext = cipher.open(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place + name.encode())
    return plaintext[:SALT_BYTES], plaintext[SALT_BYTES:]


def pseudonyms(db: Connection, kind: str) -> dict[str, bytes]:
    """Return who is behind the pseudonyms of one kind: hexadecimal pseudonym to reference."""
    rows = db.execute("SELECT key, reference FROM log_subjects WHERE kind = ?", (kind,)).fetchall()
    return {pseudonym(key).hex(): reference for key, reference in rows}
