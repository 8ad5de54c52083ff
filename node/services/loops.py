"""Work that goes on as long as the node does.

Belongs here: what happens when a step of it fails.
Never here: the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from node.faults import reported_faults
from protocol.errors import SafelightError

RETRY_S: Final = 5.0
"""Pause after a failure: a full disk is not full for ever, and a peer may come to its senses."""


async def forever(work: Callable[[], Awaitable[None]], name: str) -> None:
    """Run work that has no end, and begin it again a little after it has failed."""
    while True:
        with reported_faults(name), suppress(SafelightError):
            await work()
        await asyncio.sleep(RETRY_S)
