"""Which screens there are, under which keys, and what is told on all of them.

Belongs here: the one table of screens, the palette's entries, toasts.
Never here: a screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from textual.app import SystemCommand
from textual.screen import Screen

from tui.keymap import key_words, usual_keys
from tui.theme import NAMES

if TYPE_CHECKING:
    from tui.app import SafelightApp
    from tui.notices import Notice

FIRST: Final = "Library"


# A screen is imported when it is first shown: a start pays for one only.


def _library() -> Screen[Any]:
    from tui.screens.library import LibraryScreen

    return LibraryScreen()


def _inbox() -> Screen[Any]:
    from tui.screens.inbox import InboxScreen

    return InboxScreen()


def _shares() -> Screen[Any]:
    from tui.screens.shares import SharesScreen

    return SharesScreen()


def _audit() -> Screen[Any]:
    from tui.screens.audit import AuditScreen

    return AuditScreen()


def _team() -> Screen[Any]:
    from tui.screens.team import TeamScreen

    return TeamScreen()


def _review() -> Screen[Any]:
    from tui.screens.review import ReviewScreen

    return ReviewScreen()


def _doctor() -> Screen[Any]:
    from tui.screens.doctor import DoctorScreen

    return DoctorScreen()


_TABLE: Final[tuple[tuple[str, str, Callable[[], Screen[Any]], str], ...]] = (
    ("1", "library", _library, FIRST),
    ("2", "inbox", _inbox, "Shared with me"),
    ("3", "shares", _shares, "Shared by me"),
    ("4", "audit", _audit, "Audit"),
    ("5", "team", _team, "Team"),
    ("6", "review", _review, "Review"),
    ("exclamation_mark", "doctor", _doctor, "Doctor"),
)
"""Key, name, maker, title."""

KEYS: Final = tuple((key, name, title) for key, name, _, title in _TABLE)
"""Key, screen, title."""

SCREENS: Final[dict[str, Callable[[], Screen[Any]]]] = {name: make for _, name, make, _ in _TABLE}


def binding_ids() -> frozenset[str]:
    """Return the ids of every binding there is, for the keymap."""
    # What is imported counts: these bring all the others with them.
    from tui import app  # noqa: F401
    from tui.screens import audit, doctor, inbox, library, notices, review, shares, team  # noqa: F401

    return frozenset(usual_keys())


def palette(app: SafelightApp, screen: Screen[Any]) -> Iterable[SystemCommand]:
    """Return an entry for every action that can be done now, each with its key."""
    told: set[str] = set()
    for key, active in screen.active_bindings.items():
        binding = active.binding
        if not binding.id or not binding.description or binding.action in told:
            continue
        told.add(binding.action)
        yield SystemCommand(
            binding.description.capitalize(),
            key_words(key),
            partial(app.run_action, binding.action, active.node),
        )
    for name in sorted(NAMES):
        yield SystemCommand(f"Theme {name}", "", partial(app.action_theme, name))


def toast(app: SafelightApp, notice: Notice) -> None:
    """Say in a toast what a person wants to know at once."""
    app.notify(
        notice.words,
        title=notice.title,
        severity=notice.severity,
        markup=False,
        timeout=30 if notice.severity == "error" else 5,
    )
