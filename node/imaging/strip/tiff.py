"""TIFF and BigTIFF: directories written anew with the tags on a list, and the pixels they name.

Belongs here: TIFF 6.0 and its supplements, as far as they say how pixels are read.
Never here: what the other tags mean (``node.imaging.inspect``).

Nothing of the file is copied but what a directory on the chain of pages points to, so gaps,
other directories, and whatever stands behind do not reach the copy.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import Final

from node.imaging.strip.errors import Detail, StripCode, StripError
from node.imaging.strip.exif import kept_untrusted
from node.imaging.strip.icc import whole_profile_untrusted
from node.imaging.strip.ifd import (
    ASCII,
    IFD,
    IFD8,
    LONG,
    LONG8,
    SHORT,
    UNDEFINED,
    Directory,
    Tiff,
    Value,
    open_tiff,
    write_directory,
)
from node.imaging.strip.jpeg import clean_fragment_untrusted
from node.imaging.strip.parts import Buffer, Cleaned, Kept, Part, count_part
from node.imaging.strip.policy import StripPolicy

_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION = 254, 255, 256, 257, 258, 259
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR = 273, 274, 277, 278, 279, 284
_TILES, _TILE_BYTES, _SUB_DIRECTORIES, _JPEG_TABLES, _OLD_JPEG = 324, 325, 330, 347, 513
_XMP, _IPTC, _PHOTOSHOP, _EXIF, _PROFILE, _DNG_VERSION = 700, 33723, 34377, 34665, 34675, 50706
_TAKEN, _TAKEN_ZONE = 0x9003, 0x9011

_STRUCTURE: Final = {
    _SUBFILE: 1, _WIDTH: 1, _LENGTH: 1, _BITS: 64, _COMPRESSION: 1, 262: 1, 266: 1, _SAMPLES: 1,
    _ROWS: 1, 280: 64, 281: 64, 282: 1, 283: 1, _PLANAR: 1, 290: 1, 291: 256, 292: 1, 293: 1,
    296: 1, 317: 1, 318: 2, 319: 6, 320: 3 << 16, 321: 2, 322: 1, 323: 1, 332: 1, 334: 1,
    336: 128, 338: 64, 339: 64, 529: 3, 530: 2, 531: 1, 532: 12,
}  # fmt: skip
"""The tags that say how pixels are read, and how many numbers each may have."""
_NUMBERS: Final = frozenset({1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 16, 17})
"""Types of numbers: a tag of the list is never a text."""
_PLAIN, _JPEG = 1, 7
_COMPRESSIONS: Final = frozenset({_PLAIN, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34925, 50000})
_REDUCED: Final = 1
_PAGE_KINDS: Final = (0, 2)
_REDUCED_OLD: Final = 2
_MAX_GROWTH: Final = 4
"""How often pages may share the same bytes, on average, before a file is a bomb."""
_MAX_STRIPS: Final = 1 << 20
"""And tiles, of one file: 16 pixels square in the largest picture that is decoded."""


def clean_untrusted(data: bytes, policy: StripPolicy) -> Cleaned:
    """Return a clean copy of a TIFF file; StripError."""
    tiff = open_tiff(data)
    if tiff is None:
        raise StripError(StripCode.BROKEN)
    directories = []
    entries = 0
    for directory in tiff.chain():
        entries += len(directory)
        count_part(entries)
        directories.append(directory)
    if not directories or not _is_page(directories[0]):
        raise StripError(StripCode.BROKEN)
    if _DNG_VERSION in directories[0]:
        raise StripError(StripCode.UNSUPPORTED, Detail.RAW)
    parts = [Part(kind="exif", name="IFD", data=tiff.data)]
    pages: list[Directory] = []
    for directory in directories:
        parts += _parts(directory)
        if _is_preview(directory) and not (policy.previews and _is_page(directory)):
            parts.append(Part(kind="thumbnail", name="IFD", data=_first_strip(tiff, directory)))
        elif _is_page(directory):
            pages.append(directory)
    if not pages or pages[0] is not directories[0]:
        raise StripError(StripCode.UNSUPPORTED, Detail.SMALL_FIRST)
    said = kept_untrusted(parts, policy)
    pieces = _write(tiff, _read_pages(tiff, pages), said)
    return Cleaned(pieces=pieces, parts=parts, kept=said)


def _is_page(directory: Directory) -> bool:
    return {_WIDTH, _LENGTH} <= directory.keys() and bool({_STRIPS, _TILES} & directory.keys())


def _is_preview(directory: Directory) -> bool:
    """Say whether a directory is a smaller copy, or anything else that is no page."""
    kind = directory[_SUBFILE].number() if _SUBFILE in directory else 0
    old = directory[_OLD_SUBFILE].number() if _OLD_SUBFILE in directory else 0
    return kind not in _PAGE_KINDS or old == _REDUCED_OLD or _OLD_JPEG in directory


def _first_strip(tiff: Tiff, directory: Directory) -> memoryview:
    for offsets, lengths in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES), (_OLD_JPEG, 514)):
        if offsets in directory and lengths in directory:
            at = directory[offsets].number()
            return tiff.data[at : at + directory[lengths].number()]
    return tiff.data[:0]


def _parts(directory: Directory) -> list[Part]:
    """Return what a directory carries in tags that hold formats of their own."""
    found = []
    for tag, kind in ((_XMP, "xmp"), (_IPTC, "iptc"), (_PHOTOSHOP, "photoshop")):
        if tag in directory:
            found.append(Part(kind=kind, name=f"tag {tag}", data=directory[tag].raw))
    if _PROFILE in directory:
        raw = directory[_PROFILE].raw
        kept = whole_profile_untrusted(raw) is not None
        found.append(Part(kind="icc", name=f"tag {_PROFILE}", data=raw, kept=kept))
    if _SUB_DIRECTORIES in directory:
        raw = directory[_SUB_DIRECTORIES].raw
        found.append(Part(kind="second_picture", name=f"tag {_SUB_DIRECTORIES}", data=raw))
    return found


class _Page:
    """What a page's directory will say, and its pixels."""

    def __init__(self, tiff: Tiff, directory: Directory) -> None:
        self.compression = directory[_COMPRESSION].number() if _COMPRESSION in directory else _PLAIN
        if self.compression not in _COMPRESSIONS:
            raise StripError(StripCode.UNSUPPORTED, Detail.COMPRESSION)
        self.values: dict[int, Value] = {}
        for tag, most in _STRUCTURE.items():
            entry = directory.get(tag)
            if entry and entry.type in _NUMBERS and 0 < entry.count <= most and entry.raw:
                self.values[tag] = (entry.type, entry.count, bytes(entry.raw))
        orientation = directory[_ORIENTATION].number() if _ORIENTATION in directory else 1
        self.orientation = orientation if 1 <= orientation <= 8 else 1
        if _PROFILE in directory and (icc := whole_profile_untrusted(directory[_PROFILE].raw)):
            self.values[_PROFILE] = (UNDEFINED, len(icc), icc)
        if _JPEG_TABLES in directory and self.compression == _JPEG:
            tables = clean_fragment_untrusted(bytes(directory[_JPEG_TABLES].raw))
            self.values[_JPEG_TABLES] = (UNDEFINED, len(tables), tables)
        self.tiled = _TILES in directory
        self.strips = self._strips(tiff, directory)

    def _strips(self, tiff: Tiff, directory: Directory) -> Sequence[Buffer]:
        """Return the strips or tiles, each no longer than its pixels where that can be told."""
        offsets = directory[_TILES if self.tiled else _STRIPS]
        lengths = directory.get(_TILE_BYTES if self.tiled else _STRIP_BYTES)
        places = offsets.numbers(_MAX_STRIPS)
        # Only what the copy says counts: its reader knows no more.
        said = {tag: directory[tag] for tag in self.values if tag in directory}
        if not {_WIDTH, _LENGTH} <= said.keys():
            raise StripError(StripCode.BROKEN)
        exact = self._plain_lengths(said, len(places))
        sizes = lengths.numbers(_MAX_STRIPS) if lengths else exact
        if not places or len(sizes) != len(places):
            raise StripError(StripCode.BROKEN)
        if sum(sizes) > len(tiff.data):
            # Strips that overlap: a small file that grows when it is written anew.
            raise StripError(StripCode.TOO_LARGE)
        strips: list[Buffer] = []
        for number, (place, size) in enumerate(zip(places, sizes, strict=True)):
            start, length = int(place), int(size)
            strip = tiff.data[start : start + length]
            if length < 0 or start < 0 or len(strip) != length:
                raise StripError(StripCode.BROKEN)
            if exact and len(strip) > exact[number]:
                strip = strip[: exact[number]]
            if self.compression == _JPEG:
                strips.append(clean_fragment_untrusted(bytes(strip)))
            else:
                strips.append(strip)
        return strips

    def _plain_lengths(self, directory: Directory, count: int) -> Sequence[int]:
        """Return the bytes of each uncompressed strip of pixels; nothing for others."""
        if self.compression != _PLAIN or self.tiled:
            return ()
        width, height = directory[_WIDTH].number(), directory[_LENGTH].number()
        rows = directory[_ROWS].number() if _ROWS in directory else height
        samples = directory[_SAMPLES].number(1) if _SAMPLES in directory else 1
        bits = directory[_BITS].number(1) if _BITS in directory else 1
        subsampled = 530 in directory
        if subsampled or min(width, height, rows, samples, bits) < 1:
            return ()
        planes = samples if _PLANAR in directory and directory[_PLANAR].number() == 2 else 1
        row = (width * bits * (samples // planes) + 7) // 8
        rows = min(rows, height)
        strips_of_plane = -(-height // rows)
        if strips_of_plane * planes != count:
            return ()
        last = height - rows * (strips_of_plane - 1)
        return ([row * rows] * (strips_of_plane - 1) + [row * last]) * planes


def _read_pages(tiff: Tiff, directories: Sequence[Directory]) -> list[_Page]:
    """Return the pages; StripError `too_large` where they share bytes to grow when written anew."""
    pages = []
    left = _MAX_GROWTH * len(tiff.data)
    strips = 0
    for directory in directories:
        strips += directory[_TILES if _TILES in directory else _STRIPS].count
        if strips > _MAX_STRIPS:
            raise StripError(StripCode.TOO_LARGE)
        page = _Page(tiff, directory)
        left -= sum(map(len, page.strips)) + sum(len(raw) for _, _, raw in page.values.values())
        if left < 0:
            raise StripError(StripCode.TOO_LARGE)
        pages.append(page)
    return pages


def _write(tiff: Tiff, pages: Sequence[_Page], said: Kept) -> list[Buffer]:
    """Return the file of the pages: head, then each directory with its strips behind it."""
    word = struct.Struct(tiff.order + ("Q" if tiff.big else "I"))
    pieces: list[Buffer] = [_head(tiff)]
    at = len(pieces[0])
    for number, page in enumerate(pages):
        orientation = said.orientation if number == 0 else page.orientation
        if orientation != 1:
            page.values[_ORIENTATION] = (SHORT, 1, struct.pack(tiff.order + "H", orientation))
        below: dict[int, Value] = {}
        if said.taken and number == 0:
            below[_TAKEN] = (ASCII, len(said.taken) + 1, said.taken + b"\0")
            if said.zone:
                below[_TAKEN_ZONE] = (ASCII, len(said.zone) + 1, said.zone + b"\0")
            page.values[_EXIF] = (IFD8 if tiff.big else IFD, 1, word.pack(0))
        sizes = [len(strip) + len(strip) % 2 for strip in page.strips]
        _point(tiff, page, [0] * len(sizes))
        size = len(write_directory(page.values, at, 0, order=tiff.order, big=tiff.big))
        inner = b""
        if below:
            page.values[_EXIF] = (IFD8 if tiff.big else IFD, 1, word.pack(at + size))
            inner = write_directory(below, at + size, 0, order=tiff.order, big=tiff.big)
        first = at + size + len(inner)
        _point(tiff, page, list(itertools.accumulate(sizes[:-1], initial=first)))
        end = first + sum(sizes)
        following = end if number + 1 < len(pages) else 0
        pieces.append(write_directory(page.values, at, following, order=tiff.order, big=tiff.big))
        pieces.append(inner)
        for strip in page.strips:
            pieces += (strip, b"\0" * (len(strip) % 2))
        at = end
    return pieces


def _point(tiff: Tiff, page: _Page, places: Sequence[int]) -> None:
    """Say where the strips or tiles are, and how long."""
    kind, letter = (LONG8, "Q") if tiff.big else (LONG, "I")
    if places and places[-1] >= 1 << 32 and not tiff.big:
        raise StripError(StripCode.TOO_LARGE)
    count = len(page.strips)
    offsets, lengths = (_TILES, _TILE_BYTES) if page.tiled else (_STRIPS, _STRIP_BYTES)
    packed = struct.pack(f"{tiff.order}{count}{letter}", *places)
    page.values[offsets] = (kind, count, packed)
    sizes = struct.pack(f"{tiff.order}{count}{letter}", *map(len, page.strips))
    page.values[lengths] = (kind, count, sizes)


def _head(tiff: Tiff) -> bytes:
    mark = b"II" if tiff.order == "<" else b"MM"
    if tiff.big:
        return mark + struct.pack(tiff.order + "HHHQ", 43, 8, 0, 16)
    return mark + struct.pack(tiff.order + "HI", 42, 8)
