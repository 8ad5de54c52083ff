"""One channel between two nodes, without I/O.

Belongs here: the doors in (the application, data received, a timer), the doors out (bytes,
events), and the state between them.
Never here: layouts (``frames``, ``offer``), tables (``states``), requests and their streams
(``exchanges``, ``streams``), handshake messages (``handshake``), ciphers (``transport``).

Usage, by a driver that owns the socket and the clock: feed ``receive_data``, drain
``next_event``, send ``data_to_send``, come back to ``handle_timer`` at ``next_timer``. One item
of data is one binary message of the carrier. ``now`` is in milliseconds of a clock that never
goes back; only differences count.

Promise: bytes of the peer never raise. Whatever is wrong with them closes the channel, and
ConnectionClosed says why. LocalError and its kinds mean that the caller is wrong.
"""

from __future__ import annotations

import contextlib
from collections import deque

from protocol.channel.events import ConnectionClosed, Established, Event
from protocol.channel.exchanges import Exchanges
from protocol.channel.frames import CHANNEL_FRAMES, Frame, FrameType, is_close_reason
from protocol.channel.handshake import Handshake
from protocol.channel.offer import DIRECT, Offer
from protocol.channel.states import INITIAL_STATE, TRANSITIONS, Role, State, Step
from protocol.channel.transport import Transport
from protocol.errors import (
    AuthenticationError,
    LocalError,
    LocalProtocolError,
    Reason,
    RemoteProtocolError,
    SafelightError,
)
from protocol.limits import HANDSHAKE_TIMEOUT_MS, KEEP_ALIVE_MS, SILENCE_MS
from protocol.primitives import Data, Entropy


class Connection:
    """One side of a channel.

    The initiator names the key it wants to reach as ``remote_static``, and its offer and first
    handshake message wait in ``data_to_send`` from the start. ``offer`` is what the initiator
    offers; for the responder it says which versions it speaks and over which transport and
    relay circuit the connection came, and an offer that names another is refused.

    Raises LocalError for keys, a team_id or an offer that cannot be used, AuthenticationError
    for a ``remote_static`` of low order.
    """

    def __init__(
        self,
        *,
        role: Role,
        static_secret: bytes,
        remote_static: bytes | None,
        team_id: bytes,
        entropy: Entropy,
        now: int,
        offer: Offer = DIRECT,
    ) -> None:
        # Dropped with its keys as soon as it has done its work.
        self._handshake: Handshake | None = Handshake(
            role=role,
            static_secret=static_secret,
            remote_static=remote_static,
            team_id=team_id,
            entropy=entropy,
            offer=offer,
        )
        self._state = INITIAL_STATE[role]
        self._established: Established | None = None
        self._transport: Transport | None = None
        self._exchanges = Exchanges(role, self._send)
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._handshake_deadline = now + HANDSHAKE_TIMEOUT_MS
        self._heard_at = now
        self._keep_alive_at = now
        self._quiet = True
        """Whether nothing was sent since the last keep-alive."""
        if role is Role.INITIATOR:
            self._output += self._handshake.write_first()

    def __repr__(self) -> str:
        return f"Connection({self._state})"

    @property
    def state(self) -> State:
        """Where the channel is."""
        return self._state

    @property
    def remote_static(self) -> bytes:
        """The peer's agreement key, 32 bytes; LocalProtocolError before Established."""
        return self._agreed().remote_static

    @property
    def handshake_hash(self) -> bytes:
        """The channel's own 64 bytes, alike on both sides; as for the key, after Established."""
        return self._agreed().handshake_hash

    @property
    def requests_free(self) -> int:
        """How many more requests of ours may be in flight now."""
        return self._exchanges.free

    # The driver's doors -------------------------------------------------------------------------

    def receive_data(self, data: bytes, *, now: int) -> None:
        """Take one binary message of the peer. Raises nothing for what it holds."""
        if self._state is State.CLOSED:
            return
        self._heard_at = now
        try:
            if self._transport is None:
                self._receive_handshake_untrusted(data, now)
            else:
                self._receive_frame_untrusted(self._transport.open_untrusted(data))
        except SafelightError as error:
            # A message that does not verify is not the peer's word, so it gets no answer.
            silent = isinstance(error, AuthenticationError)
            self._shut(error.code, remote=True, detail=str(error), say=not silent)

    def next_event(self) -> Event | None:
        """Return the oldest event not yet returned, or None."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> list[bytes]:
        """Return the binary messages to send, in order, each once."""
        output, self._output = self._output, []
        return output

    def next_timer(self) -> int | None:
        """Return when to call handle_timer, or None where nothing is waited for."""
        match self._state:
            case State.CLOSED:
                return None
            case State.OPEN:
                return min(self._keep_alive_at, self._heard_at + SILENCE_MS)
            case _:
                return self._handshake_deadline

    def handle_timer(self, *, now: int) -> None:
        """Do what is due: give up on a slow or silent peer, or show that this side is alive."""
        due = self.next_timer()
        if due is None or now < due:
            return
        if self._state is not State.OPEN:
            self._shut("handshake_timeout", remote=True, detail="the handshake took too long")
        elif now >= self._heard_at + SILENCE_MS:
            self._shut("silent", remote=True, detail="the peer fell silent")
        else:
            if self._quiet:
                self._send(FrameType.PING, 0)
            self._quiet = True
            self._keep_alive_at = now + KEEP_ALIVE_MS

    # The application's doors --------------------------------------------------------------------
    # Each raises LocalProtocolError where the channel is not open, but for close, consume, cancel.

    def close(self, reason: str = "done") -> None:
        """End the channel and tell the peer why, in at most 32 of ``[a-z_]``. Twice is once."""
        if not is_close_reason(reason.encode()):
            raise LocalError("the reason of a close is a short code")
        self._shut(reason, remote=False)

    def send_request(self, body: bytes) -> int:
        """Send a request of at most MAX_BODY_BYTES; return its id.

        LimitError for a longer body, or where MAX_REQUESTS_IN_FLIGHT are in flight.
        """
        return self._open_exchanges().request(body)

    def consume(self, request_id: int, size: int) -> None:
        """Say that size more bytes of a stream are dealt with, so that the peer may send more.

        Nothing happens for a stream or a channel that is over. LocalError for more than was
        delivered.
        """
        if self._state is State.OPEN:
            self._exchanges.consume(request_id, size)

    def cancel(self, request_id: int) -> None:
        """Want no more of a request: no event of it follows but those already queued.

        Nothing happens for a request or a channel that is over. The request stays in flight
        until the peer confirms.
        """
        if self._state is State.OPEN:
            self._exchanges.cancel(request_id)

    # Each request that arrives is finished by exactly one send_answer without a stream,
    # send_refusal, end_stream or reset_stream, even after Cancelled: then nothing is sent but
    # the confirmation, and the request stops counting as in flight. LocalProtocolError for a
    # request that is finished, or a step that does not follow.

    def send_answer(self, request_id: int, body: bytes, *, stream_follows: bool = False) -> None:
        """Answer a request with at most MAX_BODY_BYTES, opening a stream where one follows."""
        self._open_exchanges().answer(request_id, body, stream_follows=stream_follows)

    def send_refusal(self, request_id: int, reason: Reason | str) -> None:
        """Refuse a request. LocalError for a reason that errors.Reason does not know."""
        self._open_exchanges().refuse(request_id, reason)

    def stream_credit(self, request_id: int) -> int:
        """Return how many bytes send_stream takes now."""
        return self._open_exchanges().credit(request_id)

    def send_stream(self, request_id: int, data: Data) -> None:
        """Send the next bytes of a stream; LimitError where they exceed its credit.

        Data splits into messages of frames.DATA_BYTES; multiples of that fill each one.
        """
        self._open_exchanges().stream(request_id, data)

    def end_stream(self, request_id: int) -> None:
        """Say that a stream is complete."""
        self._open_exchanges().end(request_id)

    def reset_stream(self, request_id: int) -> None:
        """Break a stream off, so that the peer knows it is not the whole; or confirm a cancel."""
        self._open_exchanges().reset(request_id)

    # Inside -------------------------------------------------------------------------------------

    def _apply(self, step: Step) -> None:
        """Change the state, as the table says. The only place that does."""
        self._state = TRANSITIONS[self._state][step]

    def _agreed(self) -> Established:
        if self._established is None:
            raise LocalProtocolError(f"the channel has not been established: {self._state}")
        return self._established

    def _open_exchanges(self) -> Exchanges:
        if self._state is not State.OPEN:
            raise LocalProtocolError(f"the channel is not open: {self._state}")
        return self._exchanges

    def _send(self, kind: FrameType, request_id: int, payload: Data = b"") -> None:
        assert self._transport is not None
        self._output.append(self._transport.seal(kind, request_id, payload))
        self._quiet = False

    def _shut(self, reason: str, *, remote: bool, detail: str = "", say: bool = True) -> None:
        if self._state is State.CLOSED:
            return
        if self._state is State.OPEN and say:
            # A cipher that has run out of nonces has no last word.
            with contextlib.suppress(LocalProtocolError):
                self._send(FrameType.CLOSE, 0, reason.encode())
        self._apply(Step.CLOSE)
        self._handshake = None
        self._transport = None
        self._events.append(ConnectionClosed(reason=reason, remote=remote, detail=detail))

    def _receive_handshake_untrusted(self, data: bytes, now: int) -> None:
        handshake = self._handshake
        assert handshake is not None
        match self._state:
            case State.EXPECT_OFFER:
                handshake.read_offer_untrusted(data)
                self._apply(Step.OFFER)
            case State.EXPECT_FIRST:
                self._output.append(handshake.answer_first_untrusted(data))
                self._apply(Step.FIRST)
            case State.EXPECT_SECOND:
                self._output.append(handshake.answer_second_untrusted(data))
                self._establish(handshake, Step.SECOND, now)
            case _:
                handshake.read_third_untrusted(data)
                self._establish(handshake, Step.THIRD, now)

    def _establish(self, handshake: Handshake, step: Step, now: int) -> None:
        self._established, self._transport = handshake.finish()
        self._handshake = None
        self._keep_alive_at = now + KEEP_ALIVE_MS
        self._apply(step)
        self._events.append(self._established)

    def _receive_frame_untrusted(self, frame: Frame) -> None:
        if frame.type not in CHANNEL_FRAMES:
            event = self._exchanges.receive_untrusted(frame)
            if event is not None:
                self._events.append(event)
        elif frame.type is FrameType.CLOSE:
            if not is_close_reason(frame.payload):
                raise RemoteProtocolError("CLOSE for a reason that is no code")
            self._shut(frame.payload.decode("ascii"), remote=True, say=False)
