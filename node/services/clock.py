"""Whether the issuer's clock can be trusted for a release (architecture 4.9).

Belongs here: the two comparisons that pause releases.
Never here: reading the machine's clock, or destroying anything.
"""

from __future__ import annotations

from node.ports import Clock
from protocol.limits import MAX_CLOCK_DRIFT_MS, MAX_CLOCK_STEP_BACK_MS


class ClockGuard:
    """Compares wall time with the log's newest entry and with time since start."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()

    def drifted(self) -> bool:
        """Say whether somebody moved the wall clock by more than an hour since start."""
        offset = self._clock.now() - self._clock.monotonic()
        return abs(offset - self._offset) > MAX_CLOCK_DRIFT_MS

    def trusted(self, *, high_water: int, now: int) -> bool:
        """Say whether a release may rely on the wall clock reading now.

        ``high_water`` is the latest time of any log entry, both in Unix milliseconds.
        """
        return not self.drifted() and now >= high_water - MAX_CLOCK_STEP_BACK_MS
