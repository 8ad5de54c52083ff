from __future__ import annotations

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from node.imaging.formats import sniff
from node.imaging.metadata import metadata_groups_untrusted
from node.imaging.rendition import (
    make_preview_untrusted,
    make_screen_untrusted,
    make_thumbnails_untrusted,
    verified_clean,
)
from tests.support_pictures import (
    BLUE,
    CANARY,
    GREEN,
    GREY,
    RED,
    canaries,
    corners,
    encoded,
    landscape,
    opened,
    quarters,
    srgb_profile,
    swapped_profile,
    turned,
)

pytestmark = pytest.mark.usefixtures("limits_of_a_worker")

CLEAR = (0, 0, 0, 0)


def half_clear() -> Image.Image:
    """Return corners whose left half is transparent."""
    image = corners().convert("RGBA")
    image.paste(CLEAR, (0, 0, 40, 40))
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two images of one size, 0 to 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def test_thumbnails_have_the_long_edges_asked_for() -> None:
    made = make_thumbnails_untrusted(landscape(600, 400), (256, 100, 400))

    assert (made.format, made.width, made.height) == ("jpeg", 600, 400)
    assert {size: opened(data).size for size, data in made.encoded.items()} == {
        100: (100, 67),
        256: (256, 171),
        400: (400, 267),
    }


def test_thumbnails_show_the_picture() -> None:
    whole = opened(landscape(600, 400))

    made = make_thumbnails_untrusted(landscape(600, 400), (256,))
    thumbnail = opened(made.encoded[256])

    assert difference(whole.resize(thumbnail.size, Image.Resampling.LANCZOS), thumbnail) < 3


def test_thumbnails_never_enlarge() -> None:
    made = make_thumbnails_untrusted(encoded(corners(), "PNG"), (256, 1024))

    assert {opened(data).size for data in made.encoded.values()} == {(80, 40)}


def test_thumbnails_carry_nothing_but_pixels() -> None:
    made = make_thumbnails_untrusted(canaries(), (16, 64))

    for data in made.encoded.values():
        assert CANARY not in data
        assert metadata_groups_untrusted(data, "jpeg") == ()


def test_thumbnails_lie_on_white() -> None:
    made = make_thumbnails_untrusted(encoded(half_clear(), "PNG"), (64,))

    thumbnail = opened(made.encoded[64])
    assert sniff(made.encoded[64]) == "jpeg"
    assert thumbnail.convert("L").crop((10, 10, 11, 11)).tobytes()[0] > 250
    assert quarters(thumbnail)[1] == GREEN


def test_thumbnails_are_in_the_colours_of_screens() -> None:
    made = make_thumbnails_untrusted(
        encoded(corners(), "PNG", icc_profile=swapped_profile()), (64, 32)
    )

    for data in made.encoded.values():
        assert quarters(opened(data)) == (BLUE, GREEN, RED, GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_everything_made_is_upright(orientation: int) -> None:
    data = turned(orientation)
    expected = ImageOps.exif_transpose(opened(data))

    thumbnail = opened(make_thumbnails_untrusted(data, (64,)).encoded[64])
    preview = make_preview_untrusted(data, 64)
    screen = make_screen_untrusted(data, (64, 64))
    pixels = Image.frombytes("RGB", (screen.width, screen.height), screen.rgb)

    assert quarters(thumbnail) == quarters(expected)
    assert quarters(opened(preview.encoded)) == quarters(expected)
    assert quarters(pixels) == quarters(expected)
    assert thumbnail.size == pixels.size == (preview.width, preview.height)
    assert thumbnail.size == ((64, 32) if orientation < 5 else (32, 64))


def test_a_preview_says_what_it_left_behind() -> None:
    preview = make_preview_untrusted(canaries(), 64)

    assert preview.removed == (
        "exif",
        "gps",
        "maker_note",
        "thumbnail",
        "xmp",
        "comment",
        "trailer",
    )
    assert preview.kept == ()
    assert CANARY not in preview.encoded


def test_a_preview_keeps_the_colour_profile_of_its_pixels() -> None:
    data = encoded(corners(), "JPEG", icc_profile=swapped_profile(), quality=95)

    preview = make_preview_untrusted(data, 64)
    image = opened(preview.encoded)

    assert (preview.removed, preview.kept) == ((), ("icc",))
    assert image.info["icc_profile"] == swapped_profile()
    assert quarters(image) == (RED, GREEN, BLUE, GREY)


def test_a_preview_of_cmyk_is_rgb_without_its_profile() -> None:
    profile = srgb_profile().replace(b"RGB ", b"CMYK", 1)
    data = encoded(corners().convert("CMYK"), "JPEG", icc_profile=profile)

    preview = make_preview_untrusted(data, 64)

    assert (preview.format, preview.removed, preview.kept) == ("jpeg", ("icc",), ())
    assert opened(preview.encoded).mode == "RGB"
    assert quarters(opened(preview.encoded)) == (RED, GREEN, BLUE, GREY)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "GIF"])
def test_a_preview_keeps_transparency(image_format: str) -> None:
    preview = make_preview_untrusted(encoded(half_clear(), image_format, lossless=True), 64)
    image = opened(preview.encoded)

    assert preview.format == sniff(preview.encoded) == "png"
    opacity = image.getchannel("A")
    assert opacity.getpixel((10, 10)) == 0
    assert opacity.getpixel((50, 10)) == 255


def test_a_preview_in_which_nothing_is_transparent_is_a_jpeg() -> None:
    preview = make_preview_untrusted(encoded(corners().convert("RGBA"), "PNG"), 64)

    assert preview.format == "jpeg"


def test_a_preview_never_enlarges() -> None:
    preview = make_preview_untrusted(encoded(corners(), "PNG"), 2048)

    assert (preview.width, preview.height) == (80, 40)


def test_a_preview_shows_the_picture() -> None:
    whole = opened(landscape(1600, 1067))

    preview = make_preview_untrusted(landscape(1600, 1067), 1000)
    image = opened(preview.encoded)

    assert image.size == (1000, 667)
    assert difference(whole.resize(image.size, Image.Resampling.LANCZOS), image) < 3


def test_a_grey_picture_stays_grey() -> None:
    preview = make_preview_untrusted(encoded(corners().convert("L"), "JPEG"), 64)

    assert opened(preview.encoded).mode == "L"


@pytest.mark.parametrize(
    "dirt",
    [
        {"comment": b"hidden"},
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"},
        {"xmp": b"<x/>"},
        {"icc_profile": srgb_profile()},
    ],
)
def test_an_output_with_metadata_never_leaves_the_worker(dirt: dict[str, bytes]) -> None:
    with pytest.raises(RuntimeError, match="more than pixels"):
        verified_clean(encoded(corners(), "JPEG", **dirt), (80, 40), ())


def test_an_output_of_another_size_or_kind_never_leaves_the_worker() -> None:
    with pytest.raises(RuntimeError, match="more than pixels"):
        verified_clean(encoded(corners(), "JPEG"), (81, 40), ())
    with pytest.raises(RuntimeError, match="no picture"):
        verified_clean(b"nonsense", (80, 40), ())


def test_a_screen_shows_the_picture_on_black_and_fits_the_box() -> None:
    screen = make_screen_untrusted(encoded(half_clear(), "PNG"), (30, 100))
    image = Image.frombytes("RGB", (screen.width, screen.height), screen.rgb)

    assert image.size == (30, 15)
    assert image.getpixel((5, 5)) == (0, 0, 0)
    assert quarters(image)[1] == GREEN


def test_a_screen_has_three_bytes_a_pixel_for_a_grey_picture() -> None:
    screen = make_screen_untrusted(encoded(corners().convert("L"), "JPEG"), (1000, 1000))

    assert (screen.width, screen.height, len(screen.rgb)) == (80, 40, 80 * 40 * 3)


def test_a_screen_is_in_the_colours_of_screens() -> None:
    screen = make_screen_untrusted(
        encoded(corners(), "PNG", icc_profile=swapped_profile()), (80, 40)
    )
    image = Image.frombytes("RGB", (80, 40), screen.rgb)

    assert quarters(image) == (BLUE, GREEN, RED, GREY)
