"""The path for newcomers: there while an invitation is open, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from node.errors import UnreachableError
from node.system import system_entropy
from node.transport import listener as listener_module
from node.transport.dialer import dial_link
from node.transport.listener import Listener
from node.transport.websocket import JOIN_PATH, WebSocketLink
from protocol.errors import AuthenticationError
from protocol.limits import MAX_JOINING_MESSAGE_BYTES
from protocol.messages import Done
from tests.node.transport.support import (
    CLOCK,
    HELLO,
    LISTENER_SECRET,
    TEAM,
    answer_done,
    bound,
    dial_listener,
    soon,
)

Joining = Callable[[WebSocketLink], Awaitable[None]]


async def echo(link: WebSocketLink) -> None:
    """Send back one message."""
    message = await link.receive()
    if message is not None:
        await link.send([message])
        await link.receive()


@asynccontextmanager
async def inviting(joining: Joining) -> AsyncIterator[Listener]:
    """Listen with an open invitation."""
    listener = Listener(
        host="127.0.0.1",
        port=0,
        static_secret=LISTENER_SECRET,
        team_id=lambda: TEAM,
        handler=answer_done,
        on_session=lambda _: None,
        on_joining=joining,
        clock=CLOCK,
        entropy=system_entropy,
    )
    await listener.start()
    listener.joining_open = True
    try:
        yield listener
    finally:
        await listener.close()


async def knock(listens: Listener, timeout: float = 5) -> WebSocketLink:
    host, port = listens.addresses[0]
    return await dial_link(
        host, port, path=JOIN_PATH, timeout=timeout, max_message_bytes=MAX_JOINING_MESSAGE_BYTES
    )


async def test_a_newcomer_is_heard_while_an_invitation_is_open() -> None:
    async with inviting(echo) as listens:
        link = await knock(listens)
        await link.send([b"hello"])

        assert await link.receive() == b"hello"
        await link.close()
        session = await dial_listener(listens)
        assert await session.request(HELLO) == Done()
        await session.close()


async def test_without_an_invitation_the_path_is_none() -> None:
    async with inviting(echo) as listens:
        listens.joining_open = False

        with pytest.raises(UnreachableError, match="no node answers there"):
            await knock(listens)


async def test_a_message_over_its_bound_ends_the_link() -> None:
    async with inviting(echo) as listens:
        link = await knock(listens)
        await link.send([bytes(MAX_JOINING_MESSAGE_BYTES)])
        assert await link.receive() == bytes(MAX_JOINING_MESSAGE_BYTES)
        await link.close()

        link = await knock(listens)
        await link.send([bytes(MAX_JOINING_MESSAGE_BYTES + 1)])
        assert await link.receive() is None
        await link.close()


async def test_a_joining_may_take_longer_than_a_handshake_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "_JOINING_S", 3)
    async with inviting(echo) as listens:
        bound(listens, request_s=1, proof_s=2)
        slow = await knock(listens)
        silent = await knock(listens)
        await asyncio.sleep(1)
        await slow.send([b"hello"])

        assert await slow.receive() == b"hello"
        async with asyncio.timeout(20):
            assert await silent.receive() is None
        await asyncio.gather(slow.close(), silent.close())


async def test_newcomers_count_among_those_who_have_proved_nothing() -> None:
    async with inviting(echo) as listens:
        door = bound(listens, per_address=3)
        links = [await knock(listens) for _ in range(3)]
        with pytest.raises(UnreachableError):
            await knock(listens)
        await asyncio.gather(*(link.close() for link in links))
        await soon(lambda: not door.unproved)

        await (await knock(listens)).close()


@pytest.mark.parametrize("error", [AuthenticationError("no"), ValueError("secret")])
async def test_a_joining_that_fails_ends_its_link_alone(
    error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    async def fail(_link: WebSocketLink) -> None:
        raise error

    async with inviting(fail) as listens:
        link = await knock(listens)
        assert await link.receive() is None
        await link.close()
        session = await dial_listener(listens)
        assert await session.request(HELLO) == Done()
        await session.close()

    assert "secret" not in capfd.readouterr().err
