"""Links to team-mates: dialled, accepted, called, greeted, kept up.

Belongs here: the loops that keep members reached, and the greeting that opens each link.
Never here: the ways of one attempt (``racing``), which link is preferred (``links``), what is
said on a link (``incoming``, ``delivery``), how rosters pass over it (``roster_exchange``), or
bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol
from weakref import WeakSet

from node.discovery.directory import Directory, Place, Relay
from node.errors import UnreachableError
from node.faults import report_fault
from node.services.context import Context
from node.services.links import Link, Links
from node.services.log_keys import LogKeyring
from node.services.loops import forever
from node.services.membership import Address, Membership
from node.services.racing import Racing, Wake
from node.services.roster_exchange import RosterExchange
from node.services.witnessing import Witnessing
from node.transport.dialer import open_channel_over
from node.transport.driver import Reply, Session
from node.transport.link import Link as Carrier
from node.transport.listener import Listener, ListenError
from node.transport.websocket import WebSocketLink
from node.vault.database import WriteTransaction
from node.vault.records import team as rows
from protocol.errors import Reason, Refused, SafelightError
from protocol.identity import Identity
from protocol.messages import (
    AnnounceLogKey,
    Done,
    FetchHead,
    FetchLogKeys,
    Hello,
    Request,
    RosterFetch,
    RosterUpdate,
)

__all__ = ["Link", "Peering", "Serve"]

_FIRST_RETRY_S: Final = 0.2
_LAST_RETRY_S: Final = 8.0
_GREETING_TIMEOUT_S: Final = 15.0
_FAREWELL_S: Final = 3.0
"""How long a former member may take to fetch the roster in which they are none, and somebody who
refused the greeting to end its own."""
_STRANGER_S: Final = 10.0
"""How long somebody with an unknown key may take to show a newer roster."""


class Serve(Protocol):
    """Answers a member's request."""

    def __call__(self, link: Link, request: Request) -> Awaitable[Reply]:
        """Return the answer, or raise Refused."""
        ...


@dataclass(slots=True, eq=False)
class _Keeping:
    """The loop that keeps one member reached."""

    task: asyncio.Task[None]
    wake: Wake


class Peering:
    """Keeps a link to every member who can be reached, and accepts theirs."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        log_keys: LogKeyring,
        witnessing: Witnessing,
        directory: Directory,
        relay: Relay | None = None,
    ) -> None:
        self._context = context
        self._membership = membership
        self._log_keys = log_keys
        self._witnessing = witnessing
        self._directory = directory
        self._relay = relay
        self._serve: Serve | None = None
        self._listener: Listener | None = None
        self._rosters = RosterExchange(membership)
        self._links = Links(context.me, context.clock, spawn=self.spawn)
        self._racing = Racing(
            context,
            membership,
            directory,
            relay,
            self._links,
            handler=self._answer,
            begin=self._begin,
        )
        self._keeping: dict[bytes, _Keeping] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._strangers: WeakSet[Session] = WeakSet()
        """Sessions whose peer has had its one request."""
        self._leaving: WeakSet[Session] = WeakSet()
        """Sessions of former members, who may still fetch the roster without them."""
        self._at_relay: frozenset[bytes] = frozenset()
        self._loading = asyncio.Lock()
        """Held while the directory is read again."""
        self._arrived = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None
        self.on_link: Callable[[bytes], None] = lambda _fingerprint: None
        """Called with a member's fingerprint once a link is greeted."""
        self.on_joining: Callable[[WebSocketLink], Awaitable[None]] | None = None
        """Talks with a newcomer over the link given; set before ``start``."""
        directory.changed = partial(self._wake, fresh=True)
        log_keys.on_new = self._tell_log_key
        witnessing.alarms.on_stop = self._stop_dealings
        if relay is not None:
            relay.on_ring = self._rung
            relay.on_presence = self._presence_changed

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
            on_joining=self.on_joining,
            clock=self._context.clock,
            entropy=self._context.entropy,
        )
        await listener.start()
        return listener

    async def close(self) -> None:
        """Stop listening and dialling, and close every link."""
        if self._listener is not None:
            await self._listener.close()
        tasks = [one.task for one in self._keeping.values()]
        tasks += [self._watch] if self._watch is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # What ends may begin something at its end; nothing new comes from outside any more.
        while self._tasks or self._links:
            running = list(self._tasks)
            for work in running:
                work.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for links in list(self._links.values()):
                for link in list(links):
                    await link.session.close()
                    self._links.forget(link)

    @property
    def listening(self) -> list[Address]:
        """Where this node listens."""
        return [] if self._listener is None else list(self._listener.addresses)

    def open_joining(self, is_open: bool) -> None:
        """Let newcomers in, or no longer."""
        assert self._listener is not None, "invitations are opened after start"
        self._listener.joining_open = is_open

    # Who is reached -------------------------------------------------------------------------------

    def online(self) -> set[bytes]:
        """Return the fingerprints of the members with a greeted link."""
        return {one for one in self._links.online() if self._membership.member(one) is not None}

    def link(self, fingerprint: bytes) -> Link | None:
        """Return the greeted link to a member that new requests go over, or None."""
        if self._membership.member(fingerprint) is None:
            return None
        return self._links.best(fingerprint)

    def stopped(self, fingerprint: bytes) -> bool:
        """Say whether there are no dealings with a member because of their log."""
        return self._witnessing.alarms.stopped(fingerprint)

    def check_dealings(self, fingerprint: bytes) -> None:
        """Raise UnreachableError with the code ``fork`` where there are none with a member."""
        if self.stopped(fingerprint):
            raise UnreachableError(
                f"the log of {self._membership.name_of(fingerprint)} contradicts itself: there are "
                "no dealings with them",
                code="fork",
                hint="safelight audit alarms; then ask that person, in another way than this",
            )

    def _stop_dealings(self, fingerprint: bytes) -> None:
        for link in self._links.get(fingerprint, []):
            # On one that is being greeted there are none, and its other end is told why.
            if link.heard.is_set():
                self.spawn(link.session.close())

    def describe(self, fingerprint: bytes) -> dict[str, str]:
        """Return by which ``path`` a member is reached (lan, relay, none), and ``why`` by that."""
        member = self._membership.member(fingerprint)
        if member is None:
            return {"path": "none", "why": "they are not a member"}
        if self.stopped(fingerprint):
            return {"path": "none", "why": "their log contradicts itself: safelight audit alarms"}
        return self._racing.describe(member)

    async def reach(self, fingerprint: bytes, timeout: float) -> Link:
        """Return a greeted link to a member, dialling at once; UnreachableError after timeout s.

        Its code is ``fork`` where dealings with that member have stopped.
        """
        self.check_dealings(fingerprint)
        if (link := self.link(fingerprint)) is not None:
            return link
        self._wake(fingerprint, fresh=True)
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

    # Keeping members reached ----------------------------------------------------------------------

    async def _watch_addresses(self) -> None:
        """Keep one loop for each other member."""
        while True:
            async with self._loading:
                self._membership.changed.clear()
                await self._directory.load()
            self._tell_roster()
            members = self._membership.trusted.members if self._membership.founded else {}
            for fingerprint in members:
                if fingerprint in self._keeping:
                    self._wake(fingerprint, fresh=True)
                elif fingerprint != self._context.me:
                    wake = Wake()
                    task = asyncio.create_task(
                        forever(partial(self._keep, fingerprint, wake), "dialling"), name="keep"
                    )
                    self._keeping[fingerprint] = _Keeping(task=task, wake=wake)
            for former in [one for one in self._keeping if one not in members]:
                self._keeping.pop(former).task.cancel()
            await self._membership.changed.wait()

    def _wake(self, fingerprint: bytes, *, fresh: bool = False) -> None:
        """Look at once whether a member is reached as well as can be."""
        if (keeping := self._keeping.get(fingerprint)) is not None:
            keeping.wake.set(fresh=fresh)

    async def _keep(self, fingerprint: bytes, wake: Wake) -> None:
        """Try to reach a member directly, wait until that is lost, again; back off while it fails.

        While a member is reached through the rendezvous, the direct ways are tried on.
        """
        pause = _FIRST_RETRY_S
        while (member := self._membership.member(fingerprint)) is not None:
            wake.clear()
            if self._links.direct(fingerprint):
                await wake.event.wait()
                pause = _FIRST_RETRY_S
                continue
            async with self._loading:
                # What was changed a moment ago counts: an address that was removed is not dialled.
                if self._membership.changed.is_set():
                    await self._directory.load()
            if await self._racing.race(member, wake):
                pause = _FIRST_RETRY_S
                continue
            # Whoever can wake this loop cannot make it spin.
            await asyncio.sleep(_FIRST_RETRY_S * self._jitter())
            rest = (pause - _FIRST_RETRY_S) * self._jitter()
            longer = rest if self._racing.anything(member) else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longer):
                    await wake.event.wait()
                    pause = _FIRST_RETRY_S
            pause = min(pause * 2, _LAST_RETRY_S)

    def _jitter(self) -> float:
        """Return 0.75 to 1: a team that lost its network together does not dial together."""
        return 0.75 + self._context.entropy(1)[0] / 1024

    def recheck(self) -> None:
        """Find out at once which links are left: this machine has moved, or slept."""
        for links in self._links.values():
            for link in links:
                self.spawn(self._links.probe(link))
        for fingerprint in self._keeping:
            self._wake(fingerprint, fresh=True)

    # The rendezvous -------------------------------------------------------------------------------

    def _presence_changed(self) -> None:
        """Call who has come to the rendezvous."""
        assert self._relay is not None, "only a rendezvous tells"
        connected = self._relay.state == "connected"
        before, self._at_relay = self._at_relay, self._relay.online if connected else frozenset()
        for key in self._at_relay - before:
            member = self._membership.member_by_agreement(key)
            if member is not None:
                self._wake(member.fingerprint)

    async def _rung(self, carrier: Carrier, session_id: bytes, _caller: bytes) -> None:
        """Take a call. Whose it is, the handshake says, and not the rendezvous."""
        session = await open_channel_over(
            carrier,
            remote_static=None,
            static_secret=self._context.identity.agreement_secret,
            team_id=self._membership.team_id,
            handler=self._answer,
            clock=self._context.clock,
            entropy=self._context.entropy,
            relay_session=session_id,
        )
        self._accepted(session)

    # Rosters told ---------------------------------------------------------------------------------

    def _tell_roster(self) -> None:
        """Close the links of former members, and tell the others of a newer roster."""
        for fingerprint, links in list(self._links.items()):
            for link in links:
                if self._membership.member(fingerprint) is None:
                    if link.session not in self._leaving:
                        self._leaving.add(link.session)
                        self.spawn(self._tell_former(link))
                elif link.greeted and link.roster_told < self._membership.version:
                    link.roster_told = self._membership.version
                    self.spawn(self._rosters.tell(link.session))

    async def _tell_former(self, link: Link) -> None:
        """Let a former member fetch the roster that says so, then end the link."""
        with contextlib.suppress(SafelightError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                if link.greeted:
                    await link.session.request(self._rosters.mine())
        await link.session.close()

    def _tell_log_key(self, signed: bytes) -> None:
        """Tell everybody who is reached of a new log key, before any head that it signs."""
        for links in list(self._links.values()):
            for link in links:
                if link.greeted:
                    self.spawn(link.session.request(AnnounceLogKey(signed=signed)))

    # Links ----------------------------------------------------------------------------------------

    def _accepted(self, session: Session) -> None:
        """Greet a member who dialled; a stranger first has to show a roster."""
        member = self._membership.member_by_agreement(session.peer_key)
        if member is not None:
            self._greet_back(self._link_of(session, member))
        else:
            self.spawn(self._end_stranger(session))

    def _greet_back(self, link: Link) -> None:
        """Greet whoever dialled, once, as soon as they are known to be a member.

        A roster from somebody else may say so while their session is open already.
        """
        if not link.begun and not link.session.initiator:
            link.begun = True
            self.spawn(self._begin(link.session, link.member))

    async def _end_stranger(self, session: Session) -> None:
        """Close the session of somebody who has not shown a roster with themselves in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STRANGER_S):
                await session.closed.wait()
        if self._membership.member_by_agreement(session.peer_key) is None:
            await session.close()

    async def _begin(self, session: Session, member: Identity, place: Place | None = None) -> bool:
        """Keep a link while its session lives; say whether the greeting succeeded."""
        link = self._link_of(session, member)
        link.begun = True
        link.place = place
        try:
            async with asyncio.timeout(_GREETING_TIMEOUT_S):
                await self._greet(link)
                await link.heard.wait()
        except (SafelightError, TimeoutError) as error:
            if isinstance(error, Refused):
                await self._hear_out(link)
            await session.close()
            return False
        if link.greeted or session.closed.is_set():
            return link.greeted
        news = not self._links.greeted(member.fingerprint)
        self._links.greet(link)
        self._tell_roster()
        self._wake(member.fingerprint)
        async with self._arrived:
            self._arrived.notify_all()
        self.spawn(self._note_contact(link))
        if news:
            self._context.events.tell("peer", name=member.name, online=True)
        self.on_link(member.fingerprint)
        return True

    async def _hear_out(self, link: Link) -> None:
        """Let a member who refused the greeting end its own.

        It says which head of this node's log it holds, and that may be why: a node that was
        restored from a backup learns so by nothing else.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await link.answered.wait()

    def _add_link(self, session: Session, member: Identity) -> Link:
        link = Link(session=session, member=member)
        self._links.add(link)
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
            await link.session.request(self._rosters.mine())
            await link.session.request(hello)

    async def _hello(self, fingerprint: bytes) -> Hello:
        member = self._membership.member(fingerprint)
        if member is None:
            raise Refused(Reason.NOT_MEMBER)
        mine, yours = await self._witnessing.heads(member)
        return Hello(
            roster_version=self._membership.version,
            roster_hash=self._membership.roster_hash,
            my_head=mine,
            your_head=yours,
            log_keys=len((await self._log_keys.own()).statements),
        )

    async def _forget_when_closed(self, link: Link) -> None:
        await link.session.closed.wait()
        link.answered.set()
        fingerprint = link.member.fingerprint
        self._links.forget(link)
        self._wake(fingerprint)
        if link.greeted and not self._links.greeted(fingerprint):
            self._context.events.tell("peer", name=link.member.name, online=False)

    async def _note_contact(self, link: Link) -> None:
        fingerprint, now = link.member.fingerprint, self._context.clock.now()

        def job(transaction: WriteTransaction) -> None:
            rows.seen(transaction.connection, fingerprint, now)

        await self._context.database.write(job)
        if link.place is not None:
            await self._directory.proved(fingerprint, link.place)

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
                return await self._rosters.versions(request)
            case FetchHead():
                return await self._witnessing.answer_head(request)
            case FetchLogKeys():
                return await self._log_keys.answer(request)
            case AnnounceLogKey():
                return await self._log_keys.announced(session, member, request.signed)
        if not link.heard.is_set() or self.stopped(member.fingerprint):
            # No dealings on a channel on which the heads of both logs were not exchanged, nor
            # with somebody whose log contradicts itself.
            raise Refused(Reason.NOT_READY)
        assert self._serve is not None, "sessions exist only after start"
        return await self._serve(link, request)

    async def _hear_stranger(self, session: Session, request: Request) -> Reply:
        """Answer the one request that somebody unknown has; then they are known, or gone."""
        if isinstance(request, RosterFetch) and session in self._leaving:
            return await self._rosters.versions(request)
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
        self._greet_back(link)
        try:
            await self._rosters.hear(session, hello.roster_version, hello.roster_hash)
            await self._witnessing.check_heads(session, member, hello)
            link.heard.set()
        finally:
            link.answered.set()
        return Done()

    async def _take_roster(self, session: Session, update: RosterUpdate) -> Reply:
        await self._rosters.hear(session, update.version, update.hash)
        member = self._membership.member_by_agreement(session.peer_key)
        if member is None:
            self.spawn(session.close())
            raise Refused(Reason.NOT_MEMBER)
        self._greet_back(self._link_of(session, member))
        return Done()
