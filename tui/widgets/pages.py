"""Rows of a list of any length, fetched in pages as they are looked at, with marks.

Belongs here: which pages are held, which are coming, what is marked.
Never here: drawing (``rows``, ``grid``), or where rows come from: a ``RowSource`` says.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol

PAGE_ROWS: Final = 256
_PAGES_KEPT: Final = 64
"""16,384 rows: more than anybody sees at once, in a few megabytes."""

Row = dict[str, Any]


class RowSource(Protocol):
    """Where rows come from."""

    async def page(self, offset: int, limit: int) -> tuple[int, list[Row]]:
        """Return how many rows there are in all, and those from offset on."""


class Pages:
    """The rows of one source, as far as they have been looked at."""

    def __init__(
        self,
        *,
        key: Callable[[Row], Hashable],
        came: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.key = key
        """What a row is known by while rows move: its id."""
        self.total = 0
        self.loaded = False
        """The first page of the source has come."""
        self.moved = False
        """Rows may stand elsewhere since the page that came last."""
        self.marks: dict[Hashable, Row] = {}
        """Marked rows by key, in the order they were marked."""
        self._came = came
        self._failed = failed
        self._source: RowSource | None = None
        self._pages: OrderedDict[int, list[Row]] = OrderedDict()
        self._coming: dict[int, asyncio.Task[None]] = {}

    def show(self, source: RowSource, *, first: int = 0, keep: bool = False) -> None:
        """Take rows from a source, the page of row ``first`` at once.

        ``keep`` is for the same rows as they are now: marks stay, and what is held is shown until
        the new page has come.
        """
        for task in self._coming.values():
            task.cancel()
        self._coming.clear()
        self._source = source
        if not keep:
            self._pages.clear()
            self.marks.clear()
            self.loaded = False
        self._fetch(first // PAGE_ROWS, anew=True)

    def row(self, index: int) -> Row | None:
        """Return a row; None, and fetch it, where it has not come."""
        if index < 0:
            return None
        number, place = divmod(index, PAGE_ROWS)
        page = self._pages.get(number)
        if page is None:
            self._fetch(number)
            return None
        return page[place] if place < len(page) else None

    def forget(self) -> None:
        """Drop every row and mark, and fetch nothing more of the source."""
        self.close()
        self._pages.clear()
        self.marks.clear()
        self.total = 0
        self.loaded = False

    def close(self) -> None:
        """Fetch nothing more."""
        for task in self._coming.values():
            task.cancel()
        self._coming.clear()
        self._source = None

    def _fetch(self, number: int, *, anew: bool = False) -> None:
        if self._source is not None and number not in self._coming:
            task = asyncio.create_task(self._fetched(number, self._source, anew))
            self._coming[number] = task

    async def _fetched(self, number: int, source: RowSource, anew: bool) -> None:
        try:
            total, rows = await source.page(number * PAGE_ROWS, PAGE_ROWS)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  the screen says what went wrong
            self._coming.pop(number, None)
            self._failed(error)
            return
        self._coming.pop(number, None)
        self.moved = anew or total != self.total
        if self.moved:
            # What was fetched before may stand elsewhere now.
            self._pages.clear()
        self._pages[number] = rows
        while len(self._pages) > _PAGES_KEPT:
            self._pages.popitem(last=False)
        self.total = total
        self.loaded = True
        self._came()

    # Marks ----------------------------------------------------------------------------------------

    def is_marked(self, row: Row) -> bool:
        """Say whether a row is marked."""
        return self.key(row) in self.marks

    def toggle(self, row: Row) -> None:
        """Mark a row, or unmark it."""
        if self.marks.pop(self.key(row), None) is None:
            self.marks[self.key(row)] = row

    def mark_between(self, one: int, other: int) -> None:
        """Mark the rows from one to other that have come."""
        for index in range(min(one, other), max(one, other) + 1):
            row = self.row(index)
            if row is not None:
                self.marks[self.key(row)] = row

    async def mark_all(self) -> None:
        """Mark every row of the source, fetching those that have not been looked at."""
        source = self._source
        for offset in range(0, self.total, PAGE_ROWS):
            if source is None or source is not self._source:
                return
            _, rows = await source.page(offset, PAGE_ROWS)
            self.marks.update((self.key(row), row) for row in rows)
