"""Checking proofs of the log, and the file format of one inclusion proof.

Belongs here: the two verifications of RFC 9162 and C2SP tlog-proof as text.
Never here: making proofs (``tree``) or trusting a checkpoint (``checkpoint``).

A proof does not bind the size of its tree: take size and root from one signed
checkpoint, and compute the leaf hash from the entry itself. Everything here raises
LogError and nothing else. Format: docs/spec/audit-log.md.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.audit.note import parse_base64_untrusted, parse_decimal_untrusted
from protocol.audit.tree import HASH_BYTES, node_hash
from protocol.errors import LocalError, LogError
from protocol.limits import MAX_NOTE_BYTES, MAX_PROOF_HASHES, MAX_TREE_SIZE


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise LogError (code ``inclusion``) unless leaf is at index of the tree (size, root).

    ``leaf`` is a leaf hash. RFC 9162, 2.1.3.2.
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        raise LogError("inclusion proof: malformed", code="inclusion")
    node, position, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            raise LogError("inclusion proof: too long", code="inclusion")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            position, last = _skip_promoted(position, last)
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or node != root:
        raise LogError("inclusion proof: does not lead to the root", code="inclusion")


def verify_consistency(
    old: int, new: int, root_old: bytes, root_new: bytes, proof: Sequence[bytes]
) -> None:
    """Raise LogError (code ``consistency``) unless tree (new, root_new) extends (old, root_old).

    Nothing is consistent with an empty old tree: there is no such proof. RFC 9162, 2.1.4.2.
    """
    if 1 <= old == new:
        if proof or root_old != root_new:
            raise LogError("consistency proof: one size, two roots", code="consistency")
        return
    if not 1 <= old < new or not proof or not _are_hashes(root_old, root_new, *proof):
        raise LogError("consistency proof: malformed", code="consistency")
    # "If first is an exact power of 2, then prepend first_hash to the consistency_path array."
    path = [root_old, *proof] if old & (old - 1) == 0 else proof
    level = (old & -old).bit_length() - 1
    position, last = (old - 1) >> level, (new - 1) >> level
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise LogError("consistency proof: too long", code="consistency")
        if position & 1 or position == last:
            old_node = node_hash(sibling, old_node)
            new_node = node_hash(sibling, new_node)
            position, last = _skip_promoted(position, last)
        else:
            new_node = node_hash(new_node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or old_node != root_old or new_node != root_new:
        raise LogError("consistency proof: does not lead to both roots", code="consistency")


def _skip_promoted(position: int, last: int) -> tuple[int, int]:
    """Climb the levels on which the node is a last one without sibling.

    "If LSB(fn) is not set, then right-shift both fn and sn equally until either LSB(fn) is set
    or fn is 0."
    """
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


# "c2sp.org/tlog-proof@v1" LF
# ["extra " base64 LF]
# "index " decimal LF
# (base64(hash) LF)*            leaf sibling first
# LF
# signed checkpoint, as it is

_HEADER = "c2sp.org/tlog-proof@v1"


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


def encode_proof(proof: InclusionProof) -> bytes:
    """Return the tlog-proof text; LocalError where it would not parse again."""
    lines = [_HEADER]
    if proof.extra is not None:
        lines.append("extra " + base64.b64encode(proof.extra).decode())
    lines.append(f"index {proof.index}")
    lines.extend(base64.b64encode(value).decode() for value in proof.hashes)
    data = "\n".join([*lines, "", ""]).encode() + proof.checkpoint
    try:
        same = decode_proof_untrusted(data) == proof
    except LogError:
        same = False
    if not same:
        raise LocalError("an inclusion proof is an index, up to 63 hashes and a checkpoint")
    return data


def decode_proof_untrusted(data: bytes) -> InclusionProof:
    """Parse a tlog-proof text; LogError (code ``malformed_proof``) for anything else.

    Nothing is verified: open the checkpoint, then verify_inclusion with the entry's leaf hash.
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
        lines[0].removeprefix("index "),
        limit=MAX_TREE_SIZE,
        what="inclusion proof",
        code="malformed_proof",
    )
    hashes = tuple(_base64(line) for line in lines[1:])
    if len(hashes) > MAX_PROOF_HASHES or not _are_hashes(*hashes):
        raise _malformed("not up to 63 hashes")
    return InclusionProof(index=index, hashes=hashes, checkpoint=checkpoint, extra=extra)


def _base64(text: str) -> bytes:
    return parse_base64_untrusted(text, what="inclusion proof", code="malformed_proof")


def _malformed(reason: str) -> LogError:
    return LogError(f"inclusion proof: {reason}", code="malformed_proof")
