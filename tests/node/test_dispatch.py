"""Every method of the control API leads to its service, with bytes in text and back."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from node import dispatch
from node.control import schema
from node.control.routes import STREAMS
from node.control.schema import METHODS, Params
from node.errors import UsageError
from node.imaging.made import made_pictures
from protocol.identity import format_fingerprint
from tests.node.services.conditions import alone
from tests.node.services.team import Person, new_person, team


async def call(person: Person, method: str, params: Params | None = None) -> Any:
    return await dispatch.call(person.node, method, params or schema.Empty(), lambda *_: None)


def test_each_method_has_one_place_that_answers_it() -> None:
    of_the_process = {"status", "stop", "unlock", "lock", "doctor"}

    assert set(dispatch._METHODS) == set(METHODS) - set(STREAMS) - of_the_process


async def test_a_team_is_made_by_calls_alone(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        bob = await new_person(tmp_path, "bob", alice.imaging)
        try:
            await call(alice, "team_create", schema.TeamCreate(name="Team"))
            exported = await call(bob, "identity_export")
            assert exported["name"] == "bob"
            added = await call(
                alice,
                "team_add",
                schema.TeamAdd(identity_file=exported["identity_file"], role="guest"),
            )
            assert (added["name"], added["role"]) == ("bob", "guest")
            assert added["words"] == exported["words"]
            mine = (await call(alice, "identity"))["fingerprint"]
            told = await call(bob, "join_file", schema.JoinFile(welcome=added["welcome"]))
            assert (told["fingerprint"], told["joined"]) == (mine, False)
            joined = await call(
                bob, "join_file", schema.JoinFile(welcome=added["welcome"], expect=mine)
            )
            assert joined["joined"]
            shown = await call(bob, "team_show")
            assert [one["name"] for one in shown["members"]] == ["alice", "bob"]

            await call(bob, "peers_add", schema.PeersAdd(who="alice", host="192.0.2.1", port=7))
            (peer,) = await call(bob, "peers")
            assert "192.0.2.1:7" in peer["addresses"]
            removed = await call(bob, "peers_remove", schema.PeersRemove(who="alice"))
            assert removed["removed"] == 2
            assert (await call(bob, "peers"))[0]["addresses"] == []
        finally:
            await bob.node.close()


async def test_a_picture_goes_all_the_way_by_calls_alone(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        folder = tmp_path / "in"
        folder.mkdir()
        for name, data in made_pictures(2, (64, 48)):
            (folder / name).write_bytes(data)
        imported = await call(
            alice, "import", schema.Import(paths=[str(folder)], album="A", tags=["t"])
        )
        first = imported["images"][0]
        assert len(await call(alice, "images", schema.Images(album="A", tag="t"))) == 2
        assert (await call(alice, "albums"))[0]["images"] == 2
        small = await call(alice, "thumbnail", schema.Thumbnail(image=first["id"]))
        assert base64.b64decode(small["data"])

        shared = await call(
            alice, "share", schema.Share(what=["A"], to=["bob"], rights=["save"], duration="1h")
        )
        (capability,) = [one["id"] for one in shared["capabilities"]]
        await bob.wait_ready(capability)
        shown = await call(alice, "show", schema.Show(image=first["id"]))
        assert [one["holder"] for one in shown["capabilities"]] == ["bob"]
        fetched = await call(bob, "fetch", schema.Fetch(capability=capability))
        assert fetched["fetched"] == 2
        opened = await call(bob, "open", schema.Open(capability=capability, image=first["id"]))
        pixels = await call(
            bob, "open_pixels", schema.OpenPixels(open_id=opened["open_id"], width=32, height=32)
        )
        assert len(base64.b64decode(pixels["rgb"])) == pixels["width"] * pixels["height"] * 3
        assert await call(bob, "close_open", schema.CloseOpen(open_id=opened["open_id"])) == {}
        saved = await call(
            bob, "save", schema.Save(capability=capability, out=str(tmp_path / "out"))
        )
        assert len(saved["files"]) == 2
        exported = await call(alice, "export", schema.Export(what=["A"], out=str(tmp_path / "own")))
        assert len(exported["files"]) == 2

        extended = await call(alice, "extend", schema.Extend(capability=capability, opens=1))
        assert extended["opens_left"] == 10
        (share,) = await call(alice, "shares", schema.Shares(to="bob"))
        assert share["id"] == capability
        revoked = await call(alice, "revoke", schema.Revoke(capabilities=[capability]))
        assert revoked["revoked"][0]["seen_by_holder"]
        (held,) = await call(bob, "inbox")
        assert held["state"] == "revoked"
        log = await call(alice, "audit_log", schema.AuditLog(who="bob"))
        assert log["entries"]
        assert (await call(alice, "audit_verify"))["ok"]
        assert (await call(alice, "check", schema.Check(read_data=True)))["ok"]


async def test_parameters_that_mean_nothing_are_refused_in_words(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        fingerprint = format_fingerprint(bob.me)
        for method, params in (
            ("team_add", schema.TeamAdd(identity_file="not base64!")),
            ("join_file", schema.JoinFile(welcome="===")),
            ("peers_add", schema.PeersAdd(who="bob", host="", port=80)),
            ("peers_add", schema.PeersAdd(who=fingerprint, host="h", port=0)),
            ("peers_add", schema.PeersAdd(who="bob", host="h", port=65536)),
            ("close_open", schema.CloseOpen(open_id="xyz")),
        ):
            with pytest.raises(UsageError):
                await call(alice, method, params)


async def test_events_are_told_from_the_first_step_on(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        stream = dispatch.stream(alice.node, "events", schema.Empty())
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        (image,) = await alice.import_pictures(1)

        assert await first == {"kind": "imported", "image": image["id"]}
