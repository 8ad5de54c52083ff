"""The logo that watermarks bear, kept in the index: sealed like everything else.

Belongs here: setting it, and saying what it is.
Never here: drawing it (``imaging``), or which copies are marked (``copies``).
"""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any, Final

from node.errors import UsageError
from node.imaging.formats import SNIFF_BYTES, sniff
from node.services.context import Context
from node.services.copies import set_watermark_logo, watermark_logo
from node.services.importing import read_file
from node.vault.database import WriteTransaction

_MOST_FILE_BYTES: Final = 16 << 20
"""Of a logo's file: as much as a large drawing takes."""
_SIZE: Final = struct.Struct(">II")
_SIZE_AT: Final = 16
"""Where a PNG has its width and height (ISO 15948 clause 11.2.2)."""


class Marking:
    """Keeps the logo of watermarks."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def logo(self, path: str | None, *, remove: bool) -> dict[str, Any]:
        """Set the logo from a PNG file, or remove it, or neither; return which one there is.

        Copies that are made from then on bear it. ImportFileError for a file that cannot be
        read, UsageError for one that is no PNG, ImagingError for one that cannot be decoded.
        """
        if remove and path is not None:
            raise UsageError("a logo and no logo contradict each other")
        if remove:
            await self._keep(b"")
        if path is not None:
            data = await asyncio.to_thread(read_file, Path(path), _MOST_FILE_BYTES)
            if sniff(data[:SNIFF_BYTES]) != "png":
                raise UsageError("a logo is a PNG file", hint="best one with transparency")
            await self._keep(await self._context.imaging.make_logo(data))
        kept = await self._context.database.read(watermark_logo)
        if not kept:
            return {"logo": None}
        width, height = _SIZE.unpack_from(kept, _SIZE_AT)
        return {"logo": {"width": width, "height": height, "bytes": len(kept)}}

    async def _keep(self, logo: bytes) -> None:
        def job(transaction: WriteTransaction) -> None:
            set_watermark_logo(transaction.connection, logo)

        await self._context.database.write(job)
