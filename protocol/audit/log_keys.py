"""Log keys: which key signs which heads of a node's logs.

Belongs here: the statement by which an identity announces a log key, and the set
of all keys of one identity, which opens its heads.
Never here: rolling a key, private keys, or where statements are kept.

    incarnation 0    epoch 0 (key of the certificate)  sizes 0 … n
                     epoch 1 (first statement)         sizes n + 1 … m
                     epoch 2                           sizes m + 1 …
    incarnation 1    epoch 0                           sizes 0 …

A size that closes an epoch is in the closing head that the next statement carries.
Everything that parses raises RemoteError kinds and nothing else. Format: docs/spec/log-keys.md.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from typing import Annotated, Final, Protocol

import msgspec

from protocol.audit.checkpoint import (
    Checkpoint,
    open_checkpoint_untrusted,
    origin_of,
    parse_checkpoint_untrusted,
)
from protocol.audit.note import KeyType, VerifierKey, open_note_untrusted, split_note_untrusted
from protocol.encoding import decode, encode
from protocol.errors import LocalError, LogError, RemoteError
from protocol.identity import Identity, Key, LocalIdentity, sign_statement
from protocol.identity import verify_statement_untrusted as verify_signed_untrusted
from protocol.labels import NO_TEAM, SignatureType
from protocol.limits import MAX_LOG_INTEGER, MAX_LOG_KEY_BYTES, MAX_LOG_KEYS
from protocol.primitives import is_valid_point

Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_LOG_INTEGER)]

_LOG_KEY: Final = SignatureType.LOG_KEY


class LogKeyStatement(msgspec.Struct, frozen=True, tag="log-key", forbid_unknown_fields=True):
    """An identity's word that a key signs one epoch of one of its logs."""

    origin: str
    """``origin_of`` its fingerprint and incarnation."""
    incarnation: Number
    epoch: Number
    """From 0 in every incarnation. Epoch 0 of incarnation 0 has no statement."""
    key: Key
    """Ed25519, never used for anything else."""
    previous: bytes
    """A signed note: the closing head of the epoch before, or, in epoch 0, the last head known
    of an earlier incarnation, empty where none is."""


def sign_log_key(statement: LogKeyStatement, *, signer: LocalIdentity) -> bytes:
    """Return statement signed by the identity key; LocalError where nobody would take it."""
    signed = sign_statement(signer.identity, _LOG_KEY, NO_TEAM, encode(statement))
    try:
        verify_log_key_untrusted(signed, signer=signer.public)
    except RemoteError as error:
        raise LocalError(f"no log key can be announced so: {error}") from None
    return signed


def verify_log_key_untrusted(signed: bytes, *, signer: Identity) -> LogKeyStatement:
    """Return what signer says of one of its log keys. Whether it fits the others is not checked.

    Raises EncodingError, AuthenticationError, or LogError: code ``origin`` where the origin is
    not that of the incarnation, ``key`` where the key cannot be a log key.
    """
    body = verify_signed_untrusted(
        signer.identity_key, _LOG_KEY, NO_TEAM, signed, limit=MAX_LOG_KEY_BYTES
    )
    statement = decode(LogKeyStatement, body, limit=MAX_LOG_KEY_BYTES)
    if statement.origin != origin_of(signer.fingerprint, statement.incarnation):
        raise LogError("log key: of another log", code="origin")
    if not (statement.incarnation or statement.epoch):
        raise LogError("log key: the first one is that of the certificate", code="key")
    others = (signer.identity_key, signer.agreement_key, signer.log_key, signer.cosigning_key)
    if statement.key in others or not is_valid_point(statement.key):
        raise LogError("log key: not a key of its own", code="key")
    return statement


class HeadKeys(Protocol):
    """What opens the heads of a log: LogKeys for a member's logs, OneLogKey for any other."""

    @property
    def origin(self) -> str:
        """Of the log that is meant where no other is named."""
        ...

    def open_head_untrusted(self, note: bytes, origin: str | None = None) -> Checkpoint:
        """Open a signed head; LogError."""
        ...

    def closings(self, origin: str) -> tuple[Checkpoint, ...]:
        """Return the heads at which the log named origin changed its key, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OneLogKey:
    """The one key of a log that never changes it: a log that is no member's."""

    origin: str
    public: bytes

    def open_head_untrusted(self, note: bytes, origin: str | None = None) -> Checkpoint:
        """Open a head of this log; LogError as open_checkpoint_untrusted."""
        if origin not in (None, self.origin):
            raise LogError("checkpoint: of another log", code="origin")
        return open_checkpoint_untrusted(note, self.origin, self.public)

    def closings(self, origin: str) -> tuple[Checkpoint, ...]:
        """Return nothing: there is one epoch."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Epoch:
    """One epoch of the incarnation that it stands in."""

    start: int
    """The first size its key counts for."""
    key: bytes
    closing: Checkpoint | None = None
    """The head that ended it; its key counts for no larger size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeys:
    """All log keys of one identity that are known, from its certificate and its statements."""

    identity: Identity
    incarnation: int
    """The newest one."""
    epoch: int
    """The newest one of that incarnation."""
    statements: tuple[bytes, ...]
    """Signed, in their order: what somebody else needs, beside the certificate, for the same."""
    _logs: tuple[tuple[str, tuple[_Epoch, ...]], ...]
    """Origin and epochs of each incarnation that is known, in order."""
    _said: tuple[LogKeyStatement, ...]

    @classmethod
    def of(cls, identity: Identity) -> LogKeys:
        """Return what the certificate alone says: epoch 0 of incarnation 0."""
        first = _Epoch(start=0, key=identity.log_key)
        return cls(
            identity=identity,
            incarnation=0,
            epoch=0,
            statements=(),
            _logs=((origin_of(identity.fingerprint), (first,)),),
            _said=(),
        )

    @property
    def origin(self) -> str:
        """Of the newest incarnation."""
        return self._logs[-1][0]

    @property
    def origins(self) -> tuple[str, ...]:
        """Of every incarnation that is known, in order."""
        return tuple(origin for origin, _ in self._logs)

    @property
    def key(self) -> bytes:
        """Of the newest epoch."""
        return self._logs[-1][1][-1].key

    def with_statement_untrusted(self, signed: bytes) -> LogKeys:
        """Return these keys and the one that signed announces; the same where it is known.

        It must be the next epoch of the newest incarnation, or epoch 0 of a later one. Raises
        EncodingError, AuthenticationError, or LogError: code ``epoch_gap`` for any other,
        ``equivocation`` for a second statement for one epoch, ``key``, ``origin``,
        ``too_many_keys``, and those of open_head_untrusted for the head it cites.
        """
        statement = verify_log_key_untrusted(signed, signer=self.identity)
        place = (statement.incarnation, statement.epoch)
        for known in self._said:
            if (known.incarnation, known.epoch) == place:
                if known == statement:
                    return self
                raise LogError("log key: two statements for one epoch", code="equivocation")
        if len(self.statements) >= MAX_LOG_KEYS:
            raise LogError("log key: too many of one identity", code="too_many_keys")
        if any(statement.key == known.key for known in self._said):
            raise LogError("log key: used for an epoch before", code="key")
        if place == (self.incarnation, self.epoch + 1):
            logs = self._rolled(statement)
        elif statement.incarnation > self.incarnation and not statement.epoch:
            if statement.previous:
                self.open_head_untrusted(statement.previous)
            first = _Epoch(start=0, key=statement.key)
            logs = (*self._logs, (statement.origin, (first,)))
        else:
            raise LogError("log key: not of the epoch that comes next", code="epoch_gap")
        return replace(
            self,
            incarnation=statement.incarnation,
            epoch=statement.epoch,
            statements=(*self.statements, signed),
            _logs=logs,
            _said=(*self._said, statement),
        )

    def _rolled(self, statement: LogKeyStatement) -> tuple[tuple[str, tuple[_Epoch, ...]], ...]:
        """Return the logs with the newest epoch closed and the next one begun."""
        *earlier, (origin, (*epochs, newest)) = self._logs
        closing = self.open_head_untrusted(statement.previous, origin)
        # Its last entry is the one that closes the epoch, so no epoch is empty.
        if closing.size < max(newest.start, 1):
            raise LogError("log key: does not close the epoch before it", code="epoch_gap")
        closed = replace(newest, closing=closing)
        begun = _Epoch(start=closing.size + 1, key=statement.key)
        return (*earlier, (origin, (*epochs, closed, begun)))

    def spans(self, origin: str) -> tuple[tuple[int, int | None, bytes], ...]:
        """Return (first size, last size or None, key) of each epoch of the log named origin.

        Both sizes are included; a span without a last size is open. Empty for a log that is
        not known.
        """
        return tuple(
            (epoch.start, None if epoch.closing is None else epoch.closing.size, epoch.key)
            for epoch in self._epochs(origin)
        )

    def closings(self, origin: str) -> tuple[Checkpoint, ...]:
        """Return the head that closed each epoch of the log named origin, in order."""
        return tuple(epoch.closing for epoch in self._epochs(origin) if epoch.closing is not None)

    def open_head_untrusted(self, note: bytes, origin: str | None = None) -> Checkpoint:
        """Open a head of any log of this identity, or of the one named origin.

        Raises LogError: ``malformed_note``, ``malformed_checkpoint``, ``extension``;
        ``origin`` for another log or an incarnation that is not known; ``key`` where a key signed
        under the log's name that is not the key of its epoch; ``bad_signature``, ``unsigned``.
        After ``key`` and ``origin`` it is worth asking for statements that came since.
        """
        text, signatures = split_note_untrusted(note)
        head = parse_checkpoint_untrusted(text)
        epochs = self._epochs(head.origin)
        if not epochs or origin not in (None, head.origin):
            raise LogError("checkpoint: of another log", code="origin")
        # The epoch of a head is told by its size, never by who signed it: an old key, stolen or
        # not, says nothing about a later size, nor a new one about an earlier.
        epoch = epochs[bisect.bisect_right(epochs, head.size, key=lambda one: one.start) - 1]
        expected = VerifierKey(name=head.origin, key_type=KeyType.NOTE, public=epoch.key)
        names = {(signature.name, signature.key_id) for signature in signatures}
        if (expected.name, expected.key_id) in names:
            open_note_untrusted(note, (expected,))
            return head
        if head.origin in {name for name, _ in names}:
            raise LogError("checkpoint: not signed by the key of its epoch", code="key")
        raise LogError("checkpoint: not signed by its log", code="unsigned")

    def _epochs(self, origin: str) -> tuple[_Epoch, ...]:
        return next((epochs for known, epochs in self._logs if known == origin), ())
