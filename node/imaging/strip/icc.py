"""Colour profiles: whole ones are kept, cut to the length that they announce.

Belongs here: telling a profile (ICC.1 section 7.2) from other bytes.
Never here: colours.
"""

from __future__ import annotations

from typing import Final

from node.imaging.strip.parts import Buffer

MAX_PROFILE_BYTES: Final = 16 << 20
"""Larger than any; those of printing presses have up to some megabytes."""

_HEADER_BYTES: Final = 128
_SIGNATURE: Final = slice(36, 40)
_PADDING: Final = 3
"""Zeros that writers put behind a profile to end on a multiple of four."""


def whole_profile_untrusted(data: Buffer) -> bytes | None:
    """Return the profile at the beginning of data, and nothing but padding behind it.

    None where there is none.
    """
    size = int.from_bytes(data[:4])
    if not _HEADER_BYTES < size <= min(len(data), MAX_PROFILE_BYTES):
        return None
    padding = bytes(data[size : size + _PADDING + 1])
    if len(padding) <= _PADDING and not any(padding):
        size += len(padding)
    return bytes(data[:size]) if bytes(data[_SIGNATURE]) == b"acsp" else None
