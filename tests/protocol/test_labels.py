"""Labels: no two uses of a key or a hash ever see the same bytes."""

from __future__ import annotations

import itertools
import re

import pytest

from protocol import labels
from protocol.errors import AuthenticationError
from protocol.labels import NO_TEAM, SIGNATURE_PREFIX, SignatureType
from protocol.noise.one_way import open_from_untrusted, seal_to
from protocol.primitives import blake2b, x25519_public
from tests.protocol.people import stream

LABELS = {
    name: value
    for name, value in vars(labels).items()
    if isinstance(value, bytes) and name not in ("NO_TEAM", "SIGNATURE_PREFIX")
}
SIGNED = {f"signature {kind}": SIGNATURE_PREFIX + kind.encode() + b"\x00" for kind in SignatureType}


def test_no_label_begins_another() -> None:
    for one, two in itertools.permutations([*LABELS.values(), *SIGNED.values()], 2):
        assert not two.startswith(one)


def test_every_label_is_ascii_and_ends_with_the_only_zero_byte() -> None:
    for label in {**LABELS, **SIGNED}.values():
        assert re.fullmatch(rb"safelight/[a-z0-9/-]+\x00", label)


PROLOGUES = [name for name in LABELS if name.startswith("PROLOGUE_")]
HASHES = [name for name in LABELS if name.startswith("HASH_")]


@pytest.mark.parametrize(("sealed_as", "opened_as"), itertools.product(PROLOGUES, repeat=2))
def test_row_15_what_is_sealed_for_one_use_opens_for_no_other(
    sealed_as: str, opened_as: str
) -> None:
    recipient = bytes(range(32))
    sealed = seal_to(
        sender_secret=bytes(range(1, 33)),
        recipient_public=x25519_public(recipient),
        prologue=LABELS[sealed_as] + NO_TEAM,
        plaintext=b"one use",
        entropy=stream("label"),
    )
    prologue = LABELS[opened_as] + NO_TEAM
    if sealed_as == opened_as:
        assert open_from_untrusted(recipient_secret=recipient, prologue=prologue, sealed=sealed)
    else:
        with pytest.raises(AuthenticationError):
            open_from_untrusted(recipient_secret=recipient, prologue=prologue, sealed=sealed)


def test_row_15_one_value_has_another_hash_for_every_use() -> None:
    assert len({blake2b(LABELS[name] + bytes(64)) for name in HASHES}) == len(HASHES)


def test_no_team_is_32_zero_bytes() -> None:
    assert bytes(32) == NO_TEAM


def test_a_signature_type_is_short_ascii_without_a_separator() -> None:
    for kind in SignatureType:
        assert re.fullmatch("[a-z-]{1,32}", kind)


def test_labels_stay_what_they_are() -> None:
    # A changed label makes every vault, log and capability made before unreadable.
    assert LABELS["KDF_SEALED_BLOB"] == b"safelight/v1/kdf/sealed-blob\x00"
    assert LABELS["HASH_FINGERPRINT"] == b"safelight/v1/hash/fingerprint\x00"
    assert SIGNED["signature certificate"] == b"safelight/v1/certificate\x00"
