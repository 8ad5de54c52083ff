"""Raw camera files among the pictures: kept whole, and shared by the picture inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.services import disclosing
from protocol.errors import SafelightError
from tests.node.services.team import Person, team
from tests.support_pictures import corners, opened, quarters
from tests.support_raw import CANARY, dng_with_preview

DATA = dng_with_preview()


async def with_raw_file(alice: Person, folder: Path) -> dict[str, Any]:
    """Import a raw file without a rule that asks for watermarks; return the picture."""
    path = folder / "harbour.dng"
    path.write_bytes(DATA)
    result = await alice.node.library.import_paths(
        [str(path)], album=None, tags=[], classification="public", progress=lambda *_: None
    )
    image: dict[str, Any] = result["images"][0]
    return image


async def test_a_preview_of_a_raw_file_is_a_jpeg_of_what_it_shows(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await with_raw_file(alice, tmp_path)
        (shared,) = await alice.share([image["id"]], ["bob"], rendition="preview:1024")
        await bob.wait_ready(shared["id"])

        seen = await bob.open(shared["id"])

        data = bob.node.pixels.data(bytes.fromhex(seen["open_id"]))
        assert data is not None
        assert CANARY in DATA
        assert CANARY not in data
        assert (seen["format"], *opened(data).size) == ("jpeg", 160, 80)
        assert quarters(opened(data)) == quarters(corners())
        assert "exif" in seen["disclosure"]["removed"]
        assert seen["disclosure"]["kept"] == []
        assert await bob.node.viewing.undeclared(seen["open_id"]) == []


async def test_the_original_of_a_raw_file_leaves_only_where_the_terms_say_so(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await with_raw_file(alice, tmp_path)
        (shared,) = await alice.share([image["id"]], ["bob"], rendition="original")
        await bob.wait_ready(shared["id"])

        seen = await bob.open(shared["id"])

        assert bob.node.pixels.data(bytes.fromhex(seen["open_id"])) == DATA
        assert seen["format"] == "raw"
        shown = await bob.node.viewing.pixels(seen["open_id"], width=400, height=400)
        assert (shown.width, shown.height) == (160, 80)


async def test_a_clean_copy_of_a_raw_file_is_refused_before_anything_is_granted(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _bob):
        image = await with_raw_file(alice, tmp_path)

        with pytest.raises(SafelightError) as refused:
            await alice.share([image["id"]], ["bob"], rendition="clean")

        assert refused.value.code == "unsupported"
        assert "raw camera file" in str(refused.value)
        assert "preview" in f"{refused.value} {refused.value.hint}"
        assert await alice.events("issued") == []


async def test_a_saved_raw_file_keeps_the_ending_by_which_programs_know_it(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await with_raw_file(alice, tmp_path)
        (shared,) = await alice.share(
            [image["id"]], ["bob"], rendition="original", rights=["view", "save"]
        )
        await bob.wait_ready(shared["id"])

        saved = await bob.node.viewing.save(
            capability=shared["id"],
            images=[],
            out=str(tmp_path / "saved"),
            factor=None,
            progress=lambda *_: None,
        )

        (file,) = saved["files"]
        assert Path(file["path"]).suffix == ".dng"
        assert Path(file["path"]).read_bytes() == DATA


async def test_a_raw_file_far_behind_in_a_large_share_is_refused_at_once_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the first picture is looked into before the share is granted.
    monkeypatch.setattr(disclosing, "_CHECKED_BYTES", 0)
    async with team(tmp_path, "alice", "bob") as (alice, _bob):
        (first,) = await alice.import_pictures(1)
        image = await with_raw_file(alice, tmp_path)

        with pytest.raises(SafelightError, match="raw camera file"):
            await alice.share([first["id"], image["id"]], ["bob"], rendition="clean")

        assert await alice.events("issued") == []
