"""The installed program, with every turn of its event loop measured.

Belongs here: what measures. It is run as a program of its own, for the framework's driver and the
program's own way with garbage belong to what is measured.
Never here: what is pressed, or how long a turn may be.

The thread's own processor time is measured, so that a busy machine, which lets the thread wait, is
not taken for a thread that computes.
"""

from __future__ import annotations

import asyncio
import os
import time

NAMED = "TURNS_ARE_WRITTEN_TO"
"""Names the file in the environment: a line of milliseconds for every turn worth a word."""
_LEAST_S = 0.005


def measure() -> None:
    """Write down from now on how long each turn of any loop computes."""
    written = os.open(os.environ[NAMED], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    run = asyncio.Handle._run

    def measured(self: asyncio.Handle) -> None:
        begun = time.thread_time()
        run(self)
        took = time.thread_time() - begun
        if took > _LEAST_S:
            os.write(written, f"{took * 1000:.1f}\n".encode())

    asyncio.Handle._run = measured  # type: ignore[method-assign]


def slowness() -> float:
    """Return how many times slower this machine computes now than one the budgets are for."""
    best = 1.0
    for _ in range(3):
        begun = time.thread_time()
        sum(number * number for number in range(100_000))
        best = min(best, time.thread_time() - begun)
    return max(1.0, best / 0.01)


if __name__ == "__main__":
    from tui.start import main

    measure()
    main()
