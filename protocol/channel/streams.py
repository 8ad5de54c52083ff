"""One exchange, seen from either side, and the window that bounds its stream.

Belongs here: the walk through the exchange table, and flow control.
Never here: encryption, events, or which exchanges exist.

Flow control: a stream starts with a credit of STREAM_WINDOW_BYTES. Each DATA uses it up; each
CREDIT returns what the reader's application has consumed. So a reader never holds more than
one window of a stream, and a reader that stops consuming stops only that stream's writer.
"""

from __future__ import annotations

from protocol.channel.frames import FrameType
from protocol.channel.states import EXCHANGE_TRANSITIONS, ExchangeState
from protocol.errors import (
    LimitError,
    LocalError,
    LocalProtocolError,
    RemoteProtocolError,
)
from protocol.limits import STREAM_CREDIT_BYTES, STREAM_WINDOW_BYTES


class _Exchange:
    """What both sides share: where the exchange is."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = ExchangeState.ASKED

    @property
    def dropped(self) -> bool:
        """Whether the requester no longer wants what the exchange brings."""
        return self.state in (ExchangeState.CANCELLED, ExchangeState.DRAINING)

    def allows(self, kind: FrameType) -> bool:
        """Say whether a frame may pass now."""
        return kind in EXCHANGE_TRANSITIONS[self.state]

    def apply(self, kind: FrameType) -> None:
        """Move by a frame of ours; LocalProtocolError where it may not pass now."""
        if not self.allows(kind):
            raise LocalProtocolError(f"{kind.name} for a request that is {self.state}")
        self.state = EXCHANGE_TRANSITIONS[self.state][kind]

    def apply_untrusted(self, kind: FrameType) -> None:
        """Move by a frame of the peer; RemoteProtocolError where it may not pass now."""
        if not self.allows(kind):
            raise RemoteProtocolError(f"{kind.name} for a request that is {self.state}")
        self.state = EXCHANGE_TRANSITIONS[self.state][kind]


class Asked(_Exchange):
    """An exchange that this side has requested; it reads the stream."""

    __slots__ = ("_credit", "_owed", "_unconsumed")

    def __init__(self) -> None:
        super().__init__()
        self._credit = STREAM_WINDOW_BYTES
        # Delivered to the application and not consumed; consumed and not yet returned as credit.
        self._unconsumed = 0
        self._owed = 0

    def take_untrusted(self, size: int) -> None:
        """Count size bytes of DATA; RemoteProtocolError where they exceed the window."""
        if size > self._credit:
            raise RemoteProtocolError("DATA beyond the credit of its stream")
        self._credit -= size
        self._unconsumed += size

    def consume(self, size: int) -> int:
        """Count size bytes as consumed; return how many to give back as credit now, or 0."""
        if not 0 <= size <= self._unconsumed:
            raise LocalError(f"{size} bytes consumed, {self._unconsumed} delivered")
        self._unconsumed -= size
        self._owed += size
        if self._owed < STREAM_CREDIT_BYTES:
            return 0
        returned, self._owed = self._owed, 0
        self._credit += returned
        return returned


class Answering(_Exchange):
    """An exchange that the peer has requested; this side writes the stream."""

    __slots__ = ("credit",)

    def __init__(self) -> None:
        super().__init__()
        self.credit = STREAM_WINDOW_BYTES
        """Bytes that may be sent now."""

    def spend(self, size: int) -> None:
        """Use up credit for size bytes of DATA; LimitError where there is too little."""
        if size > self.credit:
            raise LimitError(f"{size} bytes to stream, credit for {self.credit}")
        self.credit -= size

    def add_credit_untrusted(self, amount: int) -> None:
        """Add what the peer returns; RemoteProtocolError for more than it was sent."""
        if self.credit + amount > STREAM_WINDOW_BYTES:
            raise RemoteProtocolError("CREDIT beyond the window of its stream")
        self.credit += amount
