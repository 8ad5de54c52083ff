"""Checkpoints: the signed head of a log (C2SP tlog-checkpoint, tlog-cosignature).

Belongs here: the text of a checkpoint, its signature by the log, cosignatures
of witnesses, and the origin that names a log.
Never here: proofs between checkpoints (``proof``) or which witnesses are enough.

Everything that parses raises LogError and nothing else. Format: docs/spec/checkpoint.md.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.audit.note import (
    KeyType,
    Verified,
    VerifierKey,
    is_note_text,
    open_note_untrusted,
    parse_base64_untrusted,
    parse_decimal_untrusted,
    parse_signature_line_untrusted,
    sign_cosignature,
    sign_note,
    verify_note_signature_untrusted,
)
from protocol.audit.tree import HASH_BYTES
from protocol.errors import LocalError, LogError
from protocol.limits import MAX_NOTE_BYTES, MAX_TREE_SIZE
from protocol.primitives import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a log: size and root belong together and come from one signed text."""

    origin: str
    """Names the log; one line."""
    size: int
    """Number of entries."""
    root: bytes
    """Root hash, 32 bytes."""


def origin_of(fingerprint: bytes, incarnation: int = 0) -> str:
    """Return the origin of a node's log: ``safelight/<fingerprint>/<incarnation>``.

    The fingerprint stands in lowercase base32 without padding, 52 characters.
    """
    name = base64.b32encode(fingerprint).decode().rstrip("=").lower()
    return f"safelight/{name}/{incarnation}"


# origin LF
# size, decimal LF
# base64(root) LF


def format_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the text that is signed; LocalError where it would not parse again."""
    root = base64.b64encode(checkpoint.root).decode()
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n".encode()
    try:
        same = parse_checkpoint_untrusted(text) == checkpoint
    except LogError:
        same = False
    if not same:
        raise LocalError("a checkpoint is an origin of one line, a size, and a root of 32 bytes")
    return text


def parse_checkpoint_untrusted(text: bytes) -> Checkpoint:
    """Parse the text of a checkpoint, which must be these three lines exactly.

    Raises LogError: code ``extension`` for further lines, ``malformed_checkpoint`` otherwise.
    """
    lines = text.decode().split("\n") if is_note_text(text) else []
    if len(lines) < 4 or not lines[0]:
        raise LogError("checkpoint: malformed", code="malformed_checkpoint")
    origin, size, root, *rest = lines
    checkpoint = Checkpoint(
        origin=origin,
        size=parse_decimal_untrusted(
            size, limit=MAX_TREE_SIZE, what="checkpoint", code="malformed_checkpoint"
        ),
        root=parse_base64_untrusted(root, what="checkpoint", code="malformed_checkpoint"),
    )
    if len(checkpoint.root) != HASH_BYTES:
        raise LogError("checkpoint: the root is not 32 bytes", code="malformed_checkpoint")
    if rest != [""]:
        raise LogError("checkpoint: has extension lines", code="extension")
    return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey, name: str | None = None) -> bytes:
    """Return the note of checkpoint signed by the log's key, under its origin or name."""
    text = format_checkpoint(checkpoint)
    return sign_note(text, name=checkpoint.origin if name is None else name, key=key)


def open_checkpoint_untrusted(data: bytes, origin: str, log_public: bytes) -> Checkpoint:
    """Open a checkpoint of the log named origin, signed by log_public under that name.

    Raises LogError: the codes of open_note_untrusted and parse_checkpoint_untrusted, and
    ``origin`` where the text names another log.
    """
    return open_cosigned_untrusted(data, origin, log_public, ())[0]


def open_cosigned_untrusted(
    data: bytes, origin: str, log_public: bytes, witnesses: Iterable[VerifierKey]
) -> tuple[Checkpoint, tuple[Verified, ...]]:
    """Open a checkpoint as open_checkpoint_untrusted does; return with it who cosigned it.

    Each of witnesses stands there at most once. A failing cosignature of one of them fails the
    whole note (code ``bad_signature``); the log's own signature must be there (``unsigned``).
    """
    log = VerifierKey(name=origin, key_type=KeyType.NOTE, public=log_public)
    note = open_note_untrusted(data, (*witnesses, log))
    if all(signature.key != log for signature in note.verified):
        raise LogError("checkpoint: not signed by its log", code="unsigned")
    checkpoint = parse_checkpoint_untrusted(note.text)
    if checkpoint.origin != origin:
        raise LogError("checkpoint: of another log", code="origin")
    return checkpoint, tuple(signature for signature in note.verified if signature.key != log)


def cosign(checkpoint: Checkpoint, *, name: str, key: SigningKey, now: int) -> bytes:
    """Return the cosignature line: at now (Unix ms) this is the largest consistent tree I saw.

    The caller has checked consistency and stored the checkpoint durably before.
    """
    return sign_cosignature(format_checkpoint(checkpoint), name=name, key=key, now=now)


def verify_cosignature_untrusted(
    line: bytes, checkpoint: Checkpoint, witness: VerifierKey
) -> Verified:
    """Verify one cosignature line of witness over checkpoint.

    Raises LogError: code ``malformed_note``, ``unsigned`` for another key, ``bad_signature``.
    """
    if len(line) > MAX_NOTE_BYTES or not is_note_text(line):
        raise LogError("cosignature: malformed", code="malformed_note")
    signature = parse_signature_line_untrusted(line.decode().removesuffix("\n"))
    if (signature.name, signature.key_id) != (witness.name, witness.key_id):
        raise LogError("cosignature: of another key", code="unsigned")
    return verify_note_signature_untrusted(format_checkpoint(checkpoint), signature, witness)
