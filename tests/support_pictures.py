"""Pictures that tests make: odd modes, hidden texts, bombs, and ones that take their time."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import piexif
from PIL import Image, ImageCms

from node.imaging.made import made_pictures
from tests.support import samples

CANARY = b"CANARY-PUB"
"""What hidden texts of the sample pictures begin with."""

RED, GREEN, BLUE, GREY = (220, 20, 20), (20, 200, 20), (20, 20, 220), (128, 128, 128)

HEADER_ONLY = "ultrahdr.jpg"
"""A sample photograph that ends where its pixels would begin."""


@functools.cache
def landscape(width: int = 600, height: int = 400) -> bytes:
    """Return a JPEG of a landscape with Exif and a position."""
    return made_pictures(1, (width, height))[0][1]


def corners(width: int = 80, height: int = 40) -> Image.Image:
    """Return an image whose four quarters are, row by row, red, green, blue and grey."""
    image = Image.new("RGB", (width, height), GREY)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return the image as a file."""
    output = io.BytesIO()
    image.save(output, image_format, **options)
    return output.getvalue()


def turned(orientation: int, image_format: str = "JPEG") -> bytes:
    """Return `corners` with an Exif orientation, its pixels as they are."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(corners(), image_format, exif=exif)


def quarters(image: Image.Image) -> tuple[tuple[int, ...], ...]:
    """Return the nearest of the four colours in the middle of each quarter, row by row."""
    image = image.convert("RGB")
    middles = [(x, y) for y in (1, 3) for x in (1, 3)]
    pixels = [image.getpixel((image.width * x // 4, image.height * y // 4)) for x, y in middles]
    return tuple(
        min((RED, GREEN, BLUE, GREY), key=lambda known: _distance(known, pixel)) for pixel in pixels
    )


def _distance(one: Any, other: Any) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def opened(data: bytes) -> Image.Image:
    """Return the decoded image of a file made by Safelight."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def srgb_profile() -> bytes:
    """Return an sRGB profile under a name that does not say so."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """Return a profile in which red means blue and blue means red."""
    exchanged = srgb_profile().replace(b"rXYZ", b"~~~~").replace(b"bXYZ", b"rXYZ")
    return exchanged.replace(b"~~~~", b"bXYZ")


def canaries() -> bytes:
    """Return a JPEG with a hidden text in every place that Pillow and piexif can write."""
    exif = piexif.dump(
        {
            "0th": {piexif.ImageIFD.ImageDescription: CANARY + b"-exif"},
            "Exif": {
                piexif.ExifIFD.UserComment: CANARY + b"-user",
                piexif.ExifIFD.MakerNote: CANARY + b"-maker",
            },
            "GPS": {piexif.GPSIFD.GPSAreaInformation: CANARY + b"-gps"},
            "1st": {piexif.ImageIFD.Make: CANARY + b"-thumbnail"},
            "thumbnail": encoded(Image.new("RGB", (8, 8)), "JPEG"),
        }
    )
    return (
        encoded(
            corners(),
            "JPEG",
            exif=exif,
            comment=CANARY + b"-comment",
            xmp=b"<x:xmpmeta>" + CANARY + b"-xmp exif:GPSLatitude</x:xmpmeta>",
        )
        + CANARY
        + b"-trailer"
    )


def png(width: int, height: int, *, colour_type: int = 6, rows: Iterable[bytes] = ()) -> bytes:
    """Return a PNG of 8 bits a channel with the given rows, each with its filter byte."""
    pixels = zlib.compressobj(1)
    data = b"".join(pixels.compress(row) for row in rows) + pixels.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, payload)
        for kind, payload in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def _chunk(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", crc)


@functools.cache
def slow_picture() -> bytes:
    """Return a picture that keeps a worker busy for a good second."""
    edge = 6_000
    # Filter 4 (Paeth) is the dearest to undo; a transparent picture is the dearest to resize.
    row = b"\4" + bytes(range(256)) * (edge * 4 // 256) + bytes(edge * 4 % 256)
    return png(edge, edge, rows=[row] * edge)


def photographs() -> dict[str, bytes]:
    """Return every sample photograph by its path below the folder of samples."""
    return _files("photos")


def corrupt_files() -> dict[str, bytes]:
    """Return every broken sample by its path below the folder of samples."""
    return _files("corrupt")


def _files(folder: str) -> dict[str, bytes]:
    base = samples(folder)
    return {
        str(path.relative_to(base)): path.read_bytes()
        for path in sorted(base.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


def frames_in(image: Image.Image) -> int:
    """Return how many frames or pages an open picture has."""
    return int(getattr(image, "n_frames", 1))
