"""Import of whatever a folder holds: bad files, moved files, likenesses and sidecars."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from node.imaging.made import made_pictures
from node.imaging.pool import ImagingPool
from node.services.importing import collect, remove_unchanged
from node.vault.records import library as rows
from protocol.primitives import sha256
from tests.node.services.conditions import alone, blob_files, flip_byte, writer_held
from tests.node.services.team import Person
from tests.node.services.test_exporting import export
from tests.node.services.test_library import found, healthy, pictures, take
from tests.support import samples
from tests.support_pictures import HEADER_ONLY, corners, landscape, opened, quarters
from tests.support_raw import SENSOR, dng, dng_with_preview, file_of

# Bad input -----------------------------------------------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes) -> bytes:
    """Return a PNG of this size whose pixels are missing, with more chunks."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0"))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *more, pixels, png_chunk(b"IEND", b"")])


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a small JPEG whose header claims another size."""
    output = io.BytesIO()
    Image.new("RGB", (8, 8)).save(output, "JPEG")
    data = bytearray(output.getvalue())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def circular_tiff() -> bytes:
    """Return a TIFF whose only directory is empty and follows itself."""
    return b"II*\0" + struct.pack("<IHI", 8, 0, 8)


def tiff_of_size(width: int, height: int) -> bytes:
    """Return a small TIFF that claims another size."""
    data = file_of(Image.new("RGB", (8, 6)), "tiff")
    return data.replace(
        struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, width)
    ).replace(struct.pack("<HHII", 257, 4, 1, 6), struct.pack("<HHII", 257, 4, 1, height))


def of_size(image_format: str, width: int, height: int) -> bytes:
    """Return a small HEIC or AVIF that claims another size."""
    data = file_of(Image.new("RGB", (64, 64)), image_format)
    said = data.index(b"ispe") + 8
    return data[:said] + struct.pack(">II", width, height) + data[said + 8 :]


def half(image_format: str) -> bytes:
    whole = file_of(Image.open(io.BytesIO(landscape())), image_format)
    return whole[: len(whole) // 2]


def heic(*boxes: bytes) -> bytes:
    return struct.pack(">I4s4sI4s", 20, b"ftyp", b"heic", 0, b"mif1") + b"".join(boxes)


def nested_boxes(depth: int) -> bytes:
    box = b""
    for _ in range(depth):
        box = struct.pack(">I4s", 8 + len(box), b"meta") + box
    return box


BAD: dict[str, tuple[Callable[[bytes], bytes], set[str]]] = {
    "truncated.jpg": (lambda good: good[: len(good) // 2], {"broken"}),
    "zero.jpg": (lambda _: b"", {"empty"}),
    "65535.jpg": (lambda _: jpeg_of_size(65_535, 65_535), {"too_large"}),
    "65535.png": (lambda _: png(65_535, 65_535), {"too_large"}),
    "65535.tif": (lambda _: tiff_of_size(65_535, 65_535), {"too_large"}),
    "65535.heic": (lambda _: of_size("heif", 65_535, 65_535), {"too_large", "broken"}),
    "65535.avif": (lambda _: of_size("avif", 65_535, 65_535), {"too_large", "broken"}),
    "65535.dng": (lambda _: dng(sensor=(65_535, 65_535)), {"too_large", "unknown_format"}),
    "half.tif": (lambda _: half("tiff"), {"broken"}),
    "half.heic": (lambda _: half("heif"), {"broken"}),
    "half.avif": (lambda _: half("avif"), {"broken"}),
    "half.dng": (lambda _: half("raw"), {"broken"}),
    "cut sensor.dng": (lambda good: dng(good, sensor_bytes=1 << 24), {"broken"}),
    "circle.tif": (lambda _: circular_tiff(), {"broken"}),
    "boxes.heic": (lambda _: heic(nested_boxes(10_000)), {"broken"}),
    "boxes.cr3": (
        lambda _: heic(nested_boxes(10_000)).replace(b"heic", b"crx "),
        {"broken", "unknown_format"},
    ),
    "box of nothing.heic": (lambda _: heic(struct.pack(">I4s", 0, b"meta")), {"broken"}),
    "huge box.avif": (
        lambda _: heic().replace(b"heic", b"avif") + struct.pack(">I4sQ", 1, b"meta", 2**63),
        {"broken"},
    ),
    "head of an RAF.jpg": (lambda _: b"FUJIFILMCCD-RAW 0201", {"unknown_format", "broken"}),
    "drawing.jpg": (
        lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
        {"unknown_format"},
    ),
    "paper.jpg": (lambda _: b"%PDF-1.7\n1 0 obj\n", {"unknown_format"}),
    "noise.jpg": (lambda _: b"\xff\xd8\xff" + bytes(range(256)), {"broken"}),
}
"""How each file is made from a good one, and the reasons that are right for it."""


async def test_each_bad_file_has_its_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        (good,) = pictures(folder, "good.jpg")
        for name, (make, _) in BAD.items():
            (folder / name).write_bytes(make(good.read_bytes()))

        taken = await take(alice, folder)

        assert [one["name"] for one in taken["images"]] == ["good.jpg"]
        failed = {Path(one["path"]).name: one for one in taken["failed"]}
        assert set(failed) == set(BAD)
        for name, (_, codes) in BAD.items():
            assert failed[name]["code"] in codes, name
            assert failed[name]["message"], name
        assert await healthy(alice)


async def test_a_profile_that_unpacks_to_a_bomb_does_no_harm(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        bomb = zlib.compress(bytes(200 * 1024 * 1024), 9)
        output = io.BytesIO()
        Image.new("RGB", (40, 30), (200, 30, 30)).save(output, "PNG")
        data = output.getvalue()
        profile = png_chunk(b"iCCP", b"profile\0\0" + bomb)
        path = tmp_path / "profile.png"
        path.write_bytes(data[:33] + profile + data[33:])
        (good,) = pictures(tmp_path / "in", "good.jpg")

        taken = await take(alice, path, good)

        assert "good.jpg" in [one["name"] for one in taken["images"]]
        # Pixels are sound: either the profile is left out, or the file is refused with a reason.
        assert len(taken["images"]) + len(taken["failed"]) == 2
        assert {one["code"] for one in taken["failed"]} <= {"broken", "too_large"}


async def test_every_photograph_becomes_a_picture_and_its_original_stays_as_it_is(
    tmp_path: Path,
) -> None:
    folder = samples("photos")
    async with alone(tmp_path) as alice:
        taken = await take(alice, folder)

        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"]
        assert len(taken["images"]) == len(files) - 1 == 75
        failed = {Path(one["path"]).name: one["code"] for one in taken["failed"]}
        assert failed == {"README.md": "unknown_format", HEADER_ONLY: "broken"}
        formats = {one["format"] for one in taken["images"]}
        assert formats == {"jpeg", "png", "webp", "gif", "tiff", "heif", "avif"}
        for one in taken["images"]:
            row = await alice.node.library.resolve_image(one["id"])
            assert await alice.node.library.read_blob(row.blob_id) == Path(one["path"]).read_bytes()
            assert await alice.node.library.thumbnail(one["id"], 256)
        assert await healthy(alice)


async def test_a_second_import_of_the_same_files_decodes_and_seals_nothing(
    tmp_path: Path,
) -> None:
    imaging = ImagingPool(workers=2)
    async with alone(tmp_path, imaging=imaging) as alice:
        pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
        await take(alice, tmp_path / "in")
        before = await blob_files(alice, "original")
        # From here on nothing can be decoded.
        await imaging.close()

        again = await take(alice, tmp_path / "in")

        assert [one["duplicate"] for one in again["images"]] == [True] * 3
        assert again["failed"] == []
        assert await blob_files(alice, "original") == before


async def test_a_circle_of_pages_does_not_keep_a_tiff_from_its_first(tmp_path: Path) -> None:
    data = bytearray(file_of(corners(), "tiff"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)
    async with alone(tmp_path) as alice:
        (tmp_path / "circle.tif").write_bytes(data)

        (image,) = (await take(alice, tmp_path / "circle.tif"))["images"]

        assert (image["format"], image["width"], image["height"]) == ("tiff", 80, 40)


async def test_a_raw_file_is_kept_as_it_is_and_seen_by_the_picture_inside_it(
    tmp_path: Path,
) -> None:
    data = dng_with_preview(orientation=6)
    async with alone(tmp_path) as alice:
        (tmp_path / "harbour.dng").write_bytes(data)

        (image,) = (await take(alice, tmp_path / "harbour.dng"))["images"]

        assert (image["format"], image["width"], image["height"]) == ("raw", *SENSOR[::-1])
        thumbnail = opened(await alice.node.library.thumbnail(image["id"], 256))
        assert thumbnail.size == (80, 160)
        assert quarters(thumbnail) == quarters(corners().transpose(Image.Transpose.ROTATE_270))
        row = await alice.node.library.resolve_image(image["id"])
        assert await alice.node.library.read_blob(row.blob_id) == data
        told = await alice.node.library.inspect(image["id"])
        assert any("Arithmetic Raw" in one["value"] for one in told)
        assert await healthy(alice)


async def test_a_wrong_ending_matters_to_nobody(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path, "really a jpeg.png")

        (image,) = (await take(alice, path))["images"]

        assert image["format"] == "jpeg"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that fails to be read")
async def test_a_file_whose_reading_fails_is_reported(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        pictures(folder, "good.jpg")
        # Opening it succeeds; its first page is never there.
        (folder / "faulty.jpg").symlink_to("/proc/self/mem")

        taken = await take(alice, folder)

        assert [one["name"] for one in taken["images"]] == ["good.jpg"]
        assert [(Path(one["path"]).name, one["code"]) for one in taken["failed"]] == [
            ("faulty.jpg", "unreadable")
        ]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to this user")
async def test_a_file_and_a_folder_that_are_forbidden_are_reported(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        _, secret, hidden = pictures(folder, "good.jpg", "secret.jpg", "sub/hidden.jpg")
        secret.chmod(0)
        hidden.parent.chmod(0)
        try:
            taken = await take(alice, folder)
        finally:
            hidden.parent.chmod(0o700)

        assert [one["name"] for one in taken["images"]] == ["good.jpg"]
        assert {(Path(one["path"]).name, one["code"]) for one in taken["failed"]} == {
            ("secret.jpg", "unreadable"),
            ("sub", "unreadable"),
        }


async def test_names_that_no_file_has_are_reported(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (good,) = pictures(tmp_path, "good.jpg")
        loop = tmp_path / "loop"
        loop.symlink_to(loop)

        taken = await take(alice, good, loop, tmp_path / "zero\0byte.jpg")

        assert {one["code"] for one in taken["failed"]} == {"unreadable", "not_found"}


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system takes no such name")
async def test_a_file_is_named_by_a_uri_where_its_path_is_no_text(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path, "good.jpg")
        strange = path.rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 1%41.jpg")))

        taken = await alice.node.library.import_paths(
            [strange.as_uri()],
            album=None,
            tags=[],
            classification="internal",
            progress=lambda *_: None,
        )

        assert [one["name"] for one in taken["images"]] == ["caf\ufffd 1%41.jpg"]


async def test_the_corrupt_samples_are_refused_one_by_one(tmp_path: Path) -> None:
    folder = samples("corrupt")
    async with alone(tmp_path) as alice:
        pictures(tmp_path / "in", "good.jpg")
        sources, _ = collect([str(folder)])

        taken = await take(alice, folder, tmp_path / "in")

        assert "good.jpg" in [one["name"] for one in taken["images"]]
        assert len(taken["images"]) + len(taken["failed"]) == len(sources) + 1
        assert all(one["code"] and one["message"] for one in taken["failed"])
        assert await healthy(alice)


# Moving --------------------------------------------------------------------------------------


async def test_moved_files_are_gone_and_their_very_bytes_are_in_the_vault(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        paths = pictures(folder, "a.jpg", "sub/b.jpg")
        contents = {path.name: path.read_bytes() for path in paths}
        (folder / "copy of a.jpg").write_bytes(contents["a.jpg"])
        (folder / "text.txt").write_text("no picture")

        taken = await take(alice, folder, move=True)

        assert [(one["moved"], one["stays"]) for one in taken["images"]] == [(True, "")] * 3
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["text.txt"]
        for image in taken["images"]:
            row = await alice.node.library.resolve_image(image["id"])
            assert await alice.node.library.read_blob(row.blob_id) in contents.values()


async def test_without_moving_every_file_stays(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "a.jpg")

        (image,) = (await take(alice, path))["images"]

        assert (image["moved"], image["stays"], image["path"]) == (False, "", str(path))
        assert path.exists()


async def test_a_duplicate_is_moved_only_where_the_copy_in_the_vault_is_sound(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "a.jpg")
        await take(alice, path)
        (sealed,) = await blob_files(alice, "original")
        flip_byte(sealed)

        (image,) = (await take(alice, path, move=True))["images"]

        assert (image["duplicate"], image["moved"]) == (True, False)
        assert "damaged" in image["stays"]
        assert path.exists()


async def test_a_link_stays_and_so_does_what_it_leads_to(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "elsewhere", "a.jpg")
        link = tmp_path / "link.jpg"
        link.symlink_to(path)

        (image,) = (await take(alice, link, move=True))["images"]

        assert (image["moved"], image["stays"]) == (False, "it is a link to the file")
        assert link.is_symlink()
        assert path.exists()


async def test_a_file_that_changes_before_it_is_removed_stays(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        paths = pictures(tmp_path / "in", "a.jpg", "b.jpg")
        async with writer_held(alice) as waiting:
            task = asyncio.create_task(take(alice, *paths, move=True))
            await waiting(2)
            # Both were read and sealed; somebody saves one before its copy is committed.
            paths[0].write_bytes(b"edited meanwhile")
        taken = await task

        moved = {one["name"]: (one["moved"], one["stays"]) for one in taken["images"]}
        assert moved == {"a.jpg": (False, "it has changed meanwhile"), "b.jpg": (True, "")}
        assert paths[0].read_bytes() == b"edited meanwhile"


def test_only_the_very_bytes_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")

    assert remove_unchanged(path, sha256(b"two")) == "it has changed meanwhile"
    assert path.exists()
    assert remove_unchanged(path, sha256(b"one")) == ""
    assert not path.exists()
    assert remove_unchanged(path, sha256(b"one")) == "No such file or directory"
    assert remove_unchanged(tmp_path, sha256(b"")) == "Is a directory"


# Likeness ------------------------------------------------------------------------------------


def saved_again(data: bytes, *, edge: int, quality: int) -> bytes:
    picture = Image.open(io.BytesIO(data))
    picture.thumbnail((edge, edge))
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=quality)
    return output.getvalue()


async def test_a_picture_that_was_saved_again_is_told_from_others(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        folder.mkdir()
        made = made_pictures(6, (640, 427))
        for name, data in made:
            (folder / name).write_bytes(data)
        first = await take(alice, folder)
        name, data = made[0]
        again = tmp_path / "again.jpg"
        again.write_bytes(saved_again(data, edge=500, quality=60))

        (image,) = (await take(alice, again))["images"]

        original = next(one for one in first["images"] if one["name"] == name)
        assert image["similar"][0] == {"id": original["id"], "name": name}
        assert len(image["similar"]) <= 3
        assert not image["duplicate"]
        assert (await take(alice, again))["images"][0]["similar"] == []


async def test_no_more_than_three_are_named_and_even_pictures_are_like_nothing(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        _, data = made_pictures(1, (640, 427))[0]
        counts = []
        for quality in (50, 60, 70, 80, 90):
            path = tmp_path / f"{quality}.jpg"
            path.write_bytes(saved_again(data, edge=600, quality=quality))
            counts.append(len((await take(alice, path))["images"][0]["similar"]))
        for colour in ("black", "grey", "white"):
            Image.new("RGB", (60, 40), colour).save(tmp_path / f"{colour}.png")
            (image,) = (await take(alice, tmp_path / f"{colour}.png"))["images"]
            assert image["similar"] == []

        assert counts == [0, 1, 2, 3, 3]
        plan = await alice.read(
            lambda db: db.execute(
                "EXPLAIN QUERY PLAN SELECT version_id FROM versions WHERE"
                " substr(likeness, 1, 2) = x'0000' OR substr(likeness, 7, 2) = x'0000'"
            ).fetchall()
        )
        assert not [step for *_, step in plan if step.startswith("SCAN")]


# Sidecars ------------------------------------------------------------------------------------


async def sidecars(person: Person, text: str) -> list[tuple[str, bytes]]:
    """Return name and plaintext of what is kept with a picture."""
    row = await person.node.library.resolve_image(text)
    kept = await person.read(lambda db: rows.sidecars_of(db, row.image_id))
    return [(one.name, await person.node.library.read_blob(one.blob_id)) for one in kept]


async def test_sidecars_are_kept_shown_and_exported_with_their_picture(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        pictures(folder, "a.jpg", "b.jpg", "c.jpg")
        (folder / "a.xmp").write_bytes(b"edit")
        (folder / "a.jpg.XMP").write_bytes(b"another")
        (folder / "b.AAE").write_bytes(b"phone")
        (folder / "lonely.xmp").write_bytes(b"nobody's")
        (folder / "film.thm").write_bytes((folder / "c.jpg").read_bytes())

        taken = await take(alice, folder)

        assert [one["name"] for one in taken["images"]] == ["a.jpg", "b.jpg", "c.jpg"]
        assert sorted((Path(one["path"]).name, one["code"]) for one in taken["failed"]) == [
            ("film.thm", "sidecar"),
            ("lonely.xmp", "sidecar"),
        ]
        assert await sidecars(alice, "a.jpg") == [("a.jpg.XMP", b"another"), ("a.xmp", b"edit")]
        shown = await alice.node.library.show("b.jpg")
        assert shown["sidecars"] == [
            {"name": "b.AAE", "bytes": 5, "sha256": sha256(b"phone").hex()}
        ]
        assert len(await blob_files(alice, "sidecar")) == 3
        assert await healthy(alice)

        out = tmp_path / "out"
        out.mkdir()
        (out / "a.jpg").write_text("mine")
        files = await export(alice, out, "a.jpg")

        assert sorted(Path(one["path"]).name for one in files) == [
            "a-1.jpg",
            "a-1.jpg.XMP",
            "a-1.xmp",
        ]
        assert (out / "a-1.xmp").read_bytes() == b"edit"
        assert len(await export(alice, out, "b.jpg", rendition="preview:50")) == 1


async def test_a_sidecar_is_added_once_and_a_later_edit_besides(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "a.jpg")
        await take(alice, path)
        path.with_suffix(".xmp").write_bytes(b"edit")

        await take(alice, path)
        await take(alice, path.parent)
        assert await sidecars(alice, "a.jpg") == [("a.xmp", b"edit")]
        path.with_suffix(".xmp").write_bytes(b"later")
        await take(alice, path)

        assert {data for _, data in await sidecars(alice, "a.jpg")} == {b"edit", b"later"}
        assert len(await blob_files(alice, "sidecar")) == 2
        assert await healthy(alice)


async def test_a_sidecar_moves_when_all_of_its_pictures_do(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        one, broken = pictures(folder, "one.jpg", "two.jpg")
        for name in ("one.xmp", "one.jpg.xmp", "two.xmp"):
            (folder / name).write_bytes(name.encode())
        (folder / "one.png").write_bytes(broken.read_bytes()[:900])
        broken.rename(folder / "two.JPEG")

        await take(alice, folder, move=True)

        # The broken file stays, and with it what belongs to it.
        assert sorted(path.name for path in folder.iterdir()) == ["one.png", "one.xmp"]
        assert [name for name, _ in await sidecars(alice, "one.jpg")] == ["one.jpg.xmp", "one.xmp"]
        assert [name for name, _ in await sidecars(alice, "two.JPEG")] == ["two.xmp"]
        assert not one.exists()


async def test_a_sidecar_that_cannot_be_read_does_not_hold_up_its_picture(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "a.jpg")
        os.mkfifo(path.with_suffix(".xmp"))

        taken = await take(alice, path, move=True)

        assert [one["moved"] for one in taken["images"]] == [True]
        assert [(Path(one["path"]).name, one["code"]) for one in taken["failed"]] == [
            ("a.xmp", "not_a_file")
        ]
        assert path.with_suffix(".xmp").exists()
        assert await found(alice) == ["a.jpg"]


async def test_a_damaged_sidecar_is_found_and_never_lets_a_file_go(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "a.jpg")
        path.with_suffix(".xmp").write_bytes(b"edit")
        await take(alice, path)
        (sealed,) = await blob_files(alice, "sidecar")
        flip_byte(sealed)

        taken = await take(alice, path, move=True)
        checked = await alice.node.check(read_data=True, progress=lambda *_: None)

        assert [one["moved"] for one in taken["images"]] == [True]
        assert [one["code"] for one in taken["failed"]] == ["not_removed"]
        assert path.with_suffix(".xmp").read_bytes() == b"edit"
        assert [(one["code"], one["picture"]) for one in checked["problems"]] == [("blob", "a.jpg")]


async def test_only_sidecars_are_nothing_to_import(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (tmp_path / "a.xmp").write_bytes(b"edit")

        taken = await take(alice, tmp_path / "a.xmp")

        assert taken["images"] == []
        assert ["belongs to a picture" in one["message"] for one in taken["failed"]] == [True]
