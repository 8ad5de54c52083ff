"""What every transport of sessions must do, whatever carries its messages.

``CHECKS`` are coroutine functions that take a maker of pairs: called with the dialler's
and the listener's handlers, it gives both sessions for as long as its context lasts.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from node.transport.driver import Reply, Session, SessionClosedError, StreamBrokenError
from protocol.channel.frames import DATA_BYTES
from protocol.errors import EncodingError, Reason, Refused
from protocol.limits import MAX_BODY_BYTES, MAX_REQUESTS_IN_FLIGHT, MIB, STREAM_WINDOW_BYTES
from protocol.messages import (
    Deliver,
    Denied,
    Done,
    FetchHead,
    FetchRendition,
    Head,
    OpenRequest,
    Request,
    Streamed,
)
from tests.node.transport.support import (
    DIALLER_KEY,
    FETCH,
    HELLO,
    LISTENER_KEY,
    RELEASED,
    Check,
    MakePair,
    answer_by_kind,
    collect,
    pattern,
    pieces,
    soon,
)

CHECKS: list[Check] = []


def _check(function: Check) -> Check:
    CHECKS.append(function)
    return function


@_check
async def both_sides_know_each_other(make: MakePair) -> None:
    async with make() as (dialler, listener):
        assert dialler.peer_key == LISTENER_KEY
        assert listener.peer_key == DIALLER_KEY
        assert dialler.handshake_hash == listener.handshake_hash
        assert len(dialler.handshake_hash) == 64
        assert (dialler.initiator, listener.initiator) == (True, False)
        assert not dialler.closed.is_set()


@_check
async def every_channel_has_its_own_hash(make: MakePair) -> None:
    async with make() as (first, _), make() as (second, _):
        assert first.handshake_hash != second.handshake_hash


@_check
async def both_sides_ask_and_answer(make: MakePair) -> None:
    async with make(answer_by_kind, answer_by_kind) as pair:
        for session in pair:
            assert await session.request(HELLO) == Done()
            assert await session.request(FetchHead(from_size=7)) == Head(note=b"7", proof=())


@_check
async def the_largest_body_passes(make: MakePair) -> None:
    async with make(answer_by_kind, answer_by_kind) as (dialler, _):
        sealed = bytes(MAX_BODY_BYTES - 64)

        assert await dialler.request(Deliver(sealed=sealed)) == Head(note=sealed, proof=())


@_check
async def many_requests_are_in_flight_and_each_gets_its_answer(make: MakePair) -> None:
    """More than the channel allows at once: the rest wait for their turn."""
    most = 0
    running = 0

    async def handler(session: Session, request: Request) -> Reply:
        nonlocal most, running
        assert isinstance(request, FetchHead)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (request.from_size * 7 % 5))
        running -= 1
        return Head(note=str(request.from_size).encode(), proof=())

    async with make(handler, handler) as pair:
        asked = [session.request(FetchHead(from_size=n)) for n in range(300) for session in pair]
        answers = await asyncio.gather(*asked)

    assert answers == [Head(note=str(n).encode(), proof=()) for n in range(300) for _ in pair]
    assert 1 < most <= 2 * MAX_REQUESTS_IN_FLIGHT


@_check
async def refusals_keep_their_reason(make: MakePair) -> None:
    reasons = list(Reason)

    async def handler(session: Session, request: Request) -> Reply:
        assert isinstance(request, FetchHead)
        raise Refused(reasons[request.from_size])

    async with make(listener=handler) as (dialler, _):
        for number, reason in enumerate(reasons):
            with pytest.raises(Refused) as raised:
                await dialler.request(FetchHead(from_size=number))
            assert raised.value.reason is reason
            assert raised.value.code == reason.value


@_check
async def other_errors_of_a_handler_refuse_as_unknown(make: MakePair) -> None:
    async def handler(session: Session, request: Request) -> Reply:
        raise (
            EncodingError("words about a peer's bytes") if request == HELLO else KeyError("secret")
        )

    async with make(listener=handler) as (dialler, _):
        for request in (HELLO, FETCH):
            with pytest.raises(Refused) as raised:
                await dialler.request(request)
            assert raised.value.reason is Reason.UNKNOWN
            assert str(raised.value) == "unknown"


@_check
async def an_open_is_answered_in_one_size_whatever_the_answer(make: MakePair) -> None:
    async def handler(session: Session, request: Request) -> Reply:
        assert isinstance(request, OpenRequest)
        match request.signed:
            case b"release":
                return RELEASED
            case b"deny":
                return Denied(reason="exhausted")
            case b"refuse":
                raise Refused(Reason.CLOCK)
            case _:
                raise EncodingError

    async with make(listener=handler) as (dialler, _):
        assert await dialler.request(OpenRequest(signed=b"release")) == RELEASED
        for signed, reason in (
            (b"deny", Reason.EXHAUSTED),
            (b"refuse", Reason.CLOCK),
            (b"garbage", Reason.UNKNOWN),
        ):
            with pytest.raises(Refused) as raised:
                await dialler.request(OpenRequest(signed=signed))
            assert raised.value.reason is reason


@_check
async def a_request_that_is_none_is_refused_and_the_session_goes_on(make: MakePair) -> None:
    async with make() as (dialler, _):
        with pytest.raises(Refused) as raised:
            await dialler.request(RELEASED)

        assert raised.value.reason is Reason.UNKNOWN
        assert await dialler.request(HELLO) == Done()


@_check
async def an_answer_of_the_wrong_shape_is_the_peers_fault(make: MakePair) -> None:
    async def handler(session: Session, request: Request) -> Reply:
        return RELEASED if isinstance(request, FetchHead) else Done()

    async with make(listener=handler) as (dialler, _):
        with pytest.raises(EncodingError):
            await dialler.request(OpenRequest(signed=b""))  # answered, but not padded

        assert await dialler.request(HELLO) == Done()


@_check
async def streams_arrive_whole(make: MakePair) -> None:
    async with make(answer_by_kind, answer_by_kind) as pair:
        for length in (0, 1, DATA_BYTES - 1, DATA_BYTES, DATA_BYTES + 1, 1_000_003):
            for session in pair:
                fetch = FetchRendition(rendition_id=bytes(32), offset=length)
                answer, stream = await session.request_stream(fetch)

                assert answer == Streamed(length=length)
                assert await collect(stream) == pattern(length)


@_check
async def a_stream_longer_than_its_window_arrives_whole(make: MakePair) -> None:
    length = 3 * STREAM_WINDOW_BYTES + 17
    async with make(answer_by_kind, answer_by_kind) as (dialler, _):
        fetch = FetchRendition(rendition_id=bytes(32), offset=length)
        _, stream = await dialler.request_stream(fetch)
        digest = hashlib.sha256()
        async for piece in stream:
            digest.update(piece)

    assert digest.digest() == hashlib.sha256(pattern(length)).digest()


@_check
async def streams_and_requests_share_a_session_fairly(make: MakePair) -> None:
    """No stream waits for another's end, and no request for any."""
    length = 6 * MIB
    order: list[int] = []

    async with make(answer_by_kind, answer_by_kind) as (dialler, listener):

        async def fetch(number: int, session: Session) -> None:
            _, stream = await session.request_stream(
                FetchRendition(rendition_id=bytes(32), offset=length)
            )
            received = 0
            async for piece in stream:
                if not received:
                    order.append(number)
                received += len(piece)
            assert received == length
            order.append(number)

        streams = [fetch(number, (dialler, listener)[number % 2]) for number in range(6)]
        done = await asyncio.gather(*streams, *(dialler.request(HELLO) for _ in range(20)))

    assert done[6:] == [Done()] * 20
    # Each dialler's stream has begun before the first of them has ended.
    ended = [number for place, number in enumerate(order) if number in order[:place]]
    begun = order[: order.index(ended[0], order.index(ended[0]) + 1)]
    assert {0, 2, 4} <= set(begun) or {1, 3, 5} <= set(begun)


@_check
async def a_reader_that_does_not_read_bounds_what_is_read_for_it(make: MakePair) -> None:
    produced = 0
    piece = bytes(MIB)

    async def source() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(64):
            produced += len(piece)
            yield piece

    async def handler(session: Session, request: Request) -> Reply:
        return (Streamed(length=64 * MIB), source()) if request == FETCH else Done()

    async with make(listener=handler) as (dialler, _):
        _, stream = await dialler.request_stream(FETCH)
        await asyncio.sleep(0.3)

        # One window in the reader, one piece in the writer's hands, and one it is asked for.
        assert produced <= STREAM_WINDOW_BYTES + 2 * len(piece)
        assert await dialler.request(HELLO) == Done()
        received = sum([len(part) async for part in stream])

    assert received == 64 * MIB


@_check
async def a_reader_that_wants_no_more_stops_the_writer(make: MakePair) -> None:
    stopped = asyncio.Event()
    produced = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal produced
        try:
            while True:
                produced += 1
                yield bytes(MIB)
        finally:
            stopped.set()

    async def handler(session: Session, request: Request) -> Reply:
        return (Streamed(length=2**40), source()) if request == FETCH else Done()

    async def cancelled(dialler: Session) -> None:
        async def read() -> None:
            _, stream = await dialler.request_stream(FETCH)
            await anext(stream)
            async for _ in stream:
                await asyncio.sleep(60)

        reading = asyncio.create_task(read())
        await soon(lambda: produced > 2)
        reading.cancel()
        await asyncio.wait({reading})

    async def closed(dialler: Session) -> None:
        _, stream = await dialler.request_stream(FETCH)
        async with aclosing(stream):
            await anext(stream)

    async def forgotten(dialler: Session) -> None:
        _, stream = await dialler.request_stream(FETCH)
        await anext(stream)

    async def asked_as_if_it_were_none(dialler: Session) -> None:
        assert await dialler.request(FETCH) == Streamed(length=2**40)

    async with make(listener=handler) as (dialler, _):
        for way in (cancelled, closed, forgotten, asked_as_if_it_were_none):
            stopped.clear()
            produced = 0
            await way(dialler)
            async with asyncio.timeout(45):
                await stopped.wait()
            assert await dialler.request(HELLO) == Done()


@_check
async def a_cancelled_request_cancels_its_handler(make: MakePair) -> None:
    started = asyncio.Event()
    stopped = asyncio.Event()

    async def handler(session: Session, request: Request) -> Reply:
        if request == HELLO:
            return Done()
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return Done()

    async with make(listener=handler) as (dialler, _):
        asking = asyncio.create_task(dialler.request(FETCH))
        await started.wait()
        asking.cancel()
        async with asyncio.timeout(45):
            await stopped.wait()

        assert await dialler.request(HELLO) == Done()


@_check
async def cancelled_requests_give_their_places_back(make: MakePair) -> None:
    async def handler(session: Session, request: Request) -> Reply:
        if request == FETCH:
            await asyncio.sleep(60)
        return Done()

    async with make(listener=handler) as (dialler, _):
        for _ in range(3):
            asking = [asyncio.create_task(dialler.request(FETCH)) for _ in range(70)]
            await asyncio.sleep(0.01)
            for one in asking:
                one.cancel()
            await asyncio.wait(asking)

        async with asyncio.timeout(45):
            assert await dialler.request(HELLO) == Done()


@_check
async def a_stream_that_fails_is_broken_off(make: MakePair) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield bytes(300_000)
        raise OSError("disk on fire")

    async def handler(session: Session, request: Request) -> Reply:
        return (Streamed(length=1_000_000), source()) if request == FETCH else Done()

    async with make(listener=handler) as (dialler, _):
        _, stream = await dialler.request_stream(FETCH)
        with pytest.raises(StreamBrokenError) as raised:
            await collect(stream)

        assert raised.value.code == "unreachable"
        assert "fire" not in str(raised.value)
        assert await dialler.request(HELLO) == Done()


@_check
async def a_stream_of_another_length_than_promised_is_broken_off(make: MakePair) -> None:
    async def handler(session: Session, request: Request) -> Reply:
        assert isinstance(request, FetchRendition)
        return Streamed(length=request.offset), pieces(bytes(200_000), 70_000)

    async with make(listener=handler) as (dialler, _):
        for promised in (199_999, 200_001):
            fetch = FetchRendition(rendition_id=bytes(32), offset=promised)
            _, stream = await dialler.request_stream(fetch)
            with pytest.raises(StreamBrokenError):
                await collect(stream)


@_check
async def a_handler_may_ask_in_its_turn(make: MakePair) -> None:
    async def listener(session: Session, request: Request) -> Reply:
        answer, stream = await session.request_stream(
            FetchRendition(rendition_id=bytes(32), offset=100_000)
        )
        assert isinstance(answer, Streamed)
        return Head(note=str(len(await collect(stream))).encode(), proof=())

    async with make(answer_by_kind, listener) as (dialler, _):
        assert await dialler.request(HELLO) == Head(note=b"100000", proof=())


@_check
async def closing_ends_everything_on_both_sides(make: MakePair) -> None:
    handling = asyncio.Event()
    ended = asyncio.Event()

    async def handler(session: Session, request: Request) -> Reply:
        if request == FETCH:
            return Streamed(length=2**40), endless()
        handling.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return Done()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)

    async def close_there(dialler: Session, listener: Session) -> None:
        await listener.close("going_away")

    async def close_here(dialler: Session, listener: Session) -> None:
        await dialler.close()

    ways: list[tuple[Callable[..., object], str]] = [
        (close_there, "going_away"),
        (close_here, "done"),
    ]
    for close, reason in ways:
        handling.clear()
        ended.clear()
        async with make(listener=handler) as (dialler, listener):
            asking = asyncio.create_task(dialler.request(HELLO))
            _, stream = await dialler.request_stream(FETCH)
            await anext(stream)
            await handling.wait()

            async with asyncio.timeout(45):
                await close(dialler, listener)  # type: ignore[misc]
                with pytest.raises(SessionClosedError) as raised:
                    await asking
                with pytest.raises(SessionClosedError):
                    await collect(stream)
                await ended.wait()
                await listener.closed.wait()

            assert raised.value.code == "unreachable"
            assert dialler.close_reason == listener.close_reason == reason
            with pytest.raises(SessionClosedError):
                await dialler.request(HELLO)
            await dialler.close()


@_check
async def a_session_may_be_closed_from_its_own_handler(make: MakePair) -> None:
    async def handler(session: Session, request: Request) -> Reply:
        await session.close("not_member")
        return Done()

    async with make(listener=handler) as (dialler, _):
        with pytest.raises(SessionClosedError):
            await dialler.request(HELLO)

        assert dialler.close_reason == "not_member"


@_check
async def sessions_show_no_key_in_their_repr(make: MakePair) -> None:
    async with make() as (dialler, _):
        assert dialler.handshake_hash.hex() not in repr(dialler)
        assert repr(dialler).endswith("open)")
