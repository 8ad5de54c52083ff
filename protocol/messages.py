"""Typed node-to-node messages: what stands in a request's or answer's body.

Belongs here: one frozen msgspec Struct for each request and answer, and their
two decoders.
Never here: framing (``channel``), rules (``capability``, ``roster``) or I/O.
Signed statements travel as the exact bytes of ``identity.Signed``.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from protocol.encoding import decode, encode
from protocol.errors import EncodingError, LimitError
from protocol.limits import ANSWER_BYTES, MAX_BODY_BYTES

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A number of things or bytes: what the database and every JSON reader can hold."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of every message; the subclass's tag names it on the wire."""


# Requests ---------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    """First request of each side of a new channel: what I have (architecture 4.4)."""

    roster_version: Count
    roster_hash: bytes
    my_head: bytes
    """My newest signed head (a signed note), empty where my log is empty."""
    your_head: bytes
    """The newest head of yours that I hold, empty where I hold none."""
    log_keys: Count
    """How many statements about log keys I have made (audit.log_keys)."""


class RosterUpdate(Message, frozen=True, tag="roster.update"):
    """I hold this roster version: fetch what you lack. All that a stranger may ask (4.6)."""

    version: Count
    hash: bytes


class RosterFetch(Message, frozen=True, tag="roster.fetch"):
    """Every roster version after this one, please. They arrive as a stream."""

    have_version: Count


class ProposeRoster(Message, frozen=True, tag="roster.propose"):
    """A next version that lacks signatures (roster.proposal), to an administrator (4.6)."""

    signed: bytes


class Deliver(Message, frozen=True, tag="capability.deliver"):
    """A sealed capability (capability.Capability under Noise X)."""

    sealed: bytes


class DeliverManifest(Message, frozen=True, tag="manifest.deliver"):
    """A signed manifest: this picture's rendition is ready."""

    signed: bytes


class FetchList(Message, frozen=True, tag="image_list.fetch"):
    """The sealed image list of a capability, as a stream."""

    capability_hash: bytes


class FetchRendition(Message, frozen=True, tag="rendition.fetch"):
    """The sealed bytes of a rendition from offset on, as a stream."""

    rendition_id: bytes
    offset: Count


class FetchHead(Message, frozen=True, tag="head.fetch"):
    """Your newest signed head, and the proof that your log of one size extends an older one."""

    from_size: Count
    to_size: Count = 0
    """Where the proof leads; 0 is the newest head."""


class FetchLogKeys(Message, frozen=True, tag="log_keys.fetch"):
    """Your statements about log keys, in their order, after the first so many."""

    after: Count


class AnnounceLogKey(Message, frozen=True, tag="log_key.announce"):
    """A statement that I made about a log key, before any head that this key signs."""

    signed: bytes


class AddCheckpoint(Message, frozen=True, tag="checkpoint.add"):
    """Please cosign this head of my log: the request of tlog-witness (audit.witness)."""

    old: Count
    """The size of the head of mine that you cosigned last, 0 where there is none."""
    proof: tuple[bytes, ...]
    note: bytes


class FetchHeads(Message, frozen=True, tag="heads.fetch"):
    """Heads of members' logs that you hold, those that changed after this number of yours."""

    after: Count


class OpenRequest(Message, frozen=True, tag="open"):
    """A signed open request (capability.OpenBody)."""

    signed: bytes


class DeliverStatement(Message, frozen=True, tag="statement.deliver"):
    """A signed amendment, revocation or receipt."""

    statement: str
    """``amendment``, ``revocation`` or ``receipt``."""
    signed: bytes


Request: TypeAlias = (
    Hello
    | RosterUpdate
    | RosterFetch
    | ProposeRoster
    | Deliver
    | DeliverManifest
    | FetchList
    | FetchRendition
    | FetchHead
    | FetchLogKeys
    | AnnounceLogKey
    | AddCheckpoint
    | FetchHeads
    | OpenRequest
    | DeliverStatement
)


# Answers ----------------------------------------------------------------------------------------


class Done(Message, frozen=True, tag="done"):
    """Stored durably. The acknowledgement of a delivery."""


class Streamed(Message, frozen=True, tag="streamed"):
    """A stream of this many bytes follows."""

    length: Count


class Head(Message, frozen=True, tag="head"):
    """A signed head and the consistency proof to it."""

    note: bytes
    proof: tuple[bytes, ...]
    root: bytes = b""
    """The log's root at the size from which the proof leads, where there is one: a proof from a
    power of two leaves it out, and whoever was shown another root could not show that to others."""


class KeyStatements(Message, frozen=True, tag="log_keys"):
    """Signed statements about log keys, MAX_LOG_KEYS_AT_ONCE at most; none where no more are."""

    statements: tuple[bytes, ...]


class Cosigned(Message, frozen=True, tag="cosigned"):
    """I hold this head durably now; this is my cosignature, one line of a note."""

    line: bytes


class Held(Message, frozen=True, tag="held"):
    """I did not cosign: the head of yours that I hold has this size. Prove from there."""

    size: Count


class Heads(Message, frozen=True, tag="heads"):
    """Signed heads of members' logs, oldest change first, MAX_HEADS_AT_ONCE at most."""

    notes: tuple[bytes, ...]
    next: Count
    """What to ask with the next time."""


class Released(Message, frozen=True, tag="released"):
    """The issuer's share for one rendition, with the proof that the open is logged."""

    issuer_share: bytes
    entry: bytes
    index: Count
    proof: tuple[bytes, ...]
    checkpoint: bytes
    opens_left: Count

    def __repr__(self) -> str:
        return f"Released(index={self.index}, opens_left={self.opens_left})"


class Denied(Message, frozen=True, tag="denied"):
    """A typed refusal of an open; `reason` is an errors.Reason."""

    reason: str


Answer: TypeAlias = (
    Done | Streamed | Head | KeyStatements | Cosigned | Held | Heads | Released | Denied
)


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of a request or answer."""
    return encode(message)


def decode_request_untrusted(body: bytes) -> Request:
    """Decode a peer's request; EncodingError for anything else."""
    request: Request = decode(Request, body, limit=MAX_BODY_BYTES)
    return request


def decode_answer_untrusted(body: bytes) -> Answer:
    """Decode a peer's answer; EncodingError for anything else."""
    answer: Answer = decode(Answer, body, limit=MAX_BODY_BYTES)
    return answer


# An answer to an open: u16be length ‖ answer ‖ zeros up to 4,096 bytes in all.


def encode_padded(answer: Released | Denied) -> bytes:
    """Return an answer to an open in exactly ANSWER_BYTES, alike for a refusal and a release."""
    body = encode(answer)
    if len(body) > ANSWER_BYTES - 2:
        raise LimitError("answer to an open is over its fixed size")
    return (len(body).to_bytes(2, "big") + body).ljust(ANSWER_BYTES, b"\x00")


def decode_padded_untrusted(data: bytes) -> Released | Denied:
    """Decode a peer's padded answer to an open; EncodingError for anything else."""
    length = int.from_bytes(data[:2], "big")
    if len(data) != ANSWER_BYTES or any(data[2 + length :]) or length > ANSWER_BYTES - 2:
        raise EncodingError("answer to an open is not padded as it must be")
    answer: Released | Denied = decode(Released | Denied, data[2 : 2 + length], limit=ANSWER_BYTES)
    return answer
