"""The little of an Exif block that a clean copy may keep, read from one and written anew.

Belongs here: orientation, capture time, embedded preview.
Never here: everything else that an Exif block says (``node.imaging.inspect``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Final

from node.imaging.strip.ifd import (
    ASCII,
    LONG,
    SHORT,
    UNDEFINED,
    Directory,
    Value,
    open_tiff,
    write_directory,
)
from node.imaging.strip.parts import Buffer, Kept, Part
from node.imaging.strip.policy import StripPolicy

PREFIX: Final = b"Exif\0\0"
"""What stands before the block in a JPEG, and in some files of other formats."""

_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_COMPRESSION, _PREVIEW, _PREVIEW_BYTES = 0x0103, 0x0201, 0x0202
_EXIF_VERSION, _TAKEN, _TAKEN_ZONE = 0x9000, 0x9003, 0x9011
_JPEG_COMPRESSION: Final = 6
_MOMENT: Final = re.compile(rb"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")
_ZONE: Final = re.compile(rb"[+-]\d\d:\d\d")
_XMP_ORIENTATION: Final = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)([0-9])")
_MAX_XMP_BYTES: Final = 4 << 20


def exif_block(kept: Kept) -> bytes:
    """Return the Exif block that says what is kept and nothing else; empty for nothing."""
    values: dict[int, Value] = {}
    if kept.orientation != 1:
        values[_ORIENTATION] = (SHORT, 1, struct.pack("<H", kept.orientation))
    inner: dict[int, Value] = {}
    if kept.taken:
        inner[_EXIF_VERSION] = (UNDEFINED, 4, b"0232")
        inner[_TAKEN] = (ASCII, 20, kept.taken + b"\0")
        if kept.zone:
            inner[_TAKEN_ZONE] = (ASCII, 7, kept.zone + b"\0")
        values[_EXIF_IFD] = (LONG, 1, bytes(4))
    if not values and not kept.preview:
        return b""
    first = len(write_directory(values, 8, 0, order="<"))
    if inner:
        values[_EXIF_IFD] = (LONG, 1, struct.pack("<I", 8 + first))
    below = write_directory(inner, 8 + first, 0, order="<") if inner else b""
    second_at = 8 + first + len(below)
    second = b""
    if kept.preview:
        size = len(write_directory(_preview_directory(0, 0), second_at, 0, order="<"))
        second = write_directory(
            _preview_directory(second_at + size, len(kept.preview)), second_at, 0, order="<"
        )
    main = write_directory(values, 8, second_at if second else 0, order="<")
    return b"".join((b"II*\0\x08\0\0\0", main, below, second, kept.preview))


def orientation_packet(orientation: int) -> bytes:
    """Return the XMP packet that says an orientation and nothing else."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f' tiff:Orientation="{orientation}"/></rdf:RDF></x:xmpmeta>'
    ).encode("ascii")


def _preview_directory(offset: int, size: int) -> dict[int, Value]:
    return {
        _COMPRESSION: (SHORT, 1, struct.pack("<H", _JPEG_COMPRESSION)),
        _PREVIEW: (LONG, 1, struct.pack("<I", offset)),
        _PREVIEW_BYTES: (LONG, 1, struct.pack("<I", size)),
    }


def block_of(data: Buffer) -> memoryview:
    """Return an Exif block without the prefix that it may have."""
    view = memoryview(data)
    return view[len(PREFIX) :] if bytes(view[: len(PREFIX)]) == PREFIX else view


def _orientation(parts: Iterable[Part]) -> tuple[int, bool]:
    """Return the orientation that decoders see: the Exif one, else the XMP one; and which."""
    parts = list(parts)
    for part in parts:
        if part.kind == "exif" and (tiff := open_tiff(block_of(part.data))):
            directory, _ = tiff.directory(tiff.first)
            if _ORIENTATION in directory:
                return _valid(directory[_ORIENTATION].number()), False
    for part in parts:
        if part.kind == "xmp":
            found = _XMP_ORIENTATION.search(part.data[:_MAX_XMP_BYTES])
            if found:
                return _valid(int(found[1])), True
    return 1, False


def kept_untrusted(parts: Iterable[Part], policy: StripPolicy) -> Kept:
    """Return what of these parts stays under a policy, but for a preview."""
    parts = list(parts)
    taken, zone = b"", b""
    if policy.capture_time:
        for part in parts:
            if part.kind == "exif" and (tiff := open_tiff(block_of(part.data))):
                directory, _ = tiff.directory(tiff.first)
                taken, zone = capture_time(tiff.below(directory, _EXIF_IFD))
                break
    orientation, by_xmp = _orientation(parts)
    return Kept(orientation=orientation, by_xmp=by_xmp, taken=taken, zone=zone)


def capture_time(directory: Directory) -> tuple[bytes, bytes]:
    """Return when the picture was taken by its Exif directory, and the time zone; or empty."""
    taken = _text(directory, _TAKEN, _MOMENT)
    return taken, _text(directory, _TAKEN_ZONE, _ZONE) if taken else b""


def preview_untrusted(data: Buffer) -> memoryview:
    """Return the preview of an Exif block: a JPEG file, perhaps broken; or empty."""
    tiff = open_tiff(block_of(data))
    if tiff is None:
        return memoryview(b"")
    _, second = tiff.directory(tiff.first)
    directory, _ = tiff.directory(second)
    if not {_PREVIEW, _PREVIEW_BYTES} <= directory.keys():
        return memoryview(b"")
    offset = directory[_PREVIEW].number()
    found = tiff.data[offset : offset + directory[_PREVIEW_BYTES].number()]
    return found if bytes(found[:3]) == b"\xff\xd8\xff" else memoryview(b"")


def _text(directory: Directory, tag: int, pattern: re.Pattern[bytes]) -> bytes:
    entry = directory.get(tag)
    text = bytes(entry.raw[:32]).rstrip(b"\0 ") if entry else b""
    return text if pattern.fullmatch(text) else b""


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1
