"""The node's process: locked or unlocked, reached by its control socket.

Belongs here: creating a home, the daemon's life, and which methods answer when.
Never here: services (``unlocked`` wires them), HTTP, or the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from node import dispatch
from node.cli.version import VERSION
from node.control.routes import ControlServer, Progress
from node.control.runtime import socket_path
from node.control.schema import Doctor, Lock, Params, Unlock
from node.errors import LockedError, UsageError
from node.imaging.pool import ImagingPool
from node.services.context import Context
from node.services.doctor import core_dumps, decoding, running
from node.services.events import Events
from node.services.findings import described
from node.services.whole import whole
from node.system import SystemClock, system_entropy
from node.unlocked import NO_RENDEZVOUS, Unlocked, split_address
from node.vault import log_store
from node.vault.process import protect_process
from node.vault.vault import Vault
from protocol.errors import LocalError
from protocol.identity import fingerprint_words, format_fingerprint
from protocol.rendezvous.address import parse_rendezvous_address

_CALLS_END_S: Final = 3.0
"""How long calls under way may still take when everything is locked or stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new identity; the recovery phrase exists nowhere else."""

    fingerprint: bytes
    words: tuple[str, ...]
    name: str
    recovery_phrase: str = field(repr=False)


def create_home(home: Path, *, name: str, passphrase: bytes) -> Created:
    """Create an identity and an empty vault in home."""
    protect_process()

    async def create() -> Created:
        vault, phrase = await Vault.create(
            home,
            name=name,
            passphrase=passphrase.decode(),
            clock=SystemClock(),
            entropy=system_entropy,
        )
        public = vault.identity.public
        await vault.close()
        return Created(
            fingerprint=public.fingerprint,
            words=tuple(fingerprint_words(public.fingerprint)),
            name=public.name,
            recovery_phrase=phrase,
        )

    return asyncio.run(create())


def run_node(home: Path, *, listen: str | None, mdns: bool, rendezvous: str | None) -> int:
    """Run the node of a home until it is told to stop; return the exit code."""
    if listen is not None:
        split_address(listen)
    if rendezvous is not None and rendezvous != NO_RENDEZVOUS:
        try:
            parse_rendezvous_address(rendezvous)
        except LocalError as error:
            raise UsageError(str(error), hint=error.hint) from error
    protect_process()
    _take_all_descriptors()
    app = App(home, listen=listen, mdns=mdns, rendezvous=rendezvous)
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run(app.run())
    return asyncio.run(app.run())


def _take_all_descriptors() -> None:
    """Raise the limit of open files as far as the system allows: links and pictures need some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _locked() -> LockedError:
    return LockedError("the vault is locked", hint="safelight unlock")


class App:
    """One node process. Answers ``status``, ``unlock`` and ``stop`` in every state."""

    def __init__(
        self,
        home: Path,
        *,
        listen: str | None,
        mdns: bool = False,
        rendezvous: str | None = None,
    ) -> None:
        self._home = home
        self._listen = listen
        self._mdns = mdns
        self._rendezvous = rendezvous
        """What the command line names, until the vault keeps it."""
        self._clock = SystemClock()
        self._started_at = self._clock.now()
        self._imaging = ImagingPool()
        self._node: Unlocked | None = None
        self._locked_by_user = asyncio.Event()
        self._changing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        """Calls under way."""

    async def run(self) -> int:
        """Serve the control API until a signal or ``stop``."""
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._stopping.set)
        await self._imaging.start()
        server = ControlServer(socket_path(self._home), self)
        try:
            await server.start()
            await self._stopping.wait()
            if self._node is not None:
                self._node.inviting.end_all("the node has stopped")
        finally:
            await server.close()
            async with self._changing:
                await self._close_vault()
            await self._imaging.close()
        return 0

    # The control API ------------------------------------------------------------------------------

    async def call(self, method: str, params: Params, progress: Progress) -> Any:
        """Answer one method, or raise LockedError where it needs an unlocked vault."""
        if method == "status":
            return await self._status()
        if method == "stop":
            asyncio.get_running_loop().call_later(0.05, self._stopping.set)
            return {}
        if isinstance(params, Unlock):
            return await self._unlock(params.passphrase)
        if isinstance(params, Lock):
            return await self._lock(full=params.full)
        if isinstance(params, Doctor):
            return await self._doctor(accept_clock=params.accept_clock)
        node = self._unlocked()
        task = asyncio.current_task()
        assert task is not None, "calls run in tasks"
        self._calls.add(task)
        try:
            return await dispatch.call(node, method, params, progress)
        finally:
            self._calls.discard(task)

    def stream(self, method: str, params: Params) -> AsyncGenerator[dict[str, Any], None]:
        """Answer a streaming method for as long as the vault is unlocked."""
        return self._while_unlocked(dispatch.stream(self._unlocked(), method, params))

    async def _while_unlocked(
        self, stream: AsyncGenerator[dict[str, Any], None]
    ) -> AsyncGenerator[dict[str, Any], None]:
        locked = asyncio.create_task(self._locked_by_user.wait())
        try:
            async with aclosing(stream) as events:
                while (event := await self._before(locked, anext(events, None))) is not None:
                    yield event
        finally:
            locked.cancel()

    async def _before(
        self, locked: asyncio.Task[Literal[True]], event: Awaitable[dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Return the next event; LockedError at once where the vault is locked before it comes."""
        coming = asyncio.ensure_future(event)
        try:
            await asyncio.wait({coming, locked}, return_when=asyncio.FIRST_COMPLETED)
            if locked.done() or self._node is None:
                raise _locked()
            return await coming
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _unlocked(self) -> Unlocked:
        if self._node is None or self._locked_by_user.is_set():
            raise _locked()
        return self._node

    # Locked and unlocked --------------------------------------------------------------------------

    async def _status(self) -> dict[str, Any]:
        node = self._node
        status: dict[str, Any] = {
            "state": "locked" if node is None or self._locked_by_user.is_set() else "unlocked",
            "locked_by_user": self._locked_by_user.is_set(),
            "serving": node is not None,
            "pid": os.getpid(),
            "home": str(self._home),
            "listen": [],
            "fingerprint": None,
            "peers": 0,
            "log_size": None,
            "log": None,
            "mdns": None,
            "rendezvous": None,
            "notice": None,
            "alarms": [],
            "decoding": {wall.name.value: wall.state.value for wall in self._imaging.walls},
        }
        if node is None:
            return status
        head = await node.context.database.read(log_store.head)
        return {
            **status,
            "listen": [f"{host}:{port}" for host, port in node.peering.listening],
            "fingerprint": format_fingerprint(node.context.me),
            "name": node.context.identity.public.name,
            "peers": len(node.peering.online()),
            "mdns": node.nearby.describe(),
            "rendezvous": node.rendezvous.describe(),
            "log_size": 0 if head is None else head.size,
            "log": node.incarnations.describe(),
            "notice": node.incarnations.notice() or node.membership.notice(),
            "alarms": await node.describe_alarms(),
        }

    async def _doctor(self, *, accept_clock: bool) -> dict[str, Any]:
        if accept_clock:
            await self._unlocked().accept_clock()
        node = None if self._locked_by_user.is_set() else self._node
        listening = [] if node is None else node.peering.listening
        findings = [
            running(VERSION, self._started_at, listening, locked=node is None),
            decoding(self._imaging.walls),
            core_dumps(),
        ]
        if node is not None:
            findings += await node.look_at_health()
        return {"checks": described(findings)}

    async def _unlock(self, passphrase: str) -> dict[str, Any]:
        """Open the vault, or the control API of one that went on serving."""
        async with self._changing:
            if self._node is None:
                await whole(self._open_vault(passphrase))
            else:
                # Also where it is unlocked already: a wrong passphrase is never called right.
                await self._node.context.vault.check_passphrase(passphrase)
                await self._node.log_keys.roll_if_due()
                self._node.pixels.open()
            self._locked_by_user.clear()
        return await self._status()

    async def _open_vault(self, passphrase: str) -> None:
        vault = await Vault.open(
            self._home, passphrase=passphrase, clock=self._clock, entropy=system_entropy
        )
        context = Context(
            vault=vault,
            imaging=self._imaging,
            clock=self._clock,
            entropy=system_entropy,
            events=Events(),
        )
        try:
            self._node = await Unlocked.start(
                context, listen=self._listen, mdns=self._mdns, rendezvous=self._rendezvous
            )
        except BaseException:
            await vault.close()
            raise
        self._rendezvous = None

    async def _lock(self, *, full: bool) -> dict[str, Any]:
        """Close the control API and drop pixels; ``full`` drops all keys and stops serving."""
        async with self._changing:
            self._locked_by_user.set()
            if self._node is not None:
                self._node.pixels.close()
                self._node.inviting.end_all("the vault was locked")
            if full:
                await whole(self._close_vault())
        return {"locked": True, "full": full}

    async def _close_vault(self) -> None:
        if self._node is not None:
            node, self._node = self._node, None
            await self._end_calls()
            await node.close()

    async def _end_calls(self) -> None:
        """Let calls under way end, then cancel the rest: none of them meets a closed vault."""
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=_CALLS_END_S)
        rest = set(self._calls)
        for call in rest:
            call.cancel()
        if rest:
            await asyncio.wait(rest)
