"""A team in memory whose rosters a test edits and signs as it likes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.encoding import decode, encode
from protocol.identity import Seeds, make_identity, parse_certificate_untrusted
from protocol.labels import NO_TEAM
from protocol.limits import MAX_ROSTER_UPDATE_BYTES
from protocol.roster.metadata import (
    Member,
    Roster,
    SignedRoster,
    founding_roster,
    next_version,
    sign_roster,
)
from protocol.roster.trusted import TrustedRoster
from tests.protocol.people import DAY, NOW, person, stream


def member(name: str, role: str = "admin") -> Member:
    """Return somebody as a member."""
    return Member(certificate=person(name).public.certificate, role=role)


def ordered(members: Iterable[Member]) -> tuple[Member, ...]:
    """Return members in the order of their fingerprints."""
    return tuple(
        sorted(members, key=lambda one: parse_certificate_untrusted(one.certificate).fingerprint)
    )


def twin(original: str, **seeds: bytes) -> Member:
    """Return a member with a name and keys of its own but for the given seeds."""
    fresh = Seeds.generate(stream(f"twin of {original}"))
    own = {
        "identity": fresh.identity,
        "agreement": fresh.agreement,
        "log": fresh.log,
        "cosigning": fresh.cosigning,
    }
    local = make_identity(Seeds(**{**own, **seeds}), name=f"twin of {original}", now=NOW)
    return Member(certificate=local.public.certificate, role="editor")


def seeds_of(name: str) -> Seeds:
    """Return the seeds of a person."""
    return Seeds.generate(stream(f"person/{name}"))


def founded(name: str = "Alice") -> TrustedRoster:
    """Return a team that somebody has just founded."""
    body = founding_roster(team_name="Studio", admin=person(name).public, now=NOW)
    return TrustedRoster.found_untrusted(sign_roster(body, signers=[person(name)], team_id=NO_TEAM))


def first(names: Iterable[str], *, threshold: int, signers: Iterable[str]) -> bytes:
    """Return the signed version 1 of a team of several administrators."""
    roster = Roster(
        version=1,
        team_name="Studio",
        parents=(),
        created=NOW,
        expires_at=NOW + 365 * DAY,
        threshold=threshold,
        members=ordered(member(name) for name in names),
    )
    return sign_roster(encode(roster), signers=[person(name) for name in signers], team_id=NO_TEAM)


def edited(body: bytes, **changes: Any) -> bytes:
    """Return a roster's body, fields changed and nothing checked."""
    roster = decode(Roster, body, limit=MAX_ROSTER_UPDATE_BYTES)
    return encode(msgspec.structs.replace(roster, **changes))


def successor(
    trusted: TrustedRoster,
    members: Iterable[Member],
    *,
    threshold: int | None = None,
    **changes: Any,
) -> bytes:
    """Return an honest next version's body with these members, then fields changed."""
    body = next_version(trusted.roster, members=members, now=NOW + DAY, threshold=threshold)
    return edited(body, **changes) if changes else body


def signed(trusted: TrustedRoster, body: bytes, *names: str) -> bytes:
    """Return a body signed by people for a team."""
    return sign_roster(body, signers=[person(name) for name in names], team_id=trusted.team_id)


def envelope(data: bytes) -> SignedRoster:
    """Return the parts of a signed roster."""
    return decode(SignedRoster, data, limit=MAX_ROSTER_UPDATE_BYTES)
