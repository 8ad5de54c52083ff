"""What a channel tells its application, as frozen values.

Belongs here: one dataclass for each event, and their union.
Never here: behaviour. Bodies and stream bytes stay out of every repr: they may hold secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from protocol.errors import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """Both sides have proved themselves; requests may pass."""

    remote_static: bytes
    """The peer's agreement key, 32 bytes. Whether it is a member is for the roster to say."""
    handshake_hash: bytes
    """Equal on both sides, different for every channel, 64 bytes."""
    version: int
    """The version that the responder chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """The peer asks; answer or refuse it by its id."""

    request_id: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerReceived:
    """The peer has answered."""

    request_id: int
    body: bytes = field(repr=False)
    stream_follows: bool
    """Whether StreamData and then StreamEnded or StreamReset follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalReceived:
    """The peer refuses, for one reason."""

    request_id: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamData:
    """The next bytes of a stream. Return them with ``consume`` once they are dealt with."""

    request_id: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """The stream is complete."""

    request_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReset:
    """The peer broke the stream off: what has come is not the whole."""

    request_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamWritable:
    """The peer has consumed more of our stream."""

    request_id: int
    credit: int
    """Bytes that may be sent now, in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The peer no longer wants its request answered.

    It is still to be finished, by reset_stream or as if nothing had happened: only then does it
    stop counting as in flight.
    """

    request_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionClosed:
    """The channel is over, and every exchange with it. The last event."""

    reason: str
    """The closing side's word, or the ``code`` of the error that ended the channel."""
    remote: bool
    """Whether the peer caused it: it closed, broke a rule, or fell silent."""
    detail: str = ""
    """A sentence of ours for a log, never the peer's text."""


Event: TypeAlias = (
    Established
    | RequestReceived
    | AnswerReceived
    | RefusalReceived
    | StreamData
    | StreamEnded
    | StreamReset
    | StreamWritable
    | Cancelled
    | ConnectionClosed
)
