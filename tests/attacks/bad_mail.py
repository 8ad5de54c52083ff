"""Mail of a rendezvous that means harm: made by whomever, and put into mailboxes.

Belongs here: sealing mail that says anything, leaving it, and waiting until it was looked at.
Never here: what a node must make of it (the tests).
"""

from __future__ import annotations

from typing import Any

from node.rendezvous.desk import Visitor
from node.system import system_entropy
from node.transport.driver import Reply, Session
from protocol.encoding import encode
from protocol.identity import sign_statement
from protocol.labels import PROLOGUE_MAIL, SignatureType
from protocol.limits import MAIL_LIFETIME_MS
from protocol.mail import MailBody
from protocol.noise.one_way import seal_to
from protocol.rendezvous.messages import NO_CALLER, Collect, Deposit, Mails, MailWaiting
from tests.attacks.bad_rendezvous import CLOCK, PATIENCE_S, BadRendezvous, key_of
from tests.node.services.conditions import until
from tests.node.services.team import Person


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
        assert visitor.attendant is not None
        answer = await server._desk._answer_member(visitor.attendant, request)
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
