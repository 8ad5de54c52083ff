"""The keys of a screen, all of them: `?`.

Belongs here: reading bindings into words. Never here: binding a key.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from tui.keymap import key_words
from tui.screens.dialog import Dialog
from tui.text import fit

_ORDER = {
    **dict.fromkeys(("grid", "rows", "picture", "list"), 1),
    **dict.fromkeys(("dialog", "page", "app"), 2),
    "show": 3,
}
"""What is of one screen alone stands first, then moving, then what is everywhere."""


def keys_of(screen: Screen[object]) -> list[tuple[str, str]]:
    """Return (keys, what they do) of everything that can be pressed on a screen now."""
    found: dict[str, list[str]] = {}
    ours = [(key, one.binding) for key, one in screen.active_bindings.items() if one.binding.id]
    ours.sort(key=lambda one: _ORDER.get(str(one[1].id).partition(".")[0], 0))
    for key, binding in ours:
        if binding.description:
            found.setdefault(binding.description, []).append(key_words(key))
    return [(" ".join(keys), words) for words, keys in found.items()]


class KeysDialog(Dialog[None]):
    """The keys of the screen behind it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q", "give_up", "close", show=False, id="keys.close"),
    ]

    HINTS = (("↑ ↓", "scroll"), ("dialog.cancel", "closes"))

    def __init__(self, of: Screen[object]) -> None:
        super().__init__()
        self._keys = keys_of(of)

    def compose(self) -> ComposeResult:
        """Lay out the keys."""
        lines = "\n".join(f"{fit(keys, 14)} {words}" for keys, words in self._keys)
        with Vertical(classes="box"):
            yield Static(Content("Keys"), classes="heading")
            with VerticalScroll(classes="words"):
                yield Static(Content(lines))
