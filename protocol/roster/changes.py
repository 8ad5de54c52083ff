"""What differs between two rosters, and how two histories become one.

Belongs here: a version's changes as values that an interface words, the version that joins
two histories, and who is alike in both.
Never here: signatures and trust (``trusted``, ``proposal``), or sentences.
Specification: docs/spec/roster.md, "Two histories".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from protocol.errors import LocalError
from protocol.identity import Identity, parse_certificate_untrusted
from protocol.limits import MAX_ROSTER_JUMP, ROSTER_LIFETIME_MS
from protocol.roster.metadata import (
    ADMIN,
    ROLES,
    Member,
    Roster,
    make_version,
    name_skeleton,
    parse_roster_untrusted,
    parse_signed_roster_untrusted,
)
from protocol.roster.trusted import TrustedRoster

# Changes ----------------------------------------------------------------------------------------

ChangeKind = Literal[
    "added", "removed", "role", "certificate", "named", "threshold", "joined", "renewed"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that a version changes. What is empty does not apply to its kind."""

    kind: ChangeKind
    """``added`` ``removed`` ``role`` ``certificate`` are about a member; ``named`` is the team's
    name; ``threshold``; ``joined`` ends a conflict; ``renewed`` changes only the end."""
    name: str
    """Of the member."""
    fingerprint: bytes
    """Of the member."""
    before: str
    """The role, name, threshold, or end (Unix ms) that was."""
    after: str
    """The role, name, threshold, end, or number of joined histories that is."""


def describe_changes(before: Roster | None, after: Roster) -> tuple[Change, ...]:
    """Return what after changes, people first and in the order of their fingerprints.

    Both are rosters that were parsed. With no version before everybody is added.
    """
    old = {} if before is None else _people(before)
    new = _people(after)
    changes: list[Change] = []
    for fingerprint in sorted(old.keys() | new.keys()):
        changes += _changes_of(old.get(fingerprint), new.get(fingerprint))
    if before is not None and before.team_name != after.team_name:
        changes.append(_change("named", before.team_name, after.team_name))
    if before is not None and before.threshold != after.threshold:
        changes.append(_change("threshold", str(before.threshold), str(after.threshold)))
    if len(after.parents) > 1:
        changes.append(_change("joined", "", str(len(after.parents))))
    if before is not None and not changes:
        changes.append(_change("renewed", str(before.expires_at), str(after.expires_at)))
    return tuple(changes)


_Person = tuple[Identity, str]
"""A member and the role."""


def _people(roster: Roster) -> dict[bytes, _Person]:
    people = [
        (parse_certificate_untrusted(member.certificate), member.role) for member in roster.members
    ]
    return {one.fingerprint: (one, role) for one, role in people}


def _changes_of(old: _Person | None, new: _Person | None) -> list[Change]:
    if old is None:
        assert new is not None, "in one of the two"
        return [_change("added", "", new[1], new[0])]
    if new is None:
        return [_change("removed", old[1], "", old[0])]
    changes = []
    if old[1] != new[1]:
        changes.append(_change("role", old[1], new[1], new[0]))
    if old[0].certificate != new[0].certificate:
        changes.append(_change("certificate", old[0].name, new[0].name, new[0]))
    return changes


def _change(kind: ChangeKind, before: str, after: str, about: Identity | None = None) -> Change:
    return Change(
        kind=kind,
        name="" if about is None else about.name,
        fingerprint=b"" if about is None else about.fingerprint,
        before=before,
        after=after,
    )


# Two histories ----------------------------------------------------------------------------------


def common_members(a: TrustedRoster, b: TrustedRoster) -> frozenset[bytes]:
    """Return the fingerprints of those who are in both with one certificate and one role."""
    return frozenset(
        fingerprint
        for fingerprint, member in a.members.items()
        if b.members.get(fingerprint) == member and b.role_of(fingerprint) == a.role_of(fingerprint)
    )


def merge(ours: TrustedRoster, theirs: TrustedRoster, *, now: int) -> bytes:
    """Return the body of the version that joins two histories, the same from either side.

    Who was removed in one is removed; who was added in one is a member; of two changed roles
    the narrower holds. Newcomers whose name or key is another member's stay out. The threshold
    is the larger one, as far as there are administrators. Both sides take it once enough
    administrators of each have signed, and enough of its own.

    LocalError where there is nothing to join, where no administrator is left, where the numbers
    are too far apart, or where both together break a rule of rosters: `overrule` is the way out
    of these.
    """
    _check_rivals(ours, theirs)
    sides = (_Side.of(ours, theirs), _Side.of(theirs, ours))
    members = _without_clashes(_merged_members(sides), ours=ours, theirs=theirs)
    administrators = sum(member.role == ADMIN for member in members.values())
    if not administrators:
        raise LocalError(
            "each side removed the other's administrators, so that none would be left",
            hint=_OVERRULE_HINT,
        )
    version = max(ours.version, theirs.version) + 1
    if version > min(ours.version, theirs.version) + MAX_ROSTER_JUMP:
        raise LocalError("the other history is too many versions ahead", hint=_OVERRULE_HINT)
    joined = Roster(
        version=version,
        team_name=_merged_name(sides),
        parents=(ours.hash, theirs.hash),
        created=now,
        expires_at=now + ROSTER_LIFETIME_MS,
        threshold=min(max(ours.roster.threshold, theirs.roster.threshold), administrators),
        members=tuple(members.values()),
    )
    try:
        return make_version(joined)
    except LocalError as error:
        raise LocalError(str(error), hint=_OVERRULE_HINT) from error


def overrule(ours: TrustedRoster, theirs: TrustedRoster, *, now: int) -> bytes:
    """Return the body of the version that ends a conflict by keeping all of ours.

    For a history made by somebody whom the team has removed. Whoever holds ours takes it;
    whoever holds theirs only where enough of its administrators signed as well, and its number
    is within reach. LocalError where there is nothing to join.
    """
    _check_rivals(ours, theirs)
    version = max(ours.version, theirs.version) + 1
    if version > ours.version + MAX_ROSTER_JUMP:
        version = ours.version + 1
    return make_version(
        msgspec.structs.replace(
            ours.roster,
            version=version,
            parents=(ours.hash, theirs.hash),
            created=now,
            expires_at=now + ROSTER_LIFETIME_MS,
        )
    )


_OVERRULE_HINT: Final = "keep this side's version: safelight team resolve --keep-ours"


def _check_rivals(ours: TrustedRoster, theirs: TrustedRoster) -> None:
    if not ours.branch_point(theirs):
        raise LocalError("these are two teams")
    if ours.extends(theirs) or theirs.extends(ours):
        raise LocalError("there is no conflict: one of these rosters follows the other")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """What one history did since it left the other."""

    trusted: TrustedRoster
    since: tuple[dict[bytes, Member], ...]
    """Fingerprint to member, in the newest common version and in each after it."""
    name_before: str
    """The team's name in the newest common version."""

    @classmethod
    def of(cls, trusted: TrustedRoster, other: TrustedRoster) -> _Side:
        branch_point = trusted.branch_point(other)
        known = {one.certificate: one for one in trusted.members.values()}
        since: list[dict[bytes, Member]] = []
        name_before = ""
        for number, signed in zip(trusted.hashes, trusted.signed_versions, strict=True):
            if number < branch_point:
                continue
            body = parse_signed_roster_untrusted(signed).body
            roster, identities = parse_roster_untrusted(body, known=known)
            known.update((one.certificate, one) for one in identities)
            people = zip(identities, roster.members, strict=True)
            since.append({one.fingerprint: member for one, member in people})
            name_before = name_before or roster.team_name
        return cls(trusted=trusted, since=tuple(since), name_before=name_before)

    def removed(self, fingerprint: bytes) -> bool:
        """Say whether somebody was a member since, and is no more."""
        was = any(fingerprint in members for members in self.since)
        return was and fingerprint not in self.since[-1]

    def changed(self, fingerprint: bytes) -> bool:
        """Say whether somebody's role has changed since, if only for a while."""
        roles = {
            members[fingerprint].role if fingerprint in members else None for members in self.since
        }
        return len(roles) > 1


_Sides = tuple[_Side, _Side]


def _merged_members(sides: _Sides) -> dict[bytes, Member]:
    everybody = sides[0].since[-1].keys() | sides[1].since[-1].keys()
    return {
        one: _merged_member(sides, one)
        for one in everybody
        if not any(side.removed(one) for side in sides)
    }


def _merged_member(sides: _Sides, fingerprint: bytes) -> Member:
    found = [side for side in sides if fingerprint in side.since[-1]]
    # Where only one side changed something, that change holds; else the narrower of the two.
    decisive = [side for side in found if side.changed(fingerprint)] or found
    role = max((side.since[-1][fingerprint].role for side in decisive), key=ROLES.index)
    certificate = max(side.since[-1][fingerprint].certificate for side in found)
    return Member(certificate=certificate, role=role)


def _without_clashes(
    members: Mapping[bytes, Member], *, ours: TrustedRoster, theirs: TrustedRoster
) -> dict[bytes, Member]:
    """Leave out newcomers of one side whose name or key somebody else of the other side has.

    Neither side can say which of two newcomers is meant, and a conflict that cannot be
    resolved would stop the team: both can be added anew under other names.
    """
    marks = {
        one: _marks(parse_certificate_untrusted(member.certificate))
        for one, member in members.items()
    }
    holders: dict[bytes | str, int] = {}
    for one in members:
        for mark in marks[one]:
            holders[mark] = holders.get(mark, 0) + 1
    return {
        one: member
        for one, member in members.items()
        if (one in ours.members and one in theirs.members)
        or all(holders[mark] == 1 for mark in marks[one])
    }


def _marks(identity: Identity) -> set[bytes | str]:
    return {
        name_skeleton(identity.name),
        identity.identity_key,
        identity.agreement_key,
        identity.log_key,
        identity.cosigning_key,
    }


def _merged_name(sides: _Sides) -> str:
    names = [side.trusted.roster.team_name for side in sides]
    changed = [name for name in names if name != sides[0].name_before]
    return min(changed or names)
