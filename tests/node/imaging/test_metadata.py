from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags

from node.imaging.formats import FORMATS
from node.imaging.metadata import GROUPS, metadata_groups_untrusted, telling_jpeg_untrusted
from node.imaging.pixels import configure_decoders
from tests.support import samples
from tests.support_pictures import canaries, corners, encoded, landscape, srgb_profile
from tests.support_raw import dng, file_of, raf, rw2

JPEG = encoded(corners(), "JPEG")
GIF = encoded(corners().quantize(4), "GIF")


def groups(data: bytes, image_format: str = "jpeg") -> set[str]:
    return set(metadata_groups_untrusted(data, image_format))


def segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", crc)


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_bare_picture_carries_nothing(image_format: str) -> None:
    bare = {"exif", "thumbnail", "second_picture", "application_data"}

    found = groups(file_of(corners(), image_format), image_format)

    # A raw file is all metadata but for the picture inside it.
    assert found == (bare if image_format == "raw" else set())


def test_what_a_camera_writes_is_named() -> None:
    assert metadata_groups_untrusted(landscape(), "jpeg") == ("exif", "gps")


def test_every_place_of_a_jpeg_is_named_in_the_order_people_read() -> None:
    found = metadata_groups_untrusted(canaries(), "jpeg")

    assert found == ("exif", "gps", "maker_note", "thumbnail", "xmp", "comment", "trailer")
    assert tuple(group for group in GROUPS if group in found) == found


@pytest.mark.parametrize(
    ("marker", "payload", "expected"),
    [
        (0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1\0\0\0", {"thumbnail"}),
        (0xE0, b"JFXX\0\x10", {"thumbnail"}),
        (0xE1, b"Exif\0\0nonsense", {"exif"}),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>", {"xmp"}),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<xmp:Thumbnails/>", {"xmp", "thumbnail"}),
        (0xE1, b"unheard of", {"application_data"}),
        (0xE2, b"ICC_PROFILE\0\1\1", {"icc"}),
        (0xE2, b"MPF\0II*\0", {"second_picture"}),
        (0xEB, b"JP\0\1", {"c2pa"}),
        (0xED, b"Photoshop 3.0\x008BIM", {"iptc"}),
        (0xEE, b"Adobe\0d\0\0\0\0\1", set()),
        (0xE6, b"GoPro\0", {"application_data"}),
        (0xFE, b"hello", {"comment"}),
    ],
)
def test_each_segment_of_a_jpeg_has_its_group(
    marker: int, payload: bytes, expected: set[str]
) -> None:
    assert expected == groups(JPEG[:2] + segment(marker, payload) + JPEG[2:])


def test_segments_between_the_scans_of_a_progressive_jpeg_are_found() -> None:
    progressive = encoded(corners(), "JPEG", progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")

    hidden = progressive[:last_scan] + segment(0xFE, b"hidden") + progressive[last_scan:]

    assert {"comment"} == groups(hidden)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b"\0\0\r\n ", set()),
        (b"anything", {"trailer"}),
        (JPEG, {"trailer", "second_picture"}),
        (b"\0\0\0\x18ftypmp42", {"trailer", "video"}),
    ],
)
def test_what_follows_a_jpeg_is_found(tail: bytes, expected: set[str]) -> None:
    assert expected == groups(JPEG + tail)


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (b"tEXt", b"Author\0somebody", {"text"}),
        (b"tEXt", b"Comment\0hello", {"comment"}),
        (b"zTXt", b"Author\0\0" + zlib.compress(b"somebody"), {"text"}),
        (b"zTXt", b"Author\0\0not deflated", {"text"}),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<exif:GPSLatitude/>", {"xmp", "gps"}),
        (
            b"iTXt",
            b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<exif:GPSLatitude/>"),
            {"xmp", "gps"},
        ),
        (b"tEXt", b"Raw profile type iptc\0\niptc\n4\n00000000", {"iptc"}),
        (b"tEXt", b"Raw profile type exif\0\nexif\n4\nnot hexadecimal", {"exif"}),
        (b"iCCP", b"name\0\0", {"icc"}),
        (b"tIME", b"\x07\xe8\1\1\0\0\0", {"time"}),
        (b"caBX", b"", {"c2pa"}),
        (b"acTL", b"", {"animation"}),
        (b"prVt", b"", {"application_data"}),
    ],
)
def test_each_chunk_of_a_png_has_its_group(kind: bytes, payload: bytes, expected: set[str]) -> None:
    data = encoded(corners(), "PNG")
    end_of_header = 8 + 25

    with_chunk = data[:end_of_header] + png_chunk(kind, payload) + data[end_of_header:]

    assert expected == groups(with_chunk, "png")


def test_exif_that_a_png_spells_in_hexadecimal_is_read() -> None:
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x8825, 4, 1, 26)
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n", zip=True)

    assert {"exif", "gps"} == groups(encoded(corners(), "PNG", pnginfo=text), "png")


def test_bytes_after_a_png_and_a_webp_are_found() -> None:
    assert {"trailer"} == groups(encoded(corners(), "PNG") + b"more", "png")
    assert {"trailer"} == groups(encoded(corners(), "WEBP") + b"more", "webp")


def test_chunks_of_a_webp_have_their_groups() -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N"}
    full = encoded(corners(), "WEBP", exif=exif, xmp=b"<x/>", icc_profile=srgb_profile())
    frames = encoded(corners(), "WEBP", save_all=True, append_images=[Image.new("RGB", (80, 40))])
    extra = b"C2PA" + struct.pack("<I", 2) + b"xx" + b"zzzz" + struct.pack("<I", 0)
    grown = full[:4] + struct.pack("<I", len(full) - 8 + len(extra)) + full[8:] + extra

    assert {"exif", "gps", "xmp", "icc"} == groups(full, "webp")
    assert {"animation"} == groups(frames, "webp")
    assert {"exif", "gps", "xmp", "icc", "c2pa", "application_data"} == groups(grown, "webp")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"!\xfe\5hello\0", {"comment"}),
        (b"!\x01\x0cxxxxxxxxxxxx\2hi\0", {"text"}),
        (b"!\xff\x0bXMP DataXMP<x/>\1\0", {"xmp"}),
        (b"!\xff\x0bICCRGBG1012\1x\0", {"icc"}),
        (b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", set()),
        (b"!\xff\x0bNETSCAPE2.0\3\1\0\0\3xyz\0", {"application_data"}),
        (b"!\xff\x0bPRIVATE1.00\1x\0", {"application_data"}),
        (b"!\xf9\4\0\0\0\0\0", set()),
    ],
)
def test_each_block_of_a_gif_has_its_group(block: bytes, expected: set[str]) -> None:
    assert expected == groups(GIF[:-1] + block + GIF[-1:], "gif")


def test_frames_and_bytes_after_a_gif_are_found() -> None:
    second = corners().transpose(Image.Transpose.ROTATE_180)
    animated = encoded(corners(), "GIF", save_all=True, append_images=[second])

    assert {"animation"} == groups(animated, "gif")
    assert {"trailer"} == groups(GIF + b"more", "gif")


@pytest.mark.parametrize(
    ("name", "image_format", "expected"),
    [
        (
            "all_segments.jpg",
            "jpeg",
            "exif gps thumbnail xmp iptc comment c2pa icc application_data trailer",
        ),
        ("progressive_com_between_scans.jpg", "jpeg", "exif gps comment"),
        ("motion_google.jpg", "jpeg", "exif gps xmp icc video trailer"),
        ("motion_samsung.jpg", "jpeg", "exif gps icc video trailer"),
        (
            "all_chunks.png",
            "png",
            "exif gps xmp comment text time c2pa icc application_data trailer",
        ),
        ("all_chunks.webp", "webp", "exif gps xmp c2pa icc application_data trailer"),
        ("comment_xmp_app.gif", "gif", "xmp comment animation application_data trailer"),
        ("all_tags.tif", "tiff", "exif gps xmp iptc icc"),
        ("exif_xmp.avif", "avif", "exif gps xmp icc"),
    ],
)
def test_the_trapped_samples_give_up_their_groups(
    name: str, image_format: str, expected: str
) -> None:
    data = samples("photos", "made", name).read_bytes()

    assert tuple(expected.split()) == metadata_groups_untrusted(data, image_format)


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        (270, "a description", {"exif"}),
        (700, b"<exif:GPSLatitude/>", {"xmp", "gps"}),
        (33723, b"\x1c\2\0\0\0", {"iptc"}),
        (34377, b"8BIM", {"iptc"}),
        (34675, srgb_profile(), {"icc"}),
        (65_000, "private", {"exif"}),
    ],
    # A made profile tells when it was made: as a name it would be another in each process.
    ids=["description", "xmp", "iptc", "photoshop", "profile", "private"],
)
def test_each_tag_of_a_tiff_has_its_group(tag: int, value: str | bytes, expected: set[str]) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = value
    if isinstance(value, bytes):
        tags.tagtype[tag] = TiffTags.UNDEFINED

    assert expected == groups(encoded(corners(), "TIFF", tiffinfo=tags), "tiff")


def test_further_pages_and_small_copies_of_a_tiff_are_found() -> None:
    pages = encoded(corners(), "TIFF", save_all=True, append_images=[corners()])
    first, second = corners(), corners()
    small = encoded(first, "TIFF", save_all=True, append_images=[second], tiffinfo={254: 1})

    assert {"second_picture"} == groups(pages, "tiff")
    assert {"thumbnail"} == groups(small, "tiff")


def test_a_tiff_whose_pages_follow_one_another_in_a_circle_is_read_once() -> None:
    data = bytearray(encoded(corners(), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)

    assert set() == groups(bytes(data), "tiff")


def test_items_and_boxes_of_heic_and_avif_have_their_groups() -> None:
    configure_decoders()
    exif = Image.Exif()
    exif[0x8825] = {1: "N"}
    told = {"exif": exif, "xmp": b"<x/>", "icc_profile": srgb_profile()}
    boxes = struct.pack(">I4sI4s", 8, b"mpvd", 8, b"sefd") + struct.pack(">I4s", 24, b"uuid")

    for image_format in ("heif", "avif"):
        bare = encoded(corners(), image_format)
        assert {"exif", "gps", "xmp", "icc"} == groups(
            encoded(corners(), image_format, **told), image_format
        )
        assert {"video", "application_data"} == groups(bare + boxes[:16], image_format)
        assert "c2pa" in groups(
            bare + boxes[16:] + bytes.fromhex("d8fec3d61b0e483c92975828877ec481"), image_format
        )
    with_more = encoded(
        corners(300, 200), "HEIF", save_all=True, append_images=[corners()], thumbnails=[64]
    )
    assert {"second_picture", "thumbnail"} == groups(with_more, "heif")


def test_raw_files_say_what_their_jpeg_says() -> None:
    positioned = dng(encoded(corners(), "JPEG"), exif={0x8825: (4, 1, struct.pack("<I", 8))})

    assert "gps" in groups(positioned, "raw")
    for data in (raf(landscape()), rw2(landscape())):
        assert telling_jpeg_untrusted(data) == landscape()
        assert {"exif", "gps", "thumbnail", "application_data"} == groups(data, "raw")
    assert telling_jpeg_untrusted(raf(b"none")) == b""


@given(st.sampled_from(FORMATS), st.binary(max_size=400))
def test_no_bytes_break_a_walk(image_format: str, data: bytes) -> None:
    assert set(GROUPS).issuperset(groups(data, image_format))


@given(st.data())
def test_no_damage_to_a_real_file_breaks_a_walk(data: st.DataObject) -> None:
    image_format = data.draw(st.sampled_from(FORMATS))
    exif = Image.Exif()
    exif[0x8825] = {1: "N"}
    if image_format in ("raw", "tiff"):
        whole = bytearray(file_of(corners(), image_format))
    else:
        configure_decoders()
        whole = bytearray(encoded(corners(), image_format, exif=exif, comment=b"hello"))
    for _ in range(data.draw(st.integers(0, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))

    assert set(GROUPS).issuperset(groups(bytes(whole[:cut]), image_format))
