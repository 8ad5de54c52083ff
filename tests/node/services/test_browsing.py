"""Pages of the library under filters, and many thumbnails at once."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from node.errors import UnknownError, UsageError
from tests.node.services.team import Person, team

NOTHING: dict[str, Any] = {
    "query": "",
    "album": None,
    "tag": None,
    "classification": None,
    "status": None,
    "person": None,
    "offset": 0,
    "limit": 256,
}


async def names(of: Person, **wanted: Any) -> list[str]:
    page = await of.node.browsing.page(**{**NOTHING, **wanted})
    assert page["total"] == len(page["images"]), "one page holds them all"
    return [one["name"] for one in page["images"]]


async def test_pages_cut_the_library_into_every_picture_once(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        await alice.import_pictures(7)
        whole = await names(alice)
        assert len(whole) == 7

        found = []
        for offset in range(0, 9, 3):
            page = await alice.node.browsing.page(**{**NOTHING, "offset": offset, "limit": 3})
            assert page["total"] == 7
            found += [one["name"] for one in page["images"]]

        assert found == whole


@pytest.mark.parametrize("limit", [0, 1001])
async def test_a_page_is_bounded(tmp_path: Path, limit: int) -> None:
    async with team(tmp_path, "alice") as (alice,):
        with pytest.raises(UsageError):
            await alice.node.browsing.page(**{**NOTHING, "limit": limit})


async def test_each_filter_finds_what_it_names(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, _carol):
        images = await alice.import_pictures(4)
        first, second, third, _fourth = images
        await alice.node.library.classify([first["id"]], "public")
        await alice.share([second["id"]], ["bob"], duration="48h")
        await alice.share([third["id"]], ["carol"], duration="1h")

        assert await names(alice, classification="public") == [first["name"]]
        assert sorted(await names(alice, status="shared")) == [second["name"], third["name"]]
        assert len(await names(alice, status="unshared")) == 2
        assert await names(alice, status="expiring") == [third["name"]]
        assert await names(alice, person="bob") == [second["name"]]
        assert await names(alice, query="002") == [third["name"]]
        assert await names(alice, query="picture", status="shared", person="carol") == [
            third["name"]
        ]
        assert await names(alice, status="received") == []
        page = await alice.node.browsing.page(**{**NOTHING, "person": "bob"})
        assert page["images"][0]["shares"] == 1
        with pytest.raises(UnknownError):
            await names(alice, person="nobody")
        assert bob.me


async def test_thumbnails_come_together_and_unknown_ones_are_left_out(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        images = await alice.import_pictures(3)
        wanted = [one["id"] for one in images]

        found = await alice.node.browsing.thumbnails([*wanted, "00" * 16], 256)

        assert sorted(found) == sorted(wanted)
        for data in found.values():
            with Image.open(BytesIO(data)) as picture:
                assert max(picture.size) <= 320
        for bad in (["not an id"], wanted * 40):
            with pytest.raises(UsageError):
                await alice.node.browsing.thumbnails(bad, 256)
