"""Roster versions on their way to another node.

Belongs here: the framing of the stream that answers ``roster.fetch``.
Never here: the rules by which a version is accepted (``trusted``).
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.errors import EncodingError
from protocol.limits import MAX_ROSTER_UPDATE_BYTES

# One version: u32be length ‖ the exact bytes of the signed roster. Ascending, without gaps.


def join_versions(versions: Iterable[bytes]) -> bytes:
    """Return the stream for signed rosters in ascending order.

    Stops before MAX_ROSTER_UPDATE_BYTES; the receiver asks again for the rest.
    """
    stream = bytearray()
    for signed in versions:
        if stream and len(stream) + 4 + len(signed) > MAX_ROSTER_UPDATE_BYTES:
            break
        stream += len(signed).to_bytes(4, "big") + signed
    return bytes(stream)


def split_versions_untrusted(stream: bytes) -> list[bytes]:
    """Return the signed rosters of a peer's stream; EncodingError where it is cut or too long."""
    if len(stream) > MAX_ROSTER_UPDATE_BYTES:
        raise EncodingError("roster update is over its limit")
    versions: list[bytes] = []
    position = 0
    while position < len(stream):
        end = position + 4 + int.from_bytes(stream[position : position + 4], "big")
        if end > len(stream) or end == position + 4:
            raise EncodingError("roster update is cut")
        versions.append(stream[position + 4 : end])
        position = end
    return versions
