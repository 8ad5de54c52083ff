"""Rows 2 and 15: a signed statement counts as what it is, unchanged, and as nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.audit.checkpoint import origin_of
from protocol.audit.log_keys import LogKeyStatement, sign_log_key, verify_log_key_untrusted
from protocol.capability.manifest import sign_manifest, verify_manifest_untrusted
from protocol.capability.opening import sign_open, verify_open_untrusted
from protocol.capability.signed import verified_body_untrusted
from protocol.capability.statements import (
    Amendment,
    Receipt,
    Revocation,
    sign_amendment,
    sign_receipt,
    sign_revocation,
    verify_amendment_untrusted,
    verify_receipt_untrusted,
    verify_revocation_untrusted,
)
from protocol.encoding import encode
from protocol.errors import AuthenticationError
from protocol.identity import sign_statement, verify_statement_untrusted
from protocol.labels import SignatureType
from protocol.primitives import SigningKey
from tests.protocol.capability.cases import ALICE, HANDSHAKE, TEAM, case
from tests.protocol.people import NOW

# Alice signs all of them here, so that only the type tells them apart.
SIGNED: dict[str, bytes] = {
    "terms": case().signed_terms,
    "manifest": sign_manifest(case().manifest, issuer=ALICE, team_id=TEAM),
    "open": sign_open(case().body, holder=ALICE, team_id=TEAM),
    "amendment": sign_amendment(
        Amendment(capability_hash=case().hash, sequence=1, expires_at=NOW, opens_added=0, time=NOW),
        issuer=ALICE,
        team_id=TEAM,
    ),
    "revocation": sign_revocation(
        Revocation(capability_hash=case().hash, time=NOW), issuer=ALICE, team_id=TEAM
    ),
    "receipt": sign_receipt(
        Receipt(event="received", capability_hash=case().hash, time=NOW),
        holder=ALICE,
        team_id=TEAM,
    ),
}


def verify_terms(signed: bytes) -> Any:
    return verified_body_untrusted(
        SignatureType.CAPABILITY, signer=ALICE.public, team_id=TEAM, signed=signed
    )


VERIFY: dict[str, Callable[[bytes], Any]] = {
    "terms": verify_terms,
    "manifest": lambda signed: verify_manifest_untrusted(signed, issuer=ALICE.public, team_id=TEAM),
    "open": lambda signed: verify_open_untrusted(
        signed, holder=ALICE.public, team_id=TEAM, handshake_hash=HANDSHAKE
    ),
    "amendment": lambda signed: verify_amendment_untrusted(
        signed, issuer=ALICE.public, team_id=TEAM
    ),
    "revocation": lambda signed: verify_revocation_untrusted(
        signed, issuer=ALICE.public, team_id=TEAM
    ),
    "receipt": lambda signed: verify_receipt_untrusted(signed, holder=ALICE.public, team_id=TEAM),
}


@pytest.mark.parametrize("kind", VERIFY)
def test_a_statement_verifies_as_itself(kind: str) -> None:
    assert VERIFY[kind](SIGNED[kind])


LOG_KEY = sign_log_key(
    LogKeyStatement(
        origin=origin_of(ALICE.public.fingerprint, 1),
        incarnation=1,
        epoch=0,
        key=SigningKey(bytes(range(32))).public,
        previous=b"",
    ),
    signer=ALICE,
)
EVERY_SIGNED = {**SIGNED, "log key": LOG_KEY}
VERIFY_EVERY: dict[str, Callable[[bytes], Any]] = {
    **VERIFY,
    "log key": lambda signed: verify_log_key_untrusted(signed, signer=ALICE.public),
}


@pytest.mark.parametrize(("made_as", "shown_as"), itertools.permutations(VERIFY_EVERY, 2))
def test_row_15_a_statement_verifies_as_no_other(made_as: str, shown_as: str) -> None:
    assert VERIFY_EVERY[made_as](EVERY_SIGNED[made_as])
    with pytest.raises(AuthenticationError) as caught:
        VERIFY_EVERY[shown_as](EVERY_SIGNED[made_as])
    assert caught.type is AuthenticationError


@pytest.mark.parametrize(("made_as", "shown_as"), itertools.permutations(SignatureType, 2))
def test_row_15_a_signature_of_one_type_is_of_no_other(
    made_as: SignatureType, shown_as: SignatureType
) -> None:
    signed = sign_statement(ALICE.identity, made_as, TEAM, encode(case().body))

    with pytest.raises(AuthenticationError):
        verify_statement_untrusted(ALICE.public.identity_key, shown_as, TEAM, signed)


@pytest.mark.parametrize("kind", VERIFY)
def test_row_2_every_bit_of_a_statement_counts(kind: str) -> None:
    signed = SIGNED[kind]

    for bit in range(8 * len(signed)):
        changed = bytearray(signed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError) as caught:
            VERIFY[kind](bytes(changed))
        assert caught.type is AuthenticationError


@settings(deadline=None)
@given(
    kind=st.sampled_from(sorted(VERIFY)),
    data=st.binary(max_size=200) | st.integers(1, 400),
)
def test_bytes_that_are_no_statement_are_the_same_error(kind: str, data: bytes | int) -> None:
    damaged = data if isinstance(data, bytes) else SIGNED[kind][:-data]

    with pytest.raises(AuthenticationError) as caught:
        VERIFY[kind](damaged)
    assert caught.type is AuthenticationError
