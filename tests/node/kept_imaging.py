"""One imaging pool for all tests of a process: a pool takes half a second to start.

Belongs here: that pool, on an event loop that outlives those of the tests.
Never here: tests of pools, which make their own.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from node.imaging.messages import Answer, Job
from node.imaging.pool import ImagingPool

T = TypeVar("T")


class _KeptPool(ImagingPool):
    """A pool whose processes belong to no test's event loop."""

    def __init__(self) -> None:
        super().__init__(workers=2)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="kept imaging", daemon=True).start()

    async def start(self) -> None:
        """Start its processes, where they do not run."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(super().start(), self._loop))

    def end(self) -> None:
        """End every process, when no test follows."""
        asyncio.run_coroutine_threadsafe(self.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _run(self, job: Job, data: bytes, accept: Callable[[Answer, bytes], T]) -> T:
        there = super()._run(job, data, accept)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there, self._loop))


async def kept_imaging() -> ImagingPool:
    """Return the started pool of this process; nobody closes it."""
    pool = _pool()
    await pool.start()
    return pool


@cache
def _pool() -> _KeptPool:
    pool = _KeptPool()
    atexit.register(pool.end)
    return pool
