"""Statements reach their holder once, in order, however often either side goes away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.errors import UnreachableError
from node.transport.driver import Session
from protocol.capability.statements import Receipt, sign_receipt
from protocol.errors import Reason, Refused
from protocol.messages import Deliver, DeliverStatement, Done, Hello, Request
from tests.node.services.conditions import (
    blob_files,
    cut,
    flip_byte,
    full_index,
    greet,
    raw_session,
    until,
    writer_held,
)
from tests.node.services.team import Person, eventually, join, new_person, team


async def outbox(person: Person) -> list[str]:
    """Return the kinds of what waits for others, in order."""
    found = await person.read(
        lambda db: db.execute("SELECT kind FROM outbox ORDER BY message_id").fetchall()
    )
    return [kind for (kind,) in found]


async def emptied(person: Person) -> None:
    async def empty() -> bool:
        return not await outbox(person)

    await eventually(empty)


async def share_state(person: Person, capability: str) -> str:
    shares = await person.node.granted.shares(album=None, to=None, state=None)
    return str(next(one["state"] for one in shares if one["id"] == capability))


async def test_a_holder_who_was_away_finds_everything_on_coming_back(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(3)
        await bob.node.close()

        (first,) = await alice.share([one["id"] for one in images], ["bob"], opens=2)
        (second,) = await alice.share([images[0]["id"]], ["bob"])
        await alice.node.amending.extend(capability=first["id"], duration="2h", opens=3)
        await alice.node.ending.revoke(capabilities=[second["id"]], to=None, album=None)
        assert await share_state(alice, first["id"]) == "pending"
        await bob.restart()

        held = await bob.wait_ready(first["id"])
        assert held["opens_left"] == 5
        assert {one["id"]: one["state"] for one in await bob.node.inbox.held()} == {
            first["id"]: "live",
            second["id"]: "revoked",
        }
        assert (await bob.open(first["id"], images[2]["id"]))["opens_left"] == 4
        await emptied(alice)
        await emptied(bob)
        assert await share_state(alice, first["id"]) == "live"
        assert len(await alice.events("delivered")) == 2
        assert len(await bob.events("received")) == 2


async def test_what_waits_survives_a_restart_of_both_sides(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        await alice.node.rendering.close()
        (shared,) = await alice.share([image["id"]], ["bob"])
        assert await outbox(alice) == ["capability"]

        await alice.restart()

        async def rendered() -> bool:
            return await outbox(alice) == ["capability", "manifest"]

        await eventually(rendered)
        await alice.restart()
        await bob.restart()
        await bob.wait_ready(shared["id"])
        await bob.restart()
        assert (await bob.open(shared["id"]))["opens_left"] == 9


async def test_a_capability_of_a_thousand_pictures_arrives_whole(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        # The list is far larger than one message; no rendition is needed for that.
        await alice.node.rendering.close()
        (image,) = await alice.import_pictures(1, size=(16, 16))
        await _clone_pictures(alice, image["id"], 1_200)
        found = await alice.read(lambda db: db.execute("SELECT image_id FROM images").fetchall())
        names = [image_id.hex() for (image_id,) in found]

        (shared,) = await alice.share(names, ["bob"])

        async def arrived() -> list[Any]:
            return await bob.node.inbox.held()

        (held,) = await eventually(arrived)
        assert [one["id"] for one in held["images"]] == names
        assert held["id"] == shared["id"]
        (sealed,) = await blob_files(alice, "image_list")
        assert sealed.stat().st_size > 65_536


async def _clone_pictures(person: Person, image: str, count: int) -> None:
    """Give the index many rows of one picture: what they show does not matter here."""

    def job(transaction: Any) -> None:
        db = transaction.connection
        for number in range(count):
            identifier = number.to_bytes(16, "big")
            db.execute(
                "INSERT INTO images SELECT ?, ?, classification, imported_at, NULL FROM images"
                " WHERE image_id = ?",
                (identifier, f"{'long name ' * 4}{number}.jpg", bytes.fromhex(image)),
            )
            db.execute(
                "INSERT INTO versions SELECT ?, ?, 1, format, width, height, bytes, sha256,"
                " blob_id, created_at, likeness FROM versions WHERE image_id = ?",
                (identifier, identifier, bytes.fromhex(image)),
            )

    await person.node.context.database.write(job)


async def test_a_holder_with_a_full_disk_gets_the_capability_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.delivery.RETRY_S", 0.1)
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        async with full_index(bob):
            (shared,) = await alice.share([image["id"]], ["bob"], terms="x" * 6_000)
            await asyncio.sleep(0.5)
            assert await bob.node.inbox.held() == []
            assert await outbox(alice) == ["capability", "manifest"]

        await bob.wait_ready(shared["id"])
        assert (await bob.open(shared["id"]))["opens_left"] == 9
        await emptied(alice)


async def test_an_issuer_with_a_full_disk_takes_the_receipts_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.delivery.RETRY_S", 0.1)
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(12, size=(32, 32))
        (shared,) = await alice.share([one["id"] for one in images], ["bob"])
        await bob.wait_ready(shared["id"])
        await emptied(bob)
        await bob.node.delivery.close()
        for image in images:
            await bob.open(shared["id"], image["id"])
        assert await outbox(bob) == ["receipt"] * 12

        async with full_index(alice):
            await bob.restart()
            await asyncio.sleep(0.5)
            # More than the slack of the pages that there are.
            assert len(await outbox(bob)) > 0

        await emptied(bob)
        assert len(await alice.events("opened")) == 12


async def test_a_connection_lost_again_and_again_loses_no_statement(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(24, size=(32, 32))
        names = [one["id"] for one in images]

        async def keep_cutting() -> None:
            for _ in range(8):
                await asyncio.sleep(0.12)
                cut(alice)

        cutting = asyncio.create_task(keep_cutting())
        shared = [(await alice.share(names, ["bob"]))[0]["id"] for _ in range(4)]
        await cutting

        for one in shared:
            held = await bob.wait_ready(one)
            assert len(held["images"]) == 24
        await emptied(alice)
        await emptied(bob)
        assert len(await bob.events("received")) == 4
        assert len(await bob.node.inbox.held()) == 4
        assert {await share_state(alice, one) for one in shared} == {"live"}


async def test_a_receipt_that_comes_again_is_taken_and_logged_once(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await emptied(bob)
        row = await bob.node.inbox.resolve(shared["id"])
        signed = sign_receipt(
            Receipt(event="received", capability_hash=row.capability_hash, time=1),
            holder=bob.node.context.identity,
            team_id=bob.node.membership.team_id,
        )
        link = await bob.node.peering.reach(alice.me, 45)

        for _ in range(3):
            answer = await link.session.request(
                DeliverStatement(statement="receipt", signed=signed)
            )
            assert answer == Done()

        assert len(await alice.events("delivered")) == 1


async def test_a_statement_that_the_peer_will_never_take_does_not_hold_up_the_next(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        (first,) = await alice.share([image["id"]], ["bob"])
        (second,) = await alice.share([image["id"]], ["bob"])
        lists = await blob_files(alice, "image_list")
        flip_byte(lists[0])

        await bob.restart()

        await bob.wait_ready(second["id"])
        await emptied(alice)
        assert [one["id"] for one in await bob.node.inbox.held()] == [second["id"]]
        assert await share_state(alice, first["id"]) == "pending"


async def test_an_answer_that_makes_no_sense_ends_no_delivery_for_good(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)

        async def nonsense(session: Session, request: Request) -> Any:
            # An answer to a greeting, and what is no answer at all to anything else.
            return Done() if isinstance(request, Hello) else request

        async with raw_session(bob, alice, nonsense) as session:
            await greet(bob, alice, session)
            (shared,) = await alice.share([image["id"]], ["bob"])
            await asyncio.sleep(0.3)

        await bob.restart()
        await bob.wait_ready(shared["id"])


async def test_a_member_without_an_address_is_unreachable_and_gets_it_when_it_has_one(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        carol = await new_person(tmp_path, "carol", alice.imaging)
        try:
            await alice.node.membership.remove_addresses(bob.me)
            await join(alice, carol)
            await carol.node.peering.reach(alice.me, 45)
            await bob.node.peering.ping(alice.me)
            await until(lambda: bob.node.membership.member(carol.me) is not None)
            (image,) = await bob.import_pictures(1)
            with pytest.raises(UnreachableError, match="carol"):
                await bob.node.peering.reach(carol.me, 0.3)
            (shared,) = await bob.share([image["id"]], ["carol"])
            assert await share_state(bob, shared["id"]) == "pending"

            places = carol.node.addresses()
            await bob.node.membership.add_addresses(carol.me, places, source="added")

            await carol.wait_ready(shared["id"])
            assert (await carol.open(shared["id"]))["opens_left"] == 9
        finally:
            await carol.node.close()


async def test_a_capability_for_another_is_refused_by_who_gets_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        await alice.share([image["id"]], ["bob"])
        (body,) = (
            await alice.read(
                lambda db: db.execute(
                    "SELECT body FROM outbox WHERE kind = 'capability'"
                ).fetchall()
            )
        )[0]

        link = await alice.node.peering.reach(carol.me, 45)
        with pytest.raises(Refused) as refused:
            await link.session.request(Deliver(sealed=body))

        assert refused.value.reason is Reason.UNKNOWN
        assert await carol.node.inbox.held() == []
        await bob.restart()
        await until(lambda: bob.node.peering.link(alice.me) is not None)


async def test_a_revocation_that_replaces_what_is_on_its_way_arrives(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await emptied(alice)
        async with writer_held(bob) as waiting:
            await alice.node.amending.extend(capability=shared["id"], duration="2h", opens=None)
            await waiting(1)
            # The amendment is with the holder, and not yet acknowledged.
            await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)

        async def seen() -> bool:
            (held,) = await bob.node.inbox.held()
            return bool(held["state"] == "revoked")

        await eventually(seen, seconds=20)


async def test_what_was_extended_while_its_holder_was_away_arrives_after_its_first_end(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        (shared,) = await alice.share([image["id"]], ["bob"], duration="1h")
        await alice.node.amending.extend(capability=shared["id"], duration="9h", opens=None)
        for person in (alice, bob):
            person.clock.advance(2 * 3_600_000)

        await bob.restart()

        await bob.wait_ready(shared["id"])
        assert (await bob.open(shared["id"]))["opens_left"] == 9


async def test_a_revocation_does_not_wait_behind_many_amendments(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        first, second = await alice.import_pictures(2)
        (extended,) = await alice.share([first["id"]], ["bob"])
        (revoked,) = await alice.share([second["id"]], ["bob"])
        await bob.wait_ready(revoked["id"])
        await bob.node.close()
        for _ in range(70):
            await alice.node.amending.extend(capability=extended["id"], duration=None, opens=1)
        await alice.node.ending.revoke(capabilities=[revoked["id"]], to=None, album=None)

        await bob.restart()

        async def seen() -> bool:
            held = await bob.node.inbox.held()
            states = {one["id"]: str(one["state"]) for one in held}
            return states[revoked["id"]] == "revoked"

        await eventually(seen, seconds=20)
