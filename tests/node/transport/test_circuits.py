"""Channels over circuits of a rendezvous: the same bytes, and bound to their circuit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec import Struct

from node.errors import UnreachableError
from node.system import system_entropy
from node.transport.codec import Codec
from node.transport.dialer import dial_circuit, open_channel_over
from node.transport.driver import Handler, Session, SessionClosedError
from node.transport.websocket import WebSocketLink
from protocol.encoding import decode
from protocol.errors import LocalError
from protocol.messages import FetchHead, Head
from tests.conformance.check_transport import CHECKS
from tests.node.transport.circuits import Circuits, relaying_circuits
from tests.node.transport.support import (
    CLOCK,
    DIALLER_SECRET,
    LISTENER_KEY,
    LISTENER_SECRET,
    TEAM,
    Check,
    Pair,
    answer_done,
    soon,
)

SESSION = bytes(range(16))


async def two_ends(circuits: Circuits) -> tuple[WebSocketLink, WebSocketLink]:
    one, other, _ = circuits.new_circuit()
    return (
        await dial_circuit("127.0.0.1", circuits.port, one, timeout=45),
        await dial_circuit("127.0.0.1", circuits.port, other, timeout=45),
    )


async def opened(
    link: WebSocketLink,
    *,
    initiates: bool,
    handler: Handler = answer_done,
    session_id: bytes = SESSION,
    team_id: bytes = TEAM,
    codec: Codec | None = None,
) -> Session:
    options = {} if codec is None else {"codec": codec}
    return await open_channel_over(
        link,
        remote_static=LISTENER_KEY if initiates else None,
        static_secret=DIALLER_SECRET if initiates else LISTENER_SECRET,
        team_id=team_id,
        handler=handler,
        clock=CLOCK,
        entropy=system_entropy,
        relay_session=session_id,
        **options,
    )


@asynccontextmanager
async def relayed_pair(
    dialler: Handler = answer_done, listener: Handler = answer_done
) -> AsyncIterator[Pair]:
    """Give two sessions over a circuit."""
    async with relaying_circuits() as circuits:
        one, other = await two_ends(circuits)
        first, second = await asyncio.gather(
            opened(one, initiates=True, handler=dialler),
            opened(other, initiates=False, handler=listener),
        )
        assert first.relayed
        assert second.relayed
        try:
            yield first, second
        finally:
            await asyncio.gather(first.close(), second.close())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_relayed_transport_conforms(check: Check) -> None:
    async with asyncio.timeout(60):
        await check(relayed_pair)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(SESSION, bytes(16)), (SESSION, b""), (b"", SESSION)],
)
async def test_a_circuit_joined_wrongly_gives_no_channel(mine: bytes, theirs: bytes) -> None:
    async with relaying_circuits() as circuits:
        one, other = await two_ends(circuits)
        results = await asyncio.gather(
            opened(one, initiates=True, session_id=mine),
            opened(other, initiates=False, session_id=theirs),
            return_exceptions=True,
        )

    assert all(isinstance(result, SessionClosedError) for result in results)


async def test_a_circuit_to_another_team_gives_no_channel() -> None:
    async with relaying_circuits() as circuits:
        one, other = await two_ends(circuits)
        results = await asyncio.gather(
            opened(one, initiates=True),
            opened(other, initiates=False, team_id=bytes(32)),
            return_exceptions=True,
        )

    assert all(isinstance(result, SessionClosedError) for result in results)


async def test_a_session_id_over_its_bound_is_our_fault_and_leaves_no_link() -> None:
    async with relaying_circuits() as circuits:
        one, other = await two_ends(circuits)
        with pytest.raises(LocalError):
            await opened(one, initiates=True, session_id=bytes(65))

        assert await other.receive() is None
        await other.close()


async def test_a_rendezvous_that_is_not_there() -> None:
    async with relaying_circuits() as circuits:
        port = circuits.port

    with pytest.raises(UnreachableError, match="connection refused"):
        await dial_circuit("127.0.0.1", port, bytes(32), timeout=45)


async def test_a_circuit_that_is_cut_ends_both_ends() -> None:
    async with relaying_circuits() as circuits:
        one, other = await two_ends(circuits)
        first, second = await asyncio.gather(
            opened(one, initiates=True), opened(other, initiates=False)
        )
        circuits.cut()
        await soon(lambda: first.closed.is_set() and second.closed.is_set(), timeout=10)

        assert {first.close_reason, second.close_reason} == {"lost"}
        await asyncio.gather(first.close(), second.close())


# Other messages than those between nodes ----------------------------------------------------------


class Question(Struct, frozen=True, tag="question"):
    """A message of some other kind of session."""

    text: str


class Word(Struct, frozen=True, tag="word"):
    """Its answer."""

    text: str


OTHER = Codec(
    lambda body: decode(Question, body, limit=100), lambda body: decode(Word, body, limit=100)
)


async def test_a_session_speaks_what_its_codec_says() -> None:
    async def handler(session: Session, request: Question) -> Word:
        return Word(text=request.text[::-1])

    async with relaying_circuits() as circuits:
        one, other = await two_ends(circuits)
        first, second = await asyncio.gather(
            opened(one, initiates=True, codec=OTHER),
            opened(other, initiates=False, codec=OTHER, handler=handler),
        )

        assert await first.request(Question(text="abc")) == Word(text="cba")
        await asyncio.gather(first.close(), second.close())


async def test_what_is_under_way_makes_a_session_busy() -> None:
    go_on = asyncio.Event()

    async def handler(session: Session, request: FetchHead) -> Head:
        await go_on.wait()
        return Head(note=b"", proof=())

    async with relayed_pair(listener=handler) as (dialler, listener):
        assert not dialler.busy
        assert not listener.busy
        asking = asyncio.create_task(dialler.request(FetchHead(from_size=1)))
        await soon(lambda: dialler.busy and listener.busy)
        go_on.set()
        await asking
        await soon(lambda: not dialler.busy and not listener.busy)

        assert (dialler.requests, listener.requests) == (1, 1)
