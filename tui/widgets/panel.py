"""Facts beside a picture, of which only lines that change are drawn again.

Belongs here: lines of styled text in a room of a fixed size.
Never here: what the facts are (``screens.facts``).
"""

from __future__ import annotations

from itertools import zip_longest

from textual.content import Content
from textual.geometry import Region
from textual.selection import Selection
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget


class Panel(Widget):
    """Text that tells of what the cursor is on: the next one shares most of its lines."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002  the framework's name
        super().__init__(id=id)
        self._content = Content("")
        self._laid_out: tuple[int, list[Strip]] | None = None
        """The lines, and the width that they are for."""

    @property
    def content_text(self) -> str:
        """What stands there, without styles."""
        return self._content.plain

    def render(self) -> Content:
        """Return the text, for the framework to select from."""
        return self._content

    def update(self, content: Content) -> None:
        """Show other text."""
        before = self._lines
        self._content = content
        self._laid_out = None
        width = self.size.width
        for y, (old, new) in enumerate(zip_longest(before, self._lines)):
            if old != new:
                self.refresh(Region(0, y, width, 1))

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        lines = self._lines
        if y < len(lines):
            return lines[y]
        return Strip.blank(self.size.width, self.visual_style.rich_style)

    def notify_style_update(self) -> None:
        """Draw all in other colours."""
        super().notify_style_update()
        self._laid_out = None

    def selection_updated(self, selection: Selection | None) -> None:
        """Show what is selected with the mouse."""
        self._laid_out = None
        super().selection_updated(selection)

    @property
    def _lines(self) -> list[Strip]:
        width = self.size.width
        if self._laid_out is None or self._laid_out[0] != width:
            style = self.visual_style
            lines = Visual.to_strips(self, self._content, width, None, style, pad=True)
            self._laid_out = (width, lines)
        return self._laid_out[1]
