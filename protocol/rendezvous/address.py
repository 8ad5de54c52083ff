"""The address of a rendezvous: where it listens, and the key that proves it.

Belongs here: the text form and its reading.
Never here: name resolution or dialling.
Specification: docs/spec/rendezvous.md, "Address".
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from protocol.errors import LocalError
from protocol.identity import is_address
from protocol.limits import MAX_RENDEZVOUS_ADDRESS_BYTES
from protocol.primitives import KEY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RendezvousAddress:
    """Where a rendezvous listens, and which key it has."""

    host: str
    """Host name or IP address, without brackets."""
    port: int
    key: bytes
    """X25519 public key, 32 bytes: whoever has another one is not this rendezvous."""

    def __post_init__(self) -> None:
        if not is_address(self.host, self.port) or len(self.key) != KEY_BYTES:
            raise LocalError("this is not the address of a rendezvous", hint=_HINT)

    @property
    def text(self) -> str:
        """The address as people pass it on: ``HOST:PORT/KEY``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{_key_text(self.key)}"


_HINT: Final = "it is HOST:PORT/KEY, as the server printed it"
# A host with colons is an IPv6 address and stands in brackets; others have none.
_TEXT: Final = re.compile(
    r"(?:\[(?P<ipv6>[^\[\]]*:[^\[\]]*)\]|(?P<host>[^\[\]:/]+))"
    r":(?P<port>[1-9][0-9]{0,4})/(?P<key>[a-z2-7]{52})"
)


def parse_rendezvous_address(text: str) -> RendezvousAddress:
    """Read an address, white space around it aside; LocalError for anything else."""
    compact = text.strip()
    found = _TEXT.fullmatch(compact) if len(compact) <= MAX_RENDEZVOUS_ADDRESS_BYTES else None
    if found is None:
        raise LocalError("this is not the address of a rendezvous", hint=_HINT)
    key = base64.b32decode(found["key"].upper() + "====")
    # The last character has 4 bits to spare: only one of its 16 spellings is taken.
    if _key_text(key) != found["key"]:
        raise LocalError("this is not the address of a rendezvous", hint="its last letter is wrong")
    return RendezvousAddress(host=found["ipv6"] or found["host"], port=int(found["port"]), key=key)


def _key_text(key: bytes) -> str:
    return base64.b32encode(key).decode("ascii").rstrip("=").lower()
