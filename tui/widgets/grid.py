"""The thumbnail grid: one widget that draws every cell of any number of pictures.

Belongs here: laying out cells, the cache of drawn thumbnails, cursor and marks.
Never here: fetching or decoding a thumbnail (a ``Thumbnails`` does), what a picture means.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip

from tui.pictures.strips import Box, Lines
from tui.text import fit
from tui.widgets.pages import Row
from tui.widgets.rows import MOVING, Failed, Listing

_BATCH: Final = 32
"""Thumbnails asked for at once: the first appear soon, the rest cost few calls."""
_SCREENS_KEPT: Final = 3
"""Screens of drawn thumbnails kept where that is more: what is seen, and a page either way."""
_KEPT: Final = 200
"""Drawn thumbnails kept, of some 100 kB each; more only where more are seen at once."""


@dataclass(frozen=True, slots=True)
class CellSize:
    """Size of one cell of the grid, its two lines of text included."""

    name: str
    columns: int
    rows: int

    @property
    def box(self) -> Box:
        """Room for the picture: a column is left free on the right."""
        return Box(self.columns - 1, self.rows - 2)


SIZES: Final = (CellSize("small", 16, 7), CellSize("medium", 24, 10), CellSize("large", 38, 15))


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
        "grid--cursor",
        "grid--cursor-blurred",
        "grid--marked",
        "grid--flat",
        "grid--bad",
    }
    DEFAULT_CSS = """
    Grid { background: $background; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    Grid > .grid--plain { color: $foreground; background: $background; }
    Grid > .grid--dim { color: $foreground 60%; background: $background; }
    Grid > .grid--cursor { color: $background; background: $primary; text-style: bold; }
    Grid > .grid--cursor-blurred { color: $foreground; background: $panel; }
    Grid > .grid--marked { color: $accent; text-style: bold; }
    Grid > .grid--flat { color: $foreground 30%; background: $surface; }
    Grid > .grid--bad { color: $warning; background: $background; }
    """

    def __init__(
        self,
        *,
        key: Callable[[Row], Hashable],
        thumbnails: Thumbnails,
        name_of: Callable[[Row], str],
        words_of: Callable[[Row], str],
        id: str | None = None,  # noqa: A002  the framework's name
    ) -> None:
        super().__init__(key=key, id=id)
        self._thumbnails = thumbnails
        self._name_of = name_of
        self._words_of = words_of
        self._zoom = 0
        self._drawn: OrderedDict[tuple[Hashable, int], Lines | None] = OrderedDict()
        """(key, size) to a thumbnail; None: there is none."""
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
    def cell(self) -> CellSize:
        """The size of a cell now: the largest that leaves room for it."""
        return SIZES[self._zoom]

    @property
    def columns(self) -> int:
        """Cells beside each other."""
        return max(1, self.scrollable_content_region.width // self.cell.columns)

    def lay_out(self) -> None:
        """Set the virtual size for as many pictures as there are."""
        lines = -(-self.total // self.columns) * self.cell.rows
        self.virtual_size = Size(self.scrollable_content_region.width, lines)

    def lines_of(self, index: int) -> tuple[int, int]:
        """Return the first line of a picture's cell and its height."""
        return index // self.columns * self.cell.rows, self.cell.rows

    @property
    def rows_a_page(self) -> int:
        """Whole rows of cells that are seen, at least one."""
        return max(1, self.lines_seen // self.cell.rows) * self.columns

    def redraw(self, index: int) -> None:
        """Draw a cell's two lines of text again: the picture does not show the cursor."""
        first, height = self.lines_of(index)
        left = index % self.columns * self.cell.columns
        top = first + height - 2 - round(self.scroll_y)
        self.refresh(Region(left, top, self.cell.columns, 2))

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
        wanted = min(max(0, self._zoom + by), len(SIZES) - 1)
        if wanted != self._zoom:
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
        name = (self.pages.key(row), self._zoom)
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
        zoom, generation = self._zoom, self._generation
        found = await self._thumbnails.drawn(rows, self.cell.box)
        if generation != self._generation:
            for lines in found.values():
                self._thumbnails.drop(lines)
            return
        for row in rows:
            name = self.pages.key(row)
            self._drawn[name, zoom] = found.get(name)
        while len(self._drawn) > max(_KEPT, _SCREENS_KEPT * self._count_seen):
            _, gone = self._drawn.popitem(last=False)
            self._thumbnails.drop(gone)

    def _missing(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if (self.pages.key(row), self._zoom) not in self._drawn]

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
        strips = []
        for column in range(self.columns):
            index = line * self.columns + column
            if index >= self.total:
                break
            strips.append(self._cell_line(index, inside, plain))
        return Strip.join(strips).adjust_cell_length(width, plain)

    def _cell_line(self, index: int, inside: int, plain: Style) -> Strip:
        width = self.cell.columns
        row = self.pages.row(index)
        if row is None:
            self._gaps = True
            return Strip([Segment(fit("…" if inside == 0 else "", width), plain)], width)
        text = inside - self.cell.box.rows
        if text < 0:
            return self._picture_line(row, inside, width, plain)
        if text == 0:
            return self._name_line(row, width, index == self.cursor, plain)
        style = self.get_component_rich_style("grid--dim")
        return Strip([Segment(fit(f" {self._words_of(row)}", width - 1) + " ", style)], width)

    def _name_line(self, row: Row, width: int, cursor: bool, plain: Style) -> Strip:
        marked = self.pages.is_marked(row)
        style = plain
        if cursor:
            focused = "grid--cursor" if self.has_focus else "grid--cursor-blurred"
            style = self.get_component_rich_style(focused)
        elif marked:
            style = plain + self.get_component_rich_style("grid--marked", partial=True)
        sign = "•" if marked else ("▸" if cursor else " ")
        name = fit(f"{sign}{self._name_of(row)}", width - 1)
        return Strip([Segment(name, style), Segment(" ", plain)], width)

    def _picture_line(self, row: Row, inside: int, width: int, plain: Style) -> Strip:
        box = self.cell.box
        if not self._covered:
            come, lines = self._thumbnail(row)
            if come and lines is None:
                return Strip([Segment(" " * width, plain)], width)
            if lines is not None:
                above = (box.rows - len(lines.strips)) // 2
                if not above <= inside < above + len(lines.strips):
                    return Strip([Segment(" " * width, plain)], width)
                left = (box.columns - lines.columns) // 2
                right = width - left - lines.columns
                return Strip(
                    [
                        *([Segment(" " * left, plain)] if left else ()),
                        *lines.strips[inside - above],
                        Segment(" " * right, plain),
                    ],
                    width,
                )
        flat = self.get_component_rich_style("grid--flat")
        return Strip([Segment(" " * box.columns, flat), Segment(" ", plain)], width)

    # Pointer --------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a picture; a second click opens it."""
        column = event.x // self.cell.columns
        index = (event.y + round(self.scroll_y)) // self.cell.rows * self.columns + column
        if column >= self.columns or index >= self.total:
            return
        if index == self.cursor and event.chain > 1:
            self.action_choose()
        self.move_to(index)
