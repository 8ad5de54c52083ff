"""Known answers of a capability, from the product and from the reference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.audit.log_keys import LogKeys
from protocol.capability.keys import factor_secret
from protocol.capability.manifest import (
    match_ciphertext,
    match_terms,
    rendition_context,
    unwrap_rendition,
    verify_manifest_untrusted,
)
from protocol.capability.opening import verify_open_untrusted, verify_release_untrusted
from protocol.capability.signed import verified_body_untrusted
from protocol.capability.statements import (
    verify_amendment_untrusted,
    verify_receipt_untrusted,
    verify_revocation_untrusted,
)
from protocol.capability.terms import (
    Terms,
    open_capability_untrusted,
    parse_image_list_untrusted,
    parse_terms_untrusted,
)
from protocol.errors import RemoteError
from protocol.identity import Identity, parse_certificate_untrusted
from protocol.labels import SignatureType
from protocol.messages import Released, decode_answer_untrusted
from protocol.primitives import sha256
from protocol.sealed_blob import commitment_of_untrusted, open_sealed
from tests.protocol.capability import reference
from tests.protocol.capability.cases import BOB
from tests.protocol.capability.make_vectors import PATH, examples, make
from tests.protocol.spec_examples import printed

TEXT = ("format", "recipe", "phrase", "name", "as", "expect")
"""Values that are text; all others are bytes."""


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    """The committed vectors, bytes again."""

    def raw(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: raw(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [raw(item) for item in value]
        return value if key in TEXT else bytes.fromhex(value)

    decoded: dict[str, Any] = raw(json.loads(PATH.read_text()))
    return decoded


def test_the_product_still_makes_the_committed_vectors() -> None:
    assert json.loads(PATH.read_text()) == make()


def test_the_reference_derives_the_same_split_key(vectors: dict[str, Any]) -> None:
    key, name = vectors["split_key"], vectors["terms"]["capability_hash"]
    rendition_id = key["rendition_id"]

    assert reference.capability_hash(vectors["terms"]["body"]) == name
    assert (
        reference.image_list_hash(vectors["image_list"]["bytes"]) == vectors["image_list"]["hash"]
    )
    assert reference.issuer_share(key["slot_secret"], rendition_id) == key["issuer_share"]
    assert reference.commit_issuer(key["issuer_share"], rendition_id) == key["commit_issuer"]
    derived = reference.rendition_key(
        key["holder_share"], key["mix"], key["issuer_share"], name, rendition_id
    )
    assert derived == key["rendition_key"]
    wrapped = reference.wrap(derived, key["secret"], name, rendition_id, key["blob_commitment"])
    assert wrapped == key["wrapped"]


def test_the_reference_derives_the_same_second_factor(vectors: dict[str, Any]) -> None:
    factor, key = vectors["second_factor"], vectors["split_key"]
    name = vectors["terms"]["capability_hash"]

    assert factor_secret(factor["phrase"], factor["salt"]) == factor["factor"]
    assert reference.factor_mix(factor["factor"]) == factor["mix"]
    proof = reference.factor_proof(factor["factor"], factor["handshake_hash"], factor["open_id"])
    assert proof == factor["proof"]
    derived = reference.rendition_key(
        key["holder_share"], factor["mix"], key["issuer_share"], name, key["rendition_id"]
    )
    assert derived == factor["rendition_key"]
    wrapped = reference.wrap(
        derived, key["secret"], name, key["rendition_id"], key["blob_commitment"]
    )
    assert wrapped == factor["wrapped"]


def test_the_reference_derives_the_same_nonce(vectors: dict[str, Any]) -> None:
    name = vectors["terms"]["capability_hash"]

    expected = reference.open_nonce(name, vectors["second_factor"]["open_id"])
    assert vectors["open"]["nonce"] == expected


def test_a_holder_goes_from_the_sealed_capability_to_the_picture(vectors: dict[str, Any]) -> None:
    people = vectors["people"]
    issuer = parse_certificate_untrusted(people["issuer_certificate"])
    holder = parse_certificate_untrusted(people["holder_certificate"])
    team_id = people["team_id"]

    opened = open_capability_untrusted(
        vectors["capability"]["sealed"],
        holder=BOB,
        issuer_of={issuer.agreement_key: issuer}.get,
        team_id=team_id,
    )
    items = parse_image_list_untrusted(vectors["image_list"]["bytes"], terms=opened.terms)
    manifest = verify_manifest_untrusted(
        vectors["manifest"]["signed"], issuer=issuer, team_id=team_id
    )
    match_terms(manifest, opened.terms, capability_hash=opened.hash)
    sealed = vectors["manifest"]["sealed_rendition"]
    match_ciphertext(
        manifest,
        sha256=sha256(sealed),
        length=len(sealed),
        commitment=commitment_of_untrusted(sealed[:64]),
    )
    body = verify_open_untrusted(
        vectors["open"]["signed"],
        holder=holder,
        team_id=team_id,
        handshake_hash=vectors["second_factor"]["handshake_hash"],
    )
    answer = decode_answer_untrusted(vectors["open"]["answer"])
    assert isinstance(answer, Released)
    release = verify_release_untrusted(
        answer, body=body, manifest=manifest, keys=LogKeys.of(issuer)
    )
    secret = unwrap_rendition(
        manifest,
        holder_share=opened.capability.holder_share,
        mix=bytes(32),
        issuer_share=release.issuer_share,
    )
    context = rendition_context(
        team_id=team_id,
        issuer=issuer.fingerprint,
        image_id=items[0].image_id,
        rendition_id=manifest.rendition_id,
    )

    assert open_sealed(secret, context, sealed) == vectors["manifest"]["rendition"]


def test_the_statements_verify(vectors: dict[str, Any]) -> None:
    people, signed = vectors["people"], vectors["statements"]
    issuer = parse_certificate_untrusted(people["issuer_certificate"])
    holder = parse_certificate_untrusted(people["holder_certificate"])
    name, team_id = vectors["terms"]["capability_hash"], people["team_id"]

    amendment = verify_amendment_untrusted(signed["amendment"], issuer=issuer, team_id=team_id)
    revocation = verify_revocation_untrusted(signed["revocation"], issuer=issuer, team_id=team_id)
    receipt = verify_receipt_untrusted(signed["receipt"], holder=holder, team_id=team_id)

    assert [name] * 3 == [
        amendment.capability_hash,
        revocation.capability_hash,
        receipt.capability_hash,
    ]


def test_what_must_be_refused_is_refused_for_its_reason(vectors: dict[str, Any]) -> None:
    where: dict[str, Any] = {
        "issuer": parse_certificate_untrusted(vectors["people"]["issuer_certificate"]),
        "team_id": vectors["people"]["team_id"],
    }
    verify: dict[str, Any] = {"manifest": verify_manifest_untrusted, "capability": verify_terms}

    for refused in vectors["refused"]:
        with pytest.raises(RemoteError) as caught:
            verify[refused["as"]](refused["signed"], **where)
        assert caught.value.code == refused["expect"], refused["name"]


def verify_terms(signed: bytes, *, issuer: Identity, team_id: bytes) -> Terms:
    """Verify signed terms as opening a capability does."""
    body = verified_body_untrusted(
        SignatureType.CAPABILITY, signer=issuer, team_id=team_id, signed=signed
    )
    return parse_terms_untrusted(body)


def test_the_specification_prints_what_the_code_makes() -> None:
    assert printed("capability.md") == examples()
