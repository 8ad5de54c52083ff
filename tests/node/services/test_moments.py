"""Times as people write them: what is understood, what is refused, what JSON says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import UsageError
from node.services.moments import parse_duration, parse_moment, readable, rfc3339

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("90s", 90_000),
        ("30m", 1_800_000),
        ("48h", 172_800_000),
        ("7d", 604_800_000),
        (" 7d ", 604_800_000),
        ("2026-01-01T00:00:01Z", 1_000),
        ("2026-01-01T00:00:01.250Z", 1_250),
        ("2026-01-01T01:00:01+01:00", 1_000),
    ],
)
def test_a_duration_or_a_time_with_its_zone_is_understood(text: str, milliseconds: int) -> None:
    assert parse_moment(text, now=NOW) == NOW + milliseconds
    assert parse_duration(text, now=NOW) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", "0s", "-1h", "1.5h", "48", "h", "48 h", "1w", "٣h", "48H", "12345678s", "soon",
        "2030-01-31", "2030-01-31T18:00:00", "2030-02-31T18:00:00Z", "1h2m",
    ],
)  # fmt: skip
def test_what_is_neither_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_moment(text, now=NOW)

    assert "48h" in refused.value.hint


@pytest.mark.parametrize("text", ["2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"])
def test_a_duration_that_is_over_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="over"):
        parse_duration(text, now=NOW)


@given(st.integers(min_value=0, max_value=4_102_444_800_000))
def test_a_printed_moment_is_read_back_to_the_millisecond(moment: int) -> None:
    printed = rfc3339(moment)

    assert printed is not None
    assert printed.endswith("Z")
    assert parse_moment(printed, now=0) == moment


def test_no_moment_prints_as_none() -> None:
    assert rfc3339(None) is None


def test_people_read_a_time_with_its_day_and_zone() -> None:
    assert readable(NOW) == "Thu 1 Jan 2026 00:00 UTC"


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        moment = parse_moment(text, now=NOW)
    except UsageError:
        return
    assert isinstance(moment, int)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_times_at_the_ends_of_the_calendar_are_times(text: str) -> None:
    assert isinstance(parse_moment(text, now=NOW), int)
