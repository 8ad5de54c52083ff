"""Work that goes on as long as the node does.

Belongs here: what happens when a step of it fails.
Never here: the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from node.faults import report_fault
from protocol.errors import SafelightError

RETRY_S: Final = 5.0
"""Pause after a failure: a full disk is not full for ever, and a peer may come to its senses."""


async def forever(work: Callable[[], Awaitable[None]], name: str) -> None:
    """Run work that has no end, and begin it again a little after it has failed."""
    while True:
        try:
            await work()
        except SafelightError:
            pass
        except Exception as error:  # noqa: BLE001  one fault must not end the work for good
            report_fault(name, error)
        await asyncio.sleep(RETRY_S)
