from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from node.imaging.errors import ImagingError
from node.imaging.formats import FORMATS, SNIFF_BYTES, require_format, sniff
from tests.support_pictures import encoded


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_told_from_its_first_bytes(name: str) -> None:
    data = encoded(Image.new("RGB", (4, 4)), name)

    assert name == sniff(data[:SNIFF_BYTES])
    assert name == require_format(data)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"II+\0\x08\0\0\0", "TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
    ],
)
def test_a_known_format_that_is_not_read_is_named_in_the_refusal(head: bytes, named: str) -> None:
    with pytest.raises(ImagingError, match=f"^{named} pictures are not read") as refusal:
        require_format(head)

    assert refusal.value.code == "unknown_format"


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
