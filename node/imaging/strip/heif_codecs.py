"""What an encoder may say beside the pixels, inside of a picture's coded bytes: taken out.

Belongs here: HEVC's NAL units (ISO 23008-2, 14496-15) and AV1's OBUs (AV1 section 5, AV1-ISOBMFF).
Never here: decoding.
"""

from __future__ import annotations

from typing import Final

from node.imaging.strip.boxes import Reader
from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.parts import count_part

_HVCC_HEAD: Final = 22
_MAX_PICTURE_NAL: Final = 31
"""Coded pictures; then VPS, SPS and PPS, then delimiters, fillers, and messages (SEI)."""
_PARAMETERS: Final = frozenset({32, 33, 34})

_MAX_CONFIG_BYTES: Final = 1 << 16
"""Of what a decoder is told before the first picture: some hundred bytes."""

_AV1C_HEAD: Final = 4
_OBU_KEPT: Final = frozenset({1, 3, 4, 6, 7, 8})
"""Sequence and frame headers, tiles; not delimiters, metadata (5), padding (15), or reserved."""


def clean_hevc_config(config: memoryview) -> bytes:
    """Return an hvcC with its parameter sets alone; StripError."""
    if len(config) > _MAX_CONFIG_BYTES:
        raise StripError(StripCode.TOO_LARGE)
    reader = Reader(config)
    pieces = [bytes(reader.take(_HVCC_HEAD))]
    arrays = 0
    for _ in range(reader.number(1)):
        kind = reader.number(1)
        units = [bytes(reader.take(reader.number(2))) for _ in range(reader.number(2))]
        if kind & 0x3F in _PARAMETERS:
            arrays += 1
            pieces.append(bytes((kind,)) + len(units).to_bytes(2))
            pieces += [len(unit).to_bytes(2) + unit for unit in units]
    pieces.insert(1, bytes((arrays,)))
    return b"".join(pieces)


def clean_hevc(data: bytes, config: memoryview) -> bytes:
    """Return coded pictures and parameter sets of an item; StripError `broken`."""
    size = (config[21] & 3) + 1
    reader = Reader(memoryview(data))
    pieces: list[bytes | memoryview] = []
    units = 0
    while len(reader.rest) >= size:
        units += 1
        count_part(units)
        length = reader.number(size)
        unit = reader.take(length)
        kind = unit[0] >> 1 & 0x3F if length else 0xFF
        if kind <= _MAX_PICTURE_NAL or kind in _PARAMETERS:
            pieces += (length.to_bytes(size), unit)
    return b"".join(pieces)


def clean_av1_config(config: memoryview) -> bytes:
    """Return an av1C with its sequence header alone; StripError."""
    return bytes(config[:_AV1C_HEAD]) + clean_av1(bytes(config[_AV1C_HEAD:]))


def clean_av1(data: bytes) -> bytes:
    """Return the OBUs of an item that decoding needs; StripError `broken`."""
    view = memoryview(data)
    pieces = []
    at = 0
    units = 0
    while at < len(view):
        units += 1
        count_part(units)
        head = view[at]
        body = at + 1 + (head >> 2 & 1)
        if head & 0x02:
            size, body = _leb128(view, body)
            end = body + size
        else:
            end = len(view)
        if end > len(view):
            raise StripError(StripCode.BROKEN)
        if head >> 3 & 15 in _OBU_KEPT:
            pieces.append(view[at:end])
        at = end
    return b"".join(pieces)


def _leb128(view: memoryview, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = 0
    for number in range(8):
        if at + number >= len(view):
            break
        byte = view[at + number]
        value |= (byte & 0x7F) << (7 * number)
        if not byte & 0x80:
            return value, at + number + 1
    raise StripError(StripCode.BROKEN)
