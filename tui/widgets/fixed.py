"""A row source of rows that are all here.

Belongs here: the pages of a list. Never here: where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence

from tui.widgets.pages import Row


class Fixed:
    """Rows of a list."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = tuple(rows)

    async def page(self, offset: int, limit: int) -> tuple[int, list[Row]]:
        """Return how many rows there are, and those from offset on."""
        return len(self._rows), list(self._rows[offset : offset + limit])
