"""Choosing one of a few rows: an album, a classification, a picture of a capability.

Belongs here: the list in a dialog.
Never here: what is done with what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui.screens.dialog import Dialog
from tui.widgets.fixed import Fixed
from tui.widgets.pages import Row
from tui.widgets.rows import Chosen, Column, Marked, Moved, Rows


class Choose(Dialog["tuple[str, Row] | None"]):
    """Rows to choose from; ends with the key that was pressed (``enter`` or one of more) and it."""

    DEFAULT_CSS: ClassVar[str] = """
    Choose Rows { height: auto; min-height: 3; max-height: 16; }
    Choose.low Rows { height: 1fr; max-height: 100%; }
    """

    def __init__(
        self,
        heading: str,
        rows: Sequence[Row],
        columns: Sequence[Column],
        *,
        key: str,
        empty: str,
        more: Sequence[tuple[str, str]] = (),
        at: int = 0,
    ) -> None:
        super().__init__()
        self._heading = heading
        self._rows = tuple(rows)
        self._columns = tuple(columns)
        self._key = key
        self._empty = empty
        self._more = tuple(more)
        self._at = at

    def compose(self) -> ComposeResult:
        """Lay out the rows and what keys do."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            if self._rows:
                yield Rows(self._columns, key=lambda row: row[self._key])
            else:
                yield Static(Content(self._empty), classes="words")

    def hints(self) -> Sequence[tuple[str, str]]:
        """Return what keys do."""
        if not self._rows:
            return (("dialog.cancel", "closes"),)
        return (("list.choose", "chooses"), *self._more, ("dialog.cancel", "cancels"))

    def on_mount(self) -> None:
        """Show the rows."""
        if self._rows:
            rows = self.query_one(Rows)
            rows.show(Fixed(self._rows))
            rows.focus()

    def on_moved(self, message: Moved) -> None:
        """Keep it here: the screen behind has rows of its own. Begin where it was told to."""
        message.stop()
        at, self._at = self._at, 0
        if at:
            self.query_one(Rows).move_to(at)

    def on_marked(self, message: Marked) -> None:
        """Keep it here."""
        message.stop()

    def on_chosen(self, message: Chosen) -> None:
        """End with the row under the cursor."""
        message.stop()
        self._end("enter")

    def on_key(self, event: events.Key) -> None:
        """End with one of the other keys."""
        if self._rows and event.character in {key for key, _ in self._more}:
            event.stop()
            self._end(str(event.character))

    def _end(self, key: str) -> None:
        row = self.query_one(Rows).current
        if row is not None:
            self.dismiss((key, row))
