"""Nonsense of a malicious rendezvous, and crowds at a door, leave real nodes serving."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from node.discovery.rendezvous import RendezvousClient
from node.rendezvous.desk import Visitor
from node.transport.driver import Reply, Session
from protocol.encoding import encode
from protocol.errors import SafelightError
from protocol.messages import Done
from protocol.rendezvous.messages import (
    NO_CALLER,
    Attend,
    Attending,
    Call,
    Circuit,
    Collect,
    Collected,
    Deposit,
    Mails,
    MailWaiting,
    Present,
    Ring,
)
from tests.attacks.bad_rendezvous import (
    CLOCK,
    PATIENCE_S,
    BadRendezvous,
    key_of,
    raw,
    served,
    share_ready,
)
from tests.attacks.test_fuzz import no_unhandled_exception
from tests.node.services.conditions import until
from tests.node.services.team import Person


def nonsense(chance: random.Random) -> list[Any]:
    """Return answers that fit no request, or no rule."""
    key = chance.randbytes(32)
    return [
        raw(b"\xc1"),
        raw(b""),
        raw(chance.randbytes(300)),
        raw(b"\x91" * 50_000),
        raw(b"\xdd\xff\xff\xff\xff"),
        raw(b"\xdb\xff\xff\xff\xff" + bytes(100)),
        Done(),
        Attending(version=2**53 - 1, online=tuple(chance.randbytes(32) for _ in range(500))),
        Attending(version=0, online=(key, key)),
        Circuit(token=chance.randbytes(32), session=b"s"),
        Mails(mails=(), more=True),
        Mails(mails=((5, b""), (4, b"x"), (4, b"x")), more=True),
        Mails(mails=tuple((n, chance.randbytes(100)) for n in range(1, 257)), more=False),
        Mails(mails=((2**53 - 1, chance.randbytes(5_000)),), more=True),
    ]


async def test_row_39_a_rendezvous_that_answers_and_asks_nonsense_leaves_a_node_serving(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served(tmp_path, "alice", "bob") as (server, (alice, bob)):
        await bob.node.membership.add_addresses(
            alice.me, alice.node.peering.listening, source="added"
        )
        await until(
            lambda: bob.node.peering.describe(alice.me)["path"] == "lan", seconds=PATIENCE_S
        )
        chance = random.Random(39)
        answers = nonsense(chance)
        given = 0

        async def say(visitor: Visitor, session: Session, request: Any) -> Reply:
            nonlocal given
            given += 1
            answer: Reply = answers[given % len(answers)]
            return answer

        with no_unhandled_exception():
            for kind in (Call, Collect, Deposit, Collected):
                server.script[kind] = say
            client = bob.node.rendezvous
            for _ in answers:
                with contextlib.suppress(SafelightError):
                    link, _ = await client.call(key_of(alice))
                    await link.close()
                with contextlib.suppress(SafelightError):
                    await client.deposit(
                        key_of(alice),
                        mail_id=bytes(16),
                        expires_at=CLOCK.now() + 10**6,
                        sealed=b"x",
                    )
                with contextlib.suppress(SafelightError):
                    await client.collect(0)
                with contextlib.suppress(SafelightError):
                    await client.open_slot()
            for number in range(300):
                await server.tell(bob, requests(chance)[number % 4])
            session = server.attendant(bob).session
            for data in (b"", b"\xc1", chance.randbytes(500), encode(Attend(team_id=bytes(32)))):
                with contextlib.suppress(SafelightError):
                    await session._ask(data)
            # To attend, too.
            server.script[Attend] = say
            before = given
            cut_control(server, bob)
            await until(
                lambda: retried(client) and given > before + len(answers), seconds=PATIENCE_S
            )
            assert await bob.open(await share_ready(alice, bob))
            server.script.clear()
            await until(lambda: retried(client) and client.state == "connected", seconds=PATIENCE_S)
            await client.collect(0)

        assert bob.node.membership.version == alice.node.membership.version
        told = capfd.readouterr().err
        assert "fault in" not in told
        assert "Traceback" not in told


async def test_row_40_whoever_is_refused_at_the_door_leaves_no_fault_behind(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, "alice") as (server, (alice,)):
        with no_unhandled_exception():
            for place in (server.listening, alice.node.peering.listening[0]):
                # Those over the bound are hung up on, whatever they have said by then.
                opened = [await asyncio.open_connection(*place) for _ in range(100)]
                ended = [
                    asyncio.create_task(asyncio.wait_for(reader.read(), PATIENCE_S))
                    for reader, _ in opened
                ]
                done, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
                assert done
                for _, writer in opened:
                    writer.transport.abort()
                await asyncio.gather(*ended, return_exceptions=True)


def requests(chance: random.Random) -> list[Any]:
    """Return what a server may ask, with nothing behind it."""
    return [
        Ring(caller=chance.randbytes(32), token=chance.randbytes(32), session=b"x", slot=0),
        Ring(caller=NO_CALLER, token=chance.randbytes(32), session=b"x", slot=7),
        Present(key=chance.randbytes(32), online=True),
        MailWaiting(),
    ]


def retried(client: RendezvousClient) -> bool:
    """Let a node try its rendezvous at once, however often that has failed."""
    client.check()
    return True


def cut_control(server: BadRendezvous, person: Person) -> None:
    """End a member's control session as a lost network does."""
    server.attendant(person).session._link._transport.abort()  # type: ignore[attr-defined]
