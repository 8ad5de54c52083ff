"""The roster a node trusts, and the only ways to come to trust one.

Belongs here: the update rules, after TUF, as a value without I/O.
Never here: the document (``metadata``), storage, or what a role may do (``policy``).
Specification: docs/spec/roster.md, "Trust".

- Version 1 is trusted because a person compared its administrator's fingerprint
  (``welcome``), or founded the team here.
- Version N + 1 is trusted because the threshold of version N's administrators signed
  it, and the threshold of its own did. Nothing else makes a version trusted.
- Administrators who act at the same time make two histories. A version that names the heads
  of both joins them; whoever holds the shorter one skips the numbers between, no one else.
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

from protocol.errors import (
    AuthenticationError,
    EncodingError,
    RemoteError,
    RemoteProtocolError,
)
from protocol.identity import Identity
from protocol.labels import NO_TEAM
from protocol.limits import MAX_ROSTER_JUMP
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
    """Hash of each version from 1 to this one, in ascending order. Numbers are missing where a
    version that joins histories follows the shorter one."""
    signed_versions: tuple[bytes, ...] = field(repr=False)
    """The exact bytes of the same versions, in the same order."""
    joined: Mapping[bytes, bytes] = field(repr=False)
    """Hash of each version of another history that these name as a parent, to the exact bytes of
    the newest one that names it."""
    settled: int
    """The newest version with several parents, 0 where there is none: the last that ended a
    conflict."""
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

    # Other histories ----------------------------------------------------------------------------

    def extends(self, other: TrustedRoster) -> bool:
        """Say whether whoever holds other comes to trust this version in the end.

        So it is where other's newest version is one of these, or where one of these joins
        other's history and enough of other's administrators signed it.
        """
        if other.hash in self.hashes.values():
            return True
        if other.hash not in self.joined:
            return False
        later = (
            signed
            for version, signed in zip(self.hashes, self.signed_versions, strict=True)
            if version > other.version
        )
        return any(other._takes(signed) for signed in later)

    def _takes(self, signed: bytes) -> bool:
        try:
            self.update_untrusted(signed)
        except RemoteError:
            return False
        return True

    def branch_point(self, other: TrustedRoster) -> int:
        """Return the newest version that stands in both histories, 0 for another team's."""
        return max(
            (version for version, one in self.hashes.items() if other.hashes.get(version) == one),
            default=0,
        )

    def rivals(self, other: TrustedRoster) -> bool:
        """Say whether other is a history of this team that has to be joined with this one.

        It is none where one of these versions names its newest one: that conflict is over. One
        that branched off before the last conflict was settled counts only where an administrator
        of today signed its newest version: who was removed cannot start it again.
        """
        answered = other.hash in self.hashes.values() or other.hash in self.joined
        if self.team_id != other.team_id or answered or other.extends(self):
            return False
        return self.branch_point(other) >= self.settled or bool(
            signed_by_untrusted(
                parse_signed_roster_untrusted(other.signed_versions[-1]),
                self.administrators,
                team_id=self.team_id,
            )
        )

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
            joined={},
            settled=0,
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
        code ``roster_old``, ``roster_gap``, ``roster_jump``, ``roster_parents``, or
        ``roster_conflict`` for another roster of this very version.
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
        self.check_follows(roster)
        _check_own_threshold_untrusted(envelope, roster, identities, signed_under=self.team_id)
        others = set(roster.parents) - set(self.hashes.values())
        return self._of(
            roster,
            identities,
            team=self.team_id,
            hashes={**self.hashes, roster.version: body_hash},
            signed_versions=(*self.signed_versions, signed),
            joined={**self.joined, **dict.fromkeys(others, signed)},
            settled=roster.version if len(roster.parents) > 1 else self.settled,
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
        joined: dict[bytes, bytes],
        settled: int,
    ) -> TrustedRoster:
        people = list(zip(identities, roster.members, strict=True))
        return cls(
            team_id=team,
            roster=roster,
            hashes=MappingProxyType(hashes),
            signed_versions=signed_versions,
            joined=MappingProxyType(joined),
            settled=settled,
            members=MappingProxyType({one.fingerprint: one for one in identities}),
            by_agreement=MappingProxyType({one.agreement_key: one for one in identities}),
            roles=MappingProxyType({one.fingerprint: member.role for one, member in people}),
        )

    def check_follows(self, roster: Roster) -> None:
        """Raise RemoteProtocolError unless roster's number and parents make it the next one.

        It is the next number, or, where it joins another history that was longer, a higher
        one, by at most MAX_ROSTER_JUMP. Signatures are not looked at.
        """
        if roster.version < self.version:
            raise RemoteProtocolError("roster: an old version", code="roster_old")
        if roster.version == self.version:
            raise RemoteProtocolError("roster: two of one version", code="roster_conflict")
        joins = self.hash in roster.parents and len(roster.parents) > 1
        if joins and roster.version > self.version + MAX_ROSTER_JUMP:
            raise RemoteProtocolError("roster: it skips too many numbers", code="roster_jump")
        if not joins and roster.version > self.version + 1:
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
