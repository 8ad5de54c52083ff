"""A next version of the roster while administrators still sign it.

Belongs here: making a proposal, adding and gathering signatures, and what is missing.
Never here: the rules of trust (``trusted``), what a person is told of it (``changes``), or
storage.
Specification: docs/spec/roster.md, "Proposals".

A proposal travels and is stored as the signed roster it becomes. One that is complete is an
update like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.encoding import encode
from protocol.errors import AuthenticationError, RemoteProtocolError
from protocol.identity import Identity, LocalIdentity
from protocol.roster.metadata import (
    ADMIN,
    Roster,
    SignedRoster,
    parse_roster_untrusted,
    parse_signed_roster_untrusted,
    roster_hash,
    sign_roster,
    signed_by_untrusted,
)
from protocol.roster.trusted import TrustedRoster


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A version that follows the trusted one, and who signed it so far."""

    hash: bytes
    """32 bytes: what names the version."""
    roster: Roster
    identities: tuple[Identity, ...]
    """Its members, in its order."""
    signers: frozenset[bytes]
    """Fingerprints of the administrators, of either version, whose signature verifies."""
    missing_old: int
    """How many more administrators of the trusted version have to sign."""
    missing_new: int
    """How many more administrators of the proposed version have to sign."""
    signed: bytes = field(repr=False)
    """The proposal with the signatures of signers and no others: what is stored and passed on."""

    @property
    def complete(self) -> bool:
        """Whether the trusted roster takes it as its next version."""
        return self.missing_old == 0 and self.missing_new == 0


def propose(body: bytes, *, signer: LocalIdentity, team_id: bytes) -> bytes:
    """Return a next version's body with its first signature."""
    return sign_roster(body, signers=[signer], team_id=team_id)


def add_signature(signed: bytes, *, signer: LocalIdentity, team_id: bytes) -> bytes:
    """Return a proposal with one more signature; the signer's own earlier one is replaced."""
    body = parse_signed_roster_untrusted(signed).body
    return combine_untrusted(propose(body, signer=signer, team_id=team_id), signed)


def combine_untrusted(a: bytes, b: bytes) -> bytes:
    """Return one proposal with the signatures of both.

    Where they have different signatures of one signer, a's is kept: a is the one whose
    signatures were verified (`Proposal.signed`). EncodingError where one is no signed
    roster, RemoteProtocolError where they are about different versions.
    """
    ours, theirs = parse_signed_roster_untrusted(a), parse_signed_roster_untrusted(b)
    if ours.body != theirs.body:
        raise RemoteProtocolError("roster: signatures of another proposal")
    by_signer = {one.signer: one for one in (*theirs.signatures, *ours.signatures)}
    signatures = tuple(by_signer[signer] for signer in sorted(by_signer))
    return encode(SignedRoster(body=ours.body, signatures=signatures))


def parse_proposal_untrusted(signed: bytes, trusted: TrustedRoster) -> Proposal:
    """Return what a proposal says and lacks, seen from a trusted roster.

    A version that joins two histories is looked at from both: each lacks its own signatures.
    Raises AuthenticationError unless an administrator of trusted signed it; EncodingError,
    UnsupportedError or AuthenticationError for a document that this build refuses; and
    RemoteProtocolError, with the codes of `TrustedRoster.update_untrusted`, for one that does
    not follow trusted.
    """
    envelope = parse_signed_roster_untrusted(signed)
    body_hash = roster_hash(envelope.body)
    if body_hash in trusted.hashes.values():
        raise RemoteProtocolError("roster: an old version", code="roster_old")
    old = signed_by_untrusted(envelope, trusted.administrators, team_id=trusted.team_id)
    if not old:
        raise AuthenticationError("roster: no administrator signed this proposal")
    known = {member.certificate: member for member in trusted.members.values()}
    roster, identities = parse_roster_untrusted(envelope.body, known=known)
    trusted.check_follows(roster)
    administrators = [
        one for one, member in zip(identities, roster.members, strict=True) if member.role == ADMIN
    ]
    new = signed_by_untrusted(envelope, administrators, team_id=trusted.team_id)
    kept = tuple(one for one in envelope.signatures if one.signer in old | new)
    return Proposal(
        hash=body_hash,
        roster=roster,
        identities=identities,
        signers=old | new,
        missing_old=max(0, trusted.roster.threshold - len(old)),
        missing_new=max(0, roster.threshold - len(new)),
        signed=encode(SignedRoster(body=envelope.body, signatures=kept)),
    )
