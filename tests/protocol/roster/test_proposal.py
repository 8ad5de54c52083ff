"""A next version while administrators still sign it."""

from __future__ import annotations

import msgspec
import pytest

from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    RemoteProtocolError,
    UnsupportedError,
)
from protocol.labels import NO_TEAM
from protocol.roster.changes import merge
from protocol.roster.metadata import (
    RosterSignature,
    SignedRoster,
    renewed,
    roster_hash,
    with_member,
    without_member,
)
from protocol.roster.proposal import (
    add_signature,
    combine_untrusted,
    parse_proposal_untrusted,
    propose,
)
from protocol.roster.trusted import TrustedRoster
from tests.protocol.people import NOW, person
from tests.protocol.roster.simulator import edited, envelope, first, member, ordered, successor

ALICE, BOB, CAROL, MALLORY = (person(name) for name in ("Alice", "Bob", "Carol", "Mallory"))


def team(threshold: int = 2) -> TrustedRoster:
    """Return a team of three administrators."""
    everybody = ("Alice", "Bob", "Carol")
    return TrustedRoster.found_untrusted(first(everybody, threshold=threshold, signers=everybody))


TEAM = team()
BODY = with_member(TEAM.roster, person("Dave").public, "editor", now=NOW)
BY_ALICE = propose(BODY, signer=ALICE, team_id=TEAM.team_id)
BY_BOB = propose(BODY, signer=BOB, team_id=TEAM.team_id)


def with_signature(signed: bytes, *signatures: RosterSignature) -> bytes:
    """Return a signed roster with further signatures, nothing checked."""
    parts = envelope(signed)
    every = tuple(sorted((*parts.signatures, *signatures), key=lambda one: one.signer))
    return encode(msgspec.structs.replace(parts, signatures=every))


def test_a_proposal_says_what_it_lacks() -> None:
    proposal = parse_proposal_untrusted(BY_ALICE, TEAM)

    assert proposal.hash == roster_hash(BODY)
    assert proposal.roster.version == 2
    assert {one.name for one in proposal.identities} == {"Alice", "Bob", "Carol", "Dave"}
    assert proposal.signers == {ALICE.public.fingerprint}
    assert (proposal.missing_old, proposal.missing_new) == (1, 1)
    assert not proposal.complete
    assert proposal.signed == BY_ALICE
    with pytest.raises(AuthenticationError):
        TEAM.update_untrusted(BY_ALICE)


@pytest.mark.parametrize(
    "signed",
    [
        add_signature(BY_ALICE, signer=BOB, team_id=TEAM.team_id),
        combine_untrusted(BY_ALICE, BY_BOB),
        combine_untrusted(BY_BOB, BY_ALICE),
    ],
    ids=["added", "combined", "combined the other way"],
)
def test_a_complete_proposal_is_an_update(signed: bytes) -> None:
    proposal = parse_proposal_untrusted(signed, TEAM)

    assert proposal.complete
    assert TEAM.update_untrusted(signed).hash == proposal.hash


def test_a_signature_added_twice_counts_once() -> None:
    twice = add_signature(BY_ALICE, signer=ALICE, team_id=TEAM.team_id)

    assert twice == BY_ALICE


def test_the_new_versions_threshold_is_counted_by_its_own_administrators() -> None:
    start = team(threshold=1)
    body = successor(start, [member("Alice"), member("Dave"), member("Eve")], threshold=2)
    proposal = parse_proposal_untrusted(propose(body, signer=BOB, team_id=start.team_id), start)

    assert (proposal.missing_old, proposal.missing_new) == (0, 2)
    grown = add_signature(proposal.signed, signer=person("Eve"), team_id=start.team_id)
    assert parse_proposal_untrusted(grown, start).missing_new == 1
    whole = add_signature(grown, signer=ALICE, team_id=start.team_id)
    assert parse_proposal_untrusted(whole, start).complete
    assert start.update_untrusted(whole).version == 2


def test_a_version_that_joins_two_histories_is_looked_at_from_both() -> None:
    start = team(threshold=1)
    ours = start.update_untrusted(
        propose(
            without_member(start.roster, BOB.public.fingerprint, now=NOW),
            signer=ALICE,
            team_id=start.team_id,
        )
    )
    theirs = start.update_untrusted(
        propose(
            without_member(start.roster, ALICE.public.fingerprint, now=NOW),
            signer=BOB,
            team_id=start.team_id,
        )
    )
    joined = propose(merge(ours, theirs, now=NOW), signer=ALICE, team_id=start.team_id)

    seen = parse_proposal_untrusted(joined, ours)
    assert (seen.missing_old, seen.missing_new) == (0, 1)
    with pytest.raises(AuthenticationError):
        parse_proposal_untrusted(joined, theirs)
    whole = add_signature(joined, signer=CAROL, team_id=start.team_id)
    assert parse_proposal_untrusted(whole, ours).complete
    assert parse_proposal_untrusted(whole, theirs).complete


# Attacks


def test_row_20_signatures_that_fail_or_are_of_nobody_are_dropped() -> None:
    junk = RosterSignature(signer=BOB.public.fingerprint, signature=bytes(64))
    stranger = envelope(propose(BODY, signer=MALLORY, team_id=TEAM.team_id)).signatures[0]

    proposal = parse_proposal_untrusted(with_signature(BY_ALICE, junk, stranger), TEAM)

    assert proposal.signed == BY_ALICE
    assert proposal.signers == {ALICE.public.fingerprint}


def test_row_20_a_false_signature_never_displaces_a_verified_one() -> None:
    junk = RosterSignature(signer=ALICE.public.fingerprint, signature=bytes(64))
    false = encode(SignedRoster(body=BODY, signatures=(junk,)))

    assert combine_untrusted(BY_ALICE, false) == BY_ALICE
    repaired = add_signature(false, signer=ALICE, team_id=TEAM.team_id)
    assert repaired == BY_ALICE


def test_row_20_a_signer_who_stands_there_twice_is_refused() -> None:
    parts = envelope(BY_ALICE)
    twice = encode(msgspec.structs.replace(parts, signatures=parts.signatures * 2))

    with pytest.raises(EncodingError):
        parse_proposal_untrusted(twice, TEAM)


@pytest.mark.parametrize("name", ["Mallory", "Dave"])
def test_a_proposal_that_no_administrator_signed_is_none(name: str) -> None:
    with pytest.raises(AuthenticationError):
        parse_proposal_untrusted(propose(BODY, signer=person(name), team_id=TEAM.team_id), TEAM)


def test_nothing_of_a_strangers_proposal_is_parsed() -> None:
    for signer, expected in ((MALLORY, AuthenticationError), (ALICE, EncodingError)):
        signed = propose(b"\x80", signer=signer, team_id=TEAM.team_id)
        with pytest.raises(expected):
            parse_proposal_untrusted(signed, TEAM)


@pytest.mark.parametrize("under", [NO_TEAM, b"\x01" * 32])
def test_a_proposal_of_another_team_is_none(under: bytes) -> None:
    with pytest.raises(AuthenticationError):
        parse_proposal_untrusted(propose(BODY, signer=ALICE, team_id=under), TEAM)


def test_a_proposal_with_an_unknown_role_is_refused() -> None:
    members = ordered([member("Alice"), member("Bob"), member("Carol", "wizard")])
    body = edited(BODY, members=members)

    with pytest.raises(UnsupportedError):
        parse_proposal_untrusted(propose(body, signer=ALICE, team_id=TEAM.team_id), TEAM)


def test_a_proposal_that_does_not_follow_is_refused() -> None:
    later = TEAM.update_untrusted(combine_untrusted(BY_ALICE, BY_BOB))
    other = propose(renewed(TEAM.roster, now=NOW), signer=ALICE, team_id=TEAM.team_id)
    skipped = propose(edited(BODY, version=3), signer=ALICE, team_id=TEAM.team_id)

    for trusted, signed, code in (
        (later, BY_ALICE, "roster_old"),
        (later, other, "roster_conflict"),
        (TEAM, skipped, "roster_gap"),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_proposal_untrusted(signed, trusted)
        assert caught.value.code == code


def test_signatures_of_two_proposals_are_not_mixed() -> None:
    other = propose(renewed(TEAM.roster, now=NOW), signer=BOB, team_id=TEAM.team_id)

    with pytest.raises(RemoteProtocolError):
        combine_untrusted(BY_ALICE, other)
    with pytest.raises(EncodingError):
        combine_untrusted(BY_ALICE, b"")
