"""JPEG segments: the walk over them, and what of each decoding needs.

Belongs here: ITU T.81 annex B.
Never here: what applications put into segments (``jpeg``).

    FF D8, segments, FF D9, and whatever stands behind
    segment = FF marker [length:2, counts itself] [payload]

A start-of-scan segment is followed by entropy-coded bytes, in which FF is followed by 00 or a
restart marker. Between segments decoders skip whatever is no marker, and so does this walk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from node.imaging.strip.parts import Buffer, count_part

SOI, EOI, SOS, COM, APP0 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0
START: Final = b"\xff\xd8"
END: Final = b"\xff\xd9"
MAX_PAYLOAD_BYTES: Final = 65_533

_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_TEM, _DHT, _DAC, _DQT, _DNL, _DRI, _JPG = 0x01, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xC8
_SOFS: Final = frozenset(range(0xC0, 0xD0)) - {_DHT, _DAC, _JPG}


class Segment(NamedTuple):
    """One segment of a picture."""

    marker: int
    payload: memoryview
    scan: memoryview
    """Entropy-coded bytes behind a start of scan."""
    end: int
    """Where the next segment may begin."""


def segment(marker: int, payload: Buffer) -> bytes:
    """Return a segment; OverflowError for a payload of more than MAX_PAYLOAD_BYTES."""
    return b"".join((bytes((0xFF, marker)), (len(payload) + 2).to_bytes(2), payload))


def segments(data: bytes, at: int) -> Iterator[Segment]:
    """Yield the segments of the picture that starts at, the end-of-image marker among them."""
    view = memoryview(data)
    nothing = view[:0]
    count = 0
    while found := _NEXT_MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        count += 1
        count_part(count)
        if marker == EOI:
            yield Segment(marker, nothing, nothing, at)
            return
        if marker in (SOI, _TEM):
            continue
        length = int.from_bytes(data[at : at + 2])
        payload = view[at + 2 : at + length]
        at = min(at + max(length, 2), len(data))
        scan = nothing
        if marker == SOS:
            following = _NEXT_MARKER.search(data, at)
            end = following.start() if following else len(data)
            scan, at = view[at:end], end
        yield Segment(marker, payload, scan, at)


def exact_payload(marker: int, payload: memoryview) -> Buffer:
    """Return what of a segment's payload decoding needs; nothing where it needs none of it."""
    size = len(payload)
    if marker in _SOFS:
        wanted = 6 + 3 * payload[5] if size > 5 else 0
    elif marker == SOS:
        wanted = 4 + 2 * payload[0] if size else 0
    elif marker == _DHT:
        wanted = _tables_length(payload, lambda at: 17 + sum(payload[at + 1 : at + 17]))
    elif marker == _DQT:
        wanted = _tables_length(payload, lambda at: 1 + (128 if payload[at] >> 4 else 64))
    elif marker in (_DRI, _DNL):
        wanted = 2
    elif marker == _DAC:
        wanted = size - size % 2
    else:
        return b""
    return payload[:wanted] if 0 < wanted <= size else b""


def _tables_length(payload: memoryview, length_at: Callable[[int], int]) -> int:
    """Return the bytes of the whole tables that payload begins with."""
    at = 0
    while at < len(payload) and (end := at + length_at(at)) <= len(payload):
        at = end
    return at
