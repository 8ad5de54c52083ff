"""What differs between two rosters, and the version that joins two histories."""

from __future__ import annotations

import pytest

from protocol.encoding import decode
from protocol.errors import LocalError
from protocol.identity import make_identity
from protocol.limits import MAX_ROSTER_UPDATE_BYTES, ROSTER_LIFETIME_MS
from protocol.roster.changes import Change, ChangeKind, common_members, describe_changes, merge
from protocol.roster.metadata import (
    Member,
    Roster,
    renewed,
    with_member,
    with_role,
    with_threshold,
    without_member,
)
from protocol.roster.trusted import TrustedRoster
from tests.protocol.people import DAY, NOW, person
from tests.protocol.roster.simulator import (
    edited,
    envelope,
    first,
    member,
    ordered,
    seeds_of,
    signed,
    successor,
)

ALICE, BOB, CAROL = (person(name).public for name in ("Alice", "Bob", "Carol"))


def team(*admins: str, threshold: int = 1) -> TrustedRoster:
    """Return a team of administrators at version 1."""
    return TrustedRoster.found_untrusted(first(admins, threshold=threshold, signers=admins))


def then(trusted: TrustedRoster, body: bytes, *signers: str) -> TrustedRoster:
    """Return the team after a version that these people signed."""
    return trusted.update_untrusted(signed(trusted, body, *signers))


def parsed(body: bytes) -> Roster:
    """Return what a body says."""
    return decode(Roster, body, limit=MAX_ROSTER_UPDATE_BYTES)


def renamed(name: str, as_name: str, role: str = "admin") -> Member:
    """Return somebody with the same keys and another name."""
    local = make_identity(seeds_of(name), name=as_name, now=NOW)
    return Member(certificate=local.public.certificate, role=role)


def about(kind: ChangeKind, *facts: str, who: bytes = b"", name: str = "") -> Change:
    """Return an expected change."""
    before, after = facts
    return Change(kind=kind, name=name, fingerprint=who, before=before, after=after)


# Changes

START = team("Alice", "Bob").roster


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            with_member(START, CAROL, "editor", now=NOW),
            about("added", "", "editor", who=CAROL.fingerprint, name="Carol"),
        ),
        (
            without_member(START, BOB.fingerprint, now=NOW),
            about("removed", "admin", "", who=BOB.fingerprint, name="Bob"),
        ),
        (
            with_role(START, BOB.fingerprint, "guest", now=NOW),
            about("role", "admin", "guest", who=BOB.fingerprint, name="Bob"),
        ),
        (
            edited(
                renewed(START, now=NOW), members=ordered([member("Alice"), renamed("Bob", "Rob")])
            ),
            about("certificate", "Bob", "Rob", who=BOB.fingerprint, name="Rob"),
        ),
        (with_threshold(START, 2, now=NOW), about("threshold", "1", "2")),
        (
            edited(renewed(START, now=NOW), team_name="Atelier"),
            about("named", "Studio", "Atelier"),
        ),
        (
            edited(renewed(START, now=NOW), parents=(bytes(32), b"\x01" * 32)),
            about("joined", "", "2"),
        ),
        (
            renewed(START, now=NOW + DAY),
            about("renewed", str(NOW + ROSTER_LIFETIME_MS), str(NOW + DAY + ROSTER_LIFETIME_MS)),
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Change) else "",
)
def test_every_change_is_told(body: bytes, expected: Change) -> None:
    assert describe_changes(START, parsed(body)) == (expected,)


def test_all_changes_of_a_version_are_told_people_first() -> None:
    body = successor(
        team("Alice", "Bob"), [member("Alice"), member("Carol", "guest")], team_name="Atelier"
    )
    changes = describe_changes(START, parsed(body))

    assert {one.kind for one in changes[:2]} == {"added", "removed"}
    assert [one.fingerprint for one in changes[:2]] == sorted([BOB.fingerprint, CAROL.fingerprint])
    assert [one.kind for one in changes[2:]] == ["named"]


def test_of_a_first_version_everybody_is_added() -> None:
    changes = describe_changes(None, START)

    assert {(one.kind, one.name, one.after) for one in changes} == {
        ("added", "Alice", "admin"),
        ("added", "Bob", "admin"),
    }


# Who is alike


def test_common_members_have_one_certificate_and_one_role_in_both() -> None:
    start = team("Alice", "Bob", "Carol")
    ours = then(start, with_role(start.roster, BOB.fingerprint, "guest", now=NOW), "Alice")
    theirs = then(
        start,
        successor(
            start, [member("Alice"), member("Bob"), renamed("Carol", "Karol"), member("Dave")]
        ),
        "Alice",
    )

    assert common_members(ours, theirs) == common_members(theirs, ours) == {ALICE.fingerprint}
    assert common_members(ours, start) == {ALICE.fingerprint, CAROL.fingerprint}


# Merging


def joined(ours: TrustedRoster, theirs: TrustedRoster) -> dict[str, str]:
    """Return name and role of everybody after a merge, which is the same from both sides."""
    body = merge(ours, theirs, now=NOW + DAY)

    assert body == merge(theirs, ours, now=NOW + DAY)
    after = then(ours, body, "Alice", "Bob")
    assert after.hash == then(theirs, body, "Alice", "Bob").hash
    return {one.name: str(after.role_of(key)) for key, one in after.members.items()}


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("editor", "editor", "editor"),
        ("editor", "guest", "guest"),
        ("guest", "admin", "guest"),
        ("reviewer", "publisher", "reviewer"),
        ("editor", None, None),
        (None, "admin", None),
        (None, None, None),
        ("admin", "guest", "guest"),
    ],
)
def test_of_two_changes_the_narrower_holds(
    ours: str | None, theirs: str | None, expected: str | None
) -> None:
    start = then(team("Alice", "Bob"), with_member(START, CAROL, "reviewer", now=NOW), "Alice")
    base = start

    def changed(role: str | None, now: int) -> TrustedRoster:
        # A first step away from the role, so that each side changed it.
        step = then(base, with_role(base.roster, CAROL.fingerprint, "publisher", now=now), "Alice")
        if role is None:
            return then(step, without_member(step.roster, CAROL.fingerprint, now=now), "Alice")
        return then(step, with_role(step.roster, CAROL.fingerprint, role, now=now), "Alice")

    assert joined(changed(ours, NOW + 1), changed(theirs, NOW + 2)).get("Carol") == expected


@pytest.mark.parametrize("role", ["admin", "editor", "guest"])
def test_a_role_that_one_side_changed_is_what_that_side_made_it(role: str) -> None:
    start = then(team("Alice", "Bob"), with_member(START, CAROL, "reviewer", now=NOW), "Alice")
    ours = then(start, with_role(start.roster, CAROL.fingerprint, role, now=NOW), "Alice")
    theirs = then(start, renewed(start.roster, now=NOW), "Bob")

    assert joined(ours, theirs)["Carol"] == role


def test_somebody_added_on_both_sides_has_the_narrower_role() -> None:
    start = team("Alice", "Bob")
    ours = then(start, with_member(START, CAROL, "admin", now=NOW), "Alice")
    theirs = then(start, with_member(START, CAROL, "guest", now=NOW), "Bob")

    assert joined(ours, theirs)["Carol"] == "guest"


def test_removals_and_newcomers_of_both_sides_come_together() -> None:
    start = then(team("Alice", "Bob"), with_member(START, CAROL, "editor", now=NOW), "Alice")
    ours = then(start, without_member(start.roster, CAROL.fingerprint, now=NOW), "Alice")
    theirs = then(start, with_member(start.roster, person("Dave").public, "guest", now=NOW), "Bob")

    assert joined(ours, theirs) == {"Alice": "admin", "Bob": "admin", "Dave": "guest"}


def test_newcomers_whose_names_look_alike_both_stay_out() -> None:
    start = team("Alice", "Bob")
    ours = then(start, with_member(START, person("Dave").public, "editor", now=NOW), "Alice")
    theirs = then(start, with_member(START, person("DAVE").public, "editor", now=NOW), "Bob")

    assert set(joined(ours, theirs)) == {"Alice", "Bob"}


def test_a_newcomer_who_looks_like_a_member_of_both_stays_out() -> None:
    start = then(team("Alice", "Bob"), with_member(START, CAROL, "editor", now=NOW), "Alice")
    ours = then(
        start,
        successor(start, [member("Alice"), member("Bob"), renamed("Carol", "Karol", "editor")]),
        "Alice",
    )
    theirs = then(
        start, with_member(start.roster, person("Karol").public, "editor", now=NOW), "Bob"
    )

    assert joined(ours, theirs)["Karol"] == "editor"
    after = then(ours, merge(ours, theirs, now=NOW), "Bob")
    assert CAROL.fingerprint in after.members
    assert person("Karol").public.fingerprint not in after.members


@pytest.mark.parametrize(
    ("left", "right", "expected"), [(1, 2, 2), (2, 1, 2), (2, 2, 2), (1, 3, 3)]
)
def test_the_larger_threshold_holds(left: int, right: int, expected: int) -> None:
    start = team("Alice", "Bob", "Carol")
    ours = then(start, with_threshold(start.roster, left, now=NOW), "Alice", "Bob", "Carol")
    theirs = then(start, with_threshold(start.roster, right, now=NOW + 1), "Alice", "Bob", "Carol")

    assert parsed(merge(ours, theirs, now=NOW)).threshold == expected


def test_a_threshold_is_never_over_the_administrators_that_are_left() -> None:
    start = team("Alice", "Bob", "Carol")
    ours = then(start, with_threshold(start.roster, 3, now=NOW), "Alice", "Bob", "Carol")
    theirs = then(start, without_member(start.roster, CAROL.fingerprint, now=NOW), "Alice")

    assert parsed(merge(ours, theirs, now=NOW)).threshold == 2


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [("Studio", "Atelier", "Atelier"), ("Atelier", "Studio", "Atelier"), ("Foto", "Bild", "Bild")],
)
def test_a_team_name_that_was_changed_holds(ours: str, theirs: str, expected: str) -> None:
    start = team("Alice", "Bob")
    one = then(start, edited(renewed(START, now=NOW), team_name=ours), "Alice")
    other = then(start, edited(renewed(START, now=NOW + 1), team_name=theirs), "Bob")

    assert parsed(merge(one, other, now=NOW)).team_name == expected
    assert parsed(merge(other, one, now=NOW)).team_name == expected


def test_what_breaks_a_rule_together_is_told_with_the_way_out() -> None:
    start = then(team("Alice", "Bob"), with_member(START, CAROL, "editor", now=NOW), "Alice")
    ours = then(
        start,
        successor(start, [member("Alice"), renamed("Bob", "Robin"), member("Carol", "editor")]),
        "Alice",
    )
    theirs = then(
        start,
        successor(start, [member("Alice"), member("Bob"), renamed("Carol", "ROBIN", "editor")]),
        "Alice",
    )

    with pytest.raises(LocalError, match="alike") as caught:
        merge(ours, theirs, now=NOW)
    assert "--keep-ours" in caught.value.hint


def test_a_merge_is_signed_like_any_version() -> None:
    start = team("Alice", "Bob")
    ours = then(start, with_member(START, CAROL, "editor", now=NOW), "Alice")
    theirs = then(start, renewed(START, now=NOW), "Bob")
    update = signed(ours, merge(ours, theirs, now=NOW), "Bob")

    assert {one.signer for one in envelope(update).signatures} == {BOB.fingerprint}
    assert ours.update_untrusted(update).settled == 3
