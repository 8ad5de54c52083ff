"""What is signed about a capability after it was issued.

Belongs here: amendments and revocations of the issuer, receipts of the holder, and
what an amendment does to a capability.
Never here: terms, which never change, or how a statement travels.
Specification: docs/spec/capability.md, section 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from protocol.capability.fields import Count, Hash, Id, Ordinal, Time
from protocol.capability.signed import sign_value, verify_value_untrusted
from protocol.errors import EncodingError
from protocol.identity import Identity, LocalIdentity
from protocol.labels import SignatureType
from protocol.limits import MAX_OPENS

MAX_ORIGIN_BYTES: Final = 128
"""``safelight/`` fingerprint ``/`` incarnation, all of it ASCII, with room."""

# Values -----------------------------------------------------------------------------------------


class Amendment(
    msgspec.Struct, frozen=True, tag="amendment", forbid_unknown_fields=True, kw_only=True
):
    """The issuer's change to a live capability. It says the whole, so only the last one counts."""

    capability_hash: Hash
    sequence: Ordinal
    """One more with each amendment of a capability."""
    expires_at: Time
    """The end from now on."""
    opens_added: Annotated[int, msgspec.Meta(ge=0, le=MAX_OPENS)]
    """Opens over the terms' max_opens, in the terms' scope, by all amendments together."""
    time: Time


class Revocation(
    msgspec.Struct, frozen=True, tag="revocation", forbid_unknown_fields=True, kw_only=True
):
    """The issuer's word that a capability is over. Nothing undoes it."""

    capability_hash: Hash
    time: Time


ReceiptEvent: TypeAlias = Literal["received", "opened", "saved", "revocation_seen"]
"""What a holder gives its word for."""


class Receipt(msgspec.Struct, frozen=True, tag="receipt", forbid_unknown_fields=True, kw_only=True):
    """The holder's word of what it received, opened, saved or was told."""

    event: ReceiptEvent
    capability_hash: Hash
    image_id: Id | None = None
    """``opened`` and ``saved`` only, as is all that follows but the time."""
    open_id: Id | None = None
    origin: Annotated[str, msgspec.Meta(max_length=MAX_ORIGIN_BYTES, pattern=r"^[!-~]*\Z")] = ""
    """Of the issuer's log, whose entry of the release the holder has verified."""
    index: Count = 0
    leaf_hash: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    time: Time


def validate_receipt(receipt: Receipt) -> None:
    """Check that a receipt names a release exactly where there was one, or raise EncodingError."""
    if receipt.event in ("opened", "saved"):
        complete = (
            receipt.image_id is not None
            and receipt.open_id is not None
            and receipt.origin != ""
            and len(receipt.leaf_hash) == 32
        )
    else:
        complete = (
            receipt.image_id,
            receipt.open_id,
            receipt.origin,
            receipt.index,
            receipt.leaf_hash,
        ) == (None, None, "", 0, b"")
    if not complete:
        raise EncodingError("receipt: it does not name its release as its event demands")


# Amendments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """A capability's changeable part."""

    expires_at: int
    opens_added: int
    sequence: int
    """Of the last amendment that counted, 0 where there was none."""


def apply_amendment(
    *, expires_at: int, opens_added: int, last_sequence: int, amendment: Amendment
) -> Amended:
    """Return the changeable part after an amendment; one seen before or out of date is no change.

    Raises EncodingError for a newer one that takes something away: that is what a
    revocation is for.
    """
    if amendment.sequence <= last_sequence:
        return Amended(expires_at=expires_at, opens_added=opens_added, sequence=last_sequence)
    if amendment.expires_at < expires_at or amendment.opens_added < opens_added:
        raise EncodingError("amendment: it takes away what was granted")
    return Amended(
        expires_at=amendment.expires_at,
        opens_added=amendment.opens_added,
        sequence=amendment.sequence,
    )


def sign_amendment(amendment: Amendment, *, issuer: LocalIdentity, team_id: bytes) -> bytes:
    """Return an amendment of ours, signed; LocalError for one that cannot be."""
    return sign_value(amendment, SignatureType.AMENDMENT, signer=issuer, team_id=team_id)


def verify_amendment_untrusted(signed: bytes, *, issuer: Identity, team_id: bytes) -> Amendment:
    """Return the amendment that issuer signed, or raise AuthenticationError or EncodingError."""
    return verify_value_untrusted(
        Amendment, SignatureType.AMENDMENT, signer=issuer, team_id=team_id, signed=signed
    )


# Revocations ------------------------------------------------------------------------------------


def sign_revocation(revocation: Revocation, *, issuer: LocalIdentity, team_id: bytes) -> bytes:
    """Return a revocation of ours, signed; LocalError for one that cannot be."""
    return sign_value(revocation, SignatureType.REVOCATION, signer=issuer, team_id=team_id)


def verify_revocation_untrusted(signed: bytes, *, issuer: Identity, team_id: bytes) -> Revocation:
    """Return the revocation that issuer signed, or raise AuthenticationError or EncodingError."""
    return verify_value_untrusted(
        Revocation, SignatureType.REVOCATION, signer=issuer, team_id=team_id, signed=signed
    )


# Receipts ---------------------------------------------------------------------------------------


def sign_receipt(receipt: Receipt, *, holder: LocalIdentity, team_id: bytes) -> bytes:
    """Return a receipt of ours, signed; LocalError for one that an issuer would refuse."""
    return sign_value(
        receipt, SignatureType.RECEIPT, signer=holder, team_id=team_id, rules=validate_receipt
    )


def verify_receipt_untrusted(signed: bytes, *, holder: Identity, team_id: bytes) -> Receipt:
    """Return the receipt that holder signed, or raise AuthenticationError or EncodingError."""
    return verify_value_untrusted(
        Receipt,
        SignatureType.RECEIPT,
        signer=holder,
        team_id=team_id,
        signed=signed,
        rules=validate_receipt,
    )
