"""Joining by a short code: one guess, one newcomer, and no roster but the one that was told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from node.errors import NodeError, UnreachableError, UsageError
from node.services.membership import Address
from node.system import system_entropy
from node.transport.dialer import dial_link
from node.transport.driver import Reply, Session
from node.transport.link import Link
from node.transport.listener import Listener
from node.transport.websocket import JOIN_PATH
from protocol.errors import Reason, Refused, SafelightError
from protocol.joining.code import InvitationCode, parse_code
from protocol.joining.session import Inviter, Joiner
from protocol.labels import NO_TEAM
from protocol.limits import INVITATION_MS
from protocol.rendezvous.address import RendezvousAddress
from tests.node.kept_imaging import kept_imaging
from tests.node.services.team import Person, eventually, join, new_person


@pytest_asyncio.fixture
async def people(tmp_path: Path) -> AsyncIterator[list[Person]]:
    """Three running nodes; the first has founded a team, the others know nothing of it."""
    imaging = await kept_imaging()
    found = [await new_person(tmp_path, name, imaging) for name in ("alice", "bob", "carol")]
    await found[0].node.membership.create("The Desk")
    yield found
    for person in found:
        await person.node.close()


def place(person: Person) -> Address:
    """Return where a person's node listens."""
    return person.node.peering.listening[0]


async def use_code(person: Person, code: str, inviter: Person) -> dict[str, Any]:
    """Join by a code at the inviter's address."""
    return await person.node.joining.join(
        code, at=place(inviter), rendezvous=None, progress=lambda *_: None
    )


def another(code: str) -> str:
    """Return a code with the number of this one and another word."""
    number, first, second = code.split("-")
    return f"{number}-{first}-{'zoo' if second != 'zoo' else 'zone'}"


async def refused(waiting: asyncio.Task[dict[str, Any]]) -> NodeError:
    """Return why nobody came."""
    with pytest.raises(NodeError) as raised:
        await asyncio.wait_for(waiting, 30)
    return raised.value


def wait(person: Person, invitation: dict[str, Any]) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(person.node.inviting.wait(invitation["number"]))


async def test_a_code_makes_a_member_and_both_sides_see_the_same_words(
    people: list[Person],
) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("reviewer")
    waiting = wait(alice, invitation)

    joined = await use_code(bob, invitation["code"], alice)

    came = await asyncio.wait_for(waiting, 30)
    assert (joined["team"], joined["member"], joined["role"]) == ("The Desk", "bob", "reviewer")
    assert len(joined["words"]) == 8
    assert came["words"] == joined["words"]
    assert (came["name"], came["role"]) == ("bob", "reviewer")
    assert bob.node.membership.team_id == alice.node.membership.team_id
    assert alice.node.membership.role_of(bob.me) == "reviewer"
    await bob.node.peering.reach(alice.me, 20)
    assert [one["detail"] for one in await alice.events("issued")] == [
        {"invitation": str(invitation["number"]), "role": "reviewer"}
    ]
    assert "bob" in [one["detail"]["name"] for one in await alice.events("member_added")]


async def test_what_was_joined_by_code_is_there_after_a_restart(people: list[Person]) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    await use_code(bob, invitation["code"], alice)

    await bob.restart()

    assert bob.node.membership.trusted.roster.team_name == "The Desk"
    # Where the inviter listens was told, and is kept.
    await bob.node.peering.reach(alice.me, 20)


async def test_the_code_is_taken_as_people_type_it(people: list[Person]) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")

    joined = await use_code(bob, "  " + invitation["code"].upper().replace("-", " "), alice)

    assert joined["team"] == "The Desk"


async def test_row_9_a_wrong_code_burns_the_invitation_and_tells_the_inviter(
    people: list[Person],
) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    waiting = wait(alice, invitation)

    with pytest.raises(NodeError) as wrong:
        await use_code(bob, another(invitation["code"]), alice)

    assert wrong.value.code == "wrong_code"
    told = await refused(waiting)
    assert told.code == "wrong_code"
    assert "burnt" in str(told)
    entries = await eventually(lambda: alice.events("unlock_failed"))
    assert entries[0]["detail"] == {
        "invitation": str(invitation["number"]),
        "detail": "wrong code",
    }
    with pytest.raises((NodeError, UnreachableError)):
        await use_code(bob, invitation["code"], alice)
    assert not bob.node.membership.founded
    assert alice.node.membership.version == 1


async def test_breaking_off_after_the_first_message_burns_the_invitation(
    people: list[Person],
) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    waiting = wait(alice, invitation)
    link, joiner = await knock(bob, alice, parse_code(invitation["code"]))
    await link.send([joiner.first()])
    await link.receive()

    await link.close()

    assert (await refused(waiting)).code == "broken_off"
    with pytest.raises((NodeError, UnreachableError)):
        await use_code(bob, invitation["code"], alice)


async def knock(person: Person, inviter: Person, code: InvitationCode) -> tuple[Link, Joiner]:
    """Return a link to an inviter and the joiner's side of a code, before any message."""
    link = await dial_link(*place(inviter), path=JOIN_PATH, timeout=10)
    identity = person.node.context.identity
    return link, Joiner(code, identity, person.node.membership.identity_file([]), system_entropy)


async def test_row_9_a_thousand_guesses_reach_one_run(people: list[Person]) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    waiting = wait(alice, invitation)
    right = parse_code(invitation["code"])
    guess = InvitationCode(number=right.number, words=("zoo", right.words[1]))
    guess = guess if guess != right else InvitationCode(number=right.number, words=("zone",) * 2)
    identity = bob.node.context.identity
    file = bob.node.membership.identity_file([])
    answered = 0
    ways = asyncio.Semaphore(12)
    # The same opening message a thousand times: making each anew would only slow the guesser.
    first = Joiner(guess, identity, file, system_entropy).first()

    async def try_once() -> None:
        nonlocal answered
        async with ways:
            try:
                link = await dial_link(*place(alice), path=JOIN_PATH, timeout=20)
            except UnreachableError:
                return
            try:
                await link.send([first])
                answer = await link.receive()
                answered += answer is not None
            except OSError:
                pass
            finally:
                await link.close()

    await asyncio.gather(*(try_once() for _ in range(1_000)))

    assert answered == 1
    assert (await refused(waiting)).code in ("wrong_code", "broken_off")
    assert len(await eventually(lambda: alice.events("unlock_failed"))) == 1
    assert alice.node.membership.version == 1


async def test_row_10_whoever_stands_between_and_guesses_joins_nobody(
    people: list[Person],
) -> None:
    alice, bob, mallory = people
    invitation = await alice.node.inviting.invite("editor")
    waiting = wait(alice, invitation)
    guess = parse_code(another(invitation["code"]))
    identity = mallory.node.context.identity

    async def pose_as_inviter(link: Link) -> None:
        """Run both joinings at once, with a guess at the code."""
        towards_alice, joiner = await knock(mallory, alice, guess)
        inviter = Inviter(guess, identity, system_entropy)
        first = await link.receive()
        assert first is not None
        answer = inviter.receive_untrusted(first)
        assert answer is not None
        await link.send([answer])
        third = await exchange(towards_alice, joiner, joiner.first())
        await towards_alice.send([third])
        await towards_alice.receive()
        await towards_alice.close()

    between = Listener(
        host="127.0.0.1",
        port=0,
        static_secret=identity.agreement_secret,
        team_id=lambda: NO_TEAM,
        handler=nothing,
        on_session=lambda _session: None,
        on_joining=pose_as_inviter,
        clock=mallory.clock,
        entropy=system_entropy,
    )
    await between.start()
    between.joining_open = True
    try:
        with pytest.raises(NodeError) as seen:
            await bob.node.joining.join(
                invitation["code"],
                at=between.addresses[0],
                rendezvous=None,
                progress=lambda *_: None,
            )
    finally:
        await between.close()

    assert seen.value.code == "wrong_code"
    assert (await refused(waiting)).code == "wrong_code"
    assert alice.node.membership.version == 1
    assert not bob.node.membership.founded


async def nothing(session: Session, request: Any) -> Reply:
    raise Refused(Reason.UNKNOWN)


async def test_messages_that_are_none_and_other_numbers_burn_nothing(
    people: list[Person],
) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    right = parse_code(invitation["code"])
    other = InvitationCode(number=right.number % 9_999 + 1, words=right.words)
    for message in (b"", b"\x00" * 100, b"\xff" * 16_000):
        link, _ = await knock(bob, alice, other)
        await link.send([message])
        assert await link.receive() is None
        await link.close()
    link, joiner = await knock(bob, alice, other)
    await link.send([joiner.first()])
    assert await link.receive() is None
    await link.close()

    assert (await use_code(bob, invitation["code"], alice))["member"] == "bob"


async def test_an_invitation_ends_with_its_time(people: list[Person]) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    waiting = wait(alice, invitation)

    alice.clock.advance(INVITATION_MS + 1)

    assert (await refused(waiting)).code == "timeout"
    with pytest.raises(UnreachableError):
        await use_code(bob, invitation["code"], alice)


async def test_who_waits_and_hangs_up_cancels_the_invitation(people: list[Person]) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    waiting = wait(alice, invitation)
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    with pytest.raises(UnreachableError):
        await use_code(bob, invitation["code"], alice)


async def test_locking_ends_an_invitation_whose_newcomer_is_half_way(
    people: list[Person],
) -> None:
    alice, bob, _ = people
    invitation = await alice.node.inviting.invite("editor")
    link, joiner = await knock(bob, alice, parse_code(invitation["code"]))
    third = await exchange(link, joiner, joiner.first())
    fifth = await exchange(link, joiner, third)

    alice.node.inviting.end_all("the vault was locked")
    await link.send([fifth])

    assert await link.receive() is None
    assert alice.node.membership.version == 1
    await link.close()


async def exchange(link: Link, joiner: Joiner, message: bytes) -> bytes:
    await link.send([message])
    data = await link.receive()
    assert data is not None
    answer = joiner.receive_untrusted(data)
    assert answer is not None
    return answer


async def test_only_administrators_invite_and_not_without_end(people: list[Person]) -> None:
    alice, bob, carol = people
    await join(alice, bob)
    with pytest.raises(Refused) as no:
        await bob.node.inviting.invite("editor")
    assert no.value.reason is Reason.POLICY
    with pytest.raises(NodeError):
        await carol.node.inviting.invite("editor")
    with pytest.raises(UsageError):
        await alice.node.inviting.invite("owner")

    numbers = {(await alice.node.inviting.invite("editor"))["number"] for _ in range(8)}

    assert len(numbers) == 8
    with pytest.raises(NodeError) as many:
        await alice.node.inviting.invite("editor")
    assert many.value.code == "too_many"


async def test_several_invitations_are_each_good_for_one(people: list[Person]) -> None:
    alice, bob, carol = people
    first = await alice.node.inviting.invite("editor")
    second = await alice.node.inviting.invite("guest")

    joined = await asyncio.gather(
        use_code(bob, first["code"], alice), use_code(carol, second["code"], alice)
    )

    assert [one["role"] for one in joined] == ["editor", "guest"]
    assert len(alice.node.membership.trusted.members) == 3


async def test_a_code_for_a_member_tells_them_the_team_again(people: list[Person]) -> None:
    alice, bob, _ = people
    await join(alice, bob)
    before = alice.node.membership.version
    invitation = await alice.node.inviting.invite("editor")
    link, joiner = await knock(bob, alice, parse_code(invitation["code"]))
    message: bytes | None = joiner.first()
    while message is not None:
        await link.send([message])
        data = await link.receive()
        assert data is not None
        message = joiner.receive_untrusted(data)

    assert joiner.accepted.version == before == alice.node.membership.version
    assert joiner.accepted.roster_hash == alice.node.membership.roster_hash
    await link.close()


async def test_whoever_is_in_a_team_joins_no_other(people: list[Person]) -> None:
    alice, bob, _ = people
    await join(alice, bob)

    with pytest.raises(UsageError, match="in a team already"):
        await use_code(bob, "7-canyon-lava", alice)


@pytest.mark.parametrize("code", ["", "canyon-lava", "7-canyon", "7-canyon-lavva", "0-a-b", "7"])
async def test_what_is_no_code_is_told_so(people: list[Person], code: str) -> None:
    alice, bob, _ = people

    with pytest.raises(UsageError):
        await use_code(bob, code, alice)


async def test_where_nobody_expects_anybody_the_joiner_is_told_so(people: list[Person]) -> None:
    alice, bob, _ = people

    with pytest.raises(UnreachableError) as nobody:
        await use_code(bob, "7-canyon-lava", alice)

    assert "--at" in nobody.value.hint


async def test_a_rendezvous_that_is_not_there_is_told_as_that(people: list[Person]) -> None:
    _, bob, _ = people
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
    address = RendezvousAddress(host=host, port=port, key=system_entropy(32)).text

    with pytest.raises(UnreachableError, match=f"{host}:{port} was not reached"):
        await bob.node.joining.join(
            "7-canyon-lava", at=None, rendezvous=address, progress=lambda *_: None
        )


async def test_while_other_administrators_have_to_sign_nobody_is_admitted(
    people: list[Person],
) -> None:
    alice, bob, carol = people
    await join(alice, bob, "admin")
    await eventually(lambda: reached(alice, bob))
    await alice.node.administering.threshold(2)
    if alice.node.membership.trusted.roster.threshold != 2:
        await eventually(lambda: sign_all(bob))
    await eventually(lambda: has_threshold(alice, 2))
    invitation = await alice.node.inviting.invite("editor")
    waiting = wait(alice, invitation)

    with pytest.raises(NodeError) as pending:
        await use_code(carol, invitation["code"], alice)

    assert pending.value.code == "pending"
    assert (await refused(waiting)).code == "pending"
    assert alice.node.membership.member(carol.me) is None
    await eventually(lambda: sign_all(bob))
    await eventually(lambda: is_member(alice, carol))
    again = await alice.node.inviting.invite("editor")
    assert (await use_code(carol, again["code"], alice))["member"] == "carol"


async def reached(one: Person, other: Person) -> bool:
    return one.node.peering.link(other.me) is not None


async def has_threshold(person: Person, threshold: int) -> bool:
    return person.node.membership.trusted.roster.threshold == threshold


async def is_member(person: Person, other: Person) -> bool:
    return person.node.membership.member(other.me) is not None


async def sign_all(person: Person) -> bool:
    """Sign what waits; say whether something did."""
    try:
        await person.node.administering.sign("")
    except SafelightError:
        return False
    return True
