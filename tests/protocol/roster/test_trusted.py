"""Coming to trust a roster, after TUF; cases of tuf-conformance carry its names."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    RemoteError,
    RemoteProtocolError,
    UnsupportedError,
)
from protocol.identity import sign_statement, signature_input
from protocol.labels import NO_TEAM, SignatureType
from protocol.limits import MAX_ROSTER_UPDATE_BYTES
from protocol.roster.metadata import (
    RosterSignature,
    SignedRoster,
    roster_hash,
    sign_roster,
    team_id,
    with_member,
)
from protocol.roster.trusted import TrustedRoster
from tests.protocol.people import DAY, NOW, person
from tests.protocol.roster.simulator import (
    edited,
    envelope,
    first,
    founded,
    member,
    ordered,
    signed,
    successor,
)

ALICE, BOB, CAROL = person("Alice"), person("Bob"), person("Carol")


def with_bob(team: TrustedRoster) -> bytes:
    """Return the honest version in which Bob is an editor, signed by Alice."""
    return signed(team, successor(team, [*team.roster.members, member("Bob", "editor")]), "Alice")


# What a trusted roster says


def test_a_trusted_roster_answers_who_is_who() -> None:
    team = founded().update_untrusted(with_bob(founded()))

    assert team.version == 2
    assert team.hash == roster_hash(envelope(team.signed_versions[1]).body)
    assert team.team_id == team_id(envelope(team.signed_versions[0]).body)
    assert set(team.hashes) == {1, 2}
    assert team.members[BOB.public.fingerprint] == BOB.public
    assert team.by_agreement[BOB.public.agreement_key] == BOB.public
    assert team.role_of(ALICE.public.fingerprint) == "admin"
    assert team.role_of(BOB.public.fingerprint) == "editor"
    assert team.role_of(CAROL.public.fingerprint) is None
    assert team.administrators == (ALICE.public,)


def test_a_trusted_roster_does_not_change() -> None:
    before = founded()
    before.update_untrusted(with_bob(before))

    assert before.version == 1
    assert BOB.public.fingerprint not in before.members
    with pytest.raises(TypeError):
        before.members[BOB.public.fingerprint] = BOB.public  # type: ignore[index]


def test_metadata_bytes_match() -> None:
    """tuf-conformance: the exact bytes are what is kept."""
    team = founded()
    update = with_bob(team)

    assert team.update_untrusted(update).signed_versions == (*team.signed_versions, update)


def test_stored_versions_load_to_the_same_roster() -> None:
    team = founded().update_untrusted(with_bob(founded()))

    assert team == TrustedRoster.load_untrusted(team.signed_versions)


def test_nothing_stored_is_no_roster() -> None:
    with pytest.raises(EncodingError):
        TrustedRoster.load_untrusted([])


# The first version


def test_invalid_initial_root() -> None:
    """tuf-conformance: what is not a roster founds nothing."""
    for data in (b"", b"\x80", sign_statement(ALICE.identity, SignatureType.ROSTER, NO_TEAM, b"")):
        with pytest.raises(RemoteError):
            TrustedRoster.found_untrusted(data)


def test_unsigned_initial_root() -> None:
    body = envelope(founded().signed_versions[0]).body

    with pytest.raises(AuthenticationError):
        TrustedRoster.found_untrusted(sign_roster(body, signers=[], team_id=NO_TEAM))


@pytest.mark.parametrize("under", [b"\x01" * 32, None])
def test_a_first_version_is_signed_under_no_team(under: bytes | None) -> None:
    body = envelope(founded().signed_versions[0]).body

    with pytest.raises(AuthenticationError):
        TrustedRoster.found_untrusted(
            sign_roster(body, signers=[ALICE], team_id=under or team_id(body))
        )


def test_a_team_begins_with_version_1() -> None:
    body = edited(envelope(founded().signed_versions[0]).body, version=2, parents=(bytes(32),))

    with pytest.raises(EncodingError):
        TrustedRoster.found_untrusted(sign_roster(body, signers=[ALICE], team_id=NO_TEAM))


def test_a_first_version_needs_its_own_threshold() -> None:
    names = ("Alice", "Bob", "Carol")

    assert TrustedRoster.found_untrusted(first(names, threshold=2, signers=("Alice", "Carol")))
    with pytest.raises(AuthenticationError):
        TrustedRoster.found_untrusted(first(names, threshold=2, signers=("Alice",)))
    with pytest.raises(AuthenticationError):
        TrustedRoster.found_untrusted(first(names, threshold=2, signers=("Alice", "Dave")))


# Updates that are no updates


def test_unsigned_metadata() -> None:
    team = founded()
    body = envelope(with_bob(team)).body

    with pytest.raises(AuthenticationError):
        team.update_untrusted(sign_roster(body, signers=[], team_id=team.team_id))


def test_row_21_a_relay_that_adds_a_device_is_refused() -> None:
    team = founded()
    body = successor(team, [*team.roster.members, member("Mallory")])

    for names in (("Mallory",), ("Bob",), ("Mallory", "Bob")):
        with pytest.raises(AuthenticationError):
            team.update_untrusted(signed(team, body, *names))


def test_a_member_who_is_no_administrator_signs_nothing() -> None:
    team = founded().update_untrusted(with_bob(founded()))
    body = successor(team, [member("Alice"), member("Bob", "admin")])

    with pytest.raises(AuthenticationError):
        team.update_untrusted(signed(team, body, "Bob"))


def test_row_1_a_substituted_key_is_refused() -> None:
    team = founded()
    honest = envelope(with_bob(team))
    swapped = edited(honest.body, members=ordered([member("Alice"), member("Mallory", "editor")]))

    with pytest.raises(AuthenticationError):
        team.update_untrusted(encode(msgspec.structs.replace(honest, body=swapped)))


@pytest.mark.parametrize("under", [NO_TEAM, b"\x01" * 32])
def test_a_version_of_another_team_is_refused(under: bytes) -> None:
    team = founded()
    body = envelope(with_bob(team)).body

    with pytest.raises(AuthenticationError):
        team.update_untrusted(sign_roster(body, signers=[ALICE], team_id=under))


@pytest.mark.parametrize("kind", [kind for kind in SignatureType if kind != SignatureType.ROSTER])
def test_incorrect_metadata_type(kind: SignatureType) -> None:
    team = founded()
    body = envelope(with_bob(team)).body
    signature = ALICE.identity.sign(signature_input(kind, team.team_id, body))
    forged = SignedRoster(
        body=body,
        signatures=(RosterSignature(signer=ALICE.public.fingerprint, signature=signature),),
    )

    with pytest.raises(AuthenticationError):
        team.update_untrusted(encode(forged))


def code(team: TrustedRoster, update: bytes) -> str:
    """Return the code by which an update that is genuine is refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        team.update_untrusted(update)
    return caught.value.code


def test_row_19_rollback() -> None:
    team = founded()
    later = team.update_untrusted(with_bob(team))
    further = later.update_untrusted(signed(later, successor(later, [member("Alice")]), "Alice"))
    other = signed(team, successor(team, [member("Alice"), member("Carol")]), "Alice")

    for old in later.signed_versions:
        assert code(further, old) == "roster_old"
    assert code(further, further.signed_versions[-1]) == "roster_old"
    assert code(further, other) == "roster_old"


def test_timestamp_content_changes() -> None:
    """tuf-conformance: another document of the same version."""
    team = founded()
    one = team.update_untrusted(with_bob(team))
    other = signed(team, successor(team, [member("Alice"), member("Carol")]), "Alice")

    assert code(one, other) == "roster_conflict"


def test_two_rosters_of_one_version_are_joined_by_the_next() -> None:
    team = founded()
    one = team.update_untrusted(with_bob(team))
    other = team.update_untrusted(
        signed(team, successor(team, [member("Alice"), member("Carol", "editor")]), "Alice")
    )
    parents = tuple(sorted((one.hash, other.hash)))
    joined = signed(
        one,
        successor(
            one,
            [member("Alice"), member("Bob", "editor"), member("Carol", "editor")],
            parents=parents,
        ),
        "Alice",
    )

    assert one.update_untrusted(joined).hash == other.update_untrusted(joined).hash


def test_row_19_fast_forward() -> None:
    team = founded()
    body = successor(team, [member("Alice")], version=3)

    assert code(team, signed(team, body, "Alice")) == "roster_gap"
    far = successor(team, [member("Alice")], version=2**53 - 1)
    assert code(team, signed(team, far, "Alice")) == "roster_gap"


def test_url_and_metadata_version_mismatch() -> None:
    """tuf-conformance: a version that says another number than its place."""
    team = founded()
    repeated = edited(successor(team, [member("Alice")]), version=1, parents=(), created=NOW + DAY)

    assert code(team, signed(team, repeated, "Alice")) == "roster_conflict"


def test_snapshot_hash_mismatch() -> None:
    """tuf-conformance: a version that names another one before it."""
    team = founded()
    body = successor(team, [member("Alice")], parents=(bytes(32),))

    assert code(team, signed(team, body, "Alice")) == "roster_parents"


def test_a_version_without_parents_does_not_follow() -> None:
    team = founded()
    body = successor(team, [member("Alice")], parents=())

    with pytest.raises(EncodingError):
        team.update_untrusted(signed(team, body, "Alice"))


def test_custom_fields() -> None:
    """tuf-conformance accepts unknown fields; here they are refused, signed or not."""
    team = founded()
    plain = msgspec.msgpack.decode(envelope(with_bob(team)).body)
    body = msgspec.msgpack.encode({**plain, "motto": "light"})

    with pytest.raises(EncodingError):
        team.update_untrusted(signed(team, body, "Alice"))


def test_an_administrator_who_writes_an_unknown_role_is_refused() -> None:
    team = founded()
    members = ordered([member("Alice"), member("Bob", "wizard")])
    body = edited(successor(team, [member("Alice")]), members=members)

    with pytest.raises(UnsupportedError):
        team.update_untrusted(signed(team, body, "Alice"))


def test_a_roster_over_its_limit_is_refused_before_anything_else() -> None:
    with pytest.raises(EncodingError):
        founded().update_untrusted(bytes(MAX_ROSTER_UPDATE_BYTES + 1))


# Expiry


def test_expired_local_root() -> None:
    team = founded()

    assert not team.expired(NOW + 365 * DAY - 1)
    assert team.expired(NOW + 365 * DAY)


def test_an_expired_version_still_leads_to_the_next() -> None:
    """TUF 5.3: only the newest version must not have expired."""
    team = founded()
    short = successor(team, [member("Alice")], expires_at=NOW + DAY + 1)
    lapsed = team.update_untrusted(signed(team, short, "Alice"))
    renewed = lapsed.update_untrusted(signed(lapsed, successor(lapsed, [member("Alice")]), "Alice"))

    assert lapsed.expired(NOW + 2 * DAY)
    assert not renewed.expired(NOW + 2 * DAY)


# Thresholds and rotations


def test_row_22_a_removed_member_is_one_no_more() -> None:
    team = founded().update_untrusted(with_bob(founded()))
    removed = team.update_untrusted(signed(team, successor(team, [member("Alice")]), "Alice"))

    assert BOB.public.fingerprint not in removed.members
    assert BOB.public.agreement_key not in removed.by_agreement
    assert removed.role_of(BOB.public.fingerprint) is None


def test_a_removed_administrator_signs_no_more() -> None:
    team = TrustedRoster.found_untrusted(first(("Alice", "Bob"), threshold=1, signers=("Alice",)))
    alone = team.update_untrusted(signed(team, successor(team, [member("Alice")]), "Alice"))
    back = successor(alone, [member("Alice"), member("Bob")])

    with pytest.raises(AuthenticationError):
        alone.update_untrusted(signed(alone, back, "Bob"))


def test_duplicate_sig_keyids() -> None:
    team = TrustedRoster.found_untrusted(
        first(("Alice", "Bob"), threshold=2, signers=("Alice", "Bob"))
    )
    once = envelope(signed(team, successor(team, team.roster.members), "Alice"))
    twice = msgspec.structs.replace(once, signatures=once.signatures * 2)

    with pytest.raises(EncodingError):
        team.update_untrusted(encode(twice))


def test_a_signature_under_another_name_counts_for_nothing() -> None:
    team = TrustedRoster.found_untrusted(
        first(("Alice", "Bob"), threshold=2, signers=("Alice", "Bob"))
    )
    once = envelope(signed(team, successor(team, team.roster.members), "Alice"))
    claimed = RosterSignature(signer=BOB.public.fingerprint, signature=once.signatures[0].signature)
    both = tuple(sorted((*once.signatures, claimed), key=lambda each: each.signer))

    with pytest.raises(AuthenticationError):
        team.update_untrusted(encode(msgspec.structs.replace(once, signatures=both)))


@pytest.mark.parametrize("junk", [bytes(64), bytes(10), b""])
def test_invalid_sig_in_valid_metadata(junk: bytes) -> None:
    team = TrustedRoster.found_untrusted(first(("Alice", "Bob"), threshold=1, signers=("Alice",)))
    good = envelope(signed(team, successor(team, team.roster.members), "Alice"))
    bad = RosterSignature(signer=BOB.public.fingerprint, signature=junk)
    both = tuple(sorted((*good.signatures, bad), key=lambda each: each.signer))

    updated = team.update_untrusted(encode(msgspec.structs.replace(good, signatures=both)))

    assert updated.version == 2


class Version(NamedTuple):
    """One version of a rotation: whose keys, how many of them sign, who did."""

    admins: str
    threshold: int
    signers: str
    accepted: bool = True


ROTATIONS = {
    "1-of-1-key-rotation": [Version("1", 1, "1"), Version("2", 1, "21"), Version("2", 1, "2")],
    "1-of-1-key-rotation-unused-signatures": [
        Version("1", 1, "314"),
        Version("2", 1, "3214"),
        Version("2", 1, "324"),
    ],
    "3-of-5-sign-with-different-keycombos": [
        Version("01234", 3, "024"),
        Version("01234", 3, "041"),
        Version("01234", 3, "013"),
        Version("01234", 3, "013"),
    ],
    "3-of-5-one-key-rotated": [Version("01234", 3, "024"), Version("01345", 3, "041")],
    "3-of-5-one-key-rotated-with-intermediate-step": [
        Version("01234", 3, "024"),
        Version("01345", 3, "0245"),
        Version("01345", 3, "045"),
    ],
    "3-of-5-all-keys-rotated-with-intermediate-step": [
        Version("01234", 3, "024"),
        Version("56789", 3, "024567"),
        Version("56789", 3, "567"),
    ],
    "1-of-3-threshold-increase-to-2-of-3": [Version("123", 1, "1"), Version("123", 2, "12")],
    "2-of-3-threshold-decrease-to-1-of-3": [
        Version("123", 2, "12"),
        Version("123", 1, "12"),
        Version("123", 1, "1"),
    ],
    "1-of-2-threshold-increase-to-2-of-2": [Version("1", 1, "1"), Version("12", 2, "12")],
    "1-of-1-key-rotation-fail-not-signed-with-old-key": [
        Version("1", 1, "1"),
        Version("2", 1, "234", accepted=False),
    ],
    "1-of-1-key-rotation-fail-not-signed-with-new-key": [
        Version("1", 1, "1"),
        Version("2", 1, "134", accepted=False),
    ],
    "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": [
        Version("01234", 3, "024"),
        Version("01345", 3, "024", accepted=False),
    ],
    "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": [
        Version("01234", 3, "024"),
        Version("01345", 3, "045", accepted=False),
    ],
    "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": [
        Version("123", 1, "1"),
        Version("123", 2, "2", accepted=False),
    ],
    "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached": [
        Version("123", 2, "12"),
        Version("123", 1, "1", accepted=False),
    ],
}


@pytest.mark.parametrize("versions", ROTATIONS.values(), ids=ROTATIONS.keys())
def test_root_rotation(versions: list[Version]) -> None:
    start, *rest = versions
    team = TrustedRoster.found_untrusted(
        first(start.admins, threshold=start.threshold, signers=start.signers)
    )
    for version in rest:
        body = successor(
            team, [member(name) for name in version.admins], threshold=version.threshold
        )
        update = signed(team, body, *version.signers)
        if version.accepted:
            team = team.update_untrusted(update)
        else:
            with pytest.raises(AuthenticationError):
                team.update_untrusted(update)


# All together


def test_row_2_every_bit_of_a_signed_roster_counts() -> None:
    team = founded()
    update = with_bob(team)

    for bit in range(8 * len(update)):
        changed = bytearray(update)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((AuthenticationError, EncodingError)):
            team.update_untrusted(bytes(changed))


@settings(deadline=None)
@given(data=st.data())
def test_only_versions_that_both_thresholds_signed_are_ever_trusted(data: Any) -> None:
    names = [str(number) for number in range(5)]
    admins = st.sets(st.sampled_from(names), min_size=1)
    old, new = data.draw(admins), data.draw(admins)
    signers = data.draw(st.sets(st.sampled_from(names)))
    old_threshold = data.draw(st.integers(1, len(old)))
    new_threshold = data.draw(st.integers(1, len(new)))
    team = TrustedRoster.found_untrusted(first(old, threshold=old_threshold, signers=old))
    body = successor(team, [member(name) for name in sorted(new)], threshold=new_threshold)
    update = signed(team, body, *signers)

    try:
        trusted = team.update_untrusted(update)
    except AuthenticationError:
        trusted = team

    enough = len(signers & old) >= old_threshold and len(signers & new) >= new_threshold
    assert (trusted.version == 2) is enough


def test_a_history_of_many_versions_is_one_value() -> None:
    team = founded()
    for number in range(20):
        body = with_member(team.roster, person(f"person {number}").public, "editor", now=NOW)
        team = team.update_untrusted(signed(team, body, "Alice"))

    assert team.version == 21
    assert len(team.members) == 21
    assert len(set(team.hashes.values())) == 21
    assert TrustedRoster.load_untrusted(team.signed_versions) == team
