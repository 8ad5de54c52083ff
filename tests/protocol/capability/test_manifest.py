"""Manifests: what a rendition is, and how its key is wrapped."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.capability.keys import NO_FACTOR_MIX, issuer_share
from protocol.capability.manifest import (
    EVERYTHING,
    Disclosure,
    Manifest,
    match_ciphertext,
    match_terms,
    rendition_context,
    sign_manifest,
    undeclared,
    unwrap_rendition,
    verify_manifest_untrusted,
    version_hash,
)
from protocol.encoding import encode
from protocol.errors import AuthenticationError, EncodingError, LocalError, UnsupportedError
from protocol.identity import sign_statement
from protocol.labels import SignatureType
from protocol.limits import MAX_RENDITION_BYTES
from protocol.sealed_blob import commitment_of_untrusted, open_sealed
from tests.protocol.capability.cases import (
    ALICE,
    CAROL,
    ITEMS,
    PICTURE,
    TEAM,
    case,
    honest_manifest,
    honest_terms,
)


def signed_raw(manifest: Manifest) -> bytes:
    """Return a manifest as an issuer without our checks would sign it."""
    return sign_statement(ALICE.identity, SignatureType.MANIFEST, TEAM, encode(manifest))


def test_a_manifest_reads_back_as_it_was_signed() -> None:
    signed = sign_manifest(case().manifest, issuer=ALICE, team_id=TEAM)

    read = verify_manifest_untrusted(signed, issuer=ALICE.public, team_id=TEAM)

    assert case().manifest == read


@pytest.mark.parametrize(
    ("rendition", "kept", "found", "more"),
    [
        ("preview:2048", (), (), ()),
        ("preview:2048", ("icc",), ("icc",), ()),
        ("preview:2048", ("icc",), (), ()),
        ("preview:2048", ("icc",), ("exif", "gps", "icc"), ("exif", "gps")),
        ("clean", ("exif",), ("exif", "gps"), ("gps",)),
        ("clean", (EVERYTHING,), ("gps",), ("gps",)),
        ("original", (EVERYTHING,), ("exif", "gps"), ()),
        ("original", ("exif",), ("exif", "gps"), ("gps",)),
    ],
)
def test_only_an_original_carries_what_is_not_declared(
    rendition: str, kept: tuple[str, ...], found: tuple[str, ...], more: tuple[str, ...]
) -> None:
    manifest = honest_manifest(
        rendition=rendition, disclosure=Disclosure(removed=("gps",), kept=kept)
    )

    assert undeclared(manifest, found) == more


def test_an_original_may_be_of_any_size() -> None:
    manifest = honest_manifest(rendition="original", width=60_000, height=40_000)

    signed = sign_manifest(manifest, issuer=ALICE, team_id=TEAM)

    assert manifest == verify_manifest_untrusted(signed, issuer=ALICE.public, team_id=TEAM)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"capability_hash": bytes(31)}, EncodingError),
        ({"image_id": bytes(15)}, EncodingError),
        ({"rendition_id": bytes(16)}, EncodingError),
        ({"rendition": "thumbnail"}, UnsupportedError),
        ({"width": 2049}, EncodingError),
        ({"height": 2049}, EncodingError),
        ({"width": 0}, EncodingError),
        ({"ciphertext_bytes": 0}, EncodingError),
        ({"ciphertext_bytes": 80}, EncodingError),
        ({"ciphertext_bytes": MAX_RENDITION_BYTES + 1}, EncodingError),
        ({"ciphertext_bytes": 64 + 65_536 + 16}, EncodingError),
        ({"wrapped": bytes(47)}, EncodingError),
        ({"wrapped": bytes(49)}, EncodingError),
        ({"format": "JPEG"}, EncodingError),
        ({"disclosure": Disclosure(removed=("",), kept=())}, EncodingError),
        ({"disclosure": Disclosure(removed=(), kept=("\x1b[31m",))}, EncodingError),
        ({"disclosure": Disclosure(removed=("x" * 257,), kept=())}, EncodingError),
        ({"disclosure": Disclosure(removed=("x",) * 65, kept=())}, EncodingError),
    ],
    ids=str,
)
def test_a_manifest_that_breaks_a_rule_is_refused_by_both_sides(
    changes: dict[str, Any], error: type[Exception]
) -> None:
    manifest = honest_manifest(**changes)

    with pytest.raises(error):
        verify_manifest_untrusted(signed_raw(manifest), issuer=ALICE.public, team_id=TEAM)
    with pytest.raises(LocalError):
        sign_manifest(manifest, issuer=ALICE, team_id=TEAM)


def test_an_unknown_field_is_refused() -> None:
    body = msgspec.msgpack.encode(
        {**msgspec.msgpack.decode(encode(case().manifest)), "quality": 90}
    )
    signed = sign_statement(ALICE.identity, SignatureType.MANIFEST, TEAM, body)

    with pytest.raises(EncodingError):
        verify_manifest_untrusted(signed, issuer=ALICE.public, team_id=TEAM)


def test_a_manifest_of_somebody_else_or_another_team_is_refused() -> None:
    signed = sign_manifest(case().manifest, issuer=ALICE, team_id=TEAM)

    with pytest.raises(AuthenticationError):
        verify_manifest_untrusted(signed, issuer=CAROL.public, team_id=TEAM)
    with pytest.raises(AuthenticationError):
        verify_manifest_untrusted(signed, issuer=ALICE.public, team_id=bytes(32))


def test_a_manifest_belongs_to_the_terms_it_was_made_for() -> None:
    match_terms(case().manifest, case().terms, capability_hash=case().hash)

    with pytest.raises(AuthenticationError):
        match_terms(case().manifest, case().terms, capability_hash=bytes(32))
    with pytest.raises(AuthenticationError):
        match_terms(
            case().manifest, honest_terms(rendition="preview:1024"), capability_hash=case().hash
        )


def test_row_28_a_changed_ciphertext_is_noticed_before_an_open_is_spent() -> None:
    manifest = case().manifest
    right: dict[str, Any] = {
        "sha256": manifest.ciphertext_sha256,
        "length": manifest.ciphertext_bytes,
        "commitment": commitment_of_untrusted(case().rendition[:64]),
    }
    match_ciphertext(manifest, **right)

    for wrong in ({"sha256": bytes(32)}, {"length": 1}, {"commitment": bytes(32)}):
        with pytest.raises(AuthenticationError):
            match_ciphertext(manifest, **{**right, **wrong})


def shares() -> dict[str, bytes]:
    """Both honest shares of the case, without a second factor."""
    return {
        "holder_share": case().capability.holder_share,
        "mix": NO_FACTOR_MIX,
        "issuer_share": issuer_share(case().slot_secret, case().manifest.rendition_id),
    }


def test_both_shares_open_the_rendition() -> None:
    secret = unwrap_rendition(case().manifest, **shares())
    context = rendition_context(
        team_id=TEAM,
        issuer=ALICE.public.fingerprint,
        image_id=ITEMS[0].image_id,
        rendition_id=case().manifest.rendition_id,
    )

    assert case().secret == secret
    assert open_sealed(secret, context, case().rendition) == PICTURE


@given(
    part=st.sampled_from(["holder_share", "mix", "issuer_share"]),
    value=st.binary(min_size=32, max_size=32),
)
def test_one_wrong_part_opens_nothing(part: str, value: bytes) -> None:
    right = shares()
    if value == right[part]:
        return

    with pytest.raises(AuthenticationError):
        unwrap_rendition(case().manifest, **{**right, part: value})


@pytest.mark.parametrize("other", ["capability_hash", "rendition_id", "blob_commitment"])
def test_row_6_a_wrapped_key_does_not_open_in_another_manifest(other: str) -> None:
    with pytest.raises(AuthenticationError):
        unwrap_rendition(honest_manifest(**{other: bytes(32)}), **shares())


def test_a_version_is_not_confirmed_by_its_content_alone() -> None:
    content = bytes(range(32))

    assert version_hash(bytes(16), content) != version_hash(b"\x01" * 16, content)
