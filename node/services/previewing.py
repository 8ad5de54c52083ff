"""What a person would see of a picture under a share that is not made.

Belongs here: one small picture with that person's watermark, for the eyes of whoever shares.
Never here: granting, logging or keeping anything; deciding what may be granted (``sharing``).
"""

from __future__ import annotations

from typing import Any, Final

from node.errors import UsageError
from node.services.context import Context
from node.services.copies import Copy, mark_of, watermark_logo
from node.services.deriving import derive
from node.services.disclosing import watermark_words
from node.services.library import Library
from node.services.sharing import Sharing
from protocol.capability.terms import parse_rendition

_DRAWN_EDGE: Final = 1024
"""A copy is drawn at its own size, or at this one where its own is larger: a watermark has the
same size in proportion, and is drawn with letters large enough to have their shapes."""


class Previewing:
    """Makes pictures that show what a share would show, and keeps none."""

    def __init__(self, context: Context, library: Library, sharing: Sharing) -> None:
        self._context = context
        self._library = library
        self._sharing = sharing

    async def preview(
        self,
        *,
        what: list[str],
        to: str,
        place: int,
        rights: list[str],
        rendition: str | None,
        watermark: bool | None,
        edge: int,
    ) -> dict[str, Any]:
        """Return one picture of a share as its holder would see it, at most edge pixels long.

        Made as the copy would be, from the original. Raises what `Sharing.share` would, and
        ImagingError for a picture that no copy can be made of.
        """
        images, terms, holder = await self._sharing.foresee(
            what=what, to=to, rights=rights, rendition=rendition, watermark=watermark
        )
        if place >= len(images):
            raise UsageError(f"there are {len(images)} pictures in that")
        image = images[place]
        size = (image.width, image.height)
        now = self._context.clock.now()
        wanted = parse_rendition(terms.rendition).pixels or max(size)
        copy = Copy(
            version_id=image.version_id,
            rendition=f"preview:{min(wanted, _DRAWN_EDGE)}",
            mark=mark_of(terms, holder, now) if terms.watermark else None,
        )
        logo = b""
        if copy.mark is not None:
            logo = await self._context.database.read(watermark_logo)
        original = await self._library.read_blob(image.blob_id)
        imaging = self._context.imaging
        made = await derive(imaging, copy, original, form=image.format, size=size, logo=logo)
        small = await imaging.measure_and_thumbnail(made.data, (edge,))
        return {
            "id": image.image_id.hex(),
            "name": image.name,
            "pictures": len(images),
            "watermark": watermark_words(terms, holder, now),
            "data": small.thumbnails[edge],
        }
