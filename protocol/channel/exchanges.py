"""The exchanges of one open channel, both those asked and those being answered.

Belongs here: request ids, how many exchanges there may be, and which frame belongs to which.
Never here: encryption, timers, or the state of the channel.

Ids are odd for the initiator's requests and even for the responder's, and go up by 2 without a
gap. An exchange is in flight until the answerer's last frame, cancelled or not: so a peer that
cancels as fast as it asks gets no more work out of us than one that waits.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.channel.events import (
    AnswerReceived,
    Cancelled,
    Event,
    RefusalReceived,
    RequestReceived,
    StreamData,
    StreamEnded,
    StreamReset,
    StreamWritable,
)
from protocol.channel.frames import (
    DATA_BYTES,
    MAX_REQUEST_ID,
    Frame,
    FrameType,
    pack_credit,
    parse_credit_untrusted,
    parse_refusal_untrusted,
)
from protocol.channel.states import ExchangeState, Role
from protocol.channel.streams import Answering, Asked
from protocol.errors import LimitError, LocalError, LocalProtocolError, Reason, RemoteProtocolError
from protocol.limits import MAX_BODY_BYTES, MAX_REQUESTS_IN_FLIGHT
from protocol.primitives import Data


class Exchanges:
    """Every exchange in flight. ``send`` takes type, request id and payload of a frame."""

    def __init__(self, role: Role, send: Callable[[FrameType, int, Data], None]) -> None:
        self._send = send
        self._next_id = 1 if role is Role.INITIATOR else 2
        self._next_peer_id = 3 - self._next_id
        self._asked: dict[int, Asked] = {}
        self._answering: dict[int, Answering] = {}

    @property
    def free(self) -> int:
        """How many more requests of ours may be in flight now."""
        return MAX_REQUESTS_IN_FLIGHT - len(self._asked)

    # Requesting ---------------------------------------------------------------------------------

    def request(self, body: bytes) -> int:
        """Send a request and return its id; LimitError for one too long or too many."""
        _check_body(body)
        if not self.free:
            raise LimitError(f"{MAX_REQUESTS_IN_FLIGHT} requests are in flight")
        if self._next_id > MAX_REQUEST_ID:
            raise LimitError("the request ids of this channel are used up")
        request_id = self._next_id
        self._send(FrameType.REQUEST, request_id, body)
        self._next_id += 2
        self._asked[request_id] = Asked()
        return request_id

    def consume(self, request_id: int, size: int) -> None:
        """Return credit for size bytes of a stream, unless it is over."""
        asked = self._asked.get(request_id)
        if asked is None or not asked.allows(FrameType.CREDIT):
            return
        credit = asked.consume(size)
        if credit:
            asked.apply(FrameType.CREDIT)
            self._send(FrameType.CREDIT, request_id, pack_credit(credit))

    def cancel(self, request_id: int) -> None:
        """Drop whatever still comes of a request, unless it is over."""
        asked = self._asked.get(request_id)
        if asked is not None and asked.allows(FrameType.CANCEL):
            asked.apply(FrameType.CANCEL)
            self._send(FrameType.CANCEL, request_id, b"")

    # Answering ----------------------------------------------------------------------------------

    def answer(self, request_id: int, body: bytes, *, stream_follows: bool) -> None:
        """Answer a request, opening a stream where one follows."""
        _check_body(body)
        kind = FrameType.ANSWER_STREAM if stream_follows else FrameType.ANSWER
        self._step(kind, request_id, body)

    def refuse(self, request_id: int, reason: Reason | str) -> None:
        """Refuse a request; LocalError for a reason without a name."""
        try:
            code = Reason(reason)
        except ValueError:
            raise LocalError("a refusal needs a reason that the protocol knows") from None
        self._step(FrameType.REFUSAL, request_id, code.encode())

    def credit(self, request_id: int) -> int:
        """Return how many bytes ``stream`` takes now."""
        return self._answering_exchange(request_id).credit

    def stream(self, request_id: int, data: Data) -> None:
        """Send the next bytes of a stream; LimitError where they exceed its credit."""
        exchange = self._answering_exchange(request_id)
        exchange.apply(FrameType.DATA)
        if exchange.dropped:
            return
        exchange.spend(len(data))
        view = memoryview(data)
        for start in range(0, len(data), DATA_BYTES):
            self._send(FrameType.DATA, request_id, view[start : start + DATA_BYTES])

    def end(self, request_id: int) -> None:
        """Say that a stream is complete."""
        self._step(FrameType.END, request_id)

    def reset(self, request_id: int) -> None:
        """Break a stream off, or confirm a cancelled request."""
        self._step(FrameType.RESET, request_id)

    def _answering_exchange(self, request_id: int) -> Answering:
        exchange = self._answering.get(request_id)
        if exchange is None:
            raise LocalProtocolError(f"request {request_id} is not waiting for anything")
        return exchange

    def _step(self, kind: FrameType, request_id: int, payload: bytes = b"") -> None:
        exchange = self._answering_exchange(request_id)
        dropped = exchange.dropped
        exchange.apply(kind)
        last = exchange.state is ExchangeState.DONE
        if last:
            del self._answering[request_id]
        if not dropped:
            self._send(kind, request_id, payload)
        elif last:
            # The peer no longer wants to know how it ended, only that it has.
            self._send(FrameType.RESET, request_id, b"")

    # Frames of the peer -------------------------------------------------------------------------

    def receive_untrusted(self, frame: Frame) -> Event | None:
        """Take a frame about an exchange; return what to tell the application.

        Raises RemoteProtocolError for a frame that the exchange's state or bounds forbid.
        """
        match frame.type:
            case FrameType.REQUEST:
                return self._receive_request_untrusted(frame)
            case FrameType.CANCEL | FrameType.CREDIT:
                return self._receive_for_answering_untrusted(frame)
            case _:
                return self._receive_for_asked_untrusted(frame)

    def _receive_request_untrusted(self, frame: Frame) -> Event:
        if frame.request_id != self._next_peer_id:
            raise RemoteProtocolError(f"request id {frame.request_id} is not the next one")
        if len(self._answering) >= MAX_REQUESTS_IN_FLIGHT:
            raise RemoteProtocolError("too many requests are in flight")
        self._next_peer_id += 2
        self._answering[frame.request_id] = Answering()
        return RequestReceived(request_id=frame.request_id, body=frame.payload)

    def _receive_for_answering_untrusted(self, frame: Frame) -> Event | None:
        request_id = frame.request_id
        exchange = self._answering.get(request_id)
        if exchange is None:
            # The requester may not have seen our last frame when it sent this one.
            if request_id % 2 == self._next_peer_id % 2 and request_id < self._next_peer_id:
                return None
            raise RemoteProtocolError(f"{frame.type.name} for a request that was never made")
        exchange.apply_untrusted(frame.type)
        if frame.type is FrameType.CANCEL:
            return Cancelled(request_id=request_id)
        exchange.add_credit_untrusted(parse_credit_untrusted(frame.payload))
        return StreamWritable(request_id=request_id, credit=exchange.credit)

    def _receive_for_asked_untrusted(self, frame: Frame) -> Event | None:
        request_id, payload = frame.request_id, frame.payload
        exchange = self._asked.get(request_id)
        if exchange is None:
            raise RemoteProtocolError(f"{frame.type.name} for a request that is not in flight")
        dropped = exchange.dropped
        exchange.apply_untrusted(frame.type)
        if exchange.state is ExchangeState.DONE:
            del self._asked[request_id]
        event: Event
        match frame.type:
            case FrameType.DATA:
                exchange.take_untrusted(len(payload))
                event = StreamData(request_id=request_id, data=payload)
            case FrameType.REFUSAL:
                reason = parse_refusal_untrusted(payload)
                event = RefusalReceived(request_id=request_id, reason=reason)
            case FrameType.END:
                event = StreamEnded(request_id=request_id)
            case FrameType.RESET:
                event = StreamReset(request_id=request_id)
            case kind:
                follows = kind is FrameType.ANSWER_STREAM
                event = AnswerReceived(request_id=request_id, body=payload, stream_follows=follows)
        return None if dropped else event


def _check_body(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise LimitError(f"a body is at most {MAX_BODY_BYTES} bytes")
