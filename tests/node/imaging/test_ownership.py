from __future__ import annotations

import contextlib
import io
import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from node.imaging.contents import groups_untrusted, make_clean_untrusted
from node.imaging.messages import Ownership
from node.imaging.ownership import with_ownership
from node.imaging.pixels import configure_decoders, hash_pixels_untrusted
from node.imaging.rendition import make_preview_untrusted
from node.imaging.strip.container import container_of
from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.tiny import tiny_pictures
from tests.node.imaging.strip import heif_files
from tests.node.imaging.strip.test_samples import exiftool
from tests.node.imaging.strip.traps import animated, gain_map_jpeg, holds_canary, trapped_jpeg
from tests.support_pictures import corners, encoded, landscape, srgb_profile, turned

CREDIT = Ownership(
    creator="Zoë <Müller> & Söhne 写真",
    rights="© 2026 Zoë Müller, alle Rechte, 写真家",
    terms='No use "without" permission; not <b>for</b> resale',
)

PICTURES = {
    "jpeg": landscape(),
    "jpeg with traps": trapped_jpeg(),
    "jpeg turned": turned(6),
    "jpeg with profile": encoded(corners(), "JPEG", icc_profile=srgb_profile()),
    "jpeg grey": encoded(corners().convert("L"), "JPEG"),
    "png": encoded(corners(), "PNG", icc_profile=srgb_profile()),
    "png turned": turned(3, "PNG"),
    "webp": encoded(corners(), "WEBP"),
    "webp lossless": encoded(corners(), "WEBP", lossless=True),
    "webp transparent": encoded(corners().convert("RGBA").rotate(9), "WEBP", lossless=True),
    "webp turned": turned(8, "WEBP"),
    "tiff": encoded(corners(), "TIFF", dpi=(72, 72)),
    "tiff turned": turned(6, "TIFF"),
    "gif": encoded(corners(), "GIF"),
    "gif animated": animated("GIF"),
    "gif of 1987": b"GIF87a" + encoded(corners(), "GIF")[6:],
    "avif": encoded(corners(), "AVIF"),
    "avif with traps": heif_files.trapped(),
    "avif turned by xmp": encoded(corners(), "AVIF", xmp=b'<x tiff:Orientation="3"/>'),
    "heif": next(data for name, data in tiny_pictures() if name == "heif"),
}


@pytest.fixture(autouse=True, scope="module")
def decoders() -> None:
    configure_decoders()


def credited(data: bytes, ownership: Ownership = CREDIT) -> bytes:
    return make_clean_untrusted(data, ownership).data


@pytest.mark.parametrize("name", PICTURES)
def test_a_credited_copy_is_the_clean_one_and_its_credit(name: str) -> None:
    source = PICTURES[name]
    form = container_of(source)

    copy = make_clean_untrusted(source, CREDIT)

    assert "ownership" in copy.kept
    kept = {"ownership", "icc", "orientation", "second_picture"}
    assert set(copy.kept) <= (kept if form == "avif" else kept - {"second_picture"})
    assert not holds_canary(copy.data)
    assert hash_pixels_untrusted(copy.data, form) == hash_pixels_untrusted(source, form)
    plain, again = strip_untrusted(source), strip_untrusted(copy.data)
    assert again.kept.orientation == plain.kept.orientation
    assert again.kept == plain.kept
    # Crediting the copy that was stripped again gives the same bytes: nothing grows.
    assert credited(copy.data) == copy.data


@pytest.mark.parametrize("name", [name for name in PICTURES if not name.startswith("gif")])
def test_what_is_written_is_read_by_the_picture_library(name: str) -> None:
    with Image.open(io.BytesIO(credited(PICTURES[name]))) as image:
        exif = image.getexif()
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or exif.get(700)
        said = CREDIT.creator.encode()
        # The library writes the block of a turned AVIF anew, and there in ASCII.
        lost = said.decode("latin-1").encode("ascii", "replace").decode()
        assert exif[0x013B] in (CREDIT.creator, said.decode("latin-1"), lost)
        # An AVIF is turned by a property, which the library puts before its Exif.
        assert (
            name == "avif with traps"
            or exif.get(0x0112, 1) == strip_untrusted(PICTURES[name]).kept.orientation
        )
    text = packet.decode() if isinstance(packet, bytes) else str(packet)
    assert "Zoë &lt;Müller&gt; &amp; Söhne 写真" in text


@pytest.mark.parametrize(
    "ownership",
    [
        Ownership(creator="Ann"),
        Ownership(rights="© Ann"),
        Ownership(terms="none"),
        Ownership(creator="A" * 256, rights="写" * 85, terms="x" * 8_192),
        Ownership(creator="&amp;lt;", rights="]]>", terms="'\"<!--"),
    ],
)
@pytest.mark.parametrize("name", ["jpeg", "png turned", "webp", "tiff", "gif", "avif"])
def test_parts_of_a_credit_and_long_ones_are_written_too(name: str, ownership: Ownership) -> None:
    copy = credited(PICTURES[name], ownership)

    assert "ownership" in groups_untrusted(copy)


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_with_anything_beside_its_credit_is_not_taken_for_a_credited_one(name: str) -> None:
    copy = credited(PICTURES[name])
    names = set(groups_untrusted(copy))
    changes = [(b"http://ns.adobe.com/xap/1.0/rights/", b"x" * 35)]
    if container_of(copy) != "gif":  # which says it in one place
        changes.append((b"Zo\xc3\xab", b"Joe!"))
    for old, new in changes:
        assert len(old) == len(new)
        changed = copy.replace(old, new, 1)
        if changed != copy:
            assert set(groups_untrusted(changed)) - names, (name, old)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_is_cut_short_is_refused_or_credited_and_nothing_else(name: str) -> None:
    whole = strip_untrusted(PICTURES[name]).data
    form = container_of(whole)
    for length in range(12, min(len(whole), 900), 7):
        with contextlib.suppress(StripError):
            assert len(with_ownership(whole[:length], form, CREDIT)) > length


def test_a_credited_copy_has_no_gain_map() -> None:
    copy = make_clean_untrusted(gain_map_jpeg(), CREDIT)

    assert "second_picture" not in copy.kept
    assert "second_picture" in make_clean_untrusted(gain_map_jpeg(), None).kept


@pytest.mark.parametrize("name", ["jpeg with traps", "png turned", "webp transparent"])
def test_a_preview_is_credited_too(name: str) -> None:
    preview = make_preview_untrusted(PICTURES[name], 64, None, CREDIT)

    assert preview.kept[-1] == "ownership"
    assert set(groups_untrusted(preview.encoded)) == set(preview.kept)
    assert not holds_canary(preview.encoded)


def test_exiftool_finds_the_credit_valid_and_in_all_places(tmp_path: Path) -> None:
    command = exiftool()
    # The picture library writes no resolution into a TIFF that has none.
    pictures = {name: data for name, data in PICTURES.items() if name != "tiff turned"}
    for name, data in pictures.items():
        (tmp_path / f"{name}.{container_of(data)}").write_bytes(credited(data))

    answer = subprocess.run(
        [*command, "-j", "-G1", "-a", "-validate", "-warning", "-charset", "iptc=utf8", "-IFD0:all",
         "-XMP:all", "-IPTC:all", "-r", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    found = json.loads(answer.stdout)
    assert len(found) == len(pictures)
    for one in found:
        name = Path(one["SourceFile"]).name
        assert (name, one["ExifTool:Validate"]) == (name, "OK")
        if not name.endswith("gif"):
            assert one["IFD0:Artist"] == CREDIT.creator
            assert one["IFD0:Copyright"] == CREDIT.rights
        assert one["XMP-dc:Creator"] == CREDIT.creator
        assert one["XMP-dc:Rights"] == CREDIT.rights
        assert one["XMP-xmpRights:UsageTerms"] == CREDIT.terms
        if name.endswith(("jpeg", "tiff")):
            assert one["IPTC:By-line"] == CREDIT.creator
            assert one["IPTC:CopyrightNotice"] == CREDIT.rights
