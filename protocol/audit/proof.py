"""Checking proofs of the log.

Belongs here: the two verifications of RFC 9162.
Never here: making proofs (``tree``), trusting a checkpoint (``checkpoint``), or a proof as a
file (``tlog_proof``).

A proof does not bind the size of its tree: take size and root from one signed
checkpoint, and compute the leaf hash from the entry itself. Everything here raises
LogError and nothing else. Format: docs/spec/audit-log.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.audit.tree import HASH_BYTES, node_hash
from protocol.errors import LogError


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
    if consistency_roots(old, new, path) != (root_old, root_new):
        raise LogError("consistency proof: does not lead to both roots", code="consistency")


def consistency_roots(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the roots that a consistency path from size old to size new leads to.

    The path has at least one hash, and stands for 1 ≤ old < new. LogError (code
    ``consistency``) where it is not as long as the two sizes make it.
    """
    if not path or not _are_hashes(*path):
        raise LogError("consistency proof: malformed", code="consistency")
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
    if last != 0:
        raise LogError("consistency proof: too short", code="consistency")
    return old_node, new_node


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
