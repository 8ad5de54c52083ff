"""Later expiries and more opens: within policy, never less, and the same on both sides."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.errors import UnknownError, UsageError
from node.vault.records import grants as rows
from node.vault.records import held as held_rows
from protocol.errors import Reason, Refused
from protocol.limits import MAX_CLOCK_STEP_BACK_MS
from tests.node.services.conditions import used_slots, writer_held
from tests.node.services.team import Person, eventually, team

HOUR_MS = 3_600_000


async def _shared(alice: Person, bob: Person, **terms: Any) -> str:
    (image,) = await alice.import_pictures(1)
    (capability,) = await alice.share([image["id"]], ["bob"], **terms)
    await bob.wait_ready(capability["id"])
    return str(capability["id"])


async def extend(person: Person, capability: str, **change: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"duration": None, "opens": None, **change}
    return await person.node.amending.extend(capability=capability, **settings)


async def grant(person: Person, capability: str) -> rows.GrantRow:
    found = await person.read(lambda db: rows.grant(db, bytes.fromhex(capability)))
    assert found is not None
    return found


async def held(person: Person, capability: str) -> held_rows.HeldRow:
    found = await person.read(lambda db: held_rows.held(db, bytes.fromhex(capability)))
    assert found is not None
    return found


async def told(alice: Person, bob: Person, capability: str) -> held_rows.HeldRow:
    """Return what the holder knows once it knows the newest amendment."""

    async def same() -> bool:
        newest = (await grant(alice, capability)).amendments
        return (await held(bob, capability)).amendments == newest

    await eventually(same)
    return await held(bob, capability)


async def test_an_extension_moves_the_end_to_now_and_the_duration_on_both_sides(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1h", opens=2)
        now = alice.clock.now()

        extended = await extend(alice, capability, duration="3h", opens=4)

        row = await grant(alice, capability)
        assert now + 3 * HOUR_MS <= row.expires_at <= alice.clock.now() + 3 * HOUR_MS
        known = await told(alice, bob, capability)
        assert (known.expires_at, known.opens_added) == (row.expires_at, 4)
        assert extended["opens_left"] == 6
        (inbox,) = await bob.node.inbox.held()
        assert inbox["opens_left"] == 6
        assert inbox["expires_at"] == extended["expires_at"]
        assert "6 times" in inbox["sentence"]
        for person in (alice, bob):
            (entry,) = await person.events("amended")
            assert entry["actor"] == "alice"
        assert (await bob.open(capability))["opens_left"] == 5


async def test_an_extension_never_makes_the_end_earlier(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="10h")
        before = (await grant(alice, capability)).expires_at

        await extend(alice, capability, duration="1h")
        await extend(alice, capability, opens=1)

        assert (await grant(alice, capability)).expires_at == before
        known = await told(alice, bob, capability)
        assert (known.expires_at, known.opens_added, known.amendments) == (before, 1, 2)


async def test_no_extension_goes_over_the_policy(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        before = await grant(alice, capability)

        for change in ({"duration": "91d"}, {"opens": 1_000_000}, {"duration": "91d", "opens": 1}):
            with pytest.raises(Refused) as refused:
                await extend(alice, capability, **change)
            assert refused.value.reason is Reason.POLICY
            assert refused.value.hint

        assert await grant(alice, capability) == before
        await extend(alice, capability, duration="90d")
        assert await alice.events("amended") != []


async def test_what_makes_no_extension_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)

        for change in ({}, {"opens": 0}, {"opens": -5}, {"opens": 10**9}, {"duration": "soon"}):
            with pytest.raises(UsageError):
                await extend(alice, capability, **change)
        with pytest.raises(UsageError, match="over"):
            await extend(alice, capability, duration="2020-01-01T00:00:00Z")
        with pytest.raises(UnknownError):
            await extend(alice, "ffffffff", opens=1)
        with pytest.raises(UnknownError):
            await extend(bob, capability, opens=1)

        assert (await grant(alice, capability)).amendments == 0


async def test_nothing_is_extended_after_its_end(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        revoked = await _shared(alice, bob)
        (image,) = await alice.import_pictures(1)
        (expiring,) = await alice.share([image["id"]], ["bob"], duration="1h")
        await alice.node.ending.revoke(capabilities=[revoked], to=None, album=None)
        alice.clock.advance(HOUR_MS)

        for capability, reason in ((revoked, Reason.REVOKED), (expiring["id"], Reason.EXPIRED)):
            with pytest.raises(Refused) as refused:
                await extend(alice, capability, duration="2h", opens=5)
            assert refused.value.reason is reason
            assert "anew" in refused.value.hint

        assert await alice.events("amended") == []


async def test_an_extension_keeps_the_capability_alive_past_its_first_end(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1h")
        await extend(alice, capability, duration="3h")
        await told(alice, bob, capability)

        for person in (alice, bob):
            person.clock.advance(2 * HOUR_MS)
            person.node.ending.deadlines_changed()
            person.node.dropping.deadlines_changed()
        await asyncio.sleep(0.1)

        assert len(await used_slots(alice)) == 1
        assert (await bob.open(capability))["opens_left"] == 9


async def test_amendments_reach_a_holder_who_was_away_in_their_order(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=1)
        await bob.node.close()
        for number in range(1, 4):
            await extend(alice, capability, opens=number, duration=f"{number + 1}h")

        await bob.restart()

        known = await told(alice, bob, capability)
        assert (known.opens_added, known.amendments) == (6, 3)
        assert known.expires_at == (await grant(alice, capability)).expires_at
        await bob.restart()
        assert (await held(bob, capability)).opens_added == 6


async def test_extensions_at_once_are_all_counted(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=1)

        await asyncio.gather(*(extend(alice, capability, opens=1) for _ in range(12)))

        known = await told(alice, bob, capability)
        assert (known.opens_added, known.amendments) == (12, 12)


async def test_a_used_up_capability_lives_again_with_more_opens(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=1)
        await bob.open(capability)
        with pytest.raises(Refused):
            await bob.open(capability)

        extended = await extend(alice, capability, opens=2)

        assert (extended["state"], extended["opens_left"]) == ("live", 2)
        await told(alice, bob, capability)
        (inbox,) = await bob.node.inbox.held()
        assert (inbox["state"], inbox["opens_left"]) == ("live", 2)


async def test_a_holder_whose_clock_is_ahead_can_use_an_extension(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1h")
        # The issuer's clock decides, and it says that there is an hour left.
        bob.clock.advance(HOUR_MS + 60_000)
        bob.node.dropping.deadlines_changed()
        await asyncio.sleep(0.1)

        await extend(alice, capability, duration="4h")

        await told(alice, bob, capability)
        assert (await bob.open(capability))["opens_left"] == 9


async def test_an_extension_that_arrives_at_the_last_moment_counts(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1h")
        async with writer_held(bob) as waiting:
            await extend(alice, capability, duration="4h")
            await waiting(1)
            # The amendment waits for the disk when the old end has come by any clock.
            bob.clock.advance(HOUR_MS + MAX_CLOCK_STEP_BACK_MS)
            bob.node.dropping.deadlines_changed()
            await waiting(2)

        assert (await told(alice, bob, capability)).holder_share is not None
        assert (await bob.open(capability))["opens_left"] == 9
