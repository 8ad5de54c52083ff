"""People for tests: identities and entropy that are the same in every run."""

from __future__ import annotations

import functools

from protocol.identity import LocalIdentity, Seeds, make_identity
from protocol.primitives import Entropy, blake2b

NOW = 1_784_000_000_000
"""A moment of tests, Unix milliseconds."""
HOUR = 3_600_000
DAY = 24 * HOUR


def stream(label: str) -> Entropy:
    """Return entropy that label determines: no two labels, and no two calls, give the same."""
    calls = 0

    def entropy(size: int) -> bytes:
        nonlocal calls
        calls += 1
        blocks = [
            blake2b(f"{label}/{calls}/{block}".encode(), size=64)
            for block in range((size + 63) // 64)
        ]
        return b"".join(blocks)[:size]

    return entropy


@functools.cache
def person(name: str) -> LocalIdentity:
    """Return the device of a person; the same name is the same person."""
    return make_identity(Seeds.generate(stream(f"person/{name}")), name=name, now=NOW - 100 * DAY)
