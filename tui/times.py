"""Times as people read them on a screen: how long still, how long ago.

Belongs here: words for spans. Never here: reading a clock of the node's decisions.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final


def now() -> datetime:
    """Return this terminal's time: for words only, nothing is decided by it."""
    return datetime.now(UTC)  # noqa: TID251  words on a screen


def span(seconds: float) -> str:
    """Return ``3 d 4 h``, ``5 h 12 m``, ``9 m``, ``40 s``."""
    whole = int(abs(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h" if days < 10 else f"{days} d"
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m" if minutes else f"{rest} s"


def seconds_left(moment: str) -> float:
    """Return the seconds until an RFC 3339 time, negative after it."""
    return (datetime.fromisoformat(moment) - now()).total_seconds()


def left(moment: str | None) -> str:
    """Return how long it is until an RFC 3339 time, or that it is over."""
    if not moment:
        return "–"
    seconds = seconds_left(moment)
    return span(seconds) if seconds > 0 else "over"


def ago(moment: str | None) -> str:
    """Return how long ago an RFC 3339 time was."""
    if not moment:
        return "never"
    seconds = (now() - datetime.fromisoformat(moment)).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 1 else "now"


def clock(moment: str) -> str:
    """Return an RFC 3339 time as this terminal's local time."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


_OF_THE_DAY: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")
_AGO: Final = re.compile(r"(\d+)\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def past_moment(text: str) -> str | None:
    """Return as RFC 3339 what a person means: ``3h`` ago, ``2030-01-31``, ``2030-01-31 14:00``.

    ``14:00`` is the last one there was. A time without a zone is this terminal's. None where it is
    none of these.
    """
    if match := _AGO.fullmatch(text.strip()):
        return (now() - timedelta(**{_UNITS[match[2]]: int(match[1])})).isoformat()
    if _OF_THE_DAY.fullmatch(text.strip()):
        local = now().astimezone()
        hour, minute = map(int, text.split(":"))
        moment = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
        return (moment if moment <= local else moment - timedelta(days=1)).isoformat()
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.astimezone().isoformat()
