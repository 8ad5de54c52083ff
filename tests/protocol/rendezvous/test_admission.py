"""Whom a rendezvous serves: what administrators signed, and nothing a server made up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.encoding import decode, encode
from protocol.errors import (
    EncodingError,
    LimitError,
    LocalError,
    RemoteError,
    RemoteProtocolError,
)
from protocol.identity import sign_statement, signature_input
from protocol.labels import SignatureType
from protocol.limits import MAX_ADMISSION_BYTES
from protocol.primitives import SigningKey
from protocol.rendezvous.admission import (
    Admission,
    AdmissionSignature,
    SignedAdmission,
    admission_of,
    check_admission_untrusted,
    combine_admissions,
    sign_admission,
)
from tests.protocol.people import person
from tests.protocol.roster.simulator import founded, member, signed, successor

TEAM = bytes([7]) * 32


def admission(*administrators: str, threshold: int = 1, version: int = 1, **changes: Any) -> bytes:
    """Return the body of an admission with these administrators, and Guest as a member."""
    people = [person(name).public for name in (*administrators, "Guest")]
    return encode(
        msgspec.structs.replace(
            Admission(
                team_id=TEAM,
                version=version,
                threshold=threshold,
                administrators=tuple(sorted(one.identity_key for one in people[:-1])),
                keys=tuple(sorted(one.agreement_key for one in people)),
            ),
            **changes,
        )
    )


def by(body: bytes, *signers: str) -> bytes:
    """Return a body with the signatures of people."""
    return sign_admission(body, [person(name) for name in signers])


def value(body: bytes) -> Admission:
    """Return an admission of ours."""
    return decode(Admission, body, limit=MAX_ADMISSION_BYTES)


def missing(signed_admission: bytes, current: bytes | None = None) -> int:
    """Return how many signatures are missing."""
    before = None if current is None else value(current)
    return check_admission_untrusted(signed_admission, before)[1]


def envelope(body: bytes, signatures: Iterable[AdmissionSignature]) -> bytes:
    """Return an admission with any signatures."""
    return encode(SignedAdmission(body=body, signatures=tuple(signatures)))


# From the roster --------------------------------------------------------------------------------


def test_an_admission_says_of_a_roster_only_what_a_server_needs() -> None:
    team = founded()
    body = successor(team, [member("Alice"), member("Bea"), member("Bob", "editor")])
    team = team.update_untrusted(signed(team, body, "Alice"))
    made = value(admission_of(team))
    people = [person(name).public for name in ("Alice", "Bea", "Bob")]

    assert made == Admission(
        team_id=team.team_id,
        version=2,
        threshold=1,
        administrators=tuple(sorted(one.identity_key for one in people[:2])),
        keys=tuple(sorted(one.agreement_key for one in people)),
    )
    assert missing(by(admission_of(team), "Alice")) == 0


def test_an_admission_holds_no_name() -> None:
    data = by(admission_of(founded()), "Alice")

    assert not any(name in data for name in (b"Alice", b"Studio", b"admin\xa5"))


# Signing and combining --------------------------------------------------------------------------


def test_signatures_given_apart_count_together_in_any_order() -> None:
    body = admission("Alice", "Bea", threshold=2)
    one, other = by(body, "Alice"), by(body, "Bea")

    assert combine_admissions(one, other) == combine_admissions(other, one)
    assert combine_admissions(one, other) == by(body, "Bea", "Alice")
    assert missing(one) == 1
    assert missing(combine_admissions(one, other)) == 0


def test_two_admissions_do_not_combine() -> None:
    with pytest.raises(RemoteProtocolError):
        combine_admissions(
            by(admission("Alice"), "Alice"), by(admission("Alice", version=2), "Alice")
        )


def test_a_signature_that_fails_takes_nothing_away_from_one_that_verifies() -> None:
    body = admission("Alice", "Bea", threshold=2)
    spoilt = envelope(
        body,
        [AdmissionSignature(signer=person("Alice").public.identity_key, signature=bytes(64))],
    )

    assert combine_admissions(spoilt, by(body, "Alice")) == by(body, "Alice")
    assert combine_admissions(by(body, "Alice"), spoilt) == by(body, "Alice")


def test_row_41_strangers_cannot_fill_up_an_admission_that_waits_for_signatures() -> None:
    body = admission("Alice", "Bea", threshold=2, version=2)
    current = value(admission("Carol"))
    crowd = by(body, "Alice", "Carol", "Mallory", "Guest")

    assert combine_admissions(crowd, crowd) == crowd
    assert combine_admissions(crowd, crowd, current=current) == by(body, "Alice", "Carol")


def test_signatures_that_no_message_can_hold_are_refused() -> None:
    body = admission("Alice")
    message = signature_input(SignatureType.ADMISSION, TEAM, body)
    keys = [SigningKey(number.to_bytes(32, "big")) for number in range(1, 601)]
    keys.sort(key=lambda key: key.public)
    halves = [
        envelope(
            body,
            [
                AdmissionSignature(signer=key.public, signature=key.sign(message))
                for key in keys[start : start + 300]
            ],
        )
        for start in (0, 300)
    ]

    with pytest.raises(LimitError):
        combine_admissions(*halves)


# Checking ---------------------------------------------------------------------------------------


def test_the_first_admission_is_its_own_administrators() -> None:
    body = admission("Alice", "Bea", "Carol", threshold=2)

    assert check_admission_untrusted(by(body, "Alice", "Carol"), None) == (value(body), 0)
    assert missing(by(body, "Alice")) == 1
    assert missing(by(body)) == 2
    assert missing(by(body, "Mallory", "Guest")) == 2


@pytest.mark.parametrize(
    ("signers", "expected"),
    [
        ((), 3),
        (("Alice",), 2),
        (("Bea",), 2),
        (("Carol",), 2),
        (("Alice", "Bea"), 1),
        (("Alice", "Carol"), 1),
        (("Carol", "Dan"), 2),
        (("Bea", "Carol"), 1),
        (("Alice", "Bea", "Carol"), 0),
        (("Alice", "Bea", "Mallory"), 1),
    ],
)
def test_a_later_one_is_signed_by_the_administrators_of_both(
    signers: tuple[str, ...], expected: int
) -> None:
    """Two of Alice and Bea, and two of Bea, Carol and Dan: Bea signs once for both."""
    current = admission("Alice", "Bea", threshold=2)
    body = admission("Bea", "Carol", "Dan", threshold=2, version=2)

    assert missing(by(body, *signers), current) == expected


def test_row_21_a_server_or_a_member_cannot_admit_anybody() -> None:
    current = admission("Alice")
    body = admission("Mallory", version=2)

    assert missing(by(body, "Mallory", "Guest"), current) == 1


def test_row_20_one_administrator_counts_once() -> None:
    body = admission("Alice", "Bea", threshold=2)
    one = decode(SignedAdmission, by(body, "Alice"), limit=MAX_ADMISSION_BYTES)

    with pytest.raises(EncodingError, match="twice"):
        missing(envelope(body, one.signatures * 2))


@pytest.mark.parametrize("version", [1, 4, 5])
def test_row_19_an_admission_that_is_not_newer_is_refused(version: int) -> None:
    current = admission("Alice", version=5)

    with pytest.raises(RemoteProtocolError) as caught:
        missing(by(admission("Alice", version=version), "Alice"), current)
    assert caught.value.code == "admission_old"


def test_an_admission_may_skip_versions_that_the_server_never_saw() -> None:
    assert missing(by(admission("Alice", version=9), "Alice"), admission("Alice")) == 0


def test_another_teams_admission_is_refused() -> None:
    body = admission("Alice", version=2, team_id=bytes(32))

    with pytest.raises(RemoteProtocolError, match="another team"):
        missing(by(body, "Alice"), admission("Alice"))


@pytest.mark.parametrize("kind", SignatureType)
@pytest.mark.parametrize("team", [TEAM, bytes(32)], ids=["team", "no team"])
def test_row_15_a_signature_for_another_team_or_purpose_counts_for_nothing(
    kind: SignatureType, team: bytes
) -> None:
    body = admission("Alice")
    alice = person("Alice")
    signature = alice.identity.sign(signature_input(kind, team, body))
    one = AdmissionSignature(signer=alice.public.identity_key, signature=signature)
    counts = kind is SignatureType.ADMISSION and team == TEAM

    assert missing(envelope(body, [one])) == (0 if counts else 1)


KEYS = value(admission("Alice", "Bea")).keys
REFUSED: dict[str, dict[str, Any]] = {
    "threshold zero": {"threshold": 0},
    "threshold over the administrators": {"threshold": 3},
    "no administrator": {"administrators": ()},
    "no member": {"keys": ()},
    "an administrator twice": {"administrators": KEYS[:1] * 2},
    "a member twice": {"keys": (*KEYS, KEYS[-1])},
    "keys out of order": {"keys": KEYS[::-1]},
    "a short key": {"keys": (bytes(31),)},
    "too many members": {"keys": tuple(number.to_bytes(32, "big") for number in range(501))},
    "version zero": {"version": 0},
    "a short team id": {"team_id": bytes(31)},
}


@pytest.mark.parametrize("case", REFUSED)
def test_row_20_an_admission_that_breaks_a_rule_is_refused(case: str) -> None:
    body = admission("Alice", "Bea", **REFUSED[case])

    with pytest.raises(LocalError):
        by(body, "Alice")
    with pytest.raises(EncodingError):
        missing(envelope(body, []))
    with pytest.raises(EncodingError):
        combine_admissions(envelope(body, []), envelope(body, []))


def test_a_body_that_is_signed_as_a_statement_is_no_admission() -> None:
    body = admission("Alice")
    statement = sign_statement(person("Alice").identity, SignatureType.ADMISSION, TEAM, body)

    with pytest.raises(EncodingError):
        missing(statement)


def test_row_2_every_bit_of_a_signed_admission_counts() -> None:
    data = by(admission("Alice"), "Alice")
    for place in range(len(data) * 8):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        try:
            lacking = missing(bytes(changed))
        except RemoteError:
            continue

        assert lacking == 1


@given(data=st.binary(max_size=300))
def test_random_bytes_raise_remote_errors_only(data: bytes) -> None:
    with pytest.raises(RemoteError):
        check_admission_untrusted(data, None)
    with pytest.raises(RemoteError):
        combine_admissions(data, data)


def test_the_largest_team_fits_a_message() -> None:
    """500 members of whom 250 are administrators, every one of whom signs."""
    keys = sorted(
        (SigningKey(number.to_bytes(32, "big")) for number in range(1, 251)),
        key=lambda key: key.public,
    )
    body = admission(
        "Alice",
        threshold=250,
        administrators=tuple(key.public for key in keys),
        keys=tuple(number.to_bytes(32, "big") for number in range(500)),
    )
    message = signature_input(SignatureType.ADMISSION, TEAM, body)
    half = [AdmissionSignature(signer=key.public, signature=key.sign(message)) for key in keys]
    data = combine_admissions(envelope(body, half[:125]), envelope(body, half[125:]))

    assert missing(data) == 0
    assert len(data) <= MAX_ADMISSION_BYTES
