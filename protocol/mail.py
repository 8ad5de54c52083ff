"""Mail: a signed statement to an absent member, sealed so that a rendezvous may keep it.

Belongs here: what a mail says, its signature and seal, and who may have written it.
Never here: delivery, which ids were seen, or what a statement inside does.
Specification: docs/spec/mail.md.

The same mail opens as often as it arrives. What makes a second time change nothing is the
reader's: ids it has seen are kept until they expire, and only a higher sequence counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from protocol.capability.fields import Hash, Id, Ordinal, Time
from protocol.capability.signed import parse_untrusted, verify_value_untrusted
from protocol.encoding import decode, encode
from protocol.errors import (
    AuthenticationError,
    LimitError,
    LocalError,
    Reason,
    Refused,
    RemoteError,
    RemoteProtocolError,
    UnsupportedError,
)
from protocol.identity import Identity, LocalIdentity, sign_statement
from protocol.labels import PROLOGUE_MAIL, SignatureType
from protocol.limits import (
    MAIL_CLOCK_SLACK_MS,
    MAIL_LIFETIME_MS,
    MAX_BODY_BYTES,
    MAX_MAIL_BYTES,
)
from protocol.noise.one_way import SEALED_OVERHEAD_BYTES, open_from_untrusted, seal_to
from protocol.primitives import Entropy

MAIL_KINDS: Final = (
    "capability",
    "manifest",
    "amendment",
    "revocation",
    "receipt",
    "roster",
    "proposal",
)
"""What a mail may carry."""


class MailBody(msgspec.Struct, frozen=True, tag="mail", forbid_unknown_fields=True, kw_only=True):
    """What a mail says, signed by its sender."""

    message_id: Id
    """Random: the same mail again has the same one."""
    recipient: Hash
    """Fingerprint."""
    sequence: Ordinal
    """Of two statements of a kind from one sender to one recipient, the later has the higher."""
    expires_at: Time
    """Until when the reader keeps the id, and takes the mail (Unix ms)."""
    kind: str
    """One of MAIL_KINDS."""
    body: bytes
    """The statement's exact bytes, as they would travel on a channel."""


class MailedCapability(
    msgspec.Struct, frozen=True, tag="mailed-capability", forbid_unknown_fields=True, kw_only=True
):
    """Body of a mail of kind ``capability``."""

    sealed: bytes
    """The sealed capability."""
    image_list: bytes
    """Its sealed image list, or empty where that does not fit: the holder fetches it."""


def parse_mailed_capability_untrusted(body: bytes) -> MailedCapability:
    """Return the body of a mail of kind ``capability``; EncodingError for anything else."""
    return decode(MailedCapability, body, limit=MAX_BODY_BYTES)


def seal_mail(
    body: MailBody,
    *,
    sender: LocalIdentity,
    recipient: Identity,
    team_id: bytes,
    entropy: Entropy,
) -> bytes:
    """Return a mail that only recipient can open.

    LimitError where it would be over MAX_MAIL_BYTES: what is larger waits for a channel.
    LocalError where the recipient would refuse it.
    """
    encoded = encode(body)
    signed = sign_statement(sender.identity, SignatureType.MAIL, team_id, encoded)
    if len(signed) + SEALED_OVERHEAD_BYTES > MAX_MAIL_BYTES:
        raise LimitError("this does not fit a mail", code="mail_too_long")
    try:
        parse_untrusted(MailBody, encoded, _check_untrusted)
    except RemoteError as error:
        raise LocalError(str(error)) from error
    if body.recipient != recipient.fingerprint:
        raise LocalError("a mail is sealed to the one it names")
    return seal_to(
        sender_secret=sender.agreement_secret,
        recipient_public=recipient.agreement_key,
        prologue=PROLOGUE_MAIL + team_id,
        plaintext=signed,
        entropy=entropy,
    )


def open_mail_untrusted(
    sealed: bytes,
    *,
    recipient: LocalIdentity,
    by_agreement: Mapping[bytes, Identity],
    team_id: bytes,
    now: int,
) -> tuple[Identity, MailBody]:
    """Return who wrote a mail, and what it says. ``by_agreement`` are the members.

    Raises AuthenticationError for one that does not open here, is not signed by the one who
    sealed it, or is to another; RemoteProtocolError for an impossible length; EncodingError or
    UnsupportedError where a member wrote what this build refuses; Refused with ``not_member``,
    ``expired``, or ``clock`` for an expiry further away than a mail lives.
    """
    if len(sealed) > MAX_MAIL_BYTES:
        raise RemoteProtocolError("a mail is over its bound")
    key, signed = open_from_untrusted(
        recipient_secret=recipient.agreement_secret,
        prologue=PROLOGUE_MAIL + team_id,
        sealed=sealed,
    )
    sender = by_agreement.get(key)
    if sender is None:
        raise Refused(Reason.NOT_MEMBER, "mail from somebody who is no member")
    # Whoever holds the recipient's agreement secret can seal as anybody, and sign as nobody.
    body = verify_value_untrusted(
        MailBody,
        SignatureType.MAIL,
        signer=sender,
        team_id=team_id,
        signed=signed,
        rules=_check_untrusted,
    )
    if body.recipient != recipient.public.fingerprint:
        raise AuthenticationError("mail: to somebody else")
    if now >= body.expires_at:
        raise Refused(Reason.EXPIRED, "mail past its time")
    if body.expires_at > now + MAIL_LIFETIME_MS + MAIL_CLOCK_SLACK_MS:
        raise Refused(Reason.CLOCK, "mail from a clock that is ahead")
    return sender, body


def _check_untrusted(body: MailBody) -> None:
    if body.kind not in MAIL_KINDS:
        raise UnsupportedError("mail: a kind this build does not know")
