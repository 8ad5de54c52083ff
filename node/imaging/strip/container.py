"""Which kind of container some bytes claim to be, by the first of them.

Belongs here: the signatures of every format that is taken apart.
Never here: reading any further.
"""

from __future__ import annotations

from typing import Final

from node.imaging.strip.errors import StripCode, StripError

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())


def container_of(data: bytes) -> str:
    """Return the format that a file claims to be by its first bytes; StripError."""
    if not data:
        raise StripError(StripCode.EMPTY)
    head = data[:32]
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(_PNG):
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
