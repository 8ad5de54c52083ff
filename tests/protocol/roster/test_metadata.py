"""The roster document and its rules within one version."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    RemoteError,
    UnsupportedError,
)
from protocol.identity import Identity, Seeds, is_clean_name, make_identity
from protocol.labels import NO_TEAM
from protocol.limits import ROSTER_LIFETIME_MS
from protocol.roster.metadata import (
    ROLES,
    Member,
    RosterSignature,
    SignedRoster,
    founding_roster,
    name_skeleton,
    next_version,
    parse_roster_untrusted,
    parse_signed_roster_untrusted,
    renewed,
    roster_hash,
    sign_roster,
    signed_by_untrusted,
    team_id,
    with_member,
    with_role,
    with_threshold,
    without_member,
)
from tests.protocol.people import DAY, NOW, person, stream
from tests.protocol.roster.simulator import edited, founded, member, ordered, seeds_of, twin

ALICE, BOB = person("Alice"), person("Bob")
FIRST = founding_roster(team_name="Studio", admin=ALICE.public, now=NOW)


def parse(body: bytes) -> Any:
    """Parse a body with nothing known before."""
    return parse_roster_untrusted(body, known={})


def named(name: str) -> Identity:
    """Return somebody of a name, with keys of their own."""
    return make_identity(Seeds.generate(stream(f"named/{name}")), name=name, now=NOW).public


def test_a_founded_team_has_one_administrator_and_a_year() -> None:
    roster, identities = parse(FIRST)

    assert (roster.version, roster.parents, roster.threshold) == (1, (), 1)
    assert roster.expires_at - roster.created == ROSTER_LIFETIME_MS
    assert identities == (ALICE.public,)
    assert roster.members[0].role == "admin"


def test_a_team_is_named_by_its_first_version_and_versions_by_their_bytes() -> None:
    other = founding_roster(team_name="Studio", admin=ALICE.public, now=NOW + 1)

    assert len({team_id(FIRST), team_id(other), roster_hash(FIRST), roster_hash(other)}) == 4
    assert {len(team_id(FIRST)), len(roster_hash(FIRST))} == {32}


def test_a_member_is_added_in_the_order_of_fingerprints() -> None:
    roster, _ = parse(FIRST)
    body = FIRST
    for name in ("Bob", "Carol", "Dave", "Eve"):
        body = with_member(parse(body)[0], person(name).public, "editor", now=NOW + DAY)
    roster, identities = parse(body)

    assert roster.version == 5
    assert roster.created == NOW + DAY
    assert [one.fingerprint for one in identities] == sorted(one.fingerprint for one in identities)
    assert {one.name for one in identities} == {"Alice", "Bob", "Carol", "Dave", "Eve"}


def test_a_next_version_names_the_one_before() -> None:
    body = with_member(parse(FIRST)[0], BOB.public, "guest", now=NOW)

    assert parse(body)[0].parents == (roster_hash(FIRST),)


@pytest.mark.parametrize("role", ["owner", "Admin", ""])
def test_an_unknown_role_is_refused_by_both_sides(role: str) -> None:
    with pytest.raises(LocalError):
        with_member(parse(FIRST)[0], BOB.public, role, now=NOW)
    with pytest.raises(UnsupportedError):
        parse(edited(FIRST, members=ordered([member("Alice"), member("Bob", role)])))


@pytest.mark.parametrize("role", ROLES)
def test_every_known_role_is_taken(role: str) -> None:
    assert with_member(parse(FIRST)[0], BOB.public, role, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": -1},
        {"version": 2},
        {"version": 2**53},
        {"parents": (bytes(32),)},
        {"version": 2, "parents": (bytes(31),)},
        {"version": 2, "parents": (b"\x02" * 32, b"\x01" * 32)},
        {"version": 2, "parents": (bytes(32), bytes(32))},
        {"version": 2, "parents": tuple(bytes([number] * 32) for number in range(9))},
        {"created": -1},
        {"expires_at": NOW},
        {"expires_at": 2**53},
        {"threshold": 0},
        {"threshold": -1},
        {"threshold": 2},
        {"team_name": ""},
        {"team_name": "\x1b[2J"},
        {"team_name": "Studio "},
        {"members": ()},
        {"members": (member("Alice", "editor"),)},
        {"members": (member("Alice"), member("Alice"))[::-1], "threshold": 1},
        {"members": ordered([member("Alice"), member("Bob")])[::-1]},
    ],
    ids=str,
)
def test_row_20_a_roster_that_breaks_a_rule_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((EncodingError, AuthenticationError)):
        parse(edited(FIRST, **changes))


def test_a_roster_joins_two_of_one_version() -> None:
    parents = (b"\x01" * 32, b"\x02" * 32)

    assert parse(edited(FIRST, version=2, parents=parents))[0].parents == parents


@pytest.mark.parametrize("kind", ["identity", "agreement", "log", "cosigning"])
def test_row_20_two_members_never_share_a_key(kind: str) -> None:
    shared = twin("Alice", **{kind: getattr(seeds_of("Alice"), kind)})

    with pytest.raises(AuthenticationError):
        parse(edited(FIRST, members=ordered([member("Alice"), shared])))


def test_a_key_is_not_shared_between_purposes_either() -> None:
    shared = twin("Alice", log=seeds_of("Alice").identity)

    with pytest.raises(AuthenticationError):
        parse(edited(FIRST, members=ordered([member("Alice"), shared])))


def test_nobody_is_a_member_twice() -> None:
    with pytest.raises(LocalError):
        with_member(parse(FIRST)[0], ALICE.public, "editor", now=NOW)


@pytest.mark.parametrize(
    "certificate",
    [b"", b"\x80", ALICE.public.certificate[:-1], ALICE.public.certificate + b"\x00", bytes(2000)],
    ids=["empty", "map", "cut", "longer", "too long"],
)
def test_a_member_has_a_certificate(certificate: bytes) -> None:
    with pytest.raises(RemoteError):
        parse(edited(FIRST, members=(Member(certificate=certificate, role="admin"),)))


def test_a_version_with_a_broken_certificate_is_not_made() -> None:
    broken = Member(certificate=ALICE.public.certificate[:-1], role="editor")

    with pytest.raises(LocalError):
        next_version(parse(FIRST)[0], members=[broken], now=NOW)


def test_a_team_needs_a_name_that_can_be_shown() -> None:
    with pytest.raises(LocalError):
        founding_roster(team_name="\u202eoidutS", admin=ALICE.public, now=NOW)


def test_the_threshold_can_be_raised_to_the_administrators_and_no_further() -> None:
    members = [member("Alice"), member("Bob")]

    assert parse(next_version(parse(FIRST)[0], members=members, now=NOW, threshold=2))
    with pytest.raises(LocalError):
        next_version(parse(FIRST)[0], members=members, now=NOW, threshold=3)


def test_a_certificate_that_was_verified_before_is_taken_as_known() -> None:
    known = {ALICE.public.certificate: ALICE.public}

    assert parse_roster_untrusted(FIRST, known=known)[1][0] is ALICE.public


# Further changes

TWO = parse(next_version(parse(FIRST)[0], members=[member("Alice"), member("Bob")], now=NOW))[0]


def hint(made: Any) -> str:
    """Return the hint with which a version that peers would refuse is not made."""
    with pytest.raises(LocalError) as caught:
        made()
    return caught.value.hint


@pytest.mark.parametrize("role", ROLES)
def test_a_member_changes_role(role: str) -> None:
    roster, identities = parse(with_role(TWO, BOB.public.fingerprint, role, now=NOW + DAY))

    assert roster.parents == (roster_hash(encode(TWO)),)
    assert (roster.version, roster.created, roster.threshold) == (3, NOW + DAY, 1)
    assert {
        one.name: member.role for one, member in zip(identities, roster.members, strict=True)
    } == {"Alice": "admin", "Bob": role}


def test_a_member_is_removed() -> None:
    roster, identities = parse(without_member(TWO, BOB.public.fingerprint, now=NOW))

    assert (roster.version, identities) == (3, (ALICE.public,))


def test_a_renewal_changes_the_time_only() -> None:
    roster, _ = parse(renewed(TWO, now=NOW + DAY))

    assert (roster.members, roster.threshold) == (TWO.members, TWO.threshold)
    assert (roster.created, roster.expires_at) == (NOW + DAY, NOW + DAY + ROSTER_LIFETIME_MS)


@pytest.mark.parametrize("threshold", [1, 2])
def test_row_20_a_threshold_is_from_one_to_the_administrators(threshold: int) -> None:
    assert parse(with_threshold(TWO, threshold, now=NOW))[0].threshold == threshold


@pytest.mark.parametrize("threshold", [0, -1, 3])
def test_row_20_another_threshold_is_refused_by_both_sides(threshold: int) -> None:
    assert hint(lambda: with_threshold(TWO, threshold, now=NOW))
    with pytest.raises(EncodingError):
        parse(edited(encode(TWO), version=3, threshold=threshold))


def test_the_last_administrator_stays_one() -> None:
    alone = parse(next_version(TWO, members=[member("Alice"), member("Bob", "guest")], now=NOW))[0]

    for made in (
        lambda: with_role(alone, ALICE.public.fingerprint, "editor", now=NOW),
        lambda: without_member(alone, ALICE.public.fingerprint, now=NOW),
    ):
        assert "team role" in hint(made)


def test_as_many_administrators_stay_as_have_to_sign() -> None:
    strict = parse(with_threshold(TWO, 2, now=NOW))[0]

    for made in (
        lambda: with_role(strict, BOB.public.fingerprint, "editor", now=NOW),
        lambda: without_member(strict, BOB.public.fingerprint, now=NOW),
    ):
        assert "team threshold 1" in hint(made)


def test_somebody_who_is_no_member_is_neither_changed_nor_removed() -> None:
    stranger = person("Carol").public.fingerprint

    assert hint(lambda: with_role(TWO, stranger, "guest", now=NOW))
    assert hint(lambda: without_member(TWO, stranger, now=NOW))


def test_a_change_to_an_unknown_role_is_not_made() -> None:
    with pytest.raises(LocalError):
        with_role(TWO, BOB.public.fingerprint, "owner", now=NOW)


# Names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("Alice", "ＡＬＩＣＥ"),
        ("Straße", "STRASSE"),
        ("ﬁlm", "film"),
        ("Éva", "e\u0301va"),
        ("Anna Lena", "Anna  Lena"),
        ("ſam", "Sam"),
    ],
)
def test_row_34_names_that_look_alike_are_one_skeleton(one: str, other: str) -> None:
    assert name_skeleton(one) == name_skeleton(other)


@pytest.mark.parametrize(("one", "other"), [("Alice", "ALICE"), ("Straße", "STRASSE")])
def test_row_34_members_whose_names_look_alike_are_refused_by_both_sides(
    one: str, other: str
) -> None:
    members = ordered(
        Member(certificate=named(name).certificate, role="admin") for name in (one, other)
    )

    with pytest.raises(EncodingError):
        parse(edited(FIRST, members=members))
    with pytest.raises(LocalError, match="alike"):
        with_member(
            parse(founding_roster(team_name="Studio", admin=named(one), now=NOW))[0],
            named(other),
            "editor",
            now=NOW,
        )


@given(st.text(max_size=40).filter(is_clean_name))
def test_row_34_a_skeleton_is_its_own_skeleton(name: str) -> None:
    assert name_skeleton(name) == name_skeleton(name_skeleton(name))


# Signatures


def test_signers_are_counted_by_who_really_signed() -> None:
    team = founded()
    people = [ALICE, BOB, person("Carol")]
    body = with_member(team.roster, BOB.public, "editor", now=NOW)
    signed = parse_signed_roster_untrusted(
        sign_roster(body, signers=[ALICE, BOB], team_id=team.team_id)
    )

    valid = signed_by_untrusted(signed, [one.public for one in people], team_id=team.team_id)

    assert {ALICE.public.fingerprint, BOB.public.fingerprint} == valid


def test_row_20_a_signer_who_stands_there_twice_is_refused() -> None:
    signed = msgspec.msgpack.decode(
        sign_roster(FIRST, signers=[ALICE], team_id=NO_TEAM), type=SignedRoster
    )
    twice = encode(msgspec.structs.replace(signed, signatures=signed.signatures * 2))

    with pytest.raises(EncodingError):
        parse_signed_roster_untrusted(twice)


def test_signatures_have_one_order() -> None:
    signed = msgspec.msgpack.decode(
        sign_roster(FIRST, signers=[ALICE, BOB], team_id=NO_TEAM), type=SignedRoster
    )
    swapped = encode(msgspec.structs.replace(signed, signatures=signed.signatures[::-1]))

    with pytest.raises(EncodingError):
        parse_signed_roster_untrusted(swapped)


@pytest.mark.parametrize("size", [0, 63])
def test_a_signature_of_another_size_counts_for_nothing(size: int) -> None:
    signature = RosterSignature(signer=ALICE.public.fingerprint, signature=bytes(size))
    signed = SignedRoster(body=FIRST, signatures=(signature,))

    assert not signed_by_untrusted(signed, [ALICE.public], team_id=NO_TEAM)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_roster_are_an_encoding_error(data: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_signed_roster_untrusted(data)
    with pytest.raises(EncodingError):
        parse(data)
