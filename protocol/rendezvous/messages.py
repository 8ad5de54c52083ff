"""Typed messages between a node and a rendezvous.

Belongs here: one frozen Struct for each request and answer, both ways, and their decoders.
Never here: framing (``protocol.channel``), quotas, storage or sockets.
Specification: docs/spec/rendezvous.md, "Messages".

A decoder is named after the side that wrote the bytes.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from protocol.encoding import decode
from protocol.limits import (
    CIRCUIT_TOKEN_BYTES,
    MAX_ADMISSION_BYTES,
    MAX_BODY_BYTES,
    MAX_CLAIM_SECRET_BYTES,
    MAX_INVITATION_NUMBER,
    MAX_MAIL_BYTES,
    MAX_MAILS_AT_ONCE,
    MAX_MEMBERS,
    MAX_RELAY_SESSION_BYTES,
    MAX_TIME_MS,
)
from protocol.messages import Count, Done, Message
from protocol.primitives import KEY_BYTES

Key: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
"""An agreement key: how a rendezvous names a member."""
SlotNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_INVITATION_NUMBER)]
Token: TypeAlias = Annotated[
    bytes, msgspec.Meta(min_length=CIRCUIT_TOKEN_BYTES, max_length=CIRCUIT_TOKEN_BYTES)
]
RelaySession: TypeAlias = Annotated[
    bytes, msgspec.Meta(min_length=1, max_length=MAX_RELAY_SESSION_BYTES)
]
MailId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
SignedAdmissionBytes: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=MAX_ADMISSION_BYTES)]
SealedMail: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=MAX_MAIL_BYTES)]

NO_CALLER = bytes(KEY_BYTES)
"""The caller of a slot: a stranger, who has proved no key."""


# Requests of a node -----------------------------------------------------------------------------


class Claim(Message, frozen=True, tag="claim"):
    """Register my team here. Answered by Done; the secret is good for one claim."""

    secret: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CLAIM_SECRET_BYTES)]
    admission: SignedAdmissionBytes

    def __repr__(self) -> str:
        return "Claim()"


class Admit(Message, frozen=True, tag="admit"):
    """A later admission of my team, or a further signature of it. Answered by Admitted."""

    admission: SignedAdmissionBytes


class Attend(Message, frozen=True, tag="attend"):
    """I am here, tell me who else is, ring me. Answered by Attending."""

    team_id: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    """For which team: another one may have put my key on its list without asking me."""


class Call(Message, frozen=True, tag="call"):
    """A circuit to this member, please. Answered by Circuit."""

    key: Key


class OpenSlot(Message, frozen=True, tag="slot.open"):
    """I expect a stranger with an invitation. Answered by Slot."""


class CloseSlot(Message, frozen=True, tag="slot.close"):
    """The invitation of this number is over. Answered by Done."""

    number: SlotNumber


class JoinSlot(Message, frozen=True, tag="slot.join"):
    """A circuit to whoever opened this slot: all, beside Claim, that a stranger may ask."""

    number: SlotNumber


class Deposit(Message, frozen=True, tag="mail.deposit"):
    """Keep this for an absent member. Answered by Done, once it is durable."""

    recipient: Key
    mail_id: MailId
    """Chosen by the sender: the same one again is kept once."""
    expires_at: Time
    sealed: SealedMail


class Collect(Message, frozen=True, tag="mail.collect"):
    """My mail numbered higher than this, please. Answered by Mails."""

    after: Count


class Collected(Message, frozen=True, tag="mail.collected"):
    """I hold these durably: drop them. Answered by Done."""

    numbers: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=MAX_MAILS_AT_ONCE)]


NodeRequest: TypeAlias = (
    Claim | Admit | Attend | Call | OpenSlot | CloseSlot | JoinSlot | Deposit | Collect | Collected
)

# Answers of the rendezvous ----------------------------------------------------------------------


class Admitted(Message, frozen=True, tag="admitted"):
    """What became of an admission."""

    version: Count
    """The version in force now."""
    missing: Count
    """Signatures that the uploaded one still lacks; 0 where it is the one in force."""


class Attending(Message, frozen=True, tag="attending"):
    """You are subscribed to presence, rings and mail."""

    version: Count
    """The version of the team's admission in force."""
    online: Annotated[tuple[Key, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
    """Who of your team attends now, without you."""


class Circuit(Message, frozen=True, tag="circuit"):
    """One end of a circuit: open a socket and send the token first."""

    token: Token
    session: RelaySession
    """Stands in the clear offer of the channel inside, the same at both ends."""

    def __repr__(self) -> str:
        return f"Circuit(session={self.session.hex()})"


class Slot(Message, frozen=True, tag="slot"):
    """Your slot's number, and when it closes by itself."""

    number: SlotNumber
    expires_at: Time


class Mails(Message, frozen=True, tag="mails"):
    """Mail that waits for you, in ascending order of its numbers."""

    mails: Annotated[
        tuple[tuple[Count, SealedMail], ...], msgspec.Meta(max_length=MAX_MAILS_AT_ONCE)
    ]
    more: bool
    """Whether there is more behind the last one."""


ServerAnswer: TypeAlias = Done | Admitted | Attending | Circuit | Slot | Mails

# Requests of the rendezvous, each answered by Done ----------------------------------------------


class Ring(Message, frozen=True, tag="ring"):
    """Somebody called you, or came to your slot: your end of the circuit."""

    caller: Key
    """Agreement key of the caller as the rendezvous knows it; NO_CALLER for a slot."""
    token: Token
    session: RelaySession
    slot: Annotated[int, msgspec.Meta(ge=0, le=MAX_INVITATION_NUMBER)]
    """The slot's number, or 0."""

    def __repr__(self) -> str:
        return f"Ring(caller={self.caller.hex()}, session={self.session.hex()}, slot={self.slot})"


class Present(Message, frozen=True, tag="present"):
    """A member of your team came or went."""

    key: Key
    online: bool


class MailWaiting(Message, frozen=True, tag="mail.waiting"):
    """There is mail for you: collect it."""


ServerRequest: TypeAlias = Ring | Present | MailWaiting


# Decoders ---------------------------------------------------------------------------------------


def decode_node_request_untrusted(body: bytes) -> NodeRequest:
    """Decode what a node asks of the rendezvous; EncodingError for anything else."""
    request: NodeRequest = decode(NodeRequest, body, limit=MAX_BODY_BYTES)
    return request


def decode_node_answer_untrusted(body: bytes) -> Done:
    """Decode how a node answers the rendezvous; EncodingError for anything else."""
    return decode(Done, body, limit=MAX_BODY_BYTES)


def decode_server_request_untrusted(body: bytes) -> ServerRequest:
    """Decode what the rendezvous asks of a node; EncodingError for anything else."""
    request: ServerRequest = decode(ServerRequest, body, limit=MAX_BODY_BYTES)
    return request


def decode_server_answer_untrusted(body: bytes) -> ServerAnswer:
    """Decode how the rendezvous answers a node; EncodingError for anything else."""
    answer: ServerAnswer = decode(ServerAnswer, body, limit=MAX_BODY_BYTES)
    return answer
