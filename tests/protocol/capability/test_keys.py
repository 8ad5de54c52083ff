"""The split key and the second factor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.capability.keys import (
    NO_FACTOR_MIX,
    WRAPPED_BYTES,
    commit_issuer,
    factor_matches,
    factor_mix,
    factor_proof,
    factor_proof_key,
    factor_secret,
    generate_phrase,
    issuer_share,
    rendition_key,
    unwrap,
    wrap,
)
from protocol.errors import AuthenticationError, LocalError
from tests.protocol.people import stream

keys = st.binary(min_size=32, max_size=32)


@given(keys, keys, keys, keys, keys)
def test_what_is_wrapped_unwraps(
    key: bytes, secret: bytes, name: bytes, rendition_id: bytes, commitment: bytes
) -> None:
    bound = {"capability_hash": name, "rendition_id": rendition_id, "commitment": commitment}

    wrapped = wrap(key, secret, **bound)

    assert len(wrapped) == WRAPPED_BYTES
    assert secret == unwrap(key, wrapped, **bound)


@pytest.mark.parametrize("other", ["key", "capability_hash", "rendition_id", "commitment"])
def test_a_wrapped_key_opens_only_where_it_was_bound(other: str) -> None:
    bound = {
        "key": bytes([1] * 32),
        "capability_hash": bytes([2] * 32),
        "rendition_id": bytes([3] * 32),
        "commitment": bytes([4] * 32),
    }
    wrapped = wrap(secret=bytes(32), **bound)

    with pytest.raises(AuthenticationError):
        unwrap(wrapped=wrapped, **{**bound, other: bytes(32)})


@pytest.mark.parametrize("size", [0, 16, 47, 49, 96])
def test_a_wrapped_key_of_another_size_is_refused(size: int) -> None:
    key = bytes(32)

    with pytest.raises(AuthenticationError):
        unwrap(key, bytes(size), capability_hash=key, rendition_id=key, commitment=key)


def test_row_2_every_bit_of_a_wrapped_key_counts() -> None:
    key = bytes(range(32))
    bound = {"capability_hash": key, "rendition_id": key, "commitment": key}
    wrapped = wrap(key, key, **bound)

    for bit in range(8 * len(wrapped)):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError) as caught:
            unwrap(key, bytes(changed), **bound)
        assert caught.type is AuthenticationError


@pytest.mark.parametrize(
    "other", ["holder_share", "mix", "issuer_share", "capability_hash", "rendition_id"]
)
def test_every_part_of_a_rendition_key_changes_it(other: str) -> None:
    parts = {
        "holder_share": bytes([1] * 32),
        "mix": bytes([2] * 32),
        "issuer_share": bytes([3] * 32),
        "capability_hash": bytes([4] * 32),
        "rendition_id": bytes([5] * 32),
    }

    assert rendition_key(**parts) != rendition_key(**{**parts, other: bytes(32)})


def test_one_release_opens_one_rendition() -> None:
    shares = {issuer_share(bytes(32), bytes([number] * 32)) for number in range(10)}

    assert len(shares) == 10


def test_a_commitment_is_to_share_and_rendition() -> None:
    share, rendition_id = bytes([1] * 32), bytes([2] * 32)

    assert commit_issuer(share, rendition_id) == commit_issuer(share, rendition_id)
    assert commit_issuer(share, rendition_id) != commit_issuer(rendition_id, share)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_parts_of_another_size_are_a_local_error(size: int) -> None:
    good, bad = bytes(32), bytes(size)

    with pytest.raises(LocalError, match="slot_secret is 32 bytes"):
        issuer_share(bad, good)
    with pytest.raises(LocalError, match="rendition_id"):
        commit_issuer(good, bad)
    with pytest.raises(LocalError, match="factor"):
        factor_mix(bad)


# The second factor


def test_a_phrase_is_six_words_and_differs_each_time() -> None:
    draw = stream("phrases")
    phrases = {generate_phrase(draw) for _ in range(20)}

    assert len(phrases) == 20
    assert all(len(phrase.split()) == 6 for phrase in phrases)


def test_a_phrase_takes_its_words_from_the_whole_list() -> None:
    assert generate_phrase(lambda size: b"\x00" * size) == " ".join(["abandon"] * 6)
    assert generate_phrase(lambda size: b"\xff" * size) == " ".join(["zoo"] * 6)


def test_case_and_spaces_of_a_phrase_do_not_matter() -> None:
    salt = bytes(16)

    assert factor_secret("legal winner thank", salt) == factor_secret(
        " Legal  WINNER\nthank ", salt
    )


def test_a_phrase_that_is_no_text_is_only_wrong() -> None:
    assert len(factor_secret("\udcff", bytes(16))) == 32


def test_the_salt_has_its_size() -> None:
    with pytest.raises(LocalError):
        factor_secret("legal winner thank", bytes(15))


def test_mix_and_proof_key_are_independent_of_each_other() -> None:
    factor = bytes(range(32))

    assert len({factor, factor_mix(factor), factor_proof_key(factor), NO_FACTOR_MIX}) == 4


@pytest.mark.parametrize(
    ("expected", "proves"), [(True, True), (False, False)], ids=["right", "wrong"]
)
def test_a_proof_matches_its_own_key_only(expected: bool, proves: bool) -> None:
    proof_key = bytes(32)
    where = {"handshake_hash": bytes(64), "open_id": bytes(16)}
    proof = factor_proof(proof_key if proves else bytes([1] * 32), **where)

    assert expected is factor_matches(proof_key, proof, **where)


@pytest.mark.parametrize("other", ["handshake_hash", "open_id"])
def test_a_proof_is_worth_nothing_on_another_channel_or_open(other: str) -> None:
    where = {"handshake_hash": bytes(64), "open_id": bytes(16)}
    proof = factor_proof(bytes(32), **where)

    elsewhere = {**where, other: b"\x01" * len(where[other])}

    assert not factor_matches(bytes(32), proof, **elsewhere)


def test_a_proof_is_neither_left_out_nor_made_up() -> None:
    where = {"handshake_hash": bytes(64), "open_id": bytes(16)}

    assert not factor_matches(bytes(32), None, **where)
    assert not factor_matches(None, bytes(64), **where)
    assert factor_matches(None, None, **where)


@pytest.mark.parametrize(("handshake", "open_id"), [(63, 16), (64, 15), (48, 32)])
def test_a_proof_is_over_parts_of_one_size(handshake: int, open_id: int) -> None:
    with pytest.raises(LocalError):
        factor_proof(bytes(32), handshake_hash=bytes(handshake), open_id=bytes(open_id))
