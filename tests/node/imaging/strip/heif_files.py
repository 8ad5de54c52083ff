"""HEIF and AVIF files put together by the tests, with something hidden in every place."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import Image

from node.imaging.strip.boxes import box, boxes, full_box
from tests.node.imaging.strip import traps
from tests.support_pictures import CANARY, corners


@dataclass
class Part:
    """One item of a file."""

    kind: bytes
    data: bytes
    properties: tuple[bytes, ...] = ()
    references: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    extra: bytes = b""
    in_meta: bool = False


def coded(image: Image.Image | None = None) -> tuple[bytes, bytes, bytes]:
    """Return a picture as AV1: what is coded, and its av1C and ispe boxes."""
    output = io.BytesIO()
    picture = image or corners()
    picture.save(output, "AVIF", quality=60, codec="auto")
    data = memoryview(output.getvalue())
    top = {one.kind: one for one in boxes(data)}
    meta = {one.kind: one for one in boxes(top[b"meta"].payload[4:])}
    properties = next(one for one in boxes(meta[b"iprp"].payload) if one.kind == b"ipco")
    av1c = next(one for one in boxes(properties.payload) if one.kind == b"av1C")
    return (
        bytes(top[b"mdat"].payload),
        box(b"av1C", av1c.payload),
        full_box(b"ispe", 0, 0, struct.pack(">II", *picture.size)),
    )


def auxiliary(name: bytes) -> bytes:
    """Return the property that says what an auxiliary picture is."""
    return full_box(b"auxC", 0, 0, name + b"\0" + CANARY)


def file(parts: list[Part], *, primary: int = 1, behind: bytes = b"", groups: bytes = b"") -> bytes:
    """Return a file of these items, numbered from 1."""
    properties = list(dict.fromkeys(one for part in parts for one in part.properties))
    in_meta = b"".join(part.data for part in parts if part.in_meta)

    def meta(mdat_at: int) -> bytes:
        places = {True: 0, False: mdat_at}
        locations, infos, references, associations = [], [], [], []
        for number, part in enumerate(parts, 1):
            locations.append(
                struct.pack(
                    ">HHHHII", number, part.in_meta, 0, 1, places[part.in_meta], len(part.data)
                )
            )
            places[part.in_meta] += len(part.data)
            name = CANARY + b"\0"
            infos.append(
                full_box(b"infe", 2, 0, struct.pack(">HH", number, 0), part.kind, name, part.extra)
            )
            for kind, targets in part.references:
                count = len(targets)
                ids = struct.pack(f">HH{count}H", number, count, *targets)
                references.append(box(kind, ids))
            if part.properties:
                indices = bytes(
                    properties.index(one) + 1 | (0x80 if one[4:8] in _ESSENTIAL else 0)
                    for one in part.properties
                )
                associations.append(struct.pack(">HB", number, len(indices)) + indices)
        return full_box(
            b"meta", 0, 0,
            full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(12), CANARY + b"\0"),
            full_box(b"pitm", 0, 0, struct.pack(">H", primary)),
            full_box(b"iloc", 1, 0, b"\x44\0", struct.pack(">H", len(parts)), *locations),
            full_box(b"iinf", 0, 0, struct.pack(">H", len(parts)), *infos),
            full_box(b"iref", 0, 0, *references),
            box(b"iprp", box(b"ipco", *properties),
                full_box(b"ipma", 0, 0, struct.pack(">I", len(associations)), *associations)),
            *([box(b"idat", in_meta)] if in_meta else []),
            *([box(b"grpl", groups)] if groups else []),
        )  # fmt: skip

    ftyp = box(b"ftyp", b"avif", bytes(4), b"mif1", b"avif", b"miaf", b"CANA")
    at = len(ftyp) + len(meta(0)) + 8
    data = b"".join(part.data for part in parts if not part.in_meta)
    return ftyp + meta(at) + box(b"mdat", data, CANARY) + behind


_ESSENTIAL = (b"av1C", b"irot")


def metadata_obu() -> bytes:
    """Return an AV1 metadata OBU that carries a canary."""
    payload = b"\4" + CANARY
    return bytes((5 << 3 | 2, len(payload))) + payload


def trapped(orientation: int = 6) -> bytes:
    """Return an AVIF with Exif, XMP, a preview, depth, a gain map, another picture and more."""
    pixels, av1c, ispe = coded()
    small, small_av1c, small_ispe = coded(corners(16, 8))
    described = full_box(b"udes", 0, 0, CANARY)
    parts = [
        Part(b"av01", pixels + metadata_obu(), (av1c, ispe, described)),
        Part(b"Exif", bytes(4) + traps.exif_block(orientation), (), ((b"cdsc", (1,)),)),
        Part(b"mime", b"<x:xmpmeta>" + CANARY, (), ((b"cdsc", (1,)),), b"application/rdf+xml\0"),
        Part(b"av01", small, (small_av1c, small_ispe), ((b"thmb", (1,)),)),
        Part(
            b"av01",
            small + metadata_obu(),
            (small_av1c, small_ispe, auxiliary(b"urn:com:apple:photo:2020:aux:hdrgainmap")),
            ((b"auxl", (1,)),),
        ),
        Part(
            b"av01",
            small,
            (small_av1c, small_ispe, auxiliary(b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth")),
            ((b"auxl", (1,)),),
        ),
        Part(b"av01", small, (small_av1c, small_ispe)),
    ]
    return file(parts, behind=box(b"mpvd", CANARY) + box(b"sefd", CANARY) + box(b"uuid", CANARY))
