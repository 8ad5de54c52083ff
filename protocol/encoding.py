"""The two canonical codecs: MessagePack for wire values, JSON for log entries.

Belongs here: encode, and a decode that refuses every spelling but the one that
encode writes.
Never here: the values themselves, or what they mean.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from protocol.errors import EncodingError

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


def encode(value: Any) -> bytes:
    """Return the canonical MessagePack bytes of a wire value (a msgspec Struct)."""
    return _encoder.encode(value)


def decode(kind: type[T], data: bytes, *, limit: int) -> T:
    """Decode data as kind, at most limit bytes.

    Raises EncodingError for unknown fields, wrong types, trailing bytes, and every
    encoding that encode would not have written (msgspec alone accepts non-minimal
    integers and repeated keys).
    """
    if len(data) > limit:
        raise EncodingError(f"{kind.__name__}: {len(data)} bytes, at most {limit} allowed")
    try:
        value = msgspec.msgpack.decode(data, type=kind)
        canonical = _encoder.encode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise EncodingError(f"{kind.__name__}: not a valid encoding") from None
    if canonical != data:
        raise EncodingError(f"{kind.__name__}: not the canonical encoding")
    return value


def encode_json(value: dict[str, Any]) -> bytes:
    """Return RFC 8785 canonical JSON for objects of strings, integers, booleans, lists, objects.

    Integers must be within ±(2^53 − 1), so that every JSON reader sees the same number.
    """
    _check_json(value)
    return json.dumps(
        _sorted(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def decode_json(data: bytes, *, limit: int) -> dict[str, Any]:
    """Decode canonical JSON; EncodingError for duplicate keys and every other spelling."""
    if len(data) > limit:
        raise EncodingError(f"JSON: {len(data)} bytes, at most {limit} allowed")
    try:
        value = json.loads(data.decode())
        if not isinstance(value, dict):
            raise EncodingError("JSON: not an object")
        canonical = encode_json(value)
    except (ValueError, RecursionError, UnicodeError):
        raise EncodingError("JSON: not a valid encoding") from None
    if canonical != data:
        raise EncodingError("JSON: not the canonical encoding")
    return value


def _check_json(value: Any) -> None:
    match value:
        case bool() | str():
            return
        case int():
            if abs(value) > 2**53 - 1:
                raise EncodingError("JSON: integer out of range")
        case list():
            for item in value:
                _check_json(item)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise EncodingError("JSON: key is not a string")
                _check_json(item)
        case _:
            raise EncodingError(f"JSON: {type(value).__name__} is not allowed")


def _sorted(value: Any) -> Any:
    """Order keys by UTF-16 code units, as RFC 8785 section 3.2.3 demands."""
    if isinstance(value, dict):
        return {
            key: _sorted(value[key])
            for key in sorted(value, key=lambda k: k.encode("utf-16-be", "surrogatepass"))
        }
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
