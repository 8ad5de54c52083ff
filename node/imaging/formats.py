"""Which kind of picture some bytes are, told from the bytes alone.

Belongs here: magic numbers, and the formats this build reads.
Never here: file names and extensions, decoding, or a picture library.
"""

from __future__ import annotations

from typing import Final

from node.imaging.errors import ImagingCode, ImagingError

FORMATS: Final = ("jpeg", "png", "webp", "gif")
"""Every format this build reads, by the names used everywhere else."""

THUMBNAIL_FORMAT: Final = "jpeg"
"""For every picture: five times as fast to write as WebP at its fastest. Transparency, which it
lacks, is not needed to recognise a picture; it lies on white."""

SNIFF_BYTES: Final = 32
"""As many leading bytes as `sniff` looks at."""

_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
)


def sniff(head: bytes) -> str | None:
    """Return the format, one of FORMATS, that a file with these first 32 bytes claims to be."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return None


def require_format(data: bytes) -> str:
    """Return the format of data; ImagingError `empty`, or `unknown_format` naming what it is."""
    if not data:
        raise ImagingError(ImagingCode.EMPTY)
    found = sniff(data[:SNIFF_BYTES])
    if found is None:
        known = _known_but_not_read(data[:SNIFF_BYTES])
        raise ImagingError(
            ImagingCode.UNKNOWN_FORMAT,
            f"{known} pictures are not read by this build; JPEG, PNG, WebP and GIF are"
            if known
            else "",
        )
    return found


def _known_but_not_read(head: bytes) -> str | None:
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return "AVIF"
        if head[8:12] in _HEIF_BRANDS:
            return "HEIC"
    return None
