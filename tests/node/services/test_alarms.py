"""Alarms stand until a person has cleared them, whatever becomes of the log that they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.errors import UnknownError
from node.services.findings import State
from protocol.audit.checkpoint import origin_of
from protocol.audit.log_keys import LogKeyStatement, sign_log_key
from protocol.messages import AnnounceLogKey
from protocol.primitives import SigningKey
from tests.attacks.mallory import Mallory, enlisted, refused, show_two_histories
from tests.node.services.team import Person, eventually, team


async def alarms(person: Person) -> list[dict[str, Any]]:
    """Return what `status` and the screens are told."""
    return await person.node.describe_alarms()


async def rewrite_and_begin_anew(mallory: Mallory, person: Person) -> None:
    """Begin a new log that hides the end of the old one, as a node does after its keeper did."""
    for _ in range(9):
        mallory.log.append()
    session = await mallory.dial(person)
    statement = LogKeyStatement(
        origin=origin_of(mallory.me, 1),
        incarnation=1,
        epoch=0,
        key=SigningKey(bytes([3]) * 32).public,
        previous=mallory.log.head(4),
    )
    # The alarm ends the session; what was announced is taken in all the same.
    await refused(
        session.request(AnnounceLogKey(signed=sign_log_key(statement, signer=mallory.local)))
    )

    async def taken() -> bool:
        keys = await person.node.log_keys.keys_of(mallory.local.public)
        return keys.origin == statement.origin

    await eventually(taken)


async def test_an_alarm_that_is_over_stands_until_a_person_has_cleared_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await rewrite_and_begin_anew(mallory, bob)

        (alarm,) = await alarms(bob)
        assert (alarm["state"], alarm["name"]) == ("over", "mallory")
        assert alarm["over_since"] >= alarm["raised_at"]
        assert not bob.node.peering.stopped(mallory.me), "dealings go on under the new log"
        assert (await bob.node.audit_state())["alarms"] == [alarm]

        bob.clock.advance(60_000)
        await bob.restart()
        assert await alarms(bob) == await bob.node.describe_alarms(past=True) == [alarm]
        (finding,) = [one for one in await bob.node.look_at_health() if one.check == "log"]
        assert (finding.state, finding.code) == (State.PROBLEM, "fork")
        assert (
            f"it contradicted what it showed before, and is over since {alarm['over_since']}"
            in (finding.message)
        )
        assert f"audit alarms clear {alarm['id']}" in finding.hint

        await bob.node.witnessing.alarms.clear(alarm["id"])
        with pytest.raises(UnknownError):
            await bob.node.witnessing.alarms.clear(alarm["id"])
        _, cleared = await bob.events("witness_alarm")
        assert (cleared["detail"]["kind"], cleared["detail"]["member"]) == ("cleared", "mallory")
        await bob.restart()
        assert await alarms(bob) == []
        assert await bob.node.describe_alarms(past=True) == [{**alarm, "state": "cleared"}]


@pytest.mark.parametrize("cleared", [False, True])
async def test_who_is_removed_brings_back_no_alarm_that_is_over_or_cleared(
    tmp_path: Path, cleared: bool
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await rewrite_and_begin_anew(mallory, alice)
        (before,) = await alarms(alice)
        if cleared:
            await alice.node.witnessing.alarms.clear(before["id"])

        await alice.node.administering.remove("mallory")
        for _ in range(2):
            assert await alarms(alice) == ([] if cleared else [before])
            await alice.restart()
        if not cleared:
            await alice.node.witnessing.alarms.clear(before["id"])
        assert await alarms(alice) == []
        assert bob.node.membership.founded


async def test_what_was_given_up_and_looked_into_is_no_alarm_again(tmp_path: Path) -> None:
    """Others who saw the one history or the other tell of it for ever."""
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await rewrite_and_begin_anew(mallory, bob)
        service = bob.node.witnessing.alarms
        (alarm,) = await alarms(bob)

        async def sounded(kind: str, second: bytes) -> bool:
            return await service.sound(
                kind=kind,
                about=mallory.me,
                origin=alarm["origin"],
                detail="told by somebody",
                first=b"one head",
                second=second,
                member=mallory.local.public,
            )

        assert not await sounded(alarm["kind"], b"another"), "one like it stands"
        await service.clear(alarm["id"])
        assert not await sounded(alarm["kind"], b"another"), "somebody has looked into it"
        assert await sounded("equivocation", b"another"), "that is news"
        assert [one["state"] for one in await alarms(bob)] == ["over"]
        assert not bob.node.peering.stopped(mallory.me)


async def test_one_alarm_that_is_over_hides_none_that_stops_dealings(tmp_path: Path) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        enlisted(alice) as mallory,
        enlisted(alice, name="trudy") as trudy,
    ):
        await rewrite_and_begin_anew(mallory, bob)
        await show_two_histories(trudy, bob)

        told = {one["name"]: one["state"] for one in await alarms(bob)}
        assert told == {"mallory": "over", "trudy": "stands"}
        assert bob.node.peering.stopped(trudy.me)
        assert not bob.node.peering.stopped(mallory.me)
        (finding,) = [one for one in await bob.node.look_at_health() if one.check == "log"]
        assert "about the log of trudy: it contradicts" in finding.message
        assert finding.message.endswith("over, and not looked into: mallory")
