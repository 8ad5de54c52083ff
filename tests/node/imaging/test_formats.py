from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from node.imaging.errors import ImagingError
from node.imaging.formats import (
    FORMATS,
    SNIFF_BYTES,
    exact_format_untrusted,
    is_raw_untrusted,
    require_format,
    sniff,
)
from tests.support_pictures import corners, encoded
from tests.support_raw import dng, file_of


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_told_from_its_bytes(name: str) -> None:
    data = file_of(Image.new("RGB", (16, 8)), name)

    assert sniff(data[:SNIFF_BYTES]) == require_format(data) == ("tiff" if name == "raw" else name)
    assert name == exact_format_untrusted(data)
    assert is_raw_untrusted(data) == (name == "raw")


@pytest.mark.parametrize(
    "head",
    [
        b"FUJIFILMCCD-RAW 0201",
        b"IIU\0\x18\0\0\0",
        b"IIRO\x08\0\0\0",
        b"IIRS\x08\0\0\0",
        b"MMOR\0\0\0\x08",
        b"FOVb\0\0\3\0",
        b"\0MRM\0\1\0\0",
        b"II\x1a\0\0\0HEAPCCDR\2\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1",
        b"II*\0\x10\0\0\0CR\2\0",
        b"II*\0\x10\0\0\0IIII",
    ],
)
def test_raw_files_of_camera_makers_are_told_from_their_first_bytes(head: bytes) -> None:
    assert sniff(head) == exact_format_untrusted(head) == "raw"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"MM\0*\0\0\0\x08", "tiff"),
        (b"II+\0\x08\0\0\0", "tiff"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heic", "heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0avif", "avif"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "avif"),
    ],
)
def test_containers_are_told_by_their_head_and_brands(head: bytes, name: str) -> None:
    assert sniff(head) == require_format(head) == name


def test_a_tiff_is_raw_where_a_directory_below_another_holds_what_a_sensor_saw() -> None:
    of_sensor = dng(b"", bitmap=corners())

    assert is_raw_untrusted(of_sensor)
    # Without DNG's own tag the directory below still tells.
    assert is_raw_untrusted(of_sensor.replace(struct.pack("<H", 50706), struct.pack("<H", 50705)))
    assert not is_raw_untrusted(encoded(corners(), "TIFF"))


@pytest.mark.parametrize(
    "data", [b"%PDF-1.7", b"<svg/>", b"\0\0\0\x18ftypisom", b"RIFF\0\0\0\0WAVE", b"\xff\xd8"]
)
def test_anything_else_is_an_unknown_format(data: bytes) -> None:
    with pytest.raises(ImagingError, match=r"^not a picture") as refusal:
        require_format(data)

    assert refusal.value.code == "unknown_format"


def test_no_bytes_are_empty() -> None:
    with pytest.raises(ImagingError) as refusal:
        require_format(b"")

    assert refusal.value.code == "empty"


@given(st.binary(max_size=64))
def test_any_bytes_have_a_format_or_a_typed_refusal(data: bytes) -> None:
    code = None
    try:
        assert require_format(data) in FORMATS
    except ImagingError as refusal:
        code = refusal.code

    assert code in (None, "empty", "unknown_format")


@given(st.binary(max_size=200))
def test_no_bytes_behind_the_head_of_a_tiff_break_the_look_at_its_directories(rest: bytes) -> None:
    assert exact_format_untrusted(b"II*\0" + rest) in ("tiff", "raw")
