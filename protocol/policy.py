"""What a team allows to be granted: from classification and role to limits.

Belongs here: the policy's table, what each role may do, and the decision on a share and on
an open.
Never here: who asks (``roster``), what is signed (``capability``), or enforcement.
Specification: docs/spec/policy.md.

A *default* is what a share gets that does not ask; a *maximum* is what nobody gets more
than. A default over the maximum is lowered and the change is said; a request over the
maximum is refused. What the policy requires and this build cannot do refuses the share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from protocol.capability.terms import CLASSIFICATIONS, RIGHTS, Terms, parse_rendition
from protocol.errors import LocalError, UnsupportedError
from protocol.limits import MAX_OPENS

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

DEFAULT_CLASSIFICATION: Final = "internal"
"""Of an imported picture for which nobody said otherwise."""
DEFAULT_OPENS: Final = 10
"""Opens of each picture."""
DEFAULT_PREVIEW_PIXELS: Final = 2048
DEFAULT_RIGHTS: Final = ("view",)
GUEST: Final = "guest"
"""The role of everybody outside the team."""


class Feature(StrEnum):
    """What a policy may require or a sharer ask for, and a build may lack."""

    WATERMARK = "watermark"
    APPROVALS = "approvals"
    CLEAN = "clean"
    LEASE = "lease"


THIS_BUILD: Final = frozenset({Feature.WATERMARK, Feature.CLEAN})
"""The features this build has."""

# Roles ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTemplate:
    """What a role may do: a template of rights."""

    shares: bool
    """Whether it grants capabilities."""
    approved_only: bool
    """Whether what it shares, and what it is granted, has to be approved pictures."""
    holds: frozenset[str]
    """The rights that it can be granted."""


_REVIEW: Final = frozenset({"view", "comment", "pick", "rate"})

ROLE_TEMPLATES: Final[Mapping[str, RoleTemplate]] = MappingProxyType(
    {
        "admin": RoleTemplate(shares=True, approved_only=False, holds=frozenset(RIGHTS)),
        "editor": RoleTemplate(shares=True, approved_only=False, holds=frozenset(RIGHTS)),
        "publisher": RoleTemplate(
            shares=True, approved_only=True, holds=_REVIEW | {"save", "reshare"}
        ),
        "reviewer": RoleTemplate(shares=False, approved_only=False, holds=_REVIEW | {"approve"}),
        "guest": RoleTemplate(shares=False, approved_only=False, holds=_REVIEW),
    }
)
"""Role to template, the widest first."""


def may_issue(role: str | None) -> bool:
    """Say whether a holder takes a capability whose issuer has this role; None is no member."""
    return role is not None and ROLE_TEMPLATES[role].shares


def usable_rights(rights: Iterable[str], holder_role: str) -> tuple[str, ...]:
    """Return which of the rights in terms a holder of today's role may still use.

    ``view`` always stays: what a role takes away is what goes beyond looking.
    """
    holds = ROLE_TEMPLATES[holder_role].holds
    return tuple(right for right in rights if right in holds)


# The table --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What may be granted of pictures of one classification."""

    guests: bool
    """Whether somebody outside the team may hold a capability."""
    default_ms: int
    """How long a share lasts that names no time; never over max_ms."""
    max_ms: int
    """How long a share, or one extension of it, may last; whole hours."""
    max_opens: int | None
    """Of each picture; None leaves the bound of every capability."""
    max_preview_pixels: int | None
    """Long edge of the preview that is then the only rendition; None allows every rendition."""
    watermark: bool
    """Whether every rendition must bear one."""
    approvals: int
    """Of other members, for every share."""
    guest_approvals: int
    """Of other members, for a share with a guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One version of a team's policy."""

    version: int
    rules: Mapping[str, Rule]
    """Classification to rule; one for each of CLASSIFICATIONS."""


BUILT_IN_POLICY: Final = Policy(
    version=0,
    rules=MappingProxyType(
        {
            "public": Rule(
                guests=True,
                default_ms=30 * DAY_MS,
                max_ms=365 * DAY_MS,
                max_opens=None,
                max_preview_pixels=None,
                watermark=False,
                approvals=0,
                guest_approvals=0,
            ),
            "internal": Rule(
                guests=False,
                default_ms=7 * DAY_MS,
                max_ms=90 * DAY_MS,
                max_opens=None,
                max_preview_pixels=None,
                watermark=False,
                approvals=0,
                guest_approvals=0,
            ),
            "confidential": Rule(
                guests=True,
                default_ms=48 * HOUR_MS,
                max_ms=14 * DAY_MS,
                max_opens=None,
                max_preview_pixels=2048,
                watermark=True,
                approvals=0,
                guest_approvals=1,
            ),
            "restricted": Rule(
                guests=False,
                default_ms=2 * HOUR_MS,
                max_ms=24 * HOUR_MS,
                max_opens=5,
                max_preview_pixels=1600,
                watermark=True,
                approvals=2,
                guest_approvals=2,
            ),
        }
    ),
)
"""The policy of a team that has written none (architecture 4.6)."""


def strictest(classifications: Iterable[str]) -> str:
    """Return the strictest of at least one classification; LocalError for an unknown one."""
    found = list(classifications)
    if not found or not set(found) <= set(CLASSIFICATIONS):
        raise LocalError("a classification is one of: " + ", ".join(CLASSIFICATIONS))
    return max(found, key=CLASSIFICATIONS.index)


# A share ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRequest:
    """What somebody asks to grant; None asks for the default."""

    classifications: tuple[str, ...]
    """Of all the pictures; the strictest one counts."""
    rights: tuple[str, ...] = DEFAULT_RIGHTS
    duration_ms: int | None = None
    """From the moment on from which the terms count."""
    opens: int | None = None
    """Of each picture."""
    rendition: str | None = None
    """``original``, ``clean``, ``preview`` or ``preview:PX``; an original only where asked for.
    None is ``clean`` for whoever may save, else a preview."""
    watermark: bool | None = None
    lease_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The limits of terms that may be issued."""

    classification: str
    rights: tuple[str, ...]
    """In the order of RIGHTS."""
    rendition: str
    """As terms say it."""
    watermark: bool
    duration_ms: int
    opens: int
    """Of each picture."""
    lease_ms: int
    changes: tuple[str, ...]
    """What the policy lowered or added to the defaults, one phrase each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """A no of the policy, in words for the person who asked."""

    reason: str
    hint: str


class _DeniedError(Exception):
    """Carries a Deny out of the steps of one decision."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.deny = Deny(reason=reason, hint=hint)


def decide(
    request: ShareRequest,
    *,
    holder_role: str,
    sharer_role: str,
    policy: Policy = BUILT_IN_POLICY,
    features: frozenset[Feature] = THIS_BUILD,
) -> Allow | Deny:
    """Say whether a share may be issued, or extended to this much, and with which limits.

    ``features`` are those of the build. A request that means nothing (an unknown right,
    rendition or classification, a duration or number of opens below one) is a LocalError.
    """
    classification = strictest(request.classifications)
    try:
        return _Decision(
            request=request,
            classification=classification,
            rule=policy.rules[classification],
            features=features,
        ).allow(holder_role=holder_role, sharer_role=sharer_role)
    except _DeniedError as denied:
        return denied.deny


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """The steps of one decision; each returns a limit or raises _DeniedError."""

    request: ShareRequest
    classification: str
    rule: Rule
    features: frozenset[Feature]

    def allow(self, *, holder_role: str, sharer_role: str) -> Allow:
        self.check_people(holder_role=holder_role, sharer_role=sharer_role)
        rights = self.rights(holder_role=holder_role)
        rendition, smaller = self.rendition(rights)
        watermark, marked = self.watermark(rendition)
        opens, fewer = self.opens()
        duration = self.duration()
        self.check_lease()
        self.check_approvals(holder_role=holder_role, sharer_role=sharer_role)
        return Allow(
            classification=self.classification,
            rights=rights,
            rendition=rendition,
            watermark=watermark,
            duration_ms=duration,
            opens=opens,
            lease_ms=self.request.lease_ms,
            changes=smaller + marked + fewer,
        )

    def check_people(self, *, holder_role: str, sharer_role: str) -> None:
        if not ROLE_TEMPLATES[sharer_role].shares:
            raise _DeniedError(
                f"{sharer_role}s do not share", "ask an administrator for another role in the team"
            )
        if holder_role == GUEST and not self.rule.guests:
            raise _DeniedError(
                f"{self.classification} pictures are not shared with guests",
                "share with a member, or classify the pictures anew",
            )

    def check_approvals(self, *, holder_role: str, sharer_role: str) -> None:
        approvals = self.rule.guest_approvals if holder_role == GUEST else self.rule.approvals
        if Feature.APPROVALS in self.features:
            return
        if approvals:
            raise _DeniedError(
                f"{self.classification} pictures need {_approvals(approvals)}, "
                "which this version cannot collect",
                "classify the pictures anew where that is right",
            )
        if ROLE_TEMPLATES[sharer_role].approved_only:
            raise _DeniedError(
                f"{sharer_role}s share approved pictures only, {_NOT_APPROVED}",
                "ask an administrator for another role in the team",
            )
        if ROLE_TEMPLATES[holder_role].approved_only:
            raise _DeniedError(
                f"{holder_role}s are granted approved pictures only, {_NOT_APPROVED}",
                "share with somebody else, or ask an administrator to change the role",
            )

    def rights(self, *, holder_role: str) -> tuple[str, ...]:
        asked = self.request.rights
        unknown = sorted(set(asked) - set(RIGHTS))
        if unknown:
            raise LocalError(
                "no such right: " + ", ".join(unknown), hint="rights: " + ", ".join(RIGHTS)
            )
        holds = ROLE_TEMPLATES[holder_role].holds
        if beyond := [right for right in RIGHTS if right in asked and right not in holds]:
            most = ",".join(right for right in RIGHTS if right in holds)
            raise _DeniedError(
                f"{holder_role}s are not granted: " + ", ".join(beyond), f"at most --allow {most}"
            )
        # Whatever else a holder may do with a picture, it has to see it.
        return tuple(right for right in RIGHTS if right in asked or right == "view")

    def rendition(self, rights: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        most = self.rule.max_preview_pixels
        default = DEFAULT_PREVIEW_PIXELS if most is None else min(DEFAULT_PREVIEW_PIXELS, most)
        asked = self.request.rendition
        if asked is None and most is None and "save" in rights and Feature.CLEAN in self.features:
            # Who may keep a picture gets the whole of it, and nothing that hides in it.
            return "clean", ()
        if asked is None or asked == "preview":
            lowered = (f"previews of at most {default} pixels",)
            return f"preview:{default}", lowered if default < DEFAULT_PREVIEW_PIXELS else ()
        try:
            wanted = parse_rendition(asked)
        except UnsupportedError:
            raise LocalError(
                f"no such rendition: {asked}",
                hint="renditions: original, clean, preview, preview:PIXELS",
            ) from None
        if most is not None and (wanted.pixels is None or wanted.pixels > most):
            raise _DeniedError(
                f"{self.classification} pictures are shared as previews of at most {most} pixels",
                f"at most --rendition preview:{most}",
            )
        if wanted.kind == "clean" and Feature.CLEAN not in self.features:
            raise _DeniedError(
                "this version cannot make clean copies",
                "share a preview, which carries no metadata",
            )
        return asked, ()

    def watermark(self, rendition: str) -> tuple[bool, tuple[str, ...]]:
        asked = self.request.watermark
        if asked is False and self.rule.watermark:
            raise _DeniedError(
                f"{self.classification} pictures are shared with a watermark only",
                "leave out --no-watermark",
            )
        wanted = self.rule.watermark if asked is None else asked
        if wanted and rendition == "original":
            raise _DeniedError(
                "an original is shared as it is, without a watermark",
                "share a preview, or leave out --watermark",
            )
        if wanted and Feature.WATERMARK not in self.features:
            why = (
                f"{self.classification} pictures need a watermark, which this version cannot draw"
                if self.rule.watermark
                else "this version cannot draw a watermark"
            )
            hint = (
                "classify the pictures anew where that is right"
                if self.rule.watermark
                else "leave out --watermark"
            )
            raise _DeniedError(why, hint)
        return wanted, ("a watermark",) if wanted and asked is None else ()

    def opens(self) -> tuple[int, tuple[str, ...]]:
        most = MAX_OPENS if self.rule.max_opens is None else self.rule.max_opens
        asked = self.request.opens
        if asked is None:
            opens = min(DEFAULT_OPENS, most)
            return opens, (f"{opens} opens a picture",) if opens < DEFAULT_OPENS else ()
        if asked < 1:
            raise LocalError("a picture is opened at least once")
        if asked > most:
            raise _DeniedError(
                f"{self.classification} pictures are opened at most {most:,} times each",
                f"at most --opens {most}",
            )
        return asked, ()

    def duration(self) -> int:
        asked = self.request.duration_ms
        if asked is None:
            return self.rule.default_ms
        if asked < 1:
            raise LocalError("a share has to last")
        if asked > self.rule.max_ms:
            raise _too_long(self.classification, self.rule)
        return asked

    def check_lease(self) -> None:
        if self.request.lease_ms < 0:
            raise LocalError("a lease has to last")
        if self.request.lease_ms and Feature.LEASE not in self.features:
            raise _DeniedError("this version cannot lease opens", "leave out --lease")


# An open ----------------------------------------------------------------------------------------


def allows_open(
    terms: Terms, *, classification: str, holder_role: str, policy: Policy = BUILT_IN_POLICY
) -> bool:
    """Say whether a picture may still be opened under terms that were allowed once.

    A picture classified more strictly since, or a holder who became a guest, is refused
    (`policy`) where the terms would not be issued any more. Durations and counts stay as
    they were granted, and so does looking: a right that the holder's role lost is refused
    where it is used (`usable_rights`). ``classification`` is the picture's own of today.
    """
    rule = policy.rules[strictest((classification, terms.classification))]
    if holder_role == GUEST and not rule.guests:
        return False
    if rule.watermark and not terms.watermark:
        return False
    if rule.max_preview_pixels is None:
        return True
    pixels = parse_rendition(terms.rendition).pixels
    return pixels is not None and pixels <= rule.max_preview_pixels


# Words ------------------------------------------------------------------------------------------


_NOT_APPROVED: Final = "and this version cannot record approvals"


def _too_long(classification: str, rule: Rule) -> _DeniedError:
    # Every maximum is whole hours.
    days, rest = divmod(rule.max_ms, DAY_MS)
    number, unit = (days, "days") if not rest and days > 1 else (rule.max_ms // HOUR_MS, "hours")
    return _DeniedError(
        f"{classification} pictures are shared for at most {number} {unit}",
        f"at most --for {number}{unit[0]}",
    )


def _approvals(number: int) -> str:
    return "one approval" if number == 1 else f"{number} approvals"
