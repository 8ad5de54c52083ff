"""Whether the issuer's clock can be trusted to release or to destroy (architecture 4.9).

Belongs here: the two comparisons that pause releases, one of which pauses expiry too.
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

    def drift(self) -> int:
        """Return by how many milliseconds the wall clock was moved since start."""
        return self._clock.now() - self._clock.monotonic() - self._offset

    def drifted(self) -> bool:
        """Say whether somebody moved the wall clock by more than an hour since start."""
        return abs(self.drift()) > MAX_CLOCK_DRIFT_MS

    def accept(self) -> None:
        """Take the wall clock as right from now on: a person has looked at it."""
        self._offset += self.drift()

    def trusted(self, *, high_water: int, now: int) -> bool:
        """Say whether a release may rely on the wall clock reading now.

        ``high_water`` is the latest time of any log entry, both in Unix milliseconds.
        """
        return not self.drifted() and now >= high_water - MAX_CLOCK_STEP_BACK_MS
