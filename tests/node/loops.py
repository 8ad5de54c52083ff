"""The event loops that a node may run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run an asynchronous test once on each event loop. For a folder's conftest to import."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
