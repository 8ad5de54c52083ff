"""The split key of a rendition, and the second factor.

Belongs here: every derivation between ``slot_secret`` and R, the commitment to the
issuer's share, and what a second-factor phrase becomes.
Never here: where a secret is kept, who may have it, or when it is released.
Specification: docs/spec/capability.md, sections 4 and 5.

    slot_secret ── rendition_id ──> issuer_share ──┐
    holder_share ──────────────────────────────────┼──> K ──> wrapped ──> R ──> the sealed blob
    phrase ── salt ──> f ──> mix ──────────────────┘
"""

from __future__ import annotations

import functools
from typing import Final

from mnemonic import Mnemonic

from protocol.errors import AuthenticationError, LocalError
from protocol.labels import (
    COMMIT_ISSUER_SHARE,
    KDF_FACTOR_MIX,
    KDF_FACTOR_PROOF,
    KDF_ISSUER_SHARE,
    KDF_RENDITION_KEY,
)
from protocol.limits import ARGON2_MEMORY_BYTES, ARGON2_TIME, FACTOR_SALT_BYTES
from protocol.primitives import (
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Aead,
    Entropy,
    argon2id,
    blake2b,
    equal,
    hkdf_expand,
    hmac_sha512,
)

NO_FACTOR_MIX: Final = bytes(KEY_BYTES)
"""`mix` of a capability without a second factor."""
WRAPPED_BYTES: Final = KEY_BYTES + TAG_BYTES
HANDSHAKE_HASH_BYTES: Final = 64
"""BLAKE2b, the hash of the channel's suite."""
OPEN_ID_BYTES: Final = 16
PHRASE_WORDS: Final = 6
"""66 bits behind Argon2id, and short enough to read out over a telephone."""

_ZERO_NONCE: Final = bytes(NONCE_BYTES)
"""K wraps at most one R ever, because rendition_id is drawn with each R and is part of K."""


def _sized(**values: bytes) -> None:
    """Raise LocalError unless each value has 32 bytes: what is joined below has no separators."""
    for name, value in values.items():
        if len(value) != KEY_BYTES:
            raise LocalError(f"{name} is {KEY_BYTES} bytes")


# The split key ----------------------------------------------------------------------------------


def issuer_share(slot_secret: bytes, rendition_id: bytes) -> bytes:
    """Return the issuer's 32-byte share for one rendition, so that one release opens one."""
    _sized(slot_secret=slot_secret, rendition_id=rendition_id)
    return hkdf_expand(slot_secret, KDF_ISSUER_SHARE + rendition_id, KEY_BYTES)


def rendition_key(
    *,
    holder_share: bytes,
    mix: bytes,
    issuer_share: bytes,
    capability_hash: bytes,
    rendition_id: bytes,
) -> bytes:
    """Return K, 32 bytes, from both shares and the second factor's mix (spec section 4.2)."""
    _sized(
        holder_share=holder_share,
        mix=mix,
        issuer_share=issuer_share,
        capability_hash=capability_hash,
        rendition_id=rendition_id,
    )
    extracted = hmac_sha512(holder_share + mix, issuer_share)
    return hkdf_expand(extracted, KDF_RENDITION_KEY + capability_hash + rendition_id, KEY_BYTES)


def wrap(
    key: bytes, secret: bytes, *, capability_hash: bytes, rendition_id: bytes, commitment: bytes
) -> bytes:
    """Return R (`secret`, 32 bytes) wrapped under K (`key`), bound to the blob's commitment.

    48 bytes. At most once for each K: the nonce is fixed.
    """
    _sized(
        key=key,
        secret=secret,
        capability_hash=capability_hash,
        rendition_id=rendition_id,
        commitment=commitment,
    )
    return Aead(key).seal(_ZERO_NONCE, secret, capability_hash + rendition_id + commitment)


def unwrap(
    key: bytes, wrapped: bytes, *, capability_hash: bytes, rendition_id: bytes, commitment: bytes
) -> bytes:
    """Return R; AuthenticationError for any other key, bytes, capability, rendition or blob."""
    _sized(
        key=key, capability_hash=capability_hash, rendition_id=rendition_id, commitment=commitment
    )
    if len(wrapped) != WRAPPED_BYTES:
        raise AuthenticationError
    return Aead(key).open(_ZERO_NONCE, wrapped, capability_hash + rendition_id + commitment)


def commit_issuer(issuer_share: bytes, rendition_id: bytes) -> bytes:
    """Return the 32-byte commitment by which a holder recognises the right share."""
    _sized(issuer_share=issuer_share, rendition_id=rendition_id)
    return blake2b(COMMIT_ISSUER_SHARE + issuer_share + rendition_id)


# The second factor ------------------------------------------------------------------------------


@functools.cache
def _words() -> list[str]:
    return Mnemonic("english").wordlist


def generate_phrase(entropy: Entropy) -> str:
    """Return a fresh second-factor phrase: six words of the BIP-39 English list."""
    number = int.from_bytes(entropy(9), "big")
    return " ".join(_words()[number >> 11 * place & 0x7FF] for place in range(PHRASE_WORDS))


def factor_secret(phrase: str, salt: bytes) -> bytes:
    """Return f, 32 bytes: Argon2id of a phrase with parameters that no peer can change.

    Case and the white space between words do not matter. Takes about a second and
    256 MiB: call it outside the event loop.
    """
    if len(salt) != FACTOR_SALT_BYTES:
        raise LocalError(f"the salt of a second factor is {FACTOR_SALT_BYTES} bytes")
    # A phrase is English words; what cannot be encoded is only ever a wrong phrase.
    password = " ".join(phrase.lower().split()).encode(errors="replace")
    return argon2id(password, salt, time=ARGON2_TIME, memory_bytes=ARGON2_MEMORY_BYTES)


def factor_mix(factor: bytes) -> bytes:
    """Return `mix`, 32 bytes: the part of f that goes into K."""
    _sized(factor=factor)
    return hkdf_expand(factor, KDF_FACTOR_MIX, KEY_BYTES)


def factor_proof_key(factor: bytes) -> bytes:
    """Return the 32-byte key of proofs: the part of f that an open request shows it knows."""
    _sized(factor=factor)
    return hkdf_expand(factor, KDF_FACTOR_PROOF, KEY_BYTES)


def factor_proof(proof_key: bytes, *, handshake_hash: bytes, open_id: bytes) -> bytes:
    """Return the 64-byte proof of one open on one channel; it is worth nothing on another."""
    _sized(proof_key=proof_key)
    if len(handshake_hash) != HANDSHAKE_HASH_BYTES or len(open_id) != OPEN_ID_BYTES:
        raise LocalError("a handshake hash is 64 bytes and an open id 16")
    return hmac_sha512(proof_key, handshake_hash + open_id)


def factor_matches(
    proof_key: bytes | None, proof: bytes | None, *, handshake_hash: bytes, open_id: bytes
) -> bool:
    """Say in constant time whether an open request proves the capability's second factor.

    Without a second factor (`proof_key` None) only a request without proof matches.
    """
    if proof_key is None or proof is None:
        return proof_key is None and proof is None
    expected = factor_proof(proof_key, handshake_hash=handshake_hash, open_id=open_id)
    return equal(expected, proof)
