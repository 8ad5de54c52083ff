"""Claims, lists of members, and who is let in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.rendezvous import store
from node.rendezvous.folder import DataFolderBusyError
from node.transport.dialer import DialError
from node.transport.driver import SessionClosedError
from node.vault.errors import DamagedError
from protocol.errors import Reason, Refused
from protocol.messages import Done
from protocol.primitives import blake2b
from protocol.rendezvous.address import parse_rendezvous_address
from protocol.rendezvous.messages import (
    Admit,
    Admitted,
    Attend,
    Attending,
    Call,
    Circuit,
    Claim,
    Collect,
    Deposit,
    Mails,
    OpenSlot,
)
from tests.node.rendezvous.members import (
    TEAM,
    Member,
    admission,
    attending,
    claim,
    hang_up,
    key_of,
    receive,
    refusal,
    until,
    visitor,
)
from tests.node.rendezvous.server import limits, rendezvous

OTHER_TEAM = blake2b(b"another team")


async def test_a_claim_registers_a_team_and_burns_the_secret(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        assert server.claim is not None
        await claim(server.address, server.claim, "alice", "bob")
        stranger = await visitor(server.address, "mallory")
        again = Claim(secret=server.claim, admission=admission(["mallory"], team=OTHER_TEAM))

        assert await refusal(stranger, again) is Reason.FACTOR
        async with attending(server.address, "alice", "bob") as (_, bob):
            assert bob.online == {key_of("alice")}
        await hang_up(stranger)
    async with rendezvous(tmp_path) as server:
        assert server.claim is None


async def test_a_claim_whose_answer_was_lost_may_be_made_again(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        await claim(server.address, server.claim, "alice", "bob")

        assert server.gauges()["teams"] == 1


async def test_a_server_keeps_its_address_and_its_claim_until_a_team_claims_it(
    tmp_path: Path,
) -> None:
    async with rendezvous(tmp_path) as server:
        first = server.address.partition("/")[2], server.claim
    async with rendezvous(tmp_path) as server:
        assert first == (server.address.partition("/")[2], server.claim)


async def test_another_team_claims_with_a_secret_of_its_own(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
    async with rendezvous(tmp_path, new_claim=True) as server:
        await claim(server.address, server.claim, "carol", team=OTHER_TEAM, admins=["carol"])

        assert server.gauges()["teams"] == 2


@pytest.mark.parametrize(
    "facts",
    [
        {"signers": []},
        {"admins": ["alice", "bob"], "threshold": 2, "signers": ["alice"]},
        {"signers": ["bob"]},
    ],
    ids=["nobody", "too few", "somebody else"],
)
async def test_a_claim_that_its_own_administrators_have_not_signed_is_refused(
    tmp_path: Path, facts: dict[str, object]
) -> None:
    async with rendezvous(tmp_path) as server:
        with pytest.raises(Refused):
            await claim(server.address, server.claim, "alice", "bob", **facts)
        await claim(server.address, server.claim, "alice", "bob")


async def test_guesses_at_the_secret_are_throttled(tmp_path: Path) -> None:
    settings = limits(stranger_requests=100, claim_tries_per_minute=5)
    async with rendezvous(tmp_path, settings=settings) as server:
        stranger = await visitor(server.address, "mallory")
        guess = Claim(secret="a" * 32, admission=admission(["mallory"]))
        reasons = [await refusal(stranger, guess) for _ in range(6)]

        assert reasons == [Reason.FACTOR] * 5 + [Reason.BUSY]
        await hang_up(stranger)


async def test_who_is_not_admitted_gets_nothing(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice")
        for message in (Attend(team_id=TEAM), Collect(after=0), OpenSlot()):
            stranger = await visitor(server.address, "mallory")

            assert await refusal(stranger, message) is Reason.NOT_MEMBER
            await hang_up(stranger)


async def test_a_stranger_asks_twice_and_is_hung_up_on_in_time(tmp_path: Path) -> None:
    settings = limits(authentication_s=2)
    async with rendezvous(tmp_path, settings=settings) as server:
        stranger = await visitor(server.address, "mallory")
        reasons = [await refusal(stranger, Attend(team_id=TEAM)) for _ in range(3)]

        assert reasons == [Reason.NOT_MEMBER] * 3
        assert server.metrics.refused[Reason.NOT_MEMBER] == 3
        await until(stranger.session.closed.is_set)
        await hang_up(stranger)


async def test_members_of_one_team_learn_nothing_of_another(tmp_path: Path) -> None:
    """Also where the other team has put a member's key on its own list."""
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
    async with rendezvous(tmp_path, new_claim=True) as server:
        await claim(
            server.address, server.claim, "carol", "alice", team=OTHER_TEAM, admins=["carol"]
        )
        async with (
            attending(server.address, "alice", "bob") as (alice, bob),
            attending(server.address, "carol", team=OTHER_TEAM) as (carol,),
        ):
            assert await refusal(carol, Call(key=key_of("alice"))) is Reason.NOT_READY
            assert await refusal(carol, Call(key=key_of("bob"))) is Reason.UNKNOWN
            assert await refusal(alice, Call(key=key_of("carol"))) is Reason.UNKNOWN
            assert await refusal(bob, Attend(team_id=OTHER_TEAM)) is Reason.UNKNOWN
            assert carol.told == []
            assert key_of("carol") not in alice.online | bob.online


async def test_presence_comes_and_goes(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice") as (alice,):
            async with attending(server.address, "bob"):
                await until(lambda: alice.online == {key_of("bob")})
            await until(lambda: alice.online == set())


async def test_a_member_that_comes_again_replaces_its_old_session(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob", "bob") as (alice, old, new):
            await until(old.session.closed.is_set)

            assert old.session.close_reason == "replaced"
            assert not new.session.closed.is_set()
            assert alice.online == {key_of("bob")}
            again = await new.ask(Attend(team_id=TEAM), Attending)
            assert again.online == (key_of("alice"),)


# Lists ------------------------------------------------------------------------------------------


async def test_a_member_who_is_left_out_loses_session_circuits_slot_and_mail_at_once(
    tmp_path: Path,
) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob", "dave")
        async with attending(server.address, "alice", "bob", "dave") as (alice, bob, dave):
            circuit = await dave.ask(Call(key=key_of("bob")), Circuit)
            ours, theirs = await dave.join(circuit), await bob.join(await bob.ring())
            await ours.send([b"before"])
            assert await receive(theirs) == b"before"
            await bob.session.request(OpenSlot())
            await dave.session.request(OpenSlot())
            for sender, recipient in ((alice, "dave"), (dave, "alice"), (alice, "bob")):
                mail = Deposit(
                    recipient=key_of(recipient),
                    mail_id=bytes(16),
                    expires_at=2**40 * 10,
                    sealed=b"sealed",
                )
                assert await sender.session.request(mail) == Done()
            answer = await alice.ask(
                Admit(admission=admission(["alice", "bob"], version=2)), Admitted
            )

            assert answer == Admitted(version=2, missing=0)
            assert await receive(theirs) is None
            await until(dave.session.closed.is_set)
            assert dave.session.close_reason == "not_member"
            await until(lambda: alice.online == {key_of("bob")})
            assert server.gauges()["open_circuits"] == 0
            assert server.gauges()["open_slots"] == 1
            kept = await server._store.run(store.slots)
            assert [slot.key for slot in kept] == [key_of("bob")]
            mail = Deposit(
                recipient=key_of("dave"), mail_id=bytes(16), expires_at=2**43, sealed=b"s"
            )
            assert await refusal(alice, mail) is Reason.UNKNOWN
            assert len((await bob.ask(Collect(after=0), Mails)).mails) == 1
            assert (await alice.ask(Collect(after=0), Mails)).mails == ()
            back = await visitor(server.address, "dave")
            assert await refusal(back, Attend(team_id=TEAM)) is Reason.NOT_MEMBER
            await hang_up(back)
            await ours.close()
            await theirs.close()


async def test_signatures_are_gathered_until_both_lists_have_enough(tmp_path: Path) -> None:
    everybody = ["alice", "bob", "carol"]
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, *everybody, admins=everybody, threshold=2)
        facts: dict[str, Any] = {"version": 2, "threshold": 2, "admins": everybody}
        members = [*everybody, "dave"]
        async with attending(server.address, "alice") as (alice,):
            one = Admit(admission=admission(members, signers=["alice"], **facts))

            assert await alice.ask(one, Admitted) == Admitted(version=1, missing=1)
            assert await alice.ask(one, Admitted) == Admitted(version=1, missing=1)
    # What was gathered outlives the server.
    async with rendezvous(tmp_path) as server, attending(server.address, "carol") as (carol,):
        two = Admit(admission=admission(members, signers=["carol"], **facts))

        assert await carol.ask(two, Admitted) == Admitted(version=2, missing=0)
        async with attending(server.address, "dave"):
            pass


async def test_a_list_is_never_replaced_by_an_older_or_unsigned_one(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob", version=5)
        async with attending(server.address, "alice", "bob") as (alice, bob):
            for version in (4, 5):
                old = Admit(admission=admission(["alice"], version=version))
                assert await alice.ask(old, Admitted) == Admitted(version=5, missing=0)
            forged = Admit(admission=admission(["bob"], version=6, admins=["bob"]))
            assert (await bob.ask(forged, Admitted)).missing == 1
            unsigned = Admit(admission=admission(["bob"], version=7, signers=[]))
            assert await refusal(bob, unsigned) is Reason.POLICY
            others = Admit(admission=admission(["bob"], version=8, team=OTHER_TEAM))
            assert await refusal(bob, others) is Reason.UNKNOWN
            nonsense = Admit(admission=b"nonsense")
            assert await refusal(bob, nonsense) is Reason.UNKNOWN
            # The list in force is as it was: both still attend.
            assert (await bob.ask(Attend(team_id=TEAM), Attending)).version == 5


async def test_a_claim_rolls_no_list_back(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob", version=5)
    async with rendezvous(tmp_path, new_claim=True) as server:
        with pytest.raises(Refused):
            await claim(server.address, server.claim, "alice", version=5)
        await claim(server.address, server.claim, "carol", version=6, admins=["carol"])
        async with attending(server.address, "carol"):
            pass


# The folder -------------------------------------------------------------------------------------


async def test_what_a_server_keeps_is_for_nobody_else_on_the_machine(tmp_path: Path) -> None:
    async with rendezvous(tmp_path / "data") as server:
        await claim(server.address, server.claim, "alice")

        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        for path in (tmp_path / "data").iterdir():
            assert path.stat().st_mode & 0o177 == 0, path.name


async def test_one_server_runs_on_a_folder(tmp_path: Path) -> None:
    async with rendezvous(tmp_path):
        with pytest.raises(DataFolderBusyError):
            async with rendezvous(tmp_path):
                pass


async def test_a_lost_key_is_no_reason_for_a_new_one(tmp_path: Path) -> None:
    async with rendezvous(tmp_path):
        pass
    (tmp_path / "key").unlink()
    with pytest.raises(DamagedError):
        async with rendezvous(tmp_path):
            pass


async def test_whoever_expects_another_key_reaches_nobody(tmp_path: Path) -> None:
    async with rendezvous(tmp_path / "one") as one, rendezvous(tmp_path / "two") as two:
        key = parse_rendezvous_address(two.address).key
        place = parse_rendezvous_address(one.address)
        wrong = Member(type(place)(host=place.host, port=place.port, key=key), "alice")
        with pytest.raises((DialError, SessionClosedError)):
            await wrong.connect()
