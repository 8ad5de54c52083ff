"""Own pictures: what is imported, found and exported, whatever the folder holds."""

from __future__ import annotations

import asyncio
import os
import sys
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from node.errors import AmbiguousError, UnknownError, UsageError
from node.imaging.made import made_pictures
from node.vault.errors import StorageFullError
from tests.node.services.conditions import alone, blob_files, full_index, writer_held
from tests.node.services.team import Person, eventually
from tests.support_pictures import landscape


def pictures(folder: Path, *names: str, size: tuple[int, int] = (48, 32)) -> list[Path]:
    """Write a different picture under each name; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (_, data) in zip(names, made_pictures(len(names), size), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return paths


async def take(person: Person, *paths: Path, **options: Any) -> dict[str, Any]:
    """Import as the command does."""
    settings: dict[str, Any] = {
        "album": None,
        "tags": [],
        "classification": "internal",
        "progress": lambda *_: None,
        **options,
    }
    return await person.node.library.import_paths([str(path) for path in paths], **settings)


async def found(person: Person, query: str = "", **options: Any) -> list[str]:
    """Return the names that a search finds, in order of the names."""
    settings: dict[str, Any] = {"album": None, "tag": None, "limit": 1000, **options}
    return sorted(one["name"] for one in await person.node.library.images(query=query, **settings))


def sealed_files(person: Person) -> int:
    """Return how many sealed files there are on disk, named by a row or not."""
    return len([one for one in (person.home / "blobs").glob("??/*") if one.is_file()])


SHARED = pytest.mark.asyncio(loop_scope="module")
"""Of tests that use ``library`` and change nothing that another one looks at."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Person]:
    """A node with one picture, red.jpg."""
    folder = tmp_path_factory.mktemp("library")
    async with alone(folder) as alice:
        await take(alice, *pictures(folder / "in", "red.jpg"))
        yield alice


async def healthy(person: Person) -> bool:
    checked = await person.node.check(read_data=True, progress=lambda *_: None)
    assert checked["problems"] == []
    return bool((await person.node.log_verifying.verify())["ok"])


# Import ---------------------------------------------------------------------------------------


async def test_a_folder_is_imported_with_all_below_it_in_order(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        pictures(folder, "b/2.jpg", "a/1.jpg", "a/c/3.jpg", "0.jpg", ".hidden.jpg", ".git/4.jpg")
        steps: list[tuple[int, int | None]] = []

        taken = await take(
            alice, folder, progress=lambda done, total, _label: steps.append((done, total))
        )

        assert [one["name"] for one in taken["images"]] == ["0.jpg", "1.jpg", "3.jpg", "2.jpg"]
        assert taken["failed"] == []
        assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert not any(one["duplicate"] for one in taken["images"])
        assert len(await alice.events("imported")) == 4
        assert await healthy(alice)


async def test_bad_files_among_good_ones_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        folder = tmp_path / "in"
        good, _ = pictures(folder, "good.jpg", "also good.jpg")
        (folder / "cut.jpg").write_bytes(good.read_bytes()[:900])
        (folder / "empty.jpg").touch()
        (folder / "text.txt").write_text("no picture")
        os.mkfifo(folder / "pipe.jpg")
        (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
        (folder / "nowhere.jpg").symlink_to(folder / "nothing")
        (folder / "around").symlink_to(folder)

        taken = await asyncio.wait_for(take(alice, folder), 10)

        assert [one["name"] for one in taken["images"]] == ["also good.jpg", "good.jpg"]
        codes = {Path(one["path"]).name: one["code"] for one in taken["failed"]}
        assert codes == {
            "cut.jpg": "broken",
            "empty.jpg": "empty",
            "text.txt": "unknown_format",
            "pipe.jpg": "not_a_file",
            "loop.jpg": "unreadable",
            "nowhere.jpg": "unreadable",
            "around": "not_a_file",
        }
        assert await healthy(alice)


async def test_when_nothing_was_imported_each_failure_says_why(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (tmp_path / "empty").mkdir()

        assert await take(alice, tmp_path / "empty") == {"images": [], "failed": []}
        taken = await take(alice, tmp_path / "gone.jpg", tmp_path / "gone too.jpg")

        assert taken["images"] == []
        assert [(one["code"], one["message"]) for one in taken["failed"]] == [
            ("not_found", "there is no such file")
        ] * 2


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system takes no such name")
async def test_a_name_that_is_no_text_becomes_one(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "good.jpg")
        strange = Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9\x1b[31m\n.jpg"))
        path.rename(strange)
        os.mkfifo(Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/\xff.jpg")))

        taken = await take(alice, tmp_path / "in")

        assert [one["name"] for one in taken["images"]] == ["caf\ufffd[31m .jpg"]
        assert taken["failed"][0]["path"].endswith("/\ufffd.jpg")
        assert await found(alice, "caf") == ["caf\ufffd[31m .jpg"]


async def test_a_file_that_vanishes_or_becomes_a_folder_is_reported(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        paths = pictures(tmp_path / "in", *(f"{number:02}.jpg" for number in range(30)))

        def vanish(done: int, _total: int | None, _label: str) -> None:
            if done == 1:
                paths[-1].unlink()
                paths[-2].unlink()
                paths[-2].mkdir()

        taken = await take(alice, tmp_path / "in", progress=vanish)

        assert len(taken["images"]) == 28
        assert {one["code"] for one in taken["failed"]} == {"unreadable"}


async def test_a_path_that_cannot_be_looked_at_is_reported(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (good,) = pictures(tmp_path / "in", "good.jpg")

        taken = await take(alice, good, tmp_path / ("x" * 300))

        assert len(taken["images"]) == 1
        assert len(taken["failed"]) == 1


async def test_the_same_bytes_are_one_picture_however_often_they_come(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "first.jpg")
        for number in range(9):
            (tmp_path / "in" / f"copy {number}.jpg").write_bytes(path.read_bytes())
        (tmp_path / "in" / "linked.jpg").symlink_to(path)

        first = await take(alice, tmp_path / "in")
        again = await take(alice, path, path, album="Later", tags=["seen"])

        ids = {one["id"] for one in first["images"] + again["images"]}
        assert len(ids) == 1
        assert [one["duplicate"] for one in first["images"]].count(False) == 1
        assert len(first["images"]) == 11
        assert [one["duplicate"] for one in again["images"]] == [True]
        assert await found(alice, album="Later", tag="seen") == [first["images"][0]["name"]]
        assert len(await alice.events("imported")) == 1
        assert len(await blob_files(alice, "original")) == 1


async def test_two_imports_at_once_make_one_picture_of_the_same_bytes(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "first.jpg")

        results = await asyncio.gather(*(take(alice, path) for _ in range(4)))

        assert len({result["images"][0]["id"] for result in results}) == 1
        assert len(await found(alice)) == 1


async def test_an_import_that_is_cancelled_leaves_a_sound_vault_that_can_go_on(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        pictures(tmp_path / "in", *(f"{number:02}.jpg" for number in range(40)))
        some = asyncio.Event()

        def step(done: int, _total: int | None, _label: str) -> None:
            if done == 7:
                some.set()

        task = asyncio.create_task(take(alice, tmp_path / "in", progress=step))
        await some.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert 7 <= len(await found(alice)) < 40
        assert await healthy(alice)
        taken = await take(alice, tmp_path / "in")
        assert len(taken["images"]) == 40
        assert sum(one["duplicate"] for one in taken["images"]) >= 7
        assert len(await found(alice)) == 40
        await alice.restart()
        assert await healthy(alice)
        assert sealed_files(alice) == 3 * 40


async def test_an_import_onto_a_full_disk_fails_once_and_works_when_there_is_space(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        pictures(tmp_path / "in", *(f"{number:02}.jpg" for number in range(12)))

        async with full_index(alice):
            with pytest.raises(StorageFullError):
                await take(alice, tmp_path / "in")
        taken = await take(alice, tmp_path / "in")

        assert len(taken["images"]) == 12
        assert await healthy(alice)


@pytest.mark.parametrize("why", ["full", "cancelled"])
async def test_an_import_that_fails_takes_no_space(tmp_path: Path, why: str) -> None:
    async with alone(tmp_path) as alice:
        paths = pictures(tmp_path / "in", *(f"{number:02}.jpg" for number in range(12)))

        if why == "full":
            async with full_index(alice):
                with pytest.raises(StorageFullError):
                    await take(alice, *paths)
        else:
            async with writer_held(alice) as waiting:
                task = asyncio.create_task(take(alice, *paths))
                await waiting(6)
                task.cancel()
            # What was sealed already is committed: a file is imported whole or not at all.
            await asyncio.wait([task])

        assert sealed_files(alice) == 3 * len(await found(alice))


@SHARED
@pytest.mark.parametrize(
    "options",
    [
        {"classification": "secret"},
        {"album": ""},
        {"album": "   "},
        {"album": "a\x1b[31m"},
        {"album": "x" * 300},
        {"tags": ["fine", "two\nlines"]},
        {"tags": ["\u202egnp.exe"]},
    ],
)
async def test_a_label_that_cannot_be_shown_is_refused_before_anything_is_imported(
    library: Person, tmp_path: Path, options: dict[str, Any]
) -> None:
    (path,) = pictures(tmp_path / "in", "good.jpg", size=(64, 48))

    with pytest.raises(UsageError):
        await take(library, path, **options)

    assert "good.jpg" not in await found(library)


# Search ---------------------------------------------------------------------------------------


async def test_words_find_names_tags_and_albums_by_how_they_start(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        one, two, three = pictures(
            tmp_path / "in", "Café am Meer.jpg", "winter_lake.png.jpg", "x-ray 7.jpg"
        )
        await take(alice, one, tags=["Sommer", "Ærø"], album="Reise 2026")
        await take(alice, two, tags=["north"])
        await take(alice, three, album="Reise 2027")

        for query, names in [
            ("cafe", [one.name]),
            ("CAFÉ meer", [one.name]),
            ("caf", [one.name]),
            ("meer winter", []),
            ("somm", [one.name]),
            ("reise", [one.name, three.name]),
            ("2027 ray", [three.name]),
            ("north lake", [two.name]),
            ("jpg", [one.name, two.name, three.name]),
            ("", [one.name, two.name, three.name]),
            ("omm", []),
        ]:
            assert await found(alice, query) == sorted(names), query


QUERIES = [
    '"', '""', "'", "*", "a*", "AND", "NOT x", "name:red", "(", "^red", "-", "--", "a-b", "{x}",
    "NEAR(a b)", "%", "_", ";", '" OR "1', "red\\", "\u0301", "🙂", "x" * 20_000,
]  # fmt: skip


@SHARED
@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
async def test_no_query_is_a_command_to_the_search(library: Person, query: str) -> None:
    assert "red.jpg" not in await found(library, query) or "red" in query


@SHARED
async def test_a_zero_byte_in_a_query_finds_nothing(library: Person) -> None:
    assert await found(library, "re\0d") == []


@SHARED
async def test_a_limit_of_any_size_is_a_limit(library: Person) -> None:
    assert "red.jpg" in await found(library, limit=2**64)


async def test_search_by_album_and_tag_is_exact_and_limits_count(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        one, two = pictures(tmp_path / "in", "one.jpg", "two.jpg")
        await take(alice, one, tags=["north"], album="A")
        alice.clock.advance(1)
        await take(alice, two, tags=["northern"], album="AB")

        assert await found(alice, tag="north") == ["one.jpg"]
        assert await found(alice, tag="nort") == []
        assert await found(alice, album="A") == ["one.jpg"]
        assert await found(alice, limit=1) == ["two.jpg"]
        assert await found(alice, limit=0) == []
        assert await found(alice, limit=-1) == []
        with pytest.raises(UnknownError):
            await found(alice, album="B")
        assert [(one["name"], one["images"]) for one in await alice.node.library.albums()] == [
            ("A", 1),
            ("AB", 1),
        ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_a_name_is_found_however_its_accents_were_typed(
    tmp_path: Path, form: Literal["NFC", "NFD"]
) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", unicodedata.normalize("NFD", "Ärger.jpg"))
        await take(alice, path, album="Größe", tags=["Öl"])

        def typed(text: str) -> str:
            return unicodedata.normalize(form, text)

        name = unicodedata.normalize("NFC", "Ärger.jpg")
        assert (await alice.node.library.resolve_image(typed("Ärger.jpg"))).name == name
        assert await found(alice, typed("ärger")) == [name]
        assert await found(alice, album=typed("Größe"), tag=typed("Öl")) == [name]


# Names ----------------------------------------------------------------------------------------


async def test_a_picture_is_named_by_its_name_where_unique_and_by_its_id_always(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        pictures(tmp_path / "in", "a/same.jpg", "b/same.jpg", "other.jpg")
        images = (await take(alice, tmp_path / "in"))["images"]
        library = alice.node.library
        by_name = {one["name"]: one for one in images}

        assert (await library.resolve_image("other.jpg")).image_id.hex() == by_name["other.jpg"][
            "id"
        ]
        for image in images:
            assert (await library.resolve_image(image["id"])).image_id.hex() == image["id"]
            upper = image["id"][:12].upper()
            assert (await library.resolve_image(upper)).image_id.hex() == image["id"]
        with pytest.raises(AmbiguousError) as several:
            await library.resolve_image("same.jpg")
        assert len(several.value.candidates) == 2
        assert all(one.startswith("same.jpg (") for one in several.value.candidates)
        for nothing in ("", "   ", "same", "OTHER.JPG", "%", "*", "abc", "g" * 32, "\0"):
            with pytest.raises(UnknownError):
                await library.resolve_image(nothing)


async def test_albums_and_images_are_chosen_together_each_picture_once(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        one, two, three = pictures(tmp_path / "in", "one.jpg", "two.jpg", "Trip")
        await take(alice, two, album="Tour")
        await take(alice, one, album="Tour")
        await take(alice, three, album="Trip")
        library = alice.node.library

        chosen = await library.resolve_many(["one.jpg", "Tour", "two.jpg"])
        assert [row.name for row in chosen] == ["one.jpg", "two.jpg"]
        assert [row.name for row in await library.resolve_many(["Tour"])] == ["two.jpg", "one.jpg"]
        with pytest.raises(AmbiguousError) as several:
            await library.resolve_many(["Trip"])
        assert several.value.candidates[0].startswith("album Trip (")
        with pytest.raises(UnknownError):
            await library.resolve_many(["Tour", "nothing"])
        with pytest.raises(UnknownError):
            await library.resolve_many([])


async def test_show_tells_versions_tags_albums_and_thumbnails_open(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "one.jpg", size=(400, 300))
        (image,) = (await take(alice, path, album="A", tags=["b", "a", "a"]))["images"]

        shown = await alice.node.library.show("one.jpg")

        assert (shown["tags"], shown["albums"]) == (["a", "b"], ["A"])
        assert [one["sha256"] for one in shown["versions"]] == [image["sha256"]]
        assert (shown["width"], shown["height"], shown["format"]) == (400, 300, "jpeg")
        assert shown["capabilities"] == []
        small = await alice.node.library.thumbnail("one.jpg", 256)
        assert len(small) < path.stat().st_size
        with pytest.raises(UnknownError, match="thumbnail"):
            await alice.node.library.thumbnail("one.jpg", 100)


# Commit ---------------------------------------------------------------------------------------


async def test_an_import_is_committed_before_it_is_reported(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (path,) = pictures(tmp_path / "in", "one.jpg")
        async with writer_held(alice) as waiting:
            task = asyncio.create_task(take(alice, path))
            await waiting(1)
            assert await found(alice) == []
            assert not task.done()
        await task

        async def there() -> bool:
            return await found(alice) == ["one.jpg"]

        await eventually(there)


async def test_a_picture_of_the_vault_is_inspected_with_what_its_file_tells(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        (tmp_path / "harbour.jpg").write_bytes(landscape())
        await take(alice, tmp_path / "harbour.jpg")

        told = await alice.node.library.inspect("harbour.jpg")

    assert {"where", "device"} <= {one["group"] for one in told if one["plain"]}
    assert any(one["sensitive"] for one in told)
