"""Tells when this machine has moved: other addresses, another interface, or a sleep.

Belongs here: noticing.
Never here: what follows from it (``services.peering``, ``mdns``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import ifaddr

from node.ports import Clock
from node.services.loops import forever

_LOOK_S: Final = 1.0
"""How often to look: what has moved is dialled anew this much later at most."""
_LATE_MS: Final = 5_000
"""A look that comes this much late was not late by load: the machine or the process slept. The
wall clock shows it where the other stands still meanwhile."""


class Watcher:
    """Looks at the machine's addresses and clocks, and calls ``on_change`` after a change."""

    def __init__(self, clock: Clock, *, on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(
            forever(self._look, "watching the network"), name="watching"
        )

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        addresses = await asyncio.to_thread(own_addresses)
        wall, steady = self._clock.now(), self._clock.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            last_wall, last_steady = wall, steady
            wall, steady = self._clock.now(), self._clock.monotonic()
            passed = max(wall - last_wall, steady - last_steady)
            before, addresses = addresses, await asyncio.to_thread(own_addresses)
            if addresses != before or passed > _LOOK_S * 1000 + _LATE_MS:
                self._on_change()


def own_addresses() -> frozenset[tuple[str, str]]:
    """Return (interface, address) of everything this machine has but loopback."""
    found = (
        (adapter.name, str(address.ip) if address.is_IPv4 else address.ip[0])
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
    )
    return frozenset(one for one in found if not one[1].startswith("127.") and one[1] != "::1")
