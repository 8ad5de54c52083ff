"""Colours: four themes, which one a terminal gets at first, and what NO_COLOR leaves of them.

Belongs here: the themes and the choice between them.
Never here: what is coloured how (``styles``). Meaning never hangs on colour alone: each state has
a glyph and a word as well.

Every colour that text is drawn in has a contrast of 4.5 or more with every ground that it stands
on; ``tests/tui/test_themes.py`` works it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter, NoColor
from textual.theme import BUILTIN_THEMES, Theme

DARK: Final = Theme(
    name="safelight-dark",
    primary="#e8604a",
    secondary="#c98b5a",
    accent="#e8a33d",
    foreground="#d8d2c8",
    background="#141210",
    surface="#1c1916",
    panel="#26221e",
    success="#7fae6a",
    warning="#e0b045",
    error="#ff8071",
    dark=True,
    variables={"dim": "#a09990", "select": "#53281f"},
)
"""A darkroom: warm greys and the red of the lamp."""

LIGHT: Final = Theme(
    name="safelight-light",
    primary="#a8321a",
    secondary="#7a5230",
    accent="#805000",
    foreground="#26211c",
    background="#fbf8f3",
    surface="#f3eee6",
    panel="#e8e1d6",
    success="#3c6e29",
    warning="#785200",
    error="#a8231a",
    dark=False,
    variables={"dim": "#5f584f", "select": "#f1d6cc"},
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
    error="#ff8080",
    dark=True,
    variables={"dim": "#d0d0d0", "select": "#004080"},
)

ANSI: Final = Theme(
    name="safelight-ansi",
    ansi=True,
    primary="ansi_red",
    secondary="ansi_cyan",
    accent="ansi_yellow",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    boost="ansi_default",
    dark=True,
    variables={
        # The framework's own widgets ask for more of a theme of this kind.
        **BUILTIN_THEMES["ansi-dark"].variables,
        "dim": "ansi_default",
        "select": "ansi_default",
    },
)
"""The terminal's own sixteen colours, for people who chose them with care. What other themes show
by a ground of its own is reversed here."""

THEMES: Final = (DARK, LIGHT, CONTRAST, ANSI)

NAMES: Final = frozenset(one.name for one in THEMES)
"""Every theme that a person may choose."""

VARIABLES: Final = DARK.variables
"""Colours of ours that every theme names: ``$dim`` for text that matters less, ``$select`` for
the ground under the cursor."""


def first_theme(environment: Mapping[str, str]) -> str:
    """Return the theme for a terminal: the ANSI one where it shows sixteen colours only.

    ``COLORFGBG`` (set by some terminals) tells a light background: its last number is 7 or 15.
    """
    term = environment.get("TERM", "")
    if term in {"linux", "vt100", "vt220", "ansi", "dumb"}:
        return ANSI.name
    if environment.get("COLORFGBG", "").rpartition(";")[2] in {"7", "15"}:
        return LIGHT.name
    return DARK.name


class Greys(LineFilter):
    """Takes every colour away but the greys of pictures: NO_COLOR with the terminal's own colours.

    Pictures are drawn in numbered greys then (232 to 255), which nothing else is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._plain = NoColor()

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return segments without colours, those of pictures as they are."""
        if not any(_is_picture(style) for _, style, _ in segments):
            return self._plain.apply(segments, background)
        return [
            one if _is_picture(one.style) else self._plain.apply([one], background)[0]
            for one in segments
        ]


def _is_picture(style: Style | None) -> bool:
    ground = None if style is None else style.bgcolor
    return ground is not None and ground.type is ColorType.EIGHT_BIT
