"""Two histories of one team: who extends whom, what is a conflict, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import AuthenticationError, LocalError, RemoteError, RemoteProtocolError
from protocol.limits import MAX_ROSTER_JUMP
from protocol.roster.changes import merge, overrule
from protocol.roster.metadata import (
    ROLES,
    renewed,
    with_member,
    with_role,
    with_threshold,
    without_member,
)
from protocol.roster.trusted import TrustedRoster
from tests.protocol.people import DAY, NOW, person
from tests.protocol.roster.simulator import edited, first, founded, member, signed, successor

LATER = NOW + 2 * DAY
PEOPLE = ("Alice", "Bob", "Carol", "Dave", "Xavier", "Zed")


def team(*admins: str, threshold: int = 1) -> TrustedRoster:
    """Return a team of administrators at version 1."""
    return TrustedRoster.found_untrusted(first(admins, threshold=threshold, signers=admins))


def then(trusted: TrustedRoster, body: bytes, *signers: str) -> TrustedRoster:
    """Return the team after a version that these people signed."""
    return trusted.update_untrusted(signed(trusted, body, *signers))


def adding(trusted: TrustedRoster, name: str, *signers: str, role: str = "editor") -> TrustedRoster:
    """Return the team with one member more."""
    return then(
        trusted, with_member(trusted.roster, person(name).public, role, now=LATER), *signers
    )


def removing(trusted: TrustedRoster, name: str, *signers: str) -> TrustedRoster:
    """Return the team with one member less."""
    fingerprint = person(name).public.fingerprint
    return then(trusted, without_member(trusted.roster, fingerprint, now=LATER), *signers)


def longer(trusted: TrustedRoster, versions: int, *signers: str, now: int = LATER) -> TrustedRoster:
    """Return the team after so many versions that change nothing."""
    for number in range(versions):
        trusted = then(trusted, renewed(trusted.roster, now=now + number), *signers)
    return trusted


def names(trusted: TrustedRoster) -> set[str]:
    """Return the members' names."""
    return {one.name for one in trusted.members.values()}


def roles(trusted: TrustedRoster) -> dict[str, str]:
    """Return the members' roles by name."""
    return {one.name: str(trusted.role_of(key)) for key, one in trusted.members.items()}


def resolve(
    ours: TrustedRoster, theirs: TrustedRoster, *signers: str, now: int = LATER
) -> tuple[TrustedRoster, TrustedRoster]:
    """Return both sides after the version that joins them."""
    joined = signed(ours, merge(ours, theirs, now=now), *signers)
    return ours.update_untrusted(joined), theirs.update_untrusted(joined)


# Who extends whom


def test_a_later_version_extends_an_earlier_one() -> None:
    early = team("Alice")
    late = longer(early, 2, "Alice")

    assert late.extends(early)
    assert late.extends(late)
    assert not early.extends(late)
    assert early.branch_point(late) == late.branch_point(early) == 1
    assert not early.rivals(late)
    assert not late.rivals(early)


def test_two_teams_have_nothing_to_do_with_each_other() -> None:
    one, other = team("Alice"), team("Bob")

    assert not one.extends(other)
    assert one.branch_point(other) == 0
    assert not one.rivals(other)
    with pytest.raises(LocalError, match="two teams"):
        merge(one, other, now=LATER)


@pytest.mark.parametrize("left", [1, 3])
@pytest.mark.parametrize("right", [1, 2])
def test_histories_of_equal_and_different_length_are_rivals(left: int, right: int) -> None:
    start = longer(team("Alice", "Bob"), 2, "Alice")
    ours = longer(adding(start, "Carol", "Alice"), left, "Alice")
    theirs = longer(adding(start, "Dave", "Bob"), right, "Bob")

    assert ours.rivals(theirs)
    assert theirs.rivals(ours)
    assert ours.branch_point(theirs) == theirs.branch_point(ours) == 3
    assert ours.settled == 0

    one, other = resolve(ours, theirs, "Alice", "Bob")

    assert one.hash == other.hash
    assert one.version == one.settled == max(ours.version, theirs.version) + 1
    assert names(one) == {"Alice", "Bob", "Carol", "Dave"}
    for joined in (one, other):
        assert joined.extends(ours)
        assert joined.extends(theirs)
        assert not joined.rivals(ours)
        assert not theirs.rivals(joined)
        assert joined == TrustedRoster.load_untrusted(joined.signed_versions)


def test_the_shorter_history_skips_numbers_and_goes_on() -> None:
    start = team("Alice", "Bob")
    ours, theirs = longer(start, 4, "Alice"), adding(start, "Carol", "Bob")
    _, short = resolve(ours, theirs, "Alice")

    assert list(short.hashes) == [1, 2, 6]
    assert len(short.signed_versions) == 3
    assert longer(short, 1, "Bob").version == 7


def test_a_version_with_one_parent_skips_nothing() -> None:
    start = team("Alice")
    body = edited(renewed(start.roster, now=LATER), version=3)

    with pytest.raises(RemoteProtocolError) as caught:
        then(start, body, "Alice")
    assert caught.value.code == "roster_gap"


def test_a_joining_version_that_names_other_histories_only_does_not_follow() -> None:
    start = team("Alice")
    body = successor(start, [member("Alice")], parents=(b"\x01" * 32, b"\x02" * 32))

    for version, expected in ((2, "roster_parents"), (9, "roster_gap")):
        with pytest.raises(RemoteProtocolError) as caught:
            then(start, edited(body, version=version), "Alice")
        assert caught.value.code == expected


def test_both_sides_administrators_sign_what_joins_them() -> None:
    start = team("Alice", "Bob")
    ours = removing(start, "Bob", "Alice")
    theirs = adding(adding(start, "Carol", "Bob", role="admin"), "Dave", "Bob")
    joined = merge(ours, theirs, now=LATER)

    with pytest.raises(AuthenticationError):
        ours.update_untrusted(signed(ours, joined, "Bob", "Carol"))
    with pytest.raises(AuthenticationError):
        theirs.update_untrusted(signed(theirs, joined, "Dave"))
    both = signed(ours, joined, "Alice", "Carol")
    assert ours.update_untrusted(both).hash == theirs.update_untrusted(both).hash


def test_every_version_of_a_loaded_history_is_checked_across_a_gap() -> None:
    start = team("Alice", "Bob")
    ours, _ = resolve(longer(start, 3, "Alice"), adding(start, "Carol", "Bob"), "Alice")
    one, *rest = ours.signed_versions

    with pytest.raises(RemoteProtocolError):
        TrustedRoster.load_untrusted([one, *rest[1:]])


# Attacks


def test_row_19_a_lone_administrator_of_another_branch_does_not_fast_forward() -> None:
    start = team("Alice", "Bob", threshold=2)
    ours = longer(start, 1, "Alice", "Bob")
    theirs = then(start, with_threshold(start.roster, 1, now=LATER), "Alice", "Bob")
    far = edited(
        merge(theirs, ours, now=LATER),
        version=ours.version + MAX_ROSTER_JUMP,
        threshold=1,
    )

    assert then(theirs, far, "Bob").version == ours.version + MAX_ROSTER_JUMP
    with pytest.raises(AuthenticationError):
        then(ours, far, "Bob")


@pytest.mark.parametrize(("jump", "taken"), [(MAX_ROSTER_JUMP, True), (MAX_ROSTER_JUMP + 1, False)])
def test_row_19_numbers_are_skipped_up_to_a_bound(jump: int, taken: bool) -> None:
    start = team("Alice")
    parents = tuple(sorted((start.hash, bytes(32))))
    body = successor(start, [member("Alice")], version=1 + jump, parents=parents)

    if taken:
        assert then(start, body, "Alice").version == 1 + jump
    else:
        with pytest.raises(RemoteProtocolError) as caught:
            then(start, body, "Alice")
        assert caught.value.code == "roster_jump"


def test_fast_forward_recovery() -> None:
    """tuf-conformance: whoever ran ahead with the numbers does not stop the others."""
    start = team("Alice", "Xavier")
    ours = removing(start, "Xavier", "Alice")
    theirs = start
    for step in (1, 2):
        parents = tuple(sorted((theirs.hash, bytes([step]) * 32)))
        body = edited(
            renewed(theirs.roster, now=LATER),
            version=theirs.version + MAX_ROSTER_JUMP,
            parents=parents,
        )
        theirs = then(theirs, body, "Xavier")

    assert ours.rivals(theirs)
    with pytest.raises(LocalError, match="too many versions ahead") as caught:
        merge(ours, theirs, now=LATER)
    assert "--keep-ours" in caught.value.hint
    kept = then(ours, overrule(ours, theirs, now=LATER), "Alice")
    assert kept.version == ours.version + 1
    assert not kept.rivals(theirs)
    assert not kept.rivals(longer(theirs, 1, "Xavier"))


def test_row_22_a_removed_administrator_who_signs_rivals_for_ever_is_heard_once() -> None:
    start = longer(team("Alice", "Xavier"), 3, "Alice")
    ours = removing(start, "Xavier", "Alice")
    rival = adding(start, "Zed", "Xavier", role="admin")
    assert ours.rivals(rival)

    settled, _ = resolve(ours, rival, "Alice", "Zed")

    assert "Xavier" not in names(settled)
    for number in range(3):
        early = start if number == 0 else team("Alice", "Xavier")
        again = longer(early, 1 + number, "Xavier", now=LATER + 100)
        assert not settled.rivals(again)
        assert not longer(settled, 2, "Alice").rivals(again)
        # Whoever has not heard of the end still sees the conflict.
        assert again.rivals(settled)


def test_a_rival_that_removes_every_administrator_of_ours_is_overruled() -> None:
    start = team("Alice", "Xavier")
    ours = adding(removing(start, "Xavier", "Alice"), "Bob", "Alice")
    theirs = removing(adding(start, "Zed", "Xavier"), "Alice", "Xavier")

    with pytest.raises(LocalError, match="none would be left") as caught:
        merge(ours, theirs, now=LATER)
    assert "--keep-ours" in caught.value.hint
    body = overrule(ours, theirs, now=LATER)
    kept = then(ours, body, "Alice")

    assert roles(kept) == roles(ours)
    assert kept.settled == kept.version
    assert not kept.rivals(theirs)
    assert not kept.rivals(longer(theirs, 5, "Xavier"))
    with pytest.raises(RemoteError):
        then(theirs, body, "Alice")


def test_what_was_overruled_is_over_though_an_administrator_of_today_signed_it() -> None:
    start = team("Alice", "Bob")
    ours, theirs = adding(start, "Carol", "Alice"), removing(start, "Alice", "Bob")
    kept = then(ours, overrule(ours, theirs, now=LATER), "Alice")

    assert not kept.rivals(theirs)
    assert not kept.extends(theirs)
    assert theirs.rivals(kept)
    # What its administrator does after that is a conflict again.
    assert kept.rivals(longer(theirs, 1, "Bob"))


def test_whoever_still_trusts_the_signers_follows_a_version_that_overrules() -> None:
    start = team("Alice", "Bob")
    ours, theirs = adding(start, "Carol", "Alice"), longer(adding(start, "Dave", "Bob"), 2, "Bob")
    body = overrule(ours, theirs, now=LATER)

    assert then(ours, body, "Alice").hash == then(theirs, body, "Alice").hash
    assert names(then(theirs, body, "Alice")) == names(ours)


@pytest.mark.parametrize("earlier", [True, False])
def test_a_history_extends_another_by_any_version_that_its_administrators_signed(
    earlier: bool,
) -> None:
    start = team("Alice", "Bob")
    ours, theirs = adding(start, "Carol", "Alice"), removing(start, "Alice", "Bob")
    signers = [("Alice", "Bob"), ("Alice",)] if earlier else [("Alice",), ("Alice", "Bob")]
    one = then(ours, overrule(ours, theirs, now=LATER), *signers[0])
    again = edited(renewed(one.roster, now=LATER), parents=tuple(sorted((one.hash, theirs.hash))))
    two = then(one, again, *signers[1])

    assert two.extends(theirs)
    assert one.extends(theirs) is earlier


def test_a_rival_does_not_hide_by_naming_our_version() -> None:
    start = team("Alice", "Xavier")
    ours = removing(start, "Xavier", "Alice")
    theirs = then(start, with_role(start.roster, person("Alice").public.fingerprint, "guest",
                                   now=LATER), "Xavier")  # fmt: skip
    named = edited(
        renewed(theirs.roster, now=LATER), parents=tuple(sorted((theirs.hash, ours.hash)))
    )
    hiding = then(theirs, named, "Xavier")

    assert not hiding.extends(ours)
    assert ours.rivals(hiding)


def test_a_rival_does_not_come_after_the_end_by_naming_a_version_of_ours() -> None:
    start = team("Alice", "Xavier")
    ours, rival = removing(start, "Xavier", "Alice"), longer(start, 1, "Xavier")
    settled, _ = resolve(ours, rival, "Alice")
    recent = longer(settled, 1, "Alice")
    named = edited(
        renewed(rival.roster, now=LATER), parents=tuple(sorted((rival.hash, recent.hash)))
    )

    assert not longer(recent, 1, "Alice").rivals(then(rival, named, "Xavier"))


def test_a_third_branch_that_an_administrator_of_today_signed_is_joined_too() -> None:
    start = team("Alice", "Bob", "Carol")
    one, two, three = (
        adding(start, name, signer)
        for name, signer in (("Dave", "Alice"), ("Zed", "Bob"), ("Xavier", "Carol"))
    )
    settled, _ = resolve(one, two, "Alice")

    assert settled.rivals(three)
    whole, same = resolve(settled, three, "Carol", now=LATER + 1)
    assert whole.hash == same.hash
    assert not whole.rivals(three)
    assert names(whole) == set(PEOPLE)


def test_two_resolves_at_once_are_a_conflict_that_resolves_again() -> None:
    start = team("Alice", "Bob")
    ours, theirs = adding(start, "Carol", "Alice"), adding(start, "Dave", "Bob")
    by_alice = signed(ours, merge(ours, theirs, now=LATER), "Alice")
    by_bob = signed(ours, merge(theirs, ours, now=LATER + 1), "Bob")
    for left, right in (
        (ours.update_untrusted(by_alice), theirs.update_untrusted(by_bob)),
        (ours.update_untrusted(by_alice), ours.update_untrusted(by_bob)),
    ):
        assert left.version == right.version
        assert left.rivals(right)
        assert right.rivals(left)

        one, other = resolve(left, right, "Alice", now=LATER + 2)

        assert one.hash == other.hash
        assert names(one) == {"Alice", "Bob", "Carol", "Dave"}
        assert not one.rivals(right)
        assert not other.rivals(left)


def test_who_was_removed_after_a_joining_stays_out_of_the_next_one() -> None:
    start = team("Alice", "Bob")
    ours, theirs = adding(start, "Zed", "Alice", role="admin"), adding(start, "Dave", "Bob")
    by_alice = signed(ours, merge(ours, theirs, now=LATER), "Alice")
    by_bob = signed(ours, merge(ours, theirs, now=LATER + 1), "Bob")
    removed = removing(ours.update_untrusted(by_alice), "Zed", "Alice")
    demoted = then(
        ours.update_untrusted(by_alice),
        with_role(
            ours.update_untrusted(by_alice).roster,
            person("Zed").public.fingerprint,
            "guest",
            now=LATER,
        ),
        "Alice",
    )
    other = theirs.update_untrusted(by_bob)

    assert "Zed" not in names(resolve(removed, other, "Alice", "Bob")[0])
    assert roles(resolve(demoted, other, "Alice", "Bob")[0])["Zed"] == "guest"


def test_a_conflict_that_is_over_is_not_joined_again() -> None:
    start = team("Alice")
    later = longer(start, 1, "Alice")

    for one, other in ((start, later), (later, start), (later, later)):
        with pytest.raises(LocalError, match="no conflict"):
            merge(one, other, now=LATER)
        with pytest.raises(LocalError, match="no conflict"):
            overrule(one, other, now=LATER)


# All together: any changes on two sides


@st.composite
def bodies(draw: Any, trusted: TrustedRoster) -> bytes:
    """Return some next version that leaves Alice an administrator."""
    others = [one for one in trusted.members.values() if one.name != "Alice"]
    outside = sorted(set(PEOPLE) - names(trusted))
    kinds = ["renew", "threshold", *(["change"] if others else []), *(["add"] if outside else [])]
    kind = draw(st.sampled_from(kinds))
    role = draw(st.sampled_from(ROLES))
    try:
        if kind == "add":
            who = person(draw(st.sampled_from(outside))).public
            return with_member(trusted.roster, who, role, now=LATER)
        if kind == "threshold":
            most = len(trusted.administrators)
            return with_threshold(trusted.roster, draw(st.integers(1, most)), now=LATER)
        if kind == "change":
            who = draw(st.sampled_from(sorted(others, key=lambda one: one.name)))
            if draw(st.booleans()):
                return without_member(trusted.roster, who.fingerprint, now=LATER)
            return with_role(trusted.roster, who.fingerprint, role, now=LATER)
    except LocalError:
        # Too few administrators would be left to sign.
        pass
    return renewed(trusted.roster, now=LATER + draw(st.integers(1, 9)))


@st.composite
def histories(draw: Any, start: TrustedRoster, *, most: int = 3) -> TrustedRoster:
    """Return a team after some versions that everybody signed."""
    for _ in range(draw(st.integers(0, most))):
        start = then(start, draw(bodies(start)), *PEOPLE)
    return start


def told(listener: TrustedRoster, teller: TrustedRoster) -> TrustedRoster:
    """Return what a node makes of all versions of another: it takes what follows."""
    for update in teller.signed_versions:
        try:
            listener = listener.update_untrusted(update)
        except RemoteProtocolError:
            continue
    return listener


@settings(deadline=None)
@given(data=st.data())
def test_a_merge_is_the_same_from_both_sides_and_widens_nobody(data: Any) -> None:
    start = data.draw(histories(team("Alice", "Bob")))
    ours, theirs = data.draw(histories(start)), data.draw(histories(start))
    if not ours.rivals(theirs):
        return

    body = merge(ours, theirs, now=LATER)

    assert body == merge(theirs, ours, now=LATER)
    joined, _ = resolve(ours, theirs, *PEOPLE)
    before = roles(start)
    mine, yours, result = roles(ours), roles(theirs), roles(joined)
    for name, role in result.items():
        held = {side[name] for side in (mine, yours) if name in side}
        assert role in held
        assert name in mine or name not in before
        assert name in yours or name not in before
        if name in before and mine[name] != before[name] != yours[name]:
            assert ROLES.index(role) == max(ROLES.index(one) for one in held)
    assert set(result) >= set(mine) & set(yours)
    larger = max(ours.roster.threshold, theirs.roster.threshold)
    assert joined.roster.threshold == min(larger, len(joined.administrators))


@settings(deadline=None)
@given(data=st.data())
def test_what_two_nodes_accept_leads_to_one_head_once_both_accept_a_resolve(data: Any) -> None:
    left = right = team("Alice", "Bob")
    for moment in range(data.draw(st.integers(1, 4))):
        left, right = data.draw(histories(left, most=2)), data.draw(histories(right, most=2))
        match data.draw(st.sampled_from(["apart", "told", "resolve", "both resolve"])):
            case "told":
                left, right = told(left, right), told(right, left)
            case "resolve" if left.rivals(right):
                left, right = resolve(left, right, *PEOPLE, now=LATER + moment)
            case "both resolve" if left.rivals(right):
                one, _ = resolve(left, right, *PEOPLE, now=LATER + 10 * moment)
                other, _ = resolve(right, left, *PEOPLE, now=LATER + 10 * moment + 5)
                left, right = one, other

    left, right = told(left, right), told(right, left)

    assert left.rivals(right) == right.rivals(left) == (left.hash != right.hash)
    if left.rivals(right):
        left, right = resolve(left, right, *PEOPLE, now=LATER + 100)
    assert left.hash == right.hash
    assert left.roster == right.roster


def test_founding_twice_is_no_conflict() -> None:
    assert founded("Alice").hash == founded("Alice").hash
    assert not founded("Alice").rivals(founded("Alice"))
