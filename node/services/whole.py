"""Steps that must not be left half done when whoever asked hangs up.

Belongs here: running a step to its end whatever happens to its caller.
Never here: the steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def whole(step: Coroutine[Any, Any, T]) -> T:
    """Return what a step gives; a caller that is cancelled meanwhile waits for its end first."""
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # Told to nobody: whoever asked has gone.
        raise
