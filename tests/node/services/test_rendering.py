"""Renditions made in the background: once for all who need them, whatever goes wrong with one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.errors import UsageError
from node.imaging.made import made_pictures
from node.vault.blob_folder import blob_path
from protocol.errors import Reason, Refused
from tests.node.services.conditions import (
    damage_slot,
    flip_byte,
    full_index,
    until,
    used_slots,
)
from tests.node.services.team import Person, eventually, team


async def idle(person: Person) -> None:
    """Wait until the background rendering waits for work."""
    wake: Any = person.node.rendering._wake
    await until(lambda: wake._waiters)


async def renditions(person: Person) -> list[tuple[str, bytes]]:
    return await person.read(
        lambda db: db.execute("SELECT spec, rendition_id FROM renditions").fetchall()
    )


async def ready(person: Person, capability: str) -> list[bool]:
    """Return for each picture of a held capability whether it is ready."""
    held = next(one for one in await person.node.inbox.held() if one["id"] == capability)
    return [image["ready"] for image in held["images"]]


async def test_one_rendition_serves_everybody_who_needs_those_bytes(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        shared = await alice.share([image["id"]], ["bob", "carol"])
        shared += await alice.share([image["id"]], ["bob"])
        (other,) = await alice.share([image["id"]], ["bob"], rendition="preview:100")

        for one, person in zip([*shared, other], [bob, carol, bob, bob], strict=True):
            await person.wait_ready(one["id"])

        assert [spec for spec, _ in await renditions(alice)] == ["preview:200", "preview:100"]
        manifests = [
            await bob.manifest(shared[0]["id"]),
            await carol.manifest(shared[1]["id"]),
            await bob.manifest(shared[2]["id"]),
        ]
        assert len({one.ciphertext_sha256 for one in manifests}) == 1
        assert len({one.wrapped for one in manifests}) == 3
        assert len({one.commit_issuer for one in manifests}) == 3


async def test_an_original_leaves_as_it_is_and_a_preview_without_metadata(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        ((name, photo),) = made_pictures(1, (160, 107))
        assert b"ARITHMETIC" in photo
        image = await alice.node.library.import_bytes(
            photo, name=name, classification="internal", provenance=b""
        )
        (whole,) = await alice.share([image["id"]], ["bob"], rendition="original")
        (small,) = await alice.share([image["id"]], ["bob"], rendition="preview:64")
        await bob.wait_ready(whole["id"])
        await bob.wait_ready(small["id"])

        opened = await bob.open(whole["id"])
        preview = await bob.open(small["id"])

        assert opened["sha256"] == image["sha256"]
        assert opened["disclosure"] == {"removed": [], "kept": ["everything"]}
        assert max(preview["width"], preview["height"]) == 64
        assert "gps" in " ".join(preview["disclosure"]["removed"]).lower()
        data = bob.node.pixels.data(bytes.fromhex(preview["open_id"]))
        assert data is not None
        assert b"ARITHMETIC" not in data


async def test_what_was_under_way_at_a_stop_goes_on_at_the_next_start(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(20)
        (shared,) = await alice.share([one["id"] for one in images], ["bob"])

        async def some_made() -> bool:
            return bool(await renditions(alice))

        await eventually(some_made)
        await alice.restart()

        held = await bob.wait_ready(shared["id"])
        assert len(held["images"]) == 20
        assert len(await renditions(alice)) == 20
        assert (await alice.node.check(read_data=True, progress=lambda *_: None))["ok"]


async def test_a_picture_that_cannot_be_rendered_holds_up_no_other(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(3)
        blob_id = await alice.read(
            lambda db: db.execute(
                "SELECT blob_id FROM versions WHERE image_id = ?", (bytes.fromhex(images[1]["id"]),)
            ).fetchone()
        )
        original = blob_path(alice.node.context.vault.home.blobs, blob_id[0])
        flip_byte(original)

        (shared,) = await alice.share([one["id"] for one in images], ["bob"])

        async def others() -> bool:
            return bool(await bob.node.inbox.held()) and await ready(bob, shared["id"]) == [
                True,
                False,
                True,
            ]

        await eventually(others)
        await idle(alice)
        with pytest.raises(Refused) as refused:
            await bob.open(shared["id"], images[1]["id"], wait=0.1)
        assert refused.value.reason is Reason.NOT_READY
        flip_byte(original)
        await alice.restart()
        await bob.wait_ready(shared["id"])


async def test_a_damaged_keyslot_does_not_keep_rendering_busy(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await alice.node.rendering.close()
        await alice.share([image["id"]], ["bob"])
        (slot,) = await used_slots(alice)
        damage_slot(alice, slot)
        alice.node.rendering.start()
        await idle(alice)

        (other,) = await alice.share([image["id"]], ["bob"])

        await bob.wait_ready(other["id"])
        await idle(alice)


async def test_a_capability_that_ends_while_it_is_rendered_gets_no_manifest(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(12)
        (shared,) = await alice.share([one["id"] for one in images], ["bob"])
        await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)
        await idle(alice)

        async def settled() -> bool:
            held = await bob.node.inbox.held()
            return bool(held) and held[0]["state"] == "revoked"

        await eventually(settled)
        after = await alice.read(
            lambda db: db.execute("SELECT count(*) FROM outbox WHERE kind = 'manifest'").fetchone()
        )
        assert after == (0,)
        assert (await alice.node.log_verifying.verify())["ok"]


async def test_renditions_are_made_once_there_is_space_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.loops.RETRY_S", 0.1)
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(12)
        await alice.node.rendering.close()
        (shared,) = await alice.share([one["id"] for one in images], ["bob"])
        async with full_index(alice):
            alice.node.rendering.start()
            await asyncio.sleep(0.5)

        (again,) = await alice.share([images[0]["id"]], ["bob"])

        await eventually(lambda: _all_ready(bob, again["id"]))
        await eventually(lambda: _all_ready(bob, shared["id"]))


async def _all_ready(person: Person, capability: str) -> bool:
    known = [one["id"] for one in await person.node.inbox.held()]
    return capability in known and all(await ready(person, capability))


async def test_an_open_is_refused_once_its_picture_is_classified_more_strictly(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        classified = await alice.node.library.classify([image["id"]], "restricted")
        assert classified["images"][0]["classification"] == "restricted"

        with pytest.raises(Refused) as refused:
            await bob.open(shared["id"])

        assert refused.value.reason is Reason.POLICY
        assert await alice.events("released") == []
        (entry,) = await alice.events("classified")
        assert (entry["detail"]["old"], entry["detail"]["new"]) == ("internal", "restricted")
        with pytest.raises(UsageError):
            await alice.node.library.classify([image["id"]], "secret")
        await alice.node.library.classify([image["name"]], "public")
        assert (await bob.open(shared["id"]))["opens_left"] == 9
