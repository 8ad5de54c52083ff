"""Gain maps of JPEG files: the second picture from which a bright screen takes highlights.

Belongs here: recognising one, and writing the few numbers and the index by which viewers find it.
Never here: pictures that are no gain maps.

Three kinds are in use: Ultra HDR and Adobe (XMP names `hdrgm:`), ISO 21496-1 (an APP2 segment),
and Apple's (XMP names `HDRGainMap:`). Their numbers are read and written anew; nothing else of
the XMP packets is copied.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from node.imaging.strip.ifd import LONG, UNDEFINED, Value, write_directory
from node.imaging.strip.jpeg_segments import APP0, START, segment
from node.imaging.strip.parts import Buffer

_ISO: Final = b"urn:iso:std:iso:ts:21496:-1\0"
_ISO_SIZES: Final = frozenset({4, 37, 61, 77, 141})
"""Of the version alone, and of the metadata for one channel or three, as ISO 21496-1 C.2 codes
them: with common denominators and without."""

_NAMES: Final = (
    *("Version", "BaseRenditionIsHDR", "GainMapMin", "GainMapMax", "Gamma", "OffsetSDR"),
    *("OffsetHDR", "HDRCapacityMin", "HDRCapacityMax"),
)
_PLAIN: Final = rb"-?[0-9]{1,10}(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,3})?|True|False"
_ATTRIBUTE: Final = re.compile(rb"\bhdrgm:([A-Za-z]{1,32})\s*=\s*[\"'](" + _PLAIN + rb")[\"']")
_ELEMENT: Final = re.compile(
    rb"<hdrgm:([A-Za-z]{1,32})>\s*(?:<rdf:Seq>\s*)?"
    rb"((?:<rdf:li>(?:" + _PLAIN + rb")</rdf:li>\s*){1,3}|" + _PLAIN + rb")"
)
_NUMBER: Final = re.compile(_PLAIN)
_APPLE: Final = re.compile(rb"HDRGainMapVersion(?:\s*=\s*[\"']|>)([0-9]{1,10})\b")
_MAX_PACKET_BYTES: Final = 1 << 16

_OPEN: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
)
_CLOSE: Final = "</rdf:Description></rdf:RDF></x:xmpmeta>"
_HDRGM: Final = ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
_CONTAINER: Final = (
    ' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    ' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
)
_APPLE_AUXILIARY: Final = (
    ' xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/"'
    ' xmlns:apdi="http://ns.apple.com/pixeldatainfo/1.0/"'
    ' apdi:AuxiliaryImageType="urn:com:apple:photo:2020:aux:hdrgainmap"'
)
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"

# CIPA DC-007: the index of the pictures in one file.
_MPF: Final = b"MPF\0"
_MPF_VERSION, _MPF_COUNT, _MPF_ENTRIES = 0xB000, 0xB001, 0xB002
_MPF_PRIMARY: Final = 0x00030000


def is_iso(payload: Buffer) -> bool:
    """Say whether an APP2 payload is ISO 21496-1 metadata of a form that is known whole."""
    return bytes(payload[: len(_ISO)]) == _ISO and len(payload) - len(_ISO) in _ISO_SIZES


@dataclass(frozen=True, slots=True, kw_only=True)
class GainMap:
    """A gain map that stays: its numbers, and its picture once it is cleaned."""

    numbers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """By the names of `hdrgm:`."""
    apple_version: str = ""
    iso: Buffer = field(default=b"", repr=False)
    primary_iso: Buffer = field(default=b"", repr=False)
    pieces: Sequence[Buffer] = field(default=(), repr=False)

    def with_picture(self, head: Sequence[Buffer], rest: Sequence[Buffer]) -> GainMap:
        """Take the cleaned picture, in segments before and from its tables."""
        front: list[Buffer] = [START, *head]
        if packet := self._packet():
            front.append(segment(APP0 + 1, _XMP + packet.encode("ascii")))
        if self.iso:
            front.append(segment(APP0 + 2, self.iso))
        return replace(self, pieces=(*front, *rest))

    def attach(self, head: Sequence[Buffer], rest: Sequence[Buffer]) -> list[Buffer]:
        """Return the file of a picture, in segments before and from its tables, with this."""
        size = sum(map(len, self.pieces))
        front: list[Buffer] = [START, *head]
        if self.numbers:
            front.append(segment(APP0 + 1, _XMP + self._directory(size).encode("ascii")))
        if self.primary_iso:
            front.append(segment(APP0 + 2, self.primary_iso))
        index_at = sum(map(len, front)) + 4 + len(_MPF)
        index_size = len(_index(0, 0, 0))
        primary_size = index_at + index_size + sum(map(len, rest))
        index = _index(primary_size, size, primary_size - index_at)
        return [*front, segment(APP0 + 2, _MPF + index), *rest, *self.pieces]

    def _packet(self) -> str:
        """Return the XMP packet of the gain map itself."""
        if self.apple_version:
            version = f' HDRGainMap:HDRGainMapVersion="{self.apple_version}">'
            return f"{_OPEN}{_APPLE_AUXILIARY}{version}{_CLOSE}"
        if not self.numbers:
            return ""
        attributes = "".join(
            f' hdrgm:{name}="{values[0]}"' for name, values in self.numbers if len(values) == 1
        )
        elements = "".join(
            f"<hdrgm:{name}><rdf:Seq>"
            + "".join(f"<rdf:li>{value}</rdf:li>" for value in values)
            + f"</rdf:Seq></hdrgm:{name}>"
            for name, values in self.numbers
            if len(values) > 1
        )
        return f"{_OPEN}{_HDRGM}{attributes}>{elements}{_CLOSE}"

    def _directory(self, size: int) -> str:
        """Return the XMP packet of the picture, which says how long its gain map is."""
        version = dict(self.numbers).get("Version", ("1.0",))[0]
        items = "".join(
            f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{semantic}"'
            f' Item:Mime="image/jpeg"{length}/></rdf:li>'
            for semantic, length in (("Primary", ""), ("GainMap", f' Item:Length="{size}"'))
        )
        return (
            f'{_OPEN}{_CONTAINER}{_HDRGM} hdrgm:Version="{version}">'
            f"<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory>{_CLOSE}"
        )


def recognise(xmp: Buffer, iso: Buffer, primary_iso: Buffer) -> GainMap | None:
    """Return the gain map that a hidden picture is by its metadata; None where it is none."""
    packet = bytes(xmp[:_MAX_PACKET_BYTES])
    found: dict[str, tuple[str, ...]] = {}
    for pattern in (_ATTRIBUTE, _ELEMENT):
        for name, values in pattern.findall(packet):
            numbers = tuple(value.decode("ascii") for value in _NUMBER.findall(values))
            found.setdefault(name.decode("ascii"), numbers)
    numbers = tuple((name, found[name]) for name in _NAMES if name in found)
    apple = _APPLE.search(packet)
    if not numbers and apple is None and not iso:
        return None
    return GainMap(
        numbers=numbers,
        apple_version=apple[1].decode("ascii") if apple and not numbers else "",
        iso=bytes(iso),
        primary_iso=bytes(primary_iso),
    )


def _index(primary_size: int, size: int, offset: int) -> bytes:
    """Return the index of two pictures; offset counts from the index's own beginning."""
    entries = struct.pack(">IIIHH", _MPF_PRIMARY, primary_size, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, size, offset, 0, 0)
    values: dict[int, Value] = {
        _MPF_VERSION: (UNDEFINED, 4, b"0100"),
        _MPF_COUNT: (LONG, 1, struct.pack(">I", 2)),
        _MPF_ENTRIES: (UNDEFINED, len(entries), entries),
    }
    return b"MM\0*\0\0\0\x08" + write_directory(values, 8, 0, order=">")
