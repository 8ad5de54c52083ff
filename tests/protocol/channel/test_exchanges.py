"""Requests, answers and streams over a real pair."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.channel.events import (
    AnswerReceived,
    Cancelled,
    RefusalReceived,
    RequestReceived,
    StreamData,
    StreamEnded,
    StreamReset,
    StreamWritable,
)
from protocol.channel.frames import DATA_BYTES, MAX_REQUEST_ID, FrameType, pack_credit
from protocol.errors import LimitError, LocalError, LocalProtocolError, Reason
from protocol.limits import (
    MAX_BODY_BYTES,
    MAX_REQUESTS_IN_FLIGHT,
    STREAM_CREDIT_BYTES,
    STREAM_WINDOW_BYTES,
)
from tests.protocol.channel.pair import Pair, closed, drain, forge


def _received(pair: Pair) -> list[bytes]:
    """Return the stream bytes that wait at the initiator."""
    return [event.data for event in drain(pair.initiator) if isinstance(event, StreamData)]


# Requests ----------------------------------------------------------------------------------------


def test_a_request_is_answered() -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"question")
    pair.pump()
    assert drain(pair.responder) == [RequestReceived(request_id=request_id, body=b"question")]
    pair.responder.send_answer(request_id, b"answer")
    pair.pump()

    assert drain(pair.initiator) == [
        AnswerReceived(request_id=request_id, body=b"answer", stream_follows=False)
    ]


@pytest.mark.parametrize("reason", list(Reason))
def test_a_request_is_refused_for_every_reason(reason: Reason) -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"question")
    pair.pump()
    pair.responder.send_refusal(request_id, reason.value)
    pair.pump()

    assert drain(pair.initiator) == [RefusalReceived(request_id=request_id, reason=reason)]


def test_a_reason_without_a_name_is_refused_on_both_sides() -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"question")
    pair.pump()
    with pytest.raises(LocalError):
        pair.responder.send_refusal(request_id, "because")
    forge(pair.responder, FrameType.REFUSAL, request_id, b"because")
    pair.pump()

    assert closed(pair.initiator).reason == "remote_protocol"


def test_both_sides_ask_with_ids_of_their_own() -> None:
    pair = Pair()
    ours = [pair.initiator.send_request(b"") for _number in range(3)]
    theirs = [pair.responder.send_request(b"") for _number in range(3)]

    assert ours == [1, 3, 5]
    assert theirs == [2, 4, 6]


def test_several_requests_in_flight_are_answered_in_any_order() -> None:
    pair = Pair()
    asked = [pair.initiator.send_request(bytes([number])) for number in range(5)]
    pair.pump()
    for event in reversed(drain(pair.responder)):
        assert isinstance(event, RequestReceived)
        pair.responder.send_answer(event.request_id, event.body * 2)
    pair.pump()

    assert drain(pair.initiator) == [
        AnswerReceived(request_id=request_id, body=bytes([number]) * 2, stream_follows=False)
        for number, request_id in reversed(list(enumerate(asked)))
    ]


def test_a_body_has_at_most_60000_bytes() -> None:
    pair = Pair()
    largest = bytes(MAX_BODY_BYTES)
    request_id = pair.initiator.send_request(largest)
    pair.pump()
    with pytest.raises(LimitError):
        pair.initiator.send_request(largest + b"\x00")
    with pytest.raises(LimitError):
        pair.responder.send_answer(request_id, largest + b"\x00")
    pair.responder.send_answer(request_id, largest)
    pair.pump()

    assert drain(pair.initiator) == [
        AnswerReceived(request_id=request_id, body=largest, stream_follows=False)
    ]


def test_a_side_has_at_most_64_requests_in_flight() -> None:
    pair = Pair()
    asked = [pair.initiator.send_request(b"") for _number in range(MAX_REQUESTS_IN_FLIGHT)]
    pair.pump()
    assert pair.initiator.requests_free == 0
    with pytest.raises(LimitError):
        pair.initiator.send_request(b"one too many")
    pair.responder.send_answer(asked[7], b"")
    pair.pump()

    assert pair.initiator.requests_free == 1
    pair.initiator.send_request(b"there is room")


def test_a_peer_with_too_many_requests_is_closed() -> None:
    pair = Pair()
    for number in range(MAX_REQUESTS_IN_FLIGHT + 1):
        forge(pair.initiator, FrameType.REQUEST, 1 + 2 * number)
    pair.pump()

    assert closed(pair.responder).detail == "too many requests are in flight"


@pytest.mark.parametrize("request_id", [2, 3, 5, MAX_REQUEST_ID])
def test_a_request_id_that_is_not_the_next_one_closes(request_id: int) -> None:
    pair = Pair()
    forge(pair.initiator, FrameType.REQUEST, request_id)
    pair.pump()

    assert closed(pair.responder).reason == "remote_protocol"


def test_a_request_id_used_twice_closes() -> None:
    pair = Pair()
    request_id = pair.ask(stream=False)
    forge(pair.initiator, FrameType.REQUEST, request_id)
    pair.pump()

    assert closed(pair.responder).reason == "remote_protocol"


def test_request_ids_end_with_32_bits() -> None:
    pair = Pair()
    pair.initiator._exchanges._next_id = MAX_REQUEST_ID
    pair.responder._exchanges._next_peer_id = MAX_REQUEST_ID
    assert pair.initiator.send_request(b"the last one") == MAX_REQUEST_ID
    pair.pump()

    assert isinstance(drain(pair.responder)[0], RequestReceived)
    with pytest.raises(LimitError, match="used up"):
        pair.initiator.send_request(b"one too many")


def test_what_was_never_asked_or_is_answered_already_cannot_be_answered() -> None:
    pair = Pair()
    answered = pair.ask(stream=False)
    act: Callable[[int], object]
    for act in (
        lambda number: pair.responder.send_answer(number, b""),
        lambda number: pair.responder.send_refusal(number, Reason.UNKNOWN),
        lambda number: pair.responder.send_stream(number, b"x"),
        pair.responder.end_stream,
        pair.responder.reset_stream,
        pair.responder.stream_credit,
    ):
        for request_id in (answered, 99):
            with pytest.raises(LocalProtocolError):
                act(request_id)


def test_steps_of_a_stream_before_its_answer_are_illegal() -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"")
    pair.pump()
    with pytest.raises(LocalProtocolError):
        pair.responder.send_stream(request_id, b"x")
    with pytest.raises(LocalProtocolError):
        pair.responder.end_stream(request_id)
    with pytest.raises(LocalProtocolError):
        pair.responder.reset_stream(request_id)
    pair.responder.send_answer(request_id, b"", stream_follows=True)
    with pytest.raises(LocalProtocolError):
        pair.responder.send_answer(request_id, b"")


@pytest.mark.parametrize(
    "kind",
    [
        FrameType.ANSWER,
        FrameType.ANSWER_STREAM,
        FrameType.REFUSAL,
        FrameType.DATA,
        FrameType.END,
        FrameType.RESET,
    ],
)
def test_an_answer_that_nobody_waits_for_closes(kind: FrameType) -> None:
    pair = Pair()
    done = pair.ask(stream=False)
    forge(pair.responder, kind, done, b"" if kind in {FrameType.END, FrameType.RESET} else b"x")
    pair.pump()

    assert closed(pair.initiator).reason == "remote_protocol"


@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.END, FrameType.RESET])
def test_a_stream_before_its_answer_closes(kind: FrameType) -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"")
    pair.pump()
    forge(pair.responder, kind, request_id, b"x" if kind is FrameType.DATA else b"")
    pair.pump()

    assert closed(pair.initiator).reason == "remote_protocol"


# Streams -----------------------------------------------------------------------------------------


def test_a_stream_arrives_whole_and_in_full_messages() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    sent = bytes(range(251)) * (3 * DATA_BYTES // 251 + 1)
    pair.responder.send_stream(request_id, memoryview(sent)[:DATA_BYTES])
    pair.responder.send_stream(request_id, bytearray(sent[DATA_BYTES:]))
    pair.responder.send_stream(request_id, b"")
    pair.responder.end_stream(request_id)
    pair.pump()
    *data, end = drain(pair.initiator)

    assert end == StreamEnded(request_id=request_id)
    assert [len(event.data) for event in data if isinstance(event, StreamData)][:3] == [
        DATA_BYTES
    ] * 3
    assert b"".join(event.data for event in data if isinstance(event, StreamData)) == sent


def test_a_full_stream_message_has_65535_bytes() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, bytes(DATA_BYTES + 1))

    assert [len(message) for message in pair.responder.data_to_send()] == [65_535, 22]


def test_streams_interleave() -> None:
    pair = Pair()
    asked = [pair.ask(stream=True) for _number in range(3)]
    for part in range(5):
        for request_id in asked:
            pair.responder.send_stream(request_id, bytes([request_id, part]))
    for request_id in reversed(asked):
        pair.responder.end_stream(request_id)
    pair.pump()
    events = drain(pair.initiator)

    for request_id in asked:
        mine = [
            event.data
            for event in events
            if isinstance(event, StreamData) and event.request_id == request_id
        ]
        assert mine == [bytes([request_id, part]) for part in range(5)]
    assert events[-3:] == [StreamEnded(request_id=request_id) for request_id in reversed(asked)]


def test_a_sender_stalls_until_the_reader_consumes() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, bytes(STREAM_WINDOW_BYTES))
    pair.pump()
    assert pair.responder.stream_credit(request_id) == 0
    with pytest.raises(LimitError):
        pair.responder.send_stream(request_id, b"x")
    assert sum(map(len, _received(pair))) == STREAM_WINDOW_BYTES

    pair.initiator.consume(request_id, STREAM_CREDIT_BYTES - 1)
    pair.pump()
    assert drain(pair.responder) == []
    pair.initiator.consume(request_id, 1)
    pair.pump()
    assert drain(pair.responder) == [
        StreamWritable(request_id=request_id, credit=STREAM_CREDIT_BYTES)
    ]
    pair.responder.send_stream(request_id, bytes(STREAM_CREDIT_BYTES))
    assert pair.responder.stream_credit(request_id) == 0


def test_a_stream_that_nobody_consumes_stalls_no_other() -> None:
    pair = Pair()
    stalled, running = pair.ask(stream=True), pair.ask(stream=True)
    pair.responder.send_stream(stalled, bytes(STREAM_WINDOW_BYTES))
    received = 0
    for _round in range(12):
        pair.responder.send_stream(running, bytes(STREAM_CREDIT_BYTES))
        pair.pump()
        for event in drain(pair.initiator):
            if isinstance(event, StreamData) and event.request_id == running:
                received += len(event.data)
                pair.initiator.consume(running, len(event.data))
        pair.pump()

    assert received == 12 * STREAM_CREDIT_BYTES
    assert pair.responder.stream_credit(stalled) == 0


def test_a_stream_always_half_consumed_goes_on_to_its_end() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    left = 3 * STREAM_WINDOW_BYTES
    received = consumed = 0
    while left:
        part = min(left, pair.responder.stream_credit(request_id))
        pair.responder.send_stream(request_id, bytes(part))
        left -= part
        pair.pump()
        received += sum(map(len, _received(pair)))
        half = (received - consumed + 1) // 2
        pair.initiator.consume(request_id, half)
        consumed += half
        pair.pump()
    pair.responder.end_stream(request_id)
    pair.pump()

    assert received == 3 * STREAM_WINDOW_BYTES
    assert drain(pair.initiator) == [StreamEnded(request_id=request_id)]


def test_consuming_more_than_was_delivered_is_a_local_error() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, b"four")
    pair.pump()
    for size in (5, -1):
        with pytest.raises(LocalError):
            pair.initiator.consume(request_id, size)
    pair.initiator.consume(request_id, 4)


def test_consuming_what_is_over_or_was_never_asked_does_nothing() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, bytes(STREAM_WINDOW_BYTES))
    pair.responder.end_stream(request_id)
    pair.pump()
    pair.initiator.consume(request_id, STREAM_WINDOW_BYTES)
    pair.initiator.consume(99, 1)

    assert pair.initiator.data_to_send() == []


def test_consuming_a_cancelled_stream_gives_no_credit() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, bytes(STREAM_WINDOW_BYTES))
    pair.pump()
    pair.initiator.cancel(request_id)
    pair.initiator.consume(request_id, STREAM_WINDOW_BYTES)

    assert len(pair.initiator.data_to_send()) == 1


def test_data_beyond_the_credit_closes() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, bytes(STREAM_WINDOW_BYTES))
    forge(pair.responder, FrameType.DATA, request_id, b"x")
    pair.pump()

    assert closed(pair.initiator).detail == "DATA beyond the credit of its stream"


def test_credit_beyond_the_window_closes() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    forge(pair.initiator, FrameType.CREDIT, request_id, pack_credit(1))
    pair.pump()

    assert closed(pair.responder).detail == "CREDIT beyond the window of its stream"


@pytest.mark.parametrize("amount", [0, STREAM_WINDOW_BYTES + 1, 2**32 - 1])
def test_credit_out_of_its_bounds_closes(amount: int) -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    forge(pair.initiator, FrameType.CREDIT, request_id, pack_credit(amount))
    pair.pump()

    assert closed(pair.responder).reason == "remote_protocol"


def test_credit_for_a_request_without_a_stream_closes() -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"")
    forge(pair.initiator, FrameType.CREDIT, request_id, pack_credit(1))
    pair.pump()

    assert closed(pair.responder).reason == "remote_protocol"


@pytest.mark.parametrize("request_id", [2, 4, 5, 6, 7])
def test_credit_or_cancel_for_a_request_never_made_closes(request_id: int) -> None:
    for kind, payload in ((FrameType.CREDIT, pack_credit(1)), (FrameType.CANCEL, b"")):
        pair = Pair()
        pair.responder.send_request(b"")
        asked = [pair.ask(stream=False) for _number in range(2)]
        forge(pair.initiator, kind, request_id, payload)
        pair.pump()

        assert asked == [1, 3]
        assert closed(pair.responder).reason == "remote_protocol"


def test_credit_and_cancel_that_cross_the_last_frame_are_ignored() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, bytes(STREAM_CREDIT_BYTES))
    pair.pump()
    pair.initiator.consume(request_id, STREAM_CREDIT_BYTES)
    pair.initiator.cancel(request_id)
    pair.responder.end_stream(request_id)
    pair.pump()

    assert drain(pair.responder) == []
    assert pair.initiator.requests_free == MAX_REQUESTS_IN_FLIGHT
    pair.ask(stream=False)


def test_a_reset_stream_is_not_an_ended_one() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, b"half")
    pair.responder.reset_stream(request_id)
    pair.pump()

    assert drain(pair.initiator) == [
        StreamData(request_id=request_id, data=b"half"),
        StreamReset(request_id=request_id),
    ]
    assert pair.initiator.requests_free == MAX_REQUESTS_IN_FLIGHT


# Cancelling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["answer", "stream", "refusal", "reset"])
def test_a_request_cancelled_before_its_answer_brings_nothing_more(how: str) -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"question")
    pair.pump()
    drain(pair.responder)
    pair.initiator.cancel(request_id)
    pair.initiator.cancel(request_id)
    pair.pump()
    assert drain(pair.responder) == [Cancelled(request_id=request_id)]
    assert pair.initiator.requests_free == MAX_REQUESTS_IN_FLIGHT - 1

    if how == "answer":
        pair.responder.send_answer(request_id, b"too late")
    elif how == "stream":
        pair.responder.send_answer(request_id, b"too late", stream_follows=True)
        pair.responder.send_stream(request_id, bytes(2 * STREAM_WINDOW_BYTES))
        assert pair.responder.data_to_send() == []
        pair.responder.end_stream(request_id)
    elif how == "refusal":
        pair.responder.send_refusal(request_id, Reason.UNKNOWN)
    else:
        pair.responder.reset_stream(request_id)
    pair.pump()

    assert drain(pair.initiator) == []
    assert pair.initiator.requests_free == MAX_REQUESTS_IN_FLIGHT


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_stream_cancelled_in_the_middle_brings_nothing_more(how: str) -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    pair.responder.send_stream(request_id, b"before")
    pair.pump()
    assert _received(pair) == [b"before"]
    pair.initiator.cancel(request_id)
    pair.initiator.consume(request_id, len(b"before"))
    pair.responder.send_stream(request_id, b"crosses the cancel")
    pair.pump()
    assert drain(pair.initiator) == []
    assert drain(pair.responder) == [Cancelled(request_id=request_id)]
    pair.responder.send_stream(request_id, b"after the cancel")
    if how == "end":
        pair.responder.end_stream(request_id)
    else:
        pair.responder.reset_stream(request_id)
    pair.pump()

    assert drain(pair.initiator) == []
    assert pair.initiator.requests_free == MAX_REQUESTS_IN_FLIGHT


@pytest.mark.parametrize("how", ["answer", "stream", "refusal"])
def test_an_answer_that_crosses_the_cancel_is_dropped(how: str) -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"question")
    pair.pump()
    if how == "answer":
        pair.responder.send_answer(request_id, b"crosses")
    elif how == "stream":
        pair.responder.send_answer(request_id, b"crosses", stream_follows=True)
        pair.responder.send_stream(request_id, b"crosses too")
    else:
        pair.responder.send_refusal(request_id, Reason.UNKNOWN)
    pair.initiator.cancel(request_id)
    pair.pump()
    if how == "stream":
        pair.responder.reset_stream(request_id)
        pair.pump()

    assert drain(pair.initiator) == []
    assert pair.initiator.requests_free == MAX_REQUESTS_IN_FLIGHT


def test_cancelling_what_is_over_or_was_never_asked_does_nothing() -> None:
    pair = Pair()
    request_id = pair.ask(stream=False)
    pair.initiator.cancel(request_id)
    pair.initiator.cancel(99)

    assert pair.initiator.data_to_send() == []


def test_a_peer_that_cancels_as_fast_as_it_asks_gets_no_more_than_64_at_work() -> None:
    pair = Pair()
    for number in range(MAX_REQUESTS_IN_FLIGHT + 1):
        forge(pair.initiator, FrameType.REQUEST, 1 + 2 * number)
        forge(pair.initiator, FrameType.CANCEL, 1 + 2 * number)
    pair.pump()

    assert closed(pair.responder).detail == "too many requests are in flight"


def test_cancelling_twice_on_the_wire_closes() -> None:
    pair = Pair()
    request_id = pair.initiator.send_request(b"")
    forge(pair.initiator, FrameType.CANCEL, request_id)
    forge(pair.initiator, FrameType.CANCEL, request_id)
    pair.pump()

    assert closed(pair.responder).reason == "remote_protocol"
