"""PNG and APNG: the walk over the chunks, and the clean copy made of those on a list.

Belongs here: ISO 15948, the eXIf chunk, ImageMagick's "Raw profile" texts.
Never here: pixels (``png_pixels`` measures their streams), or what Exif and XMP say.

    signature:8, then chunks `length:4 type:4 payload crc:4`, the last one IEND
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from node.imaging.strip import png_pixels
from node.imaging.strip.errors import Detail, StripCode, StripError
from node.imaging.strip.exif import PREFIX, exif_block, kept_untrusted
from node.imaging.strip.icc import MAX_PROFILE_BYTES, whole_profile_untrusted
from node.imaging.strip.parts import Buffer, Cleaned, Part, count_part
from node.imaging.strip.policy import StripPolicy

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MAX_TEXT_BYTES: Final = 2 << 20
"""What a compressed text inflates to; what is longer is removed unread."""
_MAX_TEXTS: Final = 32
"""Texts that are read; those after them are removed unread."""

_LENGTHS: Final = {
    b"IHDR": range(13, 14),
    b"PLTE": range(3, 769, 3),
    b"tRNS": range(1, 257),
    b"gAMA": range(4, 5),
    b"cHRM": range(32, 33),
    b"sRGB": range(1, 2),
    b"sBIT": range(1, 5),
    b"pHYs": range(9, 10),
    b"cICP": range(4, 5),
    b"acTL": range(8, 9),
    b"fcTL": range(26, 27),
}
"""The chunks that stay besides pixels and the profile, and how long each may be."""
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS: Final = (b"IDAT", b"fdAT")
_PROFILE_NAME: Final = b"icc"


class _Chunk(NamedTuple):
    kind: bytes
    payload: memoryview


def clean_untrusted(data: bytes, policy: StripPolicy) -> Cleaned:
    """Return a clean copy of a PNG file; StripError."""
    parts: list[Part] = []
    kept: list[_Chunk] = []
    profile: bytes | None = None
    seen_profile = False
    texts = 0
    for kind, payload in _chunks(data, parts):
        if kind in _PIXELS or len(payload) in _LENGTHS.get(kind, ()):
            kept.append(_Chunk(kind, payload))
        elif kind == b"iCCP" and not seen_profile:
            seen_profile = True
            profile = _profile(payload)
            found = profile is not None
            parts.append(Part(kind="icc", name="iCCP", data=profile or payload, kept=found))
        elif kind in _TEXTS and texts < _MAX_TEXTS:
            texts += 1
            parts.append(_text(kind, bytes(payload)))
        elif kind[0] & 0x20 or kind in _LENGTHS:
            parts.append(_part(kind, payload))
        else:
            raise StripError(StripCode.UNSUPPORTED, Detail.ESSENTIAL)
    if not kept or kept[0].kind != b"IHDR":
        raise StripError(StripCode.BROKEN)
    # Decoders ask the chunk of the standard first, and texts of programs only without one.
    said = kept_untrusted(sorted(parts, key=lambda part: part.name != "eXIf"), policy)
    pieces: list[Buffer] = [SIGNATURE, *_chunk(b"IHDR", kept[0].payload)]
    if block := exif_block(said):
        pieces += _chunk(b"eXIf", block)
    if profile is not None:
        pieces += _chunk(b"iCCP", _PROFILE_NAME + b"\0\0" + zlib.compress(profile, 9))
    for kind, exact in png_pixels.exact_streams(kept[0].payload, kept[1:]):
        pieces += _chunk(kind, exact)
    pieces += _chunk(b"IEND", b"")
    return Cleaned(pieces=pieces, parts=parts, kept=said)


def _chunks(data: bytes, parts: list[Part]) -> Iterator[_Chunk]:
    """Yield the chunks before IEND; a part for what follows it. StripError `broken`."""
    view = memoryview(data)
    at = len(SIGNATURE)
    count = 0
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + length
        if end > len(data):
            raise StripError(StripCode.BROKEN)
        if kind == b"IEND":
            if bytes(view[end:]).strip(b"\0"):
                parts.append(Part(kind="trailer", name="after IEND", data=view[end:]))
            return
        payload = view[at + 8 : end - 4]
        # A decoder refuses a needed chunk whose checksum is wrong; one written anew would hide it.
        if not kind[0] & 0x20 and zlib.crc32(payload, zlib.crc32(kind)) != int.from_bytes(
            view[end - 4 : end]
        ):
            raise StripError(StripCode.BROKEN)
        count += 1
        count_part(count)
        yield _Chunk(kind, payload)
        at = end
    raise StripError(StripCode.BROKEN)


def _chunk(kind: bytes, payload: Buffer) -> tuple[Buffer, ...]:
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">I4s", len(payload), kind), payload, checksum.to_bytes(4)


def _profile(payload: memoryview) -> bytes | None:
    """Return the profile of an iCCP chunk: name NUL method:1 compressed."""
    _, _, rest = bytes(payload).partition(b"\0")
    inflated = _inflate(rest[1:], MAX_PROFILE_BYTES)
    return whole_profile_untrusted(inflated) if inflated is not None else None


def _inflate(data: bytes, limit: int) -> bytes | None:
    """Return what a zlib stream holds, at most limit bytes of it; None where it is none."""
    try:
        return zlib.decompressobj().decompress(data, limit)
    except zlib.error:
        return None


def _part(kind: bytes, payload: memoryview) -> Part:
    """Say what a chunk is that decoding does not need."""
    match kind:
        case b"eXIf":
            return Part(kind="exif", name="eXIf", data=payload)
        case b"tEXt" | b"zTXt" | b"iTXt":
            return Part(kind="text", name=_name(kind), data=payload.tobytes().partition(b"\0")[0])
        case b"tIME":
            return Part(kind="time", name="tIME", data=payload)
        case b"caBX":
            return Part(kind="c2pa", name="caBX", data=payload)
    return Part(kind="application_data", name=_name(kind), data=payload)


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() else "chunk"


def _text(kind: bytes, payload: bytes) -> Part:
    """Say what a text chunk holds: keyword NUL, then by kind; a text as `keyword NUL text`."""
    keyword, _, rest = payload.partition(b"\0")
    if kind == b"zTXt":
        text = _inflate(rest[1:], _MAX_TEXT_BYTES) or b""
    elif kind == b"iTXt":
        # compressed:1 method:1 language NUL translated keyword NUL text
        text = rest[2:].split(b"\0", 2)[-1]
        if rest[:1] == b"\1":
            text = _inflate(text, _MAX_TEXT_BYTES) or b""
    else:
        text = rest
    name = kind.decode("ascii")
    match keyword.lower():
        case b"xml:com.adobe.xmp" | b"raw profile type xmp":
            packet = _raw_profile(text) if keyword.lower().startswith(b"raw") else text
            return Part(kind="xmp", name=name, data=packet)
        case b"raw profile type exif" | b"raw profile type app1":
            block = _raw_profile(text)
            if not block.startswith(PREFIX) and b"<x:xmpmeta" in block:
                return Part(kind="xmp", name=name, data=block)
            return Part(kind="exif", name=name, data=block)
        case b"raw profile type iptc" | b"raw profile type 8bim":
            return Part(kind="photoshop", name=name, data=_raw_profile(text))
        case b"comment" | b"description":
            return Part(kind="comment", name=name, data=text)
    return Part(kind="text", name=name, data=keyword + b"\0" + text)


def _raw_profile(text: bytes) -> bytes:
    """Undo ImageMagick's spelling: NL name NL length NL, then hexadecimal lines."""
    try:
        return bytes.fromhex(text.strip().split(b"\n", 2)[-1].decode("ascii"))
    except ValueError:
        return b""
