"""The compressed pixels of PNG files: exactly as many bytes as the picture has, and none behind.

Belongs here: how many bytes of pixels a header announces, and cutting a stream to them.
Never here: pixels.

Decoders stop reading a stream once they have every row, so a stream can carry more: rows beyond
the last one, and bytes behind its own end. Both go.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.parts import Buffer

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7: Final = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""First column, first row, column step, row step of each pass."""
_NUMBERED: Final = (b"fcTL", b"fdAT")
"""Chunks of animations: they count themselves, without a gap."""
_MAX_PIXEL_BYTES: Final = 1 << 30
"""Of one frame: more than a worker that shows it may take."""
_MAX_ALL_BYTES: Final = 2 << 30
"""Of all frames of a file: what inflates in some seconds."""
_MAX_ANEW_BYTES: Final = 256 << 20
"""Of a stream that has to be compressed again, which takes longer."""
_INPUT, _OUTPUT = 1 << 16, 1 << 20

Chunk = tuple[bytes, Buffer]


def exact_streams(header: Buffer, chunks: Iterable[tuple[bytes, memoryview]]) -> Iterator[Chunk]:
    """Yield the chunks, those of pixels cut to what the header and frame controls announce.

    StripError `broken` or `too_large` for sizes that no picture has. A stream that ends early
    passes as it is: whether that is a picture its decoder says.
    """
    number = 0
    for kind, payload in _cut(header, chunks):
        if kind in _NUMBERED:
            yield kind, number.to_bytes(4) + bytes(payload[4:])
            number += 1
        else:
            yield kind, payload


def _cut(header: Buffer, chunks: Iterable[tuple[bytes, memoryview]]) -> Iterator[Chunk]:
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if colour not in _CHANNELS:
        raise StripError(StripCode.BROKEN)
    bits = depth * _CHANNELS[colour]
    expected = _raw_bytes(width, height, bits, interlaced)
    run: list[memoryview] = []
    kind_of_run = b""
    total = 0
    for kind, payload in (*chunks, (b"", memoryview(b""))):
        if kind_of_run and kind != kind_of_run:
            total += expected
            if total > _MAX_ALL_BYTES:
                raise StripError(StripCode.TOO_LARGE)
            yield from _exact(kind_of_run, run, expected)
            run, kind_of_run = [], b""
        if kind in (b"IDAT", b"fdAT"):
            run.append(payload)
            kind_of_run = kind
            continue
        if kind == b"fcTL":
            frame_width, frame_height = struct.unpack_from(">II", payload, 4)
            expected = _raw_bytes(frame_width, frame_height, bits, interlaced)
        if kind:
            yield kind, payload


def _raw_bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Return the bytes of the filtered rows of a picture, uncompressed."""
    if interlaced:
        sizes = [
            ((width - left + across - 1) // across, (height - top + down - 1) // down)
            for left, top, across, down in _ADAM7
        ]
    else:
        sizes = [(width, height)]
    total = sum((1 + (bits * wide + 7) // 8) * high for wide, high in sizes if wide > 0 < high)
    if not total:
        raise StripError(StripCode.BROKEN)
    if total > _MAX_PIXEL_BYTES:
        raise StripError(StripCode.TOO_LARGE)
    return total


def _exact(kind: bytes, run: list[memoryview], expected: int) -> Iterator[Chunk]:
    """Yield the chunks of one stream without what no decoder reads."""
    skip = 4 if kind == b"fdAT" else 0
    stream = zlib.decompressobj()
    made = 0
    for number, payload in enumerate(run):
        for at in range(skip, len(payload), _INPUT):
            made += _inflated(stream, payload[at : at + _INPUT], expected + 1 - made)
            if made > expected:
                yield from _compressed_anew(kind, run, expected)
                return
            if stream.eof:
                read = min(at + _INPUT, len(payload)) - len(stream.unused_data)
                yield from ((kind, one) for one in run[:number])
                yield kind, payload[:read]
                return
    yield from ((kind, one) for one in run)


def _inflated(stream: zlib._Decompress, data: Buffer, limit: int) -> int:
    """Return how many bytes some input makes, counting no further than limit."""
    try:
        made = len(stream.decompress(data, min(limit, _OUTPUT)))
        while stream.unconsumed_tail and made < limit:
            made += len(stream.decompress(stream.unconsumed_tail, min(limit - made, _OUTPUT)))
    except zlib.error:
        raise StripError(StripCode.BROKEN) from None
    return made


def _compressed_anew(kind: bytes, run: list[memoryview], expected: int) -> Iterator[Chunk]:
    """Yield one stream of the first expected bytes of a longer one."""
    if expected > _MAX_ANEW_BYTES:
        raise StripError(StripCode.TOO_LARGE)
    skip = 4 if kind == b"fdAT" else 0
    old, new = zlib.decompressobj(), zlib.compressobj(6)
    pieces = [bytes(run[0][:skip])]
    left = expected
    waiting = b"".join(payload[skip:] for payload in run)
    for at in range(0, len(waiting), _INPUT):
        rest = waiting[at : at + _INPUT]
        while rest and left:
            rows = old.decompress(rest, min(left, _OUTPUT))
            pieces.append(new.compress(rows))
            left -= len(rows)
            rest = old.unconsumed_tail
    yield kind, b"".join((*pieces, new.flush()))
