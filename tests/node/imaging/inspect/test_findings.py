from __future__ import annotations

import struct
import time
import unicodedata

import piexif
import pytest

from node.imaging.inspect.carriers import profile_name_untrusted, xmp_findings_untrusted
from node.imaging.inspect.exif import findings_untrusted as exif_findings_untrusted
from node.imaging.inspect.finding import GROUPS, MAX_FINDINGS, Finding, shown
from node.imaging.inspect.iptc import records_untrusted, resources_untrusted
from node.imaging.inspect.words import (
    disclosure_untrusted,
    findings_untrusted,
    groups_untrusted,
)
from node.imaging.inspect.xmp import properties_untrusted
from node.imaging.metadata import GROUPS as MANIFEST_GROUPS
from node.imaging.strip.engine import strip_untrusted, walk_untrusted
from node.imaging.strip.jpeg_segments import APP0, COM
from node.imaging.strip.policy import StripPolicy
from protocol.identity import clean_text
from tests.node.imaging.strip import heif_files, traps
from tests.node.imaging.strip.test_tiff import plain_tiff
from tests.support_pictures import corners, encoded


def found_in(data: bytes) -> tuple[Finding, ...]:
    walked = walk_untrusted(data)
    return findings_untrusted(walked.parts, walked.kept.orientation)


def plain(data: bytes) -> dict[str, list[str]]:
    """Return the plain words by group."""
    words: dict[str, list[str]] = {}
    for finding in found_in(data):
        if finding.plain:
            words.setdefault(finding.group, []).append(finding.value)
    return words


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    return traps.with_segments(traps.jpeg(), *segments)


def test_an_exif_block_says_where_when_who_and_with_what() -> None:
    words = plain(jpeg_with((APP0 + 1, b"Exif\0\0" + traps.exif_block())))

    assert words["where"] == ["position 48.8500 N 2.3500 E"]
    assert words["when"] == ["taken 2024:05:06 07:08:09"]
    assert words["who"] == ["artist CANARY-PUB Ann"]
    assert words["device"] == [
        "camera Acme One",
        "camera serial 0451-CANARY-PUB",
        "the camera maker's own record, 80 bytes",
    ]
    assert words["hidden"][0].startswith("a small copy of the picture, ")
    assert words["other"][-1] == "to be shown turned a quarter right"


def test_the_tags_are_there_as_the_file_has_them() -> None:
    tags = {
        finding.tag: finding
        for finding in found_in(jpeg_with((APP0 + 1, b"Exif\0\0" + traps.exif_block())))
        if not finding.plain
    }

    assert tags["Exif Make"].value == "Acme"
    assert tags["Exif GPSLatitude"].value == "48 51 0"
    assert tags["Exif GPSLatitude"].sensitive
    assert tags["Exif Orientation"].value == "6"
    assert not tags["Exif Orientation"].sensitive
    assert tags["Exif BodySerialNumber"].group == "device"


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        ((b"S", b"W"), "position 48.8500 S 2.3500 W"),
        ((b"", b"?"), "position 48.8500 N 2.3500 E"),
    ],
)
def test_positions_have_their_hemispheres(references: tuple[bytes, bytes], expected: str) -> None:
    gps = {
        piexif.GPSIFD.GPSLatitudeRef: references[0],
        piexif.GPSIFD.GPSLatitude: ((48, 1), (51, 1), (0, 1)),
        piexif.GPSIFD.GPSLongitudeRef: references[1],
        piexif.GPSIFD.GPSLongitude: ((235, 100), (0, 1), (0, 1)),
        piexif.GPSIFD.GPSAltitude: (350, 10),
    }

    found = list(exif_findings_untrusted(piexif.dump({"GPS": gps})))

    assert [one.value for one in found if one.plain and one.group == "where"] == [
        f"{expected}, 35 m"
    ]


def test_a_position_without_numbers_is_none() -> None:
    gps = {piexif.GPSIFD.GPSLatitude: ((48, 0), (0, 0), (0, 0)), piexif.GPSIFD.GPSLatitudeRef: "N"}

    assert not [one for one in exif_findings_untrusted(piexif.dump({"GPS": gps})) if one.plain]


def test_xmp_says_the_same_in_its_own_words() -> None:
    packet = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description
        exif:GPSLatitude="48,51.0N" exif:GPSLongitude='2,21.5E' xmp:CreatorTool="Maker 1">
        <dc:creator><rdf:Seq><rdf:li>Ann &amp; Bob</rdf:li></rdf:Seq></dc:creator>
        <dc:subject><rdf:Bag><rdf:li>one</rdf:li><rdf:li>two</rdf:li></rdf:Bag></dc:subject>
        <aux:SerialNumber>0451</aux:SerialNumber>
        </rdf:Description></rdf:RDF></x:xmpmeta>"""

    said = {one.value for one in xmp_findings_untrusted(packet) if one.plain}

    assert said == {
        *("position 48.8500 N 2.3583 E", "software Maker 1", "creator Ann & Bob"),
        *("keyword one", "keyword two", "camera serial 0451"),
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be", "utf-16-le"])
def test_xmp_is_read_in_its_encodings_and_cut_off_anywhere(encoding: str) -> None:
    packet = "<x:xmpmeta><rdf:RDF><dc:rights>© Ann</dc:rights></rdf:RDF></x:xmpmeta>"

    for end in range(len(packet.encode(encoding))):
        list(properties_untrusted(packet.encode(encoding)[:end]))

    assert list(properties_untrusted(packet.encode(encoding))) == [("dc:rights", "© Ann")]


@pytest.mark.parametrize(
    "packet",
    [
        b"<a " * 500_000,
        b"<a b='" * 300_000,
        b"<a>" * 500_000 + b"x",
        b'<a b="' + b"x" * 4_000_000,
        b"<a " + b"b=c " * 500_000 + b'"',
        b"<!ENTITY a '&b;&b;'>" * 10_000 + b"<dc:title>&a;</dc:title>",
    ],
    ids=traps.short,
)
def test_hostile_xmp_takes_no_time_and_expands_nothing(packet: bytes) -> None:
    start = time.monotonic()

    found = list(xmp_findings_untrusted(packet))

    assert time.monotonic() - start < 20
    assert len(found) <= 2 * MAX_FINDINGS + 1
    assert all(len(one.value.encode()) <= 203 for one in found)


def test_iptc_and_photoshop_are_read() -> None:
    iim = b"".join(
        b"\x1c\x02" + bytes((number,)) + len(text).to_bytes(2) + text
        for number, text in ((80, b"Ann"), (90, b"Paris"), (120, "Brücke".encode("latin-1")))
    )
    resource = b"8BIM\x04\x04\0\0" + len(iim).to_bytes(4) + iim + b"\0" * (len(iim) % 2)
    thumbnail = b"8BIM\x04\x0c\0\0" + (4).to_bytes(4) + b"jpeg"

    words = plain(jpeg_with((APP0 + 13, b"Photoshop 3.0\0" + resource + thumbnail)))

    assert words["who"] == ["author Ann"]
    assert words["where"] == ["city Paris"]
    assert words["text"] == ["description Brücke"]
    assert words["hidden"] == ["a small copy of the picture, 4 bytes"]


@pytest.mark.parametrize(
    "data", [b"8BIM", b"8BIM\4\4\xff", b"\x1c\2\5\xff\xff", b"\x1c\2", b"junk"]
)
def test_broken_iptc_ends_the_reading(data: bytes) -> None:
    assert len(list(resources_untrusted(data))) <= 1
    assert list(records_untrusted(data)) == []


def test_comments_and_texts_are_quoted_and_cut() -> None:
    words = plain(jpeg_with((COM, b"short"), (COM, "é".encode() * 500)))

    assert words["text"][0] == "comment short"
    assert words["text"][1].endswith("…")
    assert len(words["text"][1].encode()) <= 200


def test_no_value_can_steer_a_terminal_or_mislead_a_reader() -> None:
    evil = "\x1b[2J\u202egnp.exe\r\n\u200b\x07Ann"

    for finding in found_in(
        jpeg_with(
            (COM, evil.encode()),
            (APP0 + 1, traps.XMP_HEAD + f"<dc:title>{evil}</dc:title>".encode()),
            (APP0 + 1, b"Exif\0\0" + piexif.dump({"0th": {315: evil.encode()}})[6:]),
        )
    ):
        assert finding.value == clean_text(finding.value, 1_000)
        assert finding.tag == clean_text(finding.tag, 1_000)
        assert not any(unicodedata.category(one).startswith("C") for one in finding.value)


def test_hidden_pictures_and_signed_credentials_are_named() -> None:
    credentials = (APP0 + 11, b"JP" + bytes(998))
    words = plain(
        jpeg_with(credentials, credentials)
        + traps.jpeg()
        + b"\0\0\0\x18ftypmp42"
        + bytes(2_000_000)
    )

    assert words["provenance"] == ["signed content credentials, 2.0 kB"]
    assert words["hidden"][0].startswith("a hidden second picture, ")
    assert words["hidden"][1] == "a hidden video, 2.0 MB"


def test_a_depth_map_inside_of_a_long_xmp_packet_is_named() -> None:
    guid = bytes(40)
    packet = b'<rdf:Description GDepth:Data="' + b"QUJD" * 200 + b'"/>'
    head = b"http://ns.adobe.com/xmp/extension/\0"

    words = plain(
        jpeg_with((APP0 + 1, head + guid + packet[:300]), (APP0 + 1, head + guid + packet[300:]))
    )

    assert words["hidden"][0].startswith("a depth map inside the XMP packet of ")


def test_the_pictures_of_an_avif_are_named() -> None:
    words = plain(heif_files.trapped())

    assert {one.rpartition(",")[0] for one in words["hidden"]} == {
        *("a hidden video", "a small copy of the picture", "a gain map", "a depth map"),
        "a hidden second picture",
    }


def test_the_name_of_a_profile_is_read_in_both_spellings() -> None:
    text = "Display P3".encode("utf-16-be")
    mluc = b"mluc\0\0\0\0" + struct.pack(">IIHHII", 1, 12, 0, 0, len(text), 28) + text
    desc = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"sRGB\0"

    for element, name in ((mluc, "Display P3"), (desc, "sRGB"), (b"text", ""), (b"", "")):
        profile = bytes(128) + struct.pack(">I4sII", 1, b"desc", 144, len(element)) + element
        assert profile_name_untrusted(profile) == name
    assert profile_name_untrusted(b"") == ""
    assert profile_name_untrusted(traps.PROFILE)


def test_a_disclosure_tells_what_went_and_what_stayed() -> None:
    disclosure = disclosure_untrusted(strip_untrusted(traps.trapped_jpeg()))

    assert "position 48.8500 N 2.3500 E" in disclosure.removed
    assert any(line.startswith("a hidden second picture, ") for line in disclosure.removed)
    assert disclosure.kept[-1] == "to be shown turned a quarter right"
    assert disclosure.kept[0].startswith("colour profile")


def test_groups_name_what_stands_inside_another_block_too() -> None:
    groups = groups_untrusted(strip_untrusted(traps.trapped_jpeg()).parts)

    assert {"exif", "gps", "maker_note", "thumbnail", "xmp", "second_picture"} <= set(groups)
    assert set(groups) <= set(MANIFEST_GROUPS)
    assert groups_untrusted(strip_untrusted(plain_tiff({}, {})).parts) == ("exif",)
    packet = b'<x xmp:Thumbnails="" exif:GPSLatitude="48,51N"/>'
    xmp = jpeg_with((APP0 + 1, b"http://ns.adobe.com/xap/1.0/\0" + packet))
    assert {"gps", "thumbnail", "xmp"} <= set(groups_untrusted(strip_untrusted(xmp).parts))


def test_what_the_policy_keeps_is_not_called_removed() -> None:
    policy = StripPolicy(capture_time=True, previews=True)
    source = jpeg_with((APP0 + 1, b"Exif\0\0" + traps.exif_block()))

    disclosure = disclosure_untrusted(strip_untrusted(source, policy))

    assert "taken 2024:05:06 07:08:09" in disclosure.kept
    assert "taken 2024:05:06 07:08:09" not in disclosure.removed
    assert any(line.startswith("a small copy of the picture") for line in disclosure.kept)


def test_a_disclosure_has_room_in_a_signed_manifest() -> None:
    comments = [(COM, b"%d " % number + b"x" * 500) for number in range(500)]

    disclosure = disclosure_untrusted(strip_untrusted(jpeg_with(*comments)))

    assert len(disclosure.removed) == 64
    assert disclosure.removed[-1] == "and 437 more"
    assert all(0 < len(line.encode()) <= 256 for line in disclosure.removed)
    assert all(clean_text(line, 256) == line for line in disclosure.removed)


def test_findings_are_bounded_and_in_the_order_of_their_groups() -> None:
    comments = [(COM, b"%d" % number) for number in range(3_000)]

    found = found_in(jpeg_with(*comments))

    assert len(found) <= MAX_FINDINGS + 1
    assert [one.group for one in found] == sorted((one.group for one in found), key=GROUPS.index)


def test_a_clean_picture_tells_nothing() -> None:
    assert found_in(encoded(corners(), "PNG")) == ()
    assert plain(traps.jpeg()).keys() == {"other"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", "plain"), (b"\xe9t\xe9", "été"), (b"\xc3\xa9" * 3_000, "é" * 98 + "…"), (b"", "")],
    ids=("plain", "latin", "long", "empty"),
)
def test_foreign_text_is_shown_on_one_line(text: str | bytes, expected: str) -> None:
    assert shown(text) == expected
