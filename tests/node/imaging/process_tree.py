"""Which processes a pool has, read from the kernel."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def parent_of_workers(node: int | None = None) -> int | None:
    """Return the process id of the newest warm parent of a node, by default this process."""
    parents = [
        child
        for child in _children(os.getpid() if node is None else node)
        if b"node.imaging.worker" in _read(child, "cmdline")
    ]
    return max(parents, key=_started, default=None)


def workers(node: int | None = None) -> list[int]:
    """Return the process ids of the workers of a node, by default this process."""
    parent = parent_of_workers(node)
    return [] if parent is None else _children(parent)


def is_running(process: int) -> bool:
    """Say whether a process exists and is no zombie."""
    stat = _read(process, "stat")
    return bool(stat) and stat.rpartition(b")")[2].split()[0] != b"Z"


async def until(condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Return what condition returns once that is true; the test fails where it never is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.002)
    return value


def _children(process: int) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _parent(int(entry.name)) == process
    ]


def _parent(process: int) -> int | None:
    stat = _read(process, "stat")
    return int(stat.rpartition(b")")[2].split()[1]) if stat else None


def _started(process: int) -> int:
    """Return when a process started, in ticks of the clock since boot."""
    stat = _read(process, "stat")
    return int(stat.rpartition(b")")[2].split()[19]) if stat else 0


def _read(process: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except OSError:
        return b""
