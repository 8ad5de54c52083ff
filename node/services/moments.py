"""Durations and moments as people write them, and as JSON has them.

Belongs here: parsing `48h` or an RFC 3339 time, printing Unix milliseconds.
Never here: reading a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from node.errors import UsageError

_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])", re.ASCII)
_HINT: Final = "write 90s, 30m, 48h, 7d, or a time such as 2030-01-31T18:00:00Z"


def parse_moment(text: str, *, now: int) -> int:
    """Return the Unix millisecond that a duration from now or an RFC 3339 time names."""
    if match := _DURATION.fullmatch(text.strip()):
        return now + int(match[1]) * _UNITS[match[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"not a duration or time: {text!r}", hint=_HINT) from None
    if moment.tzinfo is None:
        raise UsageError(f"a time needs its zone: {text!r}", hint=_HINT)
    return round(moment.timestamp() * 1000)


def parse_duration(text: str, *, now: int) -> int:
    """Return milliseconds from now until the duration or time is over; at least one."""
    duration = parse_moment(text, now=now) - now
    if duration <= 0:
        raise UsageError(f"that time is over: {text!r}", hint=_HINT)
    return duration


def rfc3339(moment: int | None) -> str | None:
    """Return Unix milliseconds as RFC 3339 in UTC, None as None."""
    if moment is None:
        return None
    whole = datetime.fromtimestamp(moment / 1000, UTC)
    return whole.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def readable(moment: int) -> str:
    """Return Unix milliseconds as people everywhere read them, in UTC."""
    whole = datetime.fromtimestamp(moment / 1000, UTC)
    return f"{whole:%a} {whole.day} {whole:%b %Y %H:%M} UTC"
