"""The thumbnail grid: one widget that draws every cell of any number of pictures.

Belongs here: laying out cells, the cache of drawn thumbnails, cursor and marks.
Never here: fetching or decoding a thumbnail (a ``Thumbnails`` does), what a picture means.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Protocol

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip

from tui.pictures.kitty import on_paper
from tui.pictures.strips import Box, Lines
from tui.text import fit, fit_ends
from tui.widgets.pages import Row
from tui.widgets.rows import MOVING, Failed, Listing

_BATCH: Final = 32
"""Thumbnails asked for at once: the first appear soon, the rest cost few calls."""
_SCREENS_KEPT: Final = 3
"""Screens of drawn thumbnails kept where that is more: what is seen, and a page either way."""
_KEPT: Final = 200
"""Drawn thumbnails kept, of some 100 kB each; more only where more are seen at once."""


SIZES: Final = (15, 24, 38)
"""Columns of a small, a medium and a large cell, at least: cells share the width evenly."""
_MEDIUM_FROM: Final = 120
"""Columns of a grid from which cells are medium at first."""
_WIDE: Final = 20
"""Columns of a cell from which two stand free on its left, not one."""
_TEXT: Final = 2
"""Lines of text under a picture."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the grid: signs stand on its left, its last line is free."""

    columns: int
    rows: int
    gutter: int
    box: Box
    """Room for the picture."""


@lru_cache(maxsize=64)
def cell_of(least: int, width: int, height: int) -> Cell:
    """Return the cell that shares a width evenly; its picture leaves room for the text."""
    columns = max(1, width // max(1, width // least))
    gutter = 2 if columns >= _WIDE else 1
    room = max(1, columns - gutter)
    # A line is as high as two columns are wide, a picture mostly three to two.
    box = Box(room, max(1, min(round(room / 3), height - _TEXT)))
    return Cell(columns, box.rows + _TEXT + 1, gutter, box)


Words = Sequence[tuple[str, str]]
"""Text and which of ``dim``, ``ok``, ``warn``, ``bad`` it is drawn as."""


class Thumbnails(Protocol):
    """Gives drawn thumbnails."""

    async def drawn(self, rows: list[Row], box: Box) -> dict[Hashable, Lines]:
        """Return the thumbnails of rows by key, fitted into a box; those without are left out."""

    def drop(self, lines: Lines | None) -> None:
        """Let go of a thumbnail that is kept no more."""


class Grid(Listing):
    """Pictures in cells, as many beside each other as fit."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "move(1)", "right", show=False, id="grid.right"),
        Binding("left,h", "move(-1)", "left", show=False, id="grid.left"),
        Binding("down,j", "move_row(1)", "down", show=False, id="grid.down"),
        Binding("up,k", "move_row(-1)", "up", show=False, id="grid.up"),
        Binding("plus,equals_sign", "size(1)", "larger", show=False, id="grid.larger"),
        Binding("minus", "size(-1)", "smaller", show=False, id="grid.smaller"),
        *MOVING,
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--plain",
        "grid--dim",
        "grid--ok",
        "grid--warn",
        "grid--cursor",
        "grid--cursor-blurred",
        "grid--marked",
        "grid--flat",
        "grid--bad",
    }
    DEFAULT_CSS = """
    Grid {
        background: $background; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
        scrollbar-gutter: stable;
    }
    Grid > .grid--plain { color: $foreground; background: $background; }
    Grid > .grid--dim { color: $dim; background: $background; }
    Grid > .grid--ok { color: $success; background: $background; }
    Grid > .grid--warn { color: $warning; background: $background; }
    Grid > .grid--cursor { color: $background; background: $primary; text-style: bold; }
    Grid > .grid--cursor-blurred { color: $foreground; background: $select; }
    Grid:ansi > .grid--cursor { color: ansi_default; background: ansi_default;
                                text-style: bold reverse; }
    Grid > .grid--marked { color: $accent; text-style: bold; }
    Grid > .grid--flat { color: $dim; background: $surface; }
    Grid > .grid--bad { color: $error; background: $background; text-style: bold; }
    """

    def __init__(
        self,
        *,
        key: Callable[[Row], Hashable],
        thumbnails: Thumbnails,
        name_of: Callable[[Row], str],
        words_of: Callable[[Row, int], Words],
        id: str | None = None,  # noqa: A002  the framework's name
    ) -> None:
        super().__init__(key=key, id=id)
        self._thumbnails = thumbnails
        self._name_of = name_of
        self._words_of = words_of
        self._zoom: int | None = None
        """The size that a person has chosen; before, it follows the width."""
        self._cell = cell_of(SIZES[0], SIZES[0], 1)
        self._columns = 1
        self._margin = 0
        """Columns left free on the left: half of what no cell takes."""
        self._drawn: OrderedDict[tuple[Hashable, Box], Lines | None] = OrderedDict()
        """(key, room) to a thumbnail; None: there is none."""
        self._wanted = False
        """A thumbnail that is seen was asked for and has not come."""
        self._gaps = False
        """A row that is seen was asked for and has not come."""
        self._drawing: asyncio.Task[None] | None = None
        self._covered = False
        self._generation = 0
        """Of drawn thumbnails: what was begun before `forget` is not kept."""
        self._looked_at = 0
        """The first row seen when the rows beyond were drawn last: which way a person goes."""

    # Layout ---------------------------------------------------------------------------------------

    @property
    def cell(self) -> Cell:
        """The size of a cell now."""
        return self._cell

    @property
    def zoom(self) -> int:
        """Which of the sizes: the one that was chosen, else the one that fits the width."""
        if self._zoom is not None:
            return self._zoom
        return 1 if self.scrollable_content_region.width >= _MEDIUM_FROM else 0

    @property
    def columns(self) -> int:
        """Cells beside each other."""
        return self._columns

    def lay_out(self) -> None:
        """Share the width among cells; set the virtual size for as many as there are."""
        width = self.scrollable_content_region.width
        self._cell = cell_of(SIZES[self.zoom], width, self.lines_seen)
        self._columns = max(1, width // self._cell.columns)
        self._margin = (width - self._columns * self._cell.columns) // 2
        lines = -(-self.total // self._columns) * self._cell.rows
        self.virtual_size = Size(width, lines)

    def lines_of(self, index: int) -> tuple[int, int]:
        """Return the first line of a picture's cell and its height."""
        return index // self.columns * self.cell.rows, self.cell.rows

    @property
    def rows_a_page(self) -> int:
        """Whole rows of cells that are seen, at least one."""
        return max(1, self.lines_seen // self.cell.rows) * self.columns

    def redraw(self, index: int) -> None:
        """Draw a cell's two lines of text again: the picture does not show the cursor."""
        cell = self._cell
        left = self._margin + index % self._columns * cell.columns
        top = self.lines_of(index)[0] + cell.box.rows - round(self.scroll_y)
        self.refresh(Region(left, top, cell.columns, _TEXT))

    def action_move_row(self, by: int) -> None:
        """Move the cursor by rows of cells; it stays in its column where there is one."""
        wanted = self.cursor + by * self.columns
        if 0 <= wanted < self.total:
            self.move_to(wanted)
        elif (
            wanted >= self.total and self.cursor // self.columns < (self.total - 1) // self.columns
        ):
            self.move_to(self.total - 1)

    def action_size(self, by: int) -> None:
        """Draw thumbnails larger or smaller."""
        wanted = min(max(0, self.zoom + by), len(SIZES) - 1)
        if wanted != self.zoom:
            self._zoom = wanted
            self.lay_out()
            self.show_cursor()
            self.refresh()

    # Thumbnails -----------------------------------------------------------------------------------

    def cover(self, covered: bool) -> None:
        """Draw flat cells while something stands in front: it is drawn sooner, and in private."""
        if covered != self._covered:
            self._covered = covered
            self.refresh()

    def forget(self) -> None:
        """Drop every drawn thumbnail, those under way too."""
        self._generation += 1
        for lines in self._drawn.values():
            self._thumbnails.drop(lines)
        self._drawn.clear()
        self._wanted = False
        self.refresh()

    def on_unmount(self) -> None:
        """Hold no thumbnail."""
        super().on_unmount()
        self.forget()

    @property
    def drawn(self) -> int:
        """How many drawn thumbnails are held."""
        return len(self._drawn)

    @property
    def settled(self) -> bool:
        """Every thumbnail that is seen is drawn."""
        return self.pages.loaded and not self._wanted and self._drawing is None

    def _thumbnail(self, row: Row) -> tuple[bool, Lines | None]:
        """Return whether a thumbnail has come, and it; what has not is asked for."""
        name = (self.pages.key(row), self._cell.box)
        if name in self._drawn:
            self._drawn.move_to_end(name)
            return True, self._drawn[name]
        self._wanted = True
        self._begin()
        return False, None

    def _begin(self) -> None:
        if self._drawing is None and not self._covered and self.is_attached:
            self._drawing = asyncio.create_task(self._draw_wanted())

    async def _draw_wanted(self) -> None:
        """Draw what is seen, from the top; then what would be seen a page further."""
        try:
            # One turn of the loop gathers the whole screen.
            await asyncio.sleep(0)
            while self.is_attached and not self._covered:
                seen = self._rows(self._first_seen, self._count_seen)
                self._wanted = False
                missing = self._missing(seen)
                await self._draw((missing or self._missing(self._ahead()))[:_BATCH])
                if missing:
                    self.refresh()
                elif not self._wanted and not self._missing(self._ahead()):
                    break
        except Exception as error:  # noqa: BLE001  the screen says what went wrong
            # Not kept as having none: they are asked for again when they are seen again.
            self._wanted = False
            self.post_message(Failed(self, error))
        finally:
            self._drawing = None

    async def _draw(self, rows: list[Row]) -> None:
        if not rows:
            return
        box, generation = self._cell.box, self._generation
        found = await self._thumbnails.drawn(rows, box)
        if generation != self._generation:
            for lines in found.values():
                self._thumbnails.drop(lines)
            return
        for row in rows:
            name = self.pages.key(row)
            self._drawn[name, box] = found.get(name)
        while len(self._drawn) > max(_KEPT, _SCREENS_KEPT * self._count_seen):
            _, gone = self._drawn.popitem(last=False)
            self._thumbnails.drop(gone)

    def _missing(self, rows: list[Row]) -> list[Row]:
        box = self._cell.box
        return [row for row in rows if (self.pages.key(row), box) not in self._drawn]

    def _ahead(self) -> list[Row]:
        """Return the rows of the next page in the direction of the last one."""
        first, count = self._first_seen, self._count_seen
        back = first < self._looked_at
        return self._rows(max(0, first - count) if back else first + count, count)

    @property
    def _first_seen(self) -> int:
        return round(self.scroll_y) // self.cell.rows * self.columns

    @property
    def _count_seen(self) -> int:
        return self.columns * (self.lines_seen // self.cell.rows + 1)

    def _rows(self, first: int, count: int) -> list[Row]:
        rows = (self.pages.row(index) for index in range(first, min(self.total, first + count)))
        return [row for row in rows if row is not None]

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Know which way a person goes."""
        super().watch_scroll_y(old_value, new_value)
        if old_value != new_value:
            self._looked_at = round(old_value) // self.cell.rows * self.columns
            self._begin()

    def _page_came(self) -> None:
        # A page that was fetched ahead changes nothing that is seen.
        if self.pages.moved or self._gaps:
            self._gaps = False
            super()._page_came()
        self._begin()

    # Drawing --------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw one line across the cells that it crosses."""
        width = self.scrollable_content_region.width
        plain = self.get_component_rich_style("grid--plain")
        line, inside = divmod(y + round(self.scroll_y), self.cell.rows)
        strips = [Strip([Segment(" " * self._margin, plain)], self._margin)]
        for column in range(self.columns):
            index = line * self.columns + column
            if index >= self.total:
                break
            strips.append(self._cell_line(index, inside, plain))
        return Strip.join(strips).adjust_cell_length(width, plain)

    def _cell_line(self, index: int, inside: int, plain: Style) -> Strip:
        width = self._cell.columns
        text = inside - self._cell.box.rows
        if text >= _TEXT:
            return Strip([Segment(" " * width, plain)], width)
        row = self.pages.row(index)
        if row is None:
            self._gaps = True
            sign = "…" if inside == 0 else ""
            return Strip([Segment(fit(" " * self._cell.gutter + sign, width), plain)], width)
        if text < 0:
            return self._picture_line(row, inside, width, plain)
        return self._text_line(row, text, index == self.cursor, plain)

    def _text_line(self, row: Row, line: int, cursor: bool, plain: Style) -> Strip:
        """Draw the name, or what is told below it; signs of cursor and mark on the left."""
        width, gutter = self._cell.box.columns, self._cell.gutter
        marked = self.pages.is_marked(row)
        mark = plain + self.get_component_rich_style("grid--marked", partial=True)
        sign = "•" if marked and line == 0 else ("▌" if cursor else " ")
        head = Segment(sign.ljust(gutter), mark)
        over = None
        if cursor:
            focused = "grid--cursor" if self.has_focus else "grid--cursor-blurred"
            over = self.get_component_rich_style(focused)
        if line == 0:
            style = over or (mark if marked else plain)
            return Strip(
                [head, Segment(fit_ends(self._name_of(row), width), style)], gutter + width
            )
        told = [
            Segment(text, over or self.get_component_rich_style(f"grid--{name}"))
            for text, name in self._words_of(row, width)
        ]
        return Strip([head, *told]).adjust_cell_length(gutter + width, over or plain)

    def _picture_line(self, row: Row, inside: int, width: int, plain: Style) -> Strip:
        box, gutter = self._cell.box, self._cell.gutter
        if not self._covered:
            come, lines = self._thumbnail(row)
            if come and lines is None:
                return Strip([Segment(" " * width, plain)], width)
            if lines is not None:
                above = (box.rows - len(lines.strips)) // 2
                if not above <= inside < above + len(lines.strips):
                    return Strip([Segment(" " * width, plain)], width)
                left = gutter + (box.columns - lines.columns) // 2
                right = width - left - lines.columns
                return Strip(
                    [
                        Segment(" " * left, plain),
                        *on_paper(lines, inside - above, plain),
                        *([Segment(" " * right, plain)] if right else ()),
                    ],
                    width,
                )
        flat = self.get_component_rich_style("grid--flat")
        return Strip([Segment(" " * gutter, plain), Segment(" " * box.columns, flat)], width)

    # Pointer --------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a picture; a second click opens it."""
        column = (event.x - self._margin) // self.cell.columns
        index = (event.y + round(self.scroll_y)) // self.cell.rows * self.columns + column
        if not 0 <= column < self.columns or index >= self.total:
            return
        if index == self.cursor and event.chain > 1:
            self.action_choose()
        self.move_to(index)
