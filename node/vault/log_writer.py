"""The writing end of the audit log, inside the database's one writer.

Belongs here: turning drafts into entries, what is sealed beside them, the tree's
growth, and the signed head of a commit.
Never here: the entry's format (``protocol.audit``), when to commit (``database``),
reading (``log_store``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from node.vault.errors import DamagedError
from node.vault.log_store import head, node_reader, pseudonym, seal_value
from node.vault.records import Connection, get_meta, set_meta
from protocol.audit.checkpoint import Checkpoint, open_checkpoint_untrusted, sign_checkpoint
from protocol.audit.entry import SALT_BYTES, Entry, commitment, encode_entry
from protocol.audit.tree import Frontier, leaf_hash
from protocol.errors import LocalError, RemoteError
from protocol.primitives import KEY_BYTES, NONCE_BYTES, Aead, Entropy, SigningKey

CLOCK_META: Final = "clock_high_water"
"""Key in ``meta`` of the latest wall time of any entry: 8 bytes, Unix milliseconds."""

_ENTRY_NONCE_BYTES: Final = 16
_VALUE_BYTES: Final = SALT_BYTES + NONCE_BYTES
"""Entropy that one value takes."""
_MOST_KNOWN: Final = 20_000
"""Subjects kept in memory: a team and the pictures that are being shared, in a few MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSigner:
    """In whose name heads are signed."""

    origin: str
    """The log's name, as ``protocol.audit.checkpoint.origin_of`` makes it."""
    key: SigningKey
    """The log key, which signs heads and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A person, picture, capability or album that an entry is about."""

    kind: str
    """``member``, ``image``, ``capability`` or ``album``."""
    reference: bytes = field(repr=False)
    """Its fingerprint or id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDraft:
    """What is to be logged, before it has a place and a time."""

    event: str
    """One of ``protocol.audit.entry.EVENTS``."""
    actor: bytes | None = field(default=None, repr=False)
    """Fingerprint of who did it; None is this node itself."""
    subjects: tuple[Subject, ...] = ()
    values: tuple[tuple[str, bytes, Subject], ...] = field(default=(), repr=False)
    """(field name, value, whose erasure erases it); the entry itself only commits to them."""
    nonce: bytes | None = field(default=None, repr=False)
    """16 bytes; None draws them."""


class _Pending(NamedTuple):
    seq: int
    time: int
    event: str
    entry: bytes
    leaf: bytes
    values: list[tuple[int, str, int, bytes]]
    """Rows of ``log_values``."""


class _Known(NamedTuple):
    """A subject whose key is at hand."""

    subject_id: int
    cipher: Aead
    pseudonym: str


class LogWriter:
    """The log's tree in memory, and the entries of the transaction that is running.

    Entries wait in memory until `flush`, so taking a failed job's entries back is cutting a list.
    Used by the writer's thread only; nobody else writes the log's tables.
    """

    def __init__(self, connection: Connection, *, signer: LogSigner, entropy: Entropy) -> None:
        self._connection = connection
        self._signer = signer
        self._entropy = entropy
        self._pending: list[_Pending] = []
        self._flushed: tuple[Frontier, bytes, int] | None = None
        self._known: dict[tuple[str, bytes], _Known] = {}
        self._learned: list[tuple[str, bytes]] = []
        """Subjects of the running transaction, which the database may yet forget."""
        self.head, self._frontier = _load(connection, signer)
        mark = get_meta(connection, CLOCK_META)
        self._clock = 0 if mark is None else int.from_bytes(mark, "big")

    @property
    def size(self) -> int:
        """Number of entries, those of the running transaction included."""
        return self._frontier.size + len(self._pending)

    @property
    def pending(self) -> int:
        """Number of entries of the running transaction."""
        return len(self._pending)

    @property
    def clock_high_water(self) -> int:
        """Latest wall time of any entry, Unix milliseconds; 0 where there is none."""
        return max([self._clock, *(entry.time for entry in self._pending)])

    def append(self, draft: LogDraft, now: int) -> int:
        """Add an entry to the running transaction and return its index.

        Raises LocalError or LimitError for a draft that makes no entry.
        """
        index = self.size
        random = self._entropy(_ENTRY_NONCE_BYTES + len(draft.values) * _VALUE_BYTES)
        commitments = {}
        values = []
        start = _ENTRY_NONCE_BYTES
        for name, value, subject in draft.values:
            salt = random[start : start + SALT_BYTES]
            nonce = random[start + SALT_BYTES : start + _VALUE_BYTES]
            start += _VALUE_BYTES
            known = self._subject(subject.kind, subject.reference)
            commitments[name] = commitment(salt, name, value).hex()
            sealed = seal_value(known.cipher, nonce, index, name, salt, value)
            values.append((index, name, known.subject_id, sealed))
        if len(commitments) != len(values):
            raise LocalError("an entry commits to each field once")
        entry = encode_entry(
            Entry(
                actor="" if draft.actor is None else self._subject("member", draft.actor).pseudonym,
                commitments=commitments,
                event=draft.event,
                nonce=(draft.nonce or random[:_ENTRY_NONCE_BYTES]).hex(),
                seq=index,
                subjects=tuple(
                    self._subject(subject.kind, subject.reference).pseudonym
                    for subject in draft.subjects
                ),
                time=now,
            )
        )
        self._pending.append(_Pending(index, now, draft.event, entry, leaf_hash(entry), values))
        return index

    def mark(self) -> tuple[int, int]:
        """Return where the running transaction is, for `cut`."""
        return len(self._pending), len(self._learned)

    def cut(self, mark: tuple[int, int]) -> None:
        """Take back what the running transaction did since mark."""
        pending, learned = mark
        del self._pending[pending:]
        for name in self._learned[learned:]:
            self._known.pop(name, None)
        del self._learned[learned:]

    def flush(self) -> None:
        """Write the transaction's entries, nodes and signed head; the caller commits.

        Call `committed` or `rolled_back` next.
        """
        if not self._pending:
            return
        frontier = self._frontier.copy()
        nodes = [node for entry in self._pending for node in frontier.append(entry.leaf)]
        note = sign_checkpoint(
            Checkpoint(origin=self._signer.origin, size=frontier.size, root=frontier.root()),
            self._signer.key,
        )
        clock = self.clock_high_water
        self._write(nodes, frontier.size, note, clock)
        self._flushed = (frontier, note, clock)

    def committed(self) -> None:
        """Take over what `flush` wrote: it is durable."""
        if self._flushed is not None:
            self._frontier, self.head, self._clock = self._flushed
        self._learned.clear()
        self.rolled_back()

    def rolled_back(self) -> None:
        """Forget the running transaction."""
        self._flushed = None
        self.cut((0, 0))

    def _write(
        self, nodes: Sequence[tuple[int, int, bytes]], size: int, note: bytes, clock: int
    ) -> None:
        self._connection.executemany(
            "INSERT INTO log_entries (log_index, time, event, entry, leaf_hash)"
            " VALUES (?, ?, ?, ?, ?)",
            [(one.seq, one.time, one.event, one.entry, one.leaf) for one in self._pending],
        )
        self._connection.executemany(
            "INSERT INTO log_values (log_index, field, subject_id, sealed) VALUES (?, ?, ?, ?)",
            [value for one in self._pending for value in one.values],
        )
        self._connection.executemany(
            "INSERT INTO log_nodes (level, position, hash) VALUES (?, ?, ?)", nodes
        )
        self._connection.execute(
            "INSERT INTO log_head (one, size, note) VALUES (1, ?, ?)"
            " ON CONFLICT (one) DO UPDATE SET size = excluded.size, note = excluded.note",
            (size, note),
        )
        if clock > self._clock:
            set_meta(self._connection, CLOCK_META, clock.to_bytes(8, "big"))

    def _subject(self, kind: str, reference: bytes) -> _Known:
        """Return a subject, whose key is made with its first entry."""
        name = (kind, reference)
        known = self._known.get(name)
        return self._learn(name) if known is None else known

    def _learn(self, name: tuple[str, bytes]) -> _Known:
        row = self._connection.execute(
            "SELECT subject_id, key FROM log_subjects WHERE kind = ? AND reference = ?", name
        ).fetchone()
        if row is None:
            row = self._connection.execute(
                "INSERT INTO log_subjects (kind, reference, key) VALUES (?, ?, ?)"
                " RETURNING subject_id, key",
                (*name, self._entropy(KEY_BYTES)),
            ).fetchone()
        subject_id, key = row
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        known = self._known[name] = _Known(subject_id, Aead(key), pseudonym(key).hex())
        self._learned.append(name)
        return known


def _load(connection: Connection, signer: LogSigner) -> tuple[bytes, Frontier]:
    """Return the newest head and its tree's frontier; DamagedError where they do not fit."""
    (entries,) = connection.execute("SELECT count(*) FROM log_entries").fetchone()
    newest = head(connection)
    if newest is None:
        if entries:
            raise DamagedError("index", "the log has entries and no signed head")
        return b"", Frontier()
    frontier = Frontier.from_nodes(newest.size, node_reader(connection))
    try:
        checkpoint = open_checkpoint_untrusted(
            newest.note, origin=signer.origin, log_public=signer.key.public
        )
    except RemoteError as error:
        raise DamagedError("index", f"the log's head: {error}") from None
    if (checkpoint.size, checkpoint.root) != (entries, frontier.root()):
        raise DamagedError("index", "the log's entries are not those of its signed head")
    return newest.note, frontier
