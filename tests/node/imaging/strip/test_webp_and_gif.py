from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.policy import StripPolicy
from tests.node.imaging.strip import traps
from tests.support_pictures import CANARY, corners, encoded, frames_in, opened


def riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(payload)) + payload + b"\0" * (len(payload) % 2)


def with_riff_chunks(data: bytes, *chunks: bytes) -> bytes:
    body = data[8:] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp(**options: object) -> bytes:
    return encoded(corners(), "WEBP", icc_profile=traps.PROFILE, **options)


def same_frames(one: bytes, other: bytes) -> bool:
    with Image.open(io.BytesIO(one)) as first, Image.open(io.BytesIO(other)) as second:
        if frames_in(first) != frames_in(second):
            return False
        for number in range(frames_in(first)):
            first.seek(number)
            second.seek(number)
            if first.convert("RGBA").tobytes() != second.convert("RGBA").tobytes():
                return False
            if first.info.get("duration") != second.info.get("duration"):
                return False
    return True


@pytest.mark.parametrize("lossless", [False, True])
def test_of_a_trapped_webp_only_chunks_of_the_list_are_left(lossless: bool) -> None:
    source = webp(
        lossless=lossless, exif=b"Exif\0\0" + traps.exif_block(6), xmp=b"<x>" + CANARY + b"</x>"
    )
    source = with_riff_chunks(source, riff_chunk(b"C2PA", CANARY), riff_chunk(b"priv", CANARY))

    stripped = strip_untrusted(source + CANARY)

    assert not traps.holds_canary(stripped.data)
    clean = opened(stripped.data)
    assert clean.tobytes() == opened(source).tobytes()
    assert clean.getexif() == {0x0112: 6}
    assert clean.info["icc_profile"] == traps.PROFILE
    assert "xmp" not in clean.info
    assert int.from_bytes(stripped.data[4:8], "little") == len(stripped.data) - 8
    assert {part.kind for part in stripped.parts if not part.kept} == {
        *("exif", "xmp", "c2pa", "application_data", "trailer"),
    }


def test_the_flags_of_a_webp_say_what_is_left() -> None:
    upright = webp(exif=b"Exif\0\0" + traps.exif_block(1), xmp=b"<x/>")

    flags = strip_untrusted(upright).data[20]

    assert flags == 0x20  # a profile, and neither Exif nor XMP


def test_an_animated_webp_stays_one() -> None:
    source = traps.animated("WEBP", lossless=True)
    frame = source.index(b"ANMF")
    size = int.from_bytes(source[frame + 4 : frame + 8], "little")
    hidden = riff_chunk(b"hide", CANARY)
    longer = (
        source[: frame + 4]
        + struct.pack("<I", size + len(hidden))
        + source[frame + 8 : frame + 8 + size]
        + hidden
        + source[frame + 8 + size :]
    )

    stripped = strip_untrusted(with_riff_chunks(longer))

    assert CANARY not in stripped.data
    assert same_frames(stripped.data, source)


def test_a_plain_webp_is_not_changed() -> None:
    source = encoded(corners(), "WEBP")

    assert strip_untrusted(source).data == source


def gif_extension(label: int, *blocks: bytes) -> bytes:
    return bytes((0x21, label)) + b"".join(bytes((len(one),)) + one for one in blocks) + b"\0"


def trapped_gif() -> bytes:
    source = traps.animated("GIF")
    screen = 13 + (3 << ((source[10] & 7) + 1) if source[10] & 0x80 else 0)
    hidden = (
        gif_extension(0xFE, CANARY)
        + gif_extension(0x01, bytes(12), CANARY)
        + gif_extension(0xFF, b"PRIVATE1.00", CANARY)
        + gif_extension(0xFF, b"NETSCAPE2.0", b"\3\1\0\0", CANARY)
        + b"\x21\xff\x0bXMP DataXMP<x:xmpmeta>"
        + CANARY
        + b"</x:xmpmeta>\1"
        + bytes(range(255, -1, -1))
        + b"\0"
    )
    return source[:screen] + hidden + source[screen:] + CANARY


def test_of_a_trapped_gif_only_images_controls_and_the_loop_are_left() -> None:
    stripped = strip_untrusted(trapped_gif())

    assert not traps.holds_canary(stripped.data)
    assert same_frames(stripped.data, traps.animated("GIF"))
    assert opened(stripped.data).info["loop"] == 0
    assert {part.kind for part in stripped.parts} == {
        *("comment", "text", "application_data", "xmp", "trailer"),
    }


def test_what_a_gif_hides_between_its_blocks_goes() -> None:
    source = encoded(corners(), "GIF")
    trap = source[:-1] + b"CANARY\0" + source[-1:]

    stripped = strip_untrusted(trap)

    assert b"CANARY" not in stripped.data
    assert same_frames(stripped.data, source)


def test_no_policy_makes_a_gif_keep_more() -> None:
    everything = StripPolicy(depth_maps=True, previews=True, capture_time=True)

    assert strip_untrusted(trapped_gif(), everything).data == strip_untrusted(trapped_gif()).data


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a" + bytes(7),
        encoded(corners(), "GIF")[:-40],
        b"GIF89a" + bytes(7) + b"\x21\xfe\0" * 100_001,
        b"RIFF\4\0\0\0WEBP",
        b"RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff",
    ],
    ids=traps.short,
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(StripError) as refusal:
        strip_untrusted(data)

    assert refusal.value.code in ("broken", "too_large")
