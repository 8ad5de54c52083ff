"""Looking through very many pictures: pages of them under filters, and their thumbnails.

Belongs here: what a person typed into filters, a page's rows, many thumbnails at once.
Never here: changing pictures (``library``), drawing.
"""

from __future__ import annotations

import asyncio
import unicodedata
from typing import Any, Final

from node.errors import UsageError
from node.services.context import Context
from node.services.library import Library, describe
from node.services.membership import Membership
from node.vault.records import Connection, browsing, library
from node.vault.records.browsing import Filter

MOST_ROWS: Final = 1_000
"""Of one page."""
MOST_THUMBNAILS: Final = 64
"""Of one call: a screen full of small ones, about a megabyte."""
_EXPIRING_MS: Final = 24 * 3600 * 1000
_TOGETHER: Final = 4
"""Thumbnails read at once: more threads than that wait for each other."""


class Browsing:
    """Reads the library for screens."""

    def __init__(self, context: Context, membership: Membership, library_service: Library) -> None:
        self._context = context
        self._membership = membership
        self._library = library_service

    async def page(
        self,
        *,
        query: str,
        album: str | None,
        tag: str | None,
        classification: str | None,
        status: str | None,
        person: str | None,
        offset: int,
        limit: int,
    ) -> dict[str, Any]:
        """Return `total` and the pictures from offset on, newest first."""
        if offset < 0 or not 0 < limit <= MOST_ROWS:
            raise UsageError(f"a page has 1 to {MOST_ROWS} rows")
        wanted = Filter(
            words=tuple(_typed(query).split()),
            album_id=None if album is None else await self._library.resolve_album(album),
            tag=None if tag is None else _typed(tag),
            classification=classification,
            shared={"shared": True, "unshared": False}.get(status or ""),
            received=True if status == "received" else None,
            holder=None
            if person is None
            else self._membership.resolve(person, former=True).fingerprint,
            ends_before=self._context.clock.now() + _EXPIRING_MS if status == "expiring" else None,
        )

        def read(db: Connection) -> dict[str, Any]:
            return {
                "total": browsing.count(db, wanted),
                "images": [
                    {
                        **describe(row),
                        "tags": library.tags_of(db, row.image_id),
                        "albums": library.album_names(db, row.image_id),
                        "shares": live,
                    }
                    for row, live in browsing.page(db, wanted, offset=offset, limit=limit)
                ],
            }

        return await self._context.database.read(read)

    async def thumbnails(self, images: list[str], size: int) -> dict[str, bytes]:
        """Return the encoded thumbnails of pictures by id; those without one are left out."""
        if len(images) > MOST_THUMBNAILS:
            raise UsageError(f"at most {MOST_THUMBNAILS} thumbnails at once")
        try:
            wanted = [bytes.fromhex(one) for one in images]
        except ValueError:
            raise UsageError("pictures are named by their ids here") from None
        blobs = await self._context.database.read(lambda db: browsing.thumbnails(db, wanted, size))
        together = asyncio.Semaphore(_TOGETHER)

        async def read(image_id: bytes, blob_id: bytes) -> tuple[str, bytes]:
            async with together:
                return image_id.hex(), await self._library.read_blob(blob_id)

        return dict(await asyncio.gather(*(read(*one) for one in blobs.items())))


def _typed(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\0", " ")
