"""What administrators change, alone and together: roles, removals, signatures, renewal.

Two histories of a team stand in ``test_histories``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.errors import AmbiguousError, NodeError, UnknownError, UsageError
from node.vault.records import team as rows
from protocol.errors import LocalError, Reason, Refused
from protocol.identity import format_fingerprint, parse_identity_file_untrusted
from protocol.limits import ROSTER_LIFETIME_MS, ROSTER_RENEWAL_MS
from protocol.messages import ProposeRoster, Released
from protocol.roster.metadata import with_role, with_threshold
from protocol.roster.proposal import propose
from tests.attacks.mallory import enlisted, refused
from tests.node.services.administrators import (
    administrators,
    apart,
    at_version,
    identity_of,
    pending,
    role_at,
)
from tests.node.services.team import Person, new_person, team

DAY_MS = 24 * 3_600_000


# One administrator --------------------------------------------------------------------------------


async def test_a_new_role_holds_on_every_node_and_stands_in_every_log(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        told = await alice.node.administering.role("bob", "reviewer")

        assert told == {"name": "bob", "role": "reviewer", "pending": False, "version": 3}
        await at_version(bob, 3)
        assert role_at(bob, bob) == "reviewer"
        for person in (alice, bob):
            changed = [
                one["detail"]
                for one in await person.events("roster_changed")
                if one["detail"].get("change") == "role"
            ]
            assert [(one["name"], one["old"], one["new"]) for one in changed] == [
                ("bob", "editor", "reviewer")
            ]
            newest = [
                one["detail"]
                for one in await person.events("roster_changed")
                if one["detail"].get("version") == "3"
            ]
            assert [(one["old"], one["signed_by"]) for one in newest] == [("version 2", "alice")]


async def test_a_removal_stands_in_the_log_with_what_the_member_was(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        told = await alice.node.administering.remove("carol")

        assert (told["name"], told["pending"], told["version"]) == ("carol", False, 4)
        assert told["fingerprint"] == format_fingerprint(carol.me)
        await at_version(bob, 4)
        for person in (alice, bob):
            (entry,) = await person.events("member_removed")
            assert (entry["subject"], entry["detail"]["old"]) == ("carol", "editor")
        with pytest.raises(UnknownError):
            await alice.node.administering.remove("carol")


async def test_what_means_nothing_or_would_leave_nobody_to_sign_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        administering = alice.node.administering
        for attempt, kind in (
            (administering.role("bob", "owner"), UsageError),
            (administering.role("bob", "editor"), UsageError),
            (administering.role("nobody", "editor"), UnknownError),
            (administering.role("alice", "editor"), LocalError),
            (administering.remove("alice"), LocalError),
            (administering.threshold(1), UsageError),
            (administering.threshold(0), LocalError),
            (administering.threshold(2), LocalError),
            (administering.sign(""), UnknownError),
            (administering.resolve(dry_run=True, keep_ours=False), UsageError),
            (administering.resolve(dry_run=False, keep_ours=False), UsageError),
        ):
            with pytest.raises(kind) as error:
                await attempt
            assert str(error.value)
        for attempt in (
            bob.node.administering.role("bob", "admin"),
            bob.node.administering.remove("alice"),
            bob.node.administering.threshold(2),
            bob.node.administering.renew(),
            bob.node.administering.resolve(dry_run=True, keep_ours=False),
        ):
            with pytest.raises(Refused) as refusal:
                await attempt
            assert refusal.value.reason is Reason.POLICY
            assert "alice" in refusal.value.hint
        assert alice.node.membership.version == 2


# Several administrators ---------------------------------------------------------------------------


async def test_a_change_waits_until_the_threshold_has_signed_it(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob", "carol", threshold=2) as people:
        alice, bob, carol = people
        version = alice.node.membership.version

        told = await alice.node.administering.role("carol", "editor")

        assert told["pending"]
        assert (told["missing"], told["version"]) == (1, version + 1)
        for person in people:
            assert await pending(person, 1) == [told["proposal"]]
            assert role_at(person, carol) == "admin"
        (seen,) = bob.node.administering.pending()
        assert seen["changes"] == ["carol becomes editor, was admin"]
        assert (seen["signed_by"], seen["signed"], seen["missing"]) == (["alice"], False, 1)
        assert (await bob.node.team())["pending"] == 1

        signed = await bob.node.administering.sign(told["proposal"][:6])

        assert (signed["pending"], signed["version"]) == (False, version + 1)
        for person in people:
            await at_version(person, version + 1)
            assert await pending(person, 0) == []
            assert role_at(person, carol) == "editor"
        assert await alice.read(lambda db: db.execute("SELECT kind FROM outbox").fetchall()) == []
        newest = (await carol.events("roster_changed"))[-2]["detail"]
        assert newest["signed_by"] == "alice, bob"


async def test_a_threshold_is_raised_by_as_many_as_it_asks_for(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob") as (alice, bob):
        version = alice.node.membership.version

        told = await alice.node.administering.threshold(2)

        assert (told["pending"], told["missing"]) == (True, 1)
        await pending(bob, 1)
        await bob.node.administering.sign("")
        await at_version(alice, version + 1)
        assert (await alice.node.team())["threshold"] == 2


async def test_the_same_change_by_another_administrator_is_a_signature(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob", "carol", threshold=2) as people:
        alice, bob, carol = people
        version = alice.node.membership.version
        first = await alice.node.administering.remove("carol")
        again = await alice.node.administering.remove("carol")
        assert again == first
        await pending(bob, 1)

        done = await bob.node.administering.remove("carol")

        assert (done["pending"], done["version"]) == (False, version + 1)
        await at_version(alice, version + 1)
        assert alice.node.membership.member(carol.me) is None


async def test_proposals_that_no_longer_follow_are_dropped_everywhere(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob", "carol", threshold=2) as people:
        alice, bob, _ = people
        version = alice.node.membership.version
        events = alice.node.context.events.listen()
        upcoming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        stays = await alice.node.administering.role("carol", "editor")
        goes = await alice.node.administering.role("carol", "guest")
        for person in people:
            await pending(person, 2)
        with pytest.raises(AmbiguousError):
            await bob.node.administering.sign("")

        await bob.node.administering.sign(stays["proposal"])

        for person in people:
            await at_version(person, version + 1)
            await pending(person, 0)
            assert await person.read(rows.proposals) == []
        with pytest.raises(UnknownError):
            await alice.node.membership.sign(bytes.fromhex(goes["proposal"]))
        heard = [await upcoming]
        async with asyncio.timeout(15):
            while heard[-1]["kind"] != "proposal_dropped":
                heard.append(await anext(events))
        assert heard[-1]["proposal"] == goes["proposal"]
        await events.aclose()


async def test_a_proposal_outlives_a_restart_and_reaches_who_was_away(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob", threshold=2) as (alice, bob):
        version = alice.node.membership.version
        await bob.node.close()
        told = await alice.node.administering.renew()
        assert told["pending"]

        await alice.restart()
        await bob.restart()

        assert await pending(bob, 1) == [told["proposal"]]
        await bob.node.administering.sign("")
        await at_version(alice, version + 1)


async def test_somebody_is_added_once_enough_have_signed(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob", threshold=2) as (alice, bob):
        carol = await new_person(tmp_path, "carol", alice.imaging)
        try:
            version = alice.node.membership.version
            told, welcome = await alice.node.administering.add(
                identity_of(carol), "editor", addresses=alice.node.addresses()
            )
            assert (told["name"], told["pending"], told["missing"], welcome) == (
                *("carol", True, 1, b""),
            )
            again, _ = await alice.node.administering.add(
                identity_of(carol), "editor", addresses=[]
            )
            assert again["proposal"] == told["proposal"]
            person, places = parse_identity_file_untrusted(identity_of(carol))
            assert await alice.node.membership.admit(person, "editor", list(places)) == "pending"

            await pending(bob, 1)
            await bob.node.administering.sign("")
            await at_version(alice, version + 1)

            done, welcome = await alice.node.administering.add(
                identity_of(carol), "editor", addresses=alice.node.addresses()
            )
            assert (done["pending"], done["version"]) == (False, version + 1)
            assert await alice.node.membership.admit(person, "editor", []) == "member"
            await carol.node.membership.join(welcome, format_fingerprint(alice.me))
            await carol.node.peering.reach(alice.me, 45)
        finally:
            await carol.node.close()


async def test_only_administrators_propose_and_only_what_follows(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        trusted = alice.node.membership.trusted
        now, me = alice.clock.now(), alice.node.context.identity
        taken_over = with_role(trusted.roster, mallory.me, "admin", now=now)
        by_mallory = propose(taken_over, signer=mallory.local, team_id=trusted.team_id)

        for signed in (by_mallory, propose(taken_over, signer=me, team_id=trusted.team_id)):
            assert await refused(session.request(ProposeRoster(signed=signed))) == "policy"

        await alice.node.administering.role("mallory", "admin")
        trusted = alice.node.membership.trusted
        await session.request(mallory.hello())
        follows = with_threshold(trusted.roster, 2, now=now)
        old = propose(taken_over, signer=mallory.local, team_id=trusted.team_id)
        of_alice = propose(follows, signer=me, team_id=trusted.team_id)
        elsewhere = propose(follows, signer=mallory.local, team_id=bytes(32))
        for signed, reason in (
            (old, "unknown"),
            (of_alice, "policy"),
            (elsewhere, "unknown"),
            (b"", "unknown"),
            (of_alice[:-1], "unknown"),
        ):
            assert await refused(session.request(ProposeRoster(signed=signed))) == reason
        assert alice.node.administering.pending() == []

        good = propose(follows, signer=mallory.local, team_id=trusted.team_id)
        for _ in range(2):
            assert await refused(session.request(ProposeRoster(signed=good))) == "taken"
        assert await pending(alice, 1)


async def test_one_administrator_cannot_fill_anothers_disk_with_proposals(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice, role="admin") as mallory:
        session = await mallory.dial(alice)
        trusted = alice.node.membership.trusted
        outcomes = []
        for number in range(20):
            body = with_threshold(trusted.roster, 2, now=alice.clock.now() + number)
            signed = propose(body, signer=mallory.local, team_id=trusted.team_id)
            outcomes.append(await refused(session.request(ProposeRoster(signed=signed))))

        assert outcomes == ["taken"] * 16 + ["policy"] * 4
        assert len(await alice.read(rows.proposals)) == 16


# Expiry and renewal -------------------------------------------------------------------------------


async def test_an_expired_roster_only_takes_newer_ones_until_it_is_renewed(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        carol = await new_person(tmp_path, "carol", alice.imaging)
        try:
            (image,) = await alice.import_pictures(1)
            for person in (alice, bob, carol):
                person.clock.advance(ROSTER_LIFETIME_MS)
            assert (await alice.node.team())["expired"]
            assert "renew" in str(alice.node.membership.notice())

            for attempt in (
                alice.share([image["id"]], ["bob"]),
                alice.node.administering.role("bob", "reviewer"),
                alice.node.membership.add(identity_of(carol), "editor", addresses=[]),
            ):
                with pytest.raises(NodeError) as expired:
                    await attempt
                assert expired.value.code == "roster_expired"

            told = await alice.node.administering.renew()
            assert not told["pending"]
            await at_version(bob, 3)
            assert bob.node.membership.notice() is None
            (granted,) = await alice.share([image["id"]], ["bob"])
            await bob.wait_ready(granted["id"])
            assert isinstance(
                await bob.ask(granted["id"], await bob.manifest(granted["id"])), Released
            )
        finally:
            await carol.node.close()


async def test_an_amendment_waits_while_the_roster_has_expired(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        for person in (alice, bob):
            person.clock.advance(ROSTER_LIFETIME_MS - DAY_MS)
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"], duration="7d")
        for person in (alice, bob):
            person.clock.advance(DAY_MS)

        with pytest.raises(NodeError) as expired:
            await alice.node.amending.extend(capability=granted["id"], duration=None, opens=3)

        assert expired.value.code == "roster_expired"


async def test_administrators_nodes_renew_in_turn_and_only_in_the_last_month(
    tmp_path: Path,
) -> None:
    async with apart(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        people = sorted((alice, bob, carol), key=lambda one: one.me)
        expires_at = alice.node.membership.trusted.roster.expires_at

        async def due(person: Person, left: int) -> bool:
            person.clock.shift += expires_at - left - person.clock.now()
            return await person.node.administering.renew_if_due()

        for person in people:
            assert not await due(person, ROSTER_RENEWAL_MS + DAY_MS)
        first, second, third = people
        assert not await due(second, ROSTER_RENEWAL_MS - DAY_MS)
        assert not await due(third, ROSTER_RENEWAL_MS - 3 * DAY_MS)
        # What has expired may be a frozen one: that is for a person to say.
        assert not await due(second, 0)
        assert await due(first, ROSTER_RENEWAL_MS - DAY_MS)
        assert not await due(first, ROSTER_RENEWAL_MS - DAY_MS)
        assert await due(third, ROSTER_RENEWAL_MS - 5 * DAY_MS)
        assert first.node.membership.trusted.roster.expires_at > expires_at
        assert {one.node.membership.version for one in (first, third)} == {6}


async def test_the_renewal_of_several_administrators_is_one_proposal(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob", threshold=2) as (alice, bob):
        left = ROSTER_LIFETIME_MS - ROSTER_RENEWAL_MS + 10 * DAY_MS
        for person in (alice, bob):
            person.clock.advance(left)

        # Another change that nobody signs does not let the roster expire.
        await alice.node.administering.threshold(1)
        assert await alice.node.administering.renew_if_due()
        await pending(bob, 2)

        assert not await alice.node.administering.renew_if_due()
        assert not await bob.node.administering.renew_if_due()
        _, waiting = bob.node.administering.pending()
        assert waiting["signed_by"] == ["alice"]
        assert waiting["changes"][0].startswith("the roster lasts until")


async def test_members_who_are_no_administrators_renew_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (_, bob):
        bob.clock.advance(ROSTER_LIFETIME_MS - DAY_MS)

        assert not await bob.node.administering.renew_if_due()
