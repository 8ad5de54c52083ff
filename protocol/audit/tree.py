"""The Merkle tree of RFC 6962: hashes, growth, and the making of proofs.

Belongs here: leaf and node hashes, the frontier that appends, and proofs made
from stored nodes.
Never here: checking a proof (``proof``) or where nodes are stored: a caller
passes ``read(level, position)``, level 0 being leaf hashes.

    level 2          (2,0)                 node (level, position) is the root of the
    level 1     (1,0)     (1,1)            complete subtree of leaves
    level 0   0     1   2     3    4       position·2^level … (position + 1)·2^level − 1

Format: docs/spec/audit-log.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from protocol.errors import LocalError
from protocol.primitives import sha256

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"")
"""Root of the tree without leaves (RFC 6962, 2.1)."""

Read = Callable[[int, int], bytes]
"""Takes level and position of a complete subtree, returns its root (level 0: the leaf hash)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(00 ‖ entry), 32 bytes."""
    return sha256(b"\x00" + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(01 ‖ left ‖ right), 32 bytes."""
    return sha256(b"\x01" + left + right)


class Frontier:
    """All that a growing tree must remember: the roots of its complete subtrees.

    There is one for each bit set in the size, so 20 hashes hold a million leaves.
    """

    __slots__ = ("_roots", "size")

    def __init__(self) -> None:
        self.size = 0
        """Number of leaves."""
        self._roots: list[bytes] = []  # of the subtrees left to right, the largest first

    @classmethod
    def from_nodes(cls, size: int, read: Read) -> Frontier:
        """Return the frontier of the tree of size leaves whose nodes read returns."""
        frontier = cls()
        frontier.size = size
        frontier._roots = [read(*node) for node in _complete_subtrees(0, size)]
        return frontier

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append a leaf hash; return the nodes it completes as (level ≥ 1, position, hash)."""
        return self.append_subtree(0, leaf)

    def append_subtree(self, level: int, root: bytes) -> list[tuple[int, int, bytes]]:
        """Append 2^level leaves by the root of their subtree; return the nodes above it.

        Raises LocalError unless the size is a multiple of 2^level.
        """
        if self.size & ((1 << level) - 1):
            raise LocalError("a subtree is appended at a multiple of its own size only")
        position = self.size >> level
        self.size += 1 << level
        completed = []
        while position & 1:
            root = node_hash(self._roots.pop(), root)
            position >>= 1
            level += 1
            completed.append((level, position, root))
        self._roots.append(root)
        return completed

    def root(self) -> bytes:
        """Return the root hash of the whole tree."""
        return _fold(self._roots)

    def copy(self) -> Frontier:
        """Return a frontier that grows apart from this one."""
        frontier = Frontier()
        frontier.size = self.size
        frontier._roots = self._roots.copy()
        return frontier


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root hash over leaf hashes."""
    return _fold([root for _, root in complete_subtrees_of(leaves)])


Seen = Callable[[int, Sequence[bytes]], None]
"""Takes a level and the roots of all its complete subtrees, left to right."""


def complete_subtrees_of(
    leaves: Iterable[bytes], seen: Seen | None = None
) -> list[tuple[int, bytes]]:
    """Return (level, root) of the complete subtrees that leaf hashes fall into, largest first.

    It hashes level by level, which is several times faster than a frontier; ``seen`` is called
    for each level, the leaves first.
    """
    subtrees = []
    row = list(leaves)
    level = 0
    while row:
        if seen is not None:
            seen(level, row)
        if len(row) & 1:
            subtrees.append((level, row[-1]))
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=False)]
        level += 1
    return subtrees[::-1]


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """Return the audit path of leaf index in the tree of size leaves (RFC 9162, 2.1.3.1).

    Hashes stand leaf sibling first. Raises LocalError unless 0 ≤ index < size.
    """
    if not 0 <= index < size:
        raise LocalError(f"no leaf {index} in a tree of {size}")
    return _path(0, index, size, read)


def consistency_proof(old: int, new: int, read: Read) -> list[bytes]:
    """Return the proof that the tree of new leaves extends that of old (RFC 9162, 2.1.4.1).

    It is empty where the sizes are equal. Raises LocalError unless 1 ≤ old ≤ new: nothing can be
    proven about the empty tree, and nothing needs to be.
    """
    if not 1 <= old <= new:
        raise LocalError(f"no consistency proof from size {old} to {new}")
    if old == new:
        return []
    # The last complete subtree of the old tree; its path holds the rest of the old tree as left
    # siblings. Where it is the whole old tree the verifier knows it already: it is the old root.
    level = (old & -old).bit_length() - 1
    position = (old >> level) - 1
    known = [read(level, position)] if position else []
    return known + _path(level, position, new, read)


def _path(level: int, position: int, size: int, read: Read) -> list[bytes]:
    """Return the siblings of node (level, position) up to the root of the tree of size leaves."""
    path = []
    last = (size - 1) >> level
    while last:
        if position & 1:
            path.append(read(level, position - 1))
        elif position < last:
            path.append(_subtree(level, position + 1, size, read))
        # A last even node has no sibling here: it is promoted as it is.
        level, position, last = level + 1, position >> 1, last >> 1
    return path


def _subtree(level: int, position: int, size: int, read: Read) -> bytes:
    """Return the root over the leaves of (level, position) that a tree of size leaves has."""
    first, end = position << level, (position + 1) << level
    return _fold([read(*node) for node in _complete_subtrees(first, min(end, size))])


def _complete_subtrees(first: int, end: int) -> Iterable[tuple[int, int]]:
    """Yield (level, position) of the complete subtrees that cover leaves first to end − 1.

    They come left to right, the largest first; first is a multiple of the power of two over
    the number of leaves.
    """
    count = end - first
    while count:
        level = count.bit_length() - 1
        yield level, first >> level
        first += 1 << level
        count -= 1 << level


def _fold(roots: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees, given left to right, the largest first."""
    if not roots:
        return EMPTY_ROOT
    *rest, root = roots
    for left in reversed(rest):
        root = node_hash(left, root)
    return root
