"""Which kind of picture some bytes are, told from the bytes alone.

Belongs here: magic numbers, and the formats this build reads.
Never here: file names and extensions, decoding, or a picture library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.strip.container import container_of
from node.imaging.strip.errors import StripError
from node.imaging.strip.ifd import Directory, open_tiff

RAW: Final = "raw"
"""What a sensor saw, as a camera's maker writes it: kept as it is, and seen by the finished
picture inside it."""

RAW_ENDINGS: Final = frozenset({
    *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos"),
    *("mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
})  # fmt: skip
"""What the files of camera makers end in."""

FORMATS: Final = ("jpeg", "png", "webp", "gif", "tiff", "heif", "avif", RAW)
"""Every format this build reads, by the names used everywhere else."""

THUMBNAIL_FORMAT: Final = "jpeg"
"""For every picture: five times as fast to write as WebP at its fastest. Transparency, which it
lacks, is not needed to recognise a picture; it lies on white."""

SNIFF_BYTES: Final = 32
"""As many leading bytes as `sniff` looks at."""

_RAW_HEADS: Final = (
    *(b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM"),
    b"II\x1a\0\0\0HEAPCCDR",
)
"""RAF; RW2; three of ORF; X3F; MRW; CRW."""
_CANON_MARK: Final = b"CR\2"
"""In the ninth byte of a CR2, which is a TIFF otherwise."""
_PHASE_ONE_MARK: Final = b"IIII"
"""In the same place of an IIQ."""

_PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 262, 330, 50706
_OF_A_SENSOR: Final = frozenset({32803, 34892})
"""Values of PhotometricInterpretation: a colour filter array, and linear raw."""
_MOST_DIRECTORIES: Final = 16
"""Of a raw file that are looked at; it has three to five."""


def sniff(head: bytes) -> str | None:
    """Return the format, one of FORMATS, that a file with these first 32 bytes claims to be.

    A raw file that begins as any TIFF does is called one: see `exact_format_untrusted`.
    """
    if head.startswith(_RAW_HEADS) or head[4:12] == b"ftypcrx ":
        return RAW
    try:
        found = container_of(head)
    except StripError:
        return None
    if found == "tiff" and head[8:12].startswith((_CANON_MARK, _PHASE_ONE_MARK)):
        return RAW
    return found


def require_format(data: bytes) -> str:
    """Return the format by the first bytes; ImagingError `empty` or `unknown_format`."""
    if not data:
        raise ImagingError(ImagingCode.EMPTY)
    found = sniff(data[:SNIFF_BYTES])
    if found is None:
        raise ImagingError(ImagingCode.UNKNOWN_FORMAT)
    return found


def exact_format_untrusted(data: bytes) -> str:
    """Return the format, telling raw files from other TIFFs; ImagingError as `require_format`."""
    found = require_format(data)
    return RAW if is_raw_untrusted(data) else found


def is_raw_untrusted(data: bytes) -> bool:
    """Say whether data is a raw camera file, by its first bytes or by its directories."""
    found = sniff(data[:SNIFF_BYTES])
    if found != "tiff":
        return found == RAW
    return any(
        _DNG_VERSION in directory or _is_of_sensor(directory) for directory in _directories(data)
    )


def sensor_directories_untrusted(data: bytes) -> list[Directory]:
    """Return the directories of a TIFF whose pixels are what a sensor saw."""
    return [one for one in _directories(data) if _is_of_sensor(one)]


def _is_of_sensor(directory: Directory) -> bool:
    return _PHOTOMETRIC in directory and directory[_PHOTOMETRIC].number() in _OF_A_SENSOR


def _directories(data: bytes) -> Iterator[Directory]:
    """Yield the first directories of a TIFF, each with those below it."""
    tiff = open_tiff(data)
    if tiff is None:
        return
    offset, seen = tiff.first, {0}
    while offset not in seen and len(seen) <= _MOST_DIRECTORIES:
        seen.add(offset)
        directory, offset = tiff.directory(offset)
        yield directory
        if _SUB_DIRECTORIES in directory:
            for below in directory[_SUB_DIRECTORIES].numbers(_MOST_DIRECTORIES):
                yield tiff.directory(int(below))[0]
