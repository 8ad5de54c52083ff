"""Which screens there are, under which keys, and what is told on all of them.

Belongs here: the one table of screens, the palette's entries, toasts.
Never here: a screen.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from tui.screens.help import key_words
from tui.theme import NAMES

if TYPE_CHECKING:
    from tui.notices import Notice
    from tui.app import SafelightApp

FIRST: Final = "Library"

_TABLE: Final = (
    ("1", "library", "LibraryScreen", "Library"),
    ("2", "inbox", "InboxScreen", "Shared with me"),
    ("3", "shares", "SharesScreen", "Shared by me"),
    ("4", "audit", "AuditScreen", "Audit"),
    ("5", "team", "TeamScreen", "Team"),
    ("6", "review", "ReviewScreen", "Review"),
    ("exclamation_mark", "doctor", "DoctorScreen", "Doctor"),
)
"""Key, module, class, title."""

KEYS: Final = tuple((key, module, title) for key, module, _, title in _TABLE)
"""Key, screen, title."""


def _make(module: str, name: str) -> Screen[Any]:
    """Import a screen when it is first shown: a start pays for one only."""
    made: Screen[Any] = getattr(importlib.import_module(f"tui.screens.{module}"), name)()
    return made


SCREENS: Final[dict[str, Callable[[], Screen[Any]]]] = {
    module: partial(_make, module, name) for _, module, name, _ in _TABLE
}


def binding_ids() -> frozenset[str]:
    """Return the ids of every binding there is, for the keymap."""
    from tui.app import SafelightApp
    from tui.screens.page import Page
    from tui.screens.share import ShareDialog
    from tui.screens.viewer import ViewerScreen
    from tui.widgets.grid import Grid
    from tui.widgets.picture import PictureView
    from tui.widgets.rows import Rows

    owners: list[Any] = [SafelightApp, Page, ViewerScreen, ShareDialog, Grid, Rows, PictureView]
    owners += [
        getattr(importlib.import_module(f"tui.screens.{module}"), name)
        for _, module, name, _ in _TABLE
    ]
    return frozenset(
        one.id for owner in owners for one in owner.BINDINGS if isinstance(one, Binding) and one.id
    )


def palette(app: SafelightApp, screen: Screen[Any]) -> Iterable[SystemCommand]:
    """Return an entry for every action that can be done now, each with its key."""
    told: set[str] = set()
    for key, active in screen.active_bindings.items():
        binding = active.binding
        if binding.system or not binding.description or binding.action in told:
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
        severity=notice.severity,  # type: ignore[arg-type]
        markup=False,
        timeout=30 if notice.severity == "error" else 5,
    )
