"""kill -9 at random moments: what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from node.system import SystemClock
from protocol.errors import SafelightError
from protocol.messages import Done
from protocol.rendezvous.messages import Collect, Collected, Deposit, Mails
from tests.node.rendezvous.members import Member, attending, claim, hang_up, key_of, visitor
from tests.node.rendezvous.process import serving

KILLS = 100 if os.environ.get("SAFELIGHT_LONG") else 4
SETTINGS = {"messages_per_s": 10**6, "mails_per_sender": 10**6, "mails_per_recipient": 10**6}


@pytest.mark.slow
async def test_a_server_that_is_killed_loses_no_acknowledged_mail(tmp_path: Path) -> None:
    chance = random.Random(9)
    folder = tmp_path / "data"
    with serving(folder, SETTINGS) as server:
        await claim(server.address, server.claim, "alice", "bob")
    acknowledged: set[bytes] = set()
    dropped: set[bytes] = set()
    for trial in range(KILLS):
        with serving(folder, SETTINGS) as server:
            alice = await visitor(server.address, "alice")
            bob = await visitor(server.address, "bob")
            await asyncio.gather(alice.attend(), bob.attend())
            work = asyncio.gather(
                *(deposit(alice, trial, part, acknowledged) for part in range(4)),
                drop_some(bob, dropped),
            )
            await asyncio.sleep(chance.uniform(0.05, 1))
            server.process.kill()
            await work
            await hang_up(alice, bob)
    with serving(folder, SETTINGS) as server:
        async with attending(server.address, "bob") as (bob,):
            found: list[bytes] = []
            after, more = 0, True
            while more:
                mails = await bob.ask(Collect(after=after), Mails)
                found += [sealed for _, sealed in mails.mails]
                after, more = (mails.mails[-1][0] if mails.mails else 0), mails.more

    assert acknowledged
    assert acknowledged - dropped <= set(found)
    assert len(found) == len(set(found))


async def deposit(alice: Member, trial: int, part: int, acknowledged: set[bytes]) -> None:
    """Deposit mail until the server is gone; note what it has acknowledged."""
    for number in range(10**6):
        sealed = b"/".join(str(one).encode() for one in (trial, part, number))
        mail = Deposit(
            recipient=key_of("bob"),
            mail_id=sealed.rjust(16),
            expires_at=SystemClock().now() + 3_600_000,
            sealed=sealed,
        )
        try:
            await alice.ask(mail, Done)
        except SafelightError:
            return
        acknowledged.add(sealed)


async def drop_some(bob: Member, dropped: set[bytes]) -> None:
    """Collect and drop a mail now and then until the server is gone; note what may be dropped."""
    try:
        while True:
            await asyncio.sleep(0.1)
            mails = (await bob.ask(Collect(after=0), Mails)).mails[:1]
            if mails:
                dropped.add(mails[0][1])
                await bob.ask(Collected(numbers=(mails[0][0],)), Done)
    except SafelightError:
        return
