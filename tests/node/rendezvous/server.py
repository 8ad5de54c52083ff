"""A rendezvous in this process, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from node.rendezvous.server import Rendezvous
from node.rendezvous.settings import RendezvousSettings
from node.system import SystemClock, system_entropy


def limits(**changes: int) -> RendezvousSettings:
    """Return settings for tests: a machine whose disk is nearly full can run them too."""
    return RendezvousSettings(**{"disk_reserve_percent": 1, **changes})


@asynccontextmanager
async def rendezvous(folder: Path, **options: Any) -> AsyncIterator[Rendezvous]:
    """Run a server on a data folder and a free port of this machine.

    ``address`` is its text, ``claim`` the secret of a server that no team has claimed.
    """
    facts: dict[str, Any] = {
        "settings": limits(),
        "host": "127.0.0.1",
        "port": 0,
        "clock": SystemClock(),
        "entropy": system_entropy,
        **options,
    }
    server = await Rendezvous.start(folder, **facts)
    try:
        yield server
    finally:
        await server.close()
