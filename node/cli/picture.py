"""A picture drawn with letters: the four quadrants of a cell in two colours.

Belongs here: turning RGB pixels into text for a terminal, and how large that may be.
Never here: decoding (the node does that in a bounded process), or writing to stdout.

A cell is about twice as high as wide. Its four quadrants take two colours, so each
cell shows the division of its four colours into two groups that loses least; at the
same number of bytes that is visibly sharper than half blocks. The Linux console has
no quadrant glyphs and gets half blocks.
"""

from __future__ import annotations

import os
import shutil
from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final, TypeAlias

Colour: TypeAlias = tuple[int, int, int]


class Depth(Enum):
    """How many colours the terminal shows."""

    TRUE = auto()
    """24 bits."""
    PALETTE = auto()
    """The 256 colours of xterm."""
    GREY = auto()
    """The greys of that palette: for people who set NO_COLOR."""


class Blocks(Enum):
    """Which glyphs the terminal has."""

    QUADRANTS = auto()
    HALVES = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What a terminal can show, read from it once."""

    columns: int
    rows: int
    depth: Depth
    blocks: Blocks

    def box(self) -> tuple[int, int]:
        """Return width and height in square pixels that the picture must fit into."""
        if self.blocks is Blocks.HALVES:
            return self.columns, self.rows * 2
        return self.columns * 2, self.rows * 4


_DIVISIONS: Final = (
    ((3,), (0, 1, 2), "▗"),
    ((2,), (0, 1, 3), "▖"),
    ((1,), (0, 2, 3), "▝"),
    ((2, 3), (0, 1), "▄"),
    ((1, 3), (0, 2), "▐"),
    ((1, 2), (0, 3), "▞"),
    ((1, 2, 3), (0,), "▟"),
)
"""Foreground, background, glyph: the seven divisions of a cell's quadrants (0 upper left,
1 upper right, 2 lower left, 3 lower right) into two groups; quadrant 0 is background."""

_KEPT_LINES: Final = 3
"""Lines below the picture: the sentence about it, and the prompt."""


def canvas(environment: Mapping[str, str] = os.environ) -> Canvas:
    """Return what the terminal of stdout can show."""
    columns, rows = shutil.get_terminal_size()
    console = environment.get("TERM") == "linux"
    if environment.get("NO_COLOR"):
        depth = Depth.GREY
    elif environment.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        depth = Depth.TRUE
    else:
        depth = Depth.PALETTE
    return Canvas(
        columns=max(columns, 2),
        rows=max(rows - _KEPT_LINES, 2),
        depth=depth,
        blocks=Blocks.HALVES if console else Blocks.QUADRANTS,
    )


def draw(rgb: bytes, width: int, height: int, on: Canvas) -> Iterator[str]:
    """Yield the lines of a picture of width × height RGB pixels, each ending in a reset.

    ValueError where the bytes are not that many pixels.
    """
    if width < 1 or height < 1 or len(rgb) != width * height * 3:
        raise ValueError("not that many pixels")
    pixels = _Pixels(rgb, width, height)
    if on.blocks is Blocks.HALVES:
        for top in range(0, height, 2):
            cells = ((pixels.at(left, top), pixels.at(left, top + 1), "▄") for left in range(width))
            yield _line(cells, on.depth)
    else:
        for top in range(0, height, 4):
            cells = (_quadrants(pixels, left, top) for left in range(0, width, 2))
            yield _line(cells, on.depth)


class _Pixels:
    """Pixels by position; beyond the edge is the edge."""

    def __init__(self, rgb: bytes, width: int, height: int) -> None:
        self._rgb, self._width, self._height = rgb, width, height

    def at(self, left: int, top: int) -> Colour:
        start = 3 * (min(top, self._height - 1) * self._width + min(left, self._width - 1))
        return self._rgb[start], self._rgb[start + 1], self._rgb[start + 2]

    def pair(self, left: int, top: int) -> Colour:
        """Return the mean of two pixels below each other: a quadrant is twice as high as wide."""
        upper, lower = self.at(left, top), self.at(left, top + 1)
        return _mean(_sum((upper, lower), (0, 1)), 2)


def _quadrants(pixels: _Pixels, left: int, top: int) -> tuple[Colour, Colour, str]:
    """Return background, foreground and glyph that lose least of a cell's four colours."""
    four = (
        pixels.pair(left, top),
        pixels.pair(left + 1, top),
        pixels.pair(left, top + 2),
        pixels.pair(left + 1, top + 2),
    )
    everything = _sum(four, (0, 1, 2, 3))
    plain = _mean(everything, 4)
    best: tuple[Colour, Colour, str] = (plain, plain, " ")
    if four[0] == four[1] == four[2] == four[3]:
        return best
    # The squared error is the same total for every division, less what each group's mean keeps.
    most = _square(everything) / 4
    for front, back, glyph in _DIVISIONS:
        ink, paint = _sum(four, front), _sum(four, back)
        kept = _square(ink) / len(front) + _square(paint) / len(back)
        if kept > most:
            most, best = kept, (_mean(paint, len(back)), _mean(ink, len(front)), glyph)
    return best


def _sum(colours: tuple[Colour, ...], of: tuple[int, ...]) -> Colour:
    red = green = blue = 0
    for index in of:
        colour = colours[index]
        red += colour[0]
        green += colour[1]
        blue += colour[2]
    return red, green, blue


def _mean(total: Colour, count: int) -> Colour:
    return total[0] // count, total[1] // count, total[2] // count


def _square(colour: Colour) -> int:
    return colour[0] * colour[0] + colour[1] * colour[1] + colour[2] * colour[2]


def _line(cells: Iterator[tuple[Colour, Colour, str]], depth: Depth) -> str:
    """Return cells as text; a colour that stays is not repeated."""
    parts: list[str] = []
    back = front = ""
    for background, foreground, glyph in cells:
        paint, ink = _code(background, depth), _code(foreground, depth)
        if paint != back:
            parts.append(f"\x1b[48;{paint}m")
            back = paint
        if glyph != " " and ink != front:
            parts.append(f"\x1b[38;{ink}m")
            front = ink
        parts.append(glyph)
    return "".join(parts) + "\x1b[0m"


@lru_cache(maxsize=4096)
def _code(colour: Colour, depth: Depth) -> str:
    red, green, blue = colour
    if depth is Depth.TRUE:
        return f"2;{red};{green};{blue}"
    if depth is Depth.GREY:
        # ITU-R BT.709 luma, on the ramp from black over 24 greys to white.
        step = round((0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255 * 25)
        return f"5;{(16, *range(232, 256), 231)[step]}"
    return f"5;{_nearest(colour)}"


_CUBE: Final = (0, 95, 135, 175, 215, 255)
"""Levels of a channel in the 6 × 6 × 6 cube of the 256 colours."""

_STEPS: Final = (48, 115, 155, 195, 235)
"""Where the next level becomes the nearer one."""


def _nearest(colour: Colour) -> int:
    """Return the nearest of the 256 colours: of the cube, or of the 24 greys."""
    levels = [bisect(_STEPS, channel) for channel in colour]
    in_cube = (_CUBE[levels[0]], _CUBE[levels[1]], _CUBE[levels[2]])
    grey = max(0, min(23, round((sum(colour) / 3 - 8) / 10)))
    shade = 8 + 10 * grey
    if _distance(colour, (shade, shade, shade)) < _distance(colour, in_cube):
        return 232 + grey
    return 16 + 36 * levels[0] + 6 * levels[1] + levels[2]


def _distance(one: Colour, other: Colour) -> int:
    return _square((one[0] - other[0], one[1] - other[1], one[2] - other[2]))
