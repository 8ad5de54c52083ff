"""The process of a rendezvous: from the command line's options to a server, until a signal.

Belongs here: signals, limits of the process, what is told once the server listens.
Never here: the server itself (``server``), or how the telling looks (the command line).
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.rendezvous.server import Rendezvous
from node.rendezvous.settings import RendezvousSettings
from node.system import SystemClock, system_entropy
from node.transport.hosts import own_hosts, stands_for_all
from node.vault.errors import StorageFailedError
from node.vault.process import protect_process


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What an operator asks for."""

    data: Path
    host: str
    port: int
    public: tuple[str, int] | None = None
    """Where others reach the server, where that is another host or port."""
    metrics_port: int | None = None
    new_claim: bool = False
    settings: RendezvousSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What an operator is told once the server listens."""

    address: str
    claim: str | None
    metrics_port: int | None

    def __repr__(self) -> str:
        return f"Started({self.address})"


def run_rendezvous(
    serving: Serving, *, tell: Callable[[Started], None], write: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT. ``tell`` is called once, ``write`` for each line of a journal.

    Raises as `Rendezvous.start`, and StorageFailedError where the disk fails meanwhile.
    """
    protect_process()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run(_serve(serving, tell, write))
    return asyncio.run(_serve(serving, tell, write))


async def _serve(
    serving: Serving, tell: Callable[[Started], None], write: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    stopping, failed = asyncio.Event(), asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopping.set)

    def stop_failed() -> None:
        failed.set()
        stopping.set()

    server = await Rendezvous.start(
        serving.data,
        host=serving.host,
        port=serving.port,
        clock=SystemClock(),
        entropy=system_entropy,
        settings=serving.settings,
        public=serving.public or _reachable(serving.host),
        new_claim=serving.new_claim,
        write=write,
        failed=stop_failed,
    )
    try:
        port = None
        if serving.metrics_port is not None:
            port = await server.show_metrics(serving.metrics_port)
        tell(Started(address=server.address, claim=server.claim, metrics_port=port))
        await stopping.wait()
    finally:
        await server.close()
    if failed.is_set():
        raise StorageFailedError("the disk of the rendezvous failed")


def _reachable(host: str) -> tuple[str, int] | None:
    """Return an address of this machine where the host stands for all of them."""
    if not stands_for_all(host):
        return None
    return next(iter(own_hosts()), "127.0.0.1"), 0
