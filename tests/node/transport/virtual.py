"""An event loop whose time jumps to the next timer whenever nothing else is to be done."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For tests of timers over links in memory: an hour of keep-alives passes in an instant."""

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._virtual.now


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class LoopClock:
    """The loop's time as a node's clock."""

    def now(self) -> int:
        """Return virtual milliseconds."""
        return self.monotonic()

    def monotonic(self) -> int:
        """Return virtual milliseconds."""
        return int(asyncio.get_running_loop().time() * 1000)
