"""Mail for members who are away: what was left for them counts, once, and is readable to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from node.errors import UnreachableError
from node.rendezvous.server import Rendezvous
from node.rendezvous.settings import RendezvousSettings
from node.services.alarms import FORK
from node.system import system_entropy
from node.vault.records import Connection
from protocol.audit.checkpoint import origin_of
from protocol.encoding import encode
from protocol.limits import MAIL_LIFETIME_MS
from protocol.mail import MailBody, MailedCapability, seal_mail
from tests.node.rendezvous.server import rendezvous
from tests.node.services.team import Person, eventually, join, new_person, team

PATIENCE_S = 60


@asynccontextmanager
async def served_team(
    folder: Path, *names: str, **options: Any
) -> AsyncIterator[tuple[Rendezvous, list[Person]]]:
    """Hold running nodes of one team, all connected to a rendezvous of their own."""
    async with (
        rendezvous(folder / "rendezvous", **options) as server,
        team(folder, *names) as people,
    ):
        assert server.claim is not None
        await people[0].node.rendezvous.claim(server.address, server.claim)
        for person in people[1:]:
            await person.node.rendezvous.use(server.address)
        for person in people:
            await connected(person)
        yield server, people


async def connected(person: Person) -> None:
    async def is_connected() -> bool:
        return person.node.rendezvous.state == "connected"

    await eventually(is_connected, seconds=PATIENCE_S)


async def everything_mailed(person: Person, count: int) -> None:
    """Wait until something waits in the outbox, and a copy of all of it at the rendezvous."""

    def query(db: Connection) -> tuple[int, int]:
        found = db.execute("SELECT count(*), count(mailed_at) FROM outbox").fetchone()
        return (found[0], found[1])

    async def mailed() -> bool:
        rows, copies = await person.read(query)
        return rows >= count and rows == copies

    await eventually(mailed, seconds=PATIENCE_S)


async def roster_mailed(sender: Person, recipient: Person, version: int) -> None:
    """Wait until a roster version was mailed, or told on a link."""

    async def mailed() -> bool:
        return await sender.node.mailing._told_of(recipient.me) == version

    await eventually(mailed, seconds=PATIENCE_S)


async def held(person: Person, capability: str) -> dict[str, Any]:
    """Return a capability once it is in the inbox."""

    async def is_held() -> dict[str, Any] | None:
        found = await person.node.inbox.held()
        return next((one for one in found if one["id"] == capability), None)

    return await eventually(is_held, seconds=PATIENCE_S)


async def heard(person: Person, kind: str) -> asyncio.Task[dict[str, Any]]:
    """Return a task that ends with the next event of a kind, listening from now on."""

    async def listen() -> dict[str, Any]:
        async for event in person.node.context.events.listen():
            if event["kind"] == kind:
                return event
        raise AssertionError("the node has stopped")

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    return task


async def mail_to(
    sender: Person, recipient: Person, kind: str, body: bytes, **changes: Any
) -> None:
    """Leave mail at the rendezvous as any client could."""
    now = sender.clock.now()
    fields: dict[str, Any] = {
        "message_id": system_entropy(16),
        "recipient": recipient.me,
        "sequence": 1,
        "expires_at": now + MAIL_LIFETIME_MS,
        "kind": kind,
        "body": body,
        **changes,
    }
    sealed = seal_mail(
        MailBody(**fields),
        sender=sender.node.context.identity,
        recipient=recipient.node.context.identity.public,
        team_id=sender.node.membership.team_id,
        entropy=system_entropy,
    )
    await sender.node.rendezvous.deposit(
        recipient.node.context.identity.public.agreement_key,
        mail_id=system_entropy(16),
        expires_at=fields["expires_at"],
        sealed=sealed,
    )


async def mailbox_empty(person: Person) -> None:
    async def empty() -> bool:
        return not (await person.node.rendezvous.collect(0)).mails

    await eventually(empty, seconds=PATIENCE_S)


async def test_a_share_reaches_who_was_away_after_the_issuer_has_gone(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        images = await alice.import_pictures(2)
        await bob.node.close()
        (shared,) = await alice.share([one["id"] for one in images], ["bob"])
        await everything_mailed(alice, 3)
        await alice.node.close()

        await bob.restart()

        found = await held(bob, shared["id"])
        assert [one["name"] for one in found["images"]] == ["picture 000.jpg", "picture 001.jpg"]
        await bob.wait_ready(shared["id"])
        await connected(bob)
        await mailbox_empty(bob)
        await alice.restart()
        await alice.node.peering.reach(bob.me, PATIENCE_S)
        assert (await bob.open(shared["id"], "picture 000.jpg"))["opens_left"] == 9


async def test_what_was_shared_a_moment_before_the_issuer_went_arrives(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()

        async def alone() -> bool:
            return alice.node.peering.link(bob.me) is None

        await eventually(alone, seconds=PATIENCE_S)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await alice.node.close()

        await bob.restart()

        await held(bob, shared["id"])
        await alice.restart()


async def test_a_revocation_reaches_who_was_away_after_the_issuer_has_gone(
    tmp_path: Path,
) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await bob.node.close()
        await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)
        await everything_mailed(alice, 1)
        await alice.node.close()

        await bob.restart()

        async def revoked() -> bool:
            return bool((await held(bob, shared["id"]))["state"] == "revoked")

        await eventually(revoked, seconds=PATIENCE_S)
        assert len(await bob.events("revocation_seen")) == 1
        # The receipt goes the same way back.
        await everything_mailed(bob, 1)
        await bob.node.close()
        await alice.restart()
        await eventually(lambda: alice.events("revocation_seen"), seconds=PATIENCE_S)
        await bob.restart()


async def test_receipts_by_mail_show_a_share_as_delivered(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        (shared,) = await alice.share([image["id"]], ["bob"])
        await everything_mailed(alice, 2)
        assert not (await alice.node.granted.describe(bytes.fromhex(shared["id"])))["delivered"]
        await alice.node.close()
        await bob.restart()
        await held(bob, shared["id"])
        await everything_mailed(bob, 1)
        await bob.node.close()

        await alice.restart()

        async def delivered() -> bool:
            found = await alice.node.granted.describe(bytes.fromhex(shared["id"]))
            return bool(found["delivered"])

        await eventually(delivered, seconds=PATIENCE_S)
        await bob.restart()


async def test_a_newer_roster_reaches_who_was_away(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob", "carol") as (_, (alice, bob, carol)):
        await carol.node.close()
        before = alice.node.membership.version
        await alice.node.administering.role("bob", "reviewer")
        await roster_mailed(alice, carol, before + 1)
        await alice.node.close()
        await bob.node.close()

        await carol.restart()

        async def knows() -> bool:
            return carol.node.membership.role_of(bob.me) == "reviewer"

        await eventually(knows, seconds=PATIENCE_S)
        await alice.restart()
        await bob.restart()


async def test_mail_of_a_newcomer_waits_for_the_roster_that_names_them(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (server, (alice, bob)):
        carol = await new_person(tmp_path, "carol", alice.imaging)
        try:
            await bob.node.close()
            # The roster is to be mailed last.
            await alice.node.mailing._set_told(bob.me, 1_000)
            await join(alice, carol)
            await carol.node.rendezvous.use(server.address)
            await connected(carol)
            (image,) = await carol.import_pictures(1)
            (shared,) = await carol.share([image["id"]], ["bob"])
            await everything_mailed(carol, 2)
            await carol.node.close()
            await alice.node.mailing._set_told(bob.me, 0)
            alice.node.mailing.poke(bob.me)
            await roster_mailed(alice, bob, alice.node.membership.version)
            await alice.node.close()

            await bob.restart()

            await held(bob, shared["id"])
            assert bob.node.membership.member(carol.me) is not None
        finally:
            await carol.node.close()
            await alice.restart()


async def test_a_list_that_does_not_fit_leaves_the_mail_until_it_can_be_fetched(
    tmp_path: Path,
) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        (shared,) = await alice.share([image["id"]], ["bob"])
        sealed = await alice.read(
            lambda db: db.execute("SELECT body FROM outbox WHERE kind = 'capability'").fetchone()
        )
        await everything_mailed(alice, 2)
        await alice.node.close()
        await bob.restart()
        await held(bob, shared["id"])
        await bob.node.close()

        # The same without its list, to a vault that does not have it yet.
        await alice.restart()
        await connected(alice)
        (other,) = await alice.share([image["id"]], ["bob"])
        (body,) = await alice.read(
            lambda db: db.execute(
                "SELECT body FROM outbox WHERE kind = 'capability' ORDER BY message_id DESC LIMIT 1"
            ).fetchone()
        )
        assert body != sealed[0]
        await alice.node.context.database.write(
            lambda transaction: transaction.connection.execute("DELETE FROM outbox")
        )
        await mail_to(
            alice, bob, "capability", encode(MailedCapability(sealed=body, image_list=b""))
        )
        await alice.node.close()
        await bob.restart()
        await connected(bob)
        await asyncio.sleep(1)
        assert len((await bob.node.rendezvous.collect(0)).mails) >= 1
        assert other["id"] not in [one["id"] for one in await bob.node.inbox.held()]

        await alice.restart()

        await held(bob, other["id"])
        await mailbox_empty(bob)


async def test_mail_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await bob.node.close()
        await alice.node.amending.extend(capability=shared["id"], duration=None, opens=3)
        await everything_mailed(alice, 1)
        rows = await alice.read(
            lambda db: db.execute("SELECT body FROM outbox WHERE kind = 'amendment'").fetchall()
        )
        await bob.restart()

        async def extended() -> bool:
            return bool((await held(bob, shared["id"]))["opens_left"] == 13)

        await eventually(extended, seconds=PATIENCE_S)
        await connected(bob)
        message_id = system_entropy(16)
        for _ in range(2):
            await mail_to(alice, bob, "amendment", rows[0][0], message_id=message_id)
        await mail_to(alice, bob, "amendment", rows[0][0])

        await mailbox_empty(bob)

        assert (await held(bob, shared["id"]))["opens_left"] == 13
        assert len(await bob.events("amended")) == 1


async def test_mail_that_is_none_is_dropped_and_told_of(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        key = bob.node.context.identity.public.agreement_key
        dropped = await heard(bob, "mail_dropped")
        await alice.node.rendezvous.deposit(
            key,
            mail_id=system_entropy(16),
            expires_at=alice.clock.now() + 1_000_000,
            sealed=system_entropy(5_000),
        )

        assert (await asyncio.wait_for(dropped, PATIENCE_S))["name"] is None
        await mailbox_empty(bob)
        dropped = await heard(bob, "mail_dropped")
        for kind in ("capability", "manifest", "amendment", "revocation", "receipt", "roster"):
            await mail_to(alice, bob, kind, b"nonsense")
        await mail_to(alice, bob, "proposal", b"nonsense")

        assert (await asyncio.wait_for(dropped, PATIENCE_S))["name"] == "alice"
        await mailbox_empty(bob)
        assert await bob.node.inbox.held() == []


async def test_a_full_mailbox_is_told_of_and_the_share_stays_undelivered(tmp_path: Path) -> None:
    settings = RendezvousSettings(mails_per_sender=1)
    async with served_team(tmp_path, "alice", "bob", settings=settings) as (_, (alice, bob)):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        full = await heard(alice, "mailbox_full")

        shared = [(await alice.share([image["id"]], ["bob"]))[0]["id"] for _ in range(3)]

        assert (await asyncio.wait_for(full, PATIENCE_S))["name"] == "bob"
        listed = await alice.node.granted.shares(album=None, to=None, state=None)
        assert {one["delivered"] for one in listed} == {False}
        await bob.restart()
        for one in shared:
            await held(bob, one)


async def test_the_server_keeps_no_name_and_no_term(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alicia lindqvist", "bobby tables") as (_, (alice, bob)):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        await alice.share([image["id"]], ["bobby tables"], terms="canary terms")
        await everything_mailed(alice, 2)

        kept = b"".join(
            path.read_bytes() for path in (tmp_path / "rendezvous").rglob("*") if path.is_file()
        )

        assert len(kept) > 2_000
        for canary in (
            b"canary terms",
            b"picture 000",
            b"alicia lindqvist",
            b"bobby tables",
            b"Test team",
        ):
            assert canary not in kept
        await bob.restart()


async def test_nobody_mails_for_somebody_else(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob", "carol") as (_, (alice, bob, carol)):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await bob.node.close()
        await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)
        (signed,) = await alice.read(
            lambda db: db.execute("SELECT body FROM outbox WHERE kind = 'revocation'").fetchone()
        )
        await alice.node.context.database.write(
            lambda transaction: transaction.connection.execute("DELETE FROM outbox")
        )
        await alice.node.close()
        await bob.restart()
        await connected(bob)

        # Alice's own words, in a mail of Carol's.
        await mail_to(carol, bob, "revocation", signed)

        await mailbox_empty(bob)
        assert (await held(bob, shared["id"]))["state"] == "live"
        await alice.restart()


async def test_strangers_leave_no_mail(tmp_path: Path) -> None:
    async with served_team(tmp_path, "alice", "bob") as (server, (alice, bob)):
        mallory = await new_person(tmp_path, "mallory", alice.imaging)
        try:
            await mallory.node.membership.create("Another team")
            await mallory.node.rendezvous.use(server.address)
            assert not await mallory.node.rendezvous.settled(PATIENCE_S)
            assert mallory.node.rendezvous.state == "not_admitted"
            with pytest.raises(UnreachableError):
                await mail_to(mallory, bob, "receipt", b"x")
        finally:
            await mallory.node.close()


async def test_row_23_no_mail_goes_either_way_while_a_log_contradicts_itself(
    tmp_path: Path,
) -> None:
    async with served_team(tmp_path, "alice", "bob") as (_, (alice, bob)):
        alarms = bob.node.witnessing.alarms
        await alarms.sound(
            kind=FORK,
            about=alice.me,
            origin=origin_of(alice.me),
            detail="the log does not extend a head that it signed before",
            first=b"one",
            second=b"other",
            member=alice.node.context.identity.public,
        )
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await everything_mailed(alice, 1)

        async def left_there() -> bool:
            return alice.me in bob.node.mailing._waiting

        await eventually(left_there, seconds=PATIENCE_S)
        assert await bob.node.inbox.held() == []
        (image,) = await bob.import_pictures(1)
        await bob.share([image["id"]], ["alice"])
        await bob.node.mailing._send_due(absent_ms=0)
        mailed = await bob.read(
            lambda db: db.execute("SELECT count(mailed_at) FROM outbox").fetchone()
        )
        assert mailed == (0,)

        await alarms.clear(alarms.standing()[0].alarm_id)

        await held(bob, shared["id"])
