"""Two histories of one team: what they pause, how they are joined, and which are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import NodeError
from node.system import system_entropy
from node.vault.records import team as rows
from protocol.errors import LocalError, Reason, RemoteError
from protocol.identity import Seeds, export_identity_file, make_identity
from tests.node.services.administrators import administrators, apart, at_version, role_at, tell
from tests.node.services.team import eventually, new_person, team


async def test_two_histories_pause_what_they_disagree_on_until_they_are_joined(
    tmp_path: Path,
) -> None:
    async with apart(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        erin = make_identity(Seeds.generate(system_entropy), name="erin", now=alice.clock.now())
        newcomer = export_identity_file(erin, [])
        await alice.node.administering.role("carol", "editor")
        # What lacks a signature makes no history.
        await bob.node.administering.threshold(2)
        await tell(alice, bob)
        assert (bob.node.membership.version, bob.node.membership.rival) == (6, None)

        await alice.node.administering.role("carol", "reviewer")
        await bob.node.administering.role("carol", "guest")
        for source, target in ((alice, bob), (bob, alice), (alice, bob)):
            await tell(source, target)
        shown = await alice.node.team()
        assert shown["conflict"] == (
            "two histories since version 6: version 7 here, version 7 elsewhere"
        )
        assert "resolve" in str(bob.node.membership.notice())
        for person in (alice, bob):
            assert person.node.membership.may_release(carol.me) is Reason.POLICY
        assert alice.node.membership.may_release(bob.me) is None
        assert bob.node.membership.may_release(alice.me) is None
        for attempt in (
            alice.node.administering.role("carol", "editor"),
            alice.node.administering.threshold(2),
            alice.node.administering.renew(),
            alice.node.membership.add(newcomer, "editor", addresses=[]),
            alice.share([image["id"]], ["carol"]),
        ):
            with pytest.raises(NodeError) as conflict:
                await attempt
            assert conflict.value.code == "roster_conflict"
            assert "team resolve" in conflict.value.hint
        assert await alice.share([image["id"]], ["bob"])

        plan = await alice.node.administering.resolve(dry_run=True, keep_ours=False)
        assert plan["dry_run"]
        assert plan["version"] == 8
        assert "carol becomes guest, was reviewer" in plan["changes"]
        assert plan["changes_elsewhere"] == ["two histories of the team become one"]
        assert alice.node.membership.version == 7

        done = await alice.node.administering.resolve(dry_run=False, keep_ours=False)
        await tell(alice, bob)

        assert (done["pending"], done["version"]) == (False, 8)
        for person in (alice, bob):
            assert person.node.membership.version == 8
            assert person.node.membership.rival is None
            assert (await person.node.team())["conflict"] is None
            assert role_at(person, carol) == "guest"
            assert await person.read(rows.rival_versions) == []
        assert alice.node.membership.roster_hash == bob.node.membership.roster_hash
        conflicts = [
            one for one in await alice.events("roster_changed") if "conflict" in one["detail"]
        ]
        assert len(conflicts) == 1


async def test_a_history_that_one_has_missed_is_followed_and_an_old_one_ignored(
    tmp_path: Path,
) -> None:
    async with apart(tmp_path, "alice", "bob") as (alice, bob):
        old = await bob.node.membership.versions_after(0)
        await alice.node.administering.renew()
        await alice.node.administering.renew()

        await alice.node.membership.hear_rival_untrusted(old)
        assert (alice.node.membership.version, alice.node.membership.rival) == (5, None)
        # Only what the other lacks, as a long history has to be told.
        stream = await alice.node.membership.versions_after(3)
        await bob.node.membership.hear_rival_untrusted(stream)

        assert bob.node.membership.roster_hash == alice.node.membership.roster_hash


async def test_a_rival_is_known_again_after_a_restart(tmp_path: Path) -> None:
    async with apart(tmp_path, "alice", "bob") as (alice, bob):
        await alice.node.administering.renew()
        bob.clock.advance(1)
        await bob.node.administering.renew()
        await tell(bob, alice)
        before = alice.node.membership.rival
        assert before is not None
        await bob.node.close()

        await alice.restart()

        after = alice.node.membership.rival
        assert after is not None
        assert after.hash == before.hash
        assert alice.node.membership.may_release(bob.me) is None
        await bob.restart()


async def test_nothing_that_is_not_signed_for_this_team_is_a_rival(tmp_path: Path) -> None:
    async with apart(tmp_path, "alice", "bob") as (alice, bob):
        other = await new_person(tmp_path, "eve", alice.imaging)
        try:
            await other.node.membership.create("Test team")
            foreign = await other.node.membership.versions_after(0)
            await bob.node.administering.renew()
            known = await bob.node.membership.versions_after(0)
            for stream in (foreign, known[:-1], b"", known[3:], b"\x00\x00\x00\x01x"):
                with pytest.raises(RemoteError):
                    await alice.node.membership.hear_rival_untrusted(stream)
            assert (alice.node.membership.version, alice.node.membership.rival) == (3, None)
        finally:
            await other.node.close()


async def test_administrators_who_removed_each_other_keep_one_side(tmp_path: Path) -> None:
    async with apart(tmp_path, "alice", "bob") as (alice, bob):
        await alice.node.administering.remove("bob")
        await bob.node.administering.remove("alice")
        await tell(bob, alice)
        membership = alice.node.membership
        assert membership.rival is not None

        with pytest.raises(LocalError) as nobody:
            await alice.node.administering.resolve(dry_run=False, keep_ours=False)
        assert "--keep-ours" in nobody.value.hint
        done = await alice.node.administering.resolve(dry_run=False, keep_ours=True)

        assert not done["pending"]
        await tell(bob, alice)
        assert membership.notice() is None


async def test_sides_without_a_common_administrator_sign_the_same_version(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "dave") as (alice, bob, dave):
        await alice.node.administering.role("bob", "admin")
        for person in (bob, dave):
            await at_version(person, 4)
        for person in (alice, bob, dave):
            await person.node.peering.close()
        await alice.node.administering.role("dave", "admin")
        await alice.node.administering.role("bob", "editor")
        await bob.node.administering.role("alice", "editor")
        await tell(alice, dave)
        await tell(bob, dave)
        await tell(dave, bob)

        await dave.node.administering.resolve(dry_run=False, keep_ours=False)
        await tell(dave, bob)
        # It joins the two, and lacks the word of Bob's side.
        assert dave.node.membership.rival is None
        assert bob.node.membership.rival is not None
        plan = await bob.node.administering.resolve(dry_run=True, keep_ours=False)
        assert plan["changes_elsewhere"] == ["two histories of the team become one"]
        done = await bob.node.administering.resolve(dry_run=False, keep_ours=False)

        assert not done["pending"]
        assert bob.node.membership.notice() is None
        assert bob.node.membership.roster_hash == dave.node.membership.roster_hash
        roles = {one.name: role_at(bob, one) for one in (alice, bob, dave)}
        assert roles == {"alice": "editor", "bob": "editor", "dave": "admin"}


async def test_a_removal_does_not_wait_for_two_histories_to_be_joined(tmp_path: Path) -> None:
    async with apart(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        await alice.node.administering.renew()
        bob.clock.advance(1)
        await bob.node.administering.renew()
        await tell(bob, alice)

        await alice.node.administering.remove("carol")

        assert alice.node.membership.may_release(carol.me) is Reason.NOT_MEMBER
        assert alice.node.membership.rival is not None
        done = await alice.node.administering.resolve(dry_run=False, keep_ours=False)
        await tell(alice, bob)
        assert not done["pending"]
        assert bob.node.membership.member(carol.me) is None


async def test_nodes_that_meet_again_show_the_conflict_and_its_end(tmp_path: Path) -> None:
    async with administrators(tmp_path, "alice", "bob") as (alice, bob):
        await bob.node.close()
        await alice.node.administering.renew()
        await alice.node.close()
        await bob.restart()
        bob.clock.advance(5)
        await bob.node.administering.renew()
        await alice.restart()

        async def conflict() -> bool:
            shown = [await person.node.team() for person in (alice, bob)]
            return all(one["conflict"] for one in shown)

        await eventually(conflict)
        await alice.node.administering.resolve(dry_run=False, keep_ours=False)

        async def joined() -> bool:
            return len({one.node.membership.roster_hash for one in (alice, bob)}) == 1

        await eventually(joined)
        assert bob.node.membership.rival is None
