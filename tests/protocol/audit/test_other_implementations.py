"""What Safelight makes verifies with implementations that are not Safelight's.

One is the Go checksum database's own (packages golang-go and golang-golang-x-mod-dev of Debian),
one is the Python package aics-tlog. Where one is not installed its tests are skipped.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.audit.log_keys import OneLogKey
from protocol.audit.note import KeyType, VerifierKey, format_vkey
from protocol.audit.quorum import Quorum, open_witnessed_untrusted
from protocol.audit.tlog_proof import format_proof, parse_proof_untrusted
from protocol.audit.tree import consistency_proof, inclusion_proof, leaf_hash
from tests.protocol.audit.log_key_support import FIRST
from tests.protocol.audit.support import START, StoredTree
from tests.protocol.audit.tamper_support import (
    BOB,
    CAROL,
    LOG,
    LOG_KEY,
    at,
    head,
    line,
    witness,
)

LOG_VKEY = VerifierKey(name=FIRST, key_type=KeyType.NOTE, public=LOG_KEY.public)
WITNESS = witness("bob", BOB)
TREE = StoredTree.of([leaf_hash(one) for one in LOG])
NOTE = head(LOG) + line("bob", BOB, at(LOG))
SIZES = range(1, len(LOG) + 1)


@dataclass(frozen=True)
class Claim:
    """A proof of ours, or one that we have damaged."""

    old: int
    """Index, or old size."""
    new: int
    first: bytes
    """Entry, or old root."""
    root: bytes
    proof: tuple[bytes, ...]
    holds: bool


def damaged(claim: Claim) -> list[Claim]:
    """Return the claim and others, one hash, root or number away from it."""
    wrong: list[dict[str, Any]] = [
        {"root": bytes(32)},
        {"first": bytes(32)},
        {"proof": (*claim.proof, bytes(32))},
    ]
    if claim.proof:
        wrong += [{"proof": claim.proof[:-1]}, {"proof": (bytes(32), *claim.proof[1:])}]
    if claim.old + 1 < claim.new:
        wrong.append({"old": claim.old + 1})
    return [claim, *(Claim(**{**vars(claim), **one, "holds": False}) for one in wrong)]


def inclusion_claims() -> list[Claim]:
    """Return claims of every entry in every tree, each read out of a tlog-proof file."""
    claims = []
    for size in SIZES:
        for index in range(size):
            file = format_proof(index, inclusion_proof(index, size, TREE.read), head(LOG, size))
            hashes = parse_proof_untrusted(file).hashes
            root = at(LOG, size).root
            claims += damaged(Claim(index, size, LOG[index], root, hashes, True))
    return claims


def consistency_claims() -> list[Claim]:
    return [
        claim
        for new in SIZES
        for old in range(1, new)
        for claim in damaged(
            Claim(
                old,
                new,
                at(LOG, old).root,
                at(LOG, new).root,
                tuple(consistency_proof(old, new, TREE.read)),
                True,
            )
        )
    ]


BAD_NOTES = (
    head(LOG, key=CAROL),
    NOTE.replace(b"\n20\n", b"\n19\n"),
    head(LOG) + line("bob", BOB, at(LOG, 19)),
)


# Go -----------------------------------------------------------------------------------------------

GOPATH = Path(os.environ.get("GOPATH", "/usr/share/gocode"))


def as_json(claim: Claim) -> dict[str, Any]:
    return {
        "Old": claim.old,
        "Index": claim.old,
        "New": claim.new,
        "Entry": base64.b64encode(claim.first).decode(),
        "Root": base64.b64encode(claim.root).decode(),
        "Proof": [base64.b64encode(one).decode() for one in claim.proof],
    }


@functools.cache
def go_says() -> dict[str, Any]:
    """Run the Go program once, offline, over all notes and proofs."""
    go = shutil.which("go")
    if go is None or not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("needs Go and its package golang.org/x/mod (golang-golang-x-mod-dev)")
    asked = {
        "LogKey": format_vkey(LOG_VKEY),
        "WitnessName": WITNESS.name,
        "WitnessID": int.from_bytes(WITNESS.key_id, "big"),
        "WitnessPublic": base64.b64encode(WITNESS.public).decode(),
        "Notes": [note.decode() for note in (NOTE, head(LOG), *BAD_NOTES)],
        "Inclusion": [as_json(claim) for claim in inclusion_claims()],
        "Consistency": [as_json(claim) for claim in consistency_claims()],
    }
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [go, "run", str(Path(__file__).with_name("verify_log.go"))],
            input=json.dumps(asked).encode(),
            capture_output=True,
            check=True,
            timeout=280,
            env={
                "PATH": os.environ["PATH"],
                "HOME": cache,
                "GOCACHE": cache,
                "GOPATH": str(GOPATH),
                "GO111MODULE": "off",
                "GOFLAGS": "",
                "GOPROXY": "off",
            },
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_go_opens_a_checkpoint_and_its_cosignature() -> None:
    cosigned, alone, *_ = go_says()["Notes"]

    assert cosigned == f"20 {at(LOG).root.hex()} {FIRST} {WITNESS.name}"
    assert alone == f"20 {at(LOG).root.hex()} {FIRST}"


def test_go_refuses_the_notes_that_are_refused_here() -> None:
    _, _, unsigned, changed, moved = go_says()["Notes"]

    assert unsigned == "note has no verifiable signatures"
    assert changed == f"invalid signature for key {FIRST}+{LOG_VKEY.key_id.hex()}"
    assert moved == f"invalid signature for key {WITNESS.name}+{WITNESS.key_id.hex()}"


def test_go_judges_every_inclusion_proof_as_it_is_judged_here() -> None:
    assert go_says()["Inclusion"] == [claim.holds for claim in inclusion_claims()]


def test_go_judges_every_consistency_proof_as_it_is_judged_here() -> None:
    assert go_says()["Consistency"] == [claim.holds for claim in consistency_claims()]


# aics-tlog ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aics() -> Any:
    return pytest.importorskip("aics_tlog", reason="needs the package aics-tlog")


def test_aics_tlog_opens_a_checkpoint_and_its_cosignature(aics: Any) -> None:
    log, bob = aics.parse_vkey(format_vkey(LOG_VKEY)), aics.parse_vkey(format_vkey(WITNESS))
    fresh = {"max_age_seconds": 60, "now": START // 1000, "expected_origin": FIRST}
    found = aics.verify_checkpoint(aics.parse_note(NOTE), log, [bob], 1, **fresh)

    assert (found.ok, found.size, found.root) == (True, 20, at(LOG).root)
    assert (found.witnesses, found.timestamps) == ([WITNESS.name], {WITNESS.name: START // 1000})
    for note in (head(LOG), *BAD_NOTES):
        assert not aics.verify_checkpoint(aics.parse_note(note), log, [bob], 1, **fresh).ok


def test_aics_tlog_judges_every_proof_as_it_is_judged_here(aics: Any) -> None:
    for claim in inclusion_claims():
        leaf, path = aics.leaf_hash(claim.first), claim.proof
        found = aics.verify_inclusion(leaf, claim.old, claim.new, path, claim.root)
        assert found is claim.holds
    for claim in consistency_claims():
        roots = claim.first, claim.root
        assert aics.verify_consistency(claim.old, claim.new, *roots, claim.proof) is claim.holds


def test_a_checkpoint_and_a_cosignature_of_aics_tlog_open_here(aics: Any) -> None:
    log, bob = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
    keys = OneLogKey(origin=FIRST, public=log.public_key().public_bytes_raw())
    bobs = VerifierKey(
        name=WITNESS.name,
        key_type=KeyType.COSIGNATURE,
        public=bob.public_key().public_bytes_raw(),
    )
    note = aics.sign_checkpoint(aics.Checkpoint(FIRST, 20, at(LOG).root), log, FIRST)
    _, cosignature = aics.sign_cosignature(bob, bobs.name, START // 1000, FIRST, 20, at(LOG).root)
    signed = replace(note, signatures=(*note.signatures, cosignature)).to_bytes()
    quorum = Quorum(witnesses=(bobs,), threshold=1, max_age=1000)
    found = open_witnessed_untrusted(signed, keys=keys, quorum=quorum, now=START)

    assert found.checkpoint == at(LOG)
    assert [(one.key, one.time) for one in found.cosignatures] == [(bobs, START)]
