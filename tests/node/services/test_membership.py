"""Founding, adding, joining: who is in, and what makes nobody a member."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlcipher3.dbapi2 as sqlcipher

from node.errors import NodeError, UnknownError, UsageError
from node.services.standing import NoTeamError
from node.vault.database import WriteTransaction
from node.vault.records import team as rows
from protocol.errors import LocalError, Reason, Refused, RemoteError, SafelightError
from protocol.identity import format_fingerprint, parse_identity_file_untrusted
from tests.node.kept_imaging import kept_imaging
from tests.node.services.conditions import cancel_while_committing
from tests.node.services.team import Person, eventually, join, new_person, team

YEAR_MS = 366 * 86_400_000


@pytest_asyncio.fixture
async def strangers(tmp_path: Path) -> AsyncIterator[list[Person]]:
    """Three running nodes that know nothing of each other."""
    imaging = await kept_imaging()
    people = [await new_person(tmp_path, name, imaging) for name in ("alice", "bob", "carol")]
    yield people
    for person in people:
        await person.node.close()


async def welcome(administrator: Person, person: Person, role: str = "editor") -> bytes:
    sealed, _ = await administrator.node.membership.add(
        person.node.membership.identity_file(person.node.addresses()),
        role,
        addresses=administrator.node.addresses(),
    )
    return sealed


async def test_a_team_is_founded_once_with_a_name_that_can_be_shown(
    strangers: list[Person],
) -> None:
    alice, _, _ = strangers
    membership = alice.node.membership
    for name in ("", " ", " padded", "two\nlines", "\x1b[2J", "\u202eevil", "x" * 300):
        with pytest.raises(UsageError):
            await membership.create(name)
    assert not membership.founded

    shown = await membership.create("Team Ä")

    assert (shown["team"], shown["version"]) == ("Team Ä", 1)
    assert [(one["name"], one["role"], one["me"]) for one in shown["members"]] == [
        ("alice", "admin", True)
    ]
    with pytest.raises(UsageError, match="already"):
        await membership.create("Another")
    assert len(await alice.events("roster_changed")) == 1
    assert len(await alice.events("member_added")) == 1


async def test_without_a_team_nothing_is_shared_shown_or_resolved(strangers: list[Person]) -> None:
    alice, _, _ = strangers
    (image,) = await alice.import_pictures(1)

    for attempt in (
        lambda: alice.share([image["id"]], ["bob"]),
        lambda: alice.node.team(),
        lambda: alice.node.peers(),
        lambda: welcome(alice, strangers[1]),
    ):
        with pytest.raises(NoTeamError) as refused:
            await attempt()
        assert "team create" in refused.value.hint


async def test_a_welcome_is_looked_at_before_it_is_joined_by(strangers: list[Person]) -> None:
    alice, bob, carol = strangers
    await alice.node.membership.create("Team")
    sealed = await welcome(alice, bob, "reviewer")
    mine = format_fingerprint(alice.me)

    told = await bob.node.membership.join(sealed, None)
    assert (told["administrator"], told["fingerprint"], told["joined"]) == ("alice", mine, False)
    assert len(told["words"]) == 8
    assert not bob.node.membership.founded
    with pytest.raises(NodeError) as refused:
        await bob.node.membership.join(sealed, format_fingerprint(carol.me))
    assert refused.value.code == "tampered"
    for nonsense in ("", "alice", mine[:-1]):
        with pytest.raises(LocalError):
            await bob.node.membership.join(sealed, nonsense)
    with pytest.raises(NodeError) as not_mine:
        await carol.node.membership.join(sealed, mine)
    assert not_mine.value.code == "welcome"
    assert not bob.node.membership.founded

    joined = await bob.node.membership.join(sealed, mine.replace("-", "").upper())
    assert joined["joined"]
    assert bob.node.membership.role_of(bob.me) == "reviewer"
    assert (await bob.node.membership.join(sealed, mine))["joined"]
    assert bob.node.membership.version == 2
    await bob.node.peering.reach(alice.me, 45)


async def test_no_damaged_or_outdated_welcome_or_identity_file_is_taken(
    strangers: list[Person],
) -> None:
    alice, bob, _ = strangers
    await alice.node.membership.create("Team")
    # Addresses are no part of what is signed: they are no more than a hint.
    identity = bob.node.membership.identity_file([])
    sealed = await welcome(alice, bob)

    async def add(data: bytes) -> object:
        return await alice.node.membership.add(data, "editor", addresses=[])

    async def take(data: bytes) -> object:
        return await bob.node.membership.join(data, format_fingerprint(alice.me))

    for original, use in ((identity, add), (sealed, take)):
        step = max(1, len(original) // 12)
        for damage in range(0, len(original) - 1, step):
            with pytest.raises(SafelightError):
                await use(
                    original[:damage] + bytes([original[damage] ^ 1]) + original[damage + 1 :]
                )
        for cut in (b"", original[:50], original + b"\x00"):
            with pytest.raises(NodeError) as refused:
                await use(cut)
            assert refused.value.hint
    assert not bob.node.membership.founded
    assert alice.node.membership.version == 2

    bob.clock.advance(YEAR_MS)
    with pytest.raises(NodeError, match="too old"):
        await bob.node.membership.join(sealed, format_fingerprint(alice.me))


async def test_one_home_is_in_one_team(strangers: list[Person]) -> None:
    alice, bob, carol = strangers
    await alice.node.membership.create("First")
    await carol.node.membership.create("Second")
    await join(alice, bob)

    with pytest.raises(UsageError, match="another team"):
        await bob.node.membership.join(await welcome(carol, bob), format_fingerprint(carol.me))
    with pytest.raises(UsageError, match="already"):
        await bob.node.membership.create("Third")

    assert bob.node.membership.team_id == alice.node.membership.team_id


async def test_only_an_administrator_adds_and_only_in_a_role_there_is(
    strangers: list[Person],
) -> None:
    alice, bob, carol = strangers
    await alice.node.membership.create("Team")
    await join(alice, bob)

    with pytest.raises(Refused) as refused:
        await welcome(bob, carol)
    assert refused.value.reason is Reason.POLICY
    with pytest.raises(UsageError, match="role"):
        await welcome(alice, carol, "owner")

    again = await welcome(alice, bob)
    assert (await bob.node.membership.join(again, format_fingerprint(alice.me)))["joined"]
    with pytest.raises(UsageError, match="already"):
        await welcome(alice, bob, "admin")
    assert alice.node.membership.version == 2


async def test_people_added_at_once_are_all_in_one_history(strangers: list[Person]) -> None:
    alice, bob, carol = strangers
    await alice.node.membership.create("Team")

    sealed = await asyncio.gather(welcome(alice, bob), welcome(alice, carol))

    assert alice.node.membership.version == 3
    for person, one in zip((bob, carol), sealed, strict=True):
        await person.node.membership.join(one, format_fingerprint(alice.me))
        await person.node.peering.reach(alice.me, 45)
    assert len(await alice.events("member_added")) == 3


async def test_the_team_is_the_same_after_a_restart(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        before = alice.node.membership.trusted

        await alice.restart()

        after = alice.node.membership.trusted
        assert (after.hash, after.team_id, after.version) == (
            before.hash,
            before.team_id,
            before.version,
        )
        await bob.node.peering.reach(alice.me, 45)


async def test_versions_from_a_peer_are_taken_in_order_and_only_genuine(tmp_path: Path) -> None:
    async with team(tmp_path / "one", "alice", "bob") as (alice, bob):
        other = await new_person(tmp_path, "carol", alice.imaging)
        try:
            await bob.node.peering.close()
            await join(alice, other)
            ours = alice.node.membership
            known = await ours.versions_after(2)
            everything = await ours.versions_after(0)
            foreign = await new_person(tmp_path, "mallory", alice.imaging)
            await foreign.node.membership.create("Foreign")
            theirs = await foreign.node.membership.versions_after(0)
            await foreign.node.close()

            for stream in (theirs, known[:-1], known + b"\x00", b"\x00" * 8, known[:4] + known):
                with pytest.raises(RemoteError):
                    await bob.node.membership.update_untrusted(stream)
                assert bob.node.membership.version == 2

            await asyncio.gather(
                *(bob.node.membership.update_untrusted(one) for one in (known, everything, known))
            )
            assert bob.node.membership.version == 3
            assert bob.node.membership.member(other.me) is not None
            await bob.node.membership.update_untrusted(known)
            assert len(await bob.events("member_added")) == 3
        finally:
            await other.node.close()


async def test_a_roster_that_a_code_vouched_for_is_adopted_once(strangers: list[Person]) -> None:
    alice, bob, carol = strangers
    await alice.node.membership.create("Team")
    await carol.node.membership.create("Other team")
    person, _ = parse_identity_file_untrusted(bob.node.membership.identity_file([]))
    assert await alice.node.membership.admit(person, "reviewer", [("127.0.0.1", 9)]) == "member"
    known = await alice.read(rows.addresses)
    assert known[bob.me] == [("127.0.0.1", 9)]
    first = alice.node.membership.trusted

    news = bob.node.membership.watch()
    await bob.node.membership.adopt(first)

    assert news.is_set()
    assert await bob.read(rows.roster_versions) == list(first.signed_versions)
    assert len(await bob.events("member_added")) == 2
    await alice.node.administering.role("bob", "editor")
    await bob.node.membership.adopt(alice.node.membership.trusted)
    await bob.node.membership.adopt(first)
    assert bob.node.membership.role_of(bob.me) == "editor"
    assert bob.node.membership.version == 3
    with pytest.raises(UsageError, match="another team"):
        await bob.node.membership.adopt(carol.node.membership.trusted)


async def test_a_roster_is_not_adopted_over_another_history_of_the_team(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.node.administering.role("bob", "admin")
        await bob.node.peering.reach(alice.me, 45)

        async def administrator() -> bool:
            return bob.node.membership.role_of(bob.me) == "admin"

        await eventually(administrator)
        for person in (alice, bob):
            await person.node.peering.close()
        await alice.node.administering.renew()
        bob.clock.advance(1)
        await bob.node.administering.renew()

        with pytest.raises(NodeError) as conflict:
            await bob.node.membership.adopt(alice.node.membership.trusted)

        assert conflict.value.code == "roster_conflict"
        assert await bob.events("roster_changed")


async def test_a_change_whose_caller_is_gone_is_whole(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await cancel_while_committing(alice, alice.node.administering.remove("bob"))

        stored = await alice.read(rows.roster_versions)
        assert len(stored) == alice.node.membership.version == 3
        assert alice.node.membership.may_release(bob.me) is Reason.NOT_MEMBER


async def test_a_change_that_cannot_be_stored_changes_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):

        def take_the_place(transaction: WriteTransaction) -> None:
            rows.insert_roster(
                transaction.connection, version=3, roster_hash=bytes(32), signed=b"in the way"
            )

        await alice.node.context.database.write(take_the_place)
        with pytest.raises(sqlcipher.IntegrityError):
            await alice.node.administering.remove("bob")
        assert alice.node.membership.version == 2
        assert alice.node.membership.may_release(bob.me) is None
        assert await alice.events("member_removed") == []

        await alice.node.context.database.write(
            lambda transaction: (
                transaction.connection.execute(
                    "DELETE FROM roster_versions WHERE version = 3"
                ).rowcount
            )
        )
        await alice.node.administering.remove("bob")
        assert alice.node.membership.version == 3


async def test_a_member_is_found_by_name_and_fingerprint(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        resolve = alice.node.membership.resolve
        fingerprint = format_fingerprint(bob.me)

        for who in ("bob", "BOB", fingerprint, fingerprint.upper(), fingerprint[:6]):
            assert resolve(who).fingerprint == bob.me
        for nobody in ("", "bo", "bobby", "zzzz", fingerprint + "a"):
            with pytest.raises(UnknownError) as unknown:
                resolve(nobody)
            assert "alice, bob" in unknown.value.hint
        assert alice.node.membership.name_of(b"\x00" * 32) == "aaaa-aaaa"
