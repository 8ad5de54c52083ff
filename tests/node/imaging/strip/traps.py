"""Pictures with something hidden in every place that a format has, made by the tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import piexif
from PIL import Image

from node.imaging.strip.jpeg_segments import APP0, COM, segment
from tests.support_pictures import CANARY, corners, encoded, srgb_profile

PROFILE = srgb_profile()
"""Made once: it says when it was made, to the second."""
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"


def short(value: object) -> str:
    """Return how a parameter of a test is called in its name: no file's bytes are."""
    return value if isinstance(value, str) else type(value).__name__


def exif_block(orientation: int = 6) -> bytes:
    """Return an Exif block with a position, names, a serial number, a time and a thumbnail."""
    block: bytes = piexif.dump(
        {
            "0th": {
                piexif.ImageIFD.Make: b"Acme",
                piexif.ImageIFD.Model: b"Acme One",
                piexif.ImageIFD.Artist: CANARY + b" Ann",
                piexif.ImageIFD.Orientation: orientation,
            },
            "Exif": {
                piexif.ExifIFD.BodySerialNumber: b"0451-" + CANARY,
                piexif.ExifIFD.DateTimeOriginal: b"2024:05:06 07:08:09",
                0x9011: b"+02:00",
                piexif.ExifIFD.MakerNote: CANARY * 8,
            },
            "GPS": {
                piexif.GPSIFD.GPSLatitudeRef: b"N",
                piexif.GPSIFD.GPSLatitude: ((48, 1), (51, 1), (0, 1)),
                piexif.GPSIFD.GPSLongitudeRef: b"E",
                piexif.GPSIFD.GPSLongitude: ((2, 1), (21, 1), (0, 1)),
            },
            "1st": {},
            "thumbnail": encoded(Image.new("RGB", (16, 8), (200, 0, 0)), "JPEG"),
        }
    )
    return block.removeprefix(b"Exif\0\0")


def jpeg(**options: Any) -> bytes:
    """Return a JPEG of `corners` with a colour profile and nothing to hide."""
    return encoded(corners(), "JPEG", quality=90, icc_profile=PROFILE, **options)


def with_segments(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Return a JPEG with segments behind its start."""
    return data[:2] + b"".join(segment(*one) for one in segments) + data[2:]


def trapped_jpeg() -> bytes:
    """Return a JPEG with a canary in many segments, between its scans and behind its end."""
    progressive = jpeg(progressive=True)
    scan = progressive.index(b"\xff\xda", progressive.index(b"\xff\xda") + 2)
    between = segment(COM, CANARY) + segment(APP0 + 1, b"Exif\0\0" + exif_block(3))
    data = progressive[:scan] + between + progressive[scan:]
    data = with_segments(
        data,
        (APP0 + 1, b"Exif\0\0" + exif_block()),
        (APP0 + 1, XMP_HEAD + b"<x:xmpmeta>" + CANARY + b"</x:xmpmeta>"),
        (APP0 + 4, CANARY),
        (APP0 + 11, b"JP" + CANARY),
        (APP0 + 13, b"Photoshop 3.0\0" + CANARY),
        (COM, CANARY),
    )
    return data + jpeg(comment=CANARY) + b"PK\3\4" + CANARY


def gain_map_jpeg(kind: str = "hdrgm") -> bytes:
    """Return a picture with a gain map behind it, and a canary behind that."""
    return b"".join(picture_and_gain_map(kind)) + CANARY


def picture_and_gain_map(kind: str = "hdrgm") -> tuple[bytes, bytes]:
    """Return a picture and its gain map, each with what belongs to it and a canary."""
    numbers = (
        b'<x:xmpmeta><rdf:RDF><rdf:Description hdrgm:Version="1.0" hdrgm:GainMapMax="2.5" '
        b'hdrgm:HDRCapacityMax="2.5" hdrgm:BaseRenditionIsHDR="False" dc:creator="'
        + CANARY
        + b'"><hdrgm:Gamma><rdf:Seq><rdf:li>1.0</rdf:li><rdf:li>1.1</rdf:li><rdf:li>1.2</rdf:li>'
        b"</rdf:Seq></hdrgm:Gamma></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    segments = {
        "hdrgm": (APP0 + 1, XMP_HEAD + numbers),
        "iso": (APP0 + 2, ISO_GAIN_MAP + bytes(61)),
        "apple": (
            APP0 + 1,
            XMP_HEAD + b'<x:xmpmeta HDRGainMap:HDRGainMapVersion="65536" dc:title="CANARY-PUB"/>',
        ),
    }
    gain_map = with_segments(
        encoded(Image.linear_gradient("L").resize((40, 20)), "JPEG"),
        segments[kind],
        (COM, CANARY),
        (APP0 + 1, b"Exif\0\0" + exif_block()),
    )
    primary = with_segments(
        jpeg(),
        (APP0 + 1, XMP_HEAD + b'<x:xmpmeta hdrgm:Version="1.0" dc:creator="' + CANARY + b'"/>'),
        *(((APP0 + 2, ISO_GAIN_MAP + bytes(4)),) if kind == "iso" else ()),
    )
    return primary, gain_map


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Return a PNG chunk."""
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """Return a PNG with chunks behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG."""
    found = []
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def frames(count: int = 3) -> list[Image.Image]:
    """Return different images of one size."""
    return [corners().rotate(90 * number).convert("RGB") for number in range(count)]


def animated(image_format: str, **options: Any) -> bytes:
    """Return an animation."""
    first, *rest = frames()
    output = io.BytesIO()
    first.save(
        output, image_format, save_all=True, append_images=rest, duration=80, loop=0, **options
    )
    return output.getvalue()


def holds_canary(data: bytes) -> bool:
    """Say whether a canary stands in data, as it is or in any zlib stream that begins in it."""
    if CANARY in data:
        return True
    for head in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
        at = data.find(head)
        while at >= 0:
            try:
                if CANARY in zlib.decompressobj().decompress(memoryview(data)[at:], 1 << 24):
                    return True
            except zlib.error:
                pass
            at = data.find(head, at + 1)
    return False
