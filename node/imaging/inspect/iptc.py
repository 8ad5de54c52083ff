"""IPTC records and Photoshop's resources, in which they stand.

Belongs here: reading IIM version 4 data sets and `8BIM` blocks, within bounds.
Never here: which of them matter (``words``).

    8BIM id:2 name (length:1, padded to even) size:4 data (padded to even)
    1C record:1 data set:1 length:2 data
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from node.imaging.strip.parts import Buffer

IIM_RESOURCE: Final = 0x0404
THUMBNAIL_RESOURCES: Final = frozenset({0x0409, 0x040C})
_MAX_BLOCKS: Final = 4_096


def resources_untrusted(data: Buffer) -> Iterator[tuple[int, memoryview]]:
    """Yield Photoshop's resources, (id, data), up to the first that makes no sense."""
    view = memoryview(data)
    at = 0
    for _ in range(_MAX_BLOCKS):
        if bytes(view[at : at + 4]) not in (b"8BIM", b"MeSa", b"PHUT", b"AgHg") or at + 7 > len(
            view
        ):
            return
        (number,) = struct.unpack_from(">H", view, at + 4)
        at += 6 + (view[at + 6] + 2) // 2 * 2
        if at + 4 > len(view):
            return
        (size,) = struct.unpack_from(">I", view, at)
        yield number, view[at + 4 : at + 4 + size]
        at += 4 + size + size % 2


def records_untrusted(data: Buffer) -> Iterator[tuple[int, int, memoryview]]:
    """Yield IIM data sets, (record, data set, data), up to the first that makes no sense."""
    view = memoryview(data)
    at = 0
    for _ in range(_MAX_BLOCKS):
        if at + 5 > len(view) or view[at] != 0x1C:
            return
        record, number, size = struct.unpack_from(">BBH", view, at + 1)
        if size & 0x8000:
            return  # an extended data set: larger than any text
        yield record, number, view[at + 5 : at + 5 + size]
        at += 5 + size
