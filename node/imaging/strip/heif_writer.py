"""Writing a HEIF or AVIF file from the items that stay: its boxes, their properties, their bytes.

Belongs here: which properties stay, and the meta box of the new file.
Never here: which items stay (``heif``), or what coded bytes carry (``heif_codecs``).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.imaging.strip import heif_codecs
from node.imaging.strip.boxes import Box, Reader, box, full_box
from node.imaging.strip.errors import Detail, StripCode, StripError
from node.imaging.strip.heif_items import IN_FILE, IN_META, Item, Items, Reference
from node.imaging.strip.icc import whole_profile_untrusted
from node.imaging.strip.parts import Part
from node.imaging.strip.policy import StripPolicy

XMP_TYPE: Final = b"application/rdf+xml"
_BRANDS: Final = frozenset(
    b"mif1 mif2 heic heix heim heis miaf avif tmap 1pic MiHB MiHE MiHA MiPr MA1A MA1B".split()
)
_MAX_SMALL_BYTES: Final = 4_096
"""Of an item that says how others are put together."""

_EXACT: Final = {
    b"ispe": 12, b"irot": 1, b"imir": 1, b"clap": 32, b"pasp": 8, b"clli": 4, b"mdcv": 24,
    b"a1op": 1, b"lsel": 2, b"amve": 8,
}  # fmt: skip
"""Properties that stay, and how long each is."""
_NCLX_BYTES: Final = 11


@dataclass(slots=True)
class _Written:
    """One item of the new file."""

    number: int
    kind: bytes
    hidden: bool
    method: int
    data: bytes
    properties: list[tuple[int, bool]] = field(default_factory=list)
    content_type: bytes = b""


class Writer:
    """Collects items and writes the file of them."""

    def __init__(self, items: Items, kept: Iterable[int], policy: StripPolicy) -> None:
        self._items = items
        self._kept = frozenset(kept)
        self._policy = policy
        self._written: list[_Written] = []
        self._properties: list[bytes] = []
        self._new_index: dict[int, int] = {}
        self._references = [
            reference
            for reference in items.references
            if reference.source in self._kept
            and self._kept.issuperset(reference.targets)
            and reference.kind in (b"dimg", b"auxl", b"thmb", b"prem")
        ]
        self.profiles: list[Part] = []

    def add(self, item: Item, view: memoryview) -> None:
        """Add an item with its bytes and properties; StripError."""
        properties = []
        config = None
        for index, essential in item.properties:
            if index > len(self._items.properties):
                raise StripError(StripCode.BROKEN)
            source = self._items.properties[index - 1]
            if source.kind in (b"hvcC", b"av1C"):
                config = source
            if number := self._property(index, source):
                properties.append((number, essential))
            elif essential:
                raise StripError(StripCode.UNSUPPORTED, Detail.ESSENTIAL)
        data = self._clean(item, self._items.bytes_of(item, view), config)
        if not data and item.kind != b"iden":
            raise StripError(StripCode.BROKEN)
        self._written.append(
            _Written(item.number, item.kind, item.hidden, item.method, data, properties)
        )

    def add_metadata(self, kind: bytes, data: bytes, content_type: bytes = b"") -> None:
        """Add an item of our own that describes the primary picture."""
        number = max(one.number for one in self._written) + 1
        self._written.append(_Written(number, kind, True, IN_FILE, data, content_type=content_type))
        self._references.append(
            Reference(kind=b"cdsc", source=number, targets=(self._items.primary,))
        )

    def file(self, brands: Sequence[bytes]) -> list[bytes]:
        """Return the file: its size is known once the meta box is, so that is made twice."""
        compatible = [brand for brand in dict.fromkeys(brands[1:]) if brand in _BRANDS]
        major = brands[0] if brands[0] in _BRANDS else b"mif1"
        ftyp = box(b"ftyp", major, bytes(4), *(compatible or [b"mif1"]))
        in_meta = b"".join(one.data for one in self._written if one.method == IN_META)
        in_file = [one.data for one in self._written if one.method == IN_FILE]
        size = len(self._meta(in_meta, 0))
        meta = self._meta(in_meta, len(ftyp) + size + 8)
        return [ftyp, meta, struct.pack(">I4s", 8 + sum(map(len, in_file)), b"mdat"), *in_file]

    def _clean(self, item: Item, data: bytes, config: Box | None) -> bytes:
        """Return an item's bytes without what decoding does not need."""
        if item.kind in (b"hvc1", b"av01"):
            if config is None or len(config.payload) < 4:
                raise StripError(StripCode.BROKEN)
            if item.kind == b"av01":
                return heif_codecs.clean_av1(data)
            return heif_codecs.clean_hevc(data, config.payload)
        if item.kind == b"grid":
            return data[: 12 if data[1:2] and data[1] & 1 else 8]
        if len(data) > _MAX_SMALL_BYTES:
            raise StripError(StripCode.UNSUPPORTED)
        return data

    def _property(self, index: int, source: Box) -> int:
        """Return the new index of a property that stays; 0 for one that does not."""
        if index not in self._new_index:
            payload = self._property_payload(source)
            if payload is None:
                self._new_index[index] = 0
            else:
                self._properties.append(box(source.kind, payload))
                self._new_index[index] = len(self._properties)
        return self._new_index[index]

    def _property_payload(self, source: Box) -> bytes | None:
        """Return what a property may say; None for one that is not on the list."""
        kind, payload, _ = source
        if kind in _EXACT:
            exact = _EXACT[kind]
            return bytes(payload[:exact]) if len(payload) >= exact else None
        if kind == b"colr":
            return self._colours(payload)
        others: dict[bytes, Callable[[memoryview], bytes]] = {
            b"hvcC": heif_codecs.clean_hevc_config,
            b"av1C": heif_codecs.clean_av1_config,
            b"pixi": lambda said: bytes(said[: 5 + said[4]]),
            b"a1lx": lambda said: bytes(said[: 13 if said[0] & 1 else 7]),
            b"auxC": self._auxiliary,
        }
        return others[kind](payload) if kind in others else None

    def _colours(self, payload: memoryview) -> bytes | None:
        form = bytes(payload[:4])
        if form == b"nclx" and len(payload) >= _NCLX_BYTES:
            return bytes(payload[:_NCLX_BYTES])
        if form not in (b"prof", b"rICC"):
            return None
        profile = whole_profile_untrusted(payload[4:])
        self.profiles.append(
            Part(kind="icc", name="colr", data=payload[4:], kept=profile is not None)
        )
        return form + profile if profile is not None else None

    def _auxiliary(self, payload: memoryview) -> bytes:
        """Return what an auxiliary picture is for; of depth also how it is measured."""
        if self._policy.depth_maps:
            return bytes(payload)
        reader = Reader(payload)
        return bytes(reader.take(4)) + reader.text() + b"\0"

    def _meta(self, in_meta: bytes, mdat_at: int) -> bytes:
        """Return the meta box of a file whose mdat's payload begins at mdat_at."""
        items = sorted(self._written, key=lambda item: item.number)
        wide = any(item.number > 0xFFFF for item in items)
        number = struct.Struct(">I" if wide else ">H").pack
        children = [
            full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", wide, 0, number(self._items.primary)),
            self._locations(items, mdat_at, wide=wide),
            full_box(
                b"iinf",
                wide,
                0,
                number(len(items)),
                *(
                    full_box(
                        b"infe", 3 if wide else 2, item.hidden, number(item.number), bytes(2),
                        item.kind, b"\0", item.content_type and item.content_type + b"\0",
                    )
                    for item in items
                ),
            ),
        ]  # fmt: skip
        if self._references:
            children.append(
                full_box(
                    b"iref",
                    wide,
                    0,
                    *(
                        box(
                            one.kind,
                            number(one.source),
                            len(one.targets).to_bytes(2),
                            *map(number, one.targets),
                        )
                        for one in self._references
                    ),
                )
            )
        children.append(
            box(b"iprp", box(b"ipco", *self._properties), self._associations(items, wide=wide))
        )
        if in_meta:
            children.append(box(b"idat", in_meta))
        if groups := self._groups():
            children.append(box(b"grpl", *groups))
        return full_box(b"meta", 0, 0, *children)

    def _locations(self, items: Sequence[_Written], mdat_at: int, *, wide: bool) -> bytes:
        places = {IN_FILE: mdat_at, IN_META: 0}
        entries = {}
        for item in self._written:
            entry = struct.pack(
                ">IHHH" if wide else ">HHHH", item.number, item.method, 0, bool(item.data)
            )
            # A length of 0 would mean the rest of the file; what has no bytes has no place.
            if item.data:
                entry += struct.pack(">II", places[item.method], len(item.data))
            entries[item.number] = entry
            places[item.method] += len(item.data)
        return full_box(
            b"iloc",
            2 if wide else 1,
            0,
            b"\x44\0",
            struct.pack(">I" if wide else ">H", len(items)),
            *(entries[item.number] for item in items),
        )

    def _associations(self, items: Sequence[_Written], *, wide: bool) -> bytes:
        long = len(self._properties) > 127
        entries = []
        with_properties = [item for item in items if item.properties]
        for item in with_properties:
            entries.append(struct.pack(">I" if wide else ">H", item.number))
            entries.append(bytes((len(item.properties),)))
            for index, essential in item.properties:
                entries.append(
                    (index | essential << (15 if long else 7)).to_bytes(2 if long else 1)
                )
        count = len(with_properties).to_bytes(4)
        return full_box(b"ipma", wide, int(long), count, *entries)

    def _groups(self) -> list[bytes]:
        """Return the groups of alternatives that are still some."""
        found = []
        for number, members in self._items.alternatives:
            left = [member for member in members if member in self._kept]
            if len(left) > 1:
                found.append(
                    full_box(
                        b"altr", 0, 0, struct.pack(f">{2 + len(left)}I", number, len(left), *left)
                    )
                )
        return found
