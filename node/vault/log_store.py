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


def head(db: Connection) -> Head | None:
    """Return the newest signed head; None where the log is empty."""
    row = db.execute("SELECT size, note FROM log_head").fetchone()
    return None if row is None else Head(size=row[0], note=row[1])


def entry(db: Connection, index: int) -> StoredEntry | None:
    """Return one entry, or None where the log is shorter."""
    row = db.execute(
        "SELECT log_index, time, event, entry FROM log_entries WHERE log_index = ?", (index,)
    ).fetchone()
    return None if row is None else _stored(row)


def entries(db: Connection, *, start: int, limit: int) -> list[StoredEntry]:
    """Return up to limit entries from index start on."""
    rows = db.execute(
        "SELECT log_index, time, event, entry FROM log_entries WHERE log_index >= ?"
        " ORDER BY log_index LIMIT ?",
        (start, limit),
    ).fetchall()
    return [_stored(row) for row in rows]


def walk(db: Connection) -> Iterator[StoredEntry]:
    """Yield every entry in order, in pages, so that a long log fits in memory."""
    start = 0
    while page := entries(db, start=start, limit=_PAGE):
        yield from page
        start = page[-1].index + 1


def _stored(row: tuple[int, int, str, bytes]) -> StoredEntry:
    return StoredEntry(index=row[0], time=row[1], event=row[2], entry=row[3])


# Proofs -----------------------------------------------------------------------------------------


def node_reader(db: Connection) -> tree.Read:
    """Return the function by which ``protocol.audit.tree`` reads stored hashes."""

    def read(level: int, position: int) -> bytes:
        if level:
            sql = "SELECT hash FROM log_nodes WHERE level = ? AND position = ?"
            row = db.execute(sql, (level, position)).fetchone()
        else:
            sql = "SELECT leaf_hash FROM log_entries WHERE log_index = ?"
            row = db.execute(sql, (position,)).fetchone()
        if row is None:
            raise DamagedError("index", f"the log's tree lacks node {level}/{position}")
        (value,) = row
        return bytes(value)

    return read


def inclusion_proof(db: Connection, index: int, size: int) -> list[bytes]:
    """Return the proof that entry index is in the tree of the first size entries.

    LocalError unless 0 ≤ index < size; size is at most the log's.
    """
    return tree.inclusion_proof(index, size, node_reader(db))


def consistency_proof(db: Connection, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of new entries extends that of old.

    LocalError unless 1 ≤ old ≤ new; new is at most the log's size.
    """
    return tree.consistency_proof(old, new, node_reader(db))


# Values -----------------------------------------------------------------------------------------

# sealed: nonce (12) ‖ ChaCha20-Poly1305(subject key, nonce, salt (32) ‖ value, ad) with tag (16)
# ad:     index (8, big-endian) ‖ field name


def pseudonym(subject_key: bytes) -> bytes:
    """Return the 16 bytes that stand for a subject in entries.

    They come from its own random key, so that erasing the key unlinks them from the person.
    """
    return blake2b(HASH_PSEUDONYM, size=PSEUDONYM_BYTES, key=subject_key)


def _binding(index: int, name: str) -> bytes:
    return index.to_bytes(8, "big") + name.encode()


def seal_value(
    cipher: Aead, nonce: bytes, index: int, name: str, salt: bytes, value: bytes
) -> bytes:
    """Return what is stored beside entry index for its field name; nonce is fresh and random."""
    return nonce + cipher.seal(nonce, salt + value, _binding(index, name))


def values(db: Connection, index: int) -> dict[str, Value]:
    """Return what the commitments of entry index commit to, by field; erased ones are absent.

    Raises DamagedError where a stored value does not authenticate.
    """
    rows = db.execute(
        "SELECT v.field, v.sealed, s.key FROM log_values v JOIN log_subjects s USING (subject_id)"
        " WHERE v.log_index = ? ORDER BY v.field",
        (index,),
    ).fetchall()
    return {name: _open_value(index, name, sealed, key) for name, sealed, key in rows}


def _open_value(index: int, name: str, sealed: bytes, subject_key: bytes) -> Value:
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        plaintext = Aead(subject_key).open(nonce, ciphertext, _binding(index, name))
    except AuthenticationError:
        raise DamagedError("index", f"field {name} of log entry {index}") from None
    return Value(salt=plaintext[:SALT_BYTES], value=plaintext[SALT_BYTES:])


def pseudonyms(db: Connection, kind: str) -> dict[str, bytes]:
    """Return who is behind the pseudonyms of one kind: hexadecimal pseudonym to reference."""
    rows = db.execute("SELECT key, reference FROM log_subjects WHERE kind = ?", (kind,)).fetchall()
    return {pseudonym(key).hex(): reference for key, reference in rows}
