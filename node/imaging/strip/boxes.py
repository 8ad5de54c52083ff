"""Boxes, as HEIF and AVIF files are made of them: reading within bounds, and writing.

Belongs here: ISO 14496-12 section 4.2, and numbers of a width that a file chooses.
Never here: what a box means.

    size:4 type:4 [size:8 where size is 1] payload          a size of 0 reaches to the end
    a full box's payload begins with version:1 flags:3
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.parts import Buffer, count_part

_HEAD: Final = struct.Struct(">I4s")


class Box(NamedTuple):
    """One box."""

    kind: bytes
    payload: memoryview
    start: int
    """Where the payload begins, in what the box was read from."""


def boxes(data: memoryview) -> Iterator[Box]:
    """Yield the boxes that fill data; StripError `broken` where they do not."""
    at = 0
    count = 0
    while at + 8 <= len(data):
        size, kind = _HEAD.unpack_from(data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            head = 16
            size = int.from_bytes(data[at + 8 : at + 16])
        elif size == 0:
            size = len(data) - at
        if size < head or at + size > len(data):
            raise StripError(StripCode.BROKEN)
        yield Box(kind, data[at + head : at + size], at + head)
        at += size
        count += 1
        count_part(count)


def box(kind: bytes, *payload: Buffer) -> bytes:
    """Return a box of less than 4 GB."""
    whole = b"".join(payload)
    return _HEAD.pack(8 + len(whole), kind) + whole


def full_box(kind: bytes, version: int, flags: int, *payload: Buffer) -> bytes:
    """Return a box with a version and flags."""
    return box(kind, bytes((version,)) + flags.to_bytes(3), *payload)


class Reader:
    """Takes numbers from the beginning of a payload; StripError `broken` at its end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        """Return the next size bytes as a number."""
        return int.from_bytes(self.take(size))

    def take(self, size: int) -> memoryview:
        """Return the next size bytes."""
        end = self._at + size
        if end > len(self._data):
            raise StripError(StripCode.BROKEN)
        taken, self._at = self._data[self._at : end], end
        return taken

    def text(self) -> bytes:
        """Return what stands before the next NUL, or before the end."""
        rest = bytes(self._data[self._at :])
        text, _, _ = rest.partition(b"\0")
        self._at += len(text) + 1
        return text

    def full(self) -> tuple[int, int]:
        """Return the version and flags of a full box."""
        return self.number(1), self.number(3)

    @property
    def rest(self) -> memoryview:
        """What was not taken yet."""
        return self._data[self._at :]
