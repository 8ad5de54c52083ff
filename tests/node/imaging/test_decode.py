from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from node.imaging.decode import MAX_PIXELS, decode_untrusted, fit, to_srgb
from node.imaging.errors import ImagingError
from node.imaging.formats import FORMATS
from tests.support import samples
from tests.support_pictures import (
    BLUE,
    GREEN,
    GREY,
    RED,
    corners,
    encoded,
    landscape,
    opened,
    png,
    quarters,
    srgb_profile,
    swapped_profile,
    turned,
)

BOX = (4096, 4096)


pytestmark = [
    pytest.mark.usefixtures("limits_of_a_worker"),
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data"),
]


def test_each_format_decodes() -> None:
    for name in FORMATS:
        decoded = decode_untrusted(encoded(corners(), name), BOX)

        assert (decoded.format, decoded.width, decoded.height) == (name, 80, 40)
        assert quarters(decoded.image) == (RED, GREEN, BLUE, GREY)
        assert decoded.image.info == {}


def test_a_second_picture_behind_a_jpeg_does_not_make_it_another_format() -> None:
    pair = encoded(corners(), "MPO", save_all=True, append_images=[Image.new("RGB", (80, 40))])

    decoded = decode_untrusted(pair, BOX)

    assert decoded.format == "jpeg"
    assert quarters(decoded.image) == (RED, GREEN, BLUE, GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_pixels_are_turned_as_exif_says(orientation: int, image_format: str) -> None:
    data = turned(orientation, image_format)
    expected = ImageOps.exif_transpose(opened(data))

    decoded = decode_untrusted(data, BOX)
    upright = decoded.upright(decoded.image)

    assert (decoded.width, decoded.height) == expected.size == upright.size
    assert quarters(upright) == quarters(expected)
    assert decoded.stored(decoded.stored((3, 5))) == (3, 5)
    assert decoded.stored(expected.size) == (80, 40)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    assert decode_untrusted(turned(orientation), BOX).orientation == 1


def test_a_jpeg_is_decoded_no_larger_than_needed_and_measured_whole() -> None:
    data = encoded(Image.new("RGB", (1600, 800)), "JPEG")

    decoded = decode_untrusted(data, (200, 200))

    assert (decoded.width, decoded.height) == (1600, 800)
    assert decoded.image.size == (200, 100)
    assert decode_untrusted(data, (201, 201)).image.size == (400, 200)


def test_a_sideways_jpeg_fills_the_box_it_is_seen_in() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (1600, 800)), "JPEG", exif=exif)

    decoded = decode_untrusted(data, (100, 1000))

    assert (decoded.width, decoded.height) == (800, 1600)
    assert decoded.image.size == (200, 100)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", "L"),
        ("L", "L"),
        ("LA", "RGBA"),
        ("P", "RGB"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
    ],
)
def test_each_mode_of_a_png_becomes_one_of_four(mode: str, expected: str) -> None:
    data = encoded(corners().convert(mode), "PNG")

    assert decode_untrusted(data, BOX).image.mode == expected


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_becomes_alpha(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (0, 0, 0)).convert(mode)
    data = encoded(image, "PNG", transparency=0 if mode != "RGB" else (0, 0, 0))

    decoded = decode_untrusted(data, BOX)

    assert decoded.image.getchannel("A").getextrema() == (0, 0)


def test_sixteen_bits_of_grey_keep_their_brightness() -> None:
    values = (0, 257, 32_768, 65_535)
    deep = Image.frombytes("I;16", (4, 1), struct.pack("<4H", *values))

    decoded = decode_untrusted(encoded(deep, "PNG"), BOX)

    assert decoded.image.mode == "L"
    assert decoded.image.tobytes() == bytes((0, 1, 128, 255))


def test_cmyk_stays_cmyk_and_converts() -> None:
    decoded = decode_untrusted(encoded(corners().convert("CMYK"), "JPEG"), BOX)

    assert decoded.image.mode == "CMYK"
    assert quarters(to_srgb(decoded.image, None)) == (RED, GREEN, BLUE, GREY)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(image_format: str) -> None:
    second = corners().transpose(Image.Transpose.ROTATE_180)
    data = encoded(corners(), image_format, save_all=True, append_images=[second])

    assert quarters(decode_untrusted(data, BOX).image) == (RED, GREEN, BLUE, GREY)


def test_a_profile_is_followed_to_srgb() -> None:
    data = encoded(corners(), "PNG", icc_profile=swapped_profile())

    decoded = decode_untrusted(data, BOX)

    assert decoded.icc == swapped_profile()
    assert quarters(to_srgb(decoded.image, decoded.icc)) == (BLUE, GREEN, RED, GREY)


@pytest.mark.parametrize(
    "profile",
    [
        b"short",
        srgb_profile()[:-1],
        srgb_profile() + b"\0",
        srgb_profile().replace(b"acsp", b"xxxx"),
        srgb_profile().replace(b"RGB ", b"CMYK", 1),
    ],
    # The bytes of a made profile hold the time at which it was made.
    ids=["short", "cut", "longer", "unsigned", "of other colours"],
)
def test_a_profile_that_is_none_for_these_pixels_is_dropped(profile: bytes) -> None:
    data = encoded(corners(), "PNG", icc_profile=profile)

    assert decode_untrusted(data, BOX).icc is None


def test_a_profile_of_noise_changes_nothing() -> None:
    noise = srgb_profile()[:128] + b"\xff" * (len(srgb_profile()) - 128)
    decoded = decode_untrusted(encoded(corners(), "PNG", icc_profile=noise), BOX)

    assert decoded.icc == noise
    assert quarters(to_srgb(decoded.image, noise)) == (RED, GREEN, BLUE, GREY)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_file_that_was_cut_short_is_broken(image_format: str, tenths: int) -> None:
    whole = encoded(opened(landscape()), image_format)

    with pytest.raises(ImagingError) as refusal:
        decode_untrusted(whole[: len(whole) * tenths // 10], (64, 64))

    assert refusal.value.code == "broken"


def test_a_progressive_jpeg_that_lacks_its_last_scan_is_broken() -> None:
    whole = encoded(opened(landscape()), "JPEG", progressive=True)

    with pytest.raises(ImagingError) as refusal:
        decode_untrusted(whole[: whole.rindex(b"\xff\xda")], BOX)

    assert refusal.value.code == "broken"


@pytest.mark.parametrize(
    ("width", "height"),
    [(12_000, 10_001), (16_000, 16_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)],
)
def test_a_bomb_is_refused_by_its_size(width: int, height: int) -> None:
    assert width * height > MAX_PIXELS

    with pytest.raises(ImagingError) as refusal:
        decode_untrusted(png(width, height), (64, 64))

    assert refusal.value.code == "too_large"


def test_broken_metadata_does_not_make_a_picture_broken() -> None:
    data = encoded(corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    decoded = decode_untrusted(data, BOX)

    assert (decoded.orientation, decoded.width) == (1, 80)


@pytest.mark.parametrize("name", ["hopper_bad_exif.jpg", "invalid-exif.jpg", "broken_exif_dpi.jpg"])
def test_samples_with_broken_metadata_decode(name: str) -> None:
    data = samples("corrupt", "pillow", name).read_bytes()

    assert decode_untrusted(data, BOX).format == "jpeg"


@given(
    st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    st.tuples(st.integers(1, 5_000), st.integers(1, 5_000)),
)
def test_fitting_never_enlarges_never_overflows_and_never_vanishes(
    size: tuple[int, int], box: tuple[int, int]
) -> None:
    width, height = fit(size, box)

    assert 1 <= width <= min(size[0], box[0])
    assert 1 <= height <= min(size[1], box[1])
    assert fit((width, height), box) == (width, height)


@given(st.data())
def test_no_damage_to_a_file_raises_anything_but_a_typed_refusal(data: st.DataObject) -> None:
    whole = bytearray(encoded(corners(), data.draw(st.sampled_from(FORMATS))))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))

    code = None
    try:
        decode_untrusted(bytes(whole), BOX)
    except ImagingError as refusal:
        code = refusal.code

    assert code in (None, "broken", "too_large", "unknown_format")
