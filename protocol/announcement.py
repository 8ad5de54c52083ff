"""What a node announces on a local network, and how others read it.

Belongs here: the blinded tag, and the values of the TXT record, both ways.
Never here: multicast DNS itself, or trust: an announcement is a hint, and who answers at an
address is what its handshake proves.
Specification: docs/spec/announcement.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.errors import EncodingError, LocalError, UnsupportedError
from protocol.labels import HASH_ANNOUNCEMENT
from protocol.limits import MAX_ANNOUNCED_VALUE_BYTES, MAX_INVITATION_NUMBER
from protocol.primitives import blake2b

NONCE_BYTES: Final = 16
TAG_BYTES: Final = 16
ANNOUNCEMENT_VERSION: Final = "1"


def announcement_tag(agreement_key: bytes, *, nonce: bytes, port: int) -> bytes:
    """Return the 16 bytes by which those who know agreement_key know its node again.

    To everybody else they are random, and others with every nonce and port.
    """
    data = HASH_ANNOUNCEMENT + nonce + port.to_bytes(2, "big")
    return blake2b(data, size=TAG_BYTES, key=agreement_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What stands in one TXT record."""

    nonce: bytes
    """16 random bytes, fresh at every start of the node."""
    tag: bytes
    """16 bytes: `announcement_tag`."""
    invitation: int | None = None
    """The number of the invitation that is open here, while one is."""

    def __post_init__(self) -> None:
        if len(self.nonce) != NONCE_BYTES or len(self.tag) != TAG_BYTES:
            raise LocalError("nonce and tag of an announcement are 16 bytes each")
        if self.invitation is not None and not 1 <= self.invitation <= MAX_INVITATION_NUMBER:
            raise LocalError(f"the number of an invitation is 1 to {MAX_INVITATION_NUMBER}")


def announcement_values(announcement: Announcement) -> dict[str, str]:
    """Return the keys and values of an announcement's TXT record."""
    values = {
        "v": ANNOUNCEMENT_VERSION,
        "n": announcement.nonce.hex(),
        "t": announcement.tag.hex(),
    }
    if announcement.invitation is not None:
        values["inv"] = str(announcement.invitation)
    return values


_HEX: Final = re.compile(rb"[0-9a-f]{32}")
_NUMBER: Final = re.compile(rb"[1-9][0-9]{0,3}")
_KEYS: Final = frozenset({b"v", b"n", b"t"})


def parse_announcement_untrusted(properties: Mapping[bytes, bytes | None]) -> Announcement:
    """Return what a TXT record announces; None is the value of a key that has none.

    Raises UnsupportedError for another version and EncodingError for whatever
    `announcement_values` would not have written.
    """
    # Four keys at most are looked at, however many a packet brings.
    if len(properties) > len(_KEYS) + 1 or any(
        len(value or b"") > MAX_ANNOUNCED_VALUE_BYTES for value in properties.values()
    ):
        raise EncodingError("announcement: too long")
    if properties.get(b"v") != ANNOUNCEMENT_VERSION.encode():
        raise UnsupportedError("announcement: a version this build does not know")
    if properties.keys() - {b"inv"} != _KEYS:
        raise EncodingError("announcement: a value is missing or unknown")
    nonce, tag = (_matched_untrusted(_HEX, properties[key]).decode("ascii") for key in (b"n", b"t"))
    invitation = None
    if b"inv" in properties:
        # Four digits are never over MAX_INVITATION_NUMBER.
        invitation = int(_matched_untrusted(_NUMBER, properties[b"inv"]))
    return Announcement(nonce=bytes.fromhex(nonce), tag=bytes.fromhex(tag), invitation=invitation)


def _matched_untrusted(pattern: re.Pattern[bytes], value: bytes | None) -> bytes:
    if value is None or pattern.fullmatch(value) is None:
        raise EncodingError("announcement: a value is malformed")
    return value
