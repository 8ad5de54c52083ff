"""What happened while somebody worked: kept in a list, and told in toasts within reason.

Belongs here: which events are worth a line, quiet hours, thresholds, how many toasts at once.
Never here: how the list is shown (``screens.notices``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from textual.notifications import SeverityLevel

from tui.settings import Settings

KEPT: Final = 500
"""Lines of the list; older ones are in the log."""
_TOASTS: Final = 3
_WITHIN: Final = timedelta(seconds=10)
"""So many toasts within so long; what is more is only counted."""
_COUNTED: Final = timedelta(hours=1)
"""For how long a kind by one person is counted for its threshold."""

_KINDS: Final[dict[str, tuple[str, str, SeverityLevel]]] = {
    "log.opened": ("opened", "Opened", "information"),
    "log.saved": ("saved", "Saved", "information"),
    "log.denied": ("denied", "Denied", "warning"),
    "log.revocation_seen": ("revocation_seen", "Revocation seen", "information"),
    "log.received": ("received", "Shared with you", "information"),
    "alarm": ("alarm", "Alarm", "error"),
}
"""Event to kind, title, severity."""
_TAKEN_BACK: Final[tuple[str, str, SeverityLevel]] = ("revoked", "Taken back from you", "warning")
"""A revocation that was seen, where it is this node that holds what was taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line of the list."""

    kind: str
    title: str
    words: str
    severity: SeverityLevel
    at: datetime


class Notices:
    """The list, and what of it makes a toast."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.kept: deque[Notice] = deque(maxlen=KEPT)
        """Newest last."""
        self.unread = 0
        self._toasts: deque[datetime] = deque()
        self._counts: dict[tuple[str, str], deque[datetime]] = {}

    def heard(self, event: dict[str, Any], *, me: str, now: datetime) -> tuple[Notice, bool] | None:
        """Take an event; return its line and whether it is told in a toast, None for no line."""
        told = _KINDS.get(str(event.get("kind")))
        if told is None:
            return None
        if told[0] == "revocation_seen" and "issuer" in event["entry"]["detail"]:
            told = _TAKEN_BACK
        kind, title, severity = told
        who = _who(event)
        if not who or (kind in {"opened", "saved"} and who == me):
            return None
        notice = Notice(
            kind=kind, title=title, words=_words(event, kind, who), severity=severity, at=now
        )
        self.kept.append(notice)
        self.unread += 1
        return notice, self._is_told(notice, who)

    def read(self) -> Sequence[Notice]:
        """Return the lines, newest first; from now on they are read."""
        self.unread = 0
        return tuple(reversed(self.kept))

    def forget(self) -> None:
        """Drop every line."""
        self.kept.clear()
        self._counts.clear()
        self.unread = 0

    def _is_told(self, notice: Notice, who: str) -> bool:
        counted = self._counts.setdefault((notice.kind, who), deque(maxlen=1_000))
        counted.append(notice.at)
        while counted[0] < notice.at - _COUNTED:
            counted.popleft()
        if notice.kind == "alarm":
            return True
        local = notice.at.astimezone()
        if (
            notice.kind not in self._settings.toasts
            or len(counted) < self._settings.least.get(notice.kind, 1)
            or self._settings.is_quiet(local.hour * 60 + local.minute)
        ):
            return False
        while self._toasts and self._toasts[0] < notice.at - _WITHIN:
            self._toasts.popleft()
        if len(self._toasts) >= _TOASTS:
            return False
        self._toasts.append(notice.at)
        return True


def _who(event: dict[str, Any]) -> str:
    entry = event.get("entry")
    if entry is not None:
        return str(entry["actor"] or "")
    return str(event.get("name") or event.get("issuer") or event.get("kind"))


def _words(event: dict[str, Any], kind: str, who: str) -> str:
    entry = event.get("entry")
    if entry is None:
        return " · ".join(str(event[name]) for name in ("name", "detail") if event.get(name))
    if kind == "revoked":
        return f"{who} took back what you could look at"
    if kind == "revocation_seen":
        return f"{who}: what you took back opens nothing there any more"
    if kind == "received" and entry["detail"].get("sentence"):
        return str(entry["detail"]["sentence"])
    reason = entry["detail"].get("reason")
    return " · ".join(str(one) for one in (who, entry["subject"], reason) if one)
