"""What the roster in use says: who is who, and what may be done under it.

Belongs here: names, roles, and the questions that other services ask before they act.
Never here: how the roster changes or is stored (``membership``), or its rules
(``protocol.roster``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from node.errors import AmbiguousError, NodeError, UnknownError
from node.services.context import Context
from node.services.moments import rfc3339
from protocol.encoding import decode
from protocol.errors import Reason, Refused
from protocol.identity import (
    Identity,
    fingerprint_words,
    format_fingerprint,
    parse_certificate_untrusted,
)
from protocol.labels import NO_TEAM
from protocol.limits import MAX_ROSTER_UPDATE_BYTES
from protocol.roster.changes import common_members
from protocol.roster.metadata import ADMIN, Roster, parse_signed_roster_untrusted
from protocol.roster.trusted import TrustedRoster


class NoTeamError(NodeError):
    """This node belongs to no team yet."""

    code = "no_team"


class Standing:
    """Answers from the newest trusted roster, and from a rival of it where there is one."""

    def __init__(
        self, context: Context, trusted: TrustedRoster | None, rival: TrustedRoster | None
    ) -> None:
        self._context = context
        self._leaving: frozenset[bytes] = frozenset()
        """Whom the version that is being written removes: nothing is released to them any more."""
        self._former = {} if trusted is None else _former_members(trusted)
        self._use(trusted, rival)

    def _use(self, trusted: TrustedRoster | None, rival: TrustedRoster | None) -> None:
        alike = frozenset() if trusted is None or rival is None else common_members(trusted, rival)
        # The writer's thread asks too: whoever sees a rival sees who is alike in both.
        self._alike = alike
        self._trusted = trusted
        self._rival = rival

    def _note_former(
        self, gone: Mapping[bytes, Identity], members: Mapping[bytes, Identity]
    ) -> None:
        """Remember the names of those who left."""
        self._former = _without({**self._former, **gone}, members)

    # Who is who ---------------------------------------------------------------------------------

    @property
    def trusted(self) -> TrustedRoster:
        """The newest trusted roster; NoTeamError where there is none."""
        if self._trusted is None:
            raise NoTeamError(
                "this node is in no team",
                hint="found one with: safelight team create NAME, or join one",
            )
        return self._trusted

    @property
    def rival(self) -> TrustedRoster | None:
        """Another history of the team that has to be joined with this one, or None."""
        return self._rival

    @property
    def founded(self) -> bool:
        """Whether this node is in a team."""
        return self._trusted is not None

    @property
    def removed(self) -> bool:
        """Whether this node's own roster does not have it any more."""
        return self._trusted is not None and self._context.me not in self._trusted.members

    @property
    def team_id(self) -> bytes:
        """The team's id, 32 zero bytes where there is no team."""
        return NO_TEAM if self._trusted is None else self._trusted.team_id

    @property
    def version(self) -> int:
        """The roster's version, 0 where there is no team."""
        return 0 if self._trusted is None else self._trusted.version

    @property
    def roster_hash(self) -> bytes:
        """The roster's hash, empty where there is no team."""
        return b"" if self._trusted is None else self._trusted.hash

    def member(self, fingerprint: bytes) -> Identity | None:
        """Return a member's identity, or None."""
        return None if self._trusted is None else self._trusted.members.get(fingerprint)

    def member_by_agreement(self, agreement_key: bytes) -> Identity | None:
        """Return the member whose agreement key this is, or None."""
        return None if self._trusted is None else self._trusted.by_agreement.get(agreement_key)

    def role_of(self, fingerprint: bytes) -> str | None:
        """Return a member's role, or None."""
        return None if self._trusted is None else self._trusted.role_of(fingerprint)

    def name_of(self, fingerprint: bytes) -> str:
        """Return the name of a member or former one, or the start of an unknown fingerprint."""
        if fingerprint == self._context.me:
            return self._context.identity.public.name
        known = self.member(fingerprint) or self._former.get(fingerprint)
        return format_fingerprint(fingerprint)[:9] if known is None else known.name

    def is_known(self, fingerprint: bytes) -> bool:
        """Say whether somebody is or was a member, whose name is known so."""
        return self.member(fingerprint) is not None or fingerprint in self._former

    def resolve(self, who: str, *, former: bool = False) -> Identity:
        """Return the member that a name or fingerprint prefix means.

        With ``former`` also somebody who was a member, where no member is meant.
        """
        members = list(self.trusted.members.values())
        found = _named(who, members)
        if not found and former:
            found = _named(who, list(self._former.values()))
        if len(found) > 1:
            raise AmbiguousError(
                f"{who!r} means several members",
                [f"{one.name} {format_fingerprint(one.fingerprint)[:14]}" for one in found],
            )
        if not found:
            raise UnknownError(
                f"no member {who!r}",
                hint="members: " + ", ".join(sorted(one.name for one in members)),
            )
        return found[0]

    # What may be done ---------------------------------------------------------------------------

    def may_release(self, holder: bytes) -> Reason | None:
        """Return why nothing is released to a holder just now, or None where it is."""
        trusted, rival, me = self._trusted, self._rival, self._context.me
        if trusted is None or holder in self._leaving or not {holder, me} <= trusted.members.keys():
            return Reason.NOT_MEMBER
        if trusted.expired(self._context.clock.now()):
            return Reason.NOT_MEMBER
        if rival is None or holder in self._alike:
            return None
        return Reason.POLICY if holder in rival.members else Reason.NOT_MEMBER

    def may_grant(self, holder: bytes) -> None:
        """Raise unless something may be granted to a member just now, or granted for longer."""
        self._check_standing()
        if holder not in self.trusted.members or holder in self._leaving:
            raise Refused(Reason.NOT_MEMBER, f"{self.name_of(holder)} is no member any more")
        if self._rival is not None and holder not in self._alike:
            raise self._conflict(f"{self.name_of(holder)} is not the same in both")

    def may_change(self) -> None:
        """Raise NodeError where nobody may be added or get another role just now.

        Its code is ``roster_conflict`` while there is a rival, ``roster_expired`` where the
        roster has expired; Refused (`not_member`) where this node was removed.
        """
        self._check_standing()
        if self._rival is not None:
            raise self._conflict("changes wait until they are joined")

    def _check_standing(self) -> None:
        """Raise unless this node is a member by a roster that has not expired."""
        trusted = self.trusted
        if self.removed:
            raise Refused(
                Reason.NOT_MEMBER,
                f"you are no member of {trusted.roster.team_name} any more",
                hint="an administrator adds you again with: safelight team add",
            )
        if trusted.expired(self._context.clock.now()):
            raise NodeError(
                f"the roster of {trusted.roster.team_name} has expired",
                code="roster_expired",
                hint="an administrator renews it with: safelight team renew",
            )

    def _conflict(self, why: str) -> NodeError:
        return NodeError(
            f"there are two histories of {self.trusted.roster.team_name}: {why}",
            code="roster_conflict",
            hint="an administrator joins them with: safelight team resolve",
        )

    def check_administrator(self) -> None:
        """Raise Refused unless this node is an administrator's."""
        if self.trusted.role_of(self._context.me) != ADMIN:
            raise Refused(
                Reason.POLICY,
                "only an administrator changes the team",
                hint="administrators: "
                + ", ".join(sorted(one.name for one in self.trusted.administrators)),
            )

    def notice(self) -> str | None:
        """Return what everybody at this node should know of its team, or None."""
        if self._trusted is None:
            return None
        try:
            self.may_change()
        except (NodeError, Refused) as reason:
            return f"{reason}; {reason.hint}"
        return None

    def _conflict_sentence(self) -> str | None:
        if self._rival is None:
            return None
        trusted = self.trusted
        return (
            f"two histories since version {trusted.branch_point(self._rival)}: "
            f"version {trusted.version} here, version {self._rival.version} elsewhere"
        )

    def show(
        self, last_seen: dict[bytes, int], online: set[bytes], *, pending: int = 0
    ) -> dict[str, Any]:
        """Return the team as `team show` prints it, with this many pending versions."""
        trusted = self.trusted
        me = self._context.me
        return {
            "team": trusted.roster.team_name,
            "version": trusted.version,
            "expires_at": rfc3339(trusted.roster.expires_at),
            "expired": trusted.expired(self._context.clock.now()),
            "threshold": trusted.roster.threshold,
            "pending": pending,
            "conflict": self._conflict_sentence(),
            "removed": self.removed,
            "members": [
                {
                    "name": one.name,
                    "fingerprint": format_fingerprint(one.fingerprint),
                    "words": list(fingerprint_words(one.fingerprint)),
                    "role": trusted.role_of(one.fingerprint),
                    "online": one.fingerprint in online or one.fingerprint == me,
                    "last_seen": rfc3339(last_seen.get(one.fingerprint)),
                    "me": one.fingerprint == me,
                }
                for one in sorted(trusted.members.values(), key=lambda one: one.name.casefold())
            ],
        }


def _named(who: str, people: list[Identity]) -> list[Identity]:
    """Return those whom a name means, else those whose fingerprint begins like it."""
    who = unicodedata.normalize("NFC", who)
    found = [one for one in people if one.name == who]
    found = found or [one for one in people if one.name.casefold() == who.casefold()]
    prefix = who.lower().replace("-", "")
    if found or len(prefix) < 4:
        return found
    return [
        one
        for one in people
        if format_fingerprint(one.fingerprint).replace("-", "").startswith(prefix)
    ]


def _former_members(trusted: TrustedRoster) -> dict[bytes, Identity]:
    """Return everybody who was a member in an earlier version and is one no more."""
    certificates = {
        member.certificate
        for signed in trusted.signed_versions
        for member in decode(
            Roster, parse_signed_roster_untrusted(signed).body, limit=MAX_ROSTER_UPDATE_BYTES
        ).members
    }
    certificates -= {one.certificate for one in trusted.members.values()}
    known = [parse_certificate_untrusted(one) for one in certificates]
    return _without({one.fingerprint: one for one in known}, trusted.members)


def _without(
    people: dict[bytes, Identity], members: Mapping[bytes, Identity]
) -> dict[bytes, Identity]:
    return {one: identity for one, identity in people.items() if one not in members}
