"""The built-in policy, and the decisions on shares and opens."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.capability.terms import CLASSIFICATIONS, RIGHTS, parse_rendition
from protocol.errors import LocalError
from protocol.limits import MAX_OPENS
from protocol.policy import (
    BUILT_IN_POLICY,
    DAY_MS,
    DEFAULT_CLASSIFICATION,
    HOUR_MS,
    ROLE_TEMPLATES,
    THIS_BUILD,
    Allow,
    Deny,
    Feature,
    ShareRequest,
    allows_open,
    decide,
    may_issue,
    strictest,
    usable_rights,
)
from protocol.roster.metadata import ROLES
from tests.protocol.capability.cases import honest_terms
from tests.support import ROOT

EVERYTHING = frozenset(Feature)
"""A build that lacks nothing."""


def ask(
    classification: str = "internal",
    *,
    holder: str = "editor",
    sharer: str = "editor",
    features: frozenset[Feature] = EVERYTHING,
    **request: Any,
) -> Allow | Deny:
    """Decide on one share."""
    return decide(
        ShareRequest(classifications=(classification,), **request),
        holder_role=holder,
        sharer_role=sharer,
        features=features,
    )


def allowed(*arguments: Any, **keywords: Any) -> Allow:
    """Decide on a share that is allowed."""
    decision = ask(*arguments, **keywords)
    assert isinstance(decision, Allow), decision
    return decision


def denied(*arguments: Any, **keywords: Any) -> Deny:
    """Decide on a share that is denied, in words."""
    decision = ask(*arguments, **keywords)
    assert isinstance(decision, Deny), decision
    assert decision.reason
    assert decision.hint
    return decision


def test_the_table_is_the_architectures() -> None:
    table = {
        name: (rule.guests, rule.default_ms // HOUR_MS, rule.max_ms // DAY_MS, rule.max_opens)
        for name, rule in BUILT_IN_POLICY.rules.items()
    }
    strict = {
        name: (rule.max_preview_pixels, rule.watermark, rule.approvals, rule.guest_approvals)
        for name, rule in BUILT_IN_POLICY.rules.items()
    }

    assert BUILT_IN_POLICY.version == 0
    assert DEFAULT_CLASSIFICATION == "internal"
    assert table == {
        "public": (True, 30 * 24, 365, None),
        "internal": (False, 7 * 24, 90, None),
        "confidential": (True, 48, 14, None),
        "restricted": (False, 2, 1, 5),
    }
    assert strict == {
        "public": (None, False, 0, 0),
        "internal": (None, False, 0, 0),
        "confidential": (2048, True, 0, 1),
        "restricted": (1600, True, 2, 2),
    }


def test_a_table_has_every_classification_and_no_default_over_its_maximum() -> None:
    assert tuple(BUILT_IN_POLICY.rules) == CLASSIFICATIONS
    for rule in BUILT_IN_POLICY.rules.values():
        assert 0 < rule.default_ms <= rule.max_ms
        assert rule.max_ms % HOUR_MS == 0


def test_the_specification_has_the_same_table() -> None:
    lines = (ROOT / "docs" / "spec" / "policy.md").read_text().splitlines()

    def words(duration_ms: int) -> str:
        hours = duration_ms // HOUR_MS
        return f"{hours} hours" if hours <= 48 else f"{hours // 24} days"

    for name, rule in BUILT_IN_POLICY.rules.items():
        most = rule.max_preview_pixels
        approvals = f"{rule.guest_approvals} for guests" if rule.guest_approvals else "none"
        columns = [
            f"`{name}`",
            "yes" if rule.guests else "no",
            words(rule.default_ms),
            words(rule.max_ms),
            f"{rule.max_opens or MAX_OPENS:,}",
            "any" if most is None else f"`preview:N`, *N* ≤ {most}",
            "required" if rule.watermark else "no",
            str(rule.approvals) if rule.approvals else approvals,
        ]
        assert f"| {' | '.join(columns)} |" in lines


# Defaults


@pytest.mark.parametrize(
    ("classification", "duration", "opens", "rendition", "watermark", "changes"),
    [
        ("public", 30 * DAY_MS, 10, "preview:2048", False, ()),
        ("internal", 7 * DAY_MS, 10, "preview:2048", False, ()),
        ("confidential", 48 * HOUR_MS, 10, "preview:2048", True, ("a watermark",)),
        (
            "restricted",
            2 * HOUR_MS,
            5,
            "preview:1600",
            True,
            ("previews of at most 1600 pixels", "a watermark", "5 opens a picture"),
        ),
    ],
)
def test_a_share_that_asks_for_nothing_gets_the_defaults(
    classification: str,
    duration: int,
    opens: int,
    rendition: str,
    watermark: bool,
    changes: tuple[str, ...],
) -> None:
    expected = Allow(
        classification=classification,
        rights=("view",),
        rendition=rendition,
        watermark=watermark,
        duration_ms=duration,
        opens=opens,
        lease_ms=0,
        changes=changes,
    )

    assert expected == allowed(classification)


def test_the_strictest_picture_counts() -> None:
    decision = decide(
        ShareRequest(classifications=("public", "restricted", "internal")),
        holder_role="editor",
        sharer_role="admin",
        features=EVERYTHING,
    )

    assert isinstance(decision, Allow)
    assert decision.classification == "restricted"


@pytest.mark.parametrize("names", [(), ("secret",), ("public", "Public")])
def test_a_classification_is_a_known_one(names: tuple[str, ...]) -> None:
    with pytest.raises(LocalError):
        strictest(names)


# Maxima


@pytest.mark.parametrize(
    ("classification", "most", "words", "hint"),
    [
        ("public", 365 * DAY_MS, "365 days", "365d"),
        ("internal", 90 * DAY_MS, "90 days", "90d"),
        ("confidential", 14 * DAY_MS, "14 days", "14d"),
        ("restricted", 24 * HOUR_MS, "24 hours", "24h"),
    ],
)
def test_a_duration_up_to_the_maximum_is_granted_and_no_longer_one(
    classification: str, most: int, words: str, hint: str
) -> None:
    longer = denied(classification, duration_ms=most + 1)

    assert allowed(classification, duration_ms=most).duration_ms == most
    assert longer.reason == f"{classification} pictures are shared for at most {words}"
    assert longer.hint == f"at most --for {hint}"


@pytest.mark.parametrize(("classification", "most"), [("restricted", 5), ("internal", MAX_OPENS)])
def test_opens_up_to_the_maximum_are_granted_and_not_one_more(
    classification: str, most: int
) -> None:
    assert allowed(classification, opens=most).opens == most
    assert f"at most --opens {most}" == denied(classification, opens=most + 1).hint


@pytest.mark.parametrize(
    ("classification", "rendition"),
    [
        ("restricted", "preview:1601"),
        ("restricted", "original"),
        ("restricted", "clean"),
        ("confidential", "preview:2049"),
        ("confidential", "original"),
        ("confidential", "clean"),
    ],
)
def test_a_rendition_over_the_maximum_is_denied(classification: str, rendition: str) -> None:
    most = {"restricted": 1600, "confidential": 2048}[classification]

    assert f"at most --rendition preview:{most}" == denied(classification, rendition=rendition).hint


def test_guarantee_6_an_original_goes_only_where_it_is_asked_for() -> None:
    for classification in CLASSIFICATIONS:
        assert allowed(classification).rendition.startswith("preview:")
        assert allowed(classification, rendition="preview").rendition.startswith("preview:")
    assert allowed("internal", rendition="original").rendition == "original"


# Rights and roles


def test_the_right_to_view_is_always_granted() -> None:
    assert allowed(rights=("pick", "save")).rights == ("view", "save", "pick")
    assert allowed(rights=tuple(reversed(RIGHTS))).rights == RIGHTS


@pytest.mark.parametrize("classification", CLASSIFICATIONS)
def test_guests_hold_what_their_classification_allows(classification: str) -> None:
    decision = ask(classification, holder="guest")

    assert isinstance(decision, Allow) is (classification in ("public", "confidential"))


def test_every_role_has_a_template_and_may_be_shown_a_picture() -> None:
    assert tuple(ROLE_TEMPLATES) == ROLES
    for template in ROLE_TEMPLATES.values():
        assert "view" in template.holds <= set(RIGHTS)


def test_a_wider_role_holds_and_does_all_that_a_narrower_one_of_its_kind_does() -> None:
    for wider, narrower in (
        ("admin", "editor"),
        ("editor", "publisher"),
        ("editor", "reviewer"),
        ("publisher", "guest"),
        ("reviewer", "guest"),
    ):
        assert ROLE_TEMPLATES[wider].holds >= ROLE_TEMPLATES[narrower].holds
        assert ROLE_TEMPLATES[wider].shares >= ROLE_TEMPLATES[narrower].shares


def test_the_specification_has_the_same_templates() -> None:
    lines = (ROOT / "docs" / "spec" / "policy.md").read_text().splitlines()

    for role, template in ROLE_TEMPLATES.items():
        shares = ("approved pictures" if template.approved_only else "yes") * template.shares
        held = " ".join(f"`{right}`" for right in RIGHTS if right in template.holds)
        pictures = "approved pictures: " if template.approved_only else ""
        assert f"| `{role}` | {shares or 'no'} | {pictures}{held} |" in lines


@pytest.mark.parametrize("role", ["admin", "editor", "publisher"])
def test_who_shares_issues(role: str) -> None:
    assert allowed("public", sharer=role)
    assert may_issue(role)


@pytest.mark.parametrize("role", ["reviewer", "guest"])
def test_reviewers_and_guests_do_not_share(role: str) -> None:
    for classification in CLASSIFICATIONS:
        assert denied(classification, sharer=role).reason == f"{role}s do not share"
    assert not may_issue(role)


def test_somebody_outside_the_team_issues_nothing() -> None:
    assert not may_issue(None)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("right", RIGHTS)
def test_a_role_is_granted_its_rights_and_no_other(role: str, right: str) -> None:
    decision = ask("public", holder=role, rights=(right,))

    if right in ROLE_TEMPLATES[role].holds:
        assert isinstance(decision, Allow)
        assert right in decision.rights
    else:
        assert isinstance(decision, Deny)
        assert decision.reason == f"{role}s are not granted: {right}"
        assert decision.hint.startswith("at most --allow view,")
        most = tuple(decision.hint.removeprefix("at most --allow ").split(","))
        assert allowed("public", holder=role, rights=most).rights == most


@pytest.mark.parametrize("people", [{"sharer": "publisher"}, {"holder": "publisher"}])
def test_publishers_share_and_are_granted_approved_pictures_only(people: dict[str, str]) -> None:
    decision = denied("public", features=EVERYTHING - {Feature.APPROVALS}, **people)

    assert "approved pictures only" in decision.reason
    assert isinstance(ask("public", features=THIS_BUILD, **people), Deny)


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_of_today_lost_is_not_used_and_looking_stays(role: str) -> None:
    assert usable_rights(RIGHTS, role) == tuple(
        right for right in RIGHTS if right in ROLE_TEMPLATES[role].holds
    )
    assert usable_rights(("view",), role) == ("view",)
    assert allows_open(
        honest_terms(rights=RIGHTS, classification="public"),
        classification="public",
        holder_role=role,
    )


# What a build cannot do


def test_this_build_draws_watermarks_and_collects_no_approvals() -> None:
    assert allowed("confidential", features=THIS_BUILD).watermark
    assert "approval" in denied("confidential", holder="guest", features=THIS_BUILD).reason
    assert "2 approvals" in denied("restricted", features=THIS_BUILD).reason


@pytest.mark.parametrize(
    ("classification", "request_", "rendition"),
    [
        ("internal", {"rights": ("view", "save")}, "clean"),
        ("public", {"rights": ("save",)}, "clean"),
        ("public", {"rights": ("view", "comment")}, "preview:2048"),
        ("internal", {"rights": ("view", "save"), "rendition": "preview"}, "preview:2048"),
        ("internal", {"rights": ("view", "save"), "rendition": "preview:900"}, "preview:900"),
        ("confidential", {"rights": ("view", "save")}, "preview:2048"),
        ("restricted", {"rights": ("view", "save")}, "preview:1600"),
    ],
)
def test_who_may_save_gets_a_clean_copy_where_nothing_else_is_asked_for_and_allowed(
    classification: str, request_: dict[str, Any], rendition: str
) -> None:
    assert allowed(classification, **request_).rendition == rendition


def test_a_build_that_cannot_clean_gives_a_preview_to_save() -> None:
    lacking = EVERYTHING - {Feature.CLEAN}

    assert allowed(rights=("view", "save"), features=lacking).rendition == "preview:2048"


@pytest.mark.parametrize(
    ("lacking", "request_", "words"),
    [
        (Feature.WATERMARK, {"classification": "confidential"}, "watermark"),
        (Feature.WATERMARK, {"watermark": True}, "watermark"),
        (Feature.APPROVALS, {"classification": "restricted"}, "2 approvals"),
        (Feature.APPROVALS, {"classification": "confidential", "holder": "guest"}, "one approval"),
        (Feature.CLEAN, {"rendition": "clean"}, "clean"),
        (Feature.LEASE, {"lease_ms": 1}, "lease"),
    ],
)
def test_a_feature_that_is_lacking_denies_and_one_that_is_there_does_not(
    lacking: Feature, request_: dict[str, Any], words: str
) -> None:
    assert words in denied(features=EVERYTHING - {lacking}, **request_).reason
    assert allowed(features=EVERYTHING, **request_)


def test_this_build_shares_internal_pictures_with_members_and_public_ones_with_guests() -> None:
    assert allowed("internal", features=THIS_BUILD)
    assert allowed("public", holder="guest", features=THIS_BUILD)
    assert allowed("internal", features=THIS_BUILD, rendition="original", rights=("view", "save"))


@pytest.mark.parametrize(
    ("classification", "request_"),
    [
        ("confidential", {"watermark": False}),
        ("internal", {"rendition": "original", "watermark": True}),
    ],
)
def test_a_watermark_is_neither_left_out_nor_put_on_an_original(
    classification: str, request_: dict[str, Any]
) -> None:
    assert "watermark" in denied(classification, **request_).reason


def test_a_watermark_that_was_asked_for_is_no_change() -> None:
    assert allowed("internal", watermark=True).changes == ()
    assert allowed("internal", watermark=True).watermark


# Requests that mean nothing


@pytest.mark.parametrize(
    "request_",
    [
        {"rights": ("print",)},
        {"rendition": "thumbnail"},
        {"rendition": "preview:0"},
        {"duration_ms": 0},
        {"opens": 0},
        {"lease_ms": -1},
    ],
    ids=str,
)
def test_a_request_that_means_nothing_is_a_local_error(request_: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        ask(**request_)


# All together

requests = st.builds(
    ShareRequest,
    classifications=st.lists(st.sampled_from(CLASSIFICATIONS), min_size=1).map(tuple),
    rights=st.lists(st.sampled_from(RIGHTS)).map(tuple),
    duration_ms=st.none() | st.integers(1, 400 * DAY_MS),
    opens=st.none() | st.integers(1, 2 * MAX_OPENS),
    rendition=st.none()
    | st.sampled_from(["original", "clean", "preview"])
    | st.integers(1, 4000).map(lambda pixels: f"preview:{pixels}"),
    watermark=st.none() | st.booleans(),
    lease_ms=st.integers(0, DAY_MS),
)
roles = st.sampled_from(ROLES)


@settings(deadline=None)
@given(requests, roles, roles, st.sets(st.sampled_from(Feature)).map(frozenset))
def test_no_share_is_ever_over_the_policy_or_without_limit(
    request_: ShareRequest, holder: str, sharer: str, features: frozenset[Feature]
) -> None:
    decision = decide(request_, holder_role=holder, sharer_role=sharer, features=features)

    if isinstance(decision, Deny):
        assert decision.reason
        assert decision.hint
        return
    rule = BUILT_IN_POLICY.rules[decision.classification]
    assert decision.classification == strictest(request_.classifications)
    assert 0 < decision.duration_ms <= rule.max_ms
    assert 0 < decision.opens <= (rule.max_opens or MAX_OPENS)
    assert decision.duration_ms in (request_.duration_ms, rule.default_ms)
    assert holder != "guest" or rule.guests
    assert may_issue(sharer)
    assert set(decision.rights) <= ROLE_TEMPLATES[holder].holds
    assert Feature.APPROVALS in features or "publisher" not in (holder, sharer)
    assert decision.watermark >= rule.watermark
    assert "view" in decision.rights
    if decision.watermark:
        assert Feature.WATERMARK in features
    if decision.lease_ms:
        assert Feature.LEASE in features
    assert allows_open(
        honest_terms(
            classification=decision.classification,
            rendition=decision.rendition,
            watermark=decision.watermark,
        ),
        classification=decision.classification,
        holder_role=holder,
    )
    assert parse_rendition(decision.rendition)


# Opens


@pytest.mark.parametrize(
    ("terms", "classification", "role", "expected"),
    [
        ({}, "internal", "editor", True),
        ({}, "public", "editor", True),
        ({}, "internal", "guest", False),
        ({}, "public", "guest", False),
        ({"classification": "public"}, "public", "guest", True),
        ({"classification": "public"}, "internal", "guest", False),
        ({}, "confidential", "editor", False),
        ({"watermark": True}, "confidential", "editor", True),
        ({"watermark": True}, "confidential", "guest", True),
        ({"watermark": True}, "restricted", "editor", False),
        ({"watermark": True, "rendition": "preview:1600"}, "restricted", "editor", True),
        ({"watermark": True, "rendition": "preview:1601"}, "restricted", "editor", False),
        ({"rendition": "original"}, "internal", "editor", True),
        ({"rendition": "original"}, "confidential", "editor", False),
        ({"rendition": "clean", "watermark": True}, "confidential", "editor", False),
    ],
)
def test_an_open_follows_the_classification_and_role_of_today(
    terms: dict[str, Any], classification: str, role: str, expected: bool
) -> None:
    assert expected is allows_open(
        honest_terms(**terms), classification=classification, holder_role=role
    )


def test_another_policy_is_followed() -> None:
    rules = dict(BUILT_IN_POLICY.rules)
    rules["internal"] = dataclasses.replace(rules["internal"], guests=True, max_ms=48 * HOUR_MS)
    policy = dataclasses.replace(BUILT_IN_POLICY, version=1, rules=rules)
    request = ShareRequest(classifications=("internal",), duration_ms=49 * HOUR_MS)

    decision = decide(request, holder_role="guest", sharer_role="admin", policy=policy)

    assert isinstance(decision, Deny)
    assert decision.hint == "at most --for 2d"
