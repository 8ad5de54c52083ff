from __future__ import annotations

import pytest

from node.imaging.strip import engine
from node.imaging.strip.container import container_of
from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.parts import Cleaned, Kept
from node.imaging.strip.policy import StripPolicy
from tests.node.imaging.strip import heif_files, traps
from tests.support_pictures import corners, encoded


def test_a_copy_that_does_not_pass_the_walk_again_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leaky(data: bytes, _policy: StripPolicy) -> Cleaned:
        return Cleaned(pieces=(data, b"more"), parts=(), kept=Kept())

    monkeypatch.setitem(engine._WALKS, "jpeg", leaky)
    with pytest.raises(StripError) as refusal:
        strip_untrusted(traps.jpeg())

    assert refusal.value.code == "not_clean"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (traps.jpeg(), "jpeg"),
        (encoded(corners(), "TIFF"), "tiff"),
        (heif_files.trapped(), "avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "avif"),
    ],
    ids=traps.short,
)
def test_the_format_is_told_by_the_first_bytes(data: bytes, expected: str) -> None:
    assert container_of(data) == expected


@pytest.mark.parametrize(
    "data", [b"<svg/>", b"%PDF-1.7", b"\0\0\0\x18ftypmp42\0\0\0\0", b"\xff\xd8"]
)
def test_what_is_no_picture_is_refused_by_its_first_bytes(data: bytes) -> None:
    with pytest.raises(StripError) as refusal:
        strip_untrusted(data)

    assert refusal.value.code == "unknown_format"


def test_an_empty_file_and_one_without_end_are_refused() -> None:
    for data, code in ((b"", "empty"), (b"\xff\xd8\xff" + bytes(256 << 20), "too_large")):
        with pytest.raises(StripError) as refusal:
            strip_untrusted(data)
        assert refusal.value.code == code
