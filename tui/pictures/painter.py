"""Draws pictures as this terminal can, and takes back what the terminal holds of them.

Belongs here: choosing glyphs or placeholders, and which pictures a terminal holds.
Never here: fetching pictures, or where on the screen they stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from node.cli.picture import Depth
from tui.pictures import kitty
from tui.pictures.strips import Box, Lines, decoded, pixel_strips
from tui.pictures.terminal import USUAL_CELL, Pictures, cell_size

_MOST: Final = 8_000_000
"""Pixels of a whole picture that are fetched for a terminal: what the largest displays have."""
_MOST_ON_A_SIDE: Final = 8_192
"""Of them; the node makes no more."""


class Painter:
    """Draws in one way on one terminal. Drawing is CPU work, for a thread."""

    def __init__(
        self,
        pictures: Pictures,
        depth: Depth,
        write: Callable[[str], None] | None = None,
        terminal: int | None = None,
    ) -> None:
        """``terminal`` is the descriptor of one that can be asked for the size of its cells."""
        self.pictures = pictures
        self.depth = depth
        self._held = kitty.Held(write) if pictures is Pictures.KITTY and write else None
        self._terminal = terminal
        self.cell = USUAL_CELL
        """Pixels across and down of a cell of a terminal that draws them itself."""
        self.measure()

    @property
    def off(self) -> bool:
        """No picture is drawn here."""
        return self.pictures is Pictures.OFF

    def measure(self) -> bool:
        """Ask for the size of the cells; say whether what was drawn is to be drawn anew."""
        if self._held is None or self._terminal is None:
            return False
        before, self.cell = self.cell, cell_size(self._terminal)
        return self.cell != before

    def room(self, box: Box, zoom: float = 1.0) -> tuple[int, int]:
        """Return how many square pixels are drawn in a box, where its picture is zoom × as large.

        That is as many as the terminal has there, as long as the whole picture has not too many.
        """
        if self._held is None:
            return box.pixels(self.pictures.blocks)
        wide, high = box.columns * self.cell[0], box.rows * self.cell[1]
        over = zoom * max(wide / _MOST_ON_A_SIDE, high / _MOST_ON_A_SIDE)
        over = max(1.0, over, zoom * math.sqrt(wide * high / _MOST))
        return max(1, int(wide / over)), max(1, int(high / over))

    def thumbnail(self, encoded: bytes, box: Box) -> Lines:
        """Draw an encoded thumbnail; ValueError where the bytes are none."""
        if self._held is None:
            image = decoded(encoded, self.room(box))
            return self.pixels(image.tobytes(), image.width, image.height, box)
        # The terminal enlarges as well as this could, and has fewer pixels to take in.
        image = decoded(encoded, self.room(box), enlarge=False)
        return self._held.place(
            image.tobytes(), image.width, image.height, box, self.cell, fill=True
        )

    def pixels(
        self, rgb: bytes, width: int, height: int, box: Box, room: tuple[int, int] | None = None
    ) -> Lines:
        """Draw width × height RGB pixels that fit into the room of a box."""
        if self._held is not None:
            wide, high = room or self.room(box)
            cell = (wide / box.columns, high / box.rows)
            return self._held.place(rgb, width, height, box, cell)
        return pixel_strips(rgb, width, height, box, self.pictures.blocks, self.depth)

    def drop(self, drawn: Lines | None) -> None:
        """Let the terminal forget a picture that is not shown any more."""
        if self._held is not None and drawn is not None:
            self._held.drop(drawn.image)

    def drop_all(self) -> None:
        """Let the terminal forget every picture."""
        if self._held is not None:
            self._held.drop_all()
