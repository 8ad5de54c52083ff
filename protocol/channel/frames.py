"""Frames: the plaintext of one transport message.

Belongs here: the types, their layout, and the bounds that each type must keep.
Never here: when a frame is legal (``states``), or encryption.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from protocol.errors import Reason, RemoteProtocolError
from protocol.limits import (
    MAX_BODY_BYTES,
    MAX_CLOSE_REASON_BYTES,
    MAX_NOISE_MESSAGE_BYTES,
    STREAM_WINDOW_BYTES,
    TAG_BYTES,
)
from protocol.primitives import Data

# Frame:
#   0  1  type
#   1  4  request id, u32be; 0 where the frame is about the channel itself
#   5  n  payload
_HEADER: Final = struct.Struct(">BI")
_CREDIT: Final = struct.Struct(">I")
HEADER_BYTES: Final = _HEADER.size

DATA_BYTES: Final = MAX_NOISE_MESSAGE_BYTES - TAG_BYTES - HEADER_BYTES
"""Stream bytes of a full message, 65,514. Whoever streams in multiples of it wastes no message."""

MAX_REQUEST_ID: Final = 2**32 - 1

_CLOSE_REASON: Final = re.compile(rb"[a-z][a-z_]*")


class FrameType(IntEnum):
    """What a frame is. The values are wire values."""

    REQUEST = 1
    """Opens an exchange. Payload: the request's body."""
    ANSWER = 2
    """The whole answer. Payload: its body."""
    ANSWER_STREAM = 3
    """The answer, and a stream follows. Payload: the answer's body."""
    REFUSAL = 4
    """A typed no. Payload: a value of errors.Reason."""
    DATA = 5
    """The next bytes of the stream, at least one."""
    END = 6
    """The stream is complete. No payload."""
    RESET = 7
    """The stream is broken off, or a CANCEL has been obeyed. No payload."""
    CANCEL = 8
    """The requester wants no more of it. No payload."""
    CREDIT = 9
    """The requester has consumed this many bytes more. Payload: u32be."""
    PING = 10
    """Says that this side is alive. No payload, no answer."""
    CLOSE = 11
    """Ends the channel. Payload: a reason of [a-z_]."""


class Frame(NamedTuple):
    """One parsed frame; the payload is within the bounds of its type."""

    type: FrameType
    request_id: int
    payload: bytes


class _Bounds(NamedTuple):
    least: int
    most: int


_BODY: Final = _Bounds(0, MAX_BODY_BYTES)
_EMPTY: Final = _Bounds(0, 0)

_PAYLOAD: Final[Mapping[int, tuple[FrameType, _Bounds]]] = {
    kind.value: (kind, bounds)
    for kind, bounds in (
        (FrameType.REQUEST, _BODY),
        (FrameType.ANSWER, _BODY),
        (FrameType.ANSWER_STREAM, _BODY),
        (FrameType.REFUSAL, _Bounds(1, max(len(reason) for reason in Reason))),
        (FrameType.DATA, _Bounds(1, DATA_BYTES)),
        (FrameType.END, _EMPTY),
        (FrameType.RESET, _EMPTY),
        (FrameType.CANCEL, _EMPTY),
        (FrameType.CREDIT, _Bounds(_CREDIT.size, _CREDIT.size)),
        (FrameType.PING, _EMPTY),
        (FrameType.CLOSE, _Bounds(1, MAX_CLOSE_REASON_BYTES)),
    )
}

CHANNEL_FRAMES: Final = frozenset({FrameType.PING, FrameType.CLOSE})
"""Frames about the channel itself: their request id is 0, every other's is not."""


def pack_frame(kind: FrameType, request_id: int, payload: Data = b"") -> bytes:
    """Return the bytes of a frame, copying the payload once."""
    return b"".join((_HEADER.pack(kind, request_id), payload))


def parse_frame_untrusted(plaintext: bytes) -> Frame:
    """Return the frame; RemoteProtocolError for an unknown type or a broken bound."""
    if len(plaintext) < HEADER_BYTES:
        raise RemoteProtocolError("a frame is shorter than its header")
    code, request_id = _HEADER.unpack_from(plaintext)
    rule = _PAYLOAD.get(code)
    if rule is None:
        raise RemoteProtocolError(f"frame type {code} is unknown")
    kind, bounds = rule
    if not bounds.least <= len(plaintext) - HEADER_BYTES <= bounds.most:
        raise RemoteProtocolError(f"{kind.name} has a payload out of its bounds")
    if (request_id == 0) != (kind in CHANNEL_FRAMES):
        raise RemoteProtocolError(f"{kind.name} has request id {request_id}")
    return Frame(kind, request_id, plaintext[HEADER_BYTES:])


def pack_credit(amount: int) -> bytes:
    """Return the payload of a CREDIT."""
    return _CREDIT.pack(amount)


def parse_credit_untrusted(payload: bytes) -> int:
    """Return the bytes that a CREDIT grants: 1 to STREAM_WINDOW_BYTES."""
    (amount,) = _CREDIT.unpack(payload)
    if not 1 <= amount <= STREAM_WINDOW_BYTES:
        raise RemoteProtocolError(f"CREDIT of {amount} bytes")
    return int(amount)


def parse_refusal_untrusted(payload: bytes) -> Reason:
    """Return the reason of a REFUSAL; RemoteProtocolError for one that has no name."""
    try:
        return Reason(payload.decode("ascii"))
    except ValueError:
        raise RemoteProtocolError("REFUSAL for an unknown reason") from None


def is_close_reason(payload: bytes) -> bool:
    """Say whether payload is a reason that a CLOSE may carry: safe to show and to log."""
    return len(payload) <= MAX_CLOSE_REASON_BYTES and bool(_CLOSE_REASON.fullmatch(payload))
