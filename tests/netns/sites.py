"""Sites of a laboratory that only a rendezvous joins: the server, and what people do through it.

Belongs here: the server's process on a host, and steps that several tests take with real nodes.
Never here: the laboratory (``lab``), nodes and homes (``machines``), or what a test is about.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node.control.client import ControlError
from tests.netns.lab import Host
from tests.netns.machines import Machine, until
from tests.node.services.team import plain_pictures

PORT = 7431
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Server:
    """A rendezvous that runs on a host of several segments."""

    host: Host
    process: subprocess.Popen[str]
    key: str
    claim: str

    def address(self, segment: int = 0) -> str:
        """Return its address as those on one of its segments reach it."""
        return f"{self.host.addresses[segment]}:{PORT}/{self.key}"


def serve(host: Host, folder: Path) -> Server:
    """Run the real server on a host."""
    folder.mkdir(mode=0o700)
    limits = folder / "limits.toml"
    limits.write_text("disk_reserve_percent = 1\n")
    with (folder / "log").open("a") as log:
        process = host.start(
            *(sys.executable, "-P", "-m", "node.cli.main", "rendezvous", "serve", "--json"),
            *("--listen", f"0.0.0.0:{PORT}", "--settings", str(limits)),
            *("--data", str(folder / "data")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    return Server(host, process, told["address"].rpartition("/")[2], told["claim"])


def moved(machine: Machine, host: Host) -> Machine:
    """Return a machine's home on another host; its node has not been started."""
    assert machine.process is None
    return replace(machine, host=host)


async def connected(machine: Machine) -> bool:
    """Whether a node attends its rendezvous."""
    told = (await machine.call("status"))["rendezvous"]
    return told is not None and told["state"] == "connected"


async def by(machine: Machine, other: Machine, path: str) -> bool:
    """Whether a node reaches another one by a path, and gets an answer."""
    told = await machine.peer(other)
    return told["path"] == path and told["rtt_ms"] is not None


async def both_by(one: Machine, other: Machine, path: str) -> float:
    """Wait until two reach each other by a path; return after how many seconds."""

    async def reached() -> bool:
        return await by(one, other, path) and await by(other, one, path)

    return await until(reached, PATIENCE_S)


async def join(inviter: Machine, newcomer: Machine, rendezvous: str | None) -> tuple[Any, Any]:
    """Let somebody join by code, through a rendezvous or the network; return what both are told."""
    invitation = await inviter.call("invite", role="editor")
    waiting = asyncio.create_task(inviter.call("invite_wait", number=invitation["number"]))
    joined = await newcomer.call("join", code=invitation["code"], rendezvous=rendezvous)
    return await asyncio.wait_for(waiting, PATIENCE_S), joined


async def import_pictures(machine: Machine, count: int) -> list[str]:
    """Import made pictures; return their ids."""
    folder = machine.home.parent / f"{machine.home.name}-pictures"
    folder.mkdir()
    for name, data in plain_pictures(count, (320, 213)):
        (folder / name).write_bytes(data)
    return [one["id"] for one in (await machine.call("import", paths=[str(folder)]))["images"]]


async def share(issuer: Machine, holder: Machine, images: list[str], **terms: Any) -> str:
    """Share pictures; return the capability's id."""
    shared = await issuer.call("share", what=images, to=[holder.name], duration="1h", **terms)
    return str(shared["capabilities"][0]["id"])


async def held(machine: Machine, capability: str) -> dict[str, Any] | None:
    """Return a capability as its holder sees it, or None."""
    for one in await machine.call("inbox"):
        if one["id"] == capability:
            return dict(one)
    return None


async def state(machine: Machine, capability: str) -> str:
    """Return the state of a held capability: ``ready`` where it can be opened at once."""
    found = await held(machine, capability)
    if found is None:
        return "absent"
    if found["state"] == "live" and all(one["ready"] for one in found["images"]):
        return "ready"
    return str(found["state"])


async def until_state(machine: Machine, capability: str, expected: str) -> float:
    """Wait until a held capability is in a state; return after how many seconds."""

    async def reached() -> bool:
        return await state(machine, capability) == expected

    return await until(reached, PATIENCE_S)


async def open_once(machine: Machine, capability: str, image: str) -> tuple[dict[str, Any], int]:
    """Open a picture, trying again while the network is why not; return it, and the tries."""
    async with asyncio.timeout(PATIENCE_S):
        for tries in range(1, 1_000):
            try:
                return await machine.call("open", capability=capability, image=image), tries
            except ControlError as error:
                if error.code not in ("unreachable", "not_ready"):
                    raise
                await asyncio.sleep(0.1)
    raise AssertionError("a thousand tries in so short a time")


async def events(machine: Machine, name: str) -> list[dict[str, Any]]:
    """Return the entries of one event in a node's own log."""
    log = await machine.call("audit_log")
    return [one for one in log["entries"] if one["event"] == name]


async def opens(issuer: Machine, capability: str) -> int:
    """Return how many opens an issuer has counted."""
    (found,) = [one for one in await issuer.call("shares") if one["id"] == capability]
    return int(found["opens"])
