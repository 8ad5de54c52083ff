"""The roster a node trusts, and the only ways to come to trust one.

Belongs here: the update rules, after TUF, as a value without I/O.
Never here: the document (``metadata``), storage, or what a role may do (``policy``).
Specification: docs/spec/roster.md, "Trust".

- Version 1 is trusted because a person compared its administrator's fingerprint
  (``welcome``), or founded the team here.
- Version N + 1 is trusted because the threshold of version N's administrators signed
  it, and the threshold of its own did. Nothing else makes a version trusted; none is skipped.
- A version is never replaced: the highest stored one is where a node starts again.
- Intermediate versions may have expired. Whether the newest has is asked of `expired`.

Usage::

    trusted = TrustedRoster.found_untrusted(first)
    for signed in later:
        trusted = trusted.update_untrusted(signed)
    if trusted.expired(now): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from protocol.errors import AuthenticationError, EncodingError, RemoteProtocolError
from protocol.identity import Identity
from protocol.labels import NO_TEAM
from protocol.roster.metadata import (
    ADMIN,
    Roster,
    SignedRoster,
    parse_roster_untrusted,
    parse_signed_roster_untrusted,
    roster_hash,
    signed_by_untrusted,
    team_id,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRoster:
    """A trusted version of the roster, with all before it. A value: an update returns another."""

    team_id: bytes
    """32 bytes, the same in every version."""
    roster: Roster
    hashes: Mapping[int, bytes] = field(repr=False)
    """Hash of each version from 1 to this one."""
    signed_versions: tuple[bytes, ...] = field(repr=False)
    """The exact bytes of each version from 1 to this one."""
    members: Mapping[bytes, Identity] = field(repr=False)
    """Fingerprint to member."""
    by_agreement: Mapping[bytes, Identity] = field(repr=False)
    """Agreement key to member."""
    roles: Mapping[bytes, str] = field(repr=False)
    """Fingerprint to role."""

    # Asking -------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The version's number, from 1."""
        return self.roster.version

    @property
    def hash(self) -> bytes:
        """The version's 32-byte hash."""
        return self.hashes[self.version]

    def role_of(self, fingerprint: bytes) -> str | None:
        """Return a member's role, or None for everybody else."""
        return self.roles.get(fingerprint)

    @property
    def administrators(self) -> tuple[Identity, ...]:
        """The members who sign the next version."""
        return tuple(
            member
            for fingerprint, member in self.members.items()
            if self.roles[fingerprint] == ADMIN
        )

    def expired(self, now: int) -> bool:
        """Say whether this version has outlived its signers' word (Unix ms).

        An expired roster may be a frozen one: whoever withholds newer versions cannot
        make it last longer.
        """
        return now >= self.roster.expires_at

    # Coming to trust ----------------------------------------------------------------------------

    @classmethod
    def found_untrusted(cls, signed: bytes) -> TrustedRoster:
        """Return a team from its version 1, signed by the threshold of its own administrators.

        That it is the right team is for a person to know. Raises EncodingError,
        UnsupportedError or AuthenticationError.
        """
        envelope = parse_signed_roster_untrusted(signed)
        roster, identities = parse_roster_untrusted(envelope.body, known={})
        if roster.version != 1:
            raise EncodingError("roster: a team begins with version 1")
        _check_own_threshold_untrusted(envelope, roster, identities, signed_under=NO_TEAM)
        return cls._of(
            roster,
            identities,
            team=team_id(envelope.body),
            hashes={1: roster_hash(envelope.body)},
            signed_versions=(signed,),
        )

    @classmethod
    def load_untrusted(cls, sequence: Iterable[bytes]) -> TrustedRoster:
        """Return the trusted roster of stored or received versions, which begin with 1.

        Raises what `found_untrusted` and `update_untrusted` raise.
        """
        trusted: TrustedRoster | None = None
        for signed in sequence:
            trusted = (
                cls.found_untrusted(signed) if trusted is None else trusted.update_untrusted(signed)
            )
        if trusted is None:
            raise EncodingError("roster: no version at all")
        return trusted

    def update_untrusted(self, signed: bytes) -> TrustedRoster:
        """Return the roster after its next version.

        Raises AuthenticationError unless enough administrators of this version and of the
        new one signed it; EncodingError or UnsupportedError where they wrote what this build
        refuses; RemoteProtocolError for a genuine version that does not follow this one:
        code ``roster_old``, ``roster_gap``, ``roster_parents``, or ``roster_conflict`` for
        another roster of this very version.
        """
        envelope = parse_signed_roster_untrusted(signed)
        body_hash = roster_hash(envelope.body)
        if body_hash in self.hashes.values():
            raise RemoteProtocolError("roster: an old version", code="roster_old")
        # The transported bytes first: nothing that strangers wrote is parsed.
        valid = signed_by_untrusted(envelope, self.administrators, team_id=self.team_id)
        if len(valid) < self.roster.threshold:
            raise AuthenticationError("roster: not signed by enough administrators")
        known = {member.certificate: member for member in self.members.values()}
        roster, identities = parse_roster_untrusted(envelope.body, known=known)
        self._check_follows(roster)
        _check_own_threshold_untrusted(envelope, roster, identities, signed_under=self.team_id)
        return self._of(
            roster,
            identities,
            team=self.team_id,
            hashes={**self.hashes, roster.version: body_hash},
            signed_versions=(*self.signed_versions, signed),
        )

    @classmethod
    def _of(
        cls,
        roster: Roster,
        identities: Sequence[Identity],
        *,
        team: bytes,
        hashes: dict[int, bytes],
        signed_versions: tuple[bytes, ...],
    ) -> TrustedRoster:
        people = list(zip(identities, roster.members, strict=True))
        return cls(
            team_id=team,
            roster=roster,
            hashes=MappingProxyType(hashes),
            signed_versions=signed_versions,
            members=MappingProxyType({one.fingerprint: one for one in identities}),
            by_agreement=MappingProxyType({one.agreement_key: one for one in identities}),
            roles=MappingProxyType({one.fingerprint: member.role for one, member in people}),
        )

    def _check_follows(self, roster: Roster) -> None:
        if roster.version < self.version:
            raise RemoteProtocolError("roster: an old version", code="roster_old")
        if roster.version == self.version:
            raise RemoteProtocolError("roster: two of one version", code="roster_conflict")
        if roster.version > self.version + 1:
            raise RemoteProtocolError("roster: a version is missing", code="roster_gap")
        if self.hash not in roster.parents:
            raise RemoteProtocolError("roster: it follows another one", code="roster_parents")


def _check_own_threshold_untrusted(
    envelope: SignedRoster,
    roster: Roster,
    identities: Sequence[Identity],
    *,
    signed_under: bytes,
) -> None:
    """Raise AuthenticationError unless enough of a version's own administrators signed it."""
    administrators = [
        one for one, member in zip(identities, roster.members, strict=True) if member.role == ADMIN
    ]
    valid = signed_by_untrusted(envelope, administrators, team_id=signed_under)
    if len(valid) < roster.threshold:
        raise AuthenticationError("roster: not signed by enough administrators")
