"""RFC 8785 canonical JSON for integers, strings, booleans, lists and objects: a reference.

Belongs here: an independent writing of the form that log entries have.
Never here: what the product uses; it must agree with this.
"""

from __future__ import annotations

import json
from typing import Any


def encode_json(value: dict[str, Any]) -> bytes:
    """Return RFC 8785 canonical JSON for objects of strings, integers, booleans, lists, objects.

    Integers must be within ±(2^53 − 1), so that every JSON reader sees the same number.
    """
    _check_json(value)
    return json.dumps(
        _sorted(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def decode_json(data: bytes, *, limit: int) -> dict[str, Any]:
    """Decode canonical JSON; ValueError for duplicate keys and every other spelling."""
    if len(data) > limit:
        raise ValueError(f"JSON: {len(data)} bytes, at most {limit} allowed")
    try:
        value = json.loads(data.decode())
        if not isinstance(value, dict):
            raise ValueError("JSON: not an object")
        canonical = encode_json(value)
    except (ValueError, RecursionError, UnicodeError):
        raise ValueError("JSON: not a valid encoding") from None
    if canonical != data:
        raise ValueError("JSON: not the canonical encoding")
    return value


def _check_json(value: Any) -> None:
    match value:
        case bool() | str():
            return
        case int():
            if abs(value) > 2**53 - 1:
                raise ValueError("JSON: integer out of range")
        case list():
            for item in value:
                _check_json(item)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise ValueError("JSON: key is not a string")
                _check_json(item)
        case _:
            raise ValueError(f"JSON: {type(value).__name__} is not allowed")


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
