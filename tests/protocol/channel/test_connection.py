"""An open channel: rekeying, keep-alive, closing, and messages that do not belong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.channel.connection import Connection
from protocol.channel.events import (
    AnswerReceived,
    Cancelled,
    ConnectionClosed,
    RequestReceived,
    StreamData,
)
from protocol.channel.frames import FrameType
from protocol.channel.states import State
from protocol.errors import LocalError, LocalProtocolError
from protocol.limits import (
    KEEP_ALIVE_MS,
    MAX_NOISE_MESSAGE_BYTES,
    REKEY_MESSAGES,
    SILENCE_MS,
)
from protocol.noise.cipher_state import RESERVED_NONCE
from tests.protocol.channel.pair import Pair, closed, deliver, drain, forge


def _ciphers(connection: Connection) -> tuple[object, object]:
    transport = connection._transport
    assert transport is not None
    return transport._sending._aead, transport._receiving._aead


def _skip_to(pair: Pair, n: int) -> None:
    """Pretend that n messages have passed from the initiator to the responder."""
    assert pair.initiator._transport is not None
    assert pair.responder._transport is not None
    pair.initiator._transport._sending.n = n
    pair.responder._transport._receiving.n = n


# Rekeying and the end of nonces ------------------------------------------------------------------


def test_a_direction_rekeys_after_every_65536_messages_and_goes_on() -> None:
    pair = Pair()
    for last in (REKEY_MESSAGES - 1, 2 * REKEY_MESSAGES - 1):
        _skip_to(pair, last)
        before = _ciphers(pair.initiator)
        for _number in range(2):
            pair.initiator.send_request(b"question")
            pair.pump()

            assert isinstance(drain(pair.responder)[0], RequestReceived)
        sending, receiving = _ciphers(pair.initiator)
        assert sending is not before[0]
        assert receiving is before[1]


def test_a_side_that_forgets_to_rekey_is_closed() -> None:
    pair = Pair()
    _skip_to(pair, REKEY_MESSAGES - 1)
    assert pair.initiator._transport is not None
    stale = pair.initiator._transport._sending._aead
    pair.initiator.send_request(b"last of its key")
    pair.initiator._transport._sending._aead = stale
    pair.initiator.send_request(b"under the old key")
    pair.pump()

    assert closed(pair.responder).reason == "authentication"


def test_the_last_nonce_is_a_hard_error_for_the_sender_and_closes_the_receiver() -> None:
    pair = Pair()
    _skip_to(pair, RESERVED_NONCE - 1)
    pair.initiator.send_request(b"the last one")
    pair.pump()

    assert isinstance(drain(pair.responder)[0], RequestReceived)
    with pytest.raises(LocalError, match="used up"):
        pair.initiator.send_request(b"one too many")
    pair.responder.receive_data(bytes(32), now=0)
    assert closed(pair.responder).reason == "local_protocol"
    pair.initiator.close()
    assert closed(pair.initiator) == ConnectionClosed(reason="done", remote=False)
    assert pair.initiator.data_to_send() == []


# Messages that do not belong ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message[:-1] + bytes([message[-1] ^ 1]),
        lambda message: message[:-1],
        lambda message: message + b"\x00",
        lambda message: b"",
        lambda message: bytes(20),
    ],
)
def test_a_message_that_does_not_verify_closes_without_a_word(
    spoil: Callable[[bytes], bytes],
) -> None:
    pair = Pair()
    pair.initiator.send_request(b"question")
    deliver(pair.initiator, pair.responder, through=spoil)

    assert closed(pair.responder) == ConnectionClosed(
        reason="authentication", remote=True, detail="authentication"
    )
    assert pair.responder.data_to_send() == []


def test_a_message_over_its_bound_closes() -> None:
    pair = Pair()
    pair.responder.receive_data(bytes(MAX_NOISE_MESSAGE_BYTES + 1), now=0)

    assert closed(pair.responder).reason == "remote_protocol"


@pytest.mark.parametrize("order", [(0, 0), (1, 0), (0, 2)])
def test_replayed_reordered_or_missing_messages_close(order: tuple[int, int]) -> None:
    pair = Pair()
    for _number in range(3):
        pair.initiator.send_request(b"question")
    messages = pair.initiator.data_to_send()
    for number in order:
        pair.responder.receive_data(messages[number], now=0)

    assert closed(pair.responder).reason == "authentication"


def test_a_message_of_one_channel_closes_another_between_the_same_nodes() -> None:
    first, second = Pair(), Pair()
    first.initiator.send_request(b"question")
    deliver(first.initiator, second.responder)

    assert closed(second.responder).reason == "authentication"


def test_what_arrives_after_the_end_changes_nothing() -> None:
    pair = Pair()
    pair.responder.close()
    drain(pair.responder)
    pair.initiator.send_request(b"question")
    deliver(pair.initiator, pair.responder)
    pair.responder.handle_timer(now=10**9)

    assert drain(pair.responder) == []
    assert pair.responder.state is State.CLOSED


def test_a_rule_that_the_peer_breaks_closes_both_sides_with_the_reason() -> None:
    pair = Pair()
    forge(pair.initiator, FrameType.REQUEST, 3, b"not the next id")
    pair.pump()

    assert closed(pair.responder) == ConnectionClosed(
        reason="remote_protocol", remote=True, detail="request id 3 is not the next one"
    )
    assert closed(pair.initiator) == ConnectionClosed(reason="remote_protocol", remote=True)


# Closing -----------------------------------------------------------------------------------------


def test_closing_tells_the_peer_why() -> None:
    pair = Pair()
    pair.initiator.close("shutting_down")
    pair.pump()

    assert closed(pair.initiator) == ConnectionClosed(reason="shutting_down", remote=False)
    assert closed(pair.responder) == ConnectionClosed(reason="shutting_down", remote=True)
    assert pair.responder.data_to_send() == []


def test_closing_twice_is_closing_once() -> None:
    pair = Pair()
    pair.initiator.close()
    pair.initiator.close()

    assert drain(pair.initiator) == [ConnectionClosed(reason="done", remote=False)]
    assert len(pair.initiator.data_to_send()) == 1


def test_what_was_sent_before_closing_arrives() -> None:
    pair = Pair()
    pair.initiator.send_request(b"question")
    pair.initiator.close()
    pair.pump()

    assert [type(event) for event in drain(pair.responder)] == [RequestReceived, ConnectionClosed]


@pytest.mark.parametrize("reason", ["", "Done", "no\x1b[0m", "é", "_x", "x" * 33, "a b"])
def test_a_reason_that_is_no_code_is_refused_on_both_sides(reason: str) -> None:
    pair = Pair()
    with pytest.raises(LocalError):
        pair.initiator.close(reason)
    forge(pair.initiator, FrameType.CLOSE, 0, reason.encode())
    pair.pump()

    assert closed(pair.responder).reason == "remote_protocol"


def test_after_the_end_asking_and_answering_are_illegal_and_letting_go_is_nothing() -> None:
    pair = Pair()
    asked = pair.ask(stream=True)
    pair.initiator.close()
    pair.pump()

    with pytest.raises(LocalProtocolError, match="closed"):
        pair.initiator.send_request(b"")
    with pytest.raises(LocalProtocolError, match="closed"):
        pair.responder.end_stream(asked)
    pair.initiator.cancel(asked)
    pair.initiator.consume(asked, 1)
    assert pair.initiator.next_timer() is None


# Keep-alive --------------------------------------------------------------------------------------


def test_a_quiet_side_pings_and_the_peer_hears_it() -> None:
    pair = Pair()
    assert pair.initiator.next_timer() == KEEP_ALIVE_MS
    pair.initiator.handle_timer(now=KEEP_ALIVE_MS - 1)
    assert pair.initiator.data_to_send() == []
    pair.initiator.handle_timer(now=KEEP_ALIVE_MS)

    assert deliver(pair.initiator, pair.responder, now=KEEP_ALIVE_MS)
    assert drain(pair.responder) == []
    assert pair.responder._heard_at == KEEP_ALIVE_MS


def test_a_side_that_sends_anyway_does_not_ping() -> None:
    pair = Pair()
    pair.initiator.handle_timer(now=KEEP_ALIVE_MS)
    pair.initiator.data_to_send()
    pair.initiator.send_request(b"question")
    pair.initiator.data_to_send()
    pair.initiator.handle_timer(now=2 * KEEP_ALIVE_MS)

    assert pair.initiator.data_to_send() == []


def test_a_silent_peer_is_gone_after_a_minute() -> None:
    pair = Pair()
    now = 0
    while pair.initiator.state is State.OPEN:
        timer = pair.initiator.next_timer()
        assert timer is not None
        now = timer
        pair.initiator.handle_timer(now=now)

    assert now == SILENCE_MS
    assert closed(pair.initiator) == ConnectionClosed(
        reason="silent", remote=True, detail="the peer fell silent"
    )


def test_two_quiet_sides_keep_each_other_open_for_ever() -> None:
    pair = Pair()
    for _round in range(500):
        timers = [side.next_timer() for side in pair.sides]
        pair.now = min(timer for timer in timers if timer is not None)
        for side in pair.sides:
            side.handle_timer(now=pair.now)
        pair.pump()

    assert pair.now > 60 * SILENCE_MS
    assert [side.state for side in pair.sides] == [State.OPEN, State.OPEN]


def test_no_repr_of_an_event_shows_a_body() -> None:
    secret = b"issuer share"
    for event in (
        RequestReceived(request_id=1, body=secret),
        AnswerReceived(request_id=1, body=secret, stream_follows=False),
        StreamData(request_id=1, data=secret),
    ):
        assert "share" not in repr(event)
    assert repr(Cancelled(request_id=1)) == "Cancelled(request_id=1)"
