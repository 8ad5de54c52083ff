"""Members who leave: what they were granted ends, and they themselves are told what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from node.errors import UnknownError
from node.vault.records import grants, outbox
from node.vault.records import team as rows
from protocol.errors import Reason, Refused
from protocol.identity import format_fingerprint
from tests.node.services.conditions import used_slots
from tests.node.services.team import Person, eventually, join, new_person, team


async def _share(owner: Person, holder: str) -> str:
    images = await owner.import_pictures(1)
    (granted,) = await owner.share([images[0]["id"]], [holder])
    return str(granted["id"])


async def _until_revoked(owner: Person, capability: str) -> None:
    async def ended() -> bool:
        grant = await owner.read(lambda db: grants.grant(db, bytes.fromhex(capability)))
        return grant is not None and grant.ended_at is not None

    await eventually(ended)


async def test_who_left_loses_what_was_granted_and_is_forgotten(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        to_carol = await _share(bob, "carol")
        to_alice = await _share(bob, "alice")
        await carol.wait_ready(to_carol)
        await bob.node.membership.add_addresses(carol.me, carol.node.addresses(), source="added")

        await alice.node.administering.remove("carol")
        await _until_revoked(bob, to_carol)

        async def destroyed() -> bool:
            # A moment after the revocation is there to read, and before anybody was told of it.
            return len(await used_slots(bob)) == 1

        await eventually(destroyed)

        async def forgotten() -> bool:
            waiting = await bob.read(lambda db: outbox.waiting(db, carol.me, limit=9))
            kinds = {row.kind for row in waiting}
            return kinds == {"revocation"} and carol.me not in await bob.read(rows.addresses)

        await eventually(forgotten)
        # What ended is still told by the name, in lists and in the log.
        (share,) = await bob.node.granted.shares(album=None, to="carol", state=None)
        assert (share["id"], share["holder"], share["state"]) == (to_carol, "carol", "revoked")
        (entry,) = await bob.events("revoked")
        assert entry["detail"]["holder"] == "carol"
        with pytest.raises(UnknownError):
            await bob.share([(await bob.import_pictures(1))[0]["id"]], ["carol"])
        others = await bob.node.granted.shares(album=None, to="alice", state=None)
        assert [one["id"] for one in others] == [to_alice]
        assert others[0]["state"] != "revoked"


async def test_a_departure_that_a_former_run_left_is_settled_at_start(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _share(alice, "bob")
        await alice.node.departures.close()
        await alice.node.administering.remove("bob")
        assert len(await used_slots(alice)) == 1

        await alice.restart()

        await _until_revoked(alice, capability)
        assert alice.node.membership.name_of(bob.me) == "bob"


async def test_who_joins_while_departures_are_settled_is_no_departure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with team(tmp_path, "alice") as (alice,):
        bob = await new_person(tmp_path, "bob", alice.imaging)
        try:
            departures = alice.node.departures
            await departures.close()
            revoke, settling = departures._ending.revoke_of_others, asyncio.Event()
            go: list[str] = []

            async def revoke_slowly(members_now: Callable[[], set[bytes]]) -> int:
                ended = await revoke(members_now)
                settling.set()
                await eventually(lambda: asyncio.sleep(0, result=go))
                return ended

            monkeypatch.setattr(departures._ending, "revoke_of_others", revoke_slowly)
            departures.start()
            await settling.wait()
            await join(alice, bob)
            go.append("on")

            async def settled() -> bool:
                return not departures._changed.is_set()

            await eventually(settled)
            assert bob.me in await alice.read(rows.addresses)
        finally:
            await bob.node.close()


async def test_nobody_is_granted_anything_who_leaves_meanwhile(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        (image,) = await alice.import_pictures(1)
        # A second factor takes a while to make.
        sharing = asyncio.create_task(alice.share([image["id"]], ["bob"], factor=True))
        await asyncio.sleep(0.05)

        await alice.node.administering.remove("bob")

        with pytest.raises(Refused) as refused:
            await sharing
        assert refused.value.reason is Reason.NOT_MEMBER
        assert await alice.read(grants.grants) == []
        assert await used_slots(alice) == []


async def test_a_node_that_was_removed_says_so_and_shares_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, _):
        capability = await _share(bob, "carol")
        (image, *_) = await bob.import_pictures(1)
        await alice.node.administering.remove("bob")
        removing = await alice.node.membership.versions_after(3)
        if not bob.node.membership.removed:
            await bob.node.membership.update_untrusted(removing)

        shown = await bob.node.team()

        assert shown["removed"]
        assert "bob" not in [one["name"] for one in shown["members"]]
        assert "no member of Test team" in str(bob.node.membership.notice())
        with pytest.raises(Refused) as refused:
            await bob.share([image["id"]], ["carol"])
        assert refused.value.reason is Reason.NOT_MEMBER
        with pytest.raises(Refused):
            await bob.node.amending.extend(capability=capability, duration=None, opens=1)
        assert bob.node.membership.may_release(alice.me) is Reason.NOT_MEMBER
        assert len(await bob.node.library.images(query="", album=None, tag=None, limit=9)) == 1
        grant = await bob.read(lambda db: grants.grant(db, bytes.fromhex(capability)))
        assert grant is not None
        assert grant.ended_at is None


async def test_who_was_removed_can_be_added_again(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.node.administering.remove("bob")

        await join(alice, bob, "reviewer")

        assert bob.node.membership.version == alice.node.membership.version == 4
        assert bob.node.membership.role_of(bob.me) == "reviewer"
        assert bob.node.membership.notice() is None
        await bob.node.peering.reach(alice.me, 45)
        resolved = alice.node.membership.resolve(format_fingerprint(bob.me), former=True)
        assert resolved.name == "bob"
