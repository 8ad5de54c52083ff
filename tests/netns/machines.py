"""Machines of a laboratory that run real nodes of one team.

Belongs here: homes made without the network, node processes in namespaces, calls to them.
Never here: the laboratory (``lab``), or what a test is about.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from node.control.client import ControlClient, ControlError, NodeLostError, NodeNotRunningError
from node.imaging.pool import ImagingPool
from node.services.context import Context
from node.services.events import Events
from node.services.membership import Membership
from node.system import SystemClock, system_entropy
from node.vault.vault import Vault
from protocol.identity import Identity, format_fingerprint
from tests.netns.lab import Host, Lab, Segment

T = TypeVar("T")

PASSPHRASE = "a passphrase of one test"
SMALL_ARGON2 = 64 * 1024 * 1024
TEAM = "Canary Illustrated"
_CLONE_NEWUTS = 0x04000000
_STARTS_S = 60.0


@dataclass
class Machine:
    """A host, and the home of a node on it."""

    host: Host
    home: Path
    identity: Identity
    process: subprocess.Popen[str] | None = None

    @property
    def name(self) -> str:
        """Of its person."""
        return self.identity.name

    @property
    def log(self) -> Path:
        """What the node printed."""
        return self.home.parent / f"{self.home.name}.log"

    def launch(self, *options: str, listen: str = "0.0.0.0:0") -> None:
        """Start the node's process, on a machine whose name and user are canaries."""
        passphrase = self.home.parent / f"{self.home.name}.passphrase"
        passphrase.touch(0o600)
        passphrase.write_text(PASSPHRASE + "\n")
        with self.log.open("a") as output:
            self.process = self.host.start(
                *(sys.executable, "-P", "-m", "node.cli.main", "--home", str(self.home)),
                *("node", "run", "--listen", listen, *options),
                env={
                    **os.environ,
                    "SAFELIGHT_PASSPHRASE_FILE": str(passphrase),
                    "HOME": str(self.home.parent),
                    "USER": f"canary-user-{self.name}",
                    "LOGNAME": f"canary-user-{self.name}",
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=lambda: _name_machine(f"canary-machine-{self.host.name}"),
            )

    async def serves(self) -> None:
        """Wait until the node is unlocked."""

        async def unlocked() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name}'s node ended: {self.log.read_text()}")
            try:
                return bool((await self.call("status"))["state"] == "unlocked")
            except (NodeNotRunningError, NodeLostError, ControlError):
                return False

        await until(unlocked, _STARTS_S)

    async def start(self, *options: str, listen: str = "0.0.0.0:0") -> None:
        """Start the node and wait until it is unlocked."""
        self.launch(*options, listen=listen)
        await self.serves()

    async def call(self, method: str, **params: Any) -> Any:
        """Call the node's control API."""
        async with ControlClient(self.home) as client:
            return await client.call(method, params or None)

    async def port(self) -> int:
        """Return where the node listens."""
        return int((await self.call("status"))["listen"][0].rpartition(":")[2])

    async def online(self) -> int:
        """Return with how many members the node has a link."""
        return int((await self.call("status"))["peers"])

    async def peer(self, other: Machine) -> dict[str, Any]:
        """Return what `peers` says of another one."""
        for one in await self.call("peers"):
            if one["fingerprint"] == format_fingerprint(other.identity.fingerprint):
                return dict(one)
        raise AssertionError(f"{self.name} does not know {other.name}")

    async def path_to(self, other: Machine) -> str:
        """Return how the node reaches another one."""
        return str((await self.peer(other))["path"])

    def memory(self) -> int:
        """Return the resident bytes of the node's process."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu(self) -> float:
        """Return the seconds of processor time that the node's process has used."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stop(*machines: Machine) -> None:
    """Stop nodes, which must end by themselves."""
    running = [one for one in machines if one.process is not None]
    for one in running:
        assert one.process is not None
        one.process.terminate()
    for one in running:
        assert one.process is not None
        one.process.wait(60)
        one.process = None


def _name_machine(name: str) -> None:
    ctypes.CDLL(None).unshare(_CLONE_NEWUTS)
    socket.sethostname(name)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Wait until a condition holds; return after how many seconds it did."""
    begun = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.03)
    return time.monotonic() - begun


async def all_linked(machines: Sequence[Machine]) -> bool:
    """Whether every machine has a link with every other one."""
    counts = await asyncio.gather(*(one.online() for one in machines))
    return all(count == len(machines) - 1 for count in counts)


async def _vault(home: Path, name: str) -> Context:
    clock = SystemClock()
    vault, _ = await Vault.create(
        home,
        name=name,
        passphrase=PASSPHRASE,
        clock=clock,
        entropy=system_entropy,
        memory_bytes=SMALL_ARGON2,
    )
    return Context(
        vault=vault,
        imaging=cast("ImagingPool", None),
        clock=clock,
        entropy=system_entropy,
        events=Events(),
    )


@asynccontextmanager
async def team(
    lab: Lab, folder: Path, segment: Segment, *names: str, strangers: Sequence[str] = ()
) -> AsyncIterator[list[Machine]]:
    """Hold machines on a segment whose people are one team; the first is its administrator.

    None of them knows an address of another, and strangers are in no team. No node runs yet.
    """
    everybody = [*names, *strangers]
    contexts = [await _vault(folder / name, f"canary-{name}") for name in everybody]
    memberships = [await Membership.load(context) for context in contexts]
    first, *others = memberships[: len(names)]
    await first.create(TEAM)
    administrator = format_fingerprint(contexts[0].me)
    # The last WELCOME has the whole roster, so that nobody has yet to hear of anybody.
    for other in others:
        await first.add(other.identity_file([]), "editor", addresses=[])
    for other, context in zip(others, contexts[1:], strict=False):
        welcome = await first._welcome(context.identity.public, [])
        await other.join(welcome, administrator)
    machines = [
        Machine(lab.host(name, segment), folder / name, context.identity.public)
        for name, context in zip(everybody, contexts, strict=True)
    ]
    for context in contexts:
        await context.vault.close()
    try:
        yield machines
        for machine in machines:
            if machine.log.exists():
                printed = machine.log.read_text()
                assert "Traceback" not in printed, printed
                assert "fault in" not in printed, printed
    finally:
        for machine in machines:
            if machine.process is not None and machine.process.poll() is None:
                machine.process.kill()
                machine.process.wait()
