"""A malicious rendezvous between real nodes: keys and frames of its own get nothing accepted.

What it does with mail, with joining by code and with malformed messages stands in
``test_relays_mail``, ``test_relays_joining`` and ``test_relays_nonsense``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.errors import NodeError
from node.rendezvous.desk import Visitor
from node.system import system_entropy
from node.transport.dialer import open_channel_over
from node.transport.driver import Reply, Session, SessionClosedError
from node.transport.websocket import WebSocketLink
from protocol.encoding import encode
from protocol.errors import Reason, Refused, SafelightError
from protocol.identity import format_fingerprint
from protocol.messages import Deliver, Done, FetchHead, RosterFetch, RosterUpdate
from protocol.rendezvous.messages import Attend, Attending, Call, Present
from protocol.roster.metadata import roster_hash, sign_roster, with_member
from protocol.roster.update import join_versions
from tests.attacks.bad_mail import leave, mail, told_of_mail
from tests.attacks.bad_rendezvous import (
    CLOCK,
    PATIENCE_S,
    BadRendezvous,
    all_reach,
    canaries,
    cut_all,
    honest,
    key_of,
    served,
    share_ready,
    stranger,
)
from tests.attacks.mallory import refused, streamed
from tests.node.services.conditions import until
from tests.node.services.team import Person


def linked(*people: Person) -> bool:
    return any(one.node.peering.online() for one in people)


async def opens(issuer: Person, capability: str) -> int:
    found = await issuer.node.granted.describe(bytes.fromhex(capability))
    return int(found["opens"])


# Keys -----------------------------------------------------------------------------------------


async def test_row_1_a_rendezvous_that_swaps_keys_in_presence_and_rings_is_taken_for_nobody(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, "alice", "bob") as (server, (alice, bob)):
        await all_reach(alice, bob)
        evil = stranger()
        heard: list[Any] = []
        ended: list[asyncio.Task[Session]] = []

        async def hear(session: Session, request: Any) -> Reply:
            heard.append(request)
            return Done()

        def pose(link: WebSocketLink, session: bytes) -> None:
            opening = open_channel_over(
                link,
                remote_static=None,
                static_secret=evil.agreement_secret,
                team_id=alice.node.membership.team_id,
                handler=hear,
                clock=CLOCK,
                entropy=system_entropy,
                relay_session=session,
            )
            ended.append(asyncio.create_task(opening))

        async def take(visitor: Visitor, session: Session, request: Call) -> Reply:
            circuit, link = await server.take()
            pose(link, circuit.session)
            return circuit

        async def attend(visitor: Visitor, session: Session, request: Attend) -> Reply:
            answer = await server._desk._answer_stranger(visitor, session, request)
            assert isinstance(answer, Attending)
            # Its own key among the members', and every member's whether there or not.
            keys = {evil.public.agreement_key, key_of(alice), key_of(bob)}
            keys.discard(session.peer_key)
            return Attending(version=answer.version, online=tuple(sorted(keys)))

        server.script |= {Call: take, Attend: attend}
        for person in (alice, bob):
            person.node.rendezvous.check()
            await server.tell(person, Present(key=evil.public.agreement_key, online=True))
        await cut_all(alice, bob)
        await until(lambda: sum(one.done() for one in ended) >= 4, seconds=PATIENCE_S)
        posed = await asyncio.gather(*ended[:4], return_exceptions=True)

        assert all(isinstance(one, SessionClosedError) for one in posed)
        assert not linked(alice, bob)
        assert heard == []
        # Nobody ever called the key that is no member's.
        called = {one.key for one in server.heard if isinstance(one, Call)}
        assert called <= {key_of(alice), key_of(bob)}
        server.script.clear()
        await all_reach(alice, bob)
        assert await bob.open(await share_ready(alice, bob))


async def test_row_21_a_rendezvous_that_adds_a_device_makes_it_no_member(tmp_path: Path) -> None:
    async with served(tmp_path, "alice", "bob") as (server, (alice, bob)):
        await all_reach(alice, bob)
        evil = stranger()
        membership = bob.node.membership
        version, team_id = membership.version, membership.team_id
        body = with_member(membership.trusted.roster, evil.public, "admin", now=CLOCK.now())
        asked: list[Any] = []

        async def serve(session: Session, request: Any) -> Reply:
            asked.append(request)
            if isinstance(request, RosterFetch):
                return streamed(join_versions([sign_roster(body, signers=[evil], team_id=team_id)]))
            raise Refused(Reason.UNKNOWN)

        # It rings in alice's name; who has rung, the handshake says.
        link, session_id = await server.ring(bob, caller=key_of(alice))
        session = await open_channel_over(
            link,
            remote_static=key_of(bob),
            static_secret=evil.agreement_secret,
            team_id=team_id,
            handler=serve,
            clock=CLOCK,
            entropy=system_entropy,
            relay_session=session_id,
        )
        for request in (FetchHead(from_size=0), Deliver(sealed=b"x" * 200)):
            assert await refused(session.request(request)) == "not_member"
        update = RosterUpdate(version=version + 1, hash=roster_hash(body))
        assert await refused(session.request(update)) in ("not_member", "closed")
        assert await refused(session.request(update)) in ("not_member", "closed")
        await asyncio.wait_for(session.closed.wait(), PATIENCE_S)

        # The version was fetched, and refused.
        assert [type(one) for one in asked] == [RosterFetch]
        assert membership.version == version
        assert membership.member(evil.public.fingerprint) is None
        with pytest.raises(NodeError):
            await alice.share(["00"], [format_fingerprint(evil.public.fingerprint)])
        # By mail, as a version and as a statement of the server's own, it is worth as little.
        for kind, content in (
            ("roster", join_versions([sign_roster(body, signers=[evil], team_id=team_id)])),
            ("proposal", sign_roster(body, signers=[evil], team_id=team_id)),
        ):
            await leave(server, bob, mail(evil, bob, team_id, kind=kind, body=content))
        await told_of_mail(server, bob)
        assert membership.version == version
        assert bob.node.membership.proposals() == []
        assert await bob.open(await share_ready(alice, bob))


# Circuits -------------------------------------------------------------------------------------


async def test_row_14_a_rendezvous_that_joins_replays_and_reflects_circuits_connects_nobody(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, "alice", "bob", "carol") as (server, people):
        alice, bob, carol = people
        await all_reach(*people)
        capability = await share_ready(alice, bob)
        await bob.open(capability)
        recorded = list(server.circuits)
        others = {key_of(alice): bob, key_of(bob): carol, key_of(carol): alice}
        calls = 0

        async def misjoin(visitor: Visitor, session: Session, request: Call) -> Reply:
            nonlocal calls
            calls += 1
            if calls % 2:
                # A with C instead of B; where that would be themselves, it is that.
                return server.connect(visitor, others[request.key])
            return server.connect(
                visitor, next(one for one in people if key_of(one) == caller(visitor))
            )

        server.script[Call] = misjoin
        await cut_all(*people)
        await until(lambda: calls >= 12, seconds=PATIENCE_S)
        assert not linked(*people)

        # Recorded circuits, each half to everybody, under their own session ids.
        for frames in recorded:
            for person in people:
                link, _ = await server.ring(
                    person, caller=key_of(alice), session=session_of(server, frames)
                )
                answers = await replay(
                    link, [message for end, message in frames if end == frames[0][0]]
                )
                assert len(answers) <= 1
        assert len(recorded) >= 3
        assert not linked(*people)
        assert await opens(alice, capability) == 1

        server.script.clear()
        await all_reach(*people)
        assert (await bob.open(capability))["opens_left"] == 8


def caller(visitor: Visitor) -> bytes:
    assert visitor.attendant is not None
    return visitor.attendant.key


def session_of(server: BadRendezvous, frames: list[tuple[int, bytes]]) -> bytes:
    """Return the session id that the clear offer of a recorded circuit names."""
    offer = frames[0][1]
    found = [one for one in server.sessions if one in offer]
    assert len(found) == 1
    return found[0]


async def replay(link: WebSocketLink, messages: list[bytes]) -> list[bytes]:
    """Send recorded messages; return what is answered until the other end hangs up."""
    answers: list[bytes] = []
    with contextlib.suppress(OSError):
        await link.send(messages)
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await link.receive()) is not None:
            answers.append(answer)
    await link.close()
    return answers


def once(change: Callable[[bytes], list[bytes]], *, least: int) -> Callable[[bytes], list[bytes]]:
    """Return a change of the first message of a length."""
    done: list[bytes] = []

    def changed(message: bytes) -> list[bytes]:
        if done or len(message) < least:
            return [message]
        done.append(message)
        return change(message)

    return changed


def swapped() -> Callable[[bytes], list[bytes]]:
    """Return a change that lets the message after a long one overtake it."""
    waiting: list[bytes] = []
    done: list[bytes] = []

    def changed(message: bytes) -> list[bytes]:
        if not done and not waiting and len(message) >= 3_000:
            waiting.append(message)
            return []
        if waiting:
            done.append(waiting.pop())
            return [message, done[0]]
        return [message]

    return changed


EDITS: dict[str, Callable[[], Callable[[bytes], list[bytes]]]] = {
    "dropped": lambda: once(lambda data: [], least=3_000),
    "swapped": swapped,
    "cut": lambda: once(lambda data: [data[:-1]], least=3_000),
    "emptied": lambda: once(lambda data: [b""], least=3_000),
    "lengthened": lambda: once(lambda data: [data + b"\0"], least=3_000),
    "halved": lambda: once(lambda data: [data[:1_500], data[1_500:]], least=3_000),
    "preceded": lambda: once(lambda data: [system_entropy(len(data)), data], least=3_000),
    # The last: what came first was genuine, and stays.
    "repeated": lambda: once(lambda data: [data, data], least=3_000),
}


async def test_row_5_frames_of_a_circuit_that_are_edited_in_any_way_give_no_byte(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, "alice", "bob") as (server, (alice, bob)):
        await all_reach(alice, bob)
        capability = await share_ready(alice, bob)
        for name, edit in EDITS.items():
            await all_reach(alice, bob)
            server.change = edit()
            with pytest.raises(SafelightError):
                await bob.open(capability)

            (held,) = await bob.node.inbox.held()
            assert not held["images"][0]["fetched"], name
            assert await alice.events("released") == [], name
        server.change = honest

        assert (await bob.open(capability))["opens_left"] == 9


async def test_row_28_a_rendezvous_that_flips_bits_burns_no_open(tmp_path: Path) -> None:
    async with served(tmp_path, "alice", "bob") as (server, (alice, bob)):
        await all_reach(alice, bob)
        capability = await share_ready(alice, bob)
        chance = random.Random(28)

        def flip(data: bytes) -> list[bytes]:
            changed = bytearray(data)
            changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            return [bytes(changed)]

        # Ciphertext that is prefetched, anywhere in it.
        for _ in range(4):
            await all_reach(alice, bob)
            server.change = once(flip, least=3_000)
            with pytest.raises(SafelightError):
                await bob.open(capability)
        assert await opens(alice, capability) == 0
        server.change = honest
        await bob.node.fetching.fetch(
            row := await bob.node.inbox.resolve(capability),
            await bob.node.inbox.resolve_images(row, []),
            progress=lambda *_: None,
        )

        # The answer to an open: counted, and asked for again under the same id.
        for _ in range(3):
            await all_reach(alice, bob)
            server.change = once(flip, least=4_000)
            with pytest.raises(SafelightError):
                await bob.open(capability)
        server.change = honest
        assert (await bob.open(capability))["opens_left"] == 9
        assert len(await alice.events("released")) == 1

        # Any frame at all, the greeting's too.
        for least in (1, 40, 100, 300):
            await all_reach(alice, bob)
            server.change = once(flip, least=least)
            await cut_all(alice, bob)
            await all_reach(alice, bob)
        server.change = honest
        assert (await bob.open(capability))["opens_left"] == 8
        assert len(await alice.events("released")) == 2


# What it learns -------------------------------------------------------------------------------


async def test_row_13_a_rendezvous_is_told_no_name_key_address_or_term(tmp_path: Path) -> None:
    async with served(tmp_path, "alice", "benedict", "carolina") as (server, people):
        alice, bob, carolina = people
        await all_reach(*people)
        capability = await share_ready(alice, bob, terms="for the tender only")
        await bob.open(capability)
        await carolina.node.close()
        (image,) = await alice.import_pictures(1)
        await alice.share([image["id"]], ["carolina"], terms="for the tender only")
        await alice.node.administering.role("benedict", "reviewer")
        await until(lambda: len(server.deposits(carolina)) >= 3, seconds=PATIENCE_S)
        await alice.node.inviting.invite("editor")

        asked = [encode(one) for one in server.heard]
        carried = [message for frames in server.circuits for _, message in frames]
        folder = tmp_path / "rendezvous"
        kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        learnt = b"\n".join(asked + carried + kept)
        await carolina.restart()

        assert len(learnt) > 20_000
        assert key_of(bob) in learnt
        # Its lists are signed by administrators: whose keys are theirs it is told.
        administrator = alice.node.context.identity.public.identity_key
        for person in people:
            public = person.node.context.identity.public
            assert (public.identity_key in learnt) == (public.identity_key == administrator)
            assert not [one for one in canaries(person) if one in learnt], person.name
        for secret in (b"for the tender only", image["name"].encode(), b"picture 0", b"preview"):
            assert secret not in learnt
