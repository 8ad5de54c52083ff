"""Labels: no two uses of a key or a hash ever see the same bytes."""

from __future__ import annotations

import itertools
import re

from protocol import labels
from protocol.labels import NO_TEAM, SIGNATURE_PREFIX, SignatureType

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
