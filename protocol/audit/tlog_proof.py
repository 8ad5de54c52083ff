"""The file of one inclusion proof (C2SP tlog-proof).

Belongs here: the text, and verifying it against an entry, the log's keys and the
witnesses that are asked for.
Never here: making proofs (``tree``) or the arithmetic of one (``proof``).

The file does not hold the entry, and no signature covers its ``extra``. Everything that parses
raises LogError and nothing else. Format: docs/spec/audit-log.md, "Inclusion proof as a file".
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.audit.log_keys import HeadKeys
from protocol.audit.note import parse_base64_untrusted, parse_decimal_untrusted
from protocol.audit.proof import verify_inclusion
from protocol.audit.quorum import NO_WITNESS, Quorum, Witnessed, open_witnessed_untrusted
from protocol.audit.tree import HASH_BYTES, leaf_hash
from protocol.errors import LocalError, LogError
from protocol.limits import MAX_NOTE_BYTES, MAX_PROOF_HASHES, MAX_TREE_SIZE

# "c2sp.org/tlog-proof@v1" LF
# ["extra " base64 LF]
# "index " decimal LF
# (base64(hash) LF)*            leaf sibling first
# LF
# signed checkpoint, as it is

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_CODE: Final = "malformed_proof"
_WHAT: Final = "inclusion proof"


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """One entry's proof together with the signed checkpoint it leads to."""

    index: int
    hashes: tuple[bytes, ...]
    """32 bytes each, leaf sibling first."""
    checkpoint: bytes
    """The signed note, not yet opened."""
    extra: bytes | None = None
    """Anything at all; no signature covers it."""


def format_proof(
    index: int, proof: Sequence[bytes], note: bytes, extra: bytes | None = None
) -> bytes:
    """Return the text of a proof; LocalError where it would not parse again."""
    lines = [_HEADER]
    if extra is not None:
        lines.append("extra " + base64.b64encode(extra).decode())
    lines.append(f"index {index}")
    lines.extend(base64.b64encode(value).decode() for value in proof)
    data = "\n".join([*lines, "", ""]).encode() + note
    meant = InclusionProof(index=index, hashes=tuple(proof), checkpoint=note, extra=extra)
    try:
        same = parse_proof_untrusted(data) == meant
    except LogError:
        same = False
    if not same:
        raise LocalError("an inclusion proof is an index, up to 63 hashes and a checkpoint")
    return data


def parse_proof_untrusted(data: bytes) -> InclusionProof:
    """Parse the text of a proof; LogError (code ``malformed_proof``) for anything else.

    Nothing is verified.
    """
    head, blank, checkpoint = data.partition(b"\n\n")
    if len(data) > 2 * MAX_NOTE_BYTES or not blank or not checkpoint:
        raise _malformed("no checkpoint")
    try:
        header, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _malformed("not ASCII") from None
    if header != _HEADER:
        raise _malformed("unknown version")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _base64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise _malformed("no index")
    index = parse_decimal_untrusted(
        lines[0].removeprefix("index "), limit=MAX_TREE_SIZE, what=_WHAT, code=_CODE
    )
    hashes = tuple(_base64(line) for line in lines[1:])
    if len(hashes) > MAX_PROOF_HASHES or any(len(value) != HASH_BYTES for value in hashes):
        raise _malformed("not up to 63 hashes")
    return InclusionProof(index=index, hashes=hashes, checkpoint=checkpoint, extra=extra)


def verify_proof_untrusted(
    data: bytes,
    *,
    entry: bytes,
    keys: HeadKeys,
    origin: str | None = None,
    quorum: Quorum = NO_WITNESS,
    now: int = 0,
) -> tuple[InclusionProof, Witnessed]:
    """Verify that entry, its exact bytes, stands in a log of keys, or in the one named origin.

    Returns the proof, whose index is proven then, and the head with its cosignatures. ``now``
    (Unix ms) is what the age of cosignatures is counted from, where the quorum limits it. Raises
    LogError: ``malformed_proof``, ``inclusion``, and the codes of open_witnessed_untrusted.
    """
    proof = parse_proof_untrusted(data)
    witnessed = open_witnessed_untrusted(
        proof.checkpoint, keys=keys, origin=origin, quorum=quorum, now=now
    )
    head = witnessed.checkpoint
    verify_inclusion(proof.index, head.size, leaf_hash(entry), proof.hashes, head.root)
    return proof, witnessed


def _base64(text: str) -> bytes:
    return parse_base64_untrusted(text, what=_WHAT, code=_CODE)


def _malformed(reason: str) -> LogError:
    return LogError(f"{_WHAT}: {reason}", code=_CODE)
