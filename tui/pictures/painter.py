"""Draws pictures as this terminal can, and takes back what the terminal holds of them.

Belongs here: choosing glyphs or placeholders, and which pictures a terminal holds.
Never here: fetching pictures, or where on the screen they stand.
"""

from __future__ import annotations

from collections.abc import Callable

from node.cli.picture import Depth
from tui.pictures import kitty
from tui.pictures.strips import Box, Lines, decoded, pixel_strips
from tui.pictures.terminal import Pictures


class Painter:
    """Draws in one way on one terminal. Drawing is CPU work, for a thread."""

    def __init__(
        self, pictures: Pictures, depth: Depth, write: Callable[[str], None] | None = None
    ) -> None:
        self.pictures = pictures
        self.depth = depth
        self._held = kitty.Held(write) if pictures is Pictures.KITTY and write else None

    @property
    def off(self) -> bool:
        """No picture is drawn here."""
        return self.pictures is Pictures.OFF

    def room(self, box: Box) -> tuple[int, int]:
        """Return how many square pixels a box has."""
        if self._held is not None:
            return box.columns * kitty.CELL[0], box.rows * kitty.CELL[1]
        return box.pixels(self.pictures.blocks)

    def thumbnail(self, encoded: bytes, box: Box) -> Lines:
        """Draw an encoded thumbnail; ValueError where the bytes are none."""
        image = decoded(encoded, self.room(box))
        return self.pixels(image.tobytes(), image.width, image.height, box)

    def pixels(self, rgb: bytes, width: int, height: int, box: Box) -> Lines:
        """Draw width × height RGB pixels that fit into the room of a box."""
        if self._held is not None:
            return self._held.place(rgb, width, height, box)
        return pixel_strips(rgb, width, height, box, self.pictures.blocks, self.depth)

    def drop(self, drawn: Lines | None) -> None:
        """Let the terminal forget a picture that is not shown any more."""
        if self._held is not None and drawn is not None:
            self._held.drop(drawn.image)

    def drop_all(self) -> None:
        """Let the terminal forget every picture."""
        if self._held is not None:
            self._held.drop_all()
