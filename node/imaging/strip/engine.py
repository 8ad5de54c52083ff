"""The lossless strip: any picture file in, a clean copy out, or a reason why not.

Belongs here: which walk takes which file, and the check that every clean copy has to pass.
Never here: a format, or pixels (``node.imaging.pool`` has those compared).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from node.imaging.strip import gif, heif, jpeg, png, tiff, webp
from node.imaging.strip.container import container_of
from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.parts import MAX_FILE_BYTES, Cleaned, Kept, Part
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy

_WALKS: Final[dict[str, Callable[[bytes, StripPolicy], Cleaned]]] = {
    "jpeg": jpeg.clean_untrusted,
    "png": png.clean_untrusted,
    "webp": webp.clean_untrusted,
    "gif": gif.clean_untrusted,
    "tiff": tiff.clean_untrusted,
    "heif": heif.clean_untrusted,
    "avif": heif.clean_untrusted,
}


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
    left: tuple[Part, ...]
    """What the copy carries, as the check found it. Their bytes are the copy's own."""


def strip_untrusted(data: bytes, policy: StripPolicy = DEFAULT_POLICY) -> Stripped:
    """Return a clean copy of a picture file, its pixels byte for byte as they were coded.

    Raises StripError: empty, unknown_format, broken, too_large, unsupported, not_clean. Takes
    memory and time in proportion to the file, whatever it holds.
    """
    image_format = container_of(data)
    cleaned = walk_untrusted(data, policy)
    copy = b"".join(cleaned.pieces)
    again = _checked(copy, policy, cleaned)
    return Stripped(
        data=copy,
        format=image_format,
        parts=tuple(cleaned.parts),
        kept=cleaned.kept,
        left=tuple(again.parts),
    )


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


def _checked(copy: bytes, policy: StripPolicy, cleaned: Cleaned) -> Cleaned:
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
    return again
