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

from tui.pictures.strips import Box
from tui.text import fit
from tui.widgets.pages import Row
from tui.widgets.rows import MOVING, Failed, Listing

_BATCH: Final = 12
"""Thumbnails asked for at once: the first appear soon, the rest cost few calls."""
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

    async def strips(self, rows: list[Row], box: Box) -> dict[Hashable, list[Strip]]:
        """Return the lines of the thumbnails of rows by key; those without one are left out."""


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
        self._drawn: OrderedDict[tuple[Hashable, int], list[Strip] | None] = OrderedDict()
        """(key, size) to lines; None: there is no thumbnail."""
        self._wanted: dict[tuple[Hashable, int], Row] = {}
        self._drawing: asyncio.Task[None] | None = None
        self._covered = False
        self._generation = 0
        """Of drawn thumbnails: what was begun before `forget` is not kept."""

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
        self._drawn.clear()
        self._wanted.clear()
        self.refresh()

    @property
    def drawn(self) -> int:
        """How many drawn thumbnails are held."""
        return len(self._drawn)

    @property
    def settled(self) -> bool:
        """Every thumbnail that is seen is drawn."""
        return self.pages.loaded and not self._wanted and self._drawing is None

    def _lines(self, row: Row) -> list[Strip] | None:
        name = (self.pages.key(row), self._zoom)
        if name in self._drawn:
            self._drawn.move_to_end(name)
            return self._drawn[name]
        if not self._covered:
            self._wanted[name] = row
            if self._drawing is None:
                self._drawing = asyncio.create_task(self._draw_wanted())
        return None

    async def _draw_wanted(self) -> None:
        """Draw what is wanted, what was asked for last first: that is what is seen now."""
        try:
            # One turn of the loop gathers the whole screen.
            await asyncio.sleep(0)
            while self._wanted and self.is_attached:
                names = [one for one in reversed(self._wanted) if one[1] == self._zoom][:_BATCH]
                if not names:
                    self._wanted.clear()
                    break
                rows = [self._wanted.pop(one) for one in reversed(names)]
                generation = self._generation
                try:
                    found = await self._thumbnails.strips(rows, self.cell.box)
                except Exception as error:  # noqa: BLE001  the screen says what went wrong
                    # Not kept as having none: they are asked for again when they are seen again.
                    self._wanted.clear()
                    self.post_message(Failed(self, error))
                    return
                if generation != self._generation:
                    continue
                for name in names:
                    self._drawn[name] = found.get(name[0])
                seen = self.columns * (self.lines_seen // self.cell.rows + 2)
                while len(self._drawn) > max(_KEPT, 2 * seen):
                    self._drawn.popitem(last=False)
                # What has been scrolled away is not worth drawing.
                visible = {self.pages.key(row) for row in self._seen()}
                for name in [one for one in self._wanted if one[0] not in visible]:
                    del self._wanted[name]
                self.refresh()
        finally:
            self._drawing = None

    def _seen(self) -> list[Row]:
        first = round(self.scroll_y) // self.cell.rows * self.columns
        count = self.columns * (self.lines_seen // self.cell.rows + 2)
        rows = (self.pages.row(index) for index in range(first, min(self.total, first + count)))
        return [row for row in rows if row is not None]

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
            return Strip([Segment(fit("…" if inside == 0 else "", width), plain)], width)
        text = inside - self.cell.box.rows
        if text < 0:
            return self._picture_line(row, inside, width, plain)
        if text == 0:
            return self._name_line(row, width, index == self.cursor, plain)
        style = self.get_component_rich_style("grid--dim")
        return Strip([Segment(fit(self._words_of(row), width - 1) + " ", style)], width)

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
            lines = self._lines(row)
            if lines is not None:
                above = (box.rows - len(lines)) // 2
                if above <= inside < above + len(lines):
                    return Strip.join(
                        [lines[inside - above], Strip([Segment(" ", plain)], 1)]
                    ).apply_style(Style(bgcolor=plain.bgcolor))
                return Strip([Segment(" " * width, plain)], width)
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
