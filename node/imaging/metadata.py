"""Which groups of metadata a picture file carries: a walk over its container, no decoding.

Belongs here: one walk a format, from the first byte to the last, naming what stands there.
Never here: values (positions, names, serial numbers), removing anything, or pixels.

Every walk ends where the container stops making sense; what it has named by then stands.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from node.imaging.strip.boxes import boxes
from node.imaging.strip.errors import StripError
from node.imaging.strip.heif_items import Item, Items, read_items
from node.imaging.strip.ifd import Directory, Tiff, open_tiff
from node.imaging.strip.parts import count_part

GROUPS: Final = (
    "exif",
    "gps",
    "maker_note",
    "thumbnail",
    "xmp",
    "iptc",
    "comment",
    "text",
    "time",
    "c2pa",
    "icc",
    "second_picture",
    "video",
    "animation",
    "application_data",
    "trailer",
    "orientation",
    "ownership",
)
"""Every group there is, in the order in which they are listed to people. `orientation` and
`ownership` are blocks that say nothing else (``contents``); the walk here does not tell them."""

_MAX_INFLATED_BYTES: Final = 1 << 20
"""Text chunks inflate to no more than this while looking for a position."""


def metadata_groups_untrusted(data: bytes, image_format: str) -> tuple[str, ...]:
    """Return the groups of metadata in a file of image_format, in the order of GROUPS."""
    found = set(_WALKS[image_format](data))
    return tuple(group for group in GROUPS if group in found)


# JPEG (ITU T.81 annex B): segments `FF marker [length:2, counts itself] [payload]`, where SOS is
# followed by entropy-coded bytes in which FF is followed by 00 or a restart marker.
_JPEG_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP15 = 0xE0, 0xEF


def _jpeg(data: bytes) -> Iterator[str]:
    at = 2
    while marker_at := _JPEG_NEXT_MARKER.search(data, at):
        marker, at = data[marker_at.start() + 1], marker_at.end()
        if marker == _EOI:
            yield from _after_jpeg(data[at:])
            return
        if marker == _SOI or at + 2 > len(data):
            continue
        length = int.from_bytes(data[at : at + 2])
        payload = data[at + 2 : at + length]
        at += max(length, 2)
        if marker == _COM:
            yield "comment"
        elif _APP0 <= marker <= _APP15:
            yield from _jpeg_application(marker - _APP0, payload)


def _jpeg_application(number: int, payload: bytes) -> Iterator[str]:
    match number:
        case 0 if payload.startswith(b"JFIF\0"):
            if any(payload[12:14]):
                yield "thumbnail"
        case 0 if payload.startswith(b"JFXX\0"):
            yield "thumbnail"
        case 1 if payload.startswith(b"Exif\0"):
            yield from _exif(payload[6:])
        case 1 if payload.startswith(b"http://ns.adobe.com/"):
            yield from _xmp(payload)
        case 2 if payload.startswith(b"ICC_PROFILE\0"):
            yield "icc"
        case 2 if payload.startswith(b"MPF\0"):
            yield "second_picture"
        case 11 if payload.startswith(b"JP"):
            yield "c2pa"
        case 13:
            yield "iptc"
        case 14 if payload.startswith(b"Adobe"):
            pass  # says how colours are coded
        case _:
            yield "application_data"


def _after_jpeg(tail: bytes) -> Iterator[str]:
    if not tail.strip(b"\0\r\n "):
        return
    yield "trailer"
    if b"\xff\xd8\xff" in tail:
        yield "second_picture"
    if b"ftyp" in tail:
        yield "video"


# PNG (ISO 15948 clause 5): signature:8, then chunks `length:4 type:4 payload crc:4`.
_PNG_NEEDED: Final = frozenset(
    b"IHDR PLTE IDAT tRNS gAMA cHRM sRGB sBIT pHYs bKGD hIST cICP fcTL fdAT".split()
)


def _png(data: bytes) -> Iterator[str]:
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        payload = data[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"IEND":
            if any(data[at:]):
                yield "trailer"
            return
        if kind not in _PNG_NEEDED:
            yield from _png_chunk(kind, payload)


def _png_chunk(kind: bytes, payload: bytes) -> Iterator[str]:
    match kind:
        case b"eXIf":
            yield from _exif(payload)
        case b"tEXt" | b"zTXt" | b"iTXt":
            yield from _png_text(kind, payload)
        case b"iCCP":
            yield "icc"
        case b"tIME":
            yield "time"
        case b"caBX":
            yield "c2pa"
        case b"acTL":
            yield "animation"
        case _:
            yield "application_data"


def _png_text(kind: bytes, payload: bytes) -> Iterator[str]:
    keyword, _, rest = payload.partition(b"\0")
    if kind == b"zTXt":
        text = _inflate(rest[1:])
    elif kind == b"iTXt":
        # compressed:1 method:1 language NUL translated keyword NUL text
        text = rest[2:].split(b"\0", 2)[-1]
        text = _inflate(text) if rest[:1] == b"\1" else text
    else:
        text = rest
    match keyword.lower():
        case b"xml:com.adobe.xmp" | b"raw profile type xmp":
            yield from _xmp(text)
        case b"raw profile type exif" | b"raw profile type app1":
            yield from _exif(_raw_profile(text).removeprefix(b"Exif\0\0"))
        case b"raw profile type iptc" | b"raw profile type 8bim":
            yield "iptc"
        case b"comment" | b"description":
            yield "comment"
        case _:
            yield "text"


def _raw_profile(text: bytes) -> bytes:
    """Undo ImageMagick's spelling: NL name NL length NL, then hexadecimal lines."""
    try:
        return bytes.fromhex(text.strip().split(b"\n", 2)[-1].decode("ascii"))
    except ValueError:
        return b""


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MAX_INFLATED_BYTES)
    except zlib.error:
        return b""


# WebP (RFC 9649): `RIFF size:4 WEBP`, then chunks `type:4 size:4 payload`, padded to even.
_WEBP_NEEDED: Final = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANMF"))


def _webp(data: bytes) -> Iterator[str]:
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        payload = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
        match kind:
            case b"EXIF":
                yield from _exif(payload.removeprefix(b"Exif\0\0"))
            case b"XMP ":
                yield from _xmp(payload)
            case b"ICCP":
                yield "icc"
            case b"C2PA":
                yield "c2pa"
            case b"ANIM":
                yield "animation"
            case _ if kind not in _WEBP_NEEDED:
                yield "application_data"
    if any(data[end:]):
        yield "trailer"


# GIF (GIF89a): `GIF8xa` screen descriptor:7 [colours], then blocks: 2C image, 21 extension, 3B end.
_GIF_LOOP_BYTES: Final = 17
"""Sub-blocks of an application extension that says how often to loop, and nothing else."""


def _gif(data: bytes) -> Iterator[str]:
    frames = 0
    at = 13 + _gif_colours(data[10:11])
    while at < len(data):
        match data[at]:
            case 0x2C:  # descriptor:9 [colours] code size:1 sub-blocks
                frames += 1
                if frames == 2:
                    yield "animation"
                at = _gif_end(data, at + 11 + _gif_colours(data[at + 9 : at + 10]))
            case 0x21:  # label:1 sub-blocks
                end = _gif_end(data, at + 2)
                yield from _gif_extension(data[at + 1 : at + 2], data[at + 2 : end])
                at = end
            case 0x3B:
                if any(data[at + 1 :]):
                    yield "trailer"
                return
            case _:
                return


def _gif_colours(flags: bytes) -> int:
    """Return the bytes of the colour table that a packed field announces."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _gif_end(data: bytes, at: int) -> int:
    """Return the byte after the sub-blocks (size:1 payload, until a size of 0) that begin at."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _gif_extension(label: bytes, blocks: bytes) -> Iterator[str]:
    match label, blocks[1:12]:
        case b"\xfe", _:
            yield "comment"
        case b"\x01", _:
            yield "text"
        case b"\xff", b"XMP DataXMP":
            yield "xmp"
        case b"\xff", b"ICCRGBG1012":
            yield "icc"
        case b"\xff", b"NETSCAPE2.0" | b"ANIMEXTS1.0" if len(blocks) == _GIF_LOOP_BYTES:
            pass
        case b"\xff", _:
            yield "application_data"


# Exif (CIPA DC-008): a TIFF of `II or MM, 42:2, offset:4` and directories of
# `count:2, entries (tag:2 type:2 count:4 value:4), next directory:4`.
_EXIF_IFD, _GPS_IFD, _MAKER_NOTE, _IPTC, _XMP = 0x8769, 0x8825, 0x927C, 0x83BB, 0x02BC


def _exif(tiff: bytes) -> Iterator[str]:
    yield "exif"
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return
    tags, following = _directory(tiff, order, struct.unpack_from(f"{order}I", tiff, 4)[0])
    if _GPS_IFD in tags:
        yield "gps"
    if _IPTC in tags:
        yield "iptc"
    if _XMP in tags:
        yield "xmp"
    if _EXIF_IFD in tags and _MAKER_NOTE in _directory(tiff, order, tags[_EXIF_IFD])[0]:
        yield "maker_note"
    if following:
        yield "thumbnail"


def _directory(tiff: bytes, order: str, offset: int) -> tuple[dict[int, int], int]:
    """Return the tags of one directory with their value field, and where the next one is."""
    if offset + 2 > len(tiff):
        return {}, 0
    (count,) = struct.unpack_from(f"{order}H", tiff, offset)
    entries = tiff[offset + 2 : offset + 2 + 12 * count]
    entries = entries[: len(entries) // 12 * 12]
    tags = {tag: value for tag, _, _, value in struct.iter_unpack(f"{order}HHII", entries)}
    end = offset + 2 + 12 * count
    following = struct.unpack_from(f"{order}I", tiff, end)[0] if end + 4 <= len(tiff) else 0
    return tags, following


def _xmp(packet: bytes) -> Iterator[str]:
    yield "xmp"
    if b"GPSL" in packet:
        yield "gps"
    if b"xmp:Thumbnails" in packet or b"xmpGImg" in packet:
        yield "thumbnail"


# TIFF: the directories of its pages, with tags that say how pixels are read and others.
_STRUCTURE: Final = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284}
    | {290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332}
    | {334, 336, 338, 339, 347, 529, 530, 531, 532}
)
_SUBFILE, _SUB_DIRECTORIES, _PHOTOSHOP, _PROFILE = 254, 330, 0x8649, 0x8773
_REDUCED: Final = 1
_CARRIERS: Final = {_PROFILE: "icc", _IPTC: "iptc", _PHOTOSHOP: "iptc", _GPS_IFD: "gps"}


def _tiff(data: bytes) -> Iterator[str]:
    tiff = open_tiff(data)
    if tiff is None:
        return
    entries = 0
    try:
        for page, directory in enumerate(tiff.chain()):
            entries += len(directory)
            count_part(entries)
            if _SUBFILE in directory and directory[_SUBFILE].number() & _REDUCED:
                yield "thumbnail"
            elif page:
                yield "second_picture"
            yield from _page(tiff, directory)
    except StripError:
        return


def _page(tiff: Tiff, directory: Directory) -> Iterator[str]:
    for tag, entry in directory.items():
        if tag == _XMP:
            yield from _xmp(bytes(entry.raw))
        elif tag in _CARRIERS:
            yield _CARRIERS[tag]
        elif tag not in _STRUCTURE:
            yield "exif"
    if _SUB_DIRECTORIES in directory:
        yield "second_picture"
    if _MAKER_NOTE in tiff.below(directory, _EXIF_IFD):
        yield "maker_note"


# HEIF and AVIF (ISO 14496-12, ISO 23008-12): boxes, of which `meta` says what the items are.
_HEIF_NEEDED: Final = frozenset((b"ftyp", b"meta", b"mdat", b"free", b"skip"))
_C2PA_UUID: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_CODED: Final = frozenset((b"hvc1", b"av01", b"grid", b"iovl", b"iden", b"tmap"))


def _heif(data: bytes) -> Iterator[str]:
    view = memoryview(data)
    try:
        for kind, payload, _ in boxes(view):
            if kind == b"meta":
                yield from _heif_items(read_items(payload), view)
            elif kind in (b"moov", b"mpvd"):
                yield "video"
            elif kind == b"uuid" and bytes(payload[:16]) == _C2PA_UUID:
                yield "c2pa"
            elif kind not in _HEIF_NEEDED:
                yield "application_data"
    except (StripError, struct.error, LookupError, ValueError):
        return


def _heif_items(items: Items, view: memoryview) -> Iterator[str]:
    if any(one.kind == b"colr" and bytes(one.payload[:4]) != b"nclx" for one in items.properties):
        yield "icc"
    tiles = {target for one in items.references if one.kind == b"dimg" for target in one.targets}
    for item in items.items.values():
        if item.kind in _CODED:
            if item.number != items.primary and item.number not in tiles:
                small = items.from_item(b"thmb", item.number)
                yield "thumbnail" if small else "second_picture"
        else:
            yield from _heif_metadata(items, item, view)


def _heif_metadata(items: Items, item: Item, view: memoryview) -> Iterator[str]:
    try:
        held = items.bytes_of(item, view)
    except StripError:
        held = b""
    if item.kind == b"Exif":
        # Where the block begins:4, counted from behind this number.
        yield from _exif(held[4 + int.from_bytes(held[:4]) :].removeprefix(b"Exif\0\0"))
    elif item.kind == b"jumb":
        yield "c2pa"
    elif item.content_type == b"application/rdf+xml":
        yield from _xmp(held)
    else:
        yield "application_data"


# Raw camera files. Most are TIFFs; RAF and RW2 hold a JPEG that has what their cameras wrote.
_RAF_JPEG_AT: Final = 84
_RW2_JPEG: Final = 0x002E


def _raw(data: bytes) -> Iterator[str]:
    yield from ("exif", "thumbnail", "application_data")
    yield from _tiff(data)
    if jpeg := telling_jpeg_untrusted(data):
        yield from _jpeg(jpeg)


def telling_jpeg_untrusted(data: bytes) -> bytes:
    """Return the JPEG inside an RAF or RW2 file that has what its camera wrote; or nothing."""
    jpeg = b""
    tiff = open_tiff(data)
    if tiff is not None:
        directory, _ = tiff.directory(tiff.first)
        if _RW2_JPEG in directory:
            jpeg = bytes(directory[_RW2_JPEG].raw)
    elif data.startswith(b"FUJIFILM") and len(data) >= _RAF_JPEG_AT + 8:
        at, length = struct.unpack_from(">II", data, _RAF_JPEG_AT)
        jpeg = data[at : at + length]
    return jpeg if jpeg.startswith(b"\xff\xd8\xff") else b""


_WALKS: Final[dict[str, Callable[[bytes], Iterator[str]]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "heif": _heif,
    "avif": _heif,
    "raw": _raw,
}
