"""The canonical codec of wire values: MessagePack, one spelling for each value.

Belongs here: encode, and a decode that refuses every spelling but the one that
encode writes.
Never here: the values themselves, what they mean, or log entries (``audit.entry``).
"""

from __future__ import annotations

import functools
from types import UnionType
from typing import Any, TypeVar, overload

import msgspec

from protocol.errors import EncodingError

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


@functools.cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    # Building one takes far longer than using it, for a union above all.
    return msgspec.msgpack.Decoder(kind)


def encode(value: Any) -> bytes:
    """Return the canonical MessagePack bytes of a wire value (a msgspec Struct)."""
    return _encoder.encode(value)


@overload
def decode(kind: type[T], data: bytes, *, limit: int) -> T: ...
@overload
def decode(kind: UnionType, data: bytes, *, limit: int) -> Any: ...
def decode(kind: Any, data: bytes, *, limit: int) -> Any:
    """Decode data as kind, at most limit bytes.

    Raises EncodingError for unknown fields, wrong types, trailing bytes, and every
    encoding that encode would not have written (msgspec alone accepts non-minimal
    integers and repeated keys).
    """
    name = getattr(kind, "__name__", "message")  # a union has none
    if len(data) > limit:
        raise EncodingError(f"{name}: {len(data)} bytes, at most {limit} allowed")
    try:
        value = _decoder(kind).decode(data)
        canonical = _encoder.encode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise EncodingError(f"{name}: not a valid encoding") from None
    if canonical != data:
        raise EncodingError(f"{name}: not the canonical encoding")
    return value
