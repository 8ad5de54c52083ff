"""The node's side of a rendezvous: attending, calling and being rung, slots, mail.

Belongs here: the one control session with the server in use, and the circuits it leads to.
Never here: what passes over a circuit (``peering``, ``joining``), what mail says
(``mailing``), or the server (``node.rendezvous``).

    off            no rendezvous is set
    connecting     a control session is being opened
    connected      the server has admitted this node: it rings, carries and keeps mail
    not_admitted   the server is there and does not know this node's team, or this node
    unreachable    the server is not there; it is tried again, ever more slowly, up to every 8 s

Nothing that the server says is trusted: circuits carry end-to-end channels, presence and
rings are hints, and mail is sealed and signed by its sender.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Literal, TypeAlias, TypeVar

from msgspec import Struct

from node.discovery.rendezvous_session import ask, deaf, open_circuit, open_session
from node.errors import NodeError, UnreachableError, UsageError
from node.faults import report_fault
from node.services.context import Context
from node.services.membership import Membership
from node.transport.driver import Reply, Session
from node.transport.websocket import WebSocketLink
from node.vault.database import WriteTransaction
from node.vault.records import team as rows
from protocol.errors import LocalError, Reason, Refused, SafelightError
from protocol.identity import LocalIdentity
from protocol.limits import MAX_MAILS_AT_ONCE, MAX_MEMBERS
from protocol.messages import Done
from protocol.rendezvous.address import RendezvousAddress, parse_rendezvous_address
from protocol.rendezvous.admission import admission_of, sign_admission
from protocol.rendezvous.messages import (
    Admit,
    Admitted,
    Attend,
    Attending,
    Call,
    Circuit,
    Claim,
    CloseSlot,
    Collect,
    Collected,
    Deposit,
    Mails,
    MailWaiting,
    OpenSlot,
    Present,
    Ring,
    ServerRequest,
    Slot,
)

State: TypeAlias = Literal["off", "connecting", "connected", "not_admitted", "unreachable"]
T = TypeVar("T", bound=Struct)

_FIRST_RETRY_S: Final = 0.2
_LAST_RETRY_S: Final = 8.0
_CHECK_S: Final = 3.0
"""How long the server may take to show that it is there after this machine moved."""
_ADMIT_S: Final = 10.0
"""Until a list of members that the server did not take is uploaded again."""
_MOST_RINGS: Final = 16
"""Circuits being answered at once: a server that rings without end gets no more of us."""


class RendezvousClient:
    """Keeps one control session with the rendezvous in use, and opens circuits through it."""

    def __init__(self, context: Context, membership: Membership) -> None:
        self._context = context
        self._membership = membership
        self.address: RendezvousAddress | None = None
        """The rendezvous in use, or None."""
        self.state: State = "off"
        self.problem = ""
        """Why it is not connected, as people read it; empty where there is nothing to say."""
        self._session: Session | None = None
        self._admitted = 0
        """The version of the admission in force, as the server says."""
        self._uploaded = 0
        """The roster version whose admission this node has signed and uploaded."""
        self._online: set[bytes] = set()
        self._task: asyncio.Task[None] | None = None
        self._rings: set[asyncio.Task[None]] = set()
        self._roster_changed = membership.watch()
        self._retry = asyncio.Event()
        self._settled = asyncio.Event()
        """The first attempt at the address in use has succeeded or failed."""
        self.on_ring: Callable[[WebSocketLink, bytes, bytes], Awaitable[None]] = _hang_up
        """Called with this end of a circuit, which is the callee's from then on, its session id
        and what the server says is the caller's agreement key; returns once the channel in it
        is open, or was not to be."""
        self.on_slot_ring: Callable[[WebSocketLink, int], Awaitable[None]] = _hang_up
        """Called with this end of a circuit that a stranger opened through a slot of ours, and
        the slot's number; the link is the callee's from then on."""
        self.on_presence: Callable[[], None] = lambda: None
        """Called whenever `online`, `state` or `problem` changed."""
        self.on_mail: Callable[[], None] = lambda: None
        """Called when mail waits, or may wait."""

    # Life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to attend the rendezvous that the vault names, if it names one."""
        kept = await self._context.database.read(rows.rendezvous)
        if kept:
            # Checked again: what another version wrote may be no address to this one.
            with contextlib.suppress(LocalError):
                self._attend(parse_rendezvous_address(kept))

    async def close(self) -> None:
        """Leave the rendezvous."""
        tasks = [*self._rings, *([] if self._task is None else [self._task])]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._set_state("off")

    async def use(self, text: str | None) -> None:
        """Use this rendezvous from now on, or none; durable on return. LocalError for bad text."""
        address = None if text is None else parse_rendezvous_address(text)

        def job(transaction: WriteTransaction) -> None:
            rows.set_rendezvous(transaction.connection, "" if address is None else address.text)

        await self._context.database.write(job)
        if address != self.address or self._task is None:
            await self.close()
            self._attend(address)

    def _attend(self, address: RendezvousAddress | None) -> None:
        self.address = address
        self._settled.clear()
        if address is not None:
            self._set_state("connecting")
            self._task = asyncio.create_task(self._keep(address), name="rendezvous")

    def check(self) -> None:
        """Find out at once whether the server is there: this machine moved, or slept."""
        self._retry.set()
        if (session := self._session) is not None:
            self._spawn(self._check(session))

    async def settled(self, timeout: float) -> bool:
        """Wait until it is known whether the server is there; say whether it is connected."""
        if self.address is None:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._settled.wait()
        return self.state == "connected"

    def describe(self) -> dict[str, str] | None:
        """Return the rendezvous in use as `status` shows it, or None where there is none."""
        if self.address is None:
            return None
        return {"address": self.address.text, "state": self.state, "problem": self.problem}

    # Asking ---------------------------------------------------------------------------------------

    @property
    def online(self) -> frozenset[bytes]:
        """The agreement keys of the members who attend now, as the server says."""
        return frozenset(self._online)

    async def call(self, agreement_key: bytes) -> tuple[WebSocketLink, bytes]:
        """Return this end of a circuit to a member, and its session id.

        UnreachableError where there is no server or nobody came, Refused where it says no.
        """
        address, circuit = self.address, await self._ask(Call(key=agreement_key), Circuit)
        assert address is not None, "who has a session has an address"
        return await open_circuit(address, circuit), circuit.session

    async def open_slot(self) -> Slot:
        """Return a slot in which one stranger with an invitation may come."""
        return await self._ask(OpenSlot(), Slot)

    async def close_slot(self, number: int) -> None:
        """Close a slot of ours."""
        await self._ask(CloseSlot(number=number), Done)

    async def deposit(
        self, recipient: bytes, *, mail_id: bytes, expires_at: int, sealed: bytes
    ) -> None:
        """Leave sealed mail for an agreement key; on return the server keeps it.

        Refused with the reason ``full`` or ``busy`` where it may later, ``unknown`` where the
        server does not serve that key.
        """
        await self._ask(
            Deposit(recipient=recipient, mail_id=mail_id, expires_at=expires_at, sealed=sealed),
            Done,
        )

    async def collect(self, after: int) -> Mails:
        """Return waiting mail numbered higher than this."""
        return await self._ask(Collect(after=after), Mails)

    async def collected(self, numbers: list[int]) -> None:
        """Let the server drop mail that was dealt with."""
        for start in range(0, len(numbers), MAX_MAILS_AT_ONCE):
            some = tuple(numbers[start : start + MAX_MAILS_AT_ONCE])
            await self._ask(Collected(numbers=some), Done)

    async def claim(self, text: str, secret: str) -> RendezvousAddress:
        """Register the team with a rendezvous by its claim secret, and use it from now on.

        UsageError for no address, UnreachableError, NodeError where the secret is not taken.
        """
        try:
            address = parse_rendezvous_address(text)
        except LocalError as error:
            raise UsageError(str(error), hint=error.hint) from error
        trusted = self._membership.trusted
        if trusted.role_of(self._context.me) != "admin":
            raise Refused(Reason.POLICY, "only an administrator registers the team")
        if trusted.roster.threshold > 1:
            raise NodeError(
                f"{trusted.roster.threshold} administrators have to sign in this team, "
                "and a rendezvous is claimed by one",
                code="threshold",
                hint="claim it with safelight team threshold 1, then raise it again",
            )
        session = await open_session(
            address,
            static_secret=self._context.identity.agreement_secret,
            handler=deaf,
            clock=self._context.clock,
            entropy=self._context.entropy,
        )
        try:
            await ask(session, Claim(secret=secret, admission=self._admission()), Done)
        except Refused as refusal:
            if refusal.reason is Reason.BUSY:
                raise Refused(
                    Reason.BUSY, "too many claims from this address", hint="wait a minute"
                ) from None
            raise NodeError(
                "the rendezvous does not take that claim secret",
                code="claim",
                hint="it is good for one team and one claim; its operator finds the present one "
                "where the server runs",
            ) from refusal
        finally:
            await session.close()
        await self.use(text)
        return address

    async def admit(self) -> None:
        """Upload the admission of the roster in use, signed by this node, where that is due."""
        version = self._membership.version
        if (
            self._session is None
            or version <= max(self._admitted, self._uploaded)
            or self._membership.role_of(self._context.me) != "admin"
        ):
            return
        answer = await self._ask(Admit(admission=self._admission()), Admitted)
        self._uploaded = version
        self._admitted = max(self._admitted, answer.version)

    def _admission(self) -> bytes:
        identity: LocalIdentity = self._context.identity
        return sign_admission(admission_of(self._membership.trusted), (identity,))

    async def _ask(self, message: Struct, kind: type[T]) -> T:
        if (session := self._session) is None:
            raise UnreachableError(
                "there is no connection to the rendezvous",
                hint=self.problem or "safelight node status says more",
            )
        return await ask(session, message, kind)

    # The control session --------------------------------------------------------------------------

    async def _keep(self, address: RendezvousAddress) -> None:
        """Attend, and again after each end; back off while it fails."""
        pause = _FIRST_RETRY_S
        while True:
            self._retry.clear()
            try:
                if await self._attend_once(address):
                    pause = _FIRST_RETRY_S
                    self._set_state("unreachable", "the connection to the rendezvous has ended")
                else:
                    self._set_state(
                        "not_admitted", "the rendezvous does not serve this node's team, or not yet"
                    )
            except SafelightError as error:
                self._set_state("unreachable", str(error))
            except Exception as error:  # noqa: BLE001  one fault must not end the work for good
                report_fault("the rendezvous", error)
                self._set_state("unreachable", "a fault of this node")
            jitter = 0.75 + self._context.entropy(1)[0] / 512
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * jitter):
                    await self._retry.wait()
            pause = min(pause * 2, _LAST_RETRY_S)

    async def _attend_once(self, address: RendezvousAddress) -> bool:
        """Attend until the session ends; say whether this node was admitted."""
        session = await open_session(
            address,
            static_secret=self._context.identity.agreement_secret,
            handler=self._answer,
            clock=self._context.clock,
            entropy=self._context.entropy,
        )
        try:
            try:
                attending = await ask(session, Attend(team_id=self._membership.team_id), Attending)
            except Refused as refusal:
                if refusal.reason is not Reason.NOT_MEMBER:
                    raise
                return False
            self._session, self._admitted, self._uploaded = session, attending.version, 0
            self._online = set(attending.online)
            self._set_state("connected")
            self.on_mail()
            await self._keep_admission(session)
            return True
        finally:
            self._session = None
            self._online.clear()
            await session.close()

    async def _keep_admission(self, session: Session) -> None:
        """Keep the server's list of members up to the roster until the session ends."""
        while not session.closed.is_set():
            self._roster_changed.clear()
            pause = None
            try:
                await self.admit()
            except SafelightError:
                pause = _ADMIT_S
            waits = [
                asyncio.create_task(event.wait())
                for event in (session.closed, self._roster_changed)
            ]
            try:
                await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()

    async def _check(self, session: Session) -> None:
        """End a session whose server answers no more."""
        try:
            async with asyncio.timeout(_CHECK_S):
                await session.request(Attend(team_id=self._membership.team_id))
        except (SafelightError, TimeoutError):
            await session.close()

    def _set_state(self, state: State, problem: str = "") -> None:
        if state != "connecting":
            self._settled.set()
        if (state, problem) != (self.state, self.problem):
            self.state, self.problem = state, problem
            self._context.events.tell("rendezvous", state=state, problem=problem)
            self.on_presence()

    # What the server asks -------------------------------------------------------------------------

    async def _answer(self, session: Session, request: ServerRequest) -> Reply:
        match request:
            case Ring():
                if len(self._rings) >= _MOST_RINGS:
                    raise Refused(Reason.BUSY)
                self._spawn(self._rung(request))
            case Present():
                if not request.online:
                    self._online.discard(request.key)
                elif len(self._online) < MAX_MEMBERS:
                    self._online.add(request.key)
                self.on_presence()
            case MailWaiting():
                self.on_mail()
        return Done()

    async def _rung(self, ring: Ring) -> None:
        """Take this end of a circuit to whoever it is for."""
        if self.address is None:
            return
        circuit = Circuit(token=ring.token, session=ring.session)
        link = await open_circuit(self.address, circuit)
        if ring.slot:
            await self.on_slot_ring(link, ring.slot)
        else:
            await self.on_ring(link, ring.session, ring.caller)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._rings.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._rings.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SafelightError):
            report_fault("a circuit", error)


async def _hang_up(link: WebSocketLink, *_about: object) -> None:
    """Let a circuit go that nobody waits for."""
    await link.close()
