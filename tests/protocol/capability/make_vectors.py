"""Makes tests/vectors/capability.json: ``python -m tests.protocol.capability.make_vectors``.

Recipe: one honest capability of fixed people and fixed entropy (``cases``), and one with a
second factor. Every value but the Argon2id output and the signatures is recomputed by
``reference``, which shares no code with the product.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import msgspec

from protocol.capability.keys import (
    factor_mix,
    factor_proof,
    factor_proof_key,
    factor_secret,
    issuer_share,
    rendition_key,
    wrap,
)
from protocol.capability.manifest import sign_manifest
from protocol.capability.opening import open_nonce, sign_open
from protocol.capability.statements import (
    Amendment,
    Receipt,
    Revocation,
    sign_amendment,
    sign_receipt,
    sign_revocation,
)
from protocol.capability.terms import encode_image_list
from protocol.encoding import encode
from protocol.identity import sign_statement
from protocol.labels import SignatureType
from tests.protocol.capability.cases import (
    ALICE,
    BOB,
    HANDSHAKE,
    ITEMS,
    ORIGIN,
    PICTURE,
    TEAM,
    case,
    honest_manifest,
    honest_terms,
)
from tests.protocol.people import DAY, NOW
from tests.protocol.spec_examples import fields, rewrite, table
from tests.support import ROOT

PATH = ROOT / "tests" / "vectors" / "capability.json"
PHRASE = "legal winner thank year wave sausage"
SALT = bytes(range(0x60, 0x70))


@functools.cache
def make() -> dict[str, Any]:
    """Return the vectors; bytes are lowercase hexadecimal."""
    one = case()
    manifest = one.manifest
    share = issuer_share(one.slot_secret, manifest.rendition_id)
    factor = factor_secret(PHRASE, SALT)
    ids = {"capability_hash": one.hash, "rendition_id": manifest.rendition_id}
    factor_key = rendition_key(
        holder_share=one.capability.holder_share,
        mix=factor_mix(factor),
        issuer_share=share,
        **ids,
    )
    amendment = Amendment(
        capability_hash=one.hash, sequence=1, expires_at=NOW + 3 * DAY, opens_added=5, time=NOW
    )
    revocation = Revocation(capability_hash=one.hash, time=NOW + DAY)
    receipt = Receipt(
        event="opened",
        capability_hash=one.hash,
        image_id=manifest.image_id,
        open_id=one.body.open_id,
        origin=ORIGIN,
        index=3,
        leaf_hash=bytes(range(32)),
        time=NOW,
    )
    vectors: dict[str, Any] = _hex(
        {
            "format": "docs/spec/capability.md",
            "recipe": "tests/protocol/capability/make_vectors.py",
            "people": {
                "team_id": TEAM,
                "issuer_certificate": ALICE.public.certificate,
                "holder_certificate": BOB.public.certificate,
                "holder_agreement_secret": BOB.agreement_secret,
            },
            "terms": {
                "body": encode(one.terms),
                "signed": one.signed_terms,
                "capability_hash": one.hash,
            },
            "image_list": {
                "bytes": encode_image_list(ITEMS),
                "hash": one.terms.image_list_hash,
                "list_key": one.capability.list_key,
            },
            "capability": {"plaintext": encode(one.capability), "sealed": one.sealed},
            "split_key": {
                "slot_secret": one.slot_secret,
                "holder_share": one.capability.holder_share,
                "rendition_id": manifest.rendition_id,
                "issuer_share": share,
                "commit_issuer": manifest.commit_issuer,
                "mix": bytes(32),
                "rendition_key": rendition_key(
                    holder_share=one.capability.holder_share,
                    mix=bytes(32),
                    issuer_share=share,
                    **ids,
                ),
                "secret": one.secret,
                "blob_commitment": manifest.blob_commitment,
                "wrapped": manifest.wrapped,
            },
            "second_factor": {
                "phrase": PHRASE,
                "salt": SALT,
                "factor": factor,
                "mix": factor_mix(factor),
                "proof_key": factor_proof_key(factor),
                "handshake_hash": HANDSHAKE,
                "open_id": one.body.open_id,
                "proof": factor_proof(
                    factor_proof_key(factor), handshake_hash=HANDSHAKE, open_id=one.body.open_id
                ),
                "rendition_key": factor_key,
                "wrapped": wrap(factor_key, one.secret, commitment=manifest.blob_commitment, **ids),
            },
            "manifest": {
                "body": encode(manifest),
                "signed": sign_manifest(manifest, issuer=ALICE, team_id=TEAM),
                "sealed_rendition": one.rendition,
                "rendition": PICTURE,
            },
            "open": {
                "body": encode(one.body),
                "signed": sign_open(one.body, holder=BOB, team_id=TEAM),
                "nonce": open_nonce(one.hash, one.body.open_id),
                "answer": encode(one.released),
            },
            "refused": _refused(),
            "statements": {
                "amendment": sign_amendment(amendment, issuer=ALICE, team_id=TEAM),
                "revocation": sign_revocation(revocation, issuer=ALICE, team_id=TEAM),
                "receipt": sign_receipt(receipt, holder=BOB, team_id=TEAM),
            },
        }
    )
    return vectors


def _refused() -> list[dict[str, Any]]:
    """Return signed terms and manifests that a holder must refuse, each with the error's code."""
    terms, manifest = SignatureType.CAPABILITY, SignatureType.MANIFEST
    body = encode(honest_terms())
    plain = msgspec.msgpack.decode(body)
    version = b"\xa7version"
    bad_terms = {
        "an unknown right": ("unsupported", encode(honest_terms(rights=("view", "print")))),
        "rights out of order": ("encoding", encode(honest_terms(rights=("save", "view")))),
        "no right to view": ("encoding", encode(honest_terms(rights=("save",)))),
        "an unknown field": ("encoding", msgspec.msgpack.encode({**plain, "print": True})),
        "fields out of order": (
            "encoding",
            msgspec.msgpack.encode(dict(reversed(list(plain.items())))),
        ),
        "an integer in two bytes": (
            "encoding",
            body.replace(version + b"\x01", version + b"\xcc\x01"),
        ),
        "bytes after the end": ("encoding", body + b"\x00"),
        "a later version": ("unsupported", encode(honest_terms(version=2))),
        "an unknown classification": (
            "unsupported",
            encode(honest_terms(classification="secret")),
        ),
        "a preview with a leading zero": (
            "unsupported",
            encode(honest_terms(rendition="preview:02048")),
        ),
        "ends when it begins": ("encoding", encode(honest_terms(expires_at=NOW))),
        "no opens": ("encoding", encode(honest_terms(max_opens=0))),
        "usage terms with an escape": (
            "encoding",
            encode(honest_terms(usage_terms="\x1b[2J")),
        ),
    }
    bad_manifests = {
        "larger than its preview": ("encoding", encode(honest_manifest(width=2049))),
        "a wrapped key of 47 bytes": ("encoding", encode(honest_manifest(wrapped=bytes(47)))),
        "an unknown rendition": ("unsupported", encode(honest_manifest(rendition="poster"))),
    }
    cases = [
        {"name": name, "as": kind.value, "expect": code, "signed": _signed(kind, data)}
        for kind, bad in ((terms, bad_terms), (manifest, bad_manifests))
        for name, (code, data) in bad.items()
    ]
    own = {"as": terms.value, "expect": "authentication"}
    return [
        *cases,
        {"name": "terms signed as a manifest", "signed": _signed(manifest, body), **own},
        {
            "name": "terms signed in another team",
            "signed": sign_statement(ALICE.identity, terms, bytes(32), body),
            **own,
        },
        {
            "name": "terms signed by the holder",
            "signed": sign_statement(BOB.identity, terms, TEAM, body),
            **own,
        },
    ]


def _signed(kind: SignatureType, body: bytes) -> bytes:
    return sign_statement(ALICE.identity, kind, TEAM, body)


def examples() -> dict[str, str]:
    """Return the examples of docs/spec/capability.md."""
    made = make()
    raw = {
        group: {name: bytes.fromhex(value) for name, value in values.items() if name != "phrase"}
        for group, values in made.items()
        if isinstance(values, dict)
    }
    key, factor = raw["split_key"], raw["second_factor"]
    return {
        "terms": fields(raw["terms"]["body"]),
        "terms-bytes": table(
            {
                "body": raw["terms"]["body"],
                "signed": raw["terms"]["signed"],
                "capability hash": raw["terms"]["capability_hash"],
            }
        ),
        "split-key": table(
            {
                "slot secret": key["slot_secret"],
                "holder share": key["holder_share"],
                "mix": key["mix"],
                "rendition id": key["rendition_id"],
                "issuer share": key["issuer_share"],
                "commit issuer": key["commit_issuer"],
                "K": key["rendition_key"],
                "R": key["secret"],
                "blob commitment": key["blob_commitment"],
                "wrapped": key["wrapped"],
            }
        ),
        "factor": table(
            {
                "phrase": PHRASE,
                "salt": factor["salt"],
                "f": factor["factor"],
                "mix": factor["mix"],
                "proof key": factor["proof_key"],
                "handshake hash": factor["handshake_hash"],
                "open id": factor["open_id"],
                "proof": factor["proof"],
            }
        ),
        "manifest": fields(raw["manifest"]["body"]),
        "open": fields(raw["open"]["body"]),
    }


def _hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _hex(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hex(item) for item in value]
    return value


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=2) + "\n")
    rewrite("capability.md", examples())
