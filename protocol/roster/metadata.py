"""The roster document: who belongs to a team, with which keys and role.

Belongs here: the document, its rules within one version, its hashes and signatures,
and how a next version is made.
Never here: whether a version may follow another (``trusted``), or where it is stored.
Specification: docs/spec/roster.md.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

import msgspec

from protocol.encoding import decode, encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    RemoteError,
    UnsupportedError,
)
from protocol.identity import (
    Identity,
    LocalIdentity,
    is_clean_name,
    parse_certificate_untrusted,
    signature_input,
)
from protocol.labels import HASH_ROSTER, HASH_TEAM, SignatureType
from protocol.limits import (
    MAX_CERTIFICATE_BYTES,
    MAX_MEMBERS,
    MAX_ROSTER_PARENTS,
    MAX_ROSTER_UPDATE_BYTES,
    ROSTER_LIFETIME_MS,
)
from protocol.primitives import blake2b, verify_signature

ROLES: Final = ("admin", "editor", "publisher", "reviewer", "guest")
"""Every role. Only an ``admin`` signs rosters; a ``guest`` is outside the team."""
ADMIN: Final = "admin"

# Values -----------------------------------------------------------------------------------------

_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device of the team."""

    certificate: Annotated[bytes, msgspec.Meta(max_length=MAX_CERTIFICATE_BYTES)]
    """The exact bytes of its certificate, self-signed."""
    role: str


class Roster(msgspec.Struct, frozen=True, tag="roster", forbid_unknown_fields=True, kw_only=True):
    """One version of the team."""

    version: _Positive
    team_name: str
    parents: Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=MAX_ROSTER_PARENTS)]
    """Hashes of the versions before, ascending: none for version 1, else one, or each of two
    rosters of one version that this one joins again."""
    created: _Time
    expires_at: _Time
    threshold: _Positive
    """How many administrators sign the next version, and this one."""
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]
    """In ascending order of fingerprints."""


class RosterSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One administrator's signature over a roster's body."""

    signer: _Hash
    """Fingerprint."""
    signature: Annotated[bytes, msgspec.Meta(max_length=64)]


class SignedRoster(
    msgspec.Struct, frozen=True, tag="signed-roster", forbid_unknown_fields=True, kw_only=True
):
    """A roster as it travels and is stored."""

    body: bytes
    """Exact bytes of `Roster`."""
    signatures: Annotated[tuple[RosterSignature, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
    """In strictly ascending order of signers: nobody stands there twice."""


def roster_hash(body: bytes) -> bytes:
    """Return the 32-byte hash by which a version is named: to its successor and to peers."""
    return blake2b(HASH_ROSTER + body)


def team_id(body: bytes) -> bytes:
    """Return the team's 32-byte id from the body of its roster's version 1."""
    return blake2b(HASH_TEAM + body)


def name_skeleton(name: str) -> str:
    """Return what is left of a name when look-alike spellings are made one: NFKC, case folded."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


# Parsing ----------------------------------------------------------------------------------------


def parse_signed_roster_untrusted(signed: bytes) -> SignedRoster:
    """Return a signed roster's parts, nothing verified; EncodingError for anything else."""
    roster = decode(SignedRoster, signed, limit=MAX_ROSTER_UPDATE_BYTES)
    signers = [one.signer for one in roster.signatures]
    if any(left >= right for left, right in itertools.pairwise(signers)):
        raise EncodingError("roster: signers are not in order, or one stands there twice")
    return roster


def parse_roster_untrusted(
    body: bytes, *, known: Mapping[bytes, Identity]
) -> tuple[Roster, tuple[Identity, ...]]:
    """Return a roster and its members' identities, in its order; signatures are not looked at.

    ``known`` maps certificates that were verified before to their identities. Raises
    EncodingError, UnsupportedError (a role) or AuthenticationError (a certificate).
    """
    roster = decode(Roster, body, limit=MAX_ROSTER_UPDATE_BYTES)
    identities = tuple(
        known.get(member.certificate) or parse_certificate_untrusted(member.certificate)
        for member in roster.members
    )
    _validate(roster, identities)
    return roster, identities


def _validate(roster: Roster, identities: Sequence[Identity]) -> None:
    """Check the rules within one version."""
    if not is_clean_name(roster.team_name):
        raise EncodingError("roster: a team name that cannot be shown")
    if (roster.version == 1) != (roster.parents == ()):
        raise EncodingError("roster: version 1, and only it, has no parents")
    if list(roster.parents) != sorted(set(roster.parents)):
        raise EncodingError("roster: parents are not in order")
    if roster.expires_at <= roster.created:
        raise EncodingError("roster: it ends before it begins")
    roles = [member.role for member in roster.members]
    if not set(roles) <= set(ROLES):
        raise UnsupportedError("roster: a role this build does not know")
    if roster.threshold > roles.count(ADMIN):
        raise EncodingError("roster: fewer administrators than have to sign")
    fingerprints = [one.fingerprint for one in identities]
    if fingerprints != sorted(fingerprints):
        raise EncodingError("roster: members are not in order")
    keys = [
        key
        for one in identities
        for key in (one.identity_key, one.agreement_key, one.log_key, one.cosigning_key)
    ]
    if len(set(keys)) != len(keys):
        raise AuthenticationError("roster: two members share a key")
    if len({name_skeleton(one.name) for one in identities}) != len(identities):
        raise EncodingError("roster: two members have names that look alike")


# Signatures -------------------------------------------------------------------------------------


def sign_roster(body: bytes, *, signers: Iterable[LocalIdentity], team_id: bytes) -> bytes:
    """Return a roster's body with the signatures of signers, as it travels.

    ``team_id`` is NO_TEAM for version 1, else the team's.
    """
    message = signature_input(SignatureType.ROSTER, team_id, body)
    signatures = sorted(
        (
            RosterSignature(
                signer=signer.public.fingerprint, signature=signer.identity.sign(message)
            )
            for signer in signers
        ),
        key=lambda one: one.signer,
    )
    return encode(SignedRoster(body=body, signatures=tuple(signatures)))


def signed_by_untrusted(
    signed: SignedRoster, administrators: Iterable[Identity], *, team_id: bytes
) -> frozenset[bytes]:
    """Return the fingerprints of those administrators whose signature verifies.

    Signatures of others, and ones that fail, count for nothing: a bad signature beside
    enough good ones takes nothing away from those.
    """
    message = signature_input(SignatureType.ROSTER, team_id, signed.body)
    by_signer = {one.signer: one.signature for one in signed.signatures}
    valid = set()
    for administrator in administrators:
        try:
            verify_signature(
                administrator.identity_key,
                message,
                by_signer.get(administrator.fingerprint, b""),
            )
        except AuthenticationError:
            continue
        valid.add(administrator.fingerprint)
    return frozenset(valid)


# Making versions --------------------------------------------------------------------------------


def founding_roster(*, team_name: str, admin: Identity, now: int) -> bytes:
    """Return the body of a new team's version 1: one administrator, threshold 1.

    To be signed under NO_TEAM. LocalError for a name that cannot be shown.
    """
    return make_version(
        Roster(
            version=1,
            team_name=team_name,
            parents=(),
            created=now,
            expires_at=now + ROSTER_LIFETIME_MS,
            threshold=1,
            members=(Member(certificate=admin.certificate, role=ADMIN),),
        )
    )


def with_member(roster: Roster, person: Identity, role: str, *, now: int) -> bytes:
    """Return the body of the version after roster, in which person is a member too.

    LocalError for an unknown role, a name that looks like another member's, or a key that
    a member has already.
    """
    added = Member(certificate=person.certificate, role=role)
    return next_version(roster, members=(*roster.members, added), now=now)


def with_role(roster: Roster, fingerprint: bytes, role: str, *, now: int) -> bytes:
    """Return the body of the version after roster, in which a member has another role.

    LocalError for somebody who is no member, an unknown role, or an administrator without
    whom too few would be left to sign.
    """
    changed = [
        Member(certificate=member.certificate, role=role) if one == fingerprint else member
        for one, member in _by_fingerprint(roster, fingerprint).items()
    ]
    return next_version(roster, members=changed, now=now)


def without_member(roster: Roster, fingerprint: bytes, *, now: int) -> bytes:
    """Return the body of the version after roster, in which a member is one no more.

    LocalError for somebody who is no member, or an administrator without whom too few
    would be left to sign.
    """
    members = _by_fingerprint(roster, fingerprint)
    del members[fingerprint]
    return next_version(roster, members=members.values(), now=now)


def with_threshold(roster: Roster, threshold: int, *, now: int) -> bytes:
    """Return the body of the version after roster, in which threshold administrators sign.

    LocalError for a number below one or over that of the administrators.
    """
    return next_version(roster, members=roster.members, now=now, threshold=threshold)


def renewed(roster: Roster, *, now: int) -> bytes:
    """Return the body of the version after roster that only lasts longer."""
    return next_version(roster, members=roster.members, now=now)


def next_version(
    roster: Roster, *, members: Iterable[Member], now: int, threshold: int | None = None
) -> bytes:
    """Return the body of the version after roster with these members, in any order.

    It lasts a year from now. The threshold stays unless another is given. LocalError where
    peers would refuse it.
    """
    return make_version(
        Roster(
            version=roster.version + 1,
            team_name=roster.team_name,
            parents=(roster_hash(encode(roster)),),
            created=now,
            expires_at=now + ROSTER_LIFETIME_MS,
            threshold=roster.threshold if threshold is None else threshold,
            members=tuple(members),
        )
    )


def make_version(roster: Roster) -> bytes:
    """Return the body of a version of ours, its members and parents put in order.

    LocalError, with a hint where a person can mend it, where peers would refuse it.
    """
    _check_administrators(roster)
    try:
        members = sorted(
            roster.members,
            key=lambda one: parse_certificate_untrusted(one.certificate).fingerprint,
        )
        body = encode(
            msgspec.structs.replace(
                roster, members=tuple(members), parents=tuple(sorted(roster.parents))
            )
        )
        parse_roster_untrusted(body, known={})
    except RemoteError as error:
        raise LocalError(str(error)) from error
    return body


def _check_administrators(roster: Roster) -> None:
    administrators = sum(member.role == ADMIN for member in roster.members)
    if not administrators:
        raise LocalError(
            "a team has an administrator",
            hint="make another member administrator first: safelight team role WHO admin",
        )
    if roster.threshold < 1:
        raise LocalError(
            "at least one administrator signs", hint=f"a number from 1 to {administrators}"
        )
    if roster.threshold > administrators:
        raise LocalError(
            f"{roster.threshold} administrators have to sign, and there would be {administrators}",
            hint="make more members administrators, or lower the number first: "
            f"safelight team threshold {administrators}",
        )


def _by_fingerprint(roster: Roster, fingerprint: bytes) -> dict[bytes, Member]:
    """Return the members of a roster of ours; LocalError unless fingerprint is among them."""
    members = {
        parse_certificate_untrusted(member.certificate).fingerprint: member
        for member in roster.members
    }
    if fingerprint not in members:
        raise LocalError("that is no member", hint="see who is: safelight team show")
    return members
