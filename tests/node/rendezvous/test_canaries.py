"""Names, terms and pictures of the clients are nowhere in the server: file, journal or memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.system import SystemClock, system_entropy
from node.transport.dialer import open_channel_over
from node.transport.driver import Reply, Session
from protocol.encoding import encode
from protocol.identity import LocalIdentity, Seeds, export_identity_file, make_identity
from protocol.joining.code import InvitationCode
from protocol.joining.session import Accepted, Inviter, Joiner
from protocol.mail import MailBody, seal_mail
from protocol.messages import Deliver, DeliverStatement, Done
from protocol.rendezvous.admission import Admission, sign_admission
from protocol.rendezvous.messages import (
    Attend,
    Attending,
    Call,
    Circuit,
    Claim,
    Collect,
    Deposit,
    JoinSlot,
    Mails,
    OpenSlot,
    Slot,
)
from tests.node.rendezvous.members import PATIENCE_S, TEAM, Member, hang_up, receive
from tests.node.rendezvous.process import Server, serving

PICTURE = b"canary picture " + bytes(range(256)) * 100
TERMS = "canary terms: for the autumn catalogue, in print only"
TEAM_NAME = "canary team Zwirbelwind"
CODE = InvitationCode(number=7, words=("walnut", "orbit"))
CANARIES = (b"canary", b"Zwirbelwind", PICTURE[20:84], b"walnut-orbit")


def someone(name: str) -> LocalIdentity:
    clock = SystemClock()
    return make_identity(
        Seeds.generate(system_entropy), name=f"canary {name} Zwirbelwind", now=clock.now()
    )


async def take_note(session: Session, request: object) -> Reply:
    return Done()


async def test_nothing_of_the_clients_is_in_files_journal_or_memory(tmp_path: Path) -> None:
    alice, bob, eve = someone("alice"), someone("bob"), someone("eve")
    with serving(tmp_path / "data") as server:
        one = await Member(server.place, "").connect(secret=alice.agreement_secret)
        other = await Member(server.place, "").connect(secret=bob.agreement_secret)
        assert server.claim is not None
        body = encode(
            Admission(
                team_id=TEAM,
                version=1,
                threshold=1,
                administrators=(alice.public.identity_key,),
                keys=tuple(sorted((alice.public.agreement_key, bob.public.agreement_key))),
            )
        )
        signed = sign_admission(body, [alice])
        await one.ask(Claim(secret=server.claim, admission=signed), Done)
        for member in (one, other):
            await member.ask(Attend(team_id=TEAM), Attending)
        await send_through_a_circuit(one, other, alice, bob)
        await send_mail(one, other, alice, bob)
        await join_by_code(server, one, alice, eve)
        # What the server knows is found, so what it does not know would be.
        found = set(find_in_memory(server, (alice.public.agreement_key, TEAM, *CANARIES)))
        await hang_up(one, other)
    for path in (*sorted((tmp_path / "data").iterdir()), server.log):
        content = path.read_bytes()
        assert [canary for canary in CANARIES if canary in content] == [], path.name

    assert found == {alice.public.agreement_key, TEAM}


async def send_through_a_circuit(
    caller: Member, callee: Member, alice: LocalIdentity, bob: LocalIdentity
) -> None:
    circuit = await caller.ask(Call(key=bob.public.agreement_key), Circuit)
    ring = await callee.ring()
    ends = await asyncio.gather(caller.join(circuit), callee.join(ring))
    facts: dict[str, Any] = {
        "team_id": TEAM,
        "handler": take_note,
        "clock": SystemClock(),
        "entropy": system_entropy,
        "relay_session": circuit.session,
    }
    ours, theirs = await asyncio.gather(
        open_channel_over(
            ends[0],
            remote_static=bob.public.agreement_key,
            static_secret=alice.agreement_secret,
            **facts,
        ),
        open_channel_over(
            ends[1],
            remote_static=None,
            static_secret=bob.agreement_secret,
            **facts,
        ),
    )
    await ours.request(Deliver(sealed=PICTURE))
    await theirs.request(DeliverStatement(statement=TERMS, signed=PICTURE))
    await ours.close()
    await theirs.close()


async def send_mail(
    sender: Member, recipient: Member, alice: LocalIdentity, bob: LocalIdentity
) -> None:
    expires_at = SystemClock().now() + 3_600_000
    sealed = seal_mail(
        MailBody(
            message_id=bytes(16),
            recipient=bob.public.fingerprint,
            sequence=1,
            expires_at=expires_at,
            kind="amendment",
            body=TERMS.encode() + PICTURE,
        ),
        sender=alice,
        recipient=bob.public,
        team_id=TEAM,
        entropy=system_entropy,
    )
    mail = Deposit(
        recipient=bob.public.agreement_key,
        mail_id=bytes(16),
        expires_at=expires_at,
        sealed=sealed,
    )
    await sender.ask(mail, Done)
    mails = await recipient.ask(Collect(after=0), Mails)
    assert [content for _, content in mails.mails] == [sealed]


async def join_by_code(
    server: Server, host: Member, alice: LocalIdentity, eve: LocalIdentity
) -> None:
    slot = await host.ask(OpenSlot(), Slot)
    stranger = await Member(server.place, "").connect(secret=system_entropy(32))
    theirs = await stranger.join(await stranger.ask(JoinSlot(number=slot.number), Circuit))
    ours = await host.join(await host.ring())
    joiner = Joiner(CODE, eve, export_identity_file(eve, []), system_entropy)
    inviter = Inviter(CODE, alice, system_entropy)
    message: bytes | None = joiner.first()
    async with asyncio.timeout(PATIENCE_S):
        while message is not None:
            await theirs.send([message])
            answer = inviter.receive_untrusted(await receive(ours) or b"")
            if inviter.joiner_file is not None:
                answer = inviter.accept(
                    Accepted(
                        team_id=TEAM,
                        team_name=TEAM_NAME,
                        role="editor",
                        version=2,
                        roster_hash=bytes(32),
                        certificate=alice.public.certificate,
                        addresses=(),
                        rendezvous=server.address,
                    )
                )
            assert answer is not None
            await ours.send([answer])
            message = joiner.receive_untrusted(await receive(theirs) or b"")
    assert joiner.accepted.team_name == TEAM_NAME
    await hang_up(stranger)
    await ours.close()
    await theirs.close()


def find_in_memory(server: Server, wanted: tuple[bytes, ...]) -> Iterator[bytes]:
    """Yield what of this stands somewhere in the memory of the server's process."""
    if os.geteuid() != 0:
        pytest.skip("only root reads the memory of a process that keeps others out")
    regions = Path(f"/proc/{server.pid}/maps").read_text().splitlines()
    with Path(f"/proc/{server.pid}/mem").open("rb", buffering=0) as memory:
        for line in regions:
            span, rights, *_ = line.split()
            start, end = (int(one, 16) for one in span.split("-"))
            if not rights.startswith("rw"):
                continue
            with contextlib.suppress(OSError, ValueError):  # not every region can be read
                memory.seek(start)
                content = memory.read(end - start)
                yield from (one for one in wanted if one in content)
