"""Pictures as strips of cells: pixels in, lines for a terminal out.

Belongs here: fitting a picture into cells, and colours as styles.
Never here: which picture, or where it is drawn. Everything here is CPU work for a thread.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from node.cli.picture import Blocks, Cell, Colour, Depth, cells, code

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_PIXELS: Final = 4_194_304
"""Of a thumbnail: the node makes none over 1,024 pixels on a side."""

_MASK: Final = {Depth.TRUE: 0xFC, Depth.PALETTE: 0xF8, Depth.GREY: 0xF8}
"""Colours are rounded to this: fewer styles to make and send, and no eye tells."""


@dataclass(frozen=True, slots=True)
class Box:
    """Room for a picture, in cells."""

    columns: int
    rows: int

    def pixels(self, blocks: Blocks) -> tuple[int, int]:
        """Return the room in square pixels."""
        if blocks is Blocks.HALVES:
            return self.columns, self.rows * 2
        return self.columns * 2, self.rows * 4


@dataclass(frozen=True, slots=True)
class Lines:
    """A picture as lines of one width."""

    strips: tuple[Strip, ...]
    columns: int
    image: int = 0
    """What the terminal holds it under, where it holds the pixels itself."""


def decoded(encoded: bytes, room: tuple[int, int], *, enlarge: bool = True) -> Image:
    """Return an encoded thumbnail fitted into so many square pixels.

    ValueError where the bytes are no picture of a thumbnail's size.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError("too large for a thumbnail")
            image.draft("RGB", room)
            whole = image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("not a thumbnail") from error
    scale = min(room[0] / whole.width, room[1] / whole.height, math.inf if enlarge else 1.0)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    return whole.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def pixel_strips(
    rgb: bytes, width: int, height: int, box: Box, blocks: Blocks, depth: Depth = Depth.TRUE
) -> Lines:
    """Return width × height RGB pixels as lines of cells, no more than a box has room for."""
    lines = tuple(
        _strip(row[: box.columns], depth)
        for row, _ in zip(cells(rgb, width, height, blocks), range(box.rows), strict=False)
    )
    return Lines(lines, lines[0].cell_length)


def _strip(row: list[Cell], depth: Depth) -> Strip:
    segments: list[Segment] = []
    text, style = "", Style.null()
    mask = _MASK[depth]
    for back, front, glyph in row:
        own = _style(
            back[0] & mask, back[1] & mask, back[2] & mask,
            *(() if glyph == " " else (front[0] & mask, front[1] & mask, front[2] & mask)),
            depth=depth,
        )  # fmt: skip
        if own is style:
            text += glyph
            continue
        if text:
            segments.append(Segment(text, style))
        text, style = glyph, own
    segments.append(Segment(text, style))
    return Strip(segments, len(row))


@lru_cache(maxsize=16_384)
def _style(red: int, green: int, blue: int, *front: int, depth: Depth) -> Style:
    """Return the style of a background and, where there is one, a foreground."""
    colours: list[Colour] = [(red, green, blue)]
    if front:
        colours.append((front[0], front[1], front[2]))
    paint, *ink = [(_colour(one, depth), code(one, depth)) for one in colours]
    style = Style.from_color(ink[0][0] if ink else None, paint[0])
    # The framework would work this out while it draws, at ten times the cost, for each pair of
    # colours: here it is known, and this is a thread.
    style._ansi = ";".join([*(f"38;{one[1]}" for one in ink), f"48;{paint[1]}"])  # noqa: SLF001
    return style


@lru_cache(maxsize=16_384)
def _colour(colour: Colour, depth: Depth) -> Color:
    if depth is Depth.TRUE:
        return Color.from_triplet(ColorTriplet(*colour))
    return Color.from_ansi(int(code(colour, depth).removeprefix("5;")))
