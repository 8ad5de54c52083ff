"""Who made a picture and whose it is, written into a copy that carries nothing else.

Belongs here: one credit in the three places where programs look for it (EXIF, XMP, IPTC), in
every format that is cleaned; and telling a file that carries exactly this from any other.
Never here: removing anything (``node.imaging.strip``), or deciding who is credited.

EXIF has Artist and Copyright, XMP dc:creator, dc:rights and xmpRights:UsageTerms, IPTC by-line and
copyright notice, all in UTF-8. PNG, WebP, HEIC and AVIF have no place for IPTC's old records; the
same two fields of today's IPTC standard are dc:creator and dc:rights. A GIF has a place for XMP
alone.
"""

from __future__ import annotations

import html
import re
import struct
import zlib
from typing import Final

from node.imaging.messages import Ownership
from node.imaging.strip import heif
from node.imaging.strip.engine import walk_untrusted
from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.exif import PREFIX
from node.imaging.strip.ifd import (
    ASCII,
    BYTE,
    LONG,
    SHORT,
    Value,
    open_tiff,
    write_directory,
)
from node.imaging.strip.jpeg_segments import APP0, segment
from node.imaging.strip.parts import Kept

_ORIENTATION, _ARTIST, _COPYRIGHT = 0x0112, 0x013B, 0x8298
_POSITIONING: Final = 0x0213
"""Where colours were sampled. Exif wants it of every JPEG; 1 is what JFIF says."""
_XMP_TAG, _IPTC_TAG = 0x02BC, 0x83BB
_BY_LINE_BYTES, _NOTICE_BYTES = 32, 128
"""What IPTC's records have room for."""
_XMP_IN_JPEG: Final = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_IN_PNG: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
"""Keyword, not compressed, no language, no translated keyword."""
_PNG_HEAD_BYTES: Final = 8 + 25
_GIF_SCREEN_END: Final = 13
_GIF_XMP_END: Final = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
_WEBP_ALPHA, _WEBP_EXIF, _WEBP_XMP = 0x10, 0x08, 0x04
_LIST: Final = r"<rdf:{0}><rdf:li{1}>([^<]*)</rdf:li></rdf:{0}>"
_CREATOR: Final = re.compile("<dc:creator>" + _LIST.format("Seq", ""))
_RIGHTS: Final = re.compile("<dc:rights>" + _LIST.format("Alt", ' xml:lang="x-default"'))
_TERMS: Final = re.compile("<xmpRights:UsageTerms>" + _LIST.format("Alt", ' xml:lang="x-default"'))


def with_ownership(clean: bytes, image_format: str, ownership: Ownership) -> bytes:
    """Return a clean copy, as `strip_untrusted` makes one, with a credit in it.

    Raises StripError `unsupported` for a format that cannot be credited, `broken` for a damaged
    picture.
    """
    write = _WRITERS.get(image_format)
    if write is None:
        raise StripError(StripCode.UNSUPPORTED)
    try:
        return write(clean, ownership)
    except (struct.error, IndexError, ValueError, OverflowError):
        # A picture that is cut short where only its decoder would say so.
        raise StripError(StripCode.BROKEN) from None


def is_credited_untrusted(data: bytes, clean: bytes, image_format: str, packet: bytes) -> bool:
    """Say whether a file is its clean copy with a credit, to the last byte.

    packet: the XMP packet that the file carries; what stands in it is read and written anew.
    """
    ownership = _read_untrusted(packet)
    if ownership == Ownership():
        return False
    try:
        return with_ownership(clean, image_format, ownership) == data
    except StripError:
        return False


def _read_untrusted(packet: bytes) -> Ownership:
    text = packet.decode("utf-8", "replace")
    found = (pattern.search(text) for pattern in (_CREATOR, _RIGHTS, _TERMS))
    creator, rights, terms = (html.unescape(one[1]) if one else "" for one in found)
    return Ownership(creator=creator, rights=rights, terms=terms)


def _orientation(clean: bytes) -> int:
    return walk_untrusted(clean).kept.orientation


# What is written --------------------------------------------------------------------------------


def _tags(ownership: Ownership) -> dict[int, Value]:
    texts = {_ARTIST: ownership.creator, _COPYRIGHT: ownership.rights}
    raw = {tag: text.encode() + b"\0" for tag, text in texts.items() if text}
    return {tag: (ASCII, len(value), value) for tag, value in raw.items()}


def _exif(ownership: Ownership, orientation: int, *, jpeg: bool = False) -> bytes:
    """Return an Exif block that says who, and how the picture is turned."""
    values = _tags(ownership)
    if orientation != 1:
        values[_ORIENTATION] = (SHORT, 1, struct.pack("<H", orientation))
    if not values:
        return b""
    if jpeg:
        values[_POSITIONING] = (SHORT, 1, b"\1\0")
    return b"II*\0\x08\0\0\0" + write_directory(values, 8, 0, order="<")


def _xmp(ownership: Ownership, orientation: int = 1) -> bytes:
    """Return an XMP packet that says who, and how the picture is turned where only XMP does."""

    def listed(kind: str, text: str) -> str:
        language = ' xml:lang="x-default"' if kind == "Alt" else ""
        said = html.escape(text, quote=False)
        return f"<rdf:{kind}><rdf:li{language}>{said}</rdf:li></rdf:{kind}>"

    said = []
    if ownership.creator:
        said.append(f"<dc:creator>{listed('Seq', ownership.creator)}</dc:creator>")
    if ownership.rights:
        said.append(f"<dc:rights>{listed('Alt', ownership.rights)}</dc:rights>")
    if ownership.terms:
        terms = listed("Alt", ownership.terms)
        said.append(f"<xmpRights:UsageTerms>{terms}</xmpRights:UsageTerms>")
    turned, namespace = "", ""
    if orientation != 1:
        turned = f' tiff:Orientation="{orientation}"'
        namespace = ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    return "".join(
        (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>',
            '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
            '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"',
            f' xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"{namespace}{turned}>',
            *said,
            '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>',
        )
    ).encode()


def _iptc(ownership: Ownership) -> bytes:
    """Return IPTC records: the character set, then by-line and copyright notice."""
    records = [(1, 90, b"\x1b%G"), (2, 0, b"\0\4")]
    if ownership.creator:
        records.append((2, 80, _cut(ownership.creator, _BY_LINE_BYTES)))
    if ownership.rights:
        records.append((2, 116, _cut(ownership.rights, _NOTICE_BYTES)))
    return b"".join(
        struct.pack(">BBBH", 0x1C, record, number, len(value)) + value
        for record, number, value in records
    )


def _cut(text: str, limit: int) -> bytes:
    """Return at most limit bytes of UTF-8 that end with a whole character."""
    return text.encode()[:limit].decode("utf-8", "ignore").encode()


# Where it is written ----------------------------------------------------------------------------


def _jpeg(clean: bytes, ownership: Ownership) -> bytes:
    """Put the credit behind the JFIF segment, in place of an Exif block that says less."""
    at = 2
    if clean[at : at + 2] == b"\xff\xe0":
        at += 2 + int.from_bytes(clean[at + 2 : at + 4])
    rest = at
    if clean[at : at + 2] == b"\xff\xe1" and clean[at + 4 : at + 10] == PREFIX:
        rest += 2 + int.from_bytes(clean[at + 2 : at + 4])
    records = _iptc(ownership)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records
    credit = [
        segment(APP0 + 1, _XMP_IN_JPEG + _xmp(ownership)),
        segment(APP0 + 13, b"Photoshop 3.0\0" + resource + b"\0" * (len(records) % 2)),
    ]
    if block := _exif(ownership, _orientation(clean), jpeg=True):
        credit.insert(0, segment(APP0 + 1, PREFIX + block))
    return b"".join((clean[:at], *credit, clean[rest:]))


def _png(clean: bytes, ownership: Ownership) -> bytes:
    rest = _PNG_HEAD_BYTES
    if clean[rest + 4 : rest + 8] == b"eXIf":
        rest += 12 + int.from_bytes(clean[rest : rest + 4])
    credit = [_png_chunk(b"iTXt", _XMP_IN_PNG + _xmp(ownership))]
    if block := _exif(ownership, _orientation(clean)):
        credit.insert(0, _png_chunk(b"eXIf", block))
    return b"".join((clean[:_PNG_HEAD_BYTES], *credit, clean[rest:]))


def _png_chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)


def _webp(clean: bytes, ownership: Ownership) -> bytes:
    """Put the credit behind the pixels, where the extended form has it."""
    extended, body = _webp_parts(clean)
    flags = extended[0] | _WEBP_XMP
    credit = [_webp_chunk(b"XMP ", _xmp(ownership))]
    if block := _exif(ownership, _orientation(clean)):
        flags |= _WEBP_EXIF
        credit.insert(0, _webp_chunk(b"EXIF", block))
    head = _webp_chunk(b"VP8X", bytes((flags,)) + extended[1:])
    whole = b"".join((b"WEBP", head, *body, *credit))
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def _webp_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(payload)) + payload + b"\0" * (len(payload) % 2)


def _webp_parts(clean: bytes) -> tuple[bytes, list[bytes]]:
    """Return the payload of VP8X, made where there is none, and the chunks but Exif."""
    at, extended, body = 12, b"", []
    while at + 8 <= len(clean):
        kind, length = struct.unpack_from("<4sI", clean, at)
        end = at + 8 + length + length % 2
        if kind == b"VP8X":
            extended = clean[at + 8 : end]
        elif kind != b"EXIF":
            body.append(clean[at:end])
        at = end
    return extended or _webp_extension(body[0]), body


def _webp_extension(picture: bytes) -> bytes:
    """Return VP8X for a file of one picture chunk: flags:1 reserved:3 width-1:3 height-1:3."""
    if picture[:4] == b"VP8L":
        (bits,) = struct.unpack_from("<I", picture, 9)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags = _WEBP_ALPHA if bits >> 28 & 1 else 0
    else:
        across, down = struct.unpack_from("<HH", picture, 14)
        width, height, flags = across & 0x3FFF, down & 0x3FFF, 0
    width_bytes, height_bytes = (int(one - 1).to_bytes(3, "little") for one in (width, height))
    return bytes((flags, 0, 0, 0)) + width_bytes + height_bytes


def _tiff(clean: bytes, ownership: Ownership) -> bytes:
    """Write the first directory anew behind the file, with the credit in it."""
    tiff = open_tiff(clean)
    if tiff is None:
        raise StripError(StripCode.BROKEN)
    directory, following = tiff.directory(tiff.first)
    values: dict[int, Value] = {
        tag: (entry.type, entry.count, bytes(entry.raw)) for tag, entry in directory.items()
    }
    packet, records = _xmp(ownership), _iptc(ownership)
    values |= _tags(ownership)
    values[_XMP_TAG] = (BYTE, len(packet), packet)
    # Every writer of this tag calls it whole words, and every reader takes it as bytes.
    records += b"\0" * (-len(records) % 4)
    values[_IPTC_TAG] = (LONG, len(records) // 4, records)
    padded = clean + b"\0" * (len(clean) % 2)
    head = 8 if tiff.big else 4
    word = tiff.order + ("Q" if tiff.big else "I")
    pointer = struct.pack(word, len(padded))
    moved = write_directory(values, len(padded), following, order=tiff.order, big=tiff.big)
    return padded[:head] + pointer + padded[head + len(pointer) :] + moved


def _gif(clean: bytes, ownership: Ownership) -> bytes:
    """Put a packet behind the colours; only GIF89a has extensions.

    The packet stands there as it is, without sub-blocks: its bytes lead a reader of those from
    one to another of the descending ones behind it, and so out (XMP specification, part 3).
    """
    colours = 3 << ((clean[10] & 7) + 1) if clean[10] & 0x80 else 0
    at = _GIF_SCREEN_END + colours
    packet = b"\x21\xff\x0bXMP DataXMP" + _xmp(ownership) + _GIF_XMP_END
    return b"GIF89a" + clean[6:at] + packet + clean[at:]


def _heif(clean: bytes, ownership: Ownership) -> bytes:
    """Write the file anew with two more items that describe the primary picture."""
    return b"".join(heif.described(clean, lambda kept: _described(ownership, kept)))


def _described(ownership: Ownership, kept: Kept) -> tuple[bytes, bytes]:
    """Return the Exif block and the XMP packet of a credit."""
    by_exif, by_xmp = (1, kept.orientation) if kept.by_xmp else (kept.orientation, 1)
    return _exif(ownership, by_exif), _xmp(ownership, by_xmp)


_WRITERS: Final = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "heif": _heif,
    "avif": _heif,
}
