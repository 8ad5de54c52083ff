"""The end of a capability on both sides: revoked, seen, expired, and its secrets gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.errors import UnknownError, UsageError
from node.vault.keyslots import KeyslotRecord
from node.vault.records import grants as rows
from node.vault.records import held
from protocol.capability.statements import Receipt, sign_receipt
from protocol.errors import Reason, Refused
from protocol.messages import DeliverStatement, Released
from tests.node.services.conditions import (
    blob_files,
    cancel_while_committing,
    damage_slot,
    full_index,
    used_slots,
    writer_held,
)
from tests.node.services.team import Person, eventually, team


async def _shared(alice: Person, bob: Person, **terms: Any) -> str:
    (image,) = await alice.import_pictures(1)
    (capability,) = await alice.share([image["id"]], ["bob"], **terms)
    await bob.wait_ready(capability["id"])
    return str(capability["id"])


async def _fetch(person: Person, capability: str) -> None:
    row = await person.node.inbox.resolve(capability)
    images = await person.node.inbox.resolve_images(row, [])
    await person.node.fetching.fetch(row, images, progress=lambda *_: None)


async def revoke(person: Person, *capabilities: str, **which: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"to": None, "album": None, **which}
    result = await person.node.ending.revoke(capabilities=list(capabilities), **settings)
    revoked: list[dict[str, Any]] = result["revoked"]
    return revoked


async def share_of(person: Person, capability: str) -> dict[str, Any]:
    return await person.node.granted.describe(bytes.fromhex(capability))


async def held_of(person: Person, capability: str) -> dict[str, Any]:
    return next(one for one in await person.node.inbox.held() if one["id"] == capability)


async def secrets(person: Person) -> list[Any]:
    """Return the secrets of capabilities that the index of a person still keeps."""
    return await person.read(
        lambda db: db.execute(
            "SELECT holder_share FROM grants WHERE holder_share IS NOT NULL"
            " UNION ALL SELECT list_key FROM grants WHERE list_key IS NOT NULL"
            " UNION ALL SELECT holder_share FROM held WHERE holder_share IS NOT NULL"
        ).fetchall()
    )


# Revocation -----------------------------------------------------------------------------------


async def test_a_revocation_leaves_no_secret_pixel_or_ciphertext_on_either_side(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        opened = await bob.open(capability)
        assert bob.node.pixels.data(bytes.fromhex(opened["open_id"])) is not None
        (ciphertext,) = await blob_files(bob, "received")

        (revoked,) = await revoke(alice, capability)

        assert (revoked["seen_by_holder"], revoked["leased_opens"]) == (True, 0)
        assert revoked["at"] is not None
        assert await used_slots(alice) == []
        assert await secrets(alice) == await secrets(bob) == []
        assert bob.node.pixels.data(bytes.fromhex(opened["open_id"])) is None
        with pytest.raises(UsageError):
            await bob.node.viewing.pixels(opened["open_id"], width=10, height=10)

        async def gone() -> bool:
            return not ciphertext.exists()

        await eventually(gone)
        assert (await share_of(alice, capability))["state"] == "revoked"
        assert (await held_of(bob, capability))["state"] == "revoked"
        (entry,) = await alice.events("revocation_seen")
        assert entry["actor"] == "bob"
        assert len(await bob.events("revocation_seen")) == 1


async def test_a_holder_who_is_away_sees_the_revocation_later(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        await _fetch(bob, capability)
        await bob.node.close()

        (revoked,) = await revoke(alice, capability)

        assert not revoked["seen_by_holder"]
        assert await used_slots(alice) == []
        await bob.restart()

        async def seen() -> bool:
            return bool(await alice.events("revocation_seen"))

        await eventually(seen)
        (again,) = await revoke(alice, capability)
        assert again["seen_by_holder"]
        assert again["at"] == revoked["at"]
        assert len(await alice.events("revoked")) == 1
        assert await blob_files(bob, "received") == []


async def test_many_are_revoked_by_person_and_by_album(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, _, _):
        first, second = await alice.import_pictures(2)
        await alice.node.library.import_paths(
            [str(tmp_path / "alice-pictures" / first["name"])],
            album="Tour",
            tags=[],
            classification="internal",
            progress=lambda *_: None,
        )
        both = await alice.share(["Tour"], ["bob", "carol"])
        other = await alice.share([second["id"]], ["bob", "carol"])

        (one,) = await revoke(alice, to="carol", album="Tour")
        assert one["id"] == both[1]["id"]
        assert {one["id"] for one in await revoke(alice, to="bob")} == {
            both[0]["id"],
            other[0]["id"],
        }
        assert await revoke(alice, to="bob") == []
        assert (await share_of(alice, other[1]["id"]))["state"] in ("live", "pending")
        with pytest.raises(UsageError):
            await revoke(alice)
        with pytest.raises(UnknownError):
            await revoke(alice, other[1]["id"], "ffffffff")
        assert (await share_of(alice, other[1]["id"]))["state"] in ("live", "pending")


async def test_no_open_succeeds_once_revoke_has_returned_however_many_are_under_way(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=10_000)
        manifest = await bob.manifest(capability)
        finished: list[tuple[bool, int]] = []
        revoked_at = asyncio.Event()

        async def keep_asking() -> None:
            for number in range(150):
                late = revoked_at.is_set()
                answer = await bob.ask(capability, manifest)
                if late:
                    assert answer == "revoked", number
                finished.append((late, int(isinstance(answer, Released))))

        asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
        await asyncio.sleep(0.1)
        await revoke(alice, capability)
        revoked_at.set()
        await asyncio.gather(*asking)

        counted = (await share_of(alice, capability))["opens"]
        assert counted == len(await alice.events("released"))
        assert sum(released for _, released in finished) <= counted
        assert any(late for late, _ in finished)


async def test_a_revocation_that_is_cancelled_still_destroys_the_secret(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)

        await cancel_while_committing(alice, revoke(alice, capability))

        assert (await share_of(alice, capability))["state"] == "revoked"
        assert await used_slots(alice) == []
        checked = await alice.node.check(read_data=False, progress=lambda *_: None)
        assert checked["problems"] == []


async def test_a_holder_hears_of_a_revocation_whose_caller_is_gone(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)

        await cancel_while_committing(alice, revoke(alice, capability))

        async def seen() -> bool:
            return await _is_held(bob, capability, "revoked")

        await eventually(seen, seconds=20)


async def test_an_open_that_a_revocation_overtakes_keeps_no_pixels(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        await _fetch(bob, capability)
        row = await bob.node.inbox.resolve(capability)
        (image,) = await bob.node.inbox.resolve_images(row, [])
        await bob.node.viewing._new_open_id(row, image)
        async with writer_held(bob) as waiting:
            # The picture is decrypted, and about to be logged and shown.
            opening = asyncio.create_task(bob.open(capability))
            await waiting(1)
            revoking = asyncio.create_task(revoke(alice, capability))
            await waiting(2)
        (revoked,) = await revoking
        assert revoked["seen_by_holder"]

        with pytest.raises(Refused) as refused:
            await opening
        assert refused.value.reason is Reason.REVOKED
        assert bob.node.pixels._shown == {}


async def test_a_holder_who_claims_to_have_seen_what_was_not_revoked_is_refused(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        row = await bob.node.inbox.resolve(capability)
        signed = sign_receipt(
            Receipt(event="revocation_seen", capability_hash=row.capability_hash, time=1),
            holder=bob.node.context.identity,
            team_id=bob.node.membership.team_id,
        )
        link = await bob.node.peering.reach(alice.me, 45)

        with pytest.raises(Refused):
            await link.session.request(DeliverStatement(statement="receipt", signed=signed))

        assert await alice.events("revocation_seen") == []


# Expiry ---------------------------------------------------------------------------------------


HOUR_MS = 3_600_000
LATE_MS = 120_000
"""How long after the end a holder still leaves it to the issuer to say so (4.9)."""


def look_at_the_clock(*people: Person) -> None:
    """Let everybody notice that time has passed: a real clock would have woken them."""
    for person in people:
        person.node.ending.deadlines_changed()
        person.node.dropping.deadlines_changed()


async def test_a_capability_that_expires_is_over_on_both_sides(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1h")
        opened = await bob.open(capability)
        (ciphertext,) = await blob_files(bob, "received")

        alice.clock.advance(HOUR_MS)
        bob.clock.advance(HOUR_MS + LATE_MS)
        look_at_the_clock(alice, bob)

        async def over() -> bool:
            return not (await used_slots(alice) or await secrets(alice) or await secrets(bob))

        await eventually(over)

        async def gone() -> bool:
            return not ciphertext.exists()

        await eventually(gone)
        assert bob.node.pixels.data(bytes.fromhex(opened["open_id"])) is None
        assert (await share_of(alice, capability))["state"] == "expired"
        assert (await held_of(bob, capability))["state"] == "expired"
        with pytest.raises(Refused) as refused:
            await bob.open(capability)
        assert refused.value.reason is Reason.EXPIRED
        assert (await alice.node.check(read_data=True, progress=lambda *_: None))["ok"]
        assert (await bob.node.check(read_data=True, progress=lambda *_: None))["ok"]


async def test_a_short_capability_ends_by_itself_and_the_holder_a_little_later(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1s")

        async def over() -> bool:
            return not (await used_slots(alice) or await secrets(alice))

        await eventually(over)
        # The issuer's clock decides, so the holder asks, and is told.
        assert await secrets(bob) != []
        assert (await held_of(bob, capability))["state"] == "expired"
        with pytest.raises(Refused) as refused:
            await bob.open(capability)
        assert refused.value.reason is Reason.EXPIRED

        bob.clock.advance(LATE_MS)
        look_at_the_clock(bob)

        async def forgotten() -> bool:
            return not await secrets(bob)

        await eventually(forgotten)


async def test_what_expired_while_the_node_was_off_ends_at_its_start(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1h")
        await _fetch(bob, capability)
        for person in (alice, bob):
            await person.node.close()
            person.clock.advance(HOUR_MS + LATE_MS)

        await alice.restart()
        await bob.restart()

        async def over() -> bool:
            return not (await used_slots(alice) or await secrets(alice) or await secrets(bob))

        await eventually(over)
        assert await blob_files(bob, "received") == []


async def test_an_expired_capability_can_still_be_revoked(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1s")
        await eventually(lambda: _is(alice, capability, "expired"))

        (revoked,) = await revoke(alice, capability)

        assert revoked["at"] is not None
        assert (await share_of(alice, capability))["state"] == "revoked"
        await eventually(lambda: _is_held(bob, capability, "revoked"))


async def _is(person: Person, capability: str, state: str) -> bool:
    return bool((await share_of(person, capability))["state"] == state)


async def _is_held(person: Person, capability: str, state: str) -> bool:
    return bool((await held_of(person, capability))["state"] == state)


async def test_expiry_goes_on_after_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.loops.RETRY_S", 0.1)
    async with team(tmp_path, "alice", "bob") as (alice, _):
        # Ending this many at once needs pages that are not there.
        (image,) = await alice.import_pictures(1)
        await alice.node.rendering.close()
        shared = [await alice.share([image["id"]], ["bob"], duration="1h") for _ in range(3)]
        await alice.node.context.database.write(
            lambda transaction: transaction.connection.execute(
                "CREATE TRIGGER grow AFTER UPDATE ON grants BEGIN"
                " INSERT INTO meta VALUES (hex(randomblob(16)), zeroblob(9000)); END"
            )
        )
        async with full_index(alice):
            alice.clock.advance(HOUR_MS)
            look_at_the_clock(alice)
            await asyncio.sleep(0.2)
            assert len(await used_slots(alice)) == len(shared)

        async def over() -> bool:
            return not await used_slots(alice)

        await eventually(over, seconds=20)


# What a crash leaves --------------------------------------------------------------------------


async def test_a_crash_between_commit_and_overwriting_is_made_good_at_the_start(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        now = alice.clock.now()
        await alice.node.context.database.write(
            lambda transaction: rows.end(
                transaction.connection, bytes.fromhex(capability), revoked_at=now, now=now
            )
        )
        assert len(await used_slots(alice)) == 1

        await alice.restart()

        assert await used_slots(alice) == []
        checked = await alice.node.check(read_data=True, progress=lambda *_: None)
        assert checked["problems"] == []


async def test_a_keyslot_that_was_written_and_never_committed_is_empty_after_the_start(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        keyslots = alice.node.context.vault.keyslots
        slot = keyslots.allocate()
        keyslots.write(slot, bytes(16), KeyslotRecord(slot_secret=b"s" * 32, mix=bytes(32)))
        assert len(await used_slots(alice)) == 2

        await alice.restart()

        assert len(await used_slots(alice)) == 1
        assert (await bob.open(capability))["opens_left"] == 9


async def test_ciphertext_that_a_crash_left_at_the_holder_is_swept(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        await _fetch(bob, capability)
        (ciphertext,) = await blob_files(bob, "received")
        await bob.node.context.database.write(
            lambda transaction: held.end(
                transaction.connection, bytes.fromhex(capability), revoked_at=1
            )
        )
        assert ciphertext.exists()

        await bob.restart()

        assert not ciphertext.exists()


async def test_a_damaged_keyslot_releases_and_counts_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        (slot,) = await used_slots(alice)
        damage_slot(alice, slot)

        with pytest.raises(Refused) as refused:
            await bob.open(capability)

        assert refused.value.reason is Reason.NOT_READY
        assert await alice.events("released") == []
        assert (await share_of(alice, capability))["opens"] == 0
        checked = await alice.node.check(read_data=False, progress=lambda *_: None)
        assert [(one["code"], one["picture"]) for one in checked["problems"]] == [
            ("keyslot", (await share_of(alice, capability))["names"][0])
        ]
        # It can still be ended.
        await revoke(alice, capability)
        assert await used_slots(alice) == []
