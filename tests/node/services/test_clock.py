"""When the issuer's clock is believed."""

from __future__ import annotations

import pytest

from node.services.clock import ClockGuard
from tests.node.services.team import ShiftedClock

HOUR_MS = 3_600_000


class StillClock(ShiftedClock):
    """A clock that only moves by hand."""

    def now(self) -> int:
        return 1_000 * HOUR_MS + self.shift

    def monotonic(self) -> int:
        return HOUR_MS + self.monotonic_shift


@pytest.mark.parametrize("shift", [-HOUR_MS, HOUR_MS])
def test_a_wall_clock_moved_by_more_than_an_hour_is_drift(shift: int) -> None:
    clock = StillClock()
    guard = ClockGuard(clock)

    clock.shift = shift
    assert not guard.drifted()
    clock.shift = shift + (1 if shift > 0 else -1)
    assert guard.drifted()
    assert not guard.trusted(high_water=0, now=clock.now())


def test_a_night_asleep_is_no_drift() -> None:
    clock = StillClock()
    guard = ClockGuard(clock)

    clock.advance(12 * HOUR_MS)

    assert not guard.drifted()
    assert guard.trusted(high_water=clock.now() - 1, now=clock.now())


def test_a_clock_that_is_set_right_again_is_believed_again() -> None:
    clock = StillClock()
    guard = ClockGuard(clock)

    clock.shift = 5 * HOUR_MS
    assert guard.drifted()
    clock.shift = 0

    assert not guard.drifted()


def test_two_minutes_before_the_newest_entry_are_believed_and_no_more() -> None:
    clock = StillClock()
    guard = ClockGuard(clock)

    assert guard.trusted(high_water=clock.now() + 120_000, now=clock.now())
    assert not guard.trusted(high_water=clock.now() + 120_001, now=clock.now())
