"""A malicious rendezvous repeats, edits, invents and keeps mail: nothing changes for real nodes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from node.rendezvous.desk import Visitor
from node.system import system_entropy
from node.transport.driver import Reply, Session
from node.vault.records import Connection
from protocol.encoding import encode
from protocol.errors import AuthenticationError, Reason, Refused
from protocol.identity import sign_statement
from protocol.labels import NO_TEAM, PROLOGUE_MAIL, SignatureType
from protocol.limits import MAIL_LIFETIME_MS
from protocol.mail import MailBody
from protocol.noise.one_way import open_from_untrusted
from protocol.rendezvous.messages import Collected, Deposit
from tests.attacks.bad_mail import leave, mail, sealed, told_of_mail
from tests.attacks.bad_rendezvous import (
    CLOCK,
    PATIENCE_S,
    BadRendezvous,
    all_reach,
    key_of,
    served,
    share_ready,
    stranger,
)
from tests.attacks.mallory import enlisted
from tests.node.services.conditions import until
from tests.node.services.team import Person, eventually


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
        await person.node.inbox.held(),
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
            states = {one["id"]: one for one in await bob.node.inbox.held()}
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
        (held,) = await bob.node.inbox.held()
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
            assert visitor.attendant is not None
            await server._desk._answer_member(visitor.attendant, request)
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
