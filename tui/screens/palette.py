"""All actions, found by typing: the framework's palette, painted as every screen is.

Belongs here: nothing else. Which actions there are, the app says.
"""

from __future__ import annotations

from textual.command import CommandPalette

from tui.screens.painted import Painted


class Palette(CommandPalette, Painted[None]):
    """The palette; the framework's comes first, for its styles are taken from the first base."""
