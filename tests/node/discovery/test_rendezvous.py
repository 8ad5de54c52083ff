"""The node's side of a rendezvous: attending, circuits, slots, and a server that comes and goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.discovery.rendezvous_session import join_slot
from node.errors import NodeError, UnreachableError, UsageError
from node.rendezvous.server import Rendezvous
from node.services.context import Context
from node.services.events import Events
from node.services.inviting import Inviting
from node.services.joining import Joining
from node.system import SystemClock, system_entropy
from node.transport.websocket import WebSocketLink
from node.unlocked import Unlocked
from node.vault.vault import Vault
from protocol.errors import LocalError, Reason, Refused
from protocol.joining.code import InvitationCode, parse_code
from protocol.joining.session import Joiner
from protocol.rendezvous.address import parse_rendezvous_address
from tests.node.rendezvous.server import rendezvous
from tests.node.services.team import PASSPHRASE, Person, eventually, new_person, team
from tests.node.services.test_mailing import PATIENCE_S, connected, served_team


def hide(person: Person) -> None:
    """Let a node tell nobody where it listens, as where nobody could reach it there."""
    for service in (person.node.inviting, person.node.joining):
        assert isinstance(service, Inviting | Joining)
        service._addresses = list


async def claim(person: Person, server: Rendezvous) -> None:
    assert server.claim is not None
    await person.node.rendezvous.claim(server.address, server.claim)
    await connected(person)


async def test_a_claimed_rendezvous_is_used_now_and_after_a_restart(tmp_path: Path) -> None:
    async with rendezvous(tmp_path / "server") as server, team(tmp_path, "alice") as (alice,):
        assert alice.node.rendezvous.describe() is None

        await claim(alice, server)

        assert alice.node.rendezvous.describe() == {
            "address": server.address,
            "state": "connected",
            "problem": "",
        }
        await alice.restart()
        # At once, as where the command that invites has started the node.
        assert (await alice.node.inviting.invite("editor"))["rendezvous"] == server.address
        await connected(alice)
        await alice.node.rendezvous.use(None)
        assert alice.node.rendezvous.describe() is None
        await alice.restart()
        assert alice.node.rendezvous.state == "off"


async def restart_with(person: Person, rendezvous: str | None) -> None:
    """Start a node again as `node start --rendezvous` does."""
    await person.node.close()
    vault = await Vault.open(
        person.home, passphrase=PASSPHRASE, clock=person.clock, entropy=system_entropy
    )
    context = Context(
        vault=vault,
        imaging=person.imaging,
        clock=person.clock,
        entropy=system_entropy,
        events=Events(),
    )
    person.node = await Unlocked.start(context, listen="127.0.0.1:0", rendezvous=rendezvous)


async def test_what_a_node_is_started_with_is_kept(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (server, (_, bob)):
        await restart_with(bob, "none")
        assert bob.node.rendezvous.address is None
        await bob.restart()
        assert bob.node.rendezvous.address is None

        await restart_with(bob, server.address)
        await connected(bob)
        await restart_with(bob, None)

        await connected(bob)


async def test_only_an_administrator_with_the_secret_claims(tmp_path: Path) -> None:
    async with (
        rendezvous(tmp_path / "server") as server,
        team(tmp_path, "alice", "bob") as (alice, bob),
    ):
        with pytest.raises(NodeError) as wrong:
            await alice.node.rendezvous.claim(server.address, "another-secret")
        assert server.claim is not None
        with pytest.raises(Refused) as no:
            await bob.node.rendezvous.claim(server.address, server.claim)
        with pytest.raises(UsageError):
            await alice.node.rendezvous.claim("rendezvous.example:7431", "some-secret")

        assert wrong.value.code == "claim"
        assert no.value.reason is Reason.POLICY
        assert alice.node.rendezvous.address is None
        await claim(alice, server)


async def test_an_address_with_another_key_leads_nowhere(tmp_path: Path) -> None:
    async with rendezvous(tmp_path / "server") as server, team(tmp_path, "alice") as (alice,):
        right = parse_rendezvous_address(server.address)
        key = alice.node.context.identity.public.agreement_key
        wrong = server.address.replace(
            right.text.partition("/")[2],
            type(right)(host=right.host, port=right.port, key=key).text.partition("/")[2],
        )

        await alice.node.rendezvous.use(wrong)

        assert not await alice.node.rendezvous.settled(PATIENCE_S)
        assert alice.node.rendezvous.state == "unreachable"
        assert alice.node.rendezvous.problem
        with pytest.raises(LocalError):
            await alice.node.rendezvous.use("nonsense")
        with pytest.raises(UnreachableError):
            await alice.node.rendezvous.open_slot()


async def test_a_server_that_comes_back_is_attended_again(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        async with rendezvous(tmp_path / "server") as server:
            await claim(alice, server)
            await bob.node.rendezvous.use(server.address)
            await connected(bob)
            port = parse_rendezvous_address(server.address).port

        async def gone() -> bool:
            return alice.node.rendezvous.state == "unreachable"

        await eventually(gone, seconds=PATIENCE_S)
        assert alice.node.rendezvous.online == frozenset()
        async with rendezvous(tmp_path / "server", port=port):
            await connected(alice)
            await connected(bob)

            async def sees() -> bool:
                key = bob.node.context.identity.public.agreement_key
                return key in alice.node.rendezvous.online

            await eventually(sees, seconds=PATIENCE_S)


async def test_the_list_of_members_follows_the_roster(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob", "carol") as (_, (alice, bob, carol)):
        await alice.node.administering.remove("carol")

        async def is_out() -> bool:
            return carol.node.rendezvous.state == "not_admitted"

        await eventually(is_out, seconds=PATIENCE_S)
        assert bob.node.rendezvous.state == "connected"


async def test_a_removal_while_the_server_was_away_reaches_it_later(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (server, (alice, bob)):
        await alice.node.rendezvous.use(None)
        await alice.node.administering.remove("bob")
        assert bob.node.rendezvous.state == "connected"

        await alice.node.rendezvous.use(server.address)

        async def is_out() -> bool:
            return bob.node.rendezvous.state == "not_admitted"

        await eventually(is_out, seconds=PATIENCE_S)


async def test_members_reach_each_other_through_it_where_nothing_else_leads(
    tmp_path: Path,
) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        for person, other in ((alice, bob), (bob, alice)):
            await person.node.membership.remove_addresses(other.me)
            await person.restart()
        for person in (alice, bob):
            await connected(person)

        await alice.node.peering.reach(bob.me, PATIENCE_S)

        assert alice.node.peering.describe(bob.me)["path"] == "relay"
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        assert (await bob.open(shared["id"]))["opens_left"] == 9
        await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)
        with pytest.raises(Refused) as over:
            await bob.open(shared["id"])
        assert over.value.reason is Reason.REVOKED


async def test_joining_by_code_through_a_slot_where_nothing_else_leads(tmp_path: Path) -> None:
    async with rendezvous(tmp_path / "server") as server, team(tmp_path, "alice") as (alice,):
        await claim(alice, server)
        bob = await new_person(tmp_path, "bob", alice.imaging)
        try:
            hide(alice)
            hide(bob)
            invitation = await alice.node.inviting.invite("editor")
            assert invitation["rendezvous"]
            waiting = asyncio.create_task(alice.node.inviting.wait(invitation["number"]))

            joined = await bob.node.joining.join(
                invitation["code"], at=None, rendezvous=server.address, progress=lambda *_: None
            )

            came = await asyncio.wait_for(waiting, PATIENCE_S)
            assert came["words"] == joined["words"]
            assert alice.node.membership.role_of(bob.me) == "editor"
            await connected(bob)
            await bob.node.peering.reach(alice.me, PATIENCE_S)
            assert bob.node.peering.describe(alice.me)["path"] == "relay"
        finally:
            await bob.node.close()


async def test_row_9_guesses_over_the_network_and_the_slot_are_one(tmp_path: Path) -> None:
    async with rendezvous(tmp_path / "server") as server, team(tmp_path, "alice") as (alice,):
        await claim(alice, server)
        bob = await new_person(tmp_path, "bob", alice.imaging)
        try:
            invitation = await alice.node.inviting.invite("editor")
            waiting = asyncio.create_task(alice.node.inviting.wait(invitation["number"]))
            right = parse_code(invitation["code"])
            wrong = InvitationCode(number=right.number, words=(right.words[1], right.words[0]))
            link = await slot(server, right.number)
            joiner = Joiner(
                wrong,
                bob.node.context.identity,
                bob.node.membership.identity_file([]),
                system_entropy,
            )
            await link.send([joiner.first()])
            answer = await link.receive()
            assert answer is not None

            # The one guess is under way: the right code comes too late, by both ways.
            with pytest.raises((NodeError, UnreachableError)):
                await bob.node.joining.join(
                    invitation["code"],
                    at=alice.node.peering.listening[0],
                    rendezvous=None,
                    progress=lambda *_: None,
                )
            with pytest.raises((NodeError, UnreachableError)):
                await bob.node.joining.join(
                    invitation["code"], at=None, rendezvous=server.address, progress=lambda *_: None
                )
            third = joiner.receive_untrusted(answer)
            assert third is not None
            await link.send([third])

            with pytest.raises(NodeError) as burnt:
                await asyncio.wait_for(waiting, PATIENCE_S)
            assert burnt.value.code == "wrong_code"
            assert len(await eventually(lambda: alice.events("unlock_failed"))) == 1
            await link.close()
        finally:
            await bob.node.close()


async def slot(server: Rendezvous, number: int) -> WebSocketLink:
    return await join_slot(
        parse_rendezvous_address(server.address),
        number,
        clock=SystemClock(),
        entropy=system_entropy,
    )


async def test_a_slot_is_closed_with_its_invitation(tmp_path: Path) -> None:
    async with rendezvous(tmp_path / "server") as server, team(tmp_path, "alice") as (alice,):
        await claim(alice, server)
        invitation = await alice.node.inviting.invite("editor")

        alice.node.inviting.end_all("the vault was locked")

        async def closed() -> bool:
            try:
                link = await slot(server, invitation["number"])
            except Refused:
                return True
            await link.close()
            return False

        await eventually(closed, seconds=PATIENCE_S)


async def test_an_invitation_opened_without_a_server_still_has_a_number(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        invitation = await alice.node.inviting.invite("editor")

        assert 1 <= invitation["number"] <= 9_999
        assert invitation["rendezvous"] is None


async def test_a_server_of_another_team_admits_nobody(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice") as (server, (alice,)):
        mallory = await new_person(tmp_path, "mallory", alice.imaging)
        try:
            await mallory.node.membership.create("Others")
            await mallory.node.rendezvous.use(server.address)
            await mallory.node.rendezvous.settled(PATIENCE_S)

            assert mallory.node.rendezvous.state == "not_admitted"
            with pytest.raises(UnreachableError):
                await mallory.node.rendezvous.call(alice.node.context.identity.public.agreement_key)
        finally:
            await mallory.node.close()
