"""Thumbnails of the library for a grid: asked for in batches, drawn in a thread.

Belongs here: the way from rows to drawn lines.
Never here: keeping them (``widgets.grid`` does), or how a cell is drawn (``pictures``).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Hashable
from typing import TYPE_CHECKING

from node.control.schema import Thumbnails
from tui.pictures.painter import Painter
from tui.widgets.pages import Row

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.pictures.strips import Box, Lines


class LibraryThumbnails:
    """Thumbnails of pictures of the vault."""

    def __init__(self, gateway: Gateway, painter: Painter) -> None:
        self._gateway = gateway
        self._painter = painter

    async def drawn(self, rows: list[Row], box: Box) -> dict[Hashable, Lines]:
        """Return the thumbnails of rows by id, fitted into a box; those without are left out.

        GatewayError where the node is not there to be asked.
        """
        if self._painter.off:
            return {}
        wanted = Thumbnails(images=[str(row["id"]) for row in rows])
        answer = await self._gateway.call("thumbnails", wanted)
        # One thread for all of them: threads that compute wait for each other.
        return await asyncio.to_thread(self._draw, answer["thumbnails"], box)

    def drop(self, drawn: Lines | None) -> None:
        """Let go of a thumbnail that is kept no more."""
        self._painter.drop(drawn)

    def _draw(self, thumbnails: dict[str, str], box: Box) -> dict[Hashable, Lines]:
        found: dict[Hashable, Lines] = {}
        for name, encoded in thumbnails.items():
            try:
                found[name] = self._painter.thumbnail(base64.b64decode(encoded), box)
            except ValueError:
                continue
        return found
