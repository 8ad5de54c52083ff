"""A malicious rendezvous in the middle of a joining by code: it joins nobody."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.errors import NodeError, UnreachableError
from node.rendezvous.desk import Visitor
from node.system import system_entropy
from node.transport.driver import Reply, Session
from node.transport.websocket import WebSocketLink
from protocol.errors import SafelightError
from protocol.identity import export_identity_file
from protocol.joining.code import InvitationCode, parse_code
from protocol.joining.session import Inviter, Joiner
from protocol.rendezvous.messages import NO_CALLER, JoinSlot
from tests.attacks.bad_rendezvous import (
    PATIENCE_S,
    BadRendezvous,
    canaries,
    honest,
    served,
    stranger,
)
from tests.node.services.team import Person, eventually, new_person

LONG = bool(os.environ.get("SAFELIGHT_LONG"))


async def test_row_10_a_rendezvous_in_the_middle_of_a_joining_joins_nobody(tmp_path: Path) -> None:
    async with served(tmp_path, "alice") as (server, (alice,)):
        bob = await new_person(tmp_path, "benedict", alice.imaging)
        evil = stranger()
        said: list[bytes] = []
        try:

            async def between(visitor: Visitor, session: Session, request: JoinSlot) -> Reply:
                circuit, to_bob = await server.take()
                to_alice, _ = await server.ring(alice, caller=NO_CALLER, slot=request.number)
                guess = InvitationCode(number=request.number, words=("zoo", "zone"))
                joiner = Joiner(guess, evil, export_identity_file(evil, []), system_entropy)
                inviter = Inviter(guess, evil, system_entropy)
                tasks.append(asyncio.create_task(run_joiner(joiner, to_alice, said)))
                tasks.append(asyncio.create_task(run_inviter(inviter, to_bob, said)))
                return circuit

            server.script[JoinSlot] = between
            for _ in range(1_000 if LONG else 3):
                tasks: list[asyncio.Task[None]] = []
                code, waiting = await invite(alice)
                with pytest.raises(NodeError) as wrong:
                    await join(bob, code, server)
                with pytest.raises(NodeError) as burnt:
                    await asyncio.wait_for(waiting, PATIENCE_S)
                await asyncio.gather(*tasks)

                assert (wrong.value.code, burnt.value.code) == ("wrong_code", "wrong_code")
            del server.script[JoinSlot]
            version = alice.node.membership.version
            assert version == 1
            # Every message of a joining, with one bit of it flipped.
            for number in range(6):
                server.change = flip_nth(number)
                code, waiting = await invite(alice)
                with pytest.raises((NodeError, UnreachableError)):
                    await join(bob, code, server)
                if number < 5:
                    with pytest.raises(NodeError):
                        await asyncio.wait_for(waiting, PATIENCE_S)
                    assert alice.node.membership.version == version
                else:
                    # Both knew the code: bob is a member, and hears of it with the next one.
                    await asyncio.wait_for(waiting, PATIENCE_S)
                assert not bob.node.membership.founded
            server.change = honest
            code, waiting = await invite(alice)
            joined = await join(bob, code, server)
            came = await asyncio.wait_for(waiting, PATIENCE_S)

            assert came["words"] == joined["words"]
            assert set(alice.node.membership.trusted.members) == {alice.me, bob.me}
            heard = b"".join(said + [data for frames in server.circuits for _, data in frames])
            assert len(said) >= 6
            for person in (alice, bob):
                assert not [one for one in canaries(person) if one in heard]
        finally:
            await bob.node.close()


async def test_row_9_a_thousand_guesses_through_a_slot_reach_one_run(tmp_path: Path) -> None:
    async with served(tmp_path, "alice") as (server, (alice,)):
        code, waiting = await invite(alice)
        number = parse_code(code).number
        guesser = stranger("guesser")
        guess = InvitationCode(number=number, words=("zoo", "zone"))
        # The same opening message a thousand times: making each anew would only slow the guesser.
        first = Joiner(guess, guesser, export_identity_file(guesser, []), system_entropy).first()
        answered = rung = 0
        ways = asyncio.Semaphore(8)

        async def try_once() -> None:
            nonlocal answered, rung
            async with ways:
                # An honest server lets in one; this one rings for each.
                link, _ = await server.ring(alice, caller=NO_CALLER, slot=number)
                rung += 1
                with contextlib.suppress(OSError):
                    await link.send([first])
                    answer = await link.receive()
                    answered += answer is not None
                await link.close()

        await asyncio.gather(*(try_once() for _ in range(1_000)))
        with pytest.raises(NodeError) as burnt:
            await asyncio.wait_for(waiting, PATIENCE_S)

        assert (rung, answered) == (1_000, 1)
        assert burnt.value.code in ("wrong_code", "broken_off")
        assert len(await eventually(lambda: alice.events("unlock_failed"))) == 1
        assert alice.node.membership.version == 1


async def invite(alice: Person) -> tuple[str, asyncio.Task[dict[str, Any]]]:
    invitation = await alice.node.inviting.invite("editor")
    assert invitation["rendezvous"]
    waiting = asyncio.create_task(alice.node.inviting.wait(invitation["number"]))
    await asyncio.sleep(0)
    return invitation["code"], waiting


async def join(person: Person, code: str, server: BadRendezvous) -> dict[str, Any]:
    return await person.node.joining.join(
        code, at=None, rendezvous=server.address, progress=lambda *_: None
    )


async def run_joiner(joiner: Joiner, link: WebSocketLink, said: list[bytes]) -> None:
    """Play the newcomer with a guess, as far as it leads."""
    message: bytes | None = joiner.first()
    with contextlib.suppress(SafelightError, OSError):
        while message is not None and (data := await answered(link, message)) is not None:
            said.append(data)
            message = joiner.receive_untrusted(data)
    await link.close()
    assert not joiner.proved


async def answered(link: WebSocketLink, message: bytes) -> bytes | None:
    await link.send([message])
    return await link.receive()


async def run_inviter(inviter: Inviter, link: WebSocketLink, said: list[bytes]) -> None:
    """Play who invited, with a guess, as far as it leads."""
    with contextlib.suppress(SafelightError, OSError):
        while (data := await link.receive()) is not None:
            said.append(data)
            if (answer := inviter.receive_untrusted(data)) is None:
                break
            await link.send([answer])
    await link.close()
    assert inviter.joiner_file is None


def flip_nth(number: int) -> Callable[[bytes], list[bytes]]:
    """Return a change that flips the last bit of one message."""
    seen: list[int] = []

    def changed(message: bytes) -> list[bytes]:
        seen.append(len(message))
        return [message[:-1] + bytes([message[-1] ^ 1])] if len(seen) == number + 1 else [message]

    return changed
