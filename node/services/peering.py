"""Links to team-mates: dialled, accepted, greeted, kept up.

Belongs here: which sessions exist, the greeting that opens each, and the dial
loops with their backoff.
Never here: what is said on a link (``incoming``, ``delivery``), or bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol
from weakref import WeakSet, WeakValueDictionary

from node.errors import UnreachableError
from node.faults import report_fault
from node.services.context import Context
from node.services.loops import RETRY_S, forever
from node.services.membership import Address, Membership
from node.services.witnessing import Witnessing
from node.transport.dialer import dial
from node.transport.driver import Reply, Session, SessionClosedError
from node.transport.listener import Listener, ListenError
from node.vault.database import WriteTransaction
from node.vault.records import team as rows
from protocol.errors import (
    Reason,
    Refused,
    RemoteError,
    RemoteProtocolError,
    SafelightError,
)
from protocol.identity import Identity
from protocol.limits import MAX_ROSTER_UPDATE_BYTES
from protocol.messages import Done, FetchHead, Hello, Request, RosterFetch, RosterUpdate, Streamed

_FIRST_RETRY_S: Final = 0.2
_LAST_RETRY_S: Final = 30.0
_DIAL_TIMEOUT_S: Final = 5.0
_GREETING_TIMEOUT_S: Final = 15.0
_ROSTER_S: Final = 10.0
"""How long the versions of a roster may take to come."""
_MOST_LINKS: Final = 4
"""Links with one member: two arise where both dial at once; more are never needed."""
_STRANGER_S: Final = 10.0
"""How long somebody with an unknown key may take to show a newer roster."""


class Serve(Protocol):
    """Answers a member's request."""

    def __call__(self, link: Link, request: Request) -> Awaitable[Reply]:
        """Return the answer, or raise Refused."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Link:
    """A session with a member."""

    session: Session
    member: Identity
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """The member's own greeting has passed: their log is the one they showed before."""
    greeted: bool = False
    """Both greetings have passed."""
    roster_told: int = 0
    """The newest roster version that this side has told of."""


@dataclass(slots=True, eq=False)
class _Dialling:
    """The loop that keeps one member reached."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Peering:
    """Keeps a link to every member with a known address, and accepts theirs."""

    def __init__(self, context: Context, membership: Membership, witnessing: Witnessing) -> None:
        self._context = context
        self._membership = membership
        self._witnessing = witnessing
        self._serve: Serve | None = None
        self._listener: Listener | None = None
        self._links: dict[bytes, list[Link]] = {}
        self._dialling: dict[bytes, _Dialling] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._strangers: WeakSet[Session] = WeakSet()
        """Sessions whose peer has had its one request."""
        self._fetching_roster: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        """By agreement key: a peer that stalls holds up nobody else."""
        self._arrived = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None
        self.on_link: Callable[[bytes], None] = lambda _fingerprint: None
        """Called with a member's fingerprint once a link is greeted."""

    # Life -----------------------------------------------------------------------------------------

    async def start(self, *, host: str, port: int, any_port: bool, serve: Serve) -> None:
        """Listen on a port, or where that is taken and any will do on another; begin to dial."""
        self._serve = serve
        try:
            self._listener = await self._listen(host, port)
        except ListenError:
            if not any_port:
                raise
            self._listener = await self._listen(host, 0)
        self._watch = asyncio.create_task(
            forever(self._watch_addresses, "watching addresses"), name="addresses"
        )

    async def _listen(self, host: str, port: int) -> Listener:
        listener = Listener(
            host=host,
            port=port,
            static_secret=self._context.identity.agreement_secret,
            team_id=lambda: self._membership.team_id,
            handler=self._answer,
            on_session=self._accepted,
            clock=self._context.clock,
            entropy=self._context.entropy,
        )
        await listener.start()
        return listener

    async def close(self) -> None:
        """Stop dialling and close every link."""
        tasks = [one.task for one in self._dialling.values() if one.task is not None]
        tasks += [self._watch] if self._watch is not None else []
        for task in tasks:
            task.cancel()
        running = list(self._tasks)
        for work in running:
            work.cancel()
        await asyncio.gather(*tasks, *running, return_exceptions=True)
        for links in list(self._links.values()):
            for link in list(links):
                await link.session.close()
        if self._listener is not None:
            await self._listener.close()

    @property
    def listening(self) -> list[Address]:
        """Where this node listens."""
        return [] if self._listener is None else list(self._listener.addresses)

    # Who is reached -------------------------------------------------------------------------------

    def online(self) -> set[bytes]:
        """Return the fingerprints of the members with a greeted link."""
        return {
            fingerprint
            for fingerprint, links in self._links.items()
            if any(link.greeted for link in links)
        }

    def link(self, fingerprint: bytes) -> Link | None:
        """Return a greeted link to a member, or None."""
        links = self._links.get(fingerprint, [])
        return next((link for link in reversed(links) if link.greeted), None)

    async def reach(self, fingerprint: bytes, timeout: float) -> Link:  # noqa: ASYNC109
        """Return a greeted link to a member, dialling at once; UnreachableError after timeout s."""
        if (link := self.link(fingerprint)) is not None:
            return link
        if (dialling := self._dialling.get(fingerprint)) is not None:
            dialling.wake.set()
        try:
            async with asyncio.timeout(timeout), self._arrived:
                while (link := self.link(fingerprint)) is None:
                    await self._arrived.wait()
                return link
        except TimeoutError:
            name = self._membership.name_of(fingerprint)
            raise UnreachableError(
                f"{name} was not reached in {timeout:.0f} s",
                hint=f"is their node running? add an address: safelight peers add {name} HOST:PORT",
            ) from None

    async def ping(self, fingerprint: bytes) -> float | None:
        """Return the round trip to a member in milliseconds, or None where there is no link."""
        if (link := self.link(fingerprint)) is None:
            return None
        before = self._context.clock.monotonic()
        try:
            async with asyncio.timeout(5):
                await link.session.request(await self._hello(fingerprint))
        except (TimeoutError, SafelightError):
            return None
        return float(self._context.clock.monotonic() - before)

    # Dialling -------------------------------------------------------------------------------------

    async def _watch_addresses(self) -> None:
        """Keep one dial loop for each member with an address."""
        while True:
            self._membership.changed.clear()
            self._tell_roster()
            known = await self._context.database.read(rows.addresses)
            for fingerprint in known:
                if fingerprint == self._context.me or self._membership.member(fingerprint) is None:
                    continue
                dialling = self._dialling.setdefault(fingerprint, _Dialling())
                dialling.wake.set()
                if dialling.task is None:
                    dialling.task = asyncio.create_task(
                        forever(partial(self._keep, fingerprint, dialling), "dialling"),
                        name="dial",
                    )
            await self._membership.changed.wait()

    def _tell_roster(self) -> None:
        """Close the links of former members, and tell the others of a newer roster."""
        for fingerprint, links in list(self._links.items()):
            for link in links:
                if self._membership.member(fingerprint) is None:
                    self.spawn(link.session.close())
                elif link.greeted and link.roster_told < self._membership.version:
                    link.roster_told = self._membership.version
                    self.spawn(self._tell_one(link))

    async def _tell_one(self, link: Link) -> None:
        """Tell a member of a newer roster, until they have taken it or the link is gone."""
        while True:
            try:
                await link.session.request(self._my_roster())
            except SessionClosedError:
                return
            except SafelightError:
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _my_roster(self) -> RosterUpdate:
        return RosterUpdate(version=self._membership.version, hash=self._membership.roster_hash)

    async def _keep(self, fingerprint: bytes, dialling: _Dialling) -> None:
        """Dial until reached, wait until lost, again; back off while it fails."""
        pause = _FIRST_RETRY_S
        while True:
            dialling.wake.clear()
            links = self._links.get(fingerprint)
            if links:
                await links[-1].session.closed.wait()
                pause = _FIRST_RETRY_S
            elif await self._dial_once(fingerprint):
                pause = _FIRST_RETRY_S
                continue
            jitter = 0.75 + self._context.entropy(1)[0] / 512
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * jitter):
                    await dialling.wake.wait()
                    pause = _FIRST_RETRY_S
            pause = min(pause * 2, _LAST_RETRY_S)

    async def _dial_once(self, fingerprint: bytes) -> bool:
        """Try a member's addresses in turn; say whether one led to a link."""
        places = (await self._context.database.read(rows.addresses)).get(fingerprint, [])
        member = self._membership.member(fingerprint)
        if member is None:
            return False
        for host, port in places:
            with contextlib.suppress(SafelightError, OSError, TimeoutError):
                session = await dial(
                    host,
                    port,
                    remote_static=member.agreement_key,
                    static_secret=self._context.identity.agreement_secret,
                    team_id=self._membership.team_id,
                    handler=self._answer,
                    clock=self._context.clock,
                    entropy=self._context.entropy,
                    timeout=_DIAL_TIMEOUT_S,
                )
                if await self._begin(session, member):
                    return True
        return False

    # Links ----------------------------------------------------------------------------------------

    def _accepted(self, session: Session) -> None:
        """Greet a member who dialled; a stranger first has to show a roster."""
        member = self._membership.member_by_agreement(session.peer_key)
        if member is not None:
            self.spawn(self._begin(session, member))
        else:
            self.spawn(self._end_stranger(session))

    async def _end_stranger(self, session: Session) -> None:
        """Close the session of somebody who has not shown a roster with themselves in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STRANGER_S):
                await session.closed.wait()
        if self._membership.member_by_agreement(session.peer_key) is None:
            await session.close()

    async def _begin(self, session: Session, member: Identity) -> bool:
        """Keep a link while its session lives; say whether the greeting succeeded."""
        link = self._link_of(session, member)
        try:
            async with asyncio.timeout(_GREETING_TIMEOUT_S):
                await self._greet(link)
                await link.heard.wait()
        except (SafelightError, TimeoutError):
            await session.close()
            return False
        link.greeted = True
        self._tell_roster()
        async with self._arrived:
            self._arrived.notify_all()
        self.spawn(self._note_contact(member.fingerprint))
        self._context.events.tell("peer", name=member.name, online=True)
        self.on_link(member.fingerprint)
        return True

    def _add_link(self, session: Session, member: Identity) -> Link:
        link = Link(session=session, member=member)
        links = self._links.setdefault(member.fingerprint, [])
        links.append(link)
        for old in links[:-_MOST_LINKS]:
            self.spawn(old.session.close())
        self.spawn(self._forget_when_closed(link))
        return link

    async def _greet(self, link: Link) -> None:
        hello = await self._hello(link.member.fingerprint)
        link.roster_told = hello.roster_version
        try:
            await link.session.request(hello)
        except Refused as refusal:
            if refusal.reason is not Reason.NOT_MEMBER:
                raise
            await link.session.request(self._my_roster())
            await link.session.request(hello)

    async def _hello(self, fingerprint: bytes) -> Hello:
        mine, yours = await self._witnessing.heads(fingerprint)
        return Hello(
            roster_version=self._membership.version,
            roster_hash=self._membership.roster_hash,
            my_head=mine,
            your_head=yours,
        )

    async def _forget_when_closed(self, link: Link) -> None:
        await link.session.closed.wait()
        self._links[link.member.fingerprint].remove(link)
        if not self._links[link.member.fingerprint]:
            del self._links[link.member.fingerprint]
            self._context.events.tell("peer", name=link.member.name, online=False)

    async def _note_contact(self, fingerprint: bytes) -> None:
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> None:
            rows.seen(transaction.connection, fingerprint, now)

        await self._context.database.write(job)

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run work beside everything else, until it ends or the node stops."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, SafelightError):
            report_fault("a link", error)

    # Requests -------------------------------------------------------------------------------------

    async def _answer(self, session: Session, request: Request) -> Reply:
        """Answer a request of a session; a stranger may only show a roster (4.6)."""
        member = self._membership.member_by_agreement(session.peer_key)
        if member is None:
            return await self._hear_stranger(session, request)
        link = self._link_of(session, member)
        match request:
            case Hello():
                return await self._greeted(link, request)
            case RosterUpdate():
                return await self._take_roster(session, request)
            case RosterFetch():
                stream = await self._membership.versions_after(request.have_version)
                return Streamed(length=len(stream)), _once(stream)
            case FetchHead():
                return await self._witnessing.answer_head(request)
        if not link.heard.is_set():
            # No dealings on a channel on which the heads of both logs were not exchanged.
            raise Refused(Reason.NOT_READY)
        assert self._serve is not None, "sessions exist only after start"
        return await self._serve(link, request)

    async def _hear_stranger(self, session: Session, request: Request) -> Reply:
        """Answer the one request that somebody unknown has; then they are known, or gone."""
        if not isinstance(request, RosterUpdate):
            raise Refused(Reason.NOT_MEMBER)
        if session in self._strangers:
            self.spawn(session.close())
            raise Refused(Reason.NOT_MEMBER)
        self._strangers.add(session)
        return await self._take_roster(session, request)

    def _link_of(self, session: Session, member: Identity) -> Link:
        """Return the link of a member's session."""
        for link in self._links.get(member.fingerprint, []):
            if link.session is session:
                return link
        return self._add_link(session, member)

    async def _greeted(self, link: Link, hello: Hello) -> Reply:
        session, member = link.session, link.member
        if hello.roster_version > self._membership.version:
            try:
                await self._fetch_roster(session)
            except Refused as refusal:
                if refusal.reason is not Reason.POLICY:
                    raise
                # Two histories of the team: both sides know each other, what was granted goes on.
                self._context.events.tell("roster_conflict", name=member.name)
        elif (
            hello.roster_version == self._membership.version
            and hello.roster_hash != self._membership.roster_hash
        ):
            # Both sides know each other: what was granted goes on (4.6).
            self._context.events.tell("roster_conflict", name=member.name)
        await self._witnessing.check_heads(session, member, hello)
        link.heard.set()
        return Done()

    async def _take_roster(self, session: Session, update: RosterUpdate) -> Reply:
        if update.version > self._membership.version:
            await self._fetch_roster(session)
        member = self._membership.member_by_agreement(session.peer_key)
        if member is None:
            self.spawn(session.close())
            raise Refused(Reason.NOT_MEMBER)
        if not self._link_of(session, member).greeted:
            self.spawn(self._begin(session, member))
        return Done()

    async def _fetch_roster(self, session: Session) -> None:
        """Fetch and accept the peer's newer roster versions; Refused where they are not good."""
        lock = self._fetching_roster.setdefault(session.peer_key, asyncio.Lock())
        try:
            async with asyncio.timeout(_ROSTER_S), lock:
                _, stream = await session.request_stream(
                    RosterFetch(have_version=self._membership.version)
                )
                received = bytearray()
                async for piece in stream:
                    received += piece
                    if len(received) > MAX_ROSTER_UPDATE_BYTES:
                        raise Refused(Reason.UNKNOWN, "roster update is over its limit")
                await self._membership.update_untrusted(bytes(received))
        except TimeoutError:
            raise Refused(Reason.NOT_READY) from None
        except RemoteProtocolError:
            # Genuine, and of another history of the team than the one known here.
            raise Refused(Reason.POLICY) from None
        except RemoteError:
            raise Refused(Reason.NOT_MEMBER) from None


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
