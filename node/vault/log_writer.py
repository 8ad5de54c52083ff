"""The writing end of the audit log, inside the database's one writer.

Belongs here: turning drafts into entries, what is sealed beside them, the tree's
growth, the signed head of a commit, the next key, and the next log.
Never here: the entry's format (``protocol.audit``), when to commit (``database``),
reading (``log_store``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from node.vault import log_keys
from node.vault.errors import DamagedError
from node.vault.log_keys import LogSigner
from node.vault.log_store import entry as stored
from node.vault.log_store import head, node_reader, place_of, pseudonym, seal_value
from node.vault.records import Connection, get_meta, set_meta
from protocol.audit.checkpoint import (
    Checkpoint,
    open_checkpoint_untrusted,
    parse_checkpoint_untrusted,
    sign_checkpoint,
)
from protocol.audit.entry import SALT_BYTES, Entry, commitment, encode_entry
from protocol.audit.log_keys import LogKeyStatement
from protocol.audit.note import split_note_untrusted
from protocol.audit.tree import Frontier, leaf_hash
from protocol.errors import LocalError, RemoteError
from protocol.primitives import KEY_BYTES, NONCE_BYTES, Aead, Entropy, SigningKey

__all__ = ["LogDraft", "LogSigner", "LogWriter", "Subject"]

CLOCK_META: Final = "clock_high_water"
"""Key in ``meta`` of the latest wall time of any entry: 8 bytes, Unix milliseconds."""

_ENTRY_NONCE_BYTES: Final = 16
_VALUE_BYTES: Final = SALT_BYTES + NONCE_BYTES
"""Entropy that one value takes."""
_MOST_KNOWN: Final = 20_000
"""Subjects kept in memory: a team and the pictures that are being shared, in a few MiB."""


SignLogKey = Callable[[LogKeyStatement], bytes]
"""Signs a statement about a log key with the identity key."""


class Subject(NamedTuple):
    """A person, picture, capability or album that an entry is about.

    A tuple, because every entry makes some and looks them up.
    """

    kind: str
    """``member``, ``image``, ``capability`` or ``album``; ``log`` is the node's own log."""
    reference: bytes
    """Its fingerprint or id; a log's origin."""

    def __repr__(self) -> str:
        return f"Subject(kind={self.kind!r})"


class LogDraft(NamedTuple):
    """What is to be logged, before it has a place and a time."""

    event: str
    """One of ``protocol.audit.entry.EVENTS``."""
    actor: bytes | None = None
    """Fingerprint of who did it; None is this node itself."""
    subjects: tuple[Subject, ...] = ()
    values: tuple[tuple[str, bytes, Subject], ...] = ()
    """(field name, value, whose erasure erases it); the entry itself only commits to them."""
    nonce: bytes | None = None
    """16 bytes; None draws them."""

    def __repr__(self) -> str:
        return f"LogDraft(event={self.event!r})"


class _Pending(NamedTuple):
    seq: int
    time: int
    event: str
    actor: int | None
    """Number of the subject who did it."""
    entry: bytes
    leaf: bytes
    values: list[tuple[int, int, str, int, bytes]]
    """Rows of ``log_values``."""


class _Log(NamedTuple):
    """A log as far as it is written."""

    signer: LogSigner
    frontier: Frontier
    head: bytes
    time: int
    """Of its last entry."""


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
        self._entropy = entropy
        self._pending: list[_Pending] = []
        self._known: dict[Subject, _Known] = {}
        self._learned: list[Subject] = []
        """Subjects of the running transaction, which the database may yet forget."""
        self._durable = _load(connection, signer)
        self._log = self._durable
        """What the running transaction appends to: another one where it begins the next log."""
        self._next_signer: LogSigner | None = None
        """Who signs after the running transaction, where that closes an epoch."""
        self._flushed: tuple[_Log, int] | None = None
        mark = get_meta(connection, CLOCK_META)
        self._clock = 0 if mark is None else int.from_bytes(mark, "big")

    @property
    def head(self) -> bytes:
        """The newest durable signed head, empty where the log is."""
        return self._durable.head

    @property
    def incarnation(self) -> int:
        """Which of the node's logs is appended to."""
        return self._log.signer.incarnation

    @property
    def size(self) -> int:
        """Number of entries, those of the running transaction included."""
        return self._log.frontier.size + len(self._pending)

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
        incarnation, index = self._log.signer.incarnation, self.size
        place = place_of(incarnation, index)
        random = self._entropy(_ENTRY_NONCE_BYTES + len(draft.values) * _VALUE_BYTES)
        commitments = {}
        values = []
        start = _ENTRY_NONCE_BYTES
        for name, value, subject in draft.values:
            salt = random[start : start + SALT_BYTES]
            nonce = random[start + SALT_BYTES : start + _VALUE_BYTES]
            start += _VALUE_BYTES
            known = self._subject(subject)
            commitments[name] = commitment(salt, name, value).hex()
            sealed = seal_value(known.cipher, nonce, place, name, salt, value)
            values.append((incarnation, index, name, known.subject_id, sealed))
        if len(commitments) != len(values):
            raise LocalError("an entry commits to each field once")
        actor = None if draft.actor is None else self._subject(Subject("member", draft.actor))
        entry = encode_entry(
            Entry(
                actor="" if actor is None else actor.pseudonym,
                commitments=commitments,
                event=draft.event,
                nonce=(draft.nonce or random[:_ENTRY_NONCE_BYTES]).hex(),
                seq=index,
                subjects=tuple([self._subject(subject).pseudonym for subject in draft.subjects]),
                time=now,
            )
        )
        number = None if actor is None else actor.subject_id
        self._pending.append(
            _Pending(index, now, draft.event, number, entry, leaf_hash(entry), values)
        )
        return index

    def roll(self, savepoint: Connection, now: int, sign: SignLogKey) -> None:
        """Close the epoch: its key signs one more head, and is erased; the next one is drawn.

        ``savepoint`` is the connection inside the job's savepoint. Nothing follows in the same
        transaction. ``sign`` signs what peers are told of the next
        key. Raises LocalError where there are too many.
        """
        signer = self._log.signer
        before = self._sign_head() if self._pending or not self._log.head else self._log.head
        seed = self._entropy(KEY_BYTES)
        key = SigningKey(seed)
        log = Subject(kind="log", reference=signer.origin.encode())
        self.append(
            LogDraft(
                event="epoch_closed",
                values=(
                    ("epoch", str(signer.epoch).encode(), log),
                    ("key", key.public.hex().encode(), log),
                    ("closing", before, log),
                ),
            ),
            now,
        )
        closing = self._sign_head()
        self._next_signer = replace(signer, key=key, epoch=signer.epoch + 1, closing=closing)
        _announce(savepoint, self._next_signer, closing, seed, sign)

    def begin(
        self,
        savepoint: Connection,
        now: int,
        origin: str,
        incarnation: int,
        previous: bytes,
        sign: SignLogKey,
    ) -> None:
        """Leave the log as it is, and begin the next one, signed by a key of its own.

        ``origin`` is that of the incarnation, ``previous`` the last head of an older one that is
        known, empty where none is. The transaction has no entries yet; its others stand in the
        new log.
        """
        assert not self._pending, "the transaction begins with this"
        seed = self._entropy(KEY_BYTES)
        signer = LogSigner(origin=origin, key=SigningKey(seed), incarnation=incarnation)
        self._log = _Log(signer, Frontier(), b"", 0)
        _announce(savepoint, signer, previous, seed, sign)
        log = Subject(kind="log", reference=signer.origin.encode())
        self.append(
            LogDraft(
                event="incarnation_started",
                values=(
                    ("incarnation", str(incarnation).encode(), log),
                    ("previous", previous, log),
                ),
            ),
            now,
        )

    def _sign_head(self) -> bytes:
        """Return the signed head of everything appended so far."""
        frontier = self._log.frontier.copy()
        for entry in self._pending:
            frontier.append(entry.leaf)
        return _signed(frontier, self._log.signer)

    def mark(self) -> tuple[int, int]:
        """Return where the running transaction is, for `cut`."""
        return len(self._pending), len(self._learned)

    def cut(self, mark: tuple[int, int]) -> None:
        """Take back what the running transaction did since mark."""
        pending, learned = mark
        del self._pending[pending:]
        for subject in self._learned[learned:]:
            self._known.pop(subject, None)
        del self._learned[learned:]
        # Whoever changes the key or the log is alone in its transaction.
        self._log, self._next_signer = self._durable, None

    def forget(self, kind: str, reference: bytes) -> None:
        """Keep no key of a subject whose row was deleted; its next entry makes another one."""
        self._known.pop(Subject(kind, reference), None)

    def flush(self) -> None:
        """Write the transaction's entries, nodes and signed head; the caller commits.

        Call `committed` or `rolled_back` next.
        """
        if not self._pending:
            return
        frontier = self._log.frontier.copy()
        hashes = [
            b"".join([one.leaf, *(node for _, _, node in frontier.append(one.leaf))])
            for one in self._pending
        ]
        note = _signed(frontier, self._log.signer)
        clock = self.clock_high_water
        self._write(hashes, frontier.size, note, clock)
        if self._next_signer is not None:
            assert note == self._next_signer.closing, "nothing follows what closes an epoch"
        log = _Log(self._next_signer or self._log.signer, frontier, note, self._pending[-1].time)
        self._flushed = (log, clock)

    def committed(self) -> None:
        """Take over what `flush` wrote: it is durable."""
        if self._flushed is not None:
            self._durable, self._clock = self._flushed
        self._learned.clear()
        self.rolled_back()

    def rolled_back(self) -> None:
        """Forget the running transaction."""
        self._flushed = None
        self.cut((0, 0))

    def _write(self, hashes: Sequence[bytes], size: int, note: bytes, clock: int) -> None:
        incarnation = self._log.signer.incarnation
        self._connection.executemany(
            "INSERT INTO log_entries (incarnation, log_index, time, event, actor, hashes, entry)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (incarnation, one.seq, one.time, one.event, one.actor, nodes, one.entry)
                for one, nodes in zip(self._pending, hashes, strict=True)
            ],
        )
        self._connection.executemany(
            "INSERT INTO log_values (incarnation, log_index, field, subject_id, sealed)"
            " VALUES (?, ?, ?, ?, ?)",
            [value for one in self._pending for value in one.values],
        )
        before = self._log.time
        for one in self._pending:
            if one.time < before:
                self._connection.execute(
                    "INSERT INTO log_clock_back (incarnation, log_index) VALUES (?, ?)",
                    (incarnation, one.seq),
                )
            before = one.time
        self._connection.execute(
            "INSERT INTO log_head (incarnation, size, note) VALUES (?, ?, ?)"
            " ON CONFLICT (incarnation) DO UPDATE SET size = excluded.size, note = excluded.note",
            (incarnation, size, note),
        )
        if clock > self._clock:
            set_meta(self._connection, CLOCK_META, clock.to_bytes(8, "big"))

    def _subject(self, subject: Subject) -> _Known:
        """Return a subject, whose key is made with its first entry."""
        known = self._known.get(subject)
        return self._learn(subject) if known is None else known

    def _learn(self, subject: Subject) -> _Known:
        row = self._connection.execute(
            "SELECT subject_id, key FROM log_subjects WHERE kind = ? AND reference = ?", subject
        ).fetchone()
        if row is None:
            row = self._connection.execute(
                "INSERT INTO log_subjects (kind, reference, key) VALUES (?, ?, ?)"
                " RETURNING subject_id, key",
                (*subject, self._entropy(KEY_BYTES)),
            ).fetchone()
        subject_id, key = row
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        known = self._known[subject] = _Known(subject_id, Aead(key), pseudonym(key).hex())
        self._learned.append(subject)
        return known


def _announce(
    savepoint: Connection, signer: LogSigner, previous: bytes, seed: bytes, sign: SignLogKey
) -> None:
    """Keep the key that signs from the next transaction on, and what its identity says of it."""
    statement = LogKeyStatement(
        origin=signer.origin,
        incarnation=signer.incarnation,
        epoch=signer.epoch,
        key=signer.key.public,
        previous=previous,
    )
    log_keys.put_next(savepoint, statement, sign(statement), seed)


def _signed(frontier: Frontier, signer: LogSigner) -> bytes:
    return sign_checkpoint(
        Checkpoint(origin=signer.origin, size=frontier.size, root=frontier.root()), signer.key
    )


def _load(connection: Connection, signer: LogSigner) -> _Log:
    """Return the log as it stands in the index; DamagedError where its parts do not fit."""
    (entries,) = connection.execute(
        "SELECT count(*) FROM log_entries WHERE incarnation = ?", (signer.incarnation,)
    ).fetchone()
    newest = head(connection, signer.incarnation)
    if newest is None:
        if entries:
            raise DamagedError("index", "the log has entries and no signed head")
        return _Log(signer, Frontier(), b"", 0)
    frontier = Frontier.from_nodes(newest.size, node_reader(connection, signer.incarnation))
    try:
        checkpoint = _open_untrusted(newest.note, signer)
    except RemoteError as error:
        raise DamagedError("index", f"the log's head: {error}") from None
    if (checkpoint.size, checkpoint.root) != (entries, frontier.root()):
        raise DamagedError("index", "the log's entries are not those of its signed head")
    last = stored(connection, newest.size - 1, signer.incarnation)
    return _Log(signer, frontier, newest.note, 0 if last is None else last.time)


def _open_untrusted(note: bytes, signer: LogSigner) -> Checkpoint:
    if note == signer.closing:
        # The key that signed it is erased; the identity's statement about the next key has it.
        return parse_checkpoint_untrusted(split_note_untrusted(note)[0])
    return open_checkpoint_untrusted(note, origin=signer.origin, log_public=signer.key.public)
