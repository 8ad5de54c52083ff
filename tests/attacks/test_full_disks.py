"""What was held of an issuer ends in time, also where the disk is full just then."""

from __future__ import annotations

import asyncio
from pathlib import Path

from protocol.limits import MAX_CLOCK_STEP_BACK_MS
from tests.attacks.mallory import CLOCK, enlisted
from tests.node.services.conditions import full_index
from tests.node.services.team import Person, eventually, team


async def _secrets(person: Person) -> int:
    query = "SELECT count(*) FROM held WHERE holder_share IS NOT NULL"
    (count,) = await person.read(lambda db: db.execute(query).fetchone())
    return int(count)


async def test_what_expires_while_the_disk_is_full_ends_when_there_is_space(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob, expires_at=CLOCK.now() + 60_000)
        await bob.open(await mallory.grant(session, forged))
        async with full_index(bob):
            bob.clock.advance(60_001 + MAX_CLOCK_STEP_BACK_MS)
            bob.node.dropping.deadlines_changed()
            await asyncio.sleep(0.3)

        bob.node.dropping.deadlines_changed()

        async def ended() -> bool:
            return not await _secrets(bob)

        await eventually(ended)
