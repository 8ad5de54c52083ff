"""The lossless strip: any picture file in, a clean copy out, or a reason why not.

Belongs here: which walk takes which file, and the check that every clean copy has to pass.
Never here: a format, or pixels (``verified`` compares those).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from node.imaging.strip import gif, heif, jpeg, png, tiff, webp
from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.parts import Cleaned, Kept, Part
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy

MAX_FILE_BYTES: Final = 256 << 20
"""Several times the largest picture that a camera writes; the bound of the decoders too."""

_WALKS: Final[dict[str, Callable[[bytes, StripPolicy], Cleaned]]] = {
    "jpeg": jpeg.clean_untrusted,
    "png": png.clean_untrusted,
    "webp": webp.clean_untrusted,
    "gif": gif.clean_untrusted,
    "tiff": tiff.clean_untrusted,
    "heif": heif.clean_untrusted,
    "avif": heif.clean_untrusted,
}
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """A clean copy that has passed its check, and what the source carried."""

    data: bytes = field(repr=False)
    format: str
    """`jpeg`, `png`, `webp`, `gif`, `tiff`, `heif` or `avif`."""
    parts: tuple[Part, ...]
    """Everything the source carried besides its pixels. Their bytes are the source's own."""
    kept: Kept
    """What of the metadata the copy says again."""


def container_of(data: bytes) -> str:
    """Return the format that a file claims to be by its first bytes; StripError."""
    if not data:
        raise StripError(StripCode.EMPTY)
    head = data[:32]
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(png.SIGNATURE):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, len(head), 4) if at != 12}
        if brands & _AVIF_BRANDS:
            return "avif"
        if brands & _HEIF_BRANDS:
            return "heif"
    raise StripError(StripCode.UNKNOWN_FORMAT)


def strip_untrusted(data: bytes, policy: StripPolicy = DEFAULT_POLICY) -> Stripped:
    """Return a clean copy of a picture file, its pixels byte for byte as they were coded.

    Raises StripError: empty, unknown_format, broken, too_large, unsupported, not_clean. Takes
    memory and time in proportion to the file, whatever it holds.
    """
    image_format = container_of(data)
    cleaned = walk_untrusted(data, policy)
    copy = b"".join(cleaned.pieces)
    _check(copy, policy, cleaned)
    return Stripped(data=copy, format=image_format, parts=tuple(cleaned.parts), kept=cleaned.kept)


def walk_untrusted(data: bytes, policy: StripPolicy = DEFAULT_POLICY) -> Cleaned:
    """Return what a file carries and a copy of it that has not been checked; StripError."""
    image_format = container_of(data)
    if len(data) > MAX_FILE_BYTES:
        raise StripError(StripCode.TOO_LARGE)
    try:
        return _WALKS[image_format](data, policy)
    except (struct.error, LookupError, ValueError, OverflowError):
        # A length or number that no picture has, where a walk reads on without asking first.
        raise StripError(StripCode.BROKEN) from None


def _check(copy: bytes, policy: StripPolicy, cleaned: Cleaned) -> None:
    """Walk over the copy once more: nothing may be left to do.

    A walk writes only what stands on its list, in one way. So a file that it gives back byte for
    byte holds nothing else.
    """
    again = walk_untrusted(copy, policy)
    says_the_same = (again.kept.orientation, again.kept.taken) == (
        cleaned.kept.orientation,
        cleaned.kept.taken,
    )
    if b"".join(again.pieces) != copy or not says_the_same:
        raise StripError(StripCode.NOT_CLEAN)
