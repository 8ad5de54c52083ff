"""What the server tells its operator: one line an event, nobody named.

Belongs here: the line's form, and the salt under which ids are hashed.
Never here: addresses, keys, or anything that a client wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from node.ports import Clock
from protocol.primitives import Entropy, blake2b

_DAY_MS: Final = 24 * 3_600_000
_ID_BYTES: Final = 6


class Journal:
    """Writes lines. Ids of one day can be told apart; no line leads to a key or to yesterday."""

    def __init__(self, write: Callable[[str], None], *, clock: Clock, entropy: Entropy) -> None:
        self._write = write
        self._clock = clock
        self._entropy = entropy
        self._day = -1
        self._salt = b""

    def tell(self, event: str, **ids: bytes | int | str) -> None:
        """Write an event. Bytes are ids and are hashed; numbers and words stand as they are."""
        parts = [event]
        for name, value in ids.items():
            shown = self.hashed(value) if isinstance(value, bytes) else value
            parts.append(f"{name}={shown}")
        self._write(" ".join(parts))

    def hashed(self, value: bytes) -> str:
        """Return what stands for an id today."""
        day = self._clock.now() // _DAY_MS
        if day != self._day:
            self._day, self._salt = day, self._entropy(32)
        return blake2b(value, size=_ID_BYTES, key=self._salt).hex()
