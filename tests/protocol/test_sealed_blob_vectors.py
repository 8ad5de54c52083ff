"""Known answers of SLB1, and a ciphertext made to open under two keys."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from protocol.errors import RemoteError
from protocol.primitives import Aead
from protocol.sealed_blob import HEADER_BYTES, open_sealed, seal
from tests.protocol.examples import SEALED_BLOB_VECTORS, sealed_blob_vectors
from tests.protocol.sealed_blob_reference import (
    CONTEXT,
    KEY,
    OTHER_KEY,
    SALT,
    Reference,
    pixels,
    refuse,
    salamander,
)


def test_a_ciphertext_that_chacha20_poly1305_opens_under_two_keys_is_refused_by_a_blob() -> None:
    ours, theirs = Reference(KEY, CONTEXT, SALT), Reference(OTHER_KEY, CONTEXT, SALT)
    pairs = [(reference.derived()[:32], reference.nonce(0)) for reference in (ours, theirs)]
    ciphertext = salamander(pairs[0], pairs[1])
    plaintexts = [Aead(key).open(nonce, ciphertext) for key, nonce in pairs]

    assert plaintexts[0] != plaintexts[1]
    # Under the key that its header commits to it opens; under the other it never does.
    assert plaintexts[0] == open_sealed(KEY, CONTEXT, ours.header() + ciphertext)
    assert plaintexts[1] == open_sealed(OTHER_KEY, CONTEXT, theirs.header() + ciphertext)
    refuse(theirs.header() + ciphertext, original=b"")
    refuse(ours.header() + ciphertext, original=b"", key=OTHER_KEY)
    mixed = ours.header()[:48] + theirs.header()[48:]
    refuse(mixed + ciphertext, original=b"")
    refuse(mixed + ciphertext, original=b"", key=OTHER_KEY)


# Known answers -----------------------------------------------------------------------------------


def known_answers() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(SEALED_BLOB_VECTORS.read_text())["cases"]
    return cases


def test_the_vector_file_says_what_the_second_writing_gives() -> None:
    assert json.loads(SEALED_BLOB_VECTORS.read_text()) == sealed_blob_vectors()


@pytest.mark.parametrize("case", known_answers(), ids=lambda case: case["name"])
def test_a_known_answer_holds(case: dict[str, Any]) -> None:
    if case["expect"] == "opens":
        plaintext = pixels(case["plaintext_bytes"])
        sealed = seal(KEY, CONTEXT, plaintext, salt=SALT)

        assert case["sealed_sha256"] == hashlib.sha256(sealed).hexdigest()
        assert case["header"] == sealed[:HEADER_BYTES].hex()
        assert case.get("sealed", sealed.hex()) == sealed.hex()
        assert plaintext == open_sealed(KEY, CONTEXT, sealed)
    else:
        with pytest.raises(RemoteError) as refusal:
            open_sealed(KEY, CONTEXT, bytes.fromhex(case["sealed"]))

        assert case["expect"] == refusal.value.code
