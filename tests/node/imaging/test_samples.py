from __future__ import annotations

import asyncio
import io
import resource
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from node.imaging.formats import sniff
from node.imaging.metadata import metadata_groups_untrusted
from node.imaging.pixels import configure_decoders
from node.imaging.pool import ImagingError, ImagingPool, Measured, Pixels, Rendered
from tests.support import samples
from tests.support_pictures import CANARY, HEADER_ONLY, corrupt_files, opened, photographs

Outcome = Measured | Rendered | Pixels | str


async def outcomes(
    files: dict[str, bytes], job: Callable[[bytes], Awaitable[Any]]
) -> dict[str, Outcome]:
    """Do one job with every file at once; a refusal counts as its code."""

    async def one(data: bytes) -> Outcome:
        try:
            outcome: Outcome = await job(data)
        except ImagingError as refusal:
            return refusal.code
        return outcome

    results = await asyncio.gather(*map(one, files.values()))
    return dict(zip(files, results, strict=True))


def seen_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a picture turned upright, as Pillow alone understands it."""
    image_format = sniff(data[:32])
    with Image.open(io.BytesIO(data)) as image:
        if image_format in ("heif", "avif"):
            # Turned by a property, which is followed on loading; what an XMP packet says is not.
            image.load()
            return image.size
        return ImageOps.exif_transpose(image).size


async def test_every_photograph_of_a_known_format_is_measured_as_it_is_seen(
    pool: ImagingPool,
) -> None:
    files = photographs()

    measured = await outcomes(files, pool.measure_and_thumbnail)

    refused = {name: one for name, one in measured.items() if isinstance(one, str)}
    assert refused == {f"pillow/{HEADER_ONLY}": "broken"}
    assert len(measured) == 76
    configure_decoders()
    for name, one in measured.items():
        if isinstance(one, Measured):
            seen = seen_size(files[name])
            assert (name, one.width, one.height) == (name, *seen)
            assert max(opened(one.thumbnails[1024]).size) == min(1024, max(seen))
            assert max(opened(one.thumbnails[256]).size) == min(256, max(seen))


async def test_previews_of_every_photograph_are_clean(pool: ImagingPool) -> None:
    files = photographs()

    previews = await outcomes(files, lambda data: pool.render_preview(data, 800))

    rendered = {name: one for name, one in previews.items() if isinstance(one, Rendered)}
    assert len(rendered) == 75
    for name, one in rendered.items():
        found = metadata_groups_untrusted(files[name], str(sniff(files[name][:32])))
        assert metadata_groups_untrusted(one.data, one.format) == one.kept
        assert set(one.removed) == set(found) - set(one.kept)
        assert CANARY not in one.data
        image = opened(one.data)
        assert image.size == (one.width, one.height)
        assert max(image.size) <= 800
        assert len(image.getexif()) == 0


async def test_the_trapped_photographs_had_something_to_remove(pool: ImagingPool) -> None:
    files = {name: data for name, data in photographs().items() if name.startswith("made")}
    trapped = {name: data for name, data in files.items() if sniff(data[:32])}

    previews = await outcomes(trapped, lambda data: pool.render_preview(data, 2048))

    assert len(trapped) == 10
    for name, one in previews.items():
        assert isinstance(one, Rendered), name
        assert CANARY in trapped[name] or "gps" in one.removed
        assert one.removed


@pytest.mark.parametrize(
    "parts",
    [
        ("exifsamples", "landscape_6.jpg"),
        ("pillow", "hopper_orientation_5.jpg"),
        ("immich", "portrait-orientation-6.jpg"),
        ("pillow", "exif_imagemagick_orientation.png"),
        ("pillow", "xmp_tags_orientation.png"),
        ("immich", "samsung-one-ui-6.heic"),
        ("mde", "IMG_2927.HEIC"),
        ("made", "all_tags.tif"),
    ],
)
async def test_photographs_taken_sideways_come_out_upright(
    pool: ImagingPool, parts: tuple[str, str]
) -> None:
    configure_decoders()
    data = samples("photos", *parts).read_bytes()
    upright = ImageOps.exif_transpose(opened(data))

    measured = await pool.measure_and_thumbnail(data)
    preview = opened((await pool.render_preview(data, 4096)).data)
    pixels = await pool.pixels(data, 4096, 4096)
    shown = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb)

    assert preview.size == shown.size == upright.size
    upright.thumbnail((512, 512))
    for image in (preview, opened(measured.thumbnails[1024]), shown):
        image.thumbnail((512, 512))
        assert image.size == upright.size
        turns = {turn: difference(image, upright.transpose(turn)) for turn in Image.Transpose}
        assert difference(image, upright) < min(turns.values()) / 2


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return how far the brightness of two images is apart, 0 to 255."""
    other = other.convert("L").resize(one.size)
    return ImageStat.Stat(ImageChops.difference(one.convert("L"), other)).mean[0]


async def test_colour_profiles_of_photographs_reach_their_previews(pool: ImagingPool) -> None:
    configure_decoders()
    for parts in (("mde", "IMG_2927.HEIC"), ("mde", "Issue_437_dotnet.heic"),
                  ("made", "exif_xmp.avif"), ("made", "all_tags.tif")):  # fmt: skip
        data = samples("photos", *parts).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            profile = image.info["icc_profile"]

        preview = await pool.render_preview(data, 800)

        assert preview.kept == ("icc",)
        assert profile.startswith(opened(preview.data).info["icc_profile"])


async def test_every_corrupt_file_is_refused_or_decoded_and_the_pool_lives() -> None:
    files = corrupt_files()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pool = ImagingPool(2)
    await pool.start()

    for job in (
        pool.measure_and_thumbnail,
        lambda data: pool.render_preview(data, 2048),
        lambda data: pool.pixels(data, 1600, 1000),
    ):
        results = await asyncio.wait_for(outcomes(files, job), 60)

        refusals = {one for one in results.values() if isinstance(one, str)}
        assert refusals <= {"empty", "unknown_format", "broken", "too_large"}
        assert len(results) == 86
    alive = await pool.measure_and_thumbnail(
        samples("photos", "pillow", "hopper_orientation_5.jpg").read_bytes()
    )
    await pool.close()

    assert alive.width == 128
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 100_000
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1_500_000


@pytest.mark.parametrize(
    "name",
    [
        "bomb_jpeg_sof_65500.jpg",
        "bomb_png_30000x30000_1bit.png",
        "bomb_png_dims_2e31.png",
        "bomb_webp_vp8x_16383.webp",
        "gif_65535_canvas.gif",
    ],
)
async def test_bombs_are_called_too_large(pool: ImagingPool, name: str) -> None:
    data = samples("corrupt", "made", name).read_bytes()

    with pytest.raises(ImagingError) as refusal:
        await pool.measure_and_thumbnail(data)

    assert refusal.value.code == "too_large"
