"""Directories of tags, as TIFF files and Exif blocks have them: reading, and writing small ones.

Belongs here: TIFF 6.0 section 2 and BigTIFF, bounded for hostile input.
Never here: what a tag means.

    II or MM, 42:2, directory offset:4           BigTIFF: 43:2, 8:2, 0:2, offset:8
    count:2, entries, next directory:4           count:8, entries, next:8
    entry = tag:2 type:2 count:4 value:4         tag:2 type:2 count:8 value:8

A value that does not fit its field stands at the offset that the field holds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from node.imaging.strip.errors import StripCode, StripError

TYPE_SIZES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip
"""Bytes of one value of each type."""
SHORT, LONG, RATIONAL, SRATIONAL, IFD, LONG8, IFD8 = 3, 4, 5, 10, 13, 16, 18
ASCII, BYTE, UNDEFINED = 2, 1, 7
_LETTERS: Final = {
    1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q",
    18: "Q",
}  # fmt: skip

MAX_DIRECTORIES: Final = 2_000
"""Of one file: pages of the longest scanned book."""
MAX_ENTRIES: Final = 1_000
"""Of one directory; the longest have some two hundred. What follows is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tag and its value."""

    tag: int
    type: int
    count: int
    raw: memoryview = field(repr=False)
    """The value's bytes; empty where it lies outside the file."""
    order: str
    """`<` or `>`."""

    def numbers(self, limit: int = 64) -> tuple[int | float, ...]:
        """Return at most limit numbers of the value; rationals as fractions of them."""
        if self.type in (RATIONAL, SRATIONAL):
            letter = "I" if self.type == RATIONAL else "i"
            count = min(len(self.raw) // 8, limit)
            pairs = struct.unpack_from(f"{self.order}{2 * count}{letter}", self.raw)
            return tuple(
                above / below if below else 0.0
                for above, below in zip(pairs[::2], pairs[1::2], strict=True)
            )
        letter = _LETTERS.get(self.type, "")
        if not letter:
            return ()
        count = min(len(self.raw) // TYPE_SIZES[self.type], limit)
        return struct.unpack_from(f"{self.order}{count}{letter}", self.raw)

    def number(self, default: int = 0) -> int:
        """Return the first number of the value, whole; default where there is none."""
        first = self.numbers(1)
        return (
            int(first[0]) if first and first[0] == first[0] and abs(first[0]) < 2**64 else default
        )


Directory = dict[int, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiff:
    """A block of directories."""

    data: memoryview = field(repr=False)
    order: str
    big: bool
    first: int
    """Where the first directory is."""

    def directory(self, offset: int) -> tuple[Directory, int]:
        """Return the entries of the directory at offset by tag, and where the next one is.

        Of a tag that stands there twice the first counts. Nothing, and 0, outside the block.
        """
        count_format, entry_format = ("Q", "HHQ8s") if self.big else ("H", "HHI4s")
        start = offset + struct.calcsize(self.order + count_format)
        if offset <= 0 or start > len(self.data):
            return {}, 0
        (count,) = struct.unpack_from(self.order + count_format, self.data, offset)
        entry = struct.Struct(self.order + entry_format)
        found: Directory = {}
        whole = min(count, MAX_ENTRIES, (len(self.data) - start) // entry.size)
        for tag, kind, values, field_ in entry.iter_unpack(
            self.data[start : start + whole * entry.size]
        ):
            if tag not in found and kind in TYPE_SIZES:
                raw = self._value(field_, values * TYPE_SIZES[kind])
                found[tag] = Entry(tag=tag, type=kind, count=values, raw=raw, order=self.order)
        next_format = self.order + ("Q" if self.big else "I")
        end = start + count * entry.size
        if end + struct.calcsize(next_format) > len(self.data):
            return found, 0
        return found, struct.unpack_from(next_format, self.data, end)[0]

    def _value(self, field_: bytes, size: int) -> memoryview:
        if size <= len(field_):
            return memoryview(field_)[:size]
        (offset,) = struct.unpack(self.order + ("Q" if self.big else "I"), field_)
        if offset + size > len(self.data):
            return memoryview(b"")
        return self.data[offset : offset + size]

    def chain(self) -> Iterator[Directory]:
        """Yield the directories one after another, each once; StripError beyond a bound."""
        seen = {0}
        offset = self.first
        while offset not in seen:
            if len(seen) > MAX_DIRECTORIES:
                raise StripError(StripCode.TOO_LARGE)
            seen.add(offset)
            directory, offset = self.directory(offset)
            if directory:
                yield directory

    def below(self, directory: Directory, tag: int) -> Directory:
        """Return the directory that a tag of another one points to; empty where there is none."""
        pointer = directory.get(tag)
        return self.directory(pointer.number())[0] if pointer else {}


def open_tiff(data: bytes | memoryview) -> Tiff | None:
    """Read the head of a block; None where it is none."""
    view = memoryview(data)
    order = {b"II": "<", b"MM": ">"}.get(bytes(view[:2]))
    if order is None or len(view) < 8:
        return None
    (magic,) = struct.unpack_from(f"{order}H", view, 2)
    if magic == 43 and len(view) >= 16:
        (first,) = struct.unpack_from(f"{order}Q", view, 8)
        return Tiff(data=view, order=order, big=True, first=first)
    (first,) = struct.unpack_from(f"{order}I", view, 4)
    return Tiff(data=view, order=order, big=False, first=first)


Value = tuple[int, int, bytes]
"""Type, count, the value's bytes."""


def write_directory(
    values: Mapping[int, Value], at: int, following: int, *, order: str, big: bool = False
) -> bytes:
    """Return a directory that will stand at an even offset, with its longer values behind it.

    following: offset of the next directory, 0 for none.
    """
    count_format, entry_format, word = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    room = 8 if big else 4
    head = struct.calcsize(order + count_format) + len(values) * struct.calcsize(
        order + entry_format
    )
    outside = at + head + room
    entries, tail = bytearray(), bytearray()
    for tag, (kind, count, raw) in sorted(values.items()):
        if len(raw) <= room:
            stored = raw.ljust(room, b"\0")
        else:
            stored = struct.pack(order + word, outside + len(tail))
            tail += raw + b"\0" * (len(raw) % 2)
        entries += struct.pack(order + entry_format, tag, kind, count, stored)
    return b"".join(
        (
            struct.pack(order + count_format, len(values)),
            bytes(entries),
            struct.pack(order + word, following),
            bytes(tail),
        )
    )
