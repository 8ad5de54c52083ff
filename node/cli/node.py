"""`safelight node`: the daemon that holds the keys.

Belongs here: starting, stopping and looking at the node of a home.
Never here: what a node does (``node.app``), or unlocking one that runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, new_group
from protocol.errors import SafelightError


def _listening_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--rendezvous",
            metavar="ADDR|none",
            help="Use this server to be reached through from now on, or none.",
        ),
        click.option(
            "--no-mdns",
            is_flag=True,
            help="Announce nothing on this network in this run, and look for nobody.",
        ),
        click.option("--listen", metavar="HOST:PORT", help="Listen here; port 0 takes any."),
    ):
        function = option(function)
    return function


@new_group("node")
def command() -> None:
    """Start, stop and look at the node that holds your keys.

    Example: safelight node status

    Commands that need the node start it themselves.
    """


@command.command("start")
@_listening_options
@click.pass_obj
def start(settings: Settings, listen: str | None, no_mdns: bool, rendezvous: str | None) -> None:
    """Start the node in the background and unlock it.

    Example: safelight node start --listen 0.0.0.0:7421

    A wrong passphrase stops it again. A node that runs already is left as it is.
    """
    from node.cli import diagnostics, output, reach

    listening = reach.Listening(listen=listen, mdns=not no_mdns, rendezvous=rendezvous)

    async def job() -> tuple[bool, Any]:
        async with reach.found(settings) as (client, before):
            if before is None:
                await reach.start(settings, client, listening)
            else:
                await reach.unlock_if_started(settings, client, before)
            return before is not None, await client.call("status")

    ran, status = reach.run(job())
    if ran and listening != reach.Listening():
        diagnostics.warn(
            "the node ran already and listens as before", hint="safelight node stop, then start"
        )
    output.present(status, output.details, as_json=settings.json)


@command.command("run")
@_listening_options
@click.pass_obj
def run(settings: Settings, listen: str | None, no_mdns: bool, rendezvous: str | None) -> int:
    """Run the node in the foreground, for service managers.

    Example: safelight node run --listen 0.0.0.0:7421

    It is unlocked with the passphrase from its file or a prompt; where there is neither,
    it stays locked until the first command that brings one. Ends on SIGTERM or Ctrl-C.
    """
    from node.cli import diagnostics, passphrase, reach
    from node.control.runtime import SPAWNED

    home = reach.home_of(settings)
    reach.check_vault(home)
    import threading

    from node.app import run_node

    refused: list[SafelightError] = []
    if SPAWNED not in os.environ:
        # Where it is set, the command that started this node unlocks it itself.
        if passphrase.is_at_hand(settings):
            known = passphrase.read_passphrase(settings)
            threading.Thread(
                target=_unlock_when_up, args=(home, known, refused), name="unlock", daemon=True
            ).start()
        else:
            diagnostics.note("locked until: safelight unlock")
    ended: int = run_node(home, listen=listen, mdns=not no_mdns, rendezvous=rendezvous)
    if refused:
        raise refused[0]
    return ended


def _unlock_when_up(home: Path, passphrase: str, refused: list[SafelightError]) -> None:
    """Unlock this process's own node by its control API; stop it where that is refused."""
    import asyncio
    import contextlib

    from node.cli import reach
    from node.control.client import ControlClient
    from node.control.runtime import answers

    async def job() -> None:
        while not await answers(home):  # noqa: ASYNC110  the other thread has no event to set
            await asyncio.sleep(0.02)
        async with ControlClient(home) as client:
            try:
                await reach.unlock(client, passphrase)
            except SafelightError as error:
                refused.append(error)
                await client.call("stop")

    with contextlib.suppress(SafelightError):
        asyncio.run(job())


@command.command("stop")
@click.pass_obj
def stop(settings: Settings) -> None:
    """Stop the node and forget all keys.

    Example: safelight node stop

    Nobody is served while it is stopped; capabilities that were granted stay granted.
    """
    from node.cli import output, reach

    async def job() -> bool:
        async with reach.found(settings) as (client, status):
            if status is None:
                return False
            await reach.stop(client, status)
            return True

    ran = reach.run(job())
    output.present(
        _STOPPED,
        lambda _: output.line("stopped" if ran else "no node runs"),
        as_json=settings.json,
    )


@command.command("status")
@click.pass_obj
def status(settings: Settings) -> None:
    """Say whether the node runs, is locked, where it listens and whom it reaches.

    Example: safelight node status --json

    The states are `stopped`, `locked` and `unlocked`. This neither starts nor unlocks.
    """
    from node.cli import output, reach

    async def job() -> Any:
        async with reach.found(settings) as (_, status):
            return _STOPPED if status is None else status

    output.present(reach.run(job()), output.details, as_json=settings.json)


_STOPPED: dict[str, Any] = {
    "state": "stopped",
    "pid": None,
    "listen": [],
    "fingerprint": None,
    "peers": 0,
    "log_size": None,
    "log": None,
    "rendezvous": None,
    "notice": None,
    "alarms": [],
}
"""The status of a node that does not run."""
