"""The machine's clock and entropy: the only module that reads them.

Belongs here: implementations of ``ports`` on the operating system.
Never here: decisions about time.
"""

from __future__ import annotations

import os
import time

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts suspended time where the system can, so that a night's sleep is no clock jump."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Wall time in Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        """Milliseconds since boot, sleep included; never goes back."""
        return time.clock_gettime_ns(_SINCE_BOOT) // 1_000_000


def system_entropy(size: int) -> bytes:
    """Return size unpredictable bytes from the operating system."""
    return os.urandom(size)
