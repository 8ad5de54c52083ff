"""A malicious rendezvous between real nodes: it gets nothing accepted, and learns nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.discovery.rendezvous import RendezvousClient
from node.errors import NodeError, UnreachableError
from node.rendezvous.desk import Visitor
from node.system import system_entropy
from node.transport.dialer import open_channel_over
from node.transport.driver import Reply, Session, SessionClosedError
from node.transport.websocket import WebSocketLink
from node.vault.records import Connection
from protocol.encoding import encode
from protocol.errors import AuthenticationError, Reason, Refused, SafelightError
from protocol.identity import (
    Seeds,
    export_identity_file,
    format_fingerprint,
    make_identity,
    sign_statement,
)
from protocol.joining.code import InvitationCode, parse_code
from protocol.joining.session import Inviter, Joiner
from protocol.labels import NO_TEAM, PROLOGUE_MAIL, SignatureType
from protocol.limits import MAIL_LIFETIME_MS
from protocol.mail import MailBody
from protocol.messages import Deliver, Done, FetchHead, RosterFetch, RosterUpdate
from protocol.noise.one_way import open_from_untrusted, seal_to
from protocol.rendezvous.messages import (
    NO_CALLER,
    Attend,
    Attending,
    Call,
    Circuit,
    Collect,
    Collected,
    Deposit,
    JoinSlot,
    Mails,
    MailWaiting,
    Present,
    Ring,
)
from protocol.roster.metadata import roster_hash, sign_roster, with_member
from protocol.roster.update import join_versions
from tests.attacks.bad_rendezvous import (
    CLOCK,
    PATIENCE_S,
    BadRendezvous,
    all_reach,
    cut_all,
    honest,
    key_of,
    raw,
    served,
)
from tests.attacks.mallory import enlisted, refused, streamed
from tests.attacks.test_fuzz import no_unhandled_exception
from tests.node.services.conditions import until
from tests.node.services.team import Person, eventually, new_person

LONG = bool(os.environ.get("SAFELIGHT_LONG"))


def stranger(name: str = "the server's own") -> Any:
    """Return an identity that is in no team."""
    return make_identity(Seeds.generate(system_entropy), name=name, now=CLOCK.now())


def linked(*people: Person) -> bool:
    return any(one.node.peering.online() for one in people)


async def share_ready(alice: Person, bob: Person, **terms: Any) -> str:
    """Share a picture of a few frames of ciphertext; return the capability once it is ready."""
    (image,) = await alice.import_pictures(1, size=(1600, 1067))
    (shared,) = await alice.share([image["id"]], [bob.name], rendition="preview:1500", **terms)
    await bob.wait_ready(shared["id"])
    return str(shared["id"])


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

            (held,) = await bob.node.receiving.inbox()
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
        await bob.node.receiving.fetch(
            row := await bob.node.receiving.resolve(capability),
            await bob.node.receiving.resolve_images(row, []),
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


# Mail -----------------------------------------------------------------------------------------


def mail(sender: Any, reader: Person, team_id: bytes, **facts: Any) -> bytes:
    """Return a mail sealed and signed by whomever, saying anything."""
    public = reader.node.context.identity.public
    fields: dict[str, Any] = {
        "message_id": system_entropy(16),
        "recipient": public.fingerprint,
        "sequence": 1,
        "expires_at": CLOCK.now() + MAIL_LIFETIME_MS,
        "kind": "roster",
        "body": b"",
        **facts,
    }
    signed = sign_statement(
        sender.identity, SignatureType.MAIL, team_id, encode(MailBody(**fields))
    )
    return sealed(sender, public.agreement_key, team_id, signed)


def sealed(sender: Any, key: bytes, team_id: bytes, signed: bytes) -> bytes:
    return seal_to(
        sender_secret=sender.agreement_secret,
        recipient_public=key,
        prologue=PROLOGUE_MAIL + team_id,
        plaintext=signed,
        entropy=system_entropy,
    )


async def leave(server: BadRendezvous, person: Person, content: bytes) -> None:
    """Put mail in somebody's mailbox that nobody has left there."""
    deposit = Deposit(
        recipient=key_of(person),
        mail_id=system_entropy(16),
        expires_at=CLOCK.now() + MAIL_LIFETIME_MS,
        sealed=content,
    )
    await server._mailbox.deposit(person.node.membership.team_id, NO_CALLER, deposit)


async def told_of_mail(server: BadRendezvous, person: Person) -> None:
    """Tell somebody of their mail, and wait until they have looked at all of it."""
    last: list[Collect] = []

    async def collect(visitor: Visitor, session: Session, request: Collect) -> Reply:
        answer = await server._desk._answer_member(visitor.attendant, request)  # type: ignore[arg-type]
        assert isinstance(answer, Mails)
        if not answer.more:
            last.append(request)
        return answer

    server.script[Collect] = collect
    await server.tell(person, MailWaiting())
    await until(lambda: last, seconds=PATIENCE_S)
    # The next turn begins once the mails of this one are dealt with.
    await server.tell(person, MailWaiting())
    await until(lambda: len(last) > 1, seconds=PATIENCE_S)
    del server.script[Collect]


async def all_mailed(person: Person) -> None:
    def query(db: Connection) -> bool:
        rows, copies = db.execute("SELECT count(*), count(mailed_at) FROM outbox").fetchone()
        return bool(rows == copies)

    async def mailed() -> bool:
        return await person.read(query)

    await eventually(mailed, seconds=PATIENCE_S)


async def standing(person: Person) -> Any:
    """Return what mail could change."""
    log = await person.node.log_reading.entries(who=None, image=None, since=None, limit=100_000)
    return (
        person.node.membership.version,
        person.node.membership.roster_hash,
        sorted(person.node.membership.trusted.members),
        await person.node.receiving.inbox(),
        await person.node.granted.shares(album=None, to=None, state=None),
        [one["event"] for one in log["entries"]],
    )


async def test_row_19_old_rosters_and_old_mail_change_nothing_however_often_they_come(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, "alice", "bob", "carol") as (server, (alice, bob, carol)):
        await all_reach(alice, bob, carol)
        first, second = await share_ready(alice, bob), await share_ready(alice, bob)
        await bob.node.close()
        await alice.node.amending.extend(capability=first, duration=None, opens=3)
        await alice.node.ending.revoke(capabilities=[second], to=None, album=None)
        await alice.node.administering.role("carol", "reviewer")
        third = await alice.share([(await alice.import_pictures(1))[0]["id"]], ["bob"])
        await until(lambda: len(server.deposits(bob)) >= 5, seconds=PATIENCE_S)
        await all_mailed(alice)
        await bob.restart()
        await bob.node.peering.reach(alice.me, PATIENCE_S)
        await alice.node.administering.role("carol", "editor")
        await alice.node.administering.remove("carol")
        await alice.node.ending.revoke(capabilities=[third[0]["id"]], to=None, album=None)
        await until(
            lambda: bob.node.membership.version == alice.node.membership.version,
            seconds=PATIENCE_S,
        )

        async def settled() -> bool:
            states = {one["id"]: one for one in await bob.node.receiving.inbox()}
            return bool(
                states[first]["opens_left"] == 13
                and states[second]["state"] == states[third[0]["id"]]["state"] == "revoked"
            )

        await eventually(settled, seconds=PATIENCE_S)
        await told_of_mail(server, bob)
        before = await standing(bob)
        old = [one.sealed for one in server.deposits(bob)]
        chance = random.Random(19)

        # The second time nothing remembers their ids.
        for _ in range(2):
            for content in reversed(old):
                await leave(server, bob, content)
                await leave(server, alice, content)
                await leave(server, bob, content[: chance.randrange(len(content))])
                edited = bytearray(content)
                edited[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
                await leave(server, bob, bytes(edited))
            await told_of_mail(server, bob)
            await told_of_mail(server, alice)

            assert await standing(bob) == before
            assert not (await bob.node.rendezvous.collect(0)).mails
            await bob.node.context.database.write(
                lambda transaction: transaction.connection.execute("DELETE FROM mail_seen")
            )
        kinds = await bob.read(lambda db: db.execute("SELECT count(*) FROM mail_seen").fetchone())
        assert kinds == (0,)
        assert bob.node.membership.member(carol.me) is None
        assert (await bob.open(first))["opens_left"] == 12


async def test_row_3_mail_in_the_name_of_somebody_else_changes_nothing(tmp_path: Path) -> None:
    async with (
        served(tmp_path, "alice", "bob") as (server, (alice, bob)),
        enlisted(alice) as mallory,
    ):
        await all_reach(alice, bob)
        await until(
            lambda: bob.node.membership.version == alice.node.membership.version,
            seconds=PATIENCE_S,
        )
        capability = await share_ready(alice, bob)
        await bob.node.close()
        await alice.node.ending.revoke(capabilities=[capability], to=None, album=None)
        (revocation,) = await alice.read(
            lambda db: db.execute("SELECT body FROM outbox WHERE kind = 'revocation'").fetchone()
        )
        await alice.node.context.database.write(
            lambda transaction: transaction.connection.execute("DELETE FROM outbox")
        )
        await alice.node.close()
        # The mailbox keeps nothing genuine from here on.
        await clear_mailbox(server)
        await bob.restart()
        await until(lambda: bob.node.rendezvous.state == "connected", seconds=PATIENCE_S)
        team_id = bob.node.membership.team_id
        identity = alice.node.context.identity
        to_mallory = sign_statement(
            identity.identity,
            SignatureType.MAIL,
            team_id,
            encode(
                MailBody(
                    message_id=system_entropy(16),
                    recipient=mallory.me,
                    sequence=1,
                    expires_at=CLOCK.now() + MAIL_LIFETIME_MS,
                    kind="revocation",
                    body=revocation,
                )
            ),
        )
        before = await standing(bob)

        for content in (
            # What alice has mailed to mallory, passed on; and the same as if to bob.
            sealed(mallory.local, key_of(bob), team_id, to_mallory),
            # Alice's statement in a mail of mallory's own.
            mail(mallory.local, bob, team_id, kind="revocation", body=revocation),
            # Sealed by the server's own key, signed by nobody in the team.
            mail(stranger("alice"), bob, team_id, kind="revocation", body=revocation),
            # Of another team, to somebody else, and past its time.
            mail(identity, bob, NO_TEAM, kind="revocation", body=revocation),
            mail(identity, bob, team_id, kind="revocation", body=revocation, recipient=mallory.me),
            mail(
                identity, bob, team_id, kind="revocation", body=revocation, expires_at=CLOCK.now()
            ),
        ):
            await leave(server, bob, content)
        await told_of_mail(server, bob)

        assert await standing(bob) == before
        # The seal is to the key that the roster names, and opens with no other.
        with pytest.raises(AuthenticationError):
            open_from_untrusted(
                recipient_secret=mallory.local.agreement_secret,
                prologue=PROLOGUE_MAIL + team_id,
                sealed=mail(identity, bob, team_id, kind="revocation", body=revocation),
            )
        # The same words from alice herself count.
        await leave(server, bob, mail(identity, bob, team_id, kind="revocation", body=revocation))
        await told_of_mail(server, bob)
        (held,) = await bob.node.receiving.inbox()
        assert held["state"] == "revoked"
        await alice.restart()


async def clear_mailbox(server: BadRendezvous) -> None:
    await server._store.run(lambda sql: int(sql.execute("DELETE FROM mail").rowcount))


async def test_a_rendezvous_that_withholds_acknowledgements_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, "alice", "bob") as (server, (alice, bob)):
        await all_reach(alice, bob)

        async def silent(visitor: Visitor, session: Session, request: Any) -> Reply:
            await session.closed.wait()
            raise Refused(Reason.UNKNOWN)

        # It keeps the mail, and never says so; it delivers, and never hears that it has.
        async def keep(visitor: Visitor, session: Session, request: Deposit) -> Reply:
            await server._desk._answer_member(visitor.attendant, request)  # type: ignore[arg-type]
            return await silent(visitor, session, request)

        server.script |= {Deposit: keep, Collected: silent}
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        (shared,) = await alice.share([image["id"]], ["bob"])
        await until(lambda: server.deposits(bob), seconds=PATIENCE_S)
        for _ in range(2):
            await bob.restart()
            await bob.wait_ready(shared["id"])
            await until(
                lambda: any(isinstance(one, Collected) for one in server.heard), seconds=PATIENCE_S
            )
            server.heard = [one for one in server.heard if not isinstance(one, Collected)]
            await bob.node.close()
        server.script.clear()
        await bob.restart()
        await bob.node.peering.reach(alice.me, PATIENCE_S)

        assert (await bob.open(shared["id"]))["opens_left"] == 9
        assert len(await bob.events("received")) == 1

        async def delivered() -> bool:
            return bool(
                (await alice.node.granted.describe(bytes.fromhex(shared["id"])))["delivered"]
            )

        await eventually(delivered, seconds=PATIENCE_S)


# Joining --------------------------------------------------------------------------------------


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


# What it learns -------------------------------------------------------------------------------


def canaries(person: Person) -> list[bytes]:
    """Return what no rendezvous is told of a person."""
    public = person.node.context.identity.public
    host, port = person.node.peering.listening[0]
    return [
        public.fingerprint,
        public.log_key,
        public.cosigning_key,
        format_fingerprint(public.fingerprint).encode(),
        person.name.encode(),  # long: ciphertext has every three letters now and then
        f"{host}:{port}".encode(),
        b"Test team",
    ]


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


# Nonsense -------------------------------------------------------------------------------------


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
            return answers[given % len(answers)]  # type: ignore[no-any-return]

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
