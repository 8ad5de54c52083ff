"""The manifest: what one picture's rendition is, and how its key is wrapped.

Belongs here: the signed manifest, its rules, and R from a manifest and the shares.
Never here: rendering, sealing, or fetching the rendition.
Specification: docs/spec/capability.md, section 6.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final

import msgspec

from protocol.capability.fields import Count, Edge, Format, Hash, Id
from protocol.capability.keys import WRAPPED_BYTES, rendition_key, unwrap
from protocol.capability.signed import sign_value, verify_value_untrusted
from protocol.capability.terms import Terms, parse_rendition
from protocol.errors import AuthenticationError, EncodingError
from protocol.identity import Identity, LocalIdentity, clean_text
from protocol.labels import HASH_VERSION, SignatureType
from protocol.limits import MAX_DISCLOSURES, MAX_NAME_BYTES, MAX_RENDITION_BYTES
from protocol.primitives import blake2b, equal
from protocol.sealed_blob import BlobContext, plain_length_untrusted

Groups = Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_DISCLOSURES)]
"""Groups of metadata in plain words: ``position``, ``camera`` …"""


EVERYTHING: Final = "everything"
"""What an original keeps. Of any other rendition it declares nothing."""


class Disclosure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which metadata of the picture its rendition lost, and which it still has."""

    removed: Groups
    kept: Groups


class Manifest(
    msgspec.Struct, frozen=True, tag="manifest", forbid_unknown_fields=True, kw_only=True
):
    """One rendition of one picture under one capability; made when the rendition is ready."""

    capability_hash: Hash
    image_id: Id
    version_hash: Hash
    rendition_id: Hash
    """Drawn with R, and never used for other bytes."""
    rendition: str
    """As the terms say it."""
    disclosure: Disclosure
    ciphertext_sha256: Hash
    ciphertext_bytes: Count
    """Of the whole sealed blob, header included."""
    blob_commitment: Hash
    """The commitment in the sealed blob's header."""
    commit_issuer: Hash
    wrapped: Annotated[bytes, msgspec.Meta(min_length=WRAPPED_BYTES, max_length=WRAPPED_BYTES)]
    format: Format
    width: Edge
    height: Edge


def version_hash(version_id: bytes, content_sha256: bytes) -> bytes:
    """Return the 32-byte name of one version of a picture.

    The random 16-byte version id keeps a holder who has a candidate of the original
    from confirming it.
    """
    return blake2b(HASH_VERSION + version_id + content_sha256)


def validate_manifest(manifest: Manifest) -> None:
    """Check the rules between fields; EncodingError, or UnsupportedError for what is unknown."""
    pixels = parse_rendition(manifest.rendition).pixels
    if pixels is not None and max(manifest.width, manifest.height) > pixels:
        raise EncodingError("manifest: the rendition is larger than it says")
    if manifest.ciphertext_bytes > MAX_RENDITION_BYTES:
        raise EncodingError("manifest: a rendition larger than any file that is imported")
    if plain_length_untrusted(manifest.ciphertext_bytes) == 0:
        raise EncodingError("manifest: an empty rendition")
    for group in (*manifest.disclosure.removed, *manifest.disclosure.kept):
        if not group or group != clean_text(group, MAX_NAME_BYTES):
            raise EncodingError("manifest: a disclosure that cannot be shown")


def sign_manifest(manifest: Manifest, *, issuer: LocalIdentity, team_id: bytes) -> bytes:
    """Return a manifest of ours, signed; LocalError where a holder would refuse it."""
    return sign_value(
        manifest, SignatureType.MANIFEST, signer=issuer, team_id=team_id, rules=validate_manifest
    )


def verify_manifest_untrusted(signed: bytes, *, issuer: Identity, team_id: bytes) -> Manifest:
    """Return the manifest that issuer signed; `match_terms` says whether it is the right one.

    AuthenticationError for whatever was changed on the way, EncodingError or
    UnsupportedError for what the issuer should not have written.
    """
    return verify_value_untrusted(
        Manifest,
        SignatureType.MANIFEST,
        signer=issuer,
        team_id=team_id,
        signed=signed,
        rules=validate_manifest,
    )


def match_terms(manifest: Manifest, terms: Terms, *, capability_hash: bytes) -> None:
    """Raise AuthenticationError unless a manifest belongs to these terms."""
    if manifest.capability_hash != capability_hash or manifest.rendition != terms.rendition:
        raise AuthenticationError


def undeclared(manifest: Manifest, found: Collection[str]) -> tuple[str, ...]:
    """Return which groups of metadata opened bytes carry that their manifest does not declare.

    ``found`` are the groups that the holder's own reader names. An issuer that declares less
    than its bytes carry lies to its holder; only an original may carry everything.
    """
    kept = manifest.disclosure.kept
    if manifest.rendition == "original" and EVERYTHING in kept:
        return ()
    return tuple(group for group in found if group not in kept)


def match_ciphertext(manifest: Manifest, *, sha256: bytes, length: int, commitment: bytes) -> None:
    """Raise AuthenticationError unless a whole ciphertext is the manifest's.

    To be done before an open is spent: a relay that flips a bit then costs nothing.
    """
    if (
        sha256 != manifest.ciphertext_sha256
        or length != manifest.ciphertext_bytes
        or not equal(commitment, manifest.blob_commitment)
    ):
        raise AuthenticationError


def unwrap_rendition(
    manifest: Manifest, *, holder_share: bytes, mix: bytes, issuer_share: bytes
) -> bytes:
    """Return R, the 32-byte key of the sealed rendition, from a verified release.

    AuthenticationError for a wrong share or a wrong second factor.
    """
    key = rendition_key(
        holder_share=holder_share,
        mix=mix,
        issuer_share=issuer_share,
        capability_hash=manifest.capability_hash,
        rendition_id=manifest.rendition_id,
    )
    return unwrap(
        key,
        manifest.wrapped,
        capability_hash=manifest.capability_hash,
        rendition_id=manifest.rendition_id,
        commitment=manifest.blob_commitment,
    )


def rendition_context(
    *, team_id: bytes, issuer: bytes, image_id: bytes, rendition_id: bytes
) -> bytes:
    """Return the context under which a rendition is sealed, whoever it is granted to."""
    return BlobContext(team=team_id, device=issuer, image=image_id, rendition=rendition_id).encode()
