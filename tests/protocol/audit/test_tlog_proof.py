"""The file of an inclusion proof: read in one spelling, and verified against all it names."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.checkpoint import (
    Checkpoint,
    cosign,
    open_checkpoint_untrusted,
    origin_of,
    sign_checkpoint,
)
from protocol.audit.log_keys import OneLogKey
from protocol.audit.note import KeyType, VerifierKey
from protocol.audit.proof import verify_inclusion
from protocol.audit.quorum import NO_WITNESS, Quorum
from protocol.audit.tlog_proof import (
    InclusionProof,
    format_proof,
    parse_proof_untrusted,
    verify_proof_untrusted,
)
from protocol.audit.tree import inclusion_proof, leaf_hash, root_of
from protocol.errors import LocalError, LogError
from tests.protocol.audit.support import ALICE, BOB, ORIGIN, START, StoredTree, entries, head
from tests.support import vectors

PROOF_TEXT = b"c2sp.org/tlog-proof@v1\nindex 2\n" + base64.b64encode(bytes(32)) + b"\n\nnote\n"


def formatted(proof: InclusionProof) -> bytes:
    return format_proof(proof.index, proof.hashes, proof.checkpoint, proof.extra)


def test_the_worked_proof_is_reproduced_and_verifies() -> None:
    worked = json.loads(vectors("tlog", "worked.json").read_bytes())
    log = worked["keys"]["log"]
    data = worked["tlog_proof_index2"].encode()
    proof = parse_proof_untrusted(data)
    checkpoint = open_checkpoint_untrusted(
        proof.checkpoint, log["name"], bytes.fromhex(log["public"])
    )
    leaf = leaf_hash(worked["entries"][2].encode())

    assert worked["tlog_proof_bytes"] == len(data)
    assert data == formatted(proof)
    assert worked["inclusion"][12] == {
        "index": proof.index,
        "size": checkpoint.size,
        "proof": [value.hex() for value in proof.hashes],
    }
    verify_inclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root)


some_proofs = st.builds(
    InclusionProof,
    index=st.integers(0, 2**63 - 1),
    hashes=st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    checkpoint=st.binary(min_size=1, max_size=200),
    extra=st.none() | st.binary(max_size=50),
)


@given(some_proofs)
def test_what_was_encoded_decodes_to_the_same_proof(proof: InclusionProof) -> None:
    assert proof == parse_proof_untrusted(formatted(proof))


def test_a_proof_carries_its_entry_from_one_node_to_another() -> None:
    log = entries(20)
    tree = StoredTree.of([leaf_hash(data) for data in log])
    path = tuple(inclusion_proof(7, 20, tree.read))
    sent = format_proof(7, path, head(log))

    proof = parse_proof_untrusted(sent)
    checkpoint = open_checkpoint_untrusted(proof.checkpoint, ORIGIN, ALICE.public)
    leaf = leaf_hash(log[7])
    verify_inclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root)


HASH = base64.b64encode(bytes(32))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v1",
        PROOF_TEXT.removesuffix(b"note\n"),
        PROOF_TEXT.replace(b"@v1", b"@v2"),
        PROOF_TEXT.replace(b"index 2\n", b""),
        PROOF_TEXT.replace(b"index 2", b"index 02"),
        PROOF_TEXT.replace(b"index 2", b"index +2"),
        PROOF_TEXT.replace(b"index 2", b"index -2"),
        PROOF_TEXT.replace(b"index 2", b"index 9223372036854775808"),
        PROOF_TEXT.replace(b"index 2", "index ٢".encode()),
        PROOF_TEXT.replace(b"index 2", b"extra AA=="),
        PROOF_TEXT.replace(b"index 2", b"extra AB==\nindex 2"),
        PROOF_TEXT.replace(b"index 2", b"index 2\nextra AA=="),
        PROOF_TEXT.replace(HASH, HASH[:-4]),
        PROOF_TEXT.replace(HASH, HASH[:-1]),
        PROOF_TEXT.replace(HASH, HASH[:-2] + b"B="),
        PROOF_TEXT.replace(HASH, HASH + b" "),
        PROOF_TEXT.replace(HASH, "\u0661".encode()),
        PROOF_TEXT.replace(HASH, b"\n".join([HASH] * 64)),
        PROOF_TEXT.replace(b"\n", b"\r\n"),
        PROOF_TEXT + b"x" * 2**17,
    ],
    ids=lambda data: repr(data[23:60]),
)
def test_another_spelling_of_a_proof_is_refused(data: bytes) -> None:
    with pytest.raises(LogError) as refusal:
        parse_proof_untrusted(data)

    assert refusal.value.code == "malformed_proof"


@pytest.mark.parametrize(
    "changes",
    [{"index": -1}, {"index": 2**63}, {"hashes": (b"short",)}, {"checkpoint": b""}],
    ids=str,
)
def test_a_proof_that_would_not_decode_is_not_written(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"index": 0, "hashes": (), "checkpoint": b"note"}
    with pytest.raises(LocalError):
        formatted(InclusionProof(**{**fields, **changes}))


@given(st.binary(max_size=300))
def test_foreign_bytes_raise_log_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(LogError):
        parse_proof_untrusted(data)


@given(st.integers(0, len(PROOF_TEXT)), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_proofs_decode_canonically_or_not_at_all(at: int, new: bytes, gone: int) -> None:
    data = PROOF_TEXT[:at] + new + PROOF_TEXT[at + gone :]
    try:
        proof = parse_proof_untrusted(data)
    except LogError:
        return

    assert data == formatted(proof)


# Verifying ----------------------------------------------------------------------------------------

LOG = entries(20)
KEYS = OneLogKey(origin=ORIGIN, public=ALICE.public)
WITNESS = VerifierKey(name="w/bob", key_type=KeyType.COSIGNATURE, public=BOB.public)
QUORUM = Quorum(witnesses=(WITNESS,), threshold=1, max_age=3_600_000)


def proof_of(index: int, *, size: int = 20, cosigned: bool = True) -> bytes:
    path = inclusion_proof(index, size, StoredTree.of([leaf_hash(one) for one in LOG]).read)
    note = head(LOG, size)
    if cosigned:
        root = root_of(leaf_hash(one) for one in LOG[:size])
        checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root)
        note += cosign(checkpoint, name=WITNESS.name, key=BOB, now=START)
    return format_proof(index, path, note)


def refused(data: bytes, **changes: Any) -> str:
    asked = {"entry": LOG[7], "keys": KEYS, "quorum": QUORUM, "now": START, **changes}
    with pytest.raises(LogError) as refusal:
        verify_proof_untrusted(data, **asked)
    return refusal.value.code


def test_a_proof_shows_the_place_of_an_entry_and_who_saw_the_head() -> None:
    proof, witnessed = verify_proof_untrusted(
        proof_of(7), entry=LOG[7], keys=KEYS, quorum=QUORUM, now=START
    )

    assert (proof.index, witnessed.checkpoint.size) == (7, 20)
    assert [(one.key, one.time) for one in witnessed.cosignatures] == [(WITNESS, START)]


def test_a_proof_needs_no_witness_where_none_is_asked_for() -> None:
    data = proof_of(7, cosigned=False)
    _, witnessed = verify_proof_untrusted(data, entry=LOG[7], keys=KEYS, origin=ORIGIN)

    assert witnessed.cosignatures == ()


def test_a_proof_of_anything_else_is_refused() -> None:
    good = proof_of(7)

    assert refused(good, entry=LOG[8]) == "inclusion"
    assert refused(good.replace(b"index 7", b"index 8")) == "inclusion"
    assert refused(good, origin=origin_of(bytes(32))) == "origin"
    assert refused(good, keys=OneLogKey(origin=ORIGIN, public=BOB.public)) == "unsigned"
    assert refused(proof_of(7, cosigned=False)) == "quorum"
    assert refused(good, now=START + 3_600_001) == "quorum"
    assert refused(good[:-1]) == "malformed_note"
    assert refused(good[1:]) == "malformed_proof"


def test_size_and_root_come_from_the_head_and_from_nowhere_else() -> None:
    leaves = [leaf_hash(one) for one in LOG]
    path = inclusion_proof(7, 20, StoredTree.of(leaves).read)
    # No honest log signs the second one; a proof alone would not show that it lies.
    lie = sign_checkpoint(Checkpoint(origin=ORIGIN, size=7, root=root_of(leaves)), ALICE)

    for note in (head(LOG, 19), lie):
        assert refused(format_proof(7, path, note), quorum=NO_WITNESS) == "inclusion"


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_proof_of_an_entry(data: bytes) -> None:
    assert refused(data) == "malformed_proof"
