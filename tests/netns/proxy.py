"""A TCP proxy that holds everything up, by a seed.

Belongs here: the delay of each piece, its order kept.
Never here: what passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from types import TracebackType
from typing import Self

from tests.netns.lab import Host


class DelayingProxy:
    """Listens on a host, and passes every connection on; an asynchronous context manager."""

    def __init__(
        self, host: Host, *, port: int, target: tuple[str, int], delay_s: float, seed: int
    ) -> None:
        """Pieces take between half of delay_s and delay_s and a half each way."""
        self._host = host
        self._port = port
        self._target = target
        self._delay_s = delay_s
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def __aenter__(self) -> Self:
        listening = self._host.new_socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("0.0.0.0", self._port))
        self._server = await asyncio.start_server(self._accept, sock=listening)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outwards = self._host.new_socket(socket.AF_INET, socket.SOCK_STREAM)
        outwards.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(outwards, self._target)
        except OSError:
            outwards.close()
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(sock=outwards)
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1_024)

        async def read() -> None:
            due = 0.0
            data = b"."
            while data:
                try:
                    data = await reader.read(65_536)
                except OSError:
                    data = b""
                # A piece never overtakes the one before it.
                due = max(due, loop.time() + self._delay_s * (0.5 + self._random.random()))
                await pieces.put((due, data))

        async def write() -> None:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(max(0, due - loop.time()))
                with contextlib.suppress(OSError):
                    if not data:
                        writer.write_eof()
                        return
                    writer.write(data)
                    await writer.drain()

        await asyncio.gather(read(), write())
