"""What a sharer is shown before a share: the holder's own picture, and no trace of it anywhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image, ImageChops, ImageStat

from node import dispatch
from node.control import schema
from node.errors import UnknownError, UsageError
from protocol.errors import Reason, Refused, SafelightError
from tests.node.imaging.strip.traps import trapped_jpeg
from tests.node.services.team import Person, team
from tests.node.services.test_disclosing import imported, landscape, shown
from tests.node.services.test_library import pictures, take
from tests.node.services.test_sharing import untouched
from tests.support_pictures import CANARY


async def preview(person: Person, what: list[str], to: str = "bob", **options: Any) -> Any:
    """Return what a preview tells, with its picture decoded under `picture`."""
    wanted: dict[str, Any] = {
        "place": 0, "rights": ["view"], "rendition": None, "watermark": None, "edge": 512,
    }  # fmt: skip
    told = await person.node.previewing.preview(what=what, to=to, **{**wanted, **options})
    with Image.open(io.BytesIO(told["data"]), formats=["JPEG"]) as image:
        return {**told, "picture": image.convert("RGB")}


def apart(one: Image.Image, other: Image.Image) -> float:
    """Return by how much two pictures differ in the mean, of 255."""
    assert one.size == other.size
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


def most(one: Image.Image, other: Image.Image) -> int:
    """Return by how much two pictures differ where they differ most, of 255."""
    return max(ImageChops.difference(one, other).convert("L").tobytes())


async def test_it_is_the_picture_that_the_holder_will_open(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await imported(alice, landscape(1200))
        for rendition, watermark, classification in (
            ("preview:512", False, "internal"),
            ("preview:512", True, "internal"),
            ("preview:512", True, "confidential"),
            ("clean", False, "internal"),
            ("clean", True, "internal"),
        ):
            await alice.node.library.classify([image["id"]], classification)
            options: dict[str, Any] = {"rendition": rendition, "watermark": watermark}
            told = await preview(alice, [image["id"]], **options)
            (granted,) = await alice.share([image["id"]], ["bob"], **options)
            await bob.wait_ready(granted["id"])

            opened = await bob.open(granted["id"])

            with Image.open(io.BytesIO(shown(bob, opened))) as copy:
                fitted = copy.convert("RGB").resize(told["picture"].size, Image.Resampling.BOX)
            assert bool(told["watermark"]) is watermark
            if not watermark:
                plain, theirs = told["picture"], fitted
                assert apart(plain, theirs) < 2
                continue
            # The id that is drawn is another one, of another width, so that marks stand elsewhere:
            # there are as many, as strong.
            assert apart(told["picture"], fitted) < 4, options
            ratio = apart(theirs, fitted) / apart(plain, told["picture"])
            assert 0.5 < ratio < 2, options


async def test_a_mark_names_its_holder_in_the_pixels(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, _, __):
        image = await imported(alice, landscape())
        plain = await preview(alice, [image["id"]])
        bobs = await preview(alice, [image["id"]], watermark=True)
        carols = await preview(alice, [image["id"]], to="carol", watermark=True)
        again = await preview(alice, [image["id"]], watermark=True)

        corner = (256, 256, 512, 341)
        bob, carol, none = (one["picture"].crop(corner) for one in (bobs, carols, plain))
        assert plain["watermark"] is None
        assert "bob" in bobs["watermark"]
        assert "carol" in carols["watermark"]
        assert most(bob, none) > 40
        assert most(bob, carol) > 40
        assert bobs["data"] == again["data"]
        # The policy asks for one whether or not the sharer does.
        await alice.node.library.classify([image["id"]], "confidential")
        strict = await preview(alice, [image["id"]])
        assert strict["watermark"].startswith("medium: bob")
        assert apart(strict["picture"], plain["picture"]) > 0.5


async def test_it_grants_logs_and_keeps_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await imported(alice, landscape())

        async def all_of_it() -> tuple[Any, ...]:
            log = await alice.node.log_reading.entries(
                who=None, image=None, since=None, limit=100_000
            )
            files = sorted(str(one) for one in alice.home.rglob("*") if one.is_file())
            return (await untouched(alice), len(log["entries"]), files)

        before = await all_of_it()

        await preview(alice, [image["id"]], watermark=True, rights=["view", "save"])

        assert await all_of_it() == before
        assert await bob.node.inbox.held() == []


async def test_it_is_small_upright_and_carries_nothing_else(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        image = await imported(alice, trapped_jpeg())
        for edge in (64, 1024):
            told = await preview(alice, [image["id"]], edge=edge, rendition="original")
            assert max(told["picture"].size) <= edge
            assert CANARY not in told["data"]
            with Image.open(io.BytesIO(told["data"])) as picture:
                assert not picture.getexif()
        for wrong in (0, 63, 1025, "big"):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({"what": [], "to": "bob", "edge": wrong}, schema.PreviewShare)


async def test_of_an_album_it_shows_the_one_that_is_asked_for(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        await take(alice, *pictures(tmp_path / "in", "one.jpg", "two.jpg"), album="Launch")
        first = await preview(alice, ["Launch"])
        second = await preview(alice, ["Launch"], place=1)
        assert {first["name"], second["name"]} == {"one.jpg", "two.jpg"}
        assert (first["pictures"], second["pictures"]) == (2, 2)
        assert first["id"] != second["id"]


async def test_what_cannot_be_shared_is_not_shown_either(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        image = await imported(alice, landscape(), classification="confidential")

        async def refused(kind: type[SafelightError], call: Callable[[], Any]) -> SafelightError:
            with pytest.raises(kind) as error:
                await call()
            return error.value

        ours = [image["id"]]
        await refused(UnknownError, lambda: preview(alice, ["no such picture"]))
        await refused(UnknownError, lambda: preview(alice, ours, to="nobody"))
        await refused(UsageError, lambda: preview(alice, ours, to="alice"))
        await refused(UsageError, lambda: preview(alice, ours, place=1))
        await refused(UsageError, lambda: preview(alice, ours, rights=["fly"]))
        no = await refused(Refused, lambda: preview(alice, ours, watermark=False))
        assert isinstance(no, Refused)
        assert no.reason is Reason.POLICY


async def test_the_control_method_gives_it_in_text(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        image = await imported(alice, landscape())
        wanted = schema.PreviewShare(what=[image["id"]], to="bob", watermark=True, edge=128)

        told = await dispatch.call(alice.node, "preview_share", wanted, lambda *_: None)

        assert msgspec.json.decode(msgspec.json.encode(told)) == told
        assert told["watermark"] == f"subtle: bob, {told['watermark'][13:23]}, the capability's id"


async def test_a_dry_run_looks_into_as_many_pictures_as_it_is_asked_to(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        images = await alice.import_pictures(3)
        for asked, told in ((None, 3), (1, 1), (0, 0)):
            share = schema.Share(
                what=[one["id"] for one in images], to=["bob"], dry_run=True, look_into=asked
            )
            answer = await dispatch.call(alice.node, "share", share, lambda *_: None)
            assert len(answer["pictures"]) == told
            assert answer["capabilities"][0]["images"] == 3
