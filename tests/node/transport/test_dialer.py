"""What a dial meets besides a node."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from node.errors import UnreachableError
from node.system import system_entropy
from node.transport.dialer import dial
from node.transport.driver import Session
from protocol.messages import Done
from protocol.primitives import x25519_public
from tests.node.transport.support import (
    CLOCK,
    DIALLER_SECRET,
    HELLO,
    LISTENER_KEY,
    TEAM,
    answer_done,
    dial_listener,
    listening,
)

UPGRADED = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def something(talk: Talk, *, upgrade: bool = False) -> AsyncIterator[int]:
    """Listen with something that is no node; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if upgrade:
                key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
                assert key is not None
                writer.write(UPGRADED + b"Sec-WebSocket-Accept: " + _accept(key[1]) + b"\r\n\r\n")
            await talk(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def try_to_dial(host: str, port: int, timeout: float = 2) -> Session:
    return await dial(
        host,
        port,
        remote_static=LISTENER_KEY,
        static_secret=DIALLER_SECRET,
        team_id=TEAM,
        handler=answer_done,
        clock=CLOCK,
        entropy=system_entropy,
        timeout=timeout,
    )


async def test_nobody_listens() -> None:
    async with something(lambda *_: asyncio.sleep(0)) as port:
        pass

    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port} was not reached") as raised:
        await try_to_dial("127.0.0.1", port)

    assert raised.value.code == "unreachable"


async def test_a_port_that_is_none() -> None:
    with pytest.raises(UnreachableError):
        await try_to_dial("127.0.0.1", 70_000)


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "a b", "", "x" * 300, "a..b", "/etc", "::1::", "%00"]
)
async def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(UnreachableError):
        await try_to_dial(host, 9)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 \x1b[31m\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        UPGRADED + b"\r\n",
        UPGRADED + b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1_000 + b"\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x00" * 1_000,
        b"",
    ],
)
async def test_something_else_listens(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with something(talk) as port:
        with pytest.raises(UnreachableError) as raised:
            await try_to_dial("127.0.0.1", port)

    assert "\x1b" not in str(raised.value)


async def test_a_redirect_is_not_followed() -> None:
    """Else a peer could aim requests of this machine at its own services."""
    asked = asyncio.Event()

    async def victim(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()

    async with something(victim) as target:

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            location = f"http://127.0.0.1:{target}/admin"
            writer.write(
                f"HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            await writer.drain()

        async with something(talk) as port:
            with pytest.raises(UnreachableError):
                await try_to_dial("127.0.0.1", port)

    assert not asked.is_set()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101"])
async def test_silence_is_given_up_on(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await asyncio.sleep(60)

    async with something(talk) as port:
        with pytest.raises(UnreachableError, match=r"no answer within 0\.3 s"):
            await try_to_dial("127.0.0.1", port, timeout=0.3)


async def test_a_websocket_that_says_nothing_is_given_up_on() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100_000)

    async with something(talk, upgrade=True) as port:
        with pytest.raises(UnreachableError):
            await try_to_dial("127.0.0.1", port, timeout=0.5)


@pytest.mark.parametrize(
    "frames", [b"\x82\x00", b"\x82\x03abc", b"\x81\x03abc", b"\x89\x00", b"\xc2\x01a", b"\x88\x00"]
)
async def test_a_websocket_that_is_no_channel(frames: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames)
        await reader.read(100_000)

    async with something(talk, upgrade=True) as port:
        with pytest.raises(UnreachableError):
            await try_to_dial("127.0.0.1", port)


async def test_another_key_than_the_expected_one_is_refused() -> None:
    async with listening() as listens:
        with pytest.raises(UnreachableError):
            await dial_listener(listens, remote_static=x25519_public(bytes(range(3, 35))))


async def test_another_team_is_refused() -> None:
    async with listening() as listens:
        with pytest.raises(UnreachableError):
            await dial_listener(listens, team_id=bytes(32))


async def test_a_dial_can_be_cancelled() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with something(talk) as port:
        dialling = asyncio.create_task(try_to_dial("127.0.0.1", port, timeout=30))
        await asyncio.sleep(0.05)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling


async def test_a_node_that_comes_back_is_reached_again() -> None:
    async with listening() as listens:
        address = listens.addresses[0]
        first = await dial_listener(listens)
        assert await first.request(HELLO) == Done()
    async with asyncio.timeout(45):
        await first.closed.wait()
    await first.close()
    with pytest.raises(UnreachableError):
        await try_to_dial(*address)

    async with listening() as listens:
        second = await dial_listener(listens)
        assert await second.request(HELLO) == Done()
        assert second.handshake_hash != first.handshake_hash
        await second.close()


def _accept(key: bytes) -> bytes:
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest)
