"""A rendezvous that speaks the protocol and means harm: the real server, parts of it replaced.

Belongs here: what it hears, scripted answers, what becomes of frames in circuits, and ends of
circuits that it keeps for itself; who meets it, and what it is never told of them.
Never here: what a node must do about it (the tests), or a second implementation of a server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from node.rendezvous.desk import Desk, Visitor
from node.rendezvous.presence import Attendant
from node.rendezvous.relay import Circuit as OpenCircuit
from node.rendezvous.relay import Relay
from node.rendezvous.server import Rendezvous
from node.system import SystemClock, system_entropy
from node.transport.dialer import dial_circuit
from node.transport.driver import Reply, Session
from node.transport.link import Link
from node.transport.websocket import WebSocketLink
from protocol.encoding import encode
from protocol.errors import Reason, Refused, SafelightError
from protocol.identity import Seeds, format_fingerprint, make_identity
from protocol.labels import NO_TEAM
from protocol.rendezvous.address import parse_rendezvous_address
from protocol.rendezvous.messages import NO_CALLER, Call, Circuit, Deposit, Ring
from tests.node.rendezvous.server import limits
from tests.node.services.conditions import cut, until
from tests.node.services.team import Person, team

Scripted: TypeAlias = Callable[[Visitor, Session, Any], Awaitable[Reply]]
Change: TypeAlias = Callable[[bytes], list[bytes]]

PATIENCE_S = 60
CLOCK = SystemClock()


def honest(message: bytes) -> list[bytes]:
    """Pass a message on as it is."""
    return [message]


class BadRendezvous(Rendezvous):
    """A server whose operator does what they like."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self.script: dict[type, Scripted] = {}
        """What answers a kind of request instead of what an honest server would."""
        self.heard: list[Any] = []
        """Every request of a node."""
        self.circuits: list[list[tuple[int, bytes]]] = []
        """Every message of each circuit, with the number of the end that sent it."""
        self.sessions: set[bytes] = set()
        """The session ids of all circuits."""
        self.change: Change = honest
        """What is passed on in the place of a message."""
        parts: dict[str, Any] = {
            "settings": self.settings, "metrics": self.metrics, "clock": self._clock,
        }  # fmt: skip
        self._relay = _BadRelay(self, entropy=self._entropy, **parts)
        self._desk = _BadDesk(
            self,
            teams=self._teams,
            presence=self._presence,
            relay=self._relay,
            slots=self._slots,
            mailbox=self._mailbox,
            journal=self._journal,
            **parts,
        )

    def attendant(self, person: Person) -> Attendant:
        """Return a member's side of their control session."""
        found = self._presence.find(person.node.membership.team_id, key_of(person))
        assert found is not None, f"{person.name} does not attend"
        return found

    async def tell(self, person: Person, message: Any) -> None:
        """Ask something of a member, whatever they answer."""
        with contextlib.suppress(SafelightError):
            await self.attendant(person).session.request(message)

    def deposits(self, person: Person) -> list[Deposit]:
        """Return all the mail that was ever left for a member."""
        key = key_of(person)
        return [one for one in self.heard if isinstance(one, Deposit) and one.recipient == key]

    # Circuits -------------------------------------------------------------------------------------

    def connect(self, visitor: Visitor, callee: Person) -> Circuit:
        """Give a caller a circuit to this member, whomever they called."""
        member = visitor.attendant
        assert member is not None
        ours, theirs, session = self._relay.open(
            team_id=member.team_id, owner=member.key, other=key_of(callee)
        )
        ring = Ring(caller=member.key, token=theirs, session=session, slot=0)
        self.attendant(callee).ring(ring)
        return Circuit(token=ours, session=session)

    async def take(self) -> tuple[Circuit, WebSocketLink]:
        """Return a circuit for a caller, and its other end, which the server keeps."""
        ours, theirs, session = self._relay.open(team_id=NO_TEAM, owner=NO_CALLER, other=None)
        return Circuit(token=ours, session=session), await self._end(theirs)

    async def ring(
        self, person: Person, *, caller: bytes, session: bytes | None = None, slot: int = 0
    ) -> tuple[WebSocketLink, bytes]:
        """Ring a member in somebody's name; return the caller's end, and the session id."""
        ours, theirs, fresh = self._relay.open(team_id=NO_TEAM, owner=NO_CALLER, other=None)
        session = session or fresh
        link = await self._end(ours)
        await self.tell(person, Ring(caller=caller, token=theirs, session=session, slot=slot))
        return link, session

    async def _end(self, token: bytes) -> WebSocketLink:
        place = parse_rendezvous_address(self.address)
        return await dial_circuit(place.host, place.port, token, timeout=PATIENCE_S)


class _BadDesk(Desk):
    def __init__(self, owner: BadRendezvous, **parts: Any) -> None:
        super().__init__(**parts)
        self._owner = owner

    async def answer(self, visitor: Visitor, session: Session, request: Any) -> Reply:
        self._owner.heard.append(request)
        if (scripted := self._owner.script.get(type(request))) is not None:
            return await scripted(visitor, session, request)
        return await super().answer(visitor, session, request)


class _BadRelay(Relay):
    def __init__(self, owner: BadRendezvous, settings: Any, metrics: Any, **parts: Any) -> None:
        super().__init__(settings, metrics, **parts)
        self._owner = owner
        self._recorded: dict[OpenCircuit, list[tuple[int, bytes]]] = {}

    def open(self, **facts: Any) -> tuple[bytes, bytes, bytes]:
        tokens = super().open(**facts)
        self._owner.sessions.add(tokens[2])
        return tokens

    async def _carry(self, circuit: OpenCircuit, source: Link, target: Link) -> None:
        if (recorded := self._recorded.get(circuit)) is None:
            recorded = self._recorded[circuit] = []
            self._owner.circuits.append(recorded)
        end = circuit._links.index(source)
        while (message := await source.receive()) is not None:
            recorded.append((end, message))
            circuit.moved_at = self._clock.monotonic()
            for changed in self._owner.change(message):
                await target.send((changed,))


def key_of(person: Person) -> bytes:
    """Return a person's agreement key."""
    return person.node.context.identity.public.agreement_key


@asynccontextmanager
async def bad_rendezvous(folder: Path) -> AsyncIterator[BadRendezvous]:
    """Run a server that is honest until a test says otherwise."""
    server = await BadRendezvous.start(
        folder,
        # It does not hold back what is to be tried a thousand times.
        settings=limits(
            messages_per_s=1_000,
            messages_burst=10_000,
            authentications_per_s=1_000,
            authentications_in_all_per_s=1_000,
        ),
        host="127.0.0.1",
        port=0,
        clock=CLOCK,
        entropy=system_entropy,
    )
    assert isinstance(server, BadRendezvous)
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def served(folder: Path, *names: str) -> AsyncIterator[tuple[BadRendezvous, list[Person]]]:
    """Hold nodes of one team that reach each other through a bad rendezvous only."""
    async with bad_rendezvous(folder / "rendezvous") as server, team(folder, *names) as people:
        assert server.claim is not None
        for person in people:
            # Nobody listens where anybody could know of.
            for other in people:
                if other is not person:
                    await person.node.membership.remove_addresses(other.me)
        await people[0].node.rendezvous.claim(server.address, server.claim)
        for person in people[1:]:
            await person.node.rendezvous.use(server.address)
        await until(
            lambda: (
                all(one.node.rendezvous.state == "connected" for one in people)
                and not any(one.node.directory.places(two.me) for one in people for two in people)
            ),
            seconds=PATIENCE_S,
        )
        await cut_all(*people)
        yield server, people


async def cut_all(*people: Person) -> None:
    """End every link, as a lost network does; those through the rendezvous come back."""
    for person in people:
        cut(person)
    # A node that has yet to notice would go on with what is dead.
    await asyncio.sleep(0.1)


async def all_reach(*people: Person) -> None:
    """Wait until everybody reaches everybody through the rendezvous."""
    for person in people:
        for other in people:
            if other is not person:
                link = await person.node.peering.reach(other.me, PATIENCE_S)
                assert link.session.relayed


def refuse_calls(server: BadRendezvous) -> None:
    """Let nobody reach anybody."""

    async def no(visitor: Visitor, session: Session, request: Any) -> Reply:
        raise Refused(Reason.NOT_READY)

    server.script[Call] = no


def raw(data: bytes) -> Any:
    """Return an answer of these very bytes."""
    made = msgspec.Raw(data)
    assert encode(made) == data
    return made


def stranger(name: str = "the server's own") -> Any:
    """Return an identity that is in no team."""
    return make_identity(Seeds.generate(system_entropy), name=name, now=CLOCK.now())


async def share_ready(alice: Person, bob: Person, **terms: Any) -> str:
    """Share a picture of a few frames of ciphertext; return the capability once it is ready."""
    (image,) = await alice.import_pictures(1, size=(1600, 1067))
    (shared,) = await alice.share([image["id"]], [bob.name], rendition="preview:1500", **terms)
    await bob.wait_ready(shared["id"])
    return str(shared["id"])


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
