"""Reaching the node of a home: starting it where none runs, unlocking it where it must be.

Belongs here: the way from a command to the control API.
Never here: what a method takes or gives, or the node itself.

A first command starts the node. A node that started is locked, and the command that
finds it so unlocks it. What a person locked on purpose only `unlock` opens again.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from node.cli.common import Settings
from node.cli.passphrase import read_passphrase
from node.errors import LockedError, NodeError
from protocol.errors import SafelightError

if TYPE_CHECKING:
    from node.control.client import ControlClient
    from node.control.schema import Params

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """How a node that is about to start can be reached."""

    listen: str | None = None
    """`HOST:PORT`, port 0 for any; None is the node's choice."""
    mdns: bool = True
    rendezvous: str | None = None

    def arguments(self) -> list[str]:
        """Return the options of `node run` that say the same."""
        said: list[str] = []
        if self.listen is not None:
            said += ["--listen", self.listen]
        if not self.mdns:
            said.append("--no-mdns")
        if self.rendezvous is not None:
            said += ["--rendezvous", self.rendezvous]
        return said


def home_of(settings: Settings) -> Path:
    """Return the folder of the node's data: absolute, and not necessarily there."""
    if settings.home is not None:
        return settings.home.expanduser().absolute()
    from node.control.runtime import default_home

    return default_home().expanduser().absolute()


def has_vault(home: Path) -> bool:
    """Say whether a vault was created in this home."""
    return (home / "vault").is_file()


def check_vault(home: Path) -> None:
    """Raise NodeError with the code ``no_vault`` where no vault was created in this home."""
    if not has_vault(home):
        raise NodeError(
            f"there is no vault in {home}", code="no_vault", hint="safelight init --name NAME"
        )


def call(
    settings: Settings, method: str, params: Params | None = None, *, bar: bool = False
) -> Any:
    """Return the result of one method of an unlocked node, with a bar where it is long work."""

    async def job(client: ControlClient) -> Any:
        return await ask(client, method, params, bar=bar and not settings.json)

    return with_node(settings, job)


def run(job: Coroutine[Any, Any, T]) -> T:
    """Return what a job gives. Ctrl-C cancels it, which hangs up on the node."""
    return asyncio.run(job)


def with_node(settings: Settings, job: Callable[[ControlClient], Coroutine[Any, Any, T]]) -> T:
    """Return what a job gives that talks to an unlocked node, started if none runs."""

    async def reached() -> T:
        async with found(settings) as (client, status):
            if status is None:
                await start(settings, client, Listening())
            else:
                await unlock_if_started(settings, client, status)
            return await job(client)

    return run(reached())


async def ask(
    client: ControlClient, method: str, params: Params | None = None, *, bar: bool = False
) -> Any:
    """Call a method, with a bar where it is long work."""
    from node.cli.progress import Bar

    with Bar(enabled=bar) as shown:
        return await client.call(method, params, progress=shown.report)


@asynccontextmanager
async def found(
    settings: Settings,
) -> AsyncIterator[tuple[ControlClient, dict[str, Any] | None]]:
    """Hold the client of the home, and the node's status or None where none runs."""
    from node.control.client import ControlClient, NodeNotRunningError

    home = home_of(settings)
    check_vault(home)
    async with ControlClient(home) as client:
        try:
            status = await client.call("status")
        except NodeNotRunningError:
            status = None
        _tell_of_alarms(status)
        yield client, status


async def start(settings: Settings, client: ControlClient, listening: Listening) -> None:
    """Start the home's node and unlock it; one that cannot be unlocked is stopped again."""
    from node.control.runtime import spawn_node

    # Asked for first: where there is no passphrase, nothing is started.
    passphrase = read_passphrase(settings)
    await spawn_node(home_of(settings), listening.arguments())
    try:
        await unlock(client, passphrase)
    except BaseException:
        with suppress(SafelightError):
            status = await client.call("status")
            # Another command may have unlocked it meanwhile; then it is not ours to stop.
            if status["state"] == "locked":
                await stop(client, status)
        raise


async def unlock_if_started(
    settings: Settings, client: ControlClient, status: dict[str, Any]
) -> None:
    """Unlock a node that was never unlocked; LockedError for one that a person locked."""
    if status["state"] != "locked":
        return
    if status.get("locked_by_user"):
        raise LockedError("the vault was locked", hint="safelight unlock")
    await unlock(client, read_passphrase(settings))


async def unlock(client: ControlClient, passphrase: str) -> None:
    """Open the vault; the node's `wrong_passphrase` where it is not."""
    from node.control.schema import Unlock

    _tell_of_alarms(await client.call("unlock", Unlock(passphrase=passphrase)))


def _tell_of_alarms(status: dict[str, Any] | None) -> None:
    """Say in one line which logs contradict themselves, whatever the command is about."""
    if status is None or not status.get("alarms"):
        return
    from node.cli import diagnostics

    said = []
    for over in (False, True):
        whose = dict.fromkeys(
            "your own log" if one["own"] else f"the log of {one['name']}"
            for one in status["alarms"]
            if (one["state"] == "over") == over
        )
        if whose:
            verb = "contradicted" if over else "contradicts" if len(whose) == 1 else "contradict"
            itself = "itself" if len(whose) == 1 else "themselves"
            was = " and was given up, not looked into yet" if over else ""
            said.append(f"{', '.join(whose)} {verb} {itself}{was}")
    diagnostics.warn(f"{'; '.join(said)}: safelight audit alarms")


async def stop(client: ControlClient, status: dict[str, Any]) -> None:
    """Stop the node that has this status; on return its process is over and its vault free."""
    await client.call("stop")
    for _ in range(round(_STOP_S / _POLL_S)):
        if not _lives(status["pid"]):
            return
        await asyncio.sleep(_POLL_S)
    raise NodeError(f"the node has not ended within {_STOP_S:g} s", code="timeout")


_STOP_S: Final = 30.0
"""Longer than a node takes to end what it was asked to do."""
_POLL_S: Final = 0.02


def _lives(pid: int) -> bool:
    """Say whether a process runs. One that ended and was not waited for does not."""
    try:
        if not hasattr(os, "pidfd_open"):
            os.kill(pid, 0)
            return True
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Readable once the process has ended.
        return not select.select([descriptor], [], [], 0)[0]
    finally:
        os.close(descriptor)
