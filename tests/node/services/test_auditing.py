"""The own log as people read it: who, what, since when, what is new, and what was changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from node.errors import AmbiguousError, UnknownError, UsageError
from node.imaging.made import made_pictures
from node.vault.blob_folder import blob_path
from protocol.errors import Refused
from tests.node.services.conditions import alone, blob_files, execute, flip_byte
from tests.node.services.team import Person, eventually, team


async def entries(person: Person, **filters: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"who": None, "image": None, "since": None, "limit": 1000}
    found = await person.node.log_reading.entries(**{**settings, **filters})
    listed: list[dict[str, Any]] = found["entries"]
    return listed


def follow(person: Person, **filters: Any) -> AsyncIterator[dict[str, Any]]:
    settings: dict[str, Any] = {"who": None, "image": None, "since": None, "limit": 1000}
    return person.node.log_reading.follow(**{**settings, **filters})


async def following(stream: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    async with asyncio.timeout(45):
        return await anext(stream)


async def test_entries_are_told_by_person_picture_and_time(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        first, second = await alice.import_pictures(2)
        (mine,) = await alice.share([first["id"]], ["bob"])
        (other,) = await alice.share([second["id"]], ["carol"])
        await bob.wait_ready(mine["id"])
        await carol.wait_ready(other["id"])
        await bob.open(mine["id"])

        async def receipted() -> bool:
            return bool(await alice.events("opened"))

        await eventually(receipted)
        everything = await entries(alice)
        assert [one["index"] for one in everything] == list(range(len(everything)))

        of_bob = await entries(alice, who="bob")
        assert {one["event"] for one in of_bob} >= {"issued", "delivered", "released", "opened"}
        assert not [one for one in of_bob if "carol" in str(one)]
        of_first = await entries(alice, image=first["name"])
        assert {one["subject"] for one in of_first} == {first["name"]}
        assert {one["event"] for one in of_first} == {"imported", "rendered", "released", "opened"}
        both = await entries(alice, who="bob", image=first["id"])
        assert {one["event"] for one in both} == {"released", "opened"}
        assert {one["actor"] for one in both} == {"bob"}
        assert await entries(alice, who="carol", image=first["id"]) == []
        mine_alone = await entries(alice, who="alice")
        assert {"roster_changed", "member_added"} & {one["event"] for one in mine_alone}

        last = everything[-1]
        moment = datetime.fromtimestamp(alice.clock.now() / 1000 + 60, UTC).isoformat()
        assert await entries(alice, since=moment) == []
        assert (await entries(alice, since=last["time"]))[-1] == last
        assert await entries(alice, since="1970-01-01T00:00:00Z") == everything
        assert await entries(alice, limit=3) == everything[-3:]
        assert await entries(alice, limit=0) == await entries(alice, limit=-1) == []


async def test_what_names_nobody_or_nothing_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        for filters, error in (
            ({"who": "nobody"}, UnknownError),
            ({"image": "nothing"}, UnknownError),
            ({"since": "yesterday"}, UsageError),
            ({"since": "2026-01-01"}, UsageError),
        ):
            with pytest.raises(error):
                await entries(alice, **filters)
            with pytest.raises(error):
                await anext(follow(alice, **filters))


async def test_one_who_works_alone_reads_the_own_entries(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (image,) = await alice.import_pictures(1)

        (imported,) = await entries(alice)
        assert (imported["event"], imported["actor"]) == ("imported", "alice")
        assert imported["detail"]["sha256"] == image["sha256"]
        assert [one["index"] for one in await entries(alice, image=image["id"])] == [0]
        assert await entries(alice, who="alice") == [imported]
        assert (await alice.node.log_verifying.verify())["size"] == 1


async def test_a_follower_sees_what_there_is_and_then_what_comes(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(3)
        stream = follow(alice, limit=2)
        assert [(await following(stream))["index"] for _ in range(2)] == [1, 2]
        waiting = asyncio.create_task(following(stream))
        await asyncio.sleep(0.05)

        await alice.import_pictures(5)

        assert [(await waiting)["index"], (await following(stream))["index"]] == [3, 4]


async def test_a_follower_misses_nothing_that_is_committed_while_it_reads(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(3)
        stream = follow(alice)
        seen = [(await following(stream))["index"]]

        await alice.import_pictures(6)

        seen += [(await following(stream))["index"] for _ in range(5)]
        assert seen == list(range(6))


async def test_a_follower_of_one_person_is_told_of_that_person_alone(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        stream = follow(alice, who="carol", limit=0)
        asking = asyncio.create_task(following(stream))
        await asyncio.sleep(0.05)

        await alice.share([image["id"]], ["bob"])
        await alice.share([image["id"]], ["carol"])

        first = await asking
        assert (first["event"], first["detail"]["holder"]) == ("issued", "carol")
        assert (await following(stream))["actor"] == "carol"
        assert bob.me != carol.me


async def test_verifying_names_the_entry_that_was_changed_underneath(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(6)
        assert (await alice.node.log_verifying.verify())["ok"]
        (entry,) = await alice.read(
            lambda db: db.execute("SELECT entry FROM log_entries WHERE log_index = 3").fetchone()
        )

        await execute(
            alice,
            "UPDATE log_entries SET entry = ? WHERE log_index = 3",
            entry.replace(b'"event":"imported"', b'"event":"exported"'),
        )

        verified = await alice.node.log_verifying.verify()
        assert not verified["ok"]
        assert verified["problems"][0]["code"] == "root"
        checked = await alice.node.check(read_data=False, progress=lambda *_: None)
        assert "audit log, entry 3" in [one["where"] for one in checked["problems"]]


MOVED = (
    "UPDATE log_entries SET entry = (SELECT entry FROM log_entries WHERE log_index = 1)"
    " WHERE log_index = 4"
)
OTHER_ORIGIN = (
    "UPDATE log_head SET note = CAST(replace(CAST(note AS TEXT), 'safelight', 'safelite') AS BLOB)"
)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("DELETE FROM log_entries WHERE log_index = 5", "fewer"),
        ("UPDATE log_entries SET entry = x'7b7d' WHERE log_index = 2", "entry"),
        (MOVED, "sequence"),
        (OTHER_ORIGIN, None),
    ],
    ids=["fewer", "nonsense", "moved", "origin"],
)
async def test_whatever_is_done_to_the_log_verifying_says_so(
    tmp_path: Path, change: str, code: str | None
) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(6)
        for field in ("name", "image", "sha256", "classification"):
            await execute(alice, "DELETE FROM log_values WHERE log_index = 5 AND field = ?", field)

        await execute(alice, change)

        verified = await alice.node.log_verifying.verify()
        assert not verified["ok"]
        assert code is None or code in [one["code"] for one in verified["problems"]]
        checked = await alice.node.check(read_data=False, progress=lambda *_: None)
        assert not checked["ok"]


async def test_a_health_check_names_the_picture_of_every_flipped_byte(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        first, second = await alice.import_pictures(2)
        (shared,) = await alice.share([first["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await bob.open(shared["id"])
        (blob_id,) = await alice.read(
            lambda db: db.execute(
                "SELECT blob_id FROM versions WHERE image_id = ?", (bytes.fromhex(second["id"]),)
            ).fetchone()
        )
        flip_byte(blob_path(alice.node.context.vault.home.blobs, blob_id), 5_000 % 700)
        (rendition,) = await blob_files(alice, "rendition")
        flip_byte(rendition)
        (received,) = await blob_files(bob, "received")
        flip_byte(received, 10)

        assert (await alice.node.check(read_data=False, progress=lambda *_: None))["ok"]
        mine = await alice.node.check(read_data=True, progress=lambda *_: None)
        theirs = await bob.node.check(read_data=True, progress=lambda *_: None)

        assert not mine["ok"]
        assert sorted((one["code"], one["picture"]) for one in mine["problems"]) == sorted(
            [("blob", first["name"]), ("blob", second["name"])]
        )
        assert [(one["code"], one["picture"]) for one in theirs["problems"]] == [
            ("blob", first["name"])
        ]


async def test_denials_of_all_kinds_are_logged_with_their_reason(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"], opens=1)
        await bob.wait_ready(shared["id"])
        manifest = await bob.manifest(shared["id"])
        await bob.open(shared["id"])

        with pytest.raises(Refused):
            await bob.open(shared["id"])
        assert await bob.ask(shared["id"], manifest, capability_hash=bytes(32)) == "unknown"
        assert await bob.ask(shared["id"], manifest, blob_sha256=bytes(32)) == "unknown"
        assert await bob.ask(shared["id"], manifest, handshake_hash=bytes(64)) == "unknown"

        denied = await alice.events("denied")
        assert [one["detail"]["reason"] for one in denied] == ["exhausted"] + ["unknown"] * 3
        assert {one["actor"] for one in denied} == {"bob"}
        assert denied[0]["subject"] == image["name"]
        assert len(await entries(alice, who="bob", image=image["id"])) == 4


async def test_a_name_that_means_two_pictures_is_ambiguous_in_the_log_too(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        for number, name in enumerate(("same.jpg", "same.jpg")):
            await alice.node.library.import_bytes(
                made_pictures(number + 1, (24, 16))[number][1],
                name=name,
                classification="internal",
                provenance=b"",
            )
        with pytest.raises(AmbiguousError):
            await entries(alice, image="same.jpg")


async def page(person: Person, **asked: Any) -> tuple[int, list[int]]:
    settings: dict[str, Any] = {
        "who": None, "image": None, "since": None, "until": None, "events": [], "offset": 0,
        "limit": 100,
    }  # fmt: skip
    found = await person.node.log_reading.page(**{**settings, **asked})
    return found["total"], [one["index"] for one in found["entries"]]


async def test_pages_come_newest_first_and_say_how_many_entries_there_are(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        assert await page(alice) == (0, [])
        (first, *_) = await alice.import_pictures(7)
        (at,) = [one["index"] for one in await entries(alice, image=first["id"])]

        assert await page(alice) == (7, [6, 5, 4, 3, 2, 1, 0])
        assert await page(alice, offset=2, limit=3) == (7, [4, 3, 2])
        assert await page(alice, offset=6, limit=3) == (7, [0])
        assert await page(alice, offset=7) == (7, [])
        assert await page(alice, limit=0) == (7, [])
        assert await page(alice, image=first["id"]) == (1, [at])
        assert await page(alice, events=["imported"], offset=5) == (7, [1, 0])
        assert await page(alice, events=["exported"]) == (0, [])
        state = await alice.node.audit_state()
        newest = (await entries(alice))[-1]
        assert (state["size"], state["head_time"]) == (7, newest["time"])
        assert (state["unwitnessed_entries"], state["alarms"]) == (7, [])


async def test_entries_are_told_by_event_and_until_a_time(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(4)
        everything = await entries(alice)
        last = everything[-1]

        assert await entries(alice, events=["imported"]) == everything
        assert await entries(alice, events=["exported", "issued"]) == []
        before = [one for one in everything if one["time"] < last["time"]]
        assert await entries(alice, until=last["time"]) == before
        assert await entries(alice, until="1970-01-01T00:00:00Z") == []
        stream = follow(alice, events=["imported"], limit=1)
        assert (await following(stream))["index"] == last["index"]
        for events in (["opend"], [""]):
            with pytest.raises(UsageError, match="no such event"):
                await entries(alice, events=events)
