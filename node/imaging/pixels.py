"""What a picture file looks like, as one hash: two files that look the same have the same.

Belongs here: decoding every frame to its last byte and hashing it.
Never here: resizing, colour conversion, or what the hash is compared with.

Runs inside a worker process only: everything here parses bytes that strangers made.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Final

import pillow_heif
from PIL import AvifImagePlugin, Image

from node.imaging.decode import blame_the_picture

_PLUGINS: Final = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "tiff": "TIFF",
    "heif": "HEIF",
    "avif": "AVIF",
}
FORMATS: Final = tuple(_PLUGINS)
"""What can be hashed, by the names that ``node.imaging.strip.engine`` uses."""

_ONE_FRAME: Final = frozenset({"jpeg", "heif"})
"""Formats in which further frames are other pictures, not the same one in motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelHash:
    """How a picture looks."""

    width: int
    """Pixels as stored, of the first frame."""
    height: int
    frames: int
    digest: bytes
    """SHA-256 over every frame: mode, size, pixels, transparency, how long it is shown."""


def configure_decoders() -> None:
    """Prepare this process for formats that are not Pillow's own; one thread a picture."""
    pillow_heif.register_heif_opener(thumbnails=False)
    pillow_heif.options.DECODE_THREADS = 1
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def hash_pixels_untrusted(data: bytes, image_format: str) -> PixelHash:
    """Decode a picture of one of FORMATS and hash it; ImagingError `broken` or `too_large`."""
    with (
        blame_the_picture(),
        Image.open(io.BytesIO(data), formats=[_PLUGINS[image_format]]) as image,
    ):
        frames = 1 if image_format in _ONE_FRAME else getattr(image, "n_frames", 1)
        digest = hashlib.sha256()
        width, height = image.size
        for number in range(frames):
            if frames > 1:
                image.seek(number)
            image.load()
            _add(digest, image)
    return PixelHash(width=width, height=height, frames=frames, digest=digest.digest())


def _add(digest: hashlib._Hash, image: Image.Image) -> None:
    # Indices mean nothing without their colours.
    plain = image.convert("RGBA") if image.mode in ("P", "PA") else image
    shown = (plain.mode, plain.size, image.info.get("transparency"), image.info.get("duration"))
    digest.update(repr(shown).encode())
    digest.update(plain.tobytes())
