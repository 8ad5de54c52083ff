"""A picture drawn with letters: the quadrants or sextants of a cell in two colours.

Belongs here: turning RGB pixels into text for a terminal, and how large that may be.
Never here: decoding (the node does that in a bounded process), or writing to stdout.

A cell is about twice as high as wide. Its four quadrants take two colours, so each
cell shows the division of its four colours into two groups that loses least; at the
same number of bytes that is visibly sharper than half blocks. Six parts are sharper still
where the terminal has the glyphs. The Linux console has no quadrant glyphs and gets half blocks.
"""

from __future__ import annotations

import os
import shutil
from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from operator import add
from typing import Final, TypeAlias

Colour: TypeAlias = tuple[int, int, int]
Cell: TypeAlias = tuple[Colour, Colour, str]
"""Background, foreground, glyph."""


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

    SEXTANTS = auto()
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


_ALIKE: Final = 96
"""Squared contrast of halves (sums of four pixels) below which a cell is one plain colour."""

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
    for row in cells(rgb, width, height, on.blocks):
        yield _line(row, on.depth)


def cells(rgb: bytes, width: int, height: int, blocks: Blocks) -> Iterator[list[Cell]]:
    """Yield the rows of cells of a picture of width × height RGB pixels.

    ValueError where the bytes are not that many pixels.
    """
    if width < 1 or height < 1 or len(rgb) != width * height * 3:
        raise ValueError("not that many pixels")
    lines = [rgb[start : start + 3 * width] for start in range(0, len(rgb), 3 * width)]
    if blocks is Blocks.HALVES:
        lines += lines[-1:] * (-height % 2)
        for upper, lower in zip(lines[::2], lines[1::2], strict=True):
            yield [(back, front, "▄") for back, front in zip(_of(upper), _of(lower), strict=True)]
        return
    if width % 2:
        # Beyond the edge is the edge.
        lines = [line + line[-3:] for line in lines]
    lines += lines[-1:] * (-height % 4)
    row = _sextants if blocks is Blocks.SEXTANTS else _quadrants
    for top in range(0, height, 4):
        yield row(*lines[top : top + 4])


def _of(line: bytes) -> Iterator[Colour]:
    values = iter(line)
    return zip(values, values, values, strict=True)


def _quadrants(first: bytes, second: bytes, third: bytes, fourth: bytes) -> list[Cell]:
    """Return for each cell the background, foreground and glyph that lose least of its colours.

    Takes four lines of pixels of an even width; a quadrant is the sum of two below each other.
    """
    upper, lower = iter([*map(add, first, second)]), iter([*map(add, third, fourth)])
    row: list[Cell] = []
    # All of this runs for each cell of a screen: it is written out, channel by channel.
    for r0, g0, b0, r1, g1, b1, r2, g2, b2, r3, g3, b3 in zip(
        *[upper] * 6, *[lower] * 6, strict=True
    ):
        # Contrast of the halves: above and below, left and right, the two diagonals.
        ra, ga, ba = r0 + r1 - r2 - r3, g0 + g1 - g2 - g3, b0 + b1 - b2 - b3
        rb, gb, bb = r0 - r1 + r2 - r3, g0 - g1 + g2 - g3, b0 - b1 + b2 - b3
        rc, gc, bc = r0 - r1 - r2 + r3, g0 - g1 - g2 + g3, b0 - b1 - b2 + b3
        red, green, blue = r0 + r1 + r2 + r3, g0 + g1 + g2 + g3, b0 + b1 + b2 + b3
        rows = ra * ra + ga * ga + ba * ba
        columns = rb * rb + gb * gb + bb * bb
        diagonals = rc * rc + gc * gc + bc * bc
        if rows + columns + diagonals < _ALIKE:
            plain = (red >> 3, green >> 3, blue >> 3)
            row.append((plain, plain, " "))
            continue
        # What one quadrant against three keeps, from the same: its contrast is the sum of theirs.
        every = rows + columns + diagonals
        ab = 2 * (ra * rb + ga * gb + ba * bb)
        ac = 2 * (ra * rc + ga * gc + ba * bc)
        bc2 = 2 * (rb * rc + gb * gc + bb * bc)
        kept = (
            3 * rows,
            3 * columns,
            3 * diagonals,
            every + ab + ac + bc2,
            every - ab - ac + bc2,
            every - ab + ac - bc2,
            every + ab - ac - bc2,
        )
        split = kept.index(max(kept))
        if split == 0:
            ink, count, glyph = (r2 + r3, g2 + g3, b2 + b3), 4, "▄"
        elif split == 1:
            ink, count, glyph = (r1 + r3, g1 + g3, b1 + b3), 4, "▐"
        elif split == 2:
            ink, count, glyph = (r1 + r2, g1 + g2, b1 + b2), 4, "▞"
        elif split == 4:
            ink, count, glyph = (r1, g1, b1), 2, "▝"
        elif split == 5:
            ink, count, glyph = (r2, g2, b2), 2, "▖"
        elif split == 6:
            ink, count, glyph = (r3, g3, b3), 2, "▗"
        else:
            ink, count, glyph = (red - r0, green - g0, blue - b0), 6, "▟"
        rest = 8 - count
        row.append(
            (
                ((red - ink[0]) // rest, (green - ink[1]) // rest, (blue - ink[2]) // rest),
                (ink[0] // count, ink[1] // count, ink[2] // count),
                glyph,
            )
        )
    return row


def _sextants(first: bytes, second: bytes, third: bytes, fourth: bytes) -> list[Cell]:
    """Return for each cell background, foreground and the sextants in it.

    Takes four lines of pixels of an even width; a sextant is a pixel and a third below each
    other. Its six parts are split at the step of brightness that loses least.
    """
    upper = iter([3 * one + two for one, two in zip(first, second, strict=True)])
    middle = iter([2 * (one + two) for one, two in zip(second, third, strict=True)])
    lower = iter([one + 3 * two for one, two in zip(third, fourth, strict=True)])
    row: list[Cell] = []
    for values in zip(*[upper] * 6, *[middle] * 6, *[lower] * 6, strict=True):
        red, green, blue = sum(values[0::3]), sum(values[1::3]), sum(values[2::3])
        order = sorted(
            [
                (2 * values[at] + 5 * values[at + 1] + values[at + 2], at)
                for at in (0, 3, 6, 9, 12, 15)
            ]
        )
        if order[-1][0] - order[0][0] < _ALIKE:
            plain = (red // 24, green // 24, blue // 24)
            row.append((plain, plain, " "))
            continue
        r = g = b = pattern = 0
        most = best = count = 0
        ink = (0, 0, 0)
        for number, (_, at) in enumerate(order[:5], 1):
            r, g, b = r + values[at], g + values[at + 1], b + values[at + 2]
            pattern |= 1 << at // 3
            rest = 6 - number
            # The contrast of two groups, by how many parts each has.
            reds, greens, blues = (
                6 * r - number * red,
                6 * g - number * green,
                6 * b - number * blue,
            )
            kept = (reds * reds + greens * greens + blues * blues) * 10 // (number * rest)
            if kept > most:
                most, best, count, ink = kept, pattern, number, (r, g, b)
        back = (red - ink[0], green - ink[1], blue - ink[2])
        rest = 6 - count
        if best & 1:
            # The first part is background, as in quadrants.
            best, count, rest, ink, back = 63 - best, rest, count, back, ink
        row.append(
            (
                (back[0] // rest // 4, back[1] // rest // 4, back[2] // rest // 4),
                (ink[0] // count // 4, ink[1] // count // 4, ink[2] // count // 4),
                _SEXTANTS[best],
            )
        )
    return row


def _sextant(pattern: int) -> str:
    """Return the glyph of a pattern: bits from the upper left to the lower right, none is 0."""
    if pattern == 0b101010:
        return "▐"
    return chr(0x1FB00 + pattern - 1 - (pattern > 0b010101) - (pattern > 0b101010))


_SEXTANTS: Final = tuple(_sextant(pattern) if pattern else " " for pattern in range(63))


def _line(row: list[Cell], depth: Depth) -> str:
    """Return cells as text; a colour that stays is not repeated."""
    parts: list[str] = []
    back = front = ""
    for background, foreground, glyph in row:
        paint, ink = code(background, depth), code(foreground, depth)
        if paint != back:
            parts.append(f"\x1b[48;{paint}m")
            back = paint
        if glyph != " " and ink != front:
            parts.append(f"\x1b[38;{ink}m")
            front = ink
        parts.append(glyph)
    return "".join(parts) + "\x1b[0m"


@lru_cache(maxsize=4096)
def code(colour: Colour, depth: Depth) -> str:
    """Return a colour as the end of an SGR sequence, behind ``38;`` or ``48;``."""
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
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2 + (one[2] - other[2]) ** 2
