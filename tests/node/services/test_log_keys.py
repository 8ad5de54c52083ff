"""Log keys of members: told, fetched, kept, and what does not go together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from node.services.log_keys import BEHIND_META, LOST_META
from node.transport.driver import Session
from node.vault import keyring
from node.vault.records import get_meta, peer_keys
from protocol.audit.checkpoint import origin_of
from protocol.audit.log_keys import LogKeys, LogKeyStatement, sign_log_key
from protocol.errors import Refused
from protocol.limits import MAX_LOG_KEYS_AT_ONCE
from protocol.messages import AnnounceLogKey, FetchLogKeys, KeyStatements, Request
from protocol.primitives import SigningKey
from tests.attacks.mallory import Mallory, enlisted, refused
from tests.node.services.team import PASSPHRASE, Person, eventually, start_node, team
from tests.node.services.test_incarnations import back_up, begun, granted, linked, restore


async def known(person: Person, of: Person) -> LogKeys:
    return await person.node.log_keys.keys_of(of.node.context.identity.public)


async def knows(person: Person, of: Person, epoch: int) -> None:
    """Wait until a person's node knows an epoch of another's log key."""

    async def is_known() -> bool:
        return (await known(person, of)).epoch == epoch

    await eventually(is_known, seconds=60)


def announcement(mallory: Mallory, seed: int, **changes: Any) -> bytes:
    """Return what mallory's identity says of one of its log keys."""
    said: dict[str, Any] = {
        "origin": origin_of(mallory.me, changes.get("incarnation", 0)),
        "incarnation": 0,
        "epoch": 1,
        "key": SigningKey(bytes([seed]) * 32).public,
        "previous": mallory.log.head(),
        **changes,
    }
    return sign_log_key(LogKeyStatement(**said), signer=mallory.local)


async def test_a_new_key_is_told_to_whoever_is_reached_and_dealings_go_on(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await granted(alice, bob)

        assert await alice.node.log_keys.roll() == 1
        await knows(bob, alice, 1)
        await bob.open(capability)
        assert await bob.node.log_keys.roll() == 1

        await knows(alice, bob, 1)
        assert len(await alice.events("epoch_closed")) == 1
        assert (await alice.node.log_keys.own()).epoch == 1
        await bob.restart()
        assert (await known(bob, alice)).epoch == 1
        await linked(alice, bob)
        assert await alice.events("witness_alarm") == await bob.events("witness_alarm") == []


async def test_who_was_not_told_of_a_key_asks_once_and_tries_again(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await granted(alice, bob)
        alice.node.log_keys.on_new = lambda _signed: None
        await alice.node.log_keys.roll()
        assert (await known(bob, alice)).epoch == 0

        opened = await bob.open(capability)

        assert opened["log"]["size"] > 1
        assert (await known(bob, alice)).epoch == 1


async def test_who_was_away_gets_every_key_at_the_greeting(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await bob.node.close()
        rolls = MAX_LOG_KEYS_AT_ONCE + 3
        for _ in range(rolls):
            await alice.node.log_keys.roll()

        bob.node = await start_node(bob.home, bob.clock, bob.imaging)
        await linked(alice, bob)

        assert (await known(bob, alice)).statements == (await alice.node.log_keys.own()).statements
        stored = await bob.read(lambda db: peer_keys.statements(db, alice.me))
        assert len(stored) == rolls


async def test_a_passphrase_that_was_set_meanwhile_replaces_the_key(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.node.log_keys.roll_if_due()
        assert (await alice.node.log_keys.own()).epoch == 0
        keyring.change_passphrase(
            alice.home,
            PASSPHRASE,
            PASSPHRASE,
            entropy=alice.node.context.entropy,
            memory_bytes=64 * 1024 * 1024,
        )

        await alice.node.log_keys.roll_if_due()

        await knows(bob, alice, 1)
        assert not keyring.roll_is_due(alice.home)


async def test_a_node_restored_to_before_a_new_key_learns_of_it_from_others(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await back_up(alice, tmp_path / "older")
        await linked(alice, bob)
        await alice.node.log_keys.roll()
        await knows(bob, alice, 1)
        lost = (await alice.node.log_keys.own()).statements
        await alice.import_pictures(2)
        await bob.node.peering.ping(alice.me)
        await alice.node.peering.ping(bob.me)

        await restore(alice, tmp_path / "older")
        await begun(alice)
        await linked(alice, bob)

        own = await alice.node.log_keys.own()
        assert own.statements[:1] == lost
        assert own.origin == origin_of(alice.me, 1)
        assert (await known(bob, alice)).statements == own.statements
        # Who had rolled and been restored again goes on all the same.
        capability = await granted(alice, bob)
        await bob.open(capability)
        # And once more, to before the new log.
        await restore(alice, tmp_path / "older")
        await begun(alice, 2)
        await linked(alice, bob)
        assert (await known(bob, alice)).origin == origin_of(alice.me, 2)


async def test_a_whole_disk_put_back_to_before_a_new_key_goes_on_with_a_new_log(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        # With its keyslots, unlike a backup: nothing here says that it was put back.
        await alice.node.close()
        shutil.copytree(alice.home, tmp_path / "disk")
        await alice.restart()
        await linked(alice, bob)
        await alice.node.log_keys.roll()
        await knows(bob, alice, 1)

        await restore(alice, tmp_path / "disk")
        assert not alice.node.context.vault.restored
        await begun(alice)

        await linked(alice, bob)
        await bob.open(await granted(alice, bob))
        assert (await known(bob, alice)).origin == origin_of(alice.me, 1)


async def test_two_keys_of_one_epoch_are_an_alarm_and_the_end_of_dealings(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        await session.request(AnnounceLogKey(signed=announcement(mallory, 1)))
        await session.request(AnnounceLogKey(signed=announcement(mallory, 1)))
        assert await bob.events("witness_alarm") == []

        assert (
            await refused(session.request(AnnounceLogKey(signed=announcement(mallory, 2))))
            != "taken"
        )

        (alarm,) = await bob.events("witness_alarm")
        assert alarm["detail"]["member"] == "mallory"
        assert bob.node.witnessing.alarms.stopped(mallory.me)
        stored = await bob.read(lambda db: peer_keys.statements(db, mallory.me))
        assert stored == [announcement(mallory, 1)]


async def test_a_new_log_that_hides_the_end_of_the_old_one_is_an_alarm_about_that_one(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(9):
            mallory.log.append()
        session = await mallory.dial(bob)
        hiding = announcement(mallory, 3, incarnation=1, epoch=0, previous=mallory.log.head(4))

        # The alarm ends the session; what was announced is taken in all the same.
        await refused(session.request(AnnounceLogKey(signed=hiding)))

        async def taken() -> bool:
            keys = await bob.node.log_keys.keys_of(mallory.local.public)
            return keys.origin == origin_of(mallory.me, 1)

        await eventually(taken)
        (alarm,) = await bob.events("witness_alarm")
        assert alarm["detail"]["member"] == "mallory"
        await bob.node.witnessing.alarms.refresh()
        assert not bob.node.witnessing.alarms.stopped(mallory.me)


async def test_what_is_no_statement_of_the_peer_is_refused_and_kept_nowhere(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        good = announcement(mallory, 1)
        others = sign_log_key(
            LogKeyStatement(
                origin=origin_of(alice.me),
                incarnation=0,
                epoch=1,
                key=SigningKey(bytes([7]) * 32).public,
                previous=b"",
            ),
            signer=alice.node.context.identity,
        )
        for signed in (
            b"",
            b"\xff" * 300,
            good[:-1],
            good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
            others,
            announcement(mallory, 1, epoch=3),
            announcement(mallory, 1, previous=b"no head"),
        ):
            assert await refused(session.request(AnnounceLogKey(signed=signed))) != "taken"

        assert await bob.read(lambda db: peer_keys.statements(db, mallory.me)) == []
        assert await bob.read(lambda db: get_meta(db, BEHIND_META)) is None
        assert (await bob.node.log_keys.own()).statements == ()


async def test_statements_without_end_are_not_asked_for_without_end(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        asked = 0

        async def always_the_same(_session: Session, request: Request) -> KeyStatements:
            nonlocal asked
            assert isinstance(request, FetchLogKeys)
            asked += 1
            return KeyStatements(statements=(announcement(mallory, 1),) * MAX_LOG_KEYS_AT_ONCE)

        mallory.script[FetchLogKeys] = always_the_same
        session = await mallory.dial(bob)

        await refused(session.request(mallory.hello(log_keys=2**40)))

        assert 1 <= asked <= 400
        assert len(await bob.read(lambda db: peer_keys.statements(db, mallory.me))) == 1


async def test_a_statement_of_this_node_that_does_not_fit_what_it_knows_is_not_forgotten(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        # What a copy of alice's vault said, before and after bob heard of this one's key.
        identity = alice.node.context.identity
        elsewhere = LogKeyStatement(
            origin=origin_of(alice.me, 4),
            incarnation=4,
            epoch=1,
            key=SigningKey(bytes([9]) * 32).public,
            previous=b"",
        )
        link = bob.node.peering.link(alice.me)
        assert link is not None

        await link.session.request(AnnounceLogKey(signed=sign_log_key(elsewhere, signer=identity)))

        assert alice.node.witnessing.behind
        assert alice.node.incarnations.describe()["state"] == "copied"
        assert await alice.read(lambda db: get_meta(db, LOST_META)) == b"4"
        with pytest.raises(Exception, match="begins a new log"):
            await alice.node.log_keys.roll()
        with pytest.raises(Refused):
            await link.session.request(AnnounceLogKey(signed=b"nonsense"))
