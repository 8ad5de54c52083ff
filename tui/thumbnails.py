"""Thumbnails of the library for a grid: asked for in batches, drawn in threads.

Belongs here: the way from rows to drawn lines.
Never here: keeping them (``widgets.grid`` does), or how a cell is drawn (``pictures``).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Hashable
from typing import TYPE_CHECKING

from textual.strip import Strip

from node.control.schema import Thumbnails
from tui.pictures.terminal import Pictures
from tui.widgets.pages import Row

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.pictures.strips import Box


class LibraryThumbnails:
    """Thumbnails of pictures of the vault."""

    def __init__(self, gateway: Gateway, pictures: Pictures) -> None:
        self._gateway = gateway
        self._pictures = pictures

    async def strips(self, rows: list[Row], box: Box) -> dict[Hashable, list[Strip]]:
        """Return the lines of the thumbnails of rows by id; those without one are left out.

        GatewayError where the node is not there to be asked.
        """
        if self._pictures is Pictures.OFF:
            return {}
        answer = await self._gateway.call(
            "thumbnails", Thumbnails(images=[str(row["id"]) for row in rows])
        )
        found = await asyncio.gather(
            *(
                asyncio.to_thread(self._draw, encoded, box)
                for encoded in answer["thumbnails"].values()
            )
        )
        return {
            name: lines
            for name, lines in zip(answer["thumbnails"], found, strict=True)
            if lines is not None
        }

    def _draw(self, encoded: str, box: Box) -> list[Strip] | None:
        from tui.pictures.strips import thumbnail_strips

        try:
            return thumbnail_strips(base64.b64decode(encoded), box, self._pictures.blocks)
        except ValueError:
            return None
