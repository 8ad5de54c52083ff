from __future__ import annotations

import pytest

from node.imaging.errors import ImagingError
from node.imaging.pool import ImagingPool
from node.imaging.strip import engine, verified
from node.imaging.strip.engine import Stripped, container_of, strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.parts import Cleaned, Kept
from node.imaging.strip.policy import StripPolicy
from node.imaging.strip.verified import strip_verified
from tests.node.imaging.conftest import pool
from tests.node.imaging.strip import heif_files, traps
from tests.support_pictures import corners, encoded

__all__ = ["pool"]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
async def test_a_copy_is_compared_with_its_source(pool: ImagingPool, image_format: str) -> None:
    source = encoded(corners(), image_format)

    stripped = await strip_verified(pool, source)

    assert stripped.format == image_format.lower()
    assert stripped.data == strip_untrusted(source).data


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "GIF"])
async def test_every_frame_counts(pool: ImagingPool, image_format: str) -> None:
    source = traps.animated(image_format)

    whole = await pool.hash_pixels(source, image_format.lower())
    first = await pool.hash_pixels(encoded(traps.frames()[0], image_format), image_format.lower())

    assert whole.frames == 3
    assert first.frames == 1
    assert whole.digest != first.digest


async def test_a_copy_that_looks_different_is_refused(
    pool: ImagingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = encoded(corners().rotate(90), "PNG")
    source = encoded(corners(), "PNG")

    def wrong(_data: bytes, _policy: StripPolicy) -> Stripped:
        return Stripped(data=other, format="png", parts=(), kept=Kept())

    monkeypatch.setattr(verified, "strip_untrusted", wrong)
    with pytest.raises(StripError) as refusal:
        await strip_verified(pool, source)
    assert refusal.value.code == "pixels_differ"

    monkeypatch.setattr(
        verified,
        "strip_untrusted",
        lambda *_: Stripped(data=source[:60], format="png", parts=(), kept=Kept()),
    )
    with pytest.raises(StripError) as refusal:
        await strip_verified(pool, source)
    assert refusal.value.code == "pixels_differ"


async def test_a_source_that_no_decoder_takes_is_refused(pool: ImagingPool) -> None:
    source = encoded(corners(), "PNG")
    short = b"".join(
        traps.chunk(kind, payload[: len(payload) // 2] if kind == b"IDAT" else payload)
        for kind, payload in traps.png_chunks(source)
    )

    with pytest.raises(ImagingError) as refusal:
        await strip_verified(pool, source[:8] + short)

    assert refusal.value.code == "broken"


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
