"""The machine's clock and entropy: the only module that reads them.

Belongs here: implementations of ``ports`` on the operating system.
Never here: decisions about time.
"""

from __future__ import annotations

import os
import time


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Wall time in Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        """Milliseconds since boot or thereabouts; never goes back."""
        return time.monotonic_ns() // 1_000_000


def system_entropy(size: int) -> bytes:
    """Return size unpredictable bytes from the operating system."""
    return os.urandom(size)
