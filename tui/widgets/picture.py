"""One picture as large and sharp as the widget: fitted, zoomed, panned.

Belongs here: which part of the picture is seen, drawing it in a thread, keeping its lines.
Never here: where pixels come from: a ``Picture`` gives them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from tui.pictures.kitty import on_paper
from tui.pictures.painter import Painter
from tui.pictures.strips import Box, Lines

ZOOMS: Final = (1, 1.5, 2, 3, 4, 6, 8)
_PAN: Final = 0.2
"""Of what is seen, for one key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """A picture's pixels at one size."""

    width: int
    height: int
    rgb: bytes = field(repr=False)


class Picture(Protocol):
    """Gives one picture's pixels."""

    async def fitted(self, width: int, height: int) -> Pixels:
        """Return the pixels, fitted into a box of square pixels."""


class PictureView(Widget, can_focus=True):
    """Draws one picture."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(1)", "closer", show=False, id="picture.closer"),
        Binding("minus", "zoom(-1)", "farther", show=False, id="picture.farther"),
        Binding("0", "zoom(0)", "whole", show=False, id="picture.whole"),
        Binding("left,h", "pan(-1,0)", "left", show=False, id="picture.left"),
        Binding("right,l", "pan(1,0)", "right", show=False, id="picture.right"),
        Binding("up,k", "pan(0,-1)", "up", show=False, id="picture.up"),
        Binding("down,j", "pan(0,1)", "down", show=False, id="picture.down"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture--plain", "picture--words", "picture--flat"}
    DEFAULT_CSS = """
    PictureView { background: $background; height: 1fr; }
    PictureView > .picture--plain { background: $background; color: $foreground; }
    PictureView > .picture--words { background: $background; color: $foreground 70%; }
    PictureView > .picture--flat { background: $panel; }
    """

    class Drawn(Message):
        """The picture is drawn as it is wanted now."""

    class Failed(Message):
        """The picture cannot be drawn."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self._painter = painter
        self._picture: Picture | None = None
        self._words = ""
        self._zoom = 0
        self._centre = (0.5, 0.5)
        self._fitted: tuple[int, int, Pixels] | None = None
        """Box that the kept pixels were fitted into, and they."""
        self._lines: Lines | None = None
        self._drawing: asyncio.Task[None] | None = None
        self._again = False
        self._covered = False
        """Something stands in front: it is drawn sooner over what is flat, and in private."""

    def on_mount(self) -> None:
        """Know when something comes in front, and when it goes."""
        self.app.screen_change_signal.subscribe(self, self._screen_changed)
        self._screen_changed(self.app.screen)

    def _screen_changed(self, front: Screen[object]) -> None:
        if self._covered == (front is self.screen):
            self._covered = not self._covered
            self.refresh()

    # What is shown --------------------------------------------------------------------------------

    def show(self, picture: Picture | None, words: str = "") -> None:
        """Show a picture whole, or words where there is none."""
        self._picture = picture
        self._words = words
        self._zoom = 0
        self._centre = (0.5, 0.5)
        self._fitted = None
        self._put(None)
        self._draw_soon()

    @property
    def zoom(self) -> float:
        """How many times larger than fitted."""
        return ZOOMS[self._zoom]

    @property
    def drawn(self) -> bool:
        """There are lines of the picture, and none are being made."""
        return self._lines is not None and self._drawing is None

    def again(self) -> None:
        """Draw anew: the terminal has other cells."""
        self._fitted = None
        self._draw_soon()

    def action_zoom(self, by: int) -> None:
        """Come closer, go farther, or show the whole (0)."""
        wanted = 0 if by == 0 else min(max(0, self._zoom + by), len(ZOOMS) - 1)
        if wanted != self._zoom:
            self._zoom = wanted
            self._fitted = None
            self._draw_soon()

    def action_pan(self, across: int, down: int) -> None:
        """Look at the part beside; in the whole picture there is none."""
        if self._zoom:
            step = _PAN / self.zoom
            left, top = self._centre
            self._centre = (
                min(1.0, max(0.0, left + across * step * 2)),
                min(1.0, max(0.0, top + down * step * 2)),
            )
            self._draw_soon()

    # Drawing --------------------------------------------------------------------------------------

    def _draw_soon(self) -> None:
        self._again = True
        if self._drawing is None and self.is_attached:
            self._drawing = asyncio.create_task(self._draw())

    async def _draw(self) -> None:
        try:
            while self._again and self._picture is not None and self.size.area:
                self._again = False
                picture = self._picture
                box = Box(self.size.width, self.size.height)
                if self._painter.off:
                    continue
                room = self._painter.room(box, self.zoom)
                wide, high = round(room[0] * self.zoom), round(room[1] * self.zoom)
                if self._fitted is None or self._fitted[:2] != (wide, high):
                    pixels = await picture.fitted(wide, high)
                    if picture is not self._picture:
                        continue
                    self._fitted = (wide, high, pixels)
                lines = await asyncio.to_thread(self._part, self._fitted[2], room, box)
                if picture is not self._picture:
                    self._painter.drop(lines)
                    continue
                self._put(lines)
                self.post_message(self.Drawn())
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  the screen says what went wrong
            self.post_message(self.Failed(error))
        finally:
            self._drawing = None

    def _put(self, lines: Lines | None) -> None:
        """Show this instead of what is shown."""
        self._painter.drop(self._lines)
        self._lines = lines
        self.refresh()

    def _part(self, pixels: Pixels, room: tuple[int, int], box: Box) -> Lines:
        """Return the lines of the part that is seen."""
        width, height = min(room[0], pixels.width), min(room[1], pixels.height)
        left = round(self._centre[0] * pixels.width - width / 2)
        top = round(self._centre[1] * pixels.height - height / 2)
        left = min(max(0, left), pixels.width - width)
        top = min(max(0, top), pixels.height - height)
        rgb = memoryview(pixels.rgb)
        part = b"".join(
            rgb[3 * ((top + line) * pixels.width + left) :][: 3 * width] for line in range(height)
        )
        return self._painter.pixels(part, width, height, box, room)

    def render_line(self, y: int) -> Strip:
        """Draw one line of the picture, centred in the height; words where there is none."""
        width = self.size.width
        plain = self.get_component_rich_style("picture--plain")
        lines = self._lines
        if lines is None:
            if self._words and y == self.size.height // 2:
                style = self.get_component_rich_style("picture--words")
                return Strip([Segment(self._words.center(width)[:width], style)], width)
            return Strip([Segment(" " * width, plain)], width)
        above = max(0, (self.size.height - len(lines.strips)) // 2)
        if not above <= y < above + len(lines.strips):
            return Strip([Segment(" " * width, plain)], width)
        left = max(0, (width - lines.columns) // 2)
        right = max(0, width - left - lines.columns)
        if self._covered:
            flat = self.get_component_rich_style("picture--flat")
            line: Iterable[Segment] = [Segment(" " * lines.columns, flat)]
        else:
            line = on_paper(lines, y - above, plain)
        segments = [Segment(" " * left, plain), *line, Segment(" " * right, plain)]
        return Strip(segments, left + lines.columns + right)

    def on_resize(self, _event: events.Resize) -> None:
        """Draw for the new size."""
        self.again()

    def on_unmount(self) -> None:
        """Hold nothing of the picture."""
        self._picture = None
        self._fitted = None
        self._put(None)
