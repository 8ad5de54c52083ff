from __future__ import annotations

import struct

import pytest

from node.imaging.strip import heif_codecs
from node.imaging.strip.boxes import box, full_box
from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.heif_items import Items, read_items
from node.imaging.strip.policy import StripPolicy
from tests.node.imaging.strip import heif_files, traps
from tests.node.imaging.strip.heif_files import Part, coded, file
from tests.support_pictures import CANARY, corners, opened


def items_of(data: bytes) -> Items:
    meta = memoryview(data)[data.index(b"meta") + 4 :]
    size = int.from_bytes(data[data.index(b"meta") - 4 : data.index(b"meta")])
    return read_items(meta[: size - 8])


def kinds(data: bytes) -> list[bytes]:
    return [item.kind for item in items_of(data).items.values()]


def test_of_a_trapped_file_the_picture_its_gain_map_and_orientation_are_left() -> None:
    stripped = strip_untrusted(heif_files.trapped())

    assert not traps.holds_canary(stripped.data)
    assert kinds(stripped.data) == [b"av01", b"av01", b"Exif"]
    assert opened(stripped.data).tobytes() == opened(heif_files.trapped()).tobytes()
    assert stripped.kept.orientation == 6
    assert {part.kind for part in stripped.parts if not part.kept} == {
        *("exif", "xmp", "thumbnail", "depth_map", "second_picture", "video", "application_data"),
    }
    assert [part.kind for part in stripped.parts if part.kept] == ["gain_map"]


@pytest.mark.parametrize(
    ("policy", "pictures"),
    [
        (StripPolicy(gain_maps=False), 1),
        (StripPolicy(), 2),
        (StripPolicy(previews=True), 3),
        (StripPolicy(previews=True, depth_maps=True), 4),
    ],
)
def test_the_policy_says_which_pictures_stay(policy: StripPolicy, pictures: int) -> None:
    stripped = strip_untrusted(heif_files.trapped(), policy)

    assert kinds(stripped.data).count(b"av01") == pictures
    assert opened(stripped.data).size == (80, 40)


def test_an_upright_picture_gets_no_exif_item() -> None:
    assert b"Exif" not in kinds(strip_untrusted(heif_files.trapped(1)).data)


def test_an_orientation_of_xmp_stays_one_of_xmp() -> None:
    pixels, av1c, ispe = coded()
    packet = b'<x:xmpmeta dc:creator="' + CANARY + b'" tiff:Orientation="3"/>'
    xmp = Part(b"mime", packet, (), ((b"cdsc", (1,)),), b"application/rdf+xml\0")
    source = file([Part(b"av01", pixels, (av1c, ispe)), xmp])

    stripped = strip_untrusted(source)

    assert not traps.holds_canary(stripped.data)
    assert opened(source).getexif()[0x0112] == opened(stripped.data).getexif()[0x0112] == 3


def test_turning_as_a_property_stays() -> None:
    pixels, av1c, ispe = coded()
    source = file([Part(b"av01", pixels, (av1c, ispe, box(b"irot", b"\1")))])

    stripped = strip_untrusted(source)

    assert box(b"irot", b"\1") in stripped.data
    assert opened(stripped.data).getexif() == opened(source).getexif()


def test_a_picture_of_tiles_and_its_transparency_stay() -> None:
    pixels, av1c, ispe = coded(corners(64, 64))
    grey, grey_av1c, _ = coded(corners(64, 64).convert("L"))
    grid = b"\0\0\0\1" + struct.pack(">HH", 128, 64)
    canvas = full_box(b"ispe", 0, 0, struct.pack(">II", 128, 64))
    alpha = heif_files.auxiliary(b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")
    parts = [
        Part(b"grid", grid, (canvas,), ((b"dimg", (2, 3)),), in_meta=True),
        Part(b"av01", pixels, (av1c, ispe)),
        Part(b"av01", pixels, (av1c, ispe)),
        Part(b"grid", grid, (canvas, alpha), ((b"dimg", (5, 6)), (b"auxl", (1,)))),
        Part(b"av01", grey, (grey_av1c, ispe)),
        Part(b"av01", grey, (grey_av1c, ispe)),
    ]
    source = file(parts)
    parts[0].data += CANARY

    stripped = strip_untrusted(file(parts))

    assert CANARY not in stripped.data
    assert kinds(stripped.data) == [b"grid", b"av01", b"av01", b"grid", b"av01", b"av01"]
    assert opened(stripped.data).mode == "RGBA"
    assert opened(stripped.data).tobytes() == opened(source).tobytes()


def test_the_variant_that_a_gain_map_makes_stays_with_its_alternatives() -> None:
    pixels, av1c, ispe = coded()
    group = full_box(b"altr", 0, 0, struct.pack(">5I", 9, 3, 3, 1, 77))
    source = file(
        [
            Part(b"av01", pixels, (av1c, ispe)),
            Part(b"av01", pixels, (av1c, ispe)),
            Part(b"tmap", bytes(62), (ispe,), ((b"dimg", (1, 2)),)),
        ],
        groups=group,
    )

    kept = items_of(strip_untrusted(source).data)
    dropped = items_of(strip_untrusted(source, StripPolicy(gain_maps=False)).data)

    assert [item.kind for item in kept.items.values()] == [b"av01", b"av01", b"tmap"]
    assert kept.alternatives == [(9, (3, 1))]
    assert [item.kind for item in dropped.items.values()] == [b"av01"]
    assert dropped.alternatives == []


def test_messages_of_hevc_encoders_go() -> None:
    config = memoryview(bytes(21) + b"\3\2\xa0\0\1\0\2AB\xa7\0\1\0\2CD")

    def unit(kind: int, payload: bytes) -> bytes:
        return (2 + len(payload)).to_bytes(4) + bytes((kind << 1, 1)) + payload

    kept = unit(33, b"sps") + unit(19, b"slice")
    coded_bytes = unit(35, b"") + unit(33, b"sps") + unit(39, CANARY) + unit(19, b"slice")

    assert heif_codecs.clean_hevc_config(config) == bytes(21) + b"\3\1\xa0\0\1\0\2AB"
    assert heif_codecs.clean_hevc(coded_bytes + unit(40, CANARY) + unit(38, CANARY), config) == kept


def picture(**changes: object) -> Part:
    pixels, av1c, ispe = coded()
    part = Part(b"av01", pixels, (av1c, ispe))
    for name, value in changes.items():
        setattr(part, name, value)
    return part


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (file([picture(kind=b"j2k1")]), "unsupported"),
        (file([picture(data=b"")]), "broken"),
        (file([picture()], primary=9), "broken"),
        (file([picture()])[: -len(CANARY) - 1], "broken"),
        (file([picture(references=((b"dimg", (1,)),))]), "ok"),
        (file([picture(kind=b"grid", references=((b"dimg", (2,)),))]), "unsupported"),
        (file([picture()]).replace(b"avifmif1", b"avismif1") + box(b"moov", b""), "ok"),
        (
            file([picture()]).replace(b"ftypavif", b"ftypavis") + box(b"moov", b""),
            "unsupported",
        ),
        (box(b"ftyp", b"heic", bytes(4)) + box(b"meta", bytes(4)), "broken"),
        (box(b"ftyp", b"heic", bytes(4)), "broken"),
        (box(b"ftyp", b"heic", bytes(4)) + box(b"free") * 100_001, "broken"),
    ],
    ids=traps.short,
)
def test_what_cannot_be_taken_apart_is_refused(source: bytes, code: str) -> None:
    if code == "ok":
        assert CANARY not in strip_untrusted(source).data
        return
    with pytest.raises(StripError) as refusal:
        strip_untrusted(source)

    assert refusal.value.code == code


def test_items_that_share_their_bytes_to_grow_are_refused() -> None:
    pixels, av1c, ispe = coded()
    parts = [Part(b"av01", pixels, (av1c, ispe))]
    parts += [Part(b"mime", b"x", (), (), b"text/plain\0") for _ in range(500)]
    source = bytearray(file(parts))
    at = source.index(b"iloc") + 4 + 4 + 2 + 2
    for number in range(1, 501):
        entry = at + 16 * number
        source[entry + 8 : entry + 16] = struct.pack(">II", 0, len(source))

    with pytest.raises(StripError) as refusal:
        strip_untrusted(bytes(source))

    assert refusal.value.code == "too_large"


def test_an_encrypted_picture_and_one_in_another_file_are_refused() -> None:
    source = file([picture()])
    info = source.index(b"infe") + 8
    encrypted = source[: info + 2] + b"\0\1" + source[info + 4 :]
    place = source.index(b"iloc") + 4 + 4 + 2 + 2
    elsewhere = source[: place + 4] + b"\0\1" + source[place + 6 :]

    for data in (encrypted, elsewhere):
        with pytest.raises(StripError) as refusal:
            strip_untrusted(data)
        assert refusal.value.code == "unsupported"
