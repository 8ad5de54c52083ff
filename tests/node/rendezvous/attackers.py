"""Those who want a rendezvous to fail: slow ones, flooding ones, in a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from node.transport.websocket import CIRCUIT_PATH, RENDEZVOUS_PATH
from tests.node.rendezvous.frames import binary_frame, upgrade_request

_SLOW_PER_ADDRESS: Final = 10


@contextmanager
def attacking(port: int, *, slow: int, flooding: int) -> Iterator[None]:
    """Attack the server on a port of this machine while the block runs."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_attack, args=(port, slow, flooding), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _attack(port: int, slow: int, flooding: int) -> None:
    # Elsewhere they would have machines of their own: here they leave the server its share.
    os.nice(19)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_attack_all(port, slow, flooding))


async def _attack_all(port: int, slow: int, flooding: int) -> None:
    await asyncio.gather(
        *(_creep(port, f"127.1.{n // _SLOW_PER_ADDRESS // 250}.{n // _SLOW_PER_ADDRESS % 250 + 1}")
          for n in range(slow)),
        *(_flood(port, f"127.2.0.{n % 250 + 1}", n) for n in range(flooding)),
    )  # fmt: skip


async def _creep(port: int, source: str) -> None:
    """Send a request one byte at a time, and begin again whenever the server hangs up."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(source, 0)
            )
            try:
                for byte in upgrade_request(RENDEZVOUS_PATH):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.5)
                await reader.read()
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.1)


async def _flood(port: int, source: str, number: int) -> None:
    """Send whatever may cost the server something, as fast as it is taken."""
    chance = random.Random(number)
    while True:
        with contextlib.suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(source, 0)
            )
            try:
                path = chance.choice((RENDEZVOUS_PATH, RENDEZVOUS_PATH, CIRCUIT_PATH))
                if chance.random() < 0.8:
                    writer.write(upgrade_request(path))
                    if chance.random() < 0.5:
                        await reader.readuntil(b"\r\n\r\n")
                for _ in range(20):
                    writer.write(binary_frame(chance.randbytes(chance.choice((32, 96, 60_000)))))
                    await writer.drain()
            finally:
                writer.transport.abort()
        await asyncio.sleep(0)
