"""Times for people: local, and how far away.

Belongs here: turning the RFC 3339 times of results into what a person reads.
Never here: deciding anything by a clock, or times in JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from node.system import SystemClock

_DAY_S: Final = 86_400

_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
"""Seconds of each unit, largest first."""


def moment(text: str) -> str:
    """Return a time of a result as local time with its distance: `2026-05-02 14:03 (in 6 d)`."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    if when.tzinfo is None:
        return text
    seconds = when.timestamp() - SystemClock().now() / 1000
    return f"{when.astimezone():%Y-%m-%d %H:%M} ({distance(seconds)})"


def brief(text: str | None) -> str:
    """Return a time of a result for a column: its distance within a day, else the local time."""
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return text or ""
    if when.tzinfo is None:
        return text or ""
    seconds = when.timestamp() - SystemClock().now() / 1000
    return distance(seconds) if abs(seconds) < _DAY_S else f"{when.astimezone():%Y-%m-%d %H:%M}"


def clock_time(text: str) -> str:
    """Return a time of a result as local time with seconds, for logs."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S}" if when.tzinfo is not None else text


def distance(seconds: float) -> str:
    """Return how far away a moment is: `in 6 d`, `3 h ago`, `now`."""
    away = round(abs(seconds))
    for unit, name in _STEPS:
        if away >= unit:
            amount = f"{away // unit} {name}"
            return f"in {amount}" if seconds > 0 else f"{amount} ago"
    if away < 5:
        return "now"
    return f"in {away} s" if seconds > 0 else f"{away} s ago"
