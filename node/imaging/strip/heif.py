"""HEIF, HEIC and AVIF: a file written anew from the primary picture and what it needs.

Belongs here: which items stay, and what becomes of the boxes around them.
Never here: reading the meta box (``heif_items``) or writing it (``heif_writer``).

    ftyp, meta (which items there are, and where), mdat (their bytes), and whatever else

Orientation is a property of the picture here (irot, imir) and stays as it is. What an Exif block
says of it besides, which some programs follow, is said by a minimal block again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from node.imaging.strip.boxes import Box, boxes
from node.imaging.strip.errors import Detail, StripCode, StripError
from node.imaging.strip.exif import exif_block, kept_untrusted, orientation_packet
from node.imaging.strip.heif_items import IN_FILE, Item, Items, Reference, read_items
from node.imaging.strip.heif_writer import XMP_TYPE, Writer
from node.imaging.strip.parts import Buffer, Cleaned, Kept, Part
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy

_SEQUENCES: Final = frozenset(b"avis hevc hevx msf1 hevm hevs".split())
_C2PA_UUID: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_PICTURES: Final = frozenset(b"hvc1 av01 grid iovl iden tmap".split())
_KINDS_OF_PARTS: Final = {b"Exif": "exif", b"jumb": "c2pa"}
_MAX_OVERLAP: Final = 4
"""How often items may hold the same bytes, on average, before a file is a bomb."""
_MAX_CHAIN: Final = 4
"""Of pictures that go with pictures that go with the primary one: an alpha of a gain map."""


def clean_untrusted(data: bytes, policy: StripPolicy) -> Cleaned:
    """Return a clean copy of a HEIF, HEIC or AVIF file; StripError."""
    return _cleaned(data, policy, _said_again)


def described(clean: bytes, describe: Callable[[Kept], tuple[bytes, bytes]]) -> Sequence[Buffer]:
    """Return a clean copy again, described by an Exif block and an XMP packet of another making.

    describe: makes them of what the copy keeps, which they have to say again; empty for none.
    """
    return _cleaned(clean, DEFAULT_POLICY, describe).pieces


def _said_again(said: Kept) -> tuple[bytes, bytes]:
    """Return the Exif block and the XMP packet that say what is kept and nothing else."""
    if said.by_xmp and said.orientation != 1:
        # Exif and XMP count differently here: what only some programs follow stays where it was.
        return exif_block(replace(said, orientation=1)), orientation_packet(said.orientation)
    return exif_block(said), b""


def _cleaned(
    data: bytes, policy: StripPolicy, describe: Callable[[Kept], tuple[bytes, bytes]]
) -> Cleaned:
    view = memoryview(data)
    top, parts = _top(view)
    if b"ftyp" not in top or b"meta" not in top:
        raise StripError(StripCode.BROKEN)
    brands = _brands(top[b"ftyp"])
    if b"moov" in top and _SEQUENCES.intersection(brands):
        raise StripError(StripCode.UNSUPPORTED, Detail.SEQUENCE)
    items = read_items(top[b"meta"])
    if items.extent_bytes(len(data)) > _MAX_OVERLAP * len(data):
        raise StripError(StripCode.TOO_LARGE)
    kept = _Choice(items, policy).kept
    tiles = {number for one in items.references if one.kind == b"dimg" for number in one.targets}
    for item in items.items.values():
        part = _part(items, item, view, kept=item.number in kept, tile=item.number in tiles)
        if part.kind != "picture":
            parts.append(part)
    if unread := _unreferenced(view, items):
        parts.append(Part(kind="application_data", name="mdat", data=unread))
    said = kept_untrusted(parts, policy)
    writer = Writer(items, kept, policy)
    for number in kept:
        writer.add(items.items[number], view)
    parts += writer.profiles
    block, packet = describe(said)
    if packet:
        writer.add_metadata(b"mime", packet, XMP_TYPE)
    if block:
        writer.add_metadata(b"Exif", bytes(4) + block)
    return Cleaned(pieces=writer.file(brands), parts=parts, kept=said)


def _top(view: memoryview) -> tuple[dict[bytes, memoryview], list[Part]]:
    """Return the first box of each kind, and parts for those that are not needed."""
    found: dict[bytes, memoryview] = {}
    parts: list[Part] = []
    end = 0
    try:
        for kind, payload, start in boxes(view):
            end = start + len(payload)
            found.setdefault(kind, payload)
            if kind in (b"mpvd", b"moov"):
                parts.append(Part(kind="video", name=kind.decode("ascii"), data=payload))
            elif kind == b"uuid":
                of = "c2pa" if bytes(payload[:16]) == _C2PA_UUID else "application_data"
                parts.append(Part(kind=of, name="uuid", data=payload[16:]))
            elif kind not in (b"ftyp", b"meta", b"mdat", b"free", b"skip"):
                name = kind.decode("ascii") if kind.isalnum() else "box"
                parts.append(Part(kind="application_data", name=name, data=payload))
    except StripError:
        # Decoders read no further either.
        parts.append(Part(kind="trailer", name="after the boxes", data=view[end:]))
    return found, parts


def _brands(ftyp: memoryview) -> list[bytes]:
    """Return the major brand, then the compatible ones."""
    codes = [bytes(ftyp[at : at + 4]) for at in range(0, len(ftyp), 4)]
    return [code for number, code in enumerate(codes) if number != 1]


def _unreferenced(view: memoryview, items: Items) -> bytes:
    """Return what stands in mdat boxes and belongs to no item."""
    taken = sorted(
        (offset, offset + length if length else len(view))
        for item in items.items.values()
        if item.method == IN_FILE
        for offset, length in item.extents
    )
    left = []
    number = 0
    for kind, payload, start in _readable_boxes(view):
        if kind != b"mdat":
            continue
        at, end = start, start + len(payload)
        while number < len(taken) and taken[number][0] < end:
            left.append(view[at : max(at, taken[number][0])])
            at = max(at, taken[number][1])
            number += 1
        left.append(view[at : max(at, end)])
    joined = b"".join(left)
    return joined if joined.strip(b"\0") else b""


def _readable_boxes(view: memoryview) -> Iterable[Box]:
    try:
        yield from boxes(view)
    except StripError:
        return


def auxiliary_kind(items: Items, item: Item) -> str:
    """Return what an auxiliary picture is by its auxC; `` where it has none."""
    for index, _ in item.properties:
        if index <= len(items.properties) and items.properties[index - 1].kind == b"auxC":
            name = bytes(items.properties[index - 1].payload[4:]).partition(b"\0")[0].lower()
            if b"alpha" in name or name.endswith(b"auxid:1"):
                return "alpha"
            if b"gainmap" in name:
                return "gain_map"
            if name.endswith(b"auxid:2") or any(
                word in name for word in (b"depth", b"disparity", b"matte")
            ):
                return "depth_map"
            return "second_picture"
    return ""


class _Choice:
    """Which items stay: the primary picture and, as the policy says, what goes with it."""

    def __init__(self, items: Items, policy: StripPolicy) -> None:
        self._items = items
        self.kept: dict[int, None] = {}
        """Numbers of items, in the order in which they are written."""
        self._add(items.primary)
        if policy.gain_maps:
            self._add_tone_mapped()
        # What goes with a picture may itself have something that goes with it.
        for _ in range(_MAX_CHAIN):
            for reference in items.references:
                if self._goes_with(reference, policy):
                    self._add(reference.source)

    def _add(self, number: int) -> None:
        """Keep an item and what it is made of."""
        waiting = [number]
        while waiting:
            number = waiting.pop()
            if number in self.kept:
                continue
            item = self._items.items.get(number)
            if item is None or item.kind not in _PICTURES:
                raise StripError(StripCode.UNSUPPORTED, Detail.KIND)
            self.kept[number] = None
            waiting += reversed(self._items.from_item(b"dimg", number))

    def _add_tone_mapped(self) -> None:
        """Keep the variant that a gain map makes of the primary picture."""
        for item in list(self._items.items.values()):
            inputs = self._items.from_item(b"dimg", item.number)
            if item.kind == b"tmap" and len(inputs) == 2 and inputs[0] == self._items.primary:
                self._add(item.number)

    def _goes_with(self, reference: Reference, policy: StripPolicy) -> bool:
        item = self._items.items.get(reference.source)
        if item is None or item.number in self.kept or item.kind not in _PICTURES:
            return False
        if not any(target in self.kept for target in reference.targets):
            return False
        if reference.kind == b"thmb":
            return policy.previews
        if reference.kind != b"auxl":
            return False
        wanted = {"alpha": True, "gain_map": policy.gain_maps, "depth_map": policy.depth_maps}
        return wanted.get(auxiliary_kind(self._items, item), False)


def _part(items: Items, item: Item, view: memoryview, *, kept: bool, tile: bool) -> Part:
    """Say what an item is; kind `picture` for one that is part of the picture itself."""
    name = item.kind.decode("ascii") if item.kind.isalnum() else "item"
    try:
        held: memoryview = memoryview(items.bytes_of(item, view))
    except StripError:
        held = memoryview(b"")
    if item.kind not in _PICTURES:
        kind = _KINDS_OF_PARTS.get(item.kind, "application_data")
        if item.content_type == XMP_TYPE:
            kind = "xmp"
        # offset of the TIFF head:4, then the block
        skip = 4 + int.from_bytes(held[:4]) if item.kind == b"Exif" else 0
        return Part(kind=kind, name=name, data=held[skip:])
    auxiliary = auxiliary_kind(items, item)
    if auxiliary == "alpha":
        kind = "picture" if kept else "second_picture"
    elif auxiliary:
        kind = auxiliary
    elif items.from_item(b"thmb", item.number):
        kind = "thumbnail"
    elif item.kind == b"tmap" and kept:
        kind = "gain_map"
    else:
        kind = "picture" if kept or tile else "second_picture"
    return Part(kind=kind, name=name, data=held, kept=kept)
