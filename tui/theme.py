"""Colours: four themes, and which one a terminal gets at first.

Belongs here: the themes and the choice between them.
Never here: what is coloured how (``styles``). Meaning never hangs on colour alone: each state has
a glyph and a word as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="safelight-dark",
    primary="#d9482b",
    secondary="#c98b5a",
    accent="#e8a33d",
    foreground="#d8d2c8",
    background="#141210",
    surface="#1c1916",
    panel="#26221e",
    success="#7fae6a",
    warning="#e0b045",
    error="#ef6a5b",
    dark=True,
)
"""A darkroom: warm greys and the red of the lamp."""

LIGHT: Final = Theme(
    name="safelight-light",
    primary="#a8321a",
    secondary="#7a5230",
    accent="#9a5b00",
    foreground="#26211c",
    background="#fbf8f3",
    surface="#f3eee6",
    panel="#e8e1d6",
    success="#3c6e29",
    warning="#8a6100",
    error="#a8231a",
    dark=False,
)

CONTRAST: Final = Theme(
    name="safelight-contrast",
    primary="#ffffff",
    secondary="#ffff00",
    accent="#00ffff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    success="#00ff00",
    warning="#ffff00",
    error="#ff6060",
    dark=True,
)

THEMES: Final = (DARK, LIGHT, CONTRAST)

ANSI: Final = "textual-ansi"
"""The terminal's own sixteen colours, for people who chose them with care."""


NAMES: Final = frozenset({*(one.name for one in THEMES), ANSI})
"""Every theme that a person may choose."""


def first_theme(environment: Mapping[str, str]) -> str:
    """Return the theme for a terminal: the ANSI one where it shows sixteen colours only.

    ``COLORFGBG`` (set by some terminals) tells a light background: its last number is 7 or 15.
    """
    term = environment.get("TERM", "")
    if term in {"linux", "vt100", "vt220", "ansi", "dumb"}:
        return ANSI
    if environment.get("COLORFGBG", "").rpartition(";")[2] in {"7", "15"}:
        return LIGHT.name
    return DARK.name
