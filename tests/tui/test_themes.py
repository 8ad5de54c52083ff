"""Whether every text can be read: contrast of every colour on every ground, and without colours.

The ratio is the one of WCAG 2.2 (relative luminance); 4.5 is its level AA for text.
"""

from __future__ import annotations

import pytest
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from tests.e2e.people import Cli
from tests.tui.support import USUAL, opened
from tui.screens.library import LibraryScreen
from tui.theme import ANSI, CONTRAST, DARK, LIGHT, NAMES, Greys, first_theme

LEAST = 4.5
GROUNDS = ("background", "surface", "panel")
INKS = ("foreground", "primary", "secondary", "accent", "success", "warning", "error", "dim")


def colour(theme: Theme, name: str) -> Color:
    value = theme.variables.get(name) or getattr(theme, name)
    return Color.parse(value)


def luminance(of: Color) -> float:
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (part / 255 for part in of.rgb)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_worked_out_as_it_is_defined() -> None:
    assert contrast(Color.parse("#ffffff"), Color.parse("#000000")) == 21
    assert round(contrast(Color.parse("#767676"), Color.parse("#ffffff")), 2) == 4.54


@pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda one: one.name)
def test_every_text_has_contrast_with_every_ground(theme: Theme) -> None:
    too_little = [
        (ink, ground, round(ratio, 2))
        for ground in GROUNDS
        for ink in INKS
        if (ratio := contrast(colour(theme, ink), colour(theme, ground))) < LEAST
    ]
    assert not too_little


@pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda one: one.name)
def test_what_is_inverted_or_under_the_cursor_has_contrast_too(theme: Theme) -> None:
    for ground in ("primary", "error", "secondary"):
        assert contrast(colour(theme, "background"), colour(theme, ground)) >= LEAST, ground
    for ink in ("foreground", "accent"):
        assert contrast(colour(theme, ink), colour(theme, "select")) >= LEAST, ink


def test_a_terminal_of_sixteen_colours_gets_the_theme_of_them() -> None:
    assert first_theme({"TERM": "linux"}) == ANSI.name
    assert first_theme({"TERM": "xterm-256color", "COLORFGBG": "0;15"}) == LIGHT.name


def test_without_colours_pictures_keep_their_greys() -> None:
    words = Segment("name", Style.from_color(RichColor.from_ansi(1)))
    grey = Segment("▄", Style.from_color(RichColor.from_ansi(250), RichColor.from_ansi(240)))
    plain, picture = Greys().apply([words, grey], Color.parse("#000000"))
    assert picture == grey
    assert plain.style is not None
    assert plain.style.color is not None
    assert plain.style.color.is_default


@pytest.mark.parametrize("theme", sorted(NAMES))
async def test_every_theme_shows_pictures_and_dialogs(alice: Cli, theme: str) -> None:
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        screen.app.theme = theme
        page = screen.page
        assert isinstance(page, LibraryScreen)
        await screen.until(lambda: page.grid.settled)
        await screen.until(lambda: "▌" in screen.text)
        await screen.press("question_mark")
        await screen.until(lambda: "Keys" in screen.text)
