"""What is made from a decoded picture: thumbnails, previews, and pixels for a screen.

Belongs here: resizing, turning upright, encoding, and the proof that an output is clean.
Never here: parsing of foreign bytes (``decode``, ``metadata``) or processes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

from PIL import Image

from node.imaging.contents import groups_untrusted
from node.imaging.decode import decode_untrusted, fit, to_srgb
from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.formats import THUMBNAIL_FORMAT, sniff
from node.imaging.likeness import GRID, likeness_of
from node.imaging.messages import Mark, Ownership
from node.imaging.metadata import metadata_groups_untrusted
from node.imaging.ownership import with_ownership
from node.imaging.watermark import marked

_THUMBNAIL_QUALITY: Final = 82
_PREVIEW_QUALITY: Final = 90
_PREVIEW_PNG_LEVEL: Final = 4
_WHITE: Final = (255, 255, 255)
_BLACK: Final = (0, 0, 0)
_REDUCING_GAP: Final = 2.0
"""Pillow shrinks by whole numbers first and filters over this much: hardly visible, much faster."""
LOGO_BOX: Final = (512, 256)
"""Pixels of a logo: as large as it is drawn on a picture of 24 megapixels."""
_INFO_OF_A_CLEAN_FILE: Final = frozenset(
    {"jfif", "jfif_version", "jfif_unit", "jfif_density", "icc_profile"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnails:
    """A measured picture and its thumbnails by long edge."""

    format: str
    width: int
    height: int
    encoded: dict[int, bytes]
    likeness: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """An encoded preview and what became of the source's metadata."""

    encoded: bytes
    format: str
    width: int
    height: int
    removed: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Pixels for a screen, three bytes each, rows from the top."""

    width: int
    height: int
    rgb: bytes


def make_thumbnails_untrusted(data: bytes, sizes: tuple[int, ...]) -> Thumbnails:
    """Measure a picture and make a thumbnail for each size (long edge in pixels).

    Thumbnails are JPEG in sRGB, upright, without metadata, never larger than the picture.
    Raises ImagingError as `decode_untrusted` does.
    """
    largest = max(sizes)
    decoded = decode_untrusted(data, (largest, largest))
    seen = (decoded.width, decoded.height)
    image = decoded.image
    encoded = {}
    for size in sorted(sizes, reverse=True):
        wanted = decoded.stored(fit(seen, (size, size)))
        # Hamming is as fast as bilinear and at these reductions as sharp as bicubic.
        image = _resize(image, wanted, Image.Resampling.HAMMING)
        if size == largest:
            image = to_srgb(_lay_on(image, _WHITE), decoded.icc)
        output = io.BytesIO()
        upright = decoded.upright(image)
        upright.save(output, THUMBNAIL_FORMAT, quality=_THUMBNAIL_QUALITY)
        encoded[size] = output.getvalue()
    return Thumbnails(
        format=decoded.format,
        width=decoded.whole[0],
        height=decoded.whole[1],
        encoded=encoded,
        likeness=likeness_of(upright.convert("L").resize(GRID, Image.Resampling.BOX).tobytes()),
    )


def make_logo_untrusted(data: bytes) -> bytes:
    """Return a picture as the logo of watermarks: a PNG in RGBA, cut to what shows, and small.

    Raises ImagingError as `decode_untrusted` does, and `broken` for one that shows nothing.
    """
    decoded = decode_untrusted(data, LOGO_BOX)
    image = decoded.image
    if image.mode != "RGBA":
        image = to_srgb(image, decoded.icc).convert("RGBA")
    image = decoded.upright(image)
    if (shows := image.getchannel("A").getbbox()) is None:
        raise ImagingError(ImagingCode.BROKEN)
    image = image.crop(shows)
    image = _resize(image, fit(image.size, LOGO_BOX), Image.Resampling.HAMMING)
    output = io.BytesIO()
    image.save(output, "PNG", compress_level=_PREVIEW_PNG_LEVEL, icc_profile=None)
    verified_clean(output.getvalue(), image.size, ())
    return output.getvalue()


def make_preview_untrusted(
    data: bytes,
    long_edge: int,
    mark: Mark | None = None,
    ownership: Ownership | None = None,
    *,
    logo: bytes = b"",
) -> Preview:
    """Re-encode a picture from its pixels, upright, at most long_edge pixels long.

    JPEG, or PNG where something is transparent. Of the metadata only a colour profile of
    the pixels' own kind stays; a mark is drawn and a credit written where they are given.
    logo: what a mark bears besides its words, as `make_logo_untrusted` makes one.
    Raises ImagingError as `decode_untrusted` does.
    """
    decoded = decode_untrusted(data, (long_edge, long_edge))
    wanted = decoded.stored(fit((decoded.width, decoded.height), (long_edge, long_edge)))
    image = _without_idle_alpha(_resize(decoded.image, wanted, Image.Resampling.HAMMING))
    icc = decoded.icc
    if image.mode == "CMYK":
        image, icc = to_srgb(image, icc), None
    image = decoded.upright(image)
    if mark is not None:
        image = marked(image, mark, decode_untrusted(logo, LOGO_BOX).image if logo else None)
    output = io.BytesIO()
    if image.mode == "RGBA":
        image.save(output, "PNG", compress_level=_PREVIEW_PNG_LEVEL, icc_profile=icc)
    else:
        # Full colour resolution: text and thin lines in colour stay sharp.
        image.save(output, "JPEG", quality=_PREVIEW_QUALITY, subsampling=0, icc_profile=icc)
    encoded = output.getvalue()
    kept: tuple[str, ...] = () if icc is None else ("icc",)
    image_format = verified_clean(encoded, image.size, kept)
    if ownership is not None:
        kept = (*kept, "ownership")
        encoded = with_ownership(encoded, image_format, ownership)
    if groups_untrusted(encoded) != kept:
        raise RuntimeError("the preview carries something else than it says")
    found = metadata_groups_untrusted(data, decoded.format)
    return Preview(
        encoded=encoded,
        format=image_format,
        width=image.width,
        height=image.height,
        removed=tuple(group for group in found if group not in kept),
        kept=kept,
    )


def make_screen_untrusted(data: bytes, box: tuple[int, int]) -> Screen:
    """Decode a picture for a screen: sRGB on black, upright, fitted into box, never enlarged.

    Raises ImagingError as `decode_untrusted` does.
    """
    decoded = decode_untrusted(data, box)
    wanted = decoded.stored(fit((decoded.width, decoded.height), box))
    image = _lay_on(_resize(decoded.image, wanted, Image.Resampling.BICUBIC), _BLACK)
    image = decoded.upright(to_srgb(image, decoded.icc)).convert("RGB")
    return Screen(width=image.width, height=image.height, rgb=image.tobytes())


def _resize(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, resample, reducing_gap=_REDUCING_GAP)


def _lay_on(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Return the image without transparency, lying on an opaque colour."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGB", image.size, colour)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    """Drop an alpha channel in which everything is opaque."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    return image


def verified_clean(encoded: bytes, size: tuple[int, int], kept: tuple[str, ...]) -> str:
    """Re-open what was written and return its format; a defect of this module is fatal.

    Raises RuntimeError, which ends the worker: nothing is shared that has not been checked.
    """
    image_format = sniff(encoded)
    if image_format is None:
        raise RuntimeError("the preview is no picture")
    with Image.open(io.BytesIO(encoded), formats=[image_format]) as image:
        clean = (
            image.size == size
            and not image.getexif()
            and _INFO_OF_A_CLEAN_FILE.issuperset(image.info)
            and metadata_groups_untrusted(encoded, image_format) == kept
        )
    if not clean:
        raise RuntimeError("the preview carries more than pixels")
    return image_format
