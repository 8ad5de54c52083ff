"""What happens in a node, told to whoever listens.

Belongs here: the bus between services and the control API's event streams.
Never here: deciding what an event means, or keeping events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

_BACKLOG: Final = 1_000
"""Events a slow listener may fall behind before it loses the oldest."""


class Events:
    """Hands each event to every listener; never waits for one."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def tell(self, kind: str, **detail: Any) -> None:
        """Hand an event to everybody who listens."""
        self._put({"kind": kind, **detail})

    def close(self) -> None:
        """End every listener's iteration."""
        self._put(None)

    def _put(self, event: dict[str, Any] | None) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def listen(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield events from now on, until the caller stops or there are no more."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(_BACKLOG)
        self._listeners.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)
