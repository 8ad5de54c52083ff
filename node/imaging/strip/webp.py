"""WebP: the walk over the chunks, and the clean copy made of those on a list.

Belongs here: RFC 9649.
Never here: pixels, or what Exif and XMP say.

    RIFF size:4 WEBP, then chunks `type:4 size:4 payload`, padded to even
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.exif import exif_block, kept_untrusted
from node.imaging.strip.icc import whole_profile_untrusted
from node.imaging.strip.parts import MAX_PARTS, Buffer, Cleaned, Part
from node.imaging.strip.policy import StripPolicy

_HEAD_BYTES: Final = 12
_EXTENDED_BYTES: Final = 10
_ANIMATION_BYTES: Final = 6
_FRAME_HEAD_BYTES: Final = 16
_MAX_FRAME_CHUNKS: Final = 64
_PICTURES: Final = frozenset({b"VP8 ", b"VP8L"})
_PROFILE, _ALPHA, _EXIF, _ANIMATED = 0x20, 0x10, 0x08, 0x02
"""Flags of the first byte of VP8X."""
_KINDS: Final = {b"EXIF": "exif", b"XMP ": "xmp", b"C2PA": "c2pa"}


class _Chunk(NamedTuple):
    kind: bytes
    payload: memoryview


def clean_untrusted(data: bytes, policy: StripPolicy) -> Cleaned:
    """Return a clean copy of a WebP file; StripError."""
    view = memoryview(data)
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    parts: list[Part] = []
    extended: memoryview | None = None
    profile: bytes | None = None
    body: list[Buffer] = []
    has_picture = False
    for kind, payload in _chunks(view[_HEAD_BYTES:end]):
        if kind == b"VP8X" and extended is None and len(payload) >= _EXTENDED_BYTES:
            extended = payload[:_EXTENDED_BYTES]
        elif kind == b"ICCP":
            profile = whole_profile_untrusted(payload)
            parts.append(Part(kind="icc", name="ICCP", data=payload, kept=profile is not None))
        elif kind == b"ANIM" and len(payload) >= _ANIMATION_BYTES:
            body += _chunk(kind, payload[:_ANIMATION_BYTES])
        elif kind == b"ANMF" and len(payload) > _FRAME_HEAD_BYTES:
            body += _chunk(kind, _frame(payload))
            has_picture = True
        elif kind == b"ALPH" or (kind in _PICTURES and not has_picture):
            body += _chunk(kind, payload)
            has_picture |= kind in _PICTURES
        else:
            kind_of_part = _KINDS.get(kind, "application_data")
            parts.append(Part(kind=kind_of_part, name=_name(kind), data=payload))
    if not has_picture:
        raise StripError(StripCode.BROKEN)
    if bytes(view[end:]).strip(b"\0"):
        parts.append(Part(kind="trailer", name="after RIFF", data=view[end:]))
    # Decoders look for metadata only in the extended form.
    said = kept_untrusted(parts if extended is not None else (), policy)
    if extended is not None:
        head, tail = _around(extended, profile, exif_block(said))
        body = [*head, *body, *tail]
    size = 4 + sum(map(len, body))
    pieces = [b"RIFF", struct.pack("<I", size), b"WEBP", *body]
    return Cleaned(pieces=pieces, parts=parts, kept=said)


def _around(
    extended: memoryview, profile: bytes | None, block: bytes
) -> tuple[list[Buffer], list[Buffer]]:
    """Return the chunks before and behind the pixels, the first with flags that are true."""
    flags = extended[0] & (_ALPHA | _ANIMATED)
    flags |= (_PROFILE if profile is not None else 0) | (_EXIF if block else 0)
    head: list[Buffer] = [*_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + bytes(extended[4:]))]
    if profile is not None:
        head += _chunk(b"ICCP", profile)
    return head, [*_chunk(b"EXIF", block)] if block else []


def _chunks(data: memoryview, most: int = MAX_PARTS) -> Iterator[_Chunk]:
    """Yield the chunks; the last one may be cut short, which its decoder then says."""
    at = 0
    count = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield _Chunk(kind, data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
        count += 1
        if count > most:
            raise StripError(StripCode.TOO_LARGE)


def _chunk(kind: bytes, payload: Buffer) -> tuple[Buffer, ...]:
    return struct.pack("<4sI", kind, len(payload)), payload, b"\0" * (len(payload) % 2)


def _frame(payload: memoryview) -> bytes:
    """Return an animation's frame with its picture alone."""
    pieces: list[Buffer] = [payload[:_FRAME_HEAD_BYTES]]
    for kind, inner in _chunks(payload[_FRAME_HEAD_BYTES:], _MAX_FRAME_CHUNKS):
        if kind == b"ALPH" or kind in _PICTURES:
            pieces += _chunk(kind, inner)
    return b"".join(pieces)


def _name(kind: bytes) -> str:
    return kind.decode("ascii").strip() if kind.strip().isalnum() else "chunk"
