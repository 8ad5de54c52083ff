"""Raw camera files that tests make: DNG, which is a TIFF, and heads of others."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from PIL import Image

from node.imaging.pixels import configure_decoders
from node.imaging.strip.ifd import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    UNDEFINED,
    Value,
    write_directory,
)
from tests.support_pictures import corners, encoded

SENSOR = (96, 64)
"""Width and height of what the sensor of a made file saw."""

CANARY = b"CANARY-RAW"


def shorts(*numbers: int) -> Value:
    return SHORT, len(numbers), struct.pack(f"<{len(numbers)}H", *numbers)


def longs(*numbers: int) -> Value:
    return LONG, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers)


def fractions(*numbers: tuple[int, int], kind: int = RATIONAL) -> Value:
    letter = "I" if kind == RATIONAL else "i"
    packed = b"".join(struct.pack(f"<2{letter}", *one) for one in numbers)
    return kind, len(numbers), packed


def text(words: bytes) -> Value:
    return ASCII, len(words) + 1, words + b"\0"


def dng(
    preview: bytes | None = None,
    *,
    orientation: int = 1,
    bitmap: Image.Image | None = None,
    sensor: tuple[int, int] = SENSOR,
    sensor_bytes: int | None = None,
    light: int = 3_000,
    exif: Mapping[int, Value] | None = None,
) -> bytes:
    """Return a DNG of a red sensor with a JPEG inside it, or plain pixels, or neither.

    sensor_bytes: how long it says that the sensor's values are. light: the values of its red
    pixels, ten times those of the others. exif: more tags.
    """
    width, height = sensor
    values = b"".join(
        struct.pack("<H", light if (x % 2, y % 2) == (0, 0) else light // 10)
        for y in range(min(height, 1_000))
        for x in range(min(width, 1_000))
    )
    inside = preview if preview is not None else b"" if bitmap is None else bitmap.tobytes()
    values_at = 8
    inside_at = values_at + len(values)
    sensor_at = inside_at + len(inside) + len(inside) % 2
    described = {
        254: longs(0),
        256: longs(width),
        257: longs(height),
        258: shorts(16),
        259: shorts(1),
        262: shorts(32803),
        273: longs(values_at),
        277: shorts(1),
        278: longs(height),
        279: longs(len(values) if sensor_bytes is None else sensor_bytes),
        33421: shorts(2, 2),
        33422: (BYTE, 4, bytes((0, 1, 1, 2))),
        50717: longs(4_095),
    }
    about = {
        271: text(b"Safelight"),
        272: text(b"Arithmetic Raw " + CANARY),
        274: shorts(orientation),
        50706: (BYTE, 4, bytes((1, 4, 0, 0))),
        50708: text(b"Safelight Arithmetic Raw"),
        50721: fractions(
            *((1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)),
            kind=SRATIONAL,
        ),
        50728: fractions((1, 1), (1, 1), (1, 1)),
        50778: shorts(21),
    }
    if not inside:
        main = write_directory({**described, **about}, sensor_at, 0, order="<")
        return b"".join((b"II*\0", struct.pack("<I", sensor_at), values, main))
    size = SENSOR if bitmap is None else bitmap.size
    sub = write_directory(described, sensor_at, 0, order="<")
    first_at = sensor_at + len(sub)
    first = {
        **about,
        254: longs(1),
        256: longs(size[0]),
        257: longs(size[1]),
        258: shorts(8, 8, 8),
        259: shorts(1 if bitmap is not None else 7),
        262: shorts(2 if bitmap is not None else 6),
        273: longs(inside_at),
        277: shorts(3),
        278: longs(size[1]),
        279: longs(len(inside)),
        330: longs(sensor_at),
        **(exif or {}),
    }
    return b"".join(
        (
            b"II*\0",
            struct.pack("<I", first_at),
            values,
            inside,
            b"\0" * (len(inside) % 2),
            sub,
            write_directory(first, first_at, 0, order="<"),
        )
    )


def dng_with_preview(orientation: int = 1) -> bytes:
    """Return a DNG whose JPEG shows `corners` at twice their size."""
    shown = corners().resize((160, 80), Image.Resampling.NEAREST)
    return dng(encoded(shown, "JPEG", quality=95), orientation=orientation)


def file_of(image: Image.Image, image_format: str) -> bytes:
    """Return an image as a file of any of the formats that are read."""
    if image_format == "raw":
        return dng(encoded(image, "JPEG"))
    configure_decoders()  # which knows how to write HEIC too
    return encoded(image, image_format)


def raf(jpeg: bytes) -> bytes:
    """Return the beginning of an RAF file: a head that says where its JPEG is, and that."""
    head = b"FUJIFILMCCD-RAW 0201FF000000Made here".ljust(84, b"\0")
    return head + struct.pack(">II", 92, len(jpeg)) + jpeg


def rw2(jpeg: bytes) -> bytes:
    """Return the beginning of an RW2 file: one directory, and in it a JPEG."""
    return (
        b"IIU\0"
        + struct.pack("<I", 8)
        + write_directory({0x2E: (UNDEFINED, len(jpeg), jpeg)}, 8, 0, order="<")
    )
