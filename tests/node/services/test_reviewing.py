"""The access review: reasons to look, sign-off, when it is due."""

from __future__ import annotations

from pathlib import Path

from tests.node.services.team import team

DAY_MS = 24 * 3600 * 1000


async def test_a_share_deserves_a_look_for_each_reason_and_none_without(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _bob):
        images = [one["id"] for one in await alice.import_pictures(1)]
        await alice.share(images, ["bob"], duration="30d")
        broad = await alice.share(
            images, ["bob"], duration="30d", rights=["view", "save"], rendition="original"
        )
        assert {
            one["id"]: one["reasons"] for one in (await alice.node.reviewing.review())["found"]
        } == {broad[0]["id"]: ["broad"]}

        alice.clock.advance(8 * DAY_MS)
        reasons = {
            one["id"]: one["reasons"] for one in (await alice.node.reviewing.review())["found"]
        }
        assert sorted(reasons.values()) == [["broad", "never_opened"], ["never_opened"]]

        alice.clock.advance(22 * DAY_MS - 3_600_000)
        found = (await alice.node.reviewing.review())["found"]
        assert all("expiring" in one["reasons"] for one in found)
        assert found[0]["id"] == broad[0]["id"], "what is broad is looked at first"


async def test_an_opened_share_is_stale_after_a_month(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = [one["id"] for one in await alice.import_pictures(1)]
        [share] = await alice.share(images, ["bob"], duration="90d")
        await bob.wait_ready(share["id"])
        await bob.open(share["id"])
        assert (await alice.node.reviewing.review())["found"] == []

        alice.clock.advance(31 * DAY_MS)
        [found] = (await alice.node.reviewing.review())["found"]
        assert found["reasons"] == ["stale"]


async def test_a_sign_off_is_logged_and_due_again_after_ninety_days(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _bob):
        assert not (await alice.node.reviewing.review())["overdue"], "nothing is shared"
        images = [one["id"] for one in await alice.import_pictures(1)]
        await alice.share(images, ["bob"], duration="80d")
        assert (await alice.node.reviewing.review())["overdue"]

        signed = await alice.node.reviewing.sign_off()

        assert not signed["overdue"]
        [entry] = await alice.events("reviewed")
        assert entry["detail"]["live"] == "1"
        assert entry["detail"]["former"] == "0"
        alice.clock.advance(70 * DAY_MS)
        assert not (await alice.node.reviewing.review())["overdue"]
        await alice.share(images, ["bob"], duration="80d")
        alice.clock.advance(21 * DAY_MS)
        assert (await alice.node.reviewing.review())["overdue"]


async def test_what_is_over_is_not_reviewed(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _bob):
        images = [one["id"] for one in await alice.import_pictures(1)]
        [share] = await alice.share(images, ["bob"], duration="30d")
        alice.clock.advance(8 * DAY_MS)
        assert (await alice.node.reviewing.review())["live"] == 1

        await alice.node.ending.revoke(capabilities=[share["id"]], to=None, album=None)

        review = await alice.node.reviewing.review()
        assert (review["live"], review["found"]) == (0, [])
