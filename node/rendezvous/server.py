"""The rendezvous server: what it listens to, and how it starts and ends.

Belongs here: the two paths, the way of a connection from the accept to its session or circuit.
Never here: bounds on strangers (``door``), what requests do (``desk``), the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from node.faults import reported_faults
from node.ports import Clock
from node.rendezvous.admission import Teams
from node.rendezvous.desk import Desk, Visitor
from node.rendezvous.folder import DataFolder
from node.rendezvous.journal import Journal
from node.rendezvous.link import ControlLink, hang_up_unheard
from node.rendezvous.mailbox import Mailbox
from node.rendezvous.metrics import Metrics, MetricsPage
from node.rendezvous.pace import Turnstile
from node.rendezvous.presence import Presence
from node.rendezvous.relay import Relay
from node.rendezvous.settings import RendezvousSettings
from node.rendezvous.slots import Slots
from node.rendezvous.store import Store
from node.transport.codec import Codec
from node.transport.door import HEADERS, Bounds, Door, address_of, not_found
from node.transport.driver import Session, SessionClosedError
from node.transport.listener import ListenError
from node.transport.websocket import (
    CIRCUIT_PATH,
    CLOSE_S,
    MAX_FRAME_BYTES,
    RENDEZVOUS_PATH,
    WebSocketLink,
)
from protocol.channel.connection import Connection
from protocol.channel.states import Role
from protocol.labels import NO_TEAM
from protocol.primitives import Entropy, x25519_public
from protocol.rendezvous.address import RendezvousAddress
from protocol.rendezvous.messages import (
    decode_node_answer_untrusted,
    decode_node_request_untrusted,
)

SERVER_CODEC: Final = Codec(decode_node_request_untrusted, decode_node_answer_untrusted)
"""What a node says to a rendezvous."""

_BACKLOG: Final = 1024
_SWEEP_S: Final = 0.5
_MAIL_SWEEPS: Final = 120
"""Sweeps between two looks for expired mail: a minute."""


class Rendezvous:
    """One server on one data folder. Made by `start`, ended by `close`."""

    def __init__(
        self,
        *,
        folder: DataFolder,
        store: Store,
        teams: Teams,
        slots: Slots,
        settings: RendezvousSettings,
        metrics: Metrics,
        journal: Journal,
        secret: bytes,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.address = ""
        """``HOST:PORT/KEY``."""
        self.listening: tuple[str, int] = ("", 0)
        """Where it listens: the first address and its port."""
        self.claim: str | None = None
        """The secret that is good for a claim at the start, or None."""
        self._folder = folder
        self._store = store
        self._teams = teams
        self._journal = journal
        self._secret = secret
        self._clock = clock
        self._entropy = entropy
        self._presence = Presence()
        self._slots = slots
        self._relay = Relay(settings, metrics, clock=clock, entropy=entropy)
        self._mailbox = Mailbox(store, settings, metrics, folder=folder.path, clock=clock)
        self._desk = Desk(
            teams=teams,
            presence=self._presence,
            relay=self._relay,
            slots=self._slots,
            mailbox=self._mailbox,
            settings=settings,
            metrics=metrics,
            journal=journal,
            clock=clock,
        )
        self._turnstile = Turnstile(
            per_address=settings.authentications_per_s,
            in_all=settings.authentications_in_all_per_s,
            clock=clock,
        )
        self._door = Door(
            self._handle,
            bounds=Bounds(
                per_address=settings.connections_per_address,
                in_all=settings.connections_unproved,
                request_bytes=settings.header_bytes,
                request_s=settings.upgrade_s,
                proof_s=settings.authentication_s,
            ),
            serves=(RENDEZVOUS_PATH, CIRCUIT_PATH).__contains__,
            turn=self._turn,
            accepted=metrics.accepted,
            refused=metrics.turned_away,
        )
        self._page = MetricsPage(metrics, self.gauges)
        self._sessions: set[Session] = set()
        self._listening: asyncio.AbstractServer | None = None
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep(), name="sweeper")

    @classmethod
    async def start(
        cls,
        path: Path,
        *,
        host: str,
        port: int,
        clock: Clock,
        entropy: Entropy,
        settings: RendezvousSettings | None = None,
        public: tuple[str, int] | None = None,
        new_claim: bool = False,
        write: Callable[[str], None] = lambda line: None,
        failed: Callable[[], None] = lambda: None,
    ) -> Rendezvous:
        """Open the data folder at path and listen on host and port, 0 for any.

        ``public`` is the host and port that the address names, where others reach it by other
        ones; port 0 is the one it listens on. ``new_claim`` makes a claim secret although there is
        a team. ``write`` is given the lines of the journal. ``failed`` is called once the disk has
        failed.

        Raises ListenError where the address cannot be had, DataFolderBusyError, and what the
        storage raises.
        """
        settings = settings or RendezvousSettings()
        async with contextlib.AsyncExitStack() as undo:
            folder = DataFolder(path)
            undo.callback(folder.close)
            secret = folder.key(entropy)
            store = await Store.open(folder.database, failed=failed)
            undo.push_async_callback(store.close)
            teams = await Teams.load(store, settings)
            slots = await Slots.load(store, settings, clock=clock, entropy=entropy)
            server = cls(
                folder=folder,
                store=store,
                teams=teams,
                slots=slots,
                settings=settings,
                metrics=Metrics(),
                journal=Journal(write, clock=clock, entropy=entropy),
                secret=secret,
                clock=clock,
                entropy=entropy,
            )
            undo.pop_all()
        try:
            server.claim = await teams.open_claim(entropy, new=new_claim)
            await server._listen(host, port, public)
        except BaseException:
            await server.close()
            raise
        return server

    async def close(self) -> None:
        """Stop listening, end every session and circuit, and let the data folder go."""
        if self._listening is not None:
            self._listening.close()
        self._sweeper.cancel()
        self._turnstile.close()
        self._relay.close()
        await self._page.close()
        await asyncio.gather(*(session.close() for session in list(self._sessions)))
        await self._door.shutdown()
        await asyncio.wait({self._sweeper})
        await self._store.close()
        self._folder.close()
        self._journal.tell("ended")

    async def show_metrics(self, port: int) -> int:
        """Serve metrics on a port of this machine alone, 0 for any; return the port."""
        try:
            return await self._page.start(port)
        except OSError as error:
            raise ListenError(f"cannot serve metrics on {port}: {error.strerror}") from None

    def gauges(self) -> Mapping[str, int]:
        """Return what there is now."""
        return {
            "unproved_connections": self._door.unproved,
            "attending": len(self._presence),
            "open_circuits": len(self._relay),
            "open_slots": len(self._slots),
            "teams": len(self._teams),
            "waiting_mails": self._mailbox.waiting.mails,
            "waiting_mail_bytes": self._mailbox.waiting.size,
        }

    async def _listen(self, host: str, port: int, public: tuple[str, int] | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            # An empty host is every address of both families.
            self._listening = await loop.create_server(
                self._door, host if host != "::" else None, port, backlog=_BACKLOG
            )
        except OSError as error:
            raise ListenError(
                f"cannot listen on {host}:{port}: {error.strerror or error}",
                hint="name another address: --listen HOST:PORT, port 0 for any",
            ) from None
        bound = self._listening.sockets[0].getsockname()
        self.listening = (bound[0], bound[1])
        name, number = public or (host, 0)
        self.address = RendezvousAddress(
            host=name, port=number or self.listening[1], key=x25519_public(self._secret)
        ).text
        self._journal.tell("started", teams=len(self._teams))

    # Connections ----------------------------------------------------------------------------------

    def _turn(self, path: str, address: str) -> asyncio.Future[None] | None:
        if path == CIRCUIT_PATH and self._desk.attended_from(address):
            return None  # a member's, most likely, and those wait behind no stranger
        return self._turnstile.enter(address)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        upgrade = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=MAX_FRAME_BYTES, timeout=CLOSE_S
        )
        transport = request.transport
        if (
            transport is None
            # No browser has business here, and nothing is to be negotiated.
            or "Origin" in request.headers
            or "Sec-WebSocket-Protocol" in request.headers
            or not upgrade.can_prepare(request)
        ):
            return not_found()
        upgrade.headers.update(HEADERS)
        await upgrade.prepare(request)
        if request.path_qs == CIRCUIT_PATH:
            await self._serve_circuit(upgrade, transport)
        else:
            await self._serve_control(upgrade, transport)
        return upgrade

    async def _serve_circuit(
        self, upgrade: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        link = WebSocketLink(upgrade, transport)
        served = False
        with reported_faults("a circuit"):
            served = await self._relay.serve(link, partial(self._door.proved, transport))
        if served:
            await link.close()
        else:
            await hang_up_unheard(transport)

    async def _serve_control(
        self, upgrade: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        visitor = Visitor(
            address=address_of(transport), proved=partial(self._door.proved, transport)
        )
        connection = Connection(
            role=Role.RESPONDER,
            static_secret=self._secret,
            remote_static=None,
            team_id=NO_TEAM,
            entropy=self._entropy,
            now=self._clock.monotonic(),
        )
        link = ControlLink(
            upgrade,
            transport,
            settings=self.settings,
            clock=self._clock,
            on_stall=self._on_stall,
        )
        try:
            session = await Session.open(
                link,
                connection,
                initiator=False,
                clock=self._clock,
                handler=partial(self._desk.answer, visitor),
                codec=SERVER_CODEC,
            )
        except SessionClosedError:
            return
        link.proved = True
        self.metrics.authentications += 1
        self._door.give(transport, self.settings.authentication_s)
        self._sessions.add(session)
        try:
            await session.closed.wait()
        finally:
            self._sessions.discard(session)
            self._desk.leave(visitor)
            await session.close()

    def _on_stall(self) -> None:
        self.metrics.dropped += 1

    # Time -----------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """End what is over, again and again."""
        sweeps = 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            sweeps += 1
            with reported_faults("the sweeper"):
                self._relay.sweep()
                if sweeps % _MAIL_SWEEPS == 1:
                    await self._slots.sweep()
                    await self._mailbox.sweep()
