"""A log to test with, and RFC 6962 word for word to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.entry import Entry, encode_entry
from protocol.audit.tree import Frontier, leaf_hash, root_of
from protocol.primitives import SigningKey

ALICE = SigningKey(bytes(range(32)))
BOB = SigningKey(bytes(range(32, 64)))
ORIGIN = origin_of(bytes(range(32)))
START = 1_760_000_000_000


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digits(label: object, count: int) -> str:
    """Return count hexadecimal digits that depend on label only."""
    return hashlib.shake_128(str(label).encode()).hexdigest(count // 2)


def entry(seq: int, /, **changes: object) -> Entry:
    """Return the entry that stands at seq in the test log, with some fields changed."""
    fields: dict[str, Any] = {
        "actor": digits(f"actor {seq % 3}", 32),
        "commitments": {
            field: digits(f"{field} {seq}", 64)
            for field in ("capability", "holder", "image", "open_id")
        },
        "event": "released",
        "nonce": digits(f"nonce {seq}", 32),
        "seq": seq,
        "subjects": (digits(f"subject {seq}", 32),),
        "time": START + seq,
    }
    return Entry(**{**fields, **changes})


def entries(size: int) -> list[bytes]:
    return [encode_entry(entry(seq)) for seq in range(size)]


def head(of: Sequence[bytes], size: int | None = None, *, key: SigningKey = ALICE) -> bytes:
    """Return the signed head of the first size entries, or of all."""
    size = len(of) if size is None else size
    root = root_of(leaf_hash(data) for data in of[:size])
    return sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=root), key, ORIGIN)


@dataclass
class StoredTree:
    """Keeps the nodes of a growing tree, as a node's database does."""

    nodes: dict[tuple[int, int], bytes]
    frontier: Frontier

    @classmethod
    def of(cls, leaves: Sequence[bytes]) -> StoredTree:
        tree = cls({}, Frontier())
        for leaf in leaves:
            tree.append(leaf)
        return tree

    def append(self, leaf: bytes) -> None:
        self.nodes[0, self.frontier.size] = leaf
        for level, position, node in self.frontier.append(leaf):
            self.nodes[level, position] = node

    def read(self, level: int, position: int) -> bytes:
        return self.nodes[level, position]


# RFC 6962, 2.1 to 2.1.2, over leaf hashes, as the text has it.


def mth(leaves: Sequence[bytes]) -> bytes:
    match len(leaves):
        case 0:
            return sha256(b"")
        case 1:
            return leaves[0]
        case n:
            k = split(n)
            return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:]))


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    n = len(leaves)
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], known: bool) -> list[bytes]:
    n = len(leaves)
    if m == n:
        return [] if known else [mth(leaves)]
    k = split(n)
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def split(n: int) -> int:
    """Return the largest power of two smaller than n."""
    return 1 << ((n - 1).bit_length() - 1)
