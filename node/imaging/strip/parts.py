"""What a walk over a picture file found and made.

Belongs here: the values that every format's walk returns, and the bounds all walks share.
Never here: a format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from node.imaging.strip.errors import StripCode, StripError

Buffer = bytes | memoryview

MAX_FILE_BYTES: Final = 256 << 20
"""Several times the largest picture that a camera writes; the bound of the decoders too."""
MAX_PARTS: Final = 100_000
"""Segments, chunks or boxes of one file. A picture of a camera has some dozens; a long animation
has a few for each of its frames."""

PARTS: Final = (
    *("exif", "xmp", "xmp_extension", "iptc", "photoshop", "maker_note", "comment", "text"),
    *("time", "c2pa", "icc", "thumbnail", "second_picture", "gain_map", "depth_map", "video"),
    *("animation", "application_data", "trailer"),
)
"""What a part can be. The words are those of ``node.imaging.metadata`` where it has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that a file carries besides its pixels."""

    kind: str
    """One of PARTS."""
    name: str
    """What the format calls it: `APP1`, `tEXt`, `iTXt`. Made here, never read from a file."""
    data: Buffer = field(repr=False)
    """What it says, without the format's wrapping."""
    kept: bool = False
    """Whether the clean copy carries it, perhaps written anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What of the metadata stays."""

    orientation: int = 1
    by_xmp: bool = False
    """Whether only an XMP packet said the orientation, and no Exif block."""
    taken: bytes = b""
    """`YYYY:MM:DD hh:mm:ss`, or empty."""
    zone: bytes = b""
    """`+hh:mm`, or empty."""
    preview: bytes = field(default=b"", repr=False)
    """A JPEG file, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """A clean copy in pieces, and what the source carried."""

    pieces: Sequence[Buffer] = field(repr=False)
    parts: Sequence[Part]
    kept: Kept


def count_part(number: int) -> None:
    """Refuse a file of more parts than MAX_PARTS; StripError `too_large`."""
    if number > MAX_PARTS:
        raise StripError(StripCode.TOO_LARGE)
