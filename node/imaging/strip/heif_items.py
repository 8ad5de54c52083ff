"""The items of a HEIF or AVIF file: what the meta box says of each, and where its bytes are.

Belongs here: reading ISO 23008-12's meta box (iinf, iloc, iref, iprp, pitm, grpl), within bounds.
Never here: which items stay (``heif``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.imaging.strip.boxes import Box, Reader, boxes
from node.imaging.strip.errors import Detail, StripCode, StripError
from node.imaging.strip.parts import count_part

IN_FILE, IN_META = 0, 1
"""Construction methods: bytes of the file, or of the meta box's idat."""


@dataclass(slots=True)
class Item:
    """One item: a picture, a tile, or metadata."""

    number: int
    kind: bytes
    hidden: bool = False
    content_type: bytes = b""
    """Of an item of kind `mime`."""
    method: int = IN_FILE
    extents: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length) of its pieces."""
    properties: list[tuple[int, bool]] = field(default_factory=list)
    """(index from 1, essential) of its properties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One item says what it has to do with others."""

    kind: bytes
    source: int
    targets: tuple[int, ...]


@dataclass(slots=True)
class Items:
    """Everything the meta box says."""

    primary: int = 0
    items: dict[int, Item] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    by_source: dict[tuple[bytes, int], tuple[int, ...]] = field(default_factory=dict)
    properties: list[Box] = field(default_factory=list)
    alternatives: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """Groups `altr`: number, and the items of which a viewer shows the first it can."""
    data: memoryview = field(default_factory=lambda: memoryview(b""))
    """The meta box's idat."""

    def bytes_of(self, item: Item, file: memoryview) -> bytes:
        """Return what an item holds; StripError `broken` where it is not all there."""
        source = self.data if item.method == IN_META else file
        pieces = []
        for offset, length in item.extents:
            end = offset + length if length else len(source)
            if offset > len(source) or end > len(source):
                raise StripError(StripCode.BROKEN)
            pieces.append(source[offset:end])
        return b"".join(pieces)

    def extent_bytes(self, size: int) -> int:
        """Return how many bytes all items of a file of this size hold, if they overlap or not."""
        return sum(length or size for item in self.items.values() for _, length in item.extents)

    def from_item(self, kind: bytes, source: int) -> tuple[int, ...]:
        """Return the items that an item refers to in this way."""
        return self.by_source.get((kind, source), ())


def read_items(meta: memoryview) -> Items:
    """Read a meta box's payload; StripError `broken`, `too_large` or `unsupported`."""
    found = Items()
    reader = Reader(meta)
    reader.full()
    children = list(boxes(reader.rest))
    handlers = {b"pitm": _pitm, b"iref": _iref, b"iprp": _iprp, b"grpl": _grpl}
    # Items first: the other boxes speak of them.
    for kind in (b"iinf", b"iloc"):
        for child in children:
            if child.kind == kind:
                (_iinf if kind == b"iinf" else _iloc)(found, Reader(child.payload))
    for child in children:
        if child.kind == b"idat":
            found.data = child.payload
        elif child.kind in handlers:
            handlers[child.kind](found, Reader(child.payload))
    if found.primary not in found.items:
        raise StripError(StripCode.BROKEN)
    return found


def _pitm(found: Items, reader: Reader) -> None:
    version, _ = reader.full()
    found.primary = reader.number(4 if version else 2)


def _iinf(found: Items, reader: Reader) -> None:
    version, _ = reader.full()
    reader.take(4 if version else 2)
    for child in boxes(reader.rest):
        if child.kind != b"infe":
            continue
        entry = Reader(child.payload)
        version, flags = entry.full()
        if version < 2:
            continue  # it has no kind, so it is no picture
        number = entry.number(4 if version > 2 else 2)
        if entry.number(2):
            raise StripError(StripCode.UNSUPPORTED, Detail.ENCRYPTED)
        item = Item(number, bytes(entry.take(4)), hidden=bool(flags & 1))
        entry.text()
        if item.kind == b"mime":
            item.content_type = entry.text()
        found.items.setdefault(number, item)


def _iloc(found: Items, reader: Reader) -> None:
    version, _ = reader.full()
    sizes = reader.number(2)
    offset_size, length_size, base_size, index_size = (
        sizes >> shift & 15 for shift in (12, 8, 4, 0)
    )
    wide = 4 if version > 1 else 2
    total = 0
    for _ in range(reader.number(wide)):
        number = reader.number(wide)
        method = reader.number(2) & 15 if version else IN_FILE
        reference = reader.number(2)
        base = reader.number(base_size)
        extents = []
        for _ in range(reader.number(2)):
            total += 1
            count_part(total)
            if version:
                reader.number(index_size)
            extents.append((base + reader.number(offset_size), reader.number(length_size)))
        item = found.items.get(number)
        if item is None:
            continue
        if method > IN_META or reference:
            raise StripError(StripCode.UNSUPPORTED, Detail.OUTSIDE)
        item.method, item.extents = method, extents


def _iref(found: Items, reader: Reader) -> None:
    version, _ = reader.full()
    wide = 4 if version else 2
    total = 0
    for child in boxes(reader.rest):
        entry = Reader(child.payload)
        source = entry.number(wide)
        count = entry.number(2)
        total += count
        count_part(total)
        targets = tuple(entry.number(wide) for _ in range(count))
        found.references.append(Reference(kind=child.kind, source=source, targets=targets))
        found.by_source.setdefault((child.kind, source), targets)


def _iprp(found: Items, reader: Reader) -> None:
    for child in boxes(reader.rest):
        if child.kind == b"ipco":
            found.properties = list(boxes(child.payload))
        elif child.kind == b"ipma":
            _ipma(found, Reader(child.payload))


def _ipma(found: Items, reader: Reader) -> None:
    version, flags = reader.full()
    size = 2 if flags & 1 else 1
    total = 0
    for _ in range(reader.number(4)):
        number = reader.number(4 if version else 2)
        count = reader.number(1)
        total += 1 + count
        count_part(total)
        for _ in range(count):
            value = reader.number(size)
            essential = bool(value >> (8 * size - 1))
            index = value & ((1 << (8 * size - 1)) - 1)
            if index and number in found.items:
                found.items[number].properties.append((index, essential))


def _grpl(found: Items, reader: Reader) -> None:
    for child in boxes(reader.rest):
        if child.kind != b"altr":
            continue
        entry = Reader(child.payload)
        entry.full()
        number = entry.number(4)
        count = entry.number(4)
        count_part(count)
        members = tuple(entry.number(4) for _ in range(count))
        found.alternatives.append((number, members))
