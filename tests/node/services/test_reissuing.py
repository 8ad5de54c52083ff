"""What a new log ended is granted anew, once, on its terms and for the time that is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.errors import UsageError
from protocol.errors import SafelightError
from tests.node.services.team import Person, team
from tests.node.services.test_incarnations import back_up, begun, issued, linked, restore


async def reissue(person: Person, *capabilities: str, **options: Any) -> dict[str, Any]:
    wanted = {"opens": 1, "names": False, "dry_run": False, **options}
    return await person.node.reissuing.reissue(capabilities=list(capabilities), **wanted)


async def test_what_lapsed_is_granted_anew_for_what_is_left(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        first, second = await alice.import_pictures(2)
        (shared,) = await alice.share(
            [first["id"], second["id"]],
            ["bob"],
            opens=3,
            rights=["view", "comment"],
            terms="for the story only",
        )
        await bob.wait_ready(shared["id"], seconds=60)
        for _ in range(2):
            await bob.open(shared["id"], "picture 000.jpg")
        await back_up(alice, tmp_path / "older")
        await restore(alice, tmp_path / "older")
        await begun(alice)
        await linked(alice, bob)

        foretold = await reissue(alice, dry_run=True)
        assert [one["opens_left"] for one in foretold["capabilities"]] == [1]
        assert len(await issued(alice)) == 1
        done = await reissue(alice, opens=None)

        (again,) = done["capabilities"]
        assert done["skipped"] == []
        assert again["instead_of"] == shared["id"]
        # Two of three opens of one picture are used: no picture gets more than one.
        assert again["opens_left"] == 1
        assert again["rights"] == ["view", "comment"]
        assert again["rendition"] == shared["rendition"]
        assert again["images"] == 2
        assert again["expires_at"] == shared["expires_at"]
        held = await bob.wait_ready(again["id"], seconds=60)
        # Whether names were told before is not known, so they are not told.
        assert all(not one["name"].startswith("picture 0") for one in held["images"])
        assert (await bob.open(again["id"], held["images"][0]["name"]))["opens_left"] == 0
        shares = {one["id"]: one for one in await issued(alice)}
        assert shares[shared["id"]]["reissued_as"] == again["id"]
        assert shares[again["id"]]["state"] == "live"

        # Once, and no more.
        assert (await reissue(alice))["capabilities"] == []
        with pytest.raises(UsageError):
            await reissue(alice, shared["id"])
        assert alice.node.incarnations.finding().code == "new_log"
        await alice.restart()
        assert alice.node.incarnations.finding().code == ""


async def test_what_cannot_be_granted_anew_is_named_with_the_reason(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        pictures = await alice.import_pictures(3)
        short, spent, live = [
            (await alice.share([one["id"]], ["bob"], duration=duration, opens=1))[0]
            for one, duration in zip(pictures, ("60s", "1h", "1h"), strict=True)
        ]
        await bob.wait_ready(spent["id"], seconds=60)
        await bob.open(spent["id"])
        await back_up(alice, tmp_path / "older")
        await restore(alice, tmp_path / "older")
        await begun(alice)
        alice.clock.advance(61_000)

        done = await reissue(alice)

        why = {one["instead_of"]: one["why"] for one in done["skipped"]}
        assert "time is over" in why[short["id"]]
        assert "no open is left" in why[spent["id"]]
        assert [one["instead_of"] for one in done["capabilities"]] == [live["id"]]


async def test_what_was_revoked_by_a_person_is_not_granted_anew(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)

        with pytest.raises(SafelightError):
            await reissue(alice, shared["id"])

        assert (await reissue(alice))["capabilities"] == []
