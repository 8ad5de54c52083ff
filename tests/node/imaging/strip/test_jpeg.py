from __future__ import annotations

import io

import pytest
from PIL import Image

from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.jpeg_segments import APP0, COM, segment, segments
from node.imaging.strip.policy import StripPolicy
from tests.node.imaging.strip import traps
from tests.support_pictures import CANARY, corners, encoded, frames_in, opened, quarters


def kinds(data: bytes, **policy: bool) -> set[str]:
    return {part.kind for part in strip_untrusted(data, StripPolicy(**policy)).parts}


def markers(data: bytes) -> list[int]:
    return [one.marker for one in segments(data, 0)]


def test_of_a_trapped_picture_only_what_decoding_needs_is_left() -> None:
    stripped = strip_untrusted(traps.trapped_jpeg())

    assert not traps.holds_canary(stripped.data)
    assert b"Acme" not in stripped.data
    apps = [marker for marker in markers(stripped.data) if APP0 <= marker <= 0xFE]
    assert apps == [APP0, APP0 + 1, APP0 + 2]
    assert {part.kind for part in stripped.parts if not part.kept} == {
        *("exif", "xmp", "application_data", "c2pa", "photoshop", "comment"),
        *("second_picture", "trailer"),
    }


def test_pixels_orientation_and_profile_stay() -> None:
    source = traps.trapped_jpeg()

    clean = opened(strip_untrusted(source).data)

    assert clean.tobytes() == opened(source).tobytes()
    assert clean.getexif() == {0x0112: 6}
    assert clean.info["icc_profile"] == traps.PROFILE


def test_an_upright_picture_gets_no_exif_block() -> None:
    source = traps.with_segments(
        traps.jpeg(), (APP0 + 1, b"Exif\0\0" + traps.exif_block(orientation=1))
    )

    assert "exif" not in opened(strip_untrusted(source).data).info


def test_an_orientation_that_only_a_later_scan_or_xmp_says_counts_as_decoders_count_it() -> None:
    by_xmp = traps.with_segments(
        traps.jpeg(), (APP0 + 1, traps.XMP_HEAD + b'<x:xmpmeta tiff:Orientation="8"/>')
    )
    late = traps.jpeg()
    scan = late.index(b"\xff\xd9")
    late = late[:scan] + segment(APP0 + 1, b"Exif\0\0" + traps.exif_block(6)) + late[scan:]

    assert strip_untrusted(by_xmp).kept.orientation == 8
    assert strip_untrusted(late).kept.orientation == 1


def test_a_clean_picture_is_not_changed() -> None:
    clean = strip_untrusted(traps.trapped_jpeg()).data

    assert strip_untrusted(clean).data == clean


def test_what_hides_behind_the_end_of_tables_and_headers_goes() -> None:
    data = traps.jpeg()
    quantisation = data.index(b"\xff\xdb")
    length = int.from_bytes(data[quantisation + 2 : quantisation + 4])
    longer = (length + len(CANARY)).to_bytes(2)
    data = (
        data[: quantisation + 2]
        + longer
        + data[quantisation + 4 : quantisation + 2 + length]
        + CANARY
        + data[quantisation + 2 + length :]
    )
    jfif = data[6:20]
    data = data[:2] + segment(APP0, jfif[:14] + CANARY) + data[20:]

    stripped = strip_untrusted(data)

    assert CANARY not in stripped.data
    assert opened(stripped.data).tobytes() == opened(traps.jpeg()).tobytes()
    assert "thumbnail" in {part.kind for part in stripped.parts}


def test_bytes_behind_the_colour_profile_go() -> None:
    longer = traps.PROFILE + CANARY
    source = encoded(corners(), "JPEG", icc_profile=longer)

    assert opened(strip_untrusted(source).data).info["icc_profile"] == traps.PROFILE


def test_a_profile_that_is_none_is_removed_and_said_so() -> None:
    source = encoded(corners(), "JPEG", icc_profile=CANARY * 20)

    stripped = strip_untrusted(source)

    assert "icc_profile" not in opened(stripped.data).info
    assert [(part.kind, part.kept) for part in stripped.parts] == [("icc", False)]


def test_junk_between_segments_is_skipped_as_decoders_skip_it() -> None:
    data = traps.jpeg()
    source = data[:20] + CANARY + b"\0\0" + data[20:]

    stripped = strip_untrusted(source)

    assert CANARY not in stripped.data
    assert quarters(opened(stripped.data)) == quarters(opened(data))


def test_a_video_behind_the_picture_goes() -> None:
    assert "video" in kinds(traps.jpeg() + b"\0\0\0\x18ftypmp42" + CANARY * 30)


@pytest.mark.parametrize("kind", ["hdrgm", "iso", "apple"])
def test_a_gain_map_stays_with_its_numbers_alone(kind: str) -> None:
    picture, gain_map = traps.picture_and_gain_map(kind)

    stripped = strip_untrusted(picture + gain_map + CANARY)

    assert CANARY not in stripped.data
    assert "gain_map" in {part.kind for part in stripped.parts if part.kept}
    kept = stripped.data[stripped.data.rindex(b"\xff\xd8\xff") :]
    assert opened(kept).tobytes() == opened(gain_map).tobytes()
    assert opened(stripped.data).tobytes() == opened(picture).tobytes()
    wanted = {
        "hdrgm": (b'hdrgm:GainMapMax="2.5"', b"<rdf:li>1.1</rdf:li>", b'Item:Semantic="GainMap"'),
        "iso": (traps.ISO_GAIN_MAP + bytes(61), traps.ISO_GAIN_MAP + bytes(4)),
        "apple": (b'HDRGainMap:HDRGainMapVersion="65536"',),
    }
    for text in wanted[kind]:
        assert text in stripped.data


def test_the_index_of_pictures_leads_to_the_gain_map() -> None:
    data = strip_untrusted(traps.gain_map_jpeg("apple")).data

    with Image.open(io.BytesIO(data)) as image:
        assert frames_in(image) == 2
        image.seek(1)
        assert image.size == (40, 20)


def test_the_length_of_a_gain_map_is_the_one_written() -> None:
    data = strip_untrusted(traps.gain_map_jpeg()).data

    gain_map = data[data.rindex(b"\xff\xd8\xff") :]

    assert f'Item:Length="{len(gain_map)}"'.encode() in data


def test_a_gain_map_goes_where_the_policy_drops_it() -> None:
    stripped = strip_untrusted(traps.gain_map_jpeg(), StripPolicy(gain_maps=False))

    assert stripped.data.count(b"\xff\xd8\xff") == 1
    assert b"hdrgm" not in stripped.data
    assert not any(part.kept for part in stripped.parts if part.kind == "gain_map")


def test_the_capture_time_stays_where_the_policy_keeps_it() -> None:
    stripped = strip_untrusted(traps.trapped_jpeg(), StripPolicy(capture_time=True))

    exif = opened(stripped.data).getexif()

    assert exif.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    assert exif.get_ifd(0x8769)[0x9011] == "+02:00"
    assert set(exif) == {0x0112, 0x8769}
    assert not traps.holds_canary(stripped.data)


def test_the_preview_stays_where_the_policy_keeps_it() -> None:
    source = traps.with_segments(traps.jpeg(), (APP0 + 1, b"Exif\0\0" + traps.exif_block()))

    stripped = strip_untrusted(source, StripPolicy(previews=True))

    assert stripped.kept.preview in stripped.data
    assert opened(stripped.kept.preview).size == (16, 8)
    assert not traps.holds_canary(stripped.data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff",
        traps.jpeg()[:60],
        traps.jpeg().replace(b"\xff\xda", b"\xff\xfe"),
        b"\xff\xd8" + b"\xff\xe0\0\2" * 100_001,
    ],
    ids=traps.short,
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(StripError) as refusal:
        strip_untrusted(data)

    assert refusal.value.code in ("broken", "too_large")


def test_a_comment_alone_is_found() -> None:
    stripped = strip_untrusted(traps.with_segments(traps.jpeg(), (COM, b"hello")))

    assert [(part.kind, bytes(part.data)) for part in stripped.parts if not part.kept] == [
        ("comment", b"hello")
    ]
