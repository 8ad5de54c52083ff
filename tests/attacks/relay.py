"""Whatever stands between two nodes: it hears every byte, and may change or cut them.

Belongs here: a TCP relay in front of one port, and what it does to bytes.
Never here: keys, or anything that understands what passes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Change = Callable[[bytes], bytes]


class Relay:
    """Forwards connections from a port of its own to a target."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.to_target: Change = lambda data: data
        """What becomes of bytes on their way to the target."""
        self.from_target: Change = lambda data: data
        self.heard_to = bytearray()
        self.heard_from = bytearray()
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(
                self._pass(reader, onward_writer, to_target=True),
                self._pass(onward_reader, writer, to_target=False),
            )
        for one in (writer, onward_writer):
            one.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_target: bool
    ) -> None:
        while data := await reader.read(65_536):
            (self.heard_to if to_target else self.heard_from).extend(data)
            writer.write((self.to_target if to_target else self.from_target)(data))
            await writer.drain()
        writer.close()


@asynccontextmanager
async def relaying(target: tuple[str, int]) -> AsyncIterator[Relay]:
    """Hold a relay in front of a target."""
    relay = Relay(target)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.close()
