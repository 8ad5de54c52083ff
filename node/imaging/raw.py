"""Raw camera files: the finished picture that a camera puts into them, found by LibRaw.

Belongs here: the one door to LibRaw.
Never here: what is made of the picture. Runs inside a worker process only: everything here
parses bytes that strangers made.

A file with no picture of its own, or a tiny one, is developed at half its size, by the camera's
white balance.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Final

import rawpy
from PIL import Image, UnidentifiedImageError

from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.formats import sensor_directories_untrusted
from node.imaging.strip.boxes import boxes
from node.imaging.strip.errors import StripError

_ORIENTATIONS: Final = {3: 3, 5: 8, 6: 6}
"""Exif's numbers for LibRaw's, where they are not 1."""
_SIDEWAYS: Final = 4
"""A bit of LibRaw's number."""

_PLACES: Final = ((273, 279), (324, 325))
"""Tags of where strips and tiles begin, and how long they are."""
_MOST_STRIPS: Final = 1 << 16
_SMALL: Final = 512
"""Pixels of a long edge: a picture inside that has fewer is for the back of a camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPicture:
    """What a raw file shows, and how large it is."""

    width: int
    """Pixels of the sensor's picture as seen; those of the one inside are often fewer."""
    height: int
    jpeg: bytes = field(default=b"", repr=False)
    """The picture inside, with its own orientation; or empty."""
    image: Image.Image | None = field(default=None, repr=False)
    """The picture where there is no JPEG of it."""
    orientation: int = 1
    """Exif orientation of `image`."""


def open_raw_untrusted(data: bytes, most_pixels: int) -> RawPicture:
    """Return what a raw file shows; ImagingError unknown_format, broken, too_large.

    most_pixels: of a picture that has to be developed.
    """
    if _is_cut_short(data):
        raise ImagingError(ImagingCode.BROKEN)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            return _picture(raw, most_pixels)
    except (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError):
        raise ImagingError(ImagingCode.TOO_LARGE) from None
    except rawpy.LibRawFileUnsupportedError:
        raise ImagingError(ImagingCode.UNKNOWN_FORMAT) from None
    except rawpy.LibRawError:
        raise ImagingError(ImagingCode.BROKEN) from None


def _is_cut_short(data: bytes) -> bool:
    """Say whether what the sensor saw reaches beyond the file, which its preview would not tell."""
    for directory in sensor_directories_untrusted(data):
        for starts, lengths in _PLACES:
            if starts in directory and lengths in directory:
                places = zip(
                    directory[starts].numbers(_MOST_STRIPS),
                    directory[lengths].numbers(_MOST_STRIPS),
                    strict=False,
                )
                if any(start + length > len(data) for start, length in places):
                    return True
    try:
        return data[4:8] == b"ftyp" and not list(boxes(memoryview(data)))
    except StripError:
        return True


def _picture(raw: rawpy.RawPy, most_pixels: int) -> RawPicture:
    sizes = raw.sizes
    width, height = sizes.width, sizes.height
    if sizes.flip & _SIDEWAYS:
        width, height = height, width
    inside, size = _inside(raw)
    if inside is None or max(size) < _SMALL < max(width, height):
        # The camera's own picture goes before one that cannot be developed.
        try:
            return RawPicture(width=width, height=height, image=_developed(raw, most_pixels))
        except (ImagingError, rawpy.LibRawError):
            if inside is None:
                raise
    if isinstance(inside, bytes):
        return RawPicture(width=width, height=height, jpeg=inside)
    orientation = _ORIENTATIONS.get(sizes.flip, 1)
    return RawPicture(width=width, height=height, image=inside, orientation=orientation)


def _inside(raw: rawpy.RawPy) -> tuple[bytes | Image.Image | None, tuple[int, int]]:
    """Return the largest picture inside, a JPEG or its pixels, and its size as stored."""
    try:
        inside = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None, (0, 0)
    if not isinstance(inside.data, bytes):
        image = Image.fromarray(inside.data)
        return image, image.size
    try:
        with Image.open(io.BytesIO(inside.data), formats=["JPEG"]) as image:
            return inside.data, image.size
    except UnidentifiedImageError:
        return None, (0, 0)


def _developed(raw: rawpy.RawPy, most_pixels: int) -> Image.Image:
    """Return what the sensor saw at half its size, upright."""
    if raw.sizes.width * raw.sizes.height > most_pixels:
        raise ImagingError(ImagingCode.TOO_LARGE)
    developed = Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))
    if developed.getbbox() is None:
        # LibRaw leaves black what it cannot decode, and says nothing.
        raise ImagingError(ImagingCode.BROKEN)
    return developed
