"""A picture that is decoded in this process: its pixels fitted into any box, whole or closer.

Belongs here: decoding and fitting, in threads. Nothing of it outlives whoever holds it.
Never here: where the encoded bytes come from, or drawing (``widgets.picture``, ``pictures``).
"""

from __future__ import annotations

import asyncio
import base64
import io
import math
from typing import TYPE_CHECKING, Final

from tui.widgets.picture import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS: Final = 4_194_304
"""The node makes none over 1,024 pixels on a side."""


class Decoded:
    """A whole picture."""

    def __init__(self, image: Image) -> None:
        self._image = image

    @classmethod
    async def of(cls, encoded: str) -> Decoded:
        """Return the picture of an answer's base64; ValueError where it is none."""
        return cls(await asyncio.to_thread(_decode, encoded))

    @property
    def ratio(self) -> float:
        """Its height in widths."""
        return self._image.height / self._image.width

    async def fitted(self, width: int, height: int) -> Pixels:
        """Return the whole, fitted into a box of square pixels."""
        scale = min(width / self._image.width, height / self._image.height)
        size = (max(1, round(self._image.width * scale)), max(1, round(self._image.height * scale)))
        return await asyncio.to_thread(_resized, self._image, size, None)

    def closer(self, part: float, *, corner: bool) -> Closer:
        """Return a part of it: the lower right corner, or the middle.

        part: its width, in roots of the picture's area.
        """
        return Closer(self._image, part, corner=corner)


class Closer:
    """A part of a picture, as much as fills a box."""

    def __init__(self, image: Image, part: float, *, corner: bool) -> None:
        self._image = image
        self._wide = part * math.sqrt(image.width * image.height)
        self._corner = corner

    async def fitted(self, width: int, height: int) -> Pixels:
        """Return the part in the shape of a box of square pixels."""
        whole = self._image.size
        scale = min(whole[0] / width, whole[1] / height, self._wide / width)
        part = (max(1.0, width * scale), max(1.0, height * scale))
        left, top = (
            (one - own) * (1.0 if self._corner else 0.5)
            for one, own in zip(whole, part, strict=True)
        )
        box = (left, top, left + part[0], top + part[1])
        return await asyncio.to_thread(_resized, self._image, (width, height), box)


def _resized(
    image: Image, size: tuple[int, int], box: tuple[float, float, float, float] | None
) -> Pixels:
    from PIL import Image

    fitted = image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)
    return Pixels(width=size[0], height=size[1], rgb=fitted.tobytes())


def _decode(encoded: str) -> Image:
    from PIL import Image

    data = base64.b64decode(encoded, validate=True)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError("too large for a thumbnail")
            return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("not a picture") from error
