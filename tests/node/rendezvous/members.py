"""Nodes as a rendezvous sees them: keys, signed lists, control sessions and circuits."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from node.system import SystemClock, system_entropy
from node.transport.codec import Codec
from node.transport.dialer import dial, dial_circuit
from node.transport.driver import Reply, Session
from node.transport.websocket import RENDEZVOUS_PATH, WebSocketLink
from protocol.encoding import encode
from protocol.errors import Reason, Refused
from protocol.identity import LocalIdentity
from protocol.labels import NO_TEAM
from protocol.messages import Done, Message
from protocol.primitives import blake2b, x25519_public
from protocol.rendezvous.address import RendezvousAddress, parse_rendezvous_address
from protocol.rendezvous.admission import Admission, sign_admission
from protocol.rendezvous.messages import (
    Attend,
    Attending,
    Circuit,
    Claim,
    Present,
    Ring,
    ServerRequest,
    decode_server_answer_untrusted,
    decode_server_request_untrusted,
)
from tests.protocol.people import person

T = TypeVar("T")

CODEC = Codec(decode_server_request_untrusted, decode_server_answer_untrusted)
TEAM = blake2b(b"a team")
PATIENCE_S = 60


def secret_of(name: str) -> bytes:
    """Return the agreement secret of a made-up member."""
    return person(name).agreement_secret if name in ADMINS else blake2b(name.encode())


@functools.cache
def key_of(name: str) -> bytes:
    """Return a member's agreement key."""
    return x25519_public(secret_of(name))


ADMINS = ("alice", "bob", "carol")
"""Those who have whole identities, to sign lists with."""


def admission(
    members: Iterable[str],
    *,
    version: int = 1,
    threshold: int = 1,
    admins: Iterable[str] = ("alice",),
    signers: Iterable[str] | None = None,
    team: bytes = TEAM,
) -> bytes:
    """Return a signed list of members; the administrators sign it unless others are named."""
    admins = tuple(admins)
    body = encode(
        Admission(
            team_id=team,
            version=version,
            threshold=threshold,
            administrators=tuple(sorted(person(one).public.identity_key for one in admins)),
            keys=tuple(sorted(map(key_of, members))),
        )
    )
    signing: list[LocalIdentity] = [person(one) for one in (admins if signers is None else signers)]
    return sign_admission(body, signing)


class Member:
    """One control session, and what the server has asked on it."""

    def __init__(self, address: RendezvousAddress, name: str) -> None:
        self.address = address
        self.name = name
        self.session: Session
        self.rings: asyncio.Queue[Ring] = asyncio.Queue()
        self.online: set[bytes] = set()
        self.mail = asyncio.Event()
        self.told: list[ServerRequest] = []

    async def hear(self, session: Session, request: ServerRequest) -> Reply:
        """Take what the server says."""
        self.told.append(request)
        if isinstance(request, Ring):
            self.rings.put_nowait(request)
        elif isinstance(request, Present):
            (self.online.add if request.online else self.online.discard)(request.key)
        else:
            self.mail.set()
        return Done()

    async def connect(self, *, secret: bytes | None = None) -> Member:
        """Open the session."""
        self.session = await dial(
            self.address.host,
            self.address.port,
            remote_static=self.address.key,
            static_secret=secret or secret_of(self.name),
            team_id=NO_TEAM,
            handler=self.hear,
            clock=SystemClock(),
            entropy=system_entropy,
            timeout=PATIENCE_S,
            path=RENDEZVOUS_PATH,
            codec=CODEC,
        )
        return self

    async def attend(self, team: bytes = TEAM) -> Attending:
        """Attend."""
        answer = await self.ask(Attend(team_id=team), Attending)
        self.online |= set(answer.online)
        return answer

    async def ask(self, message: Message, kind: type[T]) -> T:
        """Return the answer, of this kind."""
        async with asyncio.timeout(PATIENCE_S):
            answer: Any = await self.session.request(message)
        assert isinstance(answer, kind)
        return answer

    async def ring(self) -> Ring:
        """Return the next ring."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.rings.get()

    async def join(self, circuit: Circuit | Ring) -> WebSocketLink:
        """Return this member's end of a circuit."""
        return await circuit_end(self.address, circuit.token)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something was told."""
        await until(condition)

    async def close(self) -> None:
        """Hang up."""
        await self.session.close()


async def visitor(address: str, name: str) -> Member:
    """Return somebody who is connected and does not attend."""
    return await Member(parse_rendezvous_address(address), name).connect()


async def refusal(member: Member, message: Message) -> Reason:
    """Return why a request is refused."""
    with pytest.raises(Refused) as caught:
        await member.session.request(message)
    return caught.value.reason


async def circuit_end(address: RendezvousAddress, token: bytes) -> WebSocketLink:
    """Return the end of a circuit that this token admits to."""
    return await dial_circuit(address.host, address.port, token, timeout=PATIENCE_S)


async def receive(link: WebSocketLink) -> bytes | None:
    """Return the next message, or None at the end, however slow the machine."""
    async with asyncio.timeout(PATIENCE_S):
        return await link.receive()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def attending(address: str, *names: str, team: bytes = TEAM) -> AsyncIterator[Any]:
    """Let members attend, and hang up in the end."""
    members = [Member(parse_rendezvous_address(address), name) for name in names]
    try:
        for member in members:
            await member.connect()
            await member.attend(team)
        yield members
    finally:
        await hang_up(*members)


async def hang_up(*members: Member) -> None:
    """End sessions that were opened."""
    for member in members:
        if hasattr(member, "session"):
            await member.close()


async def claim(address: str, secret: str | None, *names: str, **facts: Any) -> None:
    """Register a team of these members."""
    assert secret is not None
    member = await Member(parse_rendezvous_address(address), "alice").connect()
    try:
        await member.ask(Claim(secret=secret, admission=admission(names, **facts)), Done)
    finally:
        await member.close()
