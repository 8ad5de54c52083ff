"""Small files that ask for much: refused, or cleaned, before anybody notices."""

from __future__ import annotations

import resource
import struct
import time
import zlib
from collections.abc import Callable

import pytest

from node.imaging.inspect.words import disclosure_untrusted
from node.imaging.strip.boxes import box, full_box
from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.jpeg_segments import APP0, segment
from tests.node.imaging.strip import heif_files, traps
from tests.node.imaging.strip.heif_files import Part, coded
from tests.node.imaging.strip.test_tiff import plain_tiff
from tests.support_pictures import corners, encoded


def many_texts() -> bytes:
    text = traps.chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(32 << 20), 9))
    return traps.with_chunks(encoded(corners(), "PNG"), *[text] * 500)


def many_profiles() -> bytes:
    profile = traps.chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(32 << 20), 9))
    return traps.with_chunks(encoded(corners(), "PNG"), *[profile] * 500)


def many_frames() -> bytes:
    """An animation whose frames inflate to a gigabyte each."""
    stream = zlib.compress(bytes(8 << 20), 9)
    frame = struct.pack(">IIIIIHHBB", 0, 16_000, 16_000, 0, 0, 1, 10, 0, 0)
    frames = [traps.chunk(b"fcTL", frame), traps.chunk(b"fdAT", bytes(4) + stream)] * 200
    source = encoded(corners(), "PNG")
    return source[:-12] + b"".join(frames) + source[-12:]


def rows_without_end() -> bytes:
    source = encoded(corners(), "PNG")
    chunks = [
        (kind, zlib.compress(bytes(512 << 20), 1) if kind == b"IDAT" else payload)
        for kind, payload in traps.png_chunks(source)
    ]
    return source[:8] + b"".join(traps.chunk(*one) for one in chunks)


def many_pages() -> bytes:
    """Directories that overlap, two bytes apart."""
    body = struct.pack("<H", 0xFFFF) * 400_000
    return b"II*\0\x08\0\0\0" + body


def pages_with_the_same_strips() -> bytes:
    count = 1 << 18
    strips = bytes(4 * count)
    pages = plain_tiff(*[{}] * 1_500, pixels=strips)
    wide = struct.pack("<HHII", 273, 4, count, 8)
    return pages.replace(struct.pack("<HHII", 273, 4, 1, 8), wide)


def many_associations() -> bytes:
    pixels, av1c, ispe = coded()
    source = heif_files.file([Part(b"av01", pixels, (av1c, ispe))])
    entry = struct.pack(">HB", 1, 255) + b"\1" * 255
    again = full_box(b"ipma", 0, 0, struct.pack(">I", 20_000), entry * 20_000)
    at = source.index(b"ipma") - 4
    size = int.from_bytes(source[at : at + 4])
    return _grown(source, at, size, again, (b"iprp", b"meta"))


def _grown(source: bytes, at: int, size: int, new: bytes, around: tuple[bytes, ...]) -> bytes:
    grown = bytearray(source[:at] + new + source[at + size :])
    for kind in around:
        start = grown.index(kind) - 4
        length = int.from_bytes(grown[start : start + 4]) + len(new) - size
        grown[start : start + 4] = length.to_bytes(4)
    return bytes(grown)


def many_empty_boxes() -> bytes:
    return box(b"ftyp", b"avif", bytes(4)) + box(b"free") * 1_000_000


def many_messages() -> bytes:
    pixels, av1c, ispe = coded()
    return heif_files.file([Part(b"av01", pixels + b"\x7a\0" * 1_000_000, (av1c, ispe))])


def many_segments() -> bytes:
    return b"\xff\xd8" + segment(APP0 + 1, b"") * 500_000


def many_hidden_pictures() -> bytes:
    return traps.jpeg() + b"\xff\xd8\xff\xe0\0\2" * 500_000


def many_sub_blocks() -> bytes:
    return b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\1x" * 6_000_000


def many_frame_chunks() -> bytes:
    body = b"WEBP" + struct.pack("<4sI", b"ANMF", 8 << 20) + bytes(8 << 20)
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS = (
    many_texts, many_profiles, many_frames, rows_without_end, many_pages,
    pages_with_the_same_strips, many_associations, many_empty_boxes, many_messages,
    many_segments, many_hidden_pictures, many_sub_blocks, many_frame_chunks,
)  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_neither_time_nor_memory(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()

    code = "clean"
    try:
        disclosure_untrusted(strip_untrusted(data))
    except StripError as refusal:
        code = refusal.code

    assert code in ("clean", "too_large", "broken")
    assert time.monotonic() - start < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
