"""Pictures that the terminal itself draws: kitty's protocol with Unicode placeholders.

Belongs here: the bytes of the protocol, and which pictures the terminal holds.
Never here: which terminals have it (``terminal``).

Pixels travel inside the escape sequence and in no other way: the protocol could also name a file
or shared memory, which would put pictures in the clear outside this process. What was sent is
taken back when it is shown no more. Where a picture stands is text: each cell is one placeholder
letter that carries its row and column, in a colour that is the picture's number, so that it
scrolls, is covered and passes through a multiplexer as text does.
"""

from __future__ import annotations

import base64
import itertools
import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.pictures.strips import Lines
from tui.pictures.terminal import USUAL_CELL

if TYPE_CHECKING:
    from tui.pictures.strips import Box

_PLACEHOLDER: Final = "\U0010eeee"
_CHUNK: Final = 4096
"""Of base64, by the protocol."""

# Combining class 230 of Unicode 6.0 without those that fuse with other letters, in order: the
# n-th stands for row or column n.
_MARKS: Final = (
    "0305 030D-030E 0310 0312 033D-033F 0346 034A-034C 0350-0352 0357 035B 0363-036F 0483-0487"
    " 0592-0595 0597-0599 059C-05A1 05A8-05A9 05AB-05AC 05AF 05C4 0610-0617 0657-065B 065D-065E"
    " 06D6-06DC 06DF-06E2 06E4 06E7-06E8 06EB-06EC 0730 0732-0733 0735-0736 073A 073D 073F-0741"
    " 0743 0745 0747 0749-074A 07EB-07F1 07F3 0816-0819 081B-0823 0825-0827 0829-082D 0951"
    " 0953-0954 0F82-0F83 0F86-0F87 135D-135F 17DD 193A 1A17 1A75-1A7C 1B6B 1B6D-1B73 1CD0-1CD2"
    " 1CDA-1CDB 1CE0 1DC0-1DC1 1DC3-1DC9 1DCB-1DCC 1DD1-1DE6 1DFE 20D0-20D1 20D4-20D7 20DB-20DC"
    " 20E1 20E7 20E9 20F0 2CEF-2CF1 2DE0-2DFF A66F A67C-A67D A6F0-A6F1"
)


def _marks() -> tuple[str, ...]:
    marks: list[str] = []
    for piece in _MARKS.split():
        first, _, last = piece.partition("-")
        marks += map(chr, range(int(first, 16), int(last or first, 16) + 1))
    return tuple(marks)


MARKS: Final = _marks()


class Held:
    """The pictures that one terminal holds for this process."""

    def __init__(
        self, write: Callable[[str], None], environment: Mapping[str, str] = os.environ
    ) -> None:
        self._write = write
        self._inside = bool(environment.get("TMUX"))
        # Numbers are shared by everything that draws on one terminal: processes begin apart.
        self._numbers = itertools.count(1)
        self._base = os.getpid() % 0x3FFF << 10
        self._alive: set[int] = set()

    def place(
        self,
        rgb: bytes,
        width: int,
        height: int,
        box: Box,
        cell: tuple[float, float] = USUAL_CELL,
        *,
        fill: bool = False,
    ) -> Lines:
        """Send width × height RGB pixels; return the lines where they appear.

        A cell has so many pixels across and down. The terminal enlarges what shall ``fill`` a box.
        """
        room = (box.columns * cell[0], box.rows * cell[1])
        scale = min(room[0] / width, room[1] / height) if fill else 1.0
        columns = min(box.columns, _cells(width * scale, cell[0]), len(MARKS))
        rows = min(box.rows, _cells(height * scale, cell[1]), len(MARKS))
        number = self._base + next(self._numbers) % 0x400
        if number in self._alive or number == 0:
            number = self._base + next(self._numbers) % 0x400
        self._alive.add(number)
        data = base64.b64encode(zlib.compress(rgb, 1)).decode("ascii")
        head = f"a=T,U=1,q=2,t=d,f=24,o=z,i={number},s={width},v={height},c={columns},r={rows},"
        pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
        self._write(
            "".join(
                self._sequence(
                    f"{head if at == 0 else 'q=2,'}m={int(at + 1 < len(pieces))};{piece}"
                )
                for at, piece in enumerate(pieces)
            )
        )
        return Lines(_lines(number, columns, rows), columns, number)

    def drop(self, number: int) -> None:
        """Let the terminal forget a picture, its pixels included."""
        if number in self._alive:
            self._alive.discard(number)
            self._write(self._sequence(f"a=d,d=I,q=2,i={number}"))

    def drop_all(self) -> None:
        """Let the terminal forget every picture of this process."""
        for number in tuple(self._alive):
            self.drop(number)

    def _sequence(self, body: str) -> str:
        sequence = f"\x1b_G{body}\x1b\\"
        if self._inside:
            return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
        return sequence


def on_paper(lines: Lines, row: int, paper: Style) -> Iterable[Segment]:
    """Return a line of a picture before the background of a style.

    Cells are never quite of the picture's shape: where it leaves room in them, a terminal that
    holds it shows the background.
    """
    if not lines.image:
        return lines.strips[row]
    style = _ink(lines.image, paper.bgcolor)
    return [Segment(one.text, style) for one in lines.strips[row]]


def _cells(pixels: float, of_each: float) -> int:
    """Return in how many cells pixels stand; a hair over a cell is none."""
    return max(1, math.ceil(pixels / of_each - 1 / 32))


def _lines(number: int, columns: int, rows: int) -> tuple[Strip, ...]:
    style = _ink(number, None)
    # A segment for each cell: a line is never cut between a letter and its marks.
    return tuple(
        Strip(
            [
                Segment(_PLACEHOLDER + MARKS[row] + MARKS[column], style)
                for column in range(columns)
            ],
            columns,
        )
        for row in range(rows)
    )


@lru_cache(maxsize=1024)
def _ink(number: int, paper: Color | None) -> Style:
    """Return the colour that is a picture's number."""
    red, green, blue = number.to_bytes(3, "big")
    style = Style.from_color(Color.from_rgb(red, green, blue), paper)
    # The number has to arrive as it is, however many colours the framework believes in.
    codes = ["38", "2", *map(str, (red, green, blue))]
    style._ansi = ";".join([*codes, *(paper.get_ansi_codes(foreground=False) if paper else ())])  # noqa: SLF001
    return style
