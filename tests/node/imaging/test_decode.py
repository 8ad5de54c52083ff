from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from node.imaging.decode import MAX_PIXELS, decode_untrusted, fit, to_srgb
from node.imaging.errors import ImagingError
from node.imaging.formats import FORMATS
from node.imaging.pixels import configure_decoders
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
from tests.support_raw import SENSOR, dng, file_of

BOX = (4096, 4096)


pytestmark = [
    pytest.mark.usefixtures("limits_of_a_worker"),
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data"),
]


def test_each_format_decodes() -> None:
    for name in FORMATS:
        decoded = decode_untrusted(file_of(corners(), name), BOX)

        assert (decoded.format, decoded.width, decoded.height) == (name, 80, 40)
        assert decoded.whole == (SENSOR if name == "raw" else (80, 40))
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


def oriented_heif(orientation: int, image_format: str) -> bytes:
    """Return `corners` turned by a property: writers make one of the orientation they get."""
    configure_decoders()
    if image_format == "AVIF":
        return turned(orientation, image_format)
    image, exif = corners(), Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    return encoded(image, image_format)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["HEIF", "AVIF"])
def test_pictures_of_boxes_are_turned_by_their_property(
    orientation: int, image_format: str
) -> None:
    as_jpeg = ImageOps.exif_transpose(opened(turned(orientation)))

    decoded = decode_untrusted(oriented_heif(orientation, image_format), BOX)
    upright = decoded.upright(decoded.image)

    assert (decoded.width, decoded.height) == upright.size == as_jpeg.size
    assert quarters(upright) == quarters(as_jpeg)


def test_what_only_metadata_says_does_not_turn_pictures_of_boxes() -> None:
    configure_decoders()
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="6"/></x:xmpmeta>'

    decoded = decode_untrusted(encoded(corners(), "AVIF", xmp=packet), BOX)

    assert (decoded.orientation, decoded.width) == (1, 80)
    assert decode_untrusted(turned(6, "HEIF"), BOX).width == 80


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_by_its_tag(orientation: int) -> None:
    data = encoded(corners(), "TIFF", tiffinfo={274: orientation})
    as_jpeg = ImageOps.exif_transpose(opened(turned(orientation)))

    decoded = decode_untrusted(data, BOX)
    upright = decoded.upright(decoded.image)

    assert (decoded.width, decoded.height) == upright.size == as_jpeg.size
    assert quarters(upright) == quarters(as_jpeg)


def test_of_a_tiff_the_first_page_is_the_picture() -> None:
    other = Image.new("RGB", (200, 300))

    decoded = decode_untrusted(
        encoded(corners(), "TIFF", save_all=True, append_images=[other]), BOX
    )

    assert (decoded.width, decoded.height) == (80, 40)
    assert quarters(decoded.image) == (RED, GREEN, BLUE, GREY)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"])
def test_each_kind_of_tiff_decodes(mode: str, compression: str) -> None:
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(
            corners(), ImageCms.createProfile("sRGB"), lab, outputMode="LAB"
        )
        assert image is not None
    elif mode == "I;16":
        image = Image.frombytes("I;16", (8, 4), struct.pack("<32H", *range(0, 65_536, 2_048)))
    else:
        image = corners().convert(mode)

    decoded = decode_untrusted(encoded(image, "TIFF", compression=compression), BOX)

    assert decoded.image.mode in ("L", "RGB", "RGBA", "CMYK")
    if mode in ("RGB", "RGBA", "CMYK", "LAB"):
        assert quarters(decoded.image) == (RED, GREEN, BLUE, GREY)


# Raw camera files -----------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_file_shows_the_jpeg_inside_it_upright(orientation: int) -> None:
    shown = corners().resize((160, 80))
    turned_as = ImageOps.exif_transpose(opened(turned(orientation)))

    decoded = decode_untrusted(dng(encoded(shown, "JPEG"), orientation=orientation), BOX)
    upright = decoded.upright(decoded.image)

    assert decoded.format == "raw"
    assert sorted((decoded.width, decoded.height)) == [80, 160]
    assert decoded.whole == (SENSOR if orientation in (1, 3) else SENSOR[::-1])
    assert upright.size == (decoded.width, decoded.height)
    assert quarters(upright) == quarters(turned_as)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_file_shows_the_plain_pixels_inside_it_upright(orientation: int) -> None:
    turned_as = ImageOps.exif_transpose(opened(turned(orientation)))

    decoded = decode_untrusted(dng(bitmap=corners(), orientation=orientation), BOX)
    upright = decoded.upright(decoded.image)

    assert upright.size == (decoded.width, decoded.height) == turned_as.size
    assert quarters(upright) == quarters(turned_as)


@pytest.mark.parametrize(("orientation", "size"), [(1, (48, 32)), (6, (32, 48))])
def test_a_raw_file_without_a_picture_is_developed(orientation: int, size: tuple[int, int]) -> None:
    decoded = decode_untrusted(dng(orientation=orientation), BOX)

    assert decoded.upright(decoded.image).size == (decoded.width, decoded.height) == size
    assert decoded.whole == (size[0] * 2, size[1] * 2)
    assert quarters(decoded.image) == (RED,) * 4


def test_a_raw_file_with_a_tiny_picture_is_developed_where_that_shows_more() -> None:
    tiny = encoded(corners(), "JPEG")

    decoded = decode_untrusted(dng(tiny, sensor=(600, 400)), BOX)
    dark = decode_untrusted(dng(tiny, sensor=(600, 400), light=0), BOX)

    assert (decoded.width, decoded.height, decoded.whole) == (300, 200, (600, 400))
    assert quarters(decoded.image) == (RED,) * 4
    assert (dark.width, dark.height, dark.whole) == (80, 40, (600, 400))
    assert quarters(dark.image) == (RED, GREEN, BLUE, GREY)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (dng(sensor_bytes=1 << 20), "broken"),
        (dng(light=0), "broken"),
        (dng(sensor=(60_000, 60_000)), "too_large"),
        (b"FUJIFILMCCD-RAW 0201".ljust(400, b"\0"), "unknown_format"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(400), "unknown_format"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(8) + b"\0\1\0\0mdat", "broken"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(400), "unknown_format"),
    ],
    ids=["cut", "nothing to see", "bomb", "head of an RAF", "of a CR3", "cut CR3", "head of a CR2"],
)
def test_a_raw_file_that_shows_nothing_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(ImagingError) as refusal:
        decode_untrusted(data, BOX)

    assert refusal.value.code == code


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
        srgb_profile().replace(b"acsp", b"xxxx"),
        srgb_profile().replace(b"RGB ", b"CMYK", 1),
    ],
    # The bytes of a made profile hold the time at which it was made.
    ids=["short", "cut", "unsigned", "of other colours"],
)
def test_a_profile_that_is_none_for_these_pixels_is_dropped(profile: bytes) -> None:
    data = encoded(corners(), "PNG", icc_profile=profile)

    assert decode_untrusted(data, BOX).icc is None


def test_what_stands_behind_a_profile_is_cut_off() -> None:
    data = encoded(corners(), "PNG", icc_profile=srgb_profile() + b"\0\0")

    assert decode_untrusted(data, BOX).icc == srgb_profile()


def test_a_profile_of_noise_changes_nothing() -> None:
    noise = srgb_profile()[:128] + b"\xff" * (len(srgb_profile()) - 128)
    decoded = decode_untrusted(encoded(corners(), "PNG", icc_profile=noise), BOX)

    assert decoded.icc == noise
    assert quarters(to_srgb(decoded.image, noise)) == (RED, GREEN, BLUE, GREY)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_file_that_was_cut_short_is_broken(image_format: str, tenths: int) -> None:
    whole = file_of(opened(landscape()), image_format)

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
    whole = bytearray(file_of(corners(), data.draw(st.sampled_from(FORMATS))))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))

    code = None
    try:
        decode_untrusted(bytes(whole), BOX)
    except ImagingError as refusal:
        code = refusal.code

    assert code in (None, "broken", "too_large", "unknown_format")
