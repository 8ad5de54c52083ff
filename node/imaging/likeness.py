"""How alike two pictures look, from 64 bits each.

Belongs here: the difference hash of a picture's pixels, and the distance of two.
Never here: a picture library, or where hashes are kept (``vault.records.library``).
"""

from __future__ import annotations

import itertools
from typing import Final

GRID: Final = (9, 8)
"""Columns and rows of grey that a hash is made from."""

LIKENESS_BYTES: Final = 8

MOST_APART: Final = 5
"""Differing bits of two pictures that look alike."""


def likeness_of(grey: bytes) -> bytes:
    """Return 8 bytes: for each of 8 × 8 places of the grid whether it gets darker to the right.

    Empty for a picture that says nothing this way: even, or a plain gradient.
    """
    hashed = 0
    for start in range(0, len(grey), GRID[0]):
        for left, right in itertools.pairwise(grey[start : start + GRID[0]]):
            hashed = hashed << 1 | (left > right)
    if hashed.bit_count() in (0, 64):
        return b""
    return hashed.to_bytes(LIKENESS_BYTES, "big")


def distance(first: bytes, second: bytes) -> int:
    """Return how many bits of two hashes differ."""
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()
