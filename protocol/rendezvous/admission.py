"""Whom a rendezvous serves: a team's signed list of agreement keys, without a name.

Belongs here: the list, its signatures, and the rule by which one replaces another.
Never here: where a server keeps it, or the roster it is made from.
Specification: docs/spec/rendezvous.md, "Admission".

- The first admission of a team is signed by the threshold of its own administrators.
- A later one has a higher version, and is signed by the threshold of the administrators of
  the one in force and of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Annotated

import msgspec

from protocol.encoding import decode, encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    LocalError,
    RemoteError,
    RemoteProtocolError,
)
from protocol.identity import LocalIdentity, signature_input
from protocol.labels import SignatureType
from protocol.limits import MAX_ADMISSION_BYTES, MAX_MEMBERS
from protocol.primitives import KEY_BYTES, SIGNATURE_BYTES, verify_signature
from protocol.roster.trusted import TrustedRoster

_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
_Signature = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
_Keys = Annotated[tuple[_Key, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class Admission(
    msgspec.Struct, frozen=True, tag="admission", forbid_unknown_fields=True, kw_only=True
):
    """One version of whom a rendezvous serves."""

    team_id: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    version: _Positive
    """The version of the roster that it is made from."""
    threshold: _Positive
    """How many administrators sign."""
    administrators: _Keys
    """Their identity keys, strictly ascending."""
    keys: _Keys
    """The agreement keys of all members, strictly ascending."""


class AdmissionSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One administrator's signature over an admission's body."""

    signer: _Key
    """Identity key."""
    signature: _Signature


class SignedAdmission(
    msgspec.Struct, frozen=True, tag="signed-admission", forbid_unknown_fields=True
):
    """An admission as it travels."""

    body: bytes
    """Exact bytes of `Admission`."""
    signatures: Annotated[tuple[AdmissionSignature, ...], msgspec.Meta(max_length=2 * MAX_MEMBERS)]
    """Strictly ascending by signer: nobody stands there twice."""


# Making -----------------------------------------------------------------------------------------


def admission_of(trusted: TrustedRoster) -> bytes:
    """Return the body of the admission that a roster's version gives."""
    return encode(
        Admission(
            team_id=trusted.team_id,
            version=trusted.version,
            threshold=trusted.roster.threshold,
            administrators=tuple(sorted(one.identity_key for one in trusted.administrators)),
            keys=tuple(sorted(one.agreement_key for one in trusted.members.values())),
        )
    )


def sign_admission(body: bytes, signers: Iterable[LocalIdentity]) -> bytes:
    """Return an admission's body with the signatures of signers, as it travels.

    LocalError for a body that a rendezvous would refuse, LimitError for too many signatures.
    """
    try:
        admission = _parse_untrusted(body)
    except RemoteError as error:
        raise LocalError(str(error)) from error
    message = signature_input(SignatureType.ADMISSION, admission.team_id, body)
    return _encode(
        body, {signer.public.identity_key: signer.identity.sign(message) for signer in signers}
    )


def combine_admissions(a: bytes, b: bytes, *, current: Admission | None = None) -> bytes:
    """Return one admission with the signatures of two of the same body.

    Signatures that do not verify are left out; with ``current``, the admission in force, also
    those that count for nothing, so that strangers cannot fill it up. EncodingError for bytes
    that are no admission, RemoteProtocolError for two bodies, LimitError for too many signatures.
    """
    left, right = _parse_signed_untrusted(a), _parse_signed_untrusted(b)
    if left.body != right.body:
        raise RemoteProtocolError("admission: the signatures are for another one")
    admission = _parse_untrusted(left.body)
    valid = _valid_untrusted(left, admission.team_id) | _valid_untrusted(right, admission.team_id)
    if current is not None:
        counting = {*admission.administrators, *current.administrators}
        valid = {signer: signature for signer, signature in valid.items() if signer in counting}
    return _encode(left.body, valid)


# Checking ---------------------------------------------------------------------------------------


def check_admission_untrusted(signed: bytes, current: Admission | None) -> tuple[Admission, int]:
    """Return an admission, and how many people at least have yet to sign it; 0 puts it in force.

    ``current`` is the one in force for its team, if any. Signatures that do not verify count for
    nothing. Raises EncodingError for bytes that are no admission, RemoteProtocolError for
    another team's, or for one (code ``admission_old``) whose version is not higher.
    """
    envelope = _parse_signed_untrusted(signed)
    admission = _parse_untrusted(envelope.body)
    if current is not None and admission.team_id != current.team_id:
        raise RemoteProtocolError("admission: another team's")
    if current is not None and admission.version <= current.version:
        raise RemoteProtocolError("admission: not newer", code="admission_old")
    signers = _valid_untrusted(envelope, admission.team_id).keys()
    lacks_own = _lacking(admission, signers)
    if current is None:
        return admission, lacks_own
    lacks_current = _lacking(current, signers)
    # Who is an administrator of both signs once for both.
    both = len(set(admission.administrators) & set(current.administrators) - signers)
    return admission, max(lacks_own, lacks_current, lacks_own + lacks_current - both)


def _lacking(admission: Admission, signers: Iterable[bytes]) -> int:
    """Return how many of an admission's administrators have yet to sign."""
    return max(0, admission.threshold - len(set(admission.administrators).intersection(signers)))


def _parse_signed_untrusted(signed: bytes) -> SignedAdmission:
    envelope = decode(SignedAdmission, signed, limit=MAX_ADMISSION_BYTES)
    if not _ascending(tuple(one.signer for one in envelope.signatures)):
        raise EncodingError("admission: signers are not in order, or one stands there twice")
    return envelope


def _parse_untrusted(body: bytes) -> Admission:
    admission = decode(Admission, body, limit=MAX_ADMISSION_BYTES)
    if not _ascending(admission.administrators) or not _ascending(admission.keys):
        raise EncodingError("admission: keys are not in order, or one stands there twice")
    if admission.threshold > len(admission.administrators):
        raise EncodingError("admission: fewer administrators than have to sign")
    return admission


def _valid_untrusted(envelope: SignedAdmission, team_id: bytes) -> dict[bytes, bytes]:
    """Return signer to signature for those that verify."""
    message = signature_input(SignatureType.ADMISSION, team_id, envelope.body)
    valid = {}
    for one in envelope.signatures:
        try:
            verify_signature(one.signer, message, one.signature)
        except AuthenticationError:
            continue
        valid[one.signer] = one.signature
    return valid


def _encode(body: bytes, signatures: dict[bytes, bytes]) -> bytes:
    signed = encode(
        SignedAdmission(
            body=body,
            signatures=tuple(
                AdmissionSignature(signer=signer, signature=signatures[signer])
                for signer in sorted(signatures)
            ),
        )
    )
    if len(signed) > MAX_ADMISSION_BYTES:
        raise LimitError("an admission with so many members and signatures does not fit a message")
    return signed


def _ascending(values: tuple[bytes, ...]) -> bool:
    return all(left < right for left, right in itertools.pairwise(values))
