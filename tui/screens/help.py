"""The keys of a screen, all of them: `?`.

Belongs here: reading bindings into words. Never here: binding a key.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from tui.screens.dialog import Dialog
from tui.text import fit

_NAMES = {
    "question_mark": "?",
    "exclamation_mark": "!",
    "slash": "/",
    "asterisk": "*",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "escape": "Esc",
    "enter": "Enter",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


def key_words(keys: str) -> str:
    """Return keys as a person reads them: ``ctrl+p`` as ``^p``."""
    return " ".join(_NAMES.get(one, one.replace("ctrl+", "^")) for one in keys.split(","))


def keys_of(screen: Screen[object]) -> list[tuple[str, str]]:
    """Return (keys, what they do) of everything that can be pressed on a screen now."""
    found: dict[str, list[str]] = {}
    for key, active in screen.active_bindings.items():
        binding = active.binding
        if binding.description and not binding.system:
            found.setdefault(binding.description, []).append(key_words(key))
    return [(" ".join(keys), words) for words, keys in found.items()]


class KeysDialog(Dialog[None]):
    """The keys of the screen behind it."""

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

    def key_question_mark(self) -> None:
        """Close with the key that opened it."""
        self.dismiss(None)

    def key_q(self) -> None:
        """Close."""
        self.dismiss(None)
