"""Nodes on one network: members meet by themselves, and an invitation is found by its number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from node.discovery.mdns import Mdns
from protocol.announcement import NONCE_BYTES, Announcement, announcement_tag
from protocol.joining.code import parse_code
from tests.node.discovery.test_mdns import HERE, multicast
from tests.node.services.team import Person, new_person, team

PATIENCE_S = 60


async def announce(person: Person) -> None:
    """Announce a node on this machine's loopback, and look for others there."""
    await person.node.nearby.start(
        port=person.node.peering.listening[0][1], interfaces=lambda: [HERE]
    )


async def forget_addresses(one: Person, other: Person) -> None:
    for person, member in ((one, other), (other, one)):
        await person.node.membership.remove_addresses(member.me)
    for person in (one, other):
        await person.restart()


async def use_code(person: Person, code: str) -> dict[str, Any]:
    return await person.node.joining.join(code, at=None, rendezvous=None, progress=lambda *_: None)


@asynccontextmanager
async def founder_and(folder: Path, name: str) -> AsyncIterator[tuple[Person, Person]]:
    """Hold Alice's team and somebody who is not in it, both announced."""
    async with team(folder, "alice") as (alice,):
        newcomer = await new_person(folder, name, alice.imaging)
        try:
            await announce(alice)
            await announce(newcomer)
            yield alice, newcomer
        finally:
            await newcomer.node.close()


@multicast
async def test_members_without_an_address_find_each_other(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await forget_addresses(alice, bob)
        assert alice.node.directory.places(bob.me) == []

        await announce(alice)
        await announce(bob)

        await alice.node.peering.reach(bob.me, PATIENCE_S)
        assert alice.node.peering.describe(bob.me)["path"] == "lan"


async def test_only_the_tags_of_members_become_places(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await forget_addresses(alice, bob)
        nonce = bytes(NONCE_BYTES)
        of_bob, of_nobody, of_alice = (
            Announcement(nonce=nonce, tag=announcement_tag(key, nonce=nonce, port=7421))
            for key in (
                bob.node.context.identity.public.agreement_key,
                bytes(32),
                alice.node.context.identity.public.agreement_key,
            )
        )

        for announcement in (of_nobody, of_alice):
            alice.node.nearby._sighted(announcement, ["192.0.2.7"], 7421)
        alice.node.nearby._sighted(of_bob, ["192.0.2.8"], 7422)
        assert alice.node.directory.places(bob.me) == []
        alice.node.nearby._sighted(of_bob, ["192.0.2.9"], 7421)

        assert [
            (one.host, one.port, one.source) for one in alice.node.directory.places(bob.me)
        ] == [("192.0.2.9", 7421, "sighted")]
        assert alice.node.directory.places(alice.me) == []


@multicast
async def test_an_invitation_is_found_by_its_number(tmp_path: Path) -> None:
    async with founder_and(tmp_path, "bob") as (alice, bob):
        first = await alice.node.inviting.invite("editor")
        # Another one is open too: each is announced in its turn.
        await alice.node.inviting.invite("guest")

        joined = await use_code(bob, first["code"])

        assert (joined["team"], joined["role"]) == ("Test team", "editor")


@multicast
async def test_row_11_who_only_says_to_have_the_invitation_is_passed_over(tmp_path: Path) -> None:
    async with founder_and(tmp_path, "bob") as (alice, bob):
        invitation = await alice.node.inviting.invite("editor")

        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        rogue = await asyncio.start_server(hang_up, HERE, 0)
        liar = Mdns(
            alice.node.context,
            port=rogue.sockets[0].getsockname()[1],
            tag_key=bytes(range(32)),
            interfaces=lambda: [HERE],
        )
        await liar.start()
        liar.announce(parse_code(invitation["code"]).number)
        try:
            joined = await use_code(bob, invitation["code"])
        finally:
            await liar.close()
            rogue.close()

        assert joined["member"] == "bob"
