"""Bytes in, pixels out: opening a picture with Pillow so that only typed errors come back.

Belongs here: what Pillow may open and how large; orientation; colour modes and profiles.
Never here: resizing, encoding, processes. Runs inside a worker process only: everything
here parses bytes that strangers made.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from PIL import Image, ImageCms, ImageFile

from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.formats import RAW, exact_format_untrusted
from node.imaging.raw import open_raw_untrusted
from node.imaging.strip.icc import whole_profile_untrusted

MAX_PIXELS: Final = 120_000_000
"""Width times height of a picture: half a gigabyte as pixels, a third of a worker's memory."""

MAX_ICC_BYTES: Final = 1 << 20
"""A longer colour profile is ignored; those of printing presses are about half as long."""

_ORIENTATION_TAG: Final = 0x0112
_TURNED_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_UNTURN: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED_BY_PROPERTY: Final = frozenset({"HEIF", "AVIF"})
"""Pictures that are turned as a property of theirs says (ISO 23008-12, 6.5.10), which Pillow puts
into their Exif block or has followed already. What else an XMP packet says does not count."""
_SRGB_NAMES: Final = ("srgb iec61966", "gimp built-in srgb")
_ICC_COLOUR_SPACE: Final = slice(16, 20)
_ICC_SPACE_OF_MODE: Final = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB ", "CMYK": b"CMYK"}


def configure_pillow() -> None:
    """Set Pillow's global limits for this process."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A decoded picture, its pixels as stored: not yet turned upright."""

    image: Image.Image
    """Mode L, RGB, RGBA or CMYK, carrying no metadata."""
    format: str
    width: int
    """Of the whole picture, as seen: orientation applied, before any reduction."""
    height: int
    orientation: int
    """Exif orientation, 1 to 8, of the pixels."""
    icc: bytes | None
    """The colour profile, where it is one for this mode."""
    whole: tuple[int, int]
    """Width and height of what the file holds, as seen: of a raw file the sensor's, which has
    more of them than the picture inside that is decoded."""

    def stored(self, size: tuple[int, int]) -> tuple[int, int]:
        """Translate a size as seen into one as stored, or back."""
        return size[::-1] if self.orientation in _TURNED_SIDEWAYS else size

    def upright(self, image: Image.Image) -> Image.Image:
        """Turn an image that came from these pixels the way it is meant to be seen."""
        turn = _UNTURN.get(self.orientation)
        return image if turn is None else image.transpose(turn)


def decode_untrusted(data: bytes, box: tuple[int, int]) -> Decoded:
    """Decode the whole picture; a JPEG at the smallest scale that still fills box as seen.

    box: largest (width, height) that the caller will make of it.
    Of a TIFF the first page is decoded, of an animation the first frame, of a raw file the
    picture inside it.
    Raises ImagingError: empty, unknown_format, too_large, broken. Every byte of pixel data
    is read, so a file that was cut short is found broken here; of a raw file only those of
    the picture inside.
    """
    image_format = exact_format_untrusted(data)
    with blame_the_picture():
        if image_format == RAW:
            return _decode_raw(data, box)
        return _decode(data, image_format, box)


def _decode(data: bytes, image_format: str, box: tuple[int, int]) -> Decoded:
    with Image.open(io.BytesIO(data), formats=[image_format]) as image:
        stored_size = image.size
        if image_format == "jpeg":
            orientation = _orientation(image)
            sideways = orientation in _TURNED_SIDEWAYS
            image.draft(None, fit(stored_size, box[::-1] if sideways else box))
            image.load()
        else:
            # Their orientation may stand behind the pixels; some are turned while they load.
            image.load()
            stored_size = image.size
            orientation = _orientation(image)
        icc = image.info.get("icc_profile")
        pixels = _plain(image)
    seen = stored_size[::-1] if orientation in _TURNED_SIDEWAYS else stored_size
    return Decoded(
        image=pixels,
        format=image_format,
        width=seen[0],
        height=seen[1],
        orientation=orientation,
        icc=_profile_for(icc, pixels.mode),
        whole=seen,
    )


def _decode_raw(data: bytes, box: tuple[int, int]) -> Decoded:
    """Decode the picture that a raw file shows."""
    raw = open_raw_untrusted(data, MAX_PIXELS)
    whole = (raw.width, raw.height)
    if raw.image is None:
        return replace(_decode(raw.jpeg, "jpeg", box), format=RAW, whole=whole)
    pixels = _plain(raw.image)
    sideways = raw.orientation in _TURNED_SIDEWAYS
    width, height = pixels.size[::-1] if sideways else pixels.size
    return Decoded(
        image=pixels,
        format=RAW,
        width=width,
        height=height,
        orientation=raw.orientation,
        icc=None,
        whole=whole,
    )


def fit(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape that fits box; never larger than size."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Return the same colours as sRGB, in mode L or RGB, for an image in L, RGB or CMYK."""
    if icc is not None and not (image.mode == "RGB" and _is_srgb(icc)):
        converted = _through_profile(image, icc)
        if converted is not None:
            return converted
    return image.convert("RGB") if image.mode == "CMYK" else image


@contextmanager
def blame_the_picture() -> Iterator[None]:
    """Turn whatever a decoder raises into an ImagingError."""
    try:
        yield
    except ImagingError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise ImagingError(ImagingCode.TOO_LARGE) from None
    except Exception:  # noqa: BLE001  decoders raise nearly anything for a broken picture
        raise ImagingError(ImagingCode.BROKEN) from None


def _orientation(image: Image.Image) -> int:
    """Return the Exif orientation; 1 where there is none that makes sense."""
    try:
        if image.format in _TURNED_BY_PROPERTY:
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
        else:
            exif = image.getexif()
        value = exif.get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001  a picture with broken metadata is still a picture
        return 1
    return value if isinstance(value, int) and value in _UNTURN else 1


def _plain(image: Image.Image) -> Image.Image:
    """Reduce the many modes of picture files to L, RGB, RGBA and CMYK, without metadata."""
    match image.mode:
        case "I;16" | "I;16B":
            plain = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
        case "RGBA":
            plain = image
        case _ if image.has_transparency_data:
            plain = image.convert("RGBA")
        case "L" | "RGB" | "CMYK":
            plain = image
        case "1":
            plain = image.convert("L")
        case "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
            assert converted is not None, "not converted in place"
            plain = converted
        case _:
            plain = image.convert("RGB")
    plain.info.clear()
    return plain


def _profile_for(icc: object, mode: str) -> bytes | None:
    """Return a colour profile (ICC.1 section 7.2) without its padding; None if not for mode."""
    whole = whole_profile_untrusted(icc) if isinstance(icc, bytes) else None
    if whole is None or whole[_ICC_COLOUR_SPACE] != _ICC_SPACE_OF_MODE[mode]:
        return None
    whole = whole[: int.from_bytes(whole[:4])]
    return whole if len(whole) <= MAX_ICC_BYTES else None


def _is_srgb(icc: bytes) -> bool:
    try:
        name = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.profile_description
    except (OSError, TypeError, ValueError):
        return False
    return name is not None and name.lower().startswith(_SRGB_NAMES)


def _through_profile(image: Image.Image, icc: bytes) -> Image.Image | None:
    """Convert by the profile; None where it is one the library cannot use."""
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
