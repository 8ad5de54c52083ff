"""Cases of tuf-conformance that ``test_trusted`` and ``test_histories`` do not name.

Named after their cases. A TUF repository has four documents, each with its own keys and number;
a roster is all of them in one, so that one check stands for several cases.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from protocol.encoding import encode
from protocol.errors import AuthenticationError, EncodingError, RemoteProtocolError
from protocol.roster.metadata import (
    Roster,
    RosterSignature,
    renewed,
    with_member,
    with_role,
    without_member,
)
from protocol.roster.trusted import TrustedRoster
from protocol.roster.update import join_versions, split_versions_untrusted
from tests.protocol.people import DAY, NOW, person
from tests.protocol.roster.simulator import (
    edited,
    envelope,
    first,
    member,
    ordered,
    signed,
    successor,
)

ALICE, BOB, CAROL = (person(name).public for name in ("Alice", "Bob", "Carol"))


def team(*admins: str, threshold: int = 1) -> TrustedRoster:
    """Return a team of administrators at version 1."""
    return TrustedRoster.found_untrusted(first(admins, threshold=threshold, signers=admins))


def grown(trusted: TrustedRoster, versions: int, now: int = NOW) -> TrustedRoster:
    """Return the team after versions by Alice that change nothing."""
    for number in range(versions):
        body = renewed(trusted.roster, now=now + number)
        trusted = trusted.update_untrusted(signed(trusted, body, "Alice"))
    return trusted


def refused(trusted: TrustedRoster, update: bytes) -> str:
    """Return the code by which a genuine version that does not follow is refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        trusted.update_untrusted(update)
    return caught.value.code


# What does not arrive


def test_timestamp_404() -> None:
    """A peer that sends no version leaves the roster as it is."""
    assert split_versions_untrusted(join_versions([])) == []
    with pytest.raises(EncodingError):
        TrustedRoster.load_untrusted([])


def test_snapshot_404() -> None:
    """A version between that is missing is no reason to take the one after it."""
    start = team("Alice")
    later = grown(start, 2)

    assert refused(start, later.signed_versions[2]) == "roster_gap"


# test_targets_404: members stand in the version itself and are not fetched one by one.
# test_targets_hash_mismatch: nor are they named by hashes; a changed member is refused in
# test_row_1_a_substituted_key_is_refused.


# Expiry


def expired(*, at: int) -> TrustedRoster:
    """Return a team whose newest version ends at a moment."""
    start = team("Alice")
    body = successor(start, [member("Alice")], created=NOW, expires_at=at)
    return start.update_untrusted(signed(start, body, "Alice"))


def test_root_expired() -> None:
    """The newest version arrives expired: it is taken, lest the next be lost, and says so."""
    assert expired(at=NOW + 1).expired(NOW + 1)


def test_expired_local_timestamp() -> None:
    """A stored version that has expired still leads to the next."""
    local = TrustedRoster.load_untrusted(expired(at=NOW + 1).signed_versions)

    assert local.expired(NOW + DAY)
    assert not grown(local, 1, now=NOW + DAY).expired(NOW + DAY)


# test_timestamp_expired, test_snapshot_expired, test_targets_expired: one document, one end.


# Rollback


def test_new_timestamp_version_rollback() -> None:
    start = team("Alice")
    later = grown(start, 2)

    for old in later.signed_versions:
        assert refused(later, old) == "roster_old"


def test_snapshot_rollback() -> None:
    """A newer document with a lower number, signed by everybody, is none."""
    later = grown(team("Alice"), 2)
    body = edited(renewed(later.roster, now=NOW + DAY), version=2)

    assert refused(later, signed(later, body, "Alice")) == "roster_old"


# test_targets_rollback: one document, one number.


def test_targets_role_removal() -> None:
    """A version that drops somebody is followed: who is absent has no role."""
    start = team("Alice", "Bob")
    body = without_member(start.roster, BOB.fingerprint, now=NOW)
    after = start.update_untrusted(signed(start, body, "Alice"))

    assert after.role_of(BOB.fingerprint) is None
    assert after.administrators == (ALICE,)


# test_targets_fast_forward_recovery, test_new_snapshot_fast_forward_recovery,
# test_new_timestamp_fast_forward_recovery: one number; test_fast_forward_recovery in
# test_histories.


# Thresholds


def test_snapshot_does_not_meet_threshold() -> None:
    start = team("Alice", "Bob", threshold=2)
    body = renewed(start.roster, now=NOW)

    with pytest.raises(AuthenticationError):
        start.update_untrusted(signed(start, body, "Alice"))
    assert start.update_untrusted(signed(start, body, "Alice", "Bob")).version == 2


@pytest.mark.parametrize("threshold", [3, 1000, 0, -1])
def test_snapshot_has_too_few_keys(threshold: int) -> None:
    """A version that asks for more signatures than it has keys, or for none, is refused."""
    start = team("Alice", "Bob")
    body = edited(renewed(start.roster, now=NOW), threshold=threshold)

    with pytest.raises(EncodingError):
        start.update_untrusted(signed(start, body, "Alice", "Bob"))


def test_duplicate_keys() -> None:
    """The same administrator listed twice is not two."""
    start = team("Alice", "Bob")
    members = ordered([member("Alice"), member("Alice"), member("Bob")])
    body = edited(renewed(start.roster, now=NOW), members=members, threshold=3)

    with pytest.raises(AuthenticationError, match="share a key"):
        start.update_untrusted(signed(start, body, "Alice", "Bob"))


def test_duplicate_signatures_of_one_key_under_two_names() -> None:
    """One signature repeated under every name is one: test_duplicate_sig_keyids, the other way."""
    start = team("Alice", "Bob", "Carol", threshold=3)
    update = envelope(signed(start, renewed(start.roster, now=NOW), "Alice"))
    repeated = tuple(
        RosterSignature(signer=one, signature=update.signatures[0].signature)
        for one in sorted((ALICE.fingerprint, BOB.fingerprint, CAROL.fingerprint))
    )

    with pytest.raises(AuthenticationError):
        start.update_untrusted(encode(msgspec.structs.replace(update, signatures=repeated)))


# Rotation


def test_root_rotation_to_disjoint_administrators() -> None:
    """All administrators change in one version that the old and the new ones sign."""
    start = team("Alice", "Bob", threshold=2)
    body = successor(start, [member("Carol"), member("Dave")], threshold=2)

    for signers in (("Alice", "Bob"), ("Carol", "Dave"), ("Alice", "Carol", "Dave")):
        with pytest.raises(AuthenticationError):
            start.update_untrusted(signed(start, body, *signers))
    after = start.update_untrusted(signed(start, body, "Alice", "Bob", "Carol", "Dave"))

    assert {one.name for one in after.administrators} == {"Carol", "Dave"}
    following = renewed(after.roster, now=NOW)
    with pytest.raises(AuthenticationError):
        after.update_untrusted(signed(after, following, "Alice", "Bob"))
    assert after.update_untrusted(signed(after, following, "Carol", "Dave")).version == 3


def test_non_root_rotations() -> None:
    """Members other than administrators come, change and go without signing anything."""
    trusted = team("Alice")
    changes: list[Callable[[Roster], bytes]] = [
        lambda roster: with_member(roster, BOB, "editor", now=NOW),
        lambda roster: with_role(roster, BOB.fingerprint, "reviewer", now=NOW),
        lambda roster: with_member(roster, CAROL, "editor", now=NOW),
        lambda roster: without_member(roster, BOB.fingerprint, now=NOW),
    ]
    for change in changes:
        update = signed(trusted, change(trusted.roster), "Alice")
        trusted = trusted.update_untrusted(update)

    assert {one.name for one in trusted.members.values()} == {"Alice", "Carol"}
    with pytest.raises(AuthenticationError):
        trusted.update_untrusted(signed(trusted, renewed(trusted.roster, now=NOW), "Carol"))
