from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.policy import StripPolicy
from tests.node.imaging.strip import traps
from tests.support_pictures import CANARY, corners, encoded, frames_in, opened

XMP = b'<x:xmpmeta tiff:Orientation="8">' + CANARY + b"</x:xmpmeta>"


def png() -> bytes:
    return encoded(corners(), "PNG", icc_profile=traps.PROFILE)


def raw_profile(block: bytes) -> bytes:
    return b"\nexif\n%8d\n" % len(block) + block.hex().encode()


def trapped() -> bytes:
    data = traps.with_chunks(
        png(),
        traps.chunk(b"tEXt", b"Author\0" + CANARY),
        traps.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(CANARY)),
        traps.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
        traps.chunk(
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(raw_profile(traps.exif_block(3))),
        ),
        traps.chunk(b"eXIf", traps.exif_block(6)),
        traps.chunk(b"tIME", struct.pack(">H5B", 2024, 5, 6, 7, 8, 9)),
        traps.chunk(b"caBX", CANARY),
        traps.chunk(b"prVt", CANARY),
        traps.chunk(b"gAMA", b"\0\0\xb1\x8f" + CANARY),
    )
    return data + CANARY


def test_of_a_trapped_picture_only_chunks_of_the_list_are_left() -> None:
    stripped = strip_untrusted(trapped())

    assert not traps.holds_canary(stripped.data)
    assert {kind for kind, _ in traps.png_chunks(stripped.data)} == {
        *(b"IHDR", b"eXIf", b"iCCP", b"IDAT", b"IEND"),
    }
    assert {part.kind for part in stripped.parts if not part.kept} == {
        *("text", "comment", "xmp", "exif", "time", "c2pa", "application_data", "trailer"),
    }


def test_pixels_orientation_and_profile_stay() -> None:
    clean = opened(strip_untrusted(trapped()).data)

    assert clean.tobytes() == corners().tobytes()
    assert clean.getexif() == {0x0112: 6}
    assert clean.info["icc_profile"] == traps.PROFILE


def test_the_orientation_is_read_where_decoders_read_it() -> None:
    by_xmp = traps.with_chunks(png(), traps.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))
    by_raw = traps.with_chunks(
        png(),
        traps.chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(traps.exif_block(3))),
    )

    for source, expected in ((by_xmp, 8), (by_raw, 3), (png(), 1)):
        assert strip_untrusted(source).kept.orientation == expected
        assert opened(source).getexif().get(0x0112, 1) == expected
        assert opened(strip_untrusted(source).data).getexif().get(0x0112, 1) == expected


def test_the_name_of_the_profile_and_what_follows_it_go() -> None:
    plain = encoded(corners(), "PNG")
    profile = CANARY + b"\0\0" + zlib.compress(traps.PROFILE + CANARY)
    source = traps.with_chunks(plain, traps.chunk(b"iCCP", profile))

    stripped = strip_untrusted(source)

    assert not traps.holds_canary(stripped.data)
    assert opened(stripped.data).info["icc_profile"] == traps.PROFILE


def test_a_profile_that_inflates_without_end_is_removed() -> None:
    endless = (64 << 20).to_bytes(4) + traps.PROFILE[4:128]
    bomb = zlib.compress(endless + bytes(64 << 20), 9)
    source = traps.with_chunks(encoded(corners(), "PNG"), traps.chunk(b"iCCP", b"bomb\0\0" + bomb))

    stripped = strip_untrusted(source)

    assert b"iCCP" not in stripped.data
    assert [(part.kind, part.kept) for part in stripped.parts] == [("icc", False)]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "LA", "I;16"])
def test_bytes_in_and_behind_the_stream_of_pixels_go(mode: str, interlaced: bool) -> None:
    source = interlaced_png() if interlaced else encoded(corners().convert(mode), "PNG")
    chunks = traps.png_chunks(source)
    pixels = b"".join(payload for kind, payload in chunks if kind == b"IDAT")
    longer = zlib.compress(zlib.decompress(pixels) + CANARY)

    for stream in (pixels + CANARY, longer, longer + CANARY):
        trap = source[:8] + b"".join(
            traps.chunk(kind, stream if kind == b"IDAT" else payload)
            for kind, payload in chunks
            if kind != b"IDAT" or payload == chunks_of(chunks, b"IDAT")[0]
        )
        stripped = strip_untrusted(trap)

        assert not traps.holds_canary(stripped.data)
        assert opened(stripped.data).tobytes() == opened(source).tobytes()


def chunks_of(chunks: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [payload for kind, payload in chunks if kind == wanted]


def interlaced_png() -> bytes:
    """Return an interlaced grey PNG of 5 x 3 pixels, which leaves some passes empty."""
    passes = ((1, 1), (1, 1), (2, 1), (3, 1), (3, 1), (2, 2), (5, 1))
    rows = b"".join((b"\0" + bytes(range(wide))) * high for wide, high in passes)
    header = struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        traps.chunk(kind, payload)
        for kind, payload in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def test_an_animation_stays_one() -> None:
    source = traps.animated("PNG")
    source = traps.with_chunks(source, traps.chunk(b"tEXt", b"Comment\0" + CANARY))

    stripped = strip_untrusted(source)

    assert CANARY not in stripped.data
    with Image.open(io.BytesIO(source)) as before, Image.open(io.BytesIO(stripped.data)) as after:
        assert frames_in(after) == frames_in(before) == 3
        for number in range(3):
            before.seek(number)
            after.seek(number)
            assert before.tobytes() == after.tobytes()
            assert before.info["duration"] == after.info["duration"] == 80


def test_what_hides_behind_the_frames_of_an_animation_goes_and_numbers_have_no_gap() -> None:
    source = traps.animated("PNG")
    chunks = traps.png_chunks(source)
    last = max(number for number, (kind, _) in enumerate(chunks) if kind == b"fdAT")
    chunks.insert(last + 1, (b"fdAT", struct.pack(">I", 99) + CANARY))

    stripped = strip_untrusted(source[:8] + b"".join(traps.chunk(*one) for one in chunks))

    assert CANARY not in stripped.data
    numbers = [
        int.from_bytes(payload[:4])
        for kind, payload in traps.png_chunks(stripped.data)
        if kind in (b"fcTL", b"fdAT")
    ]
    assert numbers == list(range(len(numbers)))
    assert stripped.data == strip_untrusted(source).data


def test_the_capture_time_stays_where_the_policy_keeps_it() -> None:
    stripped = strip_untrusted(trapped(), StripPolicy(capture_time=True))

    assert opened(stripped.data).getexif().get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"


def test_a_damaged_chunk_that_is_needed_is_refused() -> None:
    source = bytearray(png())
    source[-20] ^= 1  # inside IDAT, whose checksum then is wrong

    with pytest.raises(StripError, match="damaged"):
        strip_untrusted(bytes(source))


def test_a_chunk_that_says_it_is_needed_and_is_not_known_is_refused() -> None:
    with pytest.raises(StripError) as refusal:
        strip_untrusted(traps.with_chunks(png(), traps.chunk(b"NEED", b"")))

    assert refusal.value.code == "unsupported"


@pytest.mark.parametrize("size", [(0, 5), (1 << 31, 1 << 31), (65_535, 65_535)])
def test_sizes_that_no_picture_has_are_refused(size: tuple[int, int]) -> None:
    data = bytearray(png())
    data[16:24] = struct.pack(">II", *size)
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)

    with pytest.raises(StripError) as refusal:
        strip_untrusted(bytes(data))

    assert refusal.value.code in ("broken", "too_large")
