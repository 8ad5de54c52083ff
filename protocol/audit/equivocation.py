"""Proof that a log has two histories, for somebody who trusts none of those who saw them.

Belongs here: comparing two heads of one log, and the evidence of a contradiction,
which a third party checks with nothing else at hand.
Never here: noticing one, alarms, or what a node does about it.

    two_roots   two heads of one size with two roots: proof by itself
    fork        heads of two sizes; a consistency proof shows that the log of the larger one
                begins with another root than the smaller one has
    two_keys    two statements about the log key of one epoch

Functions that parse raise RemoteError kinds and nothing else. Format: docs/spec/evidence.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

import msgspec

from protocol.audit.checkpoint import Checkpoint
from protocol.audit.log_keys import LogKeys, LogKeyStatement, verify_log_key_untrusted
from protocol.audit.proof import consistency_roots, verify_consistency
from protocol.audit.tree import EMPTY_ROOT
from protocol.encoding import decode, encode
from protocol.errors import LimitError, LocalError, LogError
from protocol.identity import Identity, parse_certificate_untrusted
from protocol.limits import MAX_EVIDENCE_BYTES


class Comparison(Enum):
    """What two signed heads of one log say of each other."""

    CONSISTENT = "consistent"
    """One size and one root, or one of the trees is empty."""
    EQUIVOCATION = "equivocation"
    """One size and two roots: the log has two histories."""
    NEED_CONSISTENCY = "need consistency"
    """Two sizes: only a consistency proof tells."""


def compare_heads(one: Checkpoint, other: Checkpoint) -> Comparison:
    """Compare two heads that their log signed; LocalError where they are of two logs."""
    if one.origin != other.origin:
        raise LocalError("heads of two logs do not contradict each other")
    if one.size == other.size:
        return Comparison.CONSISTENT if one.root == other.root else Comparison.EQUIVOCATION
    smaller = min(one, other, key=lambda head: head.size)
    if (smaller.size, smaller.root) == (0, EMPTY_ROOT):
        return Comparison.CONSISTENT
    return Comparison.NEED_CONSISTENCY


class Kind(StrEnum):
    """What is proven. The values are wire values."""

    TWO_ROOTS = "two_roots"
    FORK = "fork"
    TWO_KEYS = "two_keys"


class Evidence(msgspec.Struct, frozen=True, tag="evidence", forbid_unknown_fields=True):
    """A contradiction in what one identity signed, with all that is needed to check it."""

    kind: Kind
    certificate: bytes
    """Of the identity."""
    statements: tuple[bytes, ...]
    """Its statements about log keys, as many as the keys of both heads need, in order."""
    first: bytes
    """A signed head, of the smaller size where there are two; or a signed statement."""
    second: bytes
    root: bytes
    """Of kind fork: the root that the second head's log has at the first one's size."""
    proof: tuple[bytes, ...]
    """Of kind fork: the consistency proof from there to the second head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """What a verified evidence shows."""

    identity: Identity
    kind: Kind
    origin: str
    first: Checkpoint | LogKeyStatement
    second: Checkpoint | LogKeyStatement


def head_evidence(
    keys: LogKeys,
    one: bytes,
    other: bytes,
    *,
    root: bytes = b"",
    proof: Sequence[bytes] = (),
) -> Evidence:
    """Return the evidence of two signed heads; LogError (code ``no_evidence``) where it is none.

    Heads of two sizes need root and proof as Evidence has them: a mirror of the larger log knows
    the root, or forked_root_untrusted reads it from the log's own proof.
    """
    sizes = [keys.open_head_untrusted(note).size for note in (one, other)]
    first, second = (other, one) if sizes[1] < sizes[0] else (one, other)
    same = sizes[0] == sizes[1]
    return _checked(
        Evidence(
            kind=Kind.TWO_ROOTS if same else Kind.FORK,
            certificate=keys.identity.certificate,
            statements=keys.statements,
            first=first,
            second=second,
            root=root,
            proof=tuple(proof),
        )
    )


def key_evidence(identity: Identity, one: bytes, other: bytes) -> Evidence:
    """Return the evidence of two signed statements about one log key; LogError as head_evidence."""
    return _checked(
        Evidence(
            kind=Kind.TWO_KEYS,
            certificate=identity.certificate,
            statements=(),
            first=one,
            second=other,
            root=b"",
            proof=(),
        )
    )


def _checked(evidence: Evidence) -> Evidence:
    verify_evidence_untrusted(evidence)
    return evidence


def encode_evidence(evidence: Evidence) -> bytes:
    """Return the bytes to hand on; LimitError where nobody would read so many."""
    data = encode(evidence)
    if len(data) > MAX_EVIDENCE_BYTES:
        raise LimitError(f"evidence: {len(data)} bytes, at most {MAX_EVIDENCE_BYTES} allowed")
    return data


def decode_evidence_untrusted(data: bytes) -> Evidence:
    """Decode an evidence; EncodingError for anything else. Nothing is verified."""
    return decode(Evidence, data, limit=MAX_EVIDENCE_BYTES)


def verify_evidence_untrusted(evidence: Evidence) -> Misbehaviour:
    """Verify that the identity of the certificate contradicted itself, and say how.

    Whether that certificate is of somebody in particular is for the reader to compare. Raises
    RemoteError kinds: of the certificate, the statements and the heads, and LogError (code
    ``no_evidence``) where all of them verify and do not contradict each other.
    """
    identity = parse_certificate_untrusted(evidence.certificate)
    first: Checkpoint | LogKeyStatement
    second: Checkpoint | LogKeyStatement
    if evidence.kind is Kind.TWO_KEYS:
        first = verify_log_key_untrusted(evidence.first, signer=identity)
        second = verify_log_key_untrusted(evidence.second, signer=identity)
        places = [(one.incarnation, one.epoch) for one in (first, second)]
        shown = places[0] == places[1] and first != second and not evidence.statements
        shown = shown and not evidence.root and not evidence.proof
    else:
        keys = LogKeys.of(identity)
        for statement in evidence.statements:
            keys = keys.with_statement_untrusted(statement)
        first = keys.open_head_untrusted(evidence.first)
        second = keys.open_head_untrusted(evidence.second, first.origin)
        shown = _heads_contradict(evidence, first, second)
    if not shown:
        raise LogError("evidence: nothing in it contradicts itself", code="no_evidence")
    return Misbehaviour(
        identity=identity, kind=evidence.kind, origin=first.origin, first=first, second=second
    )


def _heads_contradict(evidence: Evidence, first: Checkpoint, second: Checkpoint) -> bool:
    if evidence.kind is Kind.TWO_ROOTS:
        equivocates = compare_heads(first, second) is Comparison.EQUIVOCATION
        return equivocates and not evidence.root and not evidence.proof
    # A proof binds every hash in it to the second root, and so the root that it starts from.
    if not first.size < second.size or evidence.root == first.root:
        return False
    try:
        verify_consistency(first.size, second.size, evidence.root, second.root, evidence.proof)
    except LogError:
        return False
    return True


def forked_root_untrusted(
    old: int, new: int, root_new: bytes, proof: Sequence[bytes], told: bytes = b""
) -> bytes | None:
    """Return the root that the tree (new, root_new) had at size old, as its log's proof shows.

    A log that has forked answers with the proof of its own history: compare the root with the one
    signed before. A proof from a power of two leaves out the root it starts from: that one is
    ``told``, what the log says it was, and bound by root_new all the same. None where the proof
    does not lead to root_new.
    """
    if not 0 < old < new:
        return None
    try:
        path = [told, *proof] if old & (old - 1) == 0 else proof
        before, after = consistency_roots(old, new, path)
    except LogError:
        return None
    return before if after == root_new else None
