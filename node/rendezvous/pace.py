"""How often: token buckets, tries of an address, and turns of those who authenticate.

Belongs here: rates, and who waits for how long.
Never here: the rates themselves (``settings``), or what happens at a turn.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import Final

from node.ports import Clock

_MAX_REMEMBERED: Final = 10_000
"""Addresses whose tries are remembered; the one that tried longest ago is forgotten first."""
_NAP_S: Final = 0.05
"""How long the turnstile sleeps at most: somebody with an earlier turn may come meanwhile."""


class Pace:
    """A token bucket. It starts full, and may go into debt."""

    __slots__ = ("_at", "_burst", "_level", "_per_ms")

    def __init__(self, *, per_s: float, burst: float, now: int) -> None:
        self._per_ms = per_s / 1000
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, cost: float, now: int) -> float:
        """Take tokens, if need be on credit; return the milliseconds until the debt is paid."""
        self._fill(now)
        self._level -= cost
        return max(0.0, -self._level / self._per_ms)

    def try_take(self, now: int) -> bool:
        """Take one token if there is one."""
        if self.wait(now):
            return False
        self._level -= 1
        return True

    def wait(self, now: int) -> float:
        """Return the milliseconds until there is a whole token."""
        self._fill(now)
        return max(0.0, (1 - self._level) / self._per_ms)

    def _fill(self, now: int) -> None:
        self._level = min(self._burst, self._level + (now - self._at) * self._per_ms)
        self._at = now


class Tries:
    """A bucket for each address, of whole tries a minute."""

    def __init__(self, *, per_minute: int, clock: Clock) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._paces: dict[str | bytes, Pace] = {}

    def allow(self, who: str | bytes) -> bool:
        """Count a try; False where there were too many."""
        now = self._clock.monotonic()
        # The newest stands last.
        pace = self._paces.pop(who, None) or Pace(
            per_s=self._per_minute / 60, burst=self._per_minute, now=now
        )
        self._paces[who] = pace
        if len(self._paces) > _MAX_REMEMBERED:
            del self._paces[next(iter(self._paces))]
        return pace.try_take(now)


class Turnstile:
    """Lets addresses through in turn, each at its own rate and all at one together.

    One address that sends thousands waits behind itself, not before others.
    """

    def __init__(self, *, per_address: int, in_all: int, clock: Clock) -> None:
        self._per_address = per_address
        self._in_all = Pace(per_s=in_all, burst=1, now=clock.monotonic())
        self._clock = clock
        self._paces: dict[str, Pace] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._turns: list[tuple[float, int, str]] = []
        """When each address that waits has its next turn; ties in the order they came."""
        self._number = 0
        self._task: asyncio.Task[None] | None = None

    def enter(self, address: str) -> asyncio.Future[None]:
        """Return what is done at this address' next turn; whoever cancels it leaves the line."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.get(address)
        if queue is None:
            queue = self._waiting[address] = deque()
            self._line_up(address)
        while queue and queue[-1].done():
            queue.pop()  # whoever comes and goes leaves no more behind than one
        queue.append(future)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._turn(), name="turnstile")
        return future

    def close(self) -> None:
        """Let nobody through any more."""
        if self._task is not None:
            self._task.cancel()

    def _line_up(self, address: str) -> None:
        now = self._clock.monotonic()
        pace = self._paces.pop(address, None) or Pace(
            per_s=self._per_address, burst=self._per_address, now=now
        )
        self._paces[address] = pace
        if len(self._paces) > _MAX_REMEMBERED:
            del self._paces[next(iter(self._paces))]
        self._number += 1
        heapq.heappush(self._turns, (now + pace.wait(now), self._number, address))

    async def _turn(self) -> None:
        """Let one after the other through until nobody waits."""
        while self._turns:
            now = self._clock.monotonic()
            wait = max(self._turns[0][0] - now, self._in_all.wait(now))
            if wait > 0:
                await asyncio.sleep(min(wait / 1000 + 0.001, _NAP_S))
                continue
            _, _, address = heapq.heappop(self._turns)
            queue = self._waiting[address]
            while queue and queue[0].done():
                queue.popleft()  # it has gone
            if queue:
                self._in_all.take(1, now)
                if (pace := self._paces.get(address)) is not None:
                    pace.take(1, now)
                queue.popleft().set_result(None)
            if queue:
                self._line_up(address)
            else:
                del self._waiting[address]
        self._task = None
