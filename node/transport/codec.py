"""Which messages a session carries: between nodes, or between a node and a rendezvous.

Belongs here: the pair of decoders that a session is given, and the one between nodes.
Never here: the messages (``protocol.messages``, ``protocol.rendezvous``), or framing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

from protocol.messages import decode_answer_untrusted, decode_request_untrusted


@dataclass(frozen=True, slots=True)
class Codec:
    """The two decoders of a kind of session. Both raise EncodingError for bytes that are none."""

    decode_request: Callable[[bytes], Any]
    decode_answer: Callable[[bytes], Struct]


NODE_CODEC: Final = Codec(decode_request_untrusted, decode_answer_untrusted)
"""What two nodes say to each other."""
