"""What screens of one list share: the list, and below it all there is to say of the row.

Belongs here: the list, what is told of the row under the cursor, counting marks.
Never here: what a row is; each screen gives its columns and its words.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tui.screens.page import Page
from tui.widgets.rows import Column, Marked, Moved, Rows

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.widgets.pages import Row


class ListPage(Page):
    """A screen of one list. Subclasses give columns, a key, and what is told of a row."""

    DEFAULT_CSS = """
    ListPage Rows { height: 1fr; }
    ListPage .told { height: auto; max-height: 6; padding: 0 1; background: $surface; }
    """

    def columns(self) -> Sequence[Column]:
        """Return the columns of the list."""
        raise NotImplementedError

    def key_of(self, row: Row) -> Hashable:
        """Return what a row is known by."""
        return str(row["id"])

    def told(self, row: Row) -> Content:
        """Return all there is to say of a row, what matters most first."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """Give the list and, below it, what is told of the row under the cursor."""
        yield Rows(self.columns(), key=self.key_of)
        yield Static(classes="told")

    @property
    def rows(self) -> Rows:
        """The list."""
        return self.query_one(Rows)

    def first(self) -> Widget:
        """Let the list take keys."""
        return self.rows

    def narrower(self) -> bool:
        """Take back marks."""
        return self.rows.clear_marks()

    def on_moved(self, _message: Moved) -> None:
        """Count what there is, and say all of the row under the cursor."""
        row = self.rows.current
        told = Content("") if row is None else self.told(row)
        self.query_one(".told", Static).update(Content.assemble(told))
        self.refresh_frame()

    def action_mark(self) -> None:
        """Mark the row under the cursor: a click on the key does it too."""
        self.rows.action_mark()

    def on_marked(self, _message: Marked) -> None:
        """Count the marks."""
        self.refresh_frame()


def lines(*parts: Content | str) -> Content:
    """Return parts as lines; what says nothing is left out."""
    said = [Content(one) if isinstance(one, str) else one for one in parts]
    return Content("\n").join([one for one in said if one.plain])
