"""A list of any length, drawn by one widget.

Belongs here: cursor, ranges, columns, drawing a row.
Never here: holding rows (``pages``), or what they mean: columns say.

One scrolling widget draws every line itself, so that 100,000 rows cost what 1,000 cost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.text import fit, fit_ends
from tui.widgets.pages import Pages, Row, RowSource

MOVING: Final[tuple[BindingType, ...]] = (
    Binding("pagedown", "move_page(1)", "page down", show=False, id="list.page-down"),
    Binding("pageup", "move_page(-1)", "page up", show=False, id="list.page-up"),
    Binding("g,home", "to_start", "first", show=False, id="list.first"),
    Binding("G,end", "to_end", "last", show=False, id="list.last"),
    Binding("space", "mark", "mark", show=False, id="list.mark"),
    Binding("V", "mark_range", "mark a range", show=False, id="list.range"),
    Binding("asterisk", "mark_all", "mark all", show=False, id="list.mark-all"),
    Binding("enter", "choose", "open", show=False, id="list.choose"),
)
"""Keys that every list and grid has."""


class ListMessage(Message):
    """Base of what lists and grids tell their screen."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class Moved(ListMessage):
    """The cursor is on another row, or the row under it is known now."""


class Chosen(ListMessage):
    """Enter or a second click on the row under the cursor."""


class Marked(ListMessage):
    """Other rows are marked."""


class Failed(ListMessage):
    """A page did not come."""

    def __init__(self, listing: Listing, error: Exception) -> None:
        super().__init__(listing)
        self.error = error


class Listing(ScrollView, can_focus=True):
    """Rows with a cursor, marks and ranges; how they are laid out is the subclass's."""

    def __init__(
        self,
        *,
        key: Callable[[Row], Hashable],
        id: str | None = None,  # noqa: A002  the framework's name
    ) -> None:
        super().__init__(id=id)
        self.pages = Pages(key=key, came=self._page_came, failed=self._page_failed)
        self.cursor = 0
        self._anchor: int | None = None

    # What the subclass knows ----------------------------------------------------------------------

    def lay_out(self) -> None:
        """Set the virtual size for as many rows as there are."""
        raise NotImplementedError

    def lines_of(self, index: int) -> tuple[int, int]:
        """Return the first virtual line of a row and how many it has."""
        raise NotImplementedError

    def redraw(self, index: int) -> None:
        """Draw again what a moved cursor changes of a row."""
        raise NotImplementedError

    @property
    def rows_a_page(self) -> int:
        """By how many rows Page Down moves."""
        raise NotImplementedError

    # Rows -----------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """How many rows there are in all."""
        return self.pages.total

    @property
    def current(self) -> Row | None:
        """The row under the cursor, if it has come."""
        return self.pages.row(self.cursor) if self.total else None

    def show(self, source: RowSource, *, keep: bool = False) -> None:
        """Show a source's rows; ``keep`` stays where it is, for the same rows as they are now."""
        if not keep:
            self.cursor = 0
            self.scroll_to(0, 0, animate=False)
        self._anchor = None
        self.pages.show(source, first=self.cursor, keep=keep)

    def drop(self) -> None:
        """Drop every row: nothing of them is drawn, chosen or moved to any more."""
        self.pages.forget()
        self.cursor = 0
        self._anchor = None
        self.lay_out()
        self.refresh()

    def chosen(self) -> list[Row]:
        """Return the marked rows, else the one under the cursor."""
        if self.pages.marks:
            return list(self.pages.marks.values())
        return [] if self.current is None else [self.current]

    def clear_marks(self) -> bool:
        """Unmark all; say whether there were any."""
        had = bool(self.pages.marks) or self._anchor is not None
        self.pages.marks.clear()
        self._anchor = None
        if had:
            self.refresh()
            self.post_message(Marked(self))
        return had

    def _page_came(self) -> None:
        if not self.is_attached:
            return
        self.cursor = min(self.cursor, max(0, self.total - 1))
        self.lay_out()
        self.refresh()
        self.post_message(Moved(self))

    def _page_failed(self, error: Exception) -> None:
        if self.is_attached:
            self.post_message(Failed(self, error))

    def on_unmount(self) -> None:
        """Fetch nothing more."""
        self.pages.close()

    # Moving ---------------------------------------------------------------------------------------

    def move_to(self, index: int) -> None:
        """Put the cursor on a row and scroll so that it is seen."""
        index = min(max(0, index), max(0, self.total - 1))
        before, self.cursor = self.cursor, index
        if index == before:
            return
        if self._anchor is not None:
            self.pages.mark_between(self._anchor, index)
            self.refresh()
            self.post_message(Marked(self))
        self.show_cursor()
        self.redraw(before)
        self.redraw(index)
        self.post_message(Moved(self))

    def show_cursor(self) -> None:
        """Scroll as little as shows the row under the cursor whole."""
        first, count = self.lines_of(self.cursor)
        top, height = round(self.scroll_y), self.lines_seen
        if first < top:
            self.scroll_to(y=first, animate=False)
        elif first + count > top + height:
            # Of what is higher than all there is to see, the top is seen.
            self.scroll_to(y=min(first, first + count - height), animate=False)

    @property
    def lines_seen(self) -> int:
        """How many virtual lines are seen at once."""
        return max(1, self.scrollable_content_region.height)

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        self.move_to(self.cursor + by)

    def action_move_page(self, by: int) -> None:
        """Move the cursor by what is seen at once."""
        self.move_to(self.cursor + by * self.rows_a_page)

    def action_to_start(self) -> None:
        """Go to the first row."""
        self.move_to(0)

    def action_to_end(self) -> None:
        """Go to the last row."""
        self.move_to(self.total - 1)

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self.current is not None:
            self.post_message(Chosen(self))

    # Marks ----------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark or unmark the row under the cursor, and go on to the next."""
        row = self.current
        if row is None:
            return
        self.pages.toggle(row)
        self._anchor = None
        self.redraw(self.cursor)
        self.post_message(Marked(self))
        self.action_move(1)

    def action_mark_range(self) -> None:
        """Begin a range here, or end the one that was begun."""
        if self._anchor is None:
            self._anchor = self.cursor
            self.pages.mark_between(self.cursor, self.cursor)
            self.redraw(self.cursor)
        else:
            self._anchor = None
        self.post_message(Marked(self))

    async def action_mark_all(self) -> None:
        """Mark every row there is under the filter."""
        await self.pages.mark_all()
        self.refresh()
        self.post_message(Marked(self))

    @property
    def in_range(self) -> bool:
        """A range was begun and not ended."""
        return self._anchor is not None

    # Focus and size -------------------------------------------------------------------------------

    def on_resize(self, _event: events.Resize) -> None:
        """Lay out for the new width, with the cursor in sight."""
        self.lay_out()
        self.show_cursor()
        self.refresh()

    def on_focus(self) -> None:
        """Draw the cursor as it is where keys go."""
        self.redraw(self.cursor)

    def on_blur(self) -> None:
        """Draw the cursor as it is where keys do not go."""
        self.redraw(self.cursor)


_NARROW: Final = 60
_WIDE: Final = 150
"""Cells of a list below and from which columns have other widths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a list."""

    title: str
    text: Callable[[Row], str]
    width: int = 0
    """In cells; 0 shares what is left."""
    style: Callable[[Row], str] | None = None
    """Which of ``ok``, ``warn``, ``bad``, ``dim`` a row's text is drawn as, or empty."""
    least: int = 0
    """Shown only where the list is at least so many cells wide."""
    ends: bool = False
    """What is cut of one name is its middle: names differ at their ends."""
    narrow: int = 0
    """Its width in a list of a small terminal, where that is another."""
    wide: int = 0
    """Its width in a list of a large terminal, where that is another."""

    def cells(self, width: int) -> int:
        """Return its width in a list so wide; 0 shares what is left."""
        if width < _NARROW:
            return self.narrow or self.width
        return self.wide or self.width if width >= _WIDE else self.width


class Rows(Listing):
    """A list of one line a row, under a line of titles."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", show=False, id="rows.down"),
        Binding("up,k", "move(-1)", "up", show=False, id="rows.up"),
        *MOVING,
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--plain",
        "rows--title",
        "rows--cursor",
        "rows--cursor-blurred",
        "rows--marked",
        "rows--ok",
        "rows--warn",
        "rows--bad",
        "rows--dim",
    }
    DEFAULT_CSS = """
    Rows {
        background: $background; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
        scrollbar-gutter: stable;
    }
    Rows > .rows--plain { color: $foreground; background: $background; }
    Rows > .rows--title { color: $secondary; background: $surface; text-style: bold; }
    Rows > .rows--cursor { color: $foreground; background: $select; text-style: bold; }
    Rows > .rows--cursor-blurred { color: $foreground; background: $panel; }
    Rows:ansi > .rows--cursor { color: ansi_default; background: ansi_default;
                                text-style: bold reverse; }
    Rows > .rows--marked { color: $accent; }
    Rows > .rows--ok { color: $success; }
    Rows > .rows--warn { color: $warning; }
    Rows > .rows--bad { color: $error; text-style: bold; }
    Rows > .rows--dim { color: $dim; }
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        key: Callable[[Row], Hashable],
        id: str | None = None,  # noqa: A002  the framework's name
    ) -> None:
        super().__init__(key=key, id=id)
        self._columns = tuple(columns)

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns."""
        self._columns = tuple(columns)
        self.refresh()

    # The title stands in the first line of the widget and does not scroll; the rows below it.

    def lay_out(self) -> None:
        """Set the virtual size: a line for each row, and one for the titles."""
        self.virtual_size = Size(self.scrollable_content_region.width, self.total + 1)

    def lines_of(self, index: int) -> tuple[int, int]:
        """Return a row's line and 1."""
        return index, 1

    @property
    def lines_seen(self) -> int:
        """How many rows are seen at once."""
        return max(1, self.scrollable_content_region.height - 1)

    @property
    def rows_a_page(self) -> int:
        """As many as are seen."""
        return self.lines_seen

    def redraw(self, index: int) -> None:
        """Draw a row's line again."""
        self.refresh(Region(0, index - round(self.scroll_y) + 1, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """Draw the titles, or a row."""
        width = self.scrollable_content_region.width
        if y == 0:
            return self._draw(None, width, self.get_component_rich_style("rows--title"))
        index = y - 1 + round(self.scroll_y)
        plain = self.get_component_rich_style("rows--plain")
        if index >= self.total:
            return Strip([Segment(" " * width, plain)], width)
        row = self.pages.row(index)
        if row is None:
            return Strip([Segment(fit("  …", width), plain)], width)
        return self._draw(row, width, plain, cursor=index == self.cursor)

    def _draw(self, row: Row | None, width: int, style: Style, *, cursor: bool = False) -> Strip:
        over = Style()
        if cursor:
            name = "rows--cursor" if self.has_focus else "rows--cursor-blurred"
            over = self.get_component_rich_style(name)
        head = style
        mark = " "
        if row is not None:
            head += self.get_component_rich_style("rows--marked", partial=True)
            mark = "•" if self.pages.is_marked(row) else " "
        segments = [Segment(f"{'▌' if cursor else ' '}{mark}", head + over)]
        for column, cells in self._widths(width):
            own = style
            if row is not None and column.style is not None and (name := column.style(row)):
                own += self.get_component_rich_style(f"rows--{name}", partial=True)
            text = column.title if row is None else column.text(row)
            both_ends = column.ends and ", " not in text
            fitted = fit_ends(text, cells) if both_ends else fit(text, cells)
            segments.append(Segment(fitted + " ", own + over))
        return Strip(segments).adjust_cell_length(width, style + over)

    def _widths(self, width: int) -> list[tuple[Column, int]]:
        shown = [one for one in self._columns if width >= one.least]
        left = max(0, width - 2 - sum(one.cells(width) + 1 for one in shown))
        flexible = sum(1 for one in shown if not one.cells(width))
        widths = []
        for one in shown:
            cells = one.cells(width)
            if not cells:
                cells = left // flexible
                left, flexible = left - cells, flexible - 1
            widths.append((one, cells))
        return widths

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row; a second click opens it."""
        index = event.y - 1 + round(self.scroll_y)
        if event.y == 0 or index >= self.total:
            return
        if index == self.cursor and event.chain > 1:
            self.action_choose()
        self.move_to(index)
