from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from PIL import Image, TiffImagePlugin

from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.ifd import ASCII, LONG, SHORT, open_tiff, write_directory
from node.imaging.strip.policy import StripPolicy
from tests.node.imaging.strip import traps
from tests.support_pictures import CANARY, corners, encoded, frames_in, opened


def tagged(**options: Any) -> bytes:
    """Return a TIFF with a canary in every tag that Pillow writes."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[315] = (CANARY + b" Ann").decode()
    tags[700] = b"<x:xmpmeta>" + CANARY + b"</x:xmpmeta>"
    tags[33723] = b"\x1c\x02\x50\0\x0a" + CANARY
    tags[34377] = b"8BIM" + CANARY
    tags[50000] = CANARY.decode()
    tags[274] = 6
    return encoded(corners(), "TIFF", tiffinfo=tags, icc_profile=traps.PROFILE, **options)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("big", [False, True])
def test_only_tags_of_the_list_and_the_pixels_are_left(compression: str | None, big: bool) -> None:
    source = tagged(compression=compression, big_tiff=big) + CANARY

    stripped = strip_untrusted(source)

    assert not traps.holds_canary(stripped.data)
    assert opened(stripped.data).tobytes() == opened(source).tobytes()
    with Image.open(io.BytesIO(stripped.data)) as clean:
        assert clean.getexif()[0x0112] == 6
        assert clean.info["icc_profile"] == traps.PROFILE
    assert stripped.data[:4] == source[:4]
    assert {part.kind for part in stripped.parts} >= {"exif", "xmp", "iptc", "photoshop", "icc"}


def test_strips_that_are_jpeg_lose_their_comments_too() -> None:
    source = tagged(compression="jpeg")
    tiff = open_tiff(source)
    assert tiff is not None
    directory, _ = tiff.directory(tiff.first)
    at, size = directory[273].number(), directory[279].number()
    strip = traps.with_segments(source[at : at + size], (0xFE, CANARY))
    longer = bytearray(source + strip)
    for tag, value in ((273, len(source)), (279, len(strip))):
        entry = source.index(struct.pack("<HHI", tag, directory[tag].type, 1))
        longer[entry + 8 : entry + 12] = struct.pack("<I", value)

    stripped = strip_untrusted(bytes(longer))

    assert CANARY not in stripped.data
    assert opened(stripped.data).tobytes() == opened(source).tobytes()


def test_every_page_stays() -> None:
    pages = traps.frames()
    output = io.BytesIO()
    pages[0].save(output, "TIFF", save_all=True, append_images=pages[1:])
    source = output.getvalue()

    with Image.open(io.BytesIO(strip_untrusted(source).data)) as clean:
        assert frames_in(clean) == 3
        for number, page in enumerate(pages):
            clean.seek(number)
            assert clean.tobytes() == page.tobytes()


def plain_tiff(*directories: dict[int, int], pixels: bytes = bytes(range(64))) -> bytes:
    """Return a grey 8 x 8 TIFF for each directory's additional tags; they share the pixels."""
    at = 8 + len(pixels)
    pieces = [b"II*\0", struct.pack("<I", at), pixels]
    for number, more in enumerate(directories):
        tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64} | more
        values = {tag: (LONG, 1, struct.pack("<I", value)) for tag, value in tags.items()}
        size = len(write_directory(values, at, 0, order="<"))
        following = at + size if number + 1 < len(directories) else 0
        pieces.append(write_directory(values, at, following, order="<"))
        at += size
    return b"".join(pieces)


def directories(data: bytes) -> int:
    tiff = open_tiff(data)
    assert tiff is not None
    return len(list(tiff.chain()))


def test_a_smaller_copy_goes_and_stays_where_the_policy_keeps_previews() -> None:
    source = plain_tiff({}, {254: 1})

    without = strip_untrusted(source)
    kept = strip_untrusted(source, StripPolicy(previews=True))

    assert "thumbnail" in {part.kind for part in without.parts}
    assert directories(without.data) == 1
    assert directories(kept.data) == 2


def test_a_strip_is_cut_to_its_pixels() -> None:
    source = plain_tiff({279: 74}, pixels=bytes(range(64)) + CANARY)

    stripped = strip_untrusted(source)

    assert CANARY not in stripped.data
    assert opened(stripped.data).tobytes() == bytes(range(64))


def test_the_capture_time_stays_where_the_policy_keeps_it() -> None:
    at = len(plain_tiff({34665: 0}))
    taken = {0x9003: (ASCII, 20, b"2024:05:06 07:08:09\0"), 0x9286: (ASCII, 10, CANARY)}
    source = plain_tiff({34665: at}) + write_directory(taken, at, 0, order="<")

    stripped = strip_untrusted(source, StripPolicy(capture_time=True))

    assert CANARY not in stripped.data
    assert opened(stripped.data).getexif().get_ifd(0x8769) == {0x9003: "2024:05:06 07:08:09"}


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (b"II*\0\x08\0\0\0\0\0", "broken"),
        (b"MM\0*" + bytes(4), "broken"),
        (plain_tiff({50706: 1}), "unsupported"),  # DNG
        (plain_tiff({259: 6}), "unsupported"),  # JPEG as TIFF 6.0 had it
        (plain_tiff({254: 1}), "unsupported"),
        (plain_tiff({273: 1 << 31}), "broken"),
        (plain_tiff({279: 1 << 31}), "too_large"),
        (plain_tiff(*({} for _ in range(200)), pixels=bytes(100_000)), "ok"),
    ],
    ids=traps.short,
)
def test_what_cannot_be_taken_apart_is_refused(source: bytes, code: str) -> None:
    if code == "ok":
        assert len(strip_untrusted(source).data) < len(source)
        return
    with pytest.raises(StripError) as refusal:
        strip_untrusted(source)

    assert refusal.value.code == code


def test_directories_that_lead_back_to_themselves_are_read_once() -> None:
    source = bytearray(plain_tiff({}))
    source[-4:] = source[4:8]

    stripped = strip_untrusted(bytes(source))

    assert directories(stripped.data) == 1


def test_pages_that_share_their_pixels_to_grow_are_refused() -> None:
    big = bytes(1 << 20)
    pages = ({256: 1024, 257: 1024, 278: 1024, 279: 1 << 20} for _ in range(20))

    with pytest.raises(StripError) as refusal:
        strip_untrusted(plain_tiff(*pages, pixels=big))

    assert refusal.value.code == "too_large"


def test_a_text_in_a_tag_of_numbers_does_not_stay() -> None:
    values = {
        256: (LONG, 1, struct.pack("<I", 8)),
        257: (LONG, 1, struct.pack("<I", 8)),
        258: (SHORT, 1, struct.pack("<H", 8)),
        262: (SHORT, 1, struct.pack("<H", 1)),
        273: (LONG, 1, struct.pack("<I", 8)),
        279: (LONG, 1, struct.pack("<I", 64)),
        338: (2, len(CANARY), CANARY),
        339: (SHORT, 300, CANARY * 60),
    }
    source = (
        b"II*\0" + struct.pack("<I", 72) + bytes(64) + write_directory(values, 72, 0, order="<")
    )

    assert CANARY not in strip_untrusted(source).data
