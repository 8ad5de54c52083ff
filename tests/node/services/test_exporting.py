"""Own pictures as files: whatever the folder holds, and nothing in them that was not asked for."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from node.errors import NodeError, UsageError
from node.services.crediting import Wish
from protocol.errors import SafelightError
from tests.node.imaging.strip.traps import holds_canary, trapped_jpeg
from tests.node.services.conditions import alone, blob_files, flip_byte
from tests.node.services.team import Person
from tests.node.services.test_library import pictures, take
from tests.support_pictures import corners, encoded, landscape, opened


async def export(person: Person, out: Path, *what: str, rendition: str = "original") -> list[Any]:
    result = await person.node.exporting.export(
        list(what), out=str(out), rendition=rendition, wish=Wish(), progress=lambda *_: None
    )
    files: list[Any] = result["files"]
    return files


async def imported(person: Person, data: bytes, name: str = "harbour.jpg") -> dict[str, Any]:
    image: dict[str, Any] = await person.node.library.import_bytes(
        data, name=name, classification="internal", provenance=b""
    )
    return image


def odd_picture() -> bytes:
    """Return a PNG with a chunk that no reader may leave out: it is drawn, and never cleaned."""
    png = encoded(corners(), "PNG")
    return png[:33] + b"\0\0\0\1ABCDx" + zlib.crc32(b"ABCDx").to_bytes(4) + png[33:]


async def test_an_export_is_logged_and_never_overwrites(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        one, two = pictures(tmp_path / "in", "a/same.jpg", "b/same.jpg")
        images = (await take(alice, tmp_path / "in", album="Both"))["images"]
        out = tmp_path / "out"
        out.mkdir()
        (out / "same.jpg").write_text("mine")

        files = await export(alice, out, "Both")
        await export(alice, out, images[0]["id"])

        assert (out / "same.jpg").read_text() == "mine"
        assert {Path(file["path"]).name for file in files} == {"same-1.jpg", "same-2.jpg"}
        assert {Path(file["path"]).read_bytes() for file in files} == {
            one.read_bytes(),
            two.read_bytes(),
        }
        assert (out / "same-3.jpg").read_bytes() == one.read_bytes()
        assert len(await alice.events("exported")) == 3


async def test_no_name_of_a_picture_leaves_the_folder_of_an_export(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        names = ["..", "../up.jpg", "/etc/x.jpg", ".profile", "con.jpg", "a\\..\\b", "-", "x" * 250]
        paths = pictures(tmp_path / "in", *(f"{number}.jpg" for number in range(len(names))))
        images = [
            await alice.node.library.import_bytes(
                path.read_bytes(), name=name, classification="internal", provenance=b""
            )
            for path, name in zip(paths, names, strict=True)
        ]
        out = tmp_path / "out" / "deep"

        files = await export(alice, out, *(image["id"] for image in images))

        assert {Path(file["path"]).parent for file in files} == {out}
        assert [Path(file["path"]).read_bytes() for file in files] == [
            path.read_bytes() for path in paths
        ]
        assert sorted(one.name for one in tmp_path.iterdir()) == ["alice", "in", "out"]
        assert not [one for one in out.iterdir() if one.name.startswith(".")]


async def test_an_exported_preview_carries_no_metadata(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "one.jpg", size=(200, 100))
        await take(alice, path)

        (file,) = await export(alice, tmp_path / "out", "one.jpg", rendition="preview:50")

        data = Path(file["path"]).read_bytes()
        assert Path(file["path"]).name == "one.jpg"
        assert b"ARITHMETIC" in path.read_bytes()
        assert b"ARITHMETIC" not in data
        assert file["bytes"] == len(data)


@pytest.mark.parametrize(
    "rendition", ["nothing", "preview:x", "preview:0", "preview:-3", "preview:99999", "previews"]
)
async def test_a_rendition_that_means_nothing_is_refused_and_not_logged(
    tmp_path: Path, rendition: str
) -> None:
    async with alone(tmp_path) as alice:
        await imported(alice, landscape())

        with pytest.raises(SafelightError) as refused:
            await export(alice, tmp_path / "out", "harbour.jpg", rendition=rendition)

        assert refused.value.code in ("usage", "limit", "local")
        assert await alice.events("exported") == []
        assert not (tmp_path / "out").exists()


async def test_a_damaged_picture_is_neither_exported_nor_logged_as_if_it_were(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "one.jpg")
        await take(alice, path)
        (sealed,) = await blob_files(alice, "original")
        flip_byte(sealed)

        with pytest.raises(SafelightError):
            await export(alice, tmp_path / "out", "one.jpg")

        assert not (tmp_path / "out").exists()
        assert await alice.events("exported") == []


async def test_an_exported_clean_copy_is_the_one_that_a_share_sends(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        source = trapped_jpeg()
        await imported(alice, source)

        (file,) = await export(alice, tmp_path / "out", "harbour.jpg", rendition="clean")

        data = Path(file["path"]).read_bytes()
        assert Path(file["path"]).name == "harbour.jpg"
        assert not holds_canary(data)
        assert opened(data).tobytes() == opened(source).tobytes()
        assert data == (await alice.node.context.imaging.clean(source)).data
        (entry,) = await alice.events("exported")
        assert "clean" in str(entry)


async def test_what_cannot_be_cleaned_is_named_and_the_rest_is_exported(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        odd = await imported(alice, odd_picture(), name="odd.png")
        await imported(alice, landscape())

        result = await alice.node.exporting.export(
            [odd["id"], "harbour.jpg"], out=str(tmp_path / "out"), rendition="clean", wish=Wish(),
            progress=lambda *_: None,
        )  # fmt: skip
        with pytest.raises(NodeError) as refused:
            await export(alice, tmp_path / "out", "odd.png", rendition="clean")

        assert [Path(one["path"]).name for one in result["files"]] == ["harbour.jpg"]
        (failed,) = result["failed"]
        assert (failed["name"], failed["code"]) == ("odd.png", "unsupported")
        assert refused.value.code == "unsupported"
        assert "odd.png" in str(refused.value)
        assert "--rendition preview" in refused.value.hint
        assert len(await alice.events("exported")) == 1


async def test_an_album_credits_its_exports_unless_they_say_otherwise(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await take(alice, *pictures(tmp_path / "in", "one.jpg"), album="Launch")
        said = await alice.node.crediting.album(
            "Launch", Wish(credit="Zoë", copyright_notice="© Zoë", terms="no resale")
        )
        assert (said["credit"], said["copyright"], said["terms"]) == ("Zoë", "© Zoë", "no resale")

        async def written(what: str, rendition: str, **wish: Any) -> bytes:
            (file,) = (
                await alice.node.exporting.export(
                    [what], out=str(tmp_path / "out"), rendition=rendition, wish=Wish(**wish),
                    progress=lambda *_: None,
                )
            )["files"]  # fmt: skip
            return Path(file["path"]).read_bytes()

        clean, preview = await written("Launch", "clean"), await written("Launch", "preview:40")
        other = await written("Launch", "clean", credit="Ben")
        terms = await written("Launch", "clean", terms="print only")
        none = [
            await written("Launch", "clean", no_credit=True),
            await written("one.jpg", "clean"),
            await written("Launch", "original"),
        ]

        for data in (clean, preview):
            assert all(text.encode() in data for text in ("Zoë", "© Zoë", "no resale"))
        assert b"Ben" in other
        assert "Zoë".encode() not in other
        assert b"print only" in terms
        assert "Zoë".encode() in terms
        assert not any("Zoë".encode() in data for data in none)
        with pytest.raises(UsageError):
            await written("Launch", "original", credit="Ben")
        with pytest.raises(UsageError):
            await written("Launch", "clean", credit="Ben", no_credit=True)
        await alice.node.crediting.album("Launch", Wish(no_credit=True))
        assert "Zoë".encode() not in await written("Launch", "clean")


async def test_albums_that_credit_a_picture_differently_decide_nothing(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "one.jpg")
        for album, credit in (("One", "Ann"), ("Two", "Ben"), ("Three", "Ann")):
            await take(alice, path, album=album)
            await alice.node.crediting.album(album, Wish(credit=credit))

        with pytest.raises(UsageError) as refused:
            await export(alice, tmp_path / "out", "One", "Two", rendition="clean")
        await export(alice, tmp_path / "out", "One", "Three", rendition="clean")

        assert "--no-credit" in refused.value.hint


@pytest.mark.parametrize(
    "wish", [{"credit": "\x1b[31m"}, {"terms": "alone"}, {"credit": "a", "no_credit": True}]
)
async def test_a_credit_that_means_nothing_is_refused(tmp_path: Path, wish: dict[str, Any]) -> None:
    async with alone(tmp_path) as alice:
        await take(alice, *pictures(tmp_path / "in", "one.jpg"), album="Launch")

        with pytest.raises(UsageError):
            await alice.node.crediting.album("Launch", Wish(**wish))
        assert (await alice.node.crediting.album("Launch", Wish()))["credit"] == ""
