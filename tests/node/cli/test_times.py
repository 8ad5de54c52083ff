from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from node.cli.times import brief, clock_time, distance, moment


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (-4, "now"),
        (30, "in 30 s"),
        (-30, "30 s ago"),
        (90, "in 1 min"),
        (-7_300, "2 h ago"),
        (6 * 86_400 + 5, "in 6 d"),
        (400 * 86_400, "in 400 d"),
    ],
)
def test_a_distance_is_told_in_the_largest_unit(seconds: float, text: str) -> None:
    assert distance(seconds) == text


def test_a_moment_is_local_with_its_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        when = datetime.now(UTC) + timedelta(days=6, minutes=1)
        local = when + timedelta(hours=2)

        assert moment(when.isoformat()) == f"{local:%Y-%m-%d %H:%M} (in 6 d)"
        assert brief(when.isoformat()) == f"{local:%Y-%m-%d %H:%M}"
        assert clock_time("2030-01-31T22:00:05Z") == "2030-02-01 00:00:05"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "soon", "2030-01-31T18:00:00"])
def test_what_is_no_time_is_left_as_it_is(text: str) -> None:
    assert moment(text) == text
    assert brief(text) == text
    assert clock_time(text) == text


def test_a_near_moment_is_brief() -> None:
    near = datetime.now(UTC) - timedelta(hours=3, minutes=1)

    assert brief(near.isoformat()) == "3 h ago"
    assert brief(None) == ""
