"""The split key once more, from the specification and the standard library alone.

It shares no code with ``protocol``: where both agree, both follow docs/spec/capability.md.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def expand(key: bytes, info: bytes) -> bytes:
    """First 32 bytes of HKDF-Expand-SHA-512 (RFC 5869): T(1) = HMAC(key, info ‖ 0x01)."""
    return hmac.new(key, info + b"\x01", hashlib.sha512).digest()[:32]


def blake2b_256(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def issuer_share(slot_secret: bytes, rendition_id: bytes) -> bytes:
    return expand(slot_secret, b"safelight/v1/kdf/issuer-share\x00" + rendition_id)


def rendition_key(
    holder_share: bytes, mix: bytes, share: bytes, capability_hash: bytes, rendition_id: bytes
) -> bytes:
    extracted = hmac.new(holder_share + mix, share, hashlib.sha512).digest()
    label = b"safelight/v1/kdf/rendition-key\x00"
    return expand(extracted, label + capability_hash + rendition_id)


def wrap(
    key: bytes, secret: bytes, capability_hash: bytes, rendition_id: bytes, commitment: bytes
) -> bytes:
    ad = capability_hash + rendition_id + commitment
    return ChaCha20Poly1305(key).encrypt(bytes(12), secret, ad)


def commit_issuer(share: bytes, rendition_id: bytes) -> bytes:
    return blake2b_256(b"safelight/v1/commit/issuer-share\x00" + share + rendition_id)


def capability_hash(terms_body: bytes) -> bytes:
    return blake2b_256(b"safelight/v1/hash/capability\x00" + terms_body)


def image_list_hash(list_bytes: bytes) -> bytes:
    return blake2b_256(b"safelight/v1/hash/image-list\x00" + list_bytes)


def version_hash(version_id: bytes, content_sha256: bytes) -> bytes:
    return blake2b_256(b"safelight/v1/hash/version\x00" + version_id + content_sha256)


def open_nonce(name: bytes, open_id: bytes) -> bytes:
    data = b"safelight/v1/hash/open-nonce\x00" + name + open_id
    return hashlib.blake2b(data, digest_size=16).digest()


def factor_mix(factor: bytes) -> bytes:
    return expand(factor, b"safelight/v1/kdf/factor-mix\x00")


def factor_proof(factor: bytes, handshake_hash: bytes, open_id: bytes) -> bytes:
    key = expand(factor, b"safelight/v1/kdf/factor-proof\x00")
    return hmac.new(key, handshake_hash + open_id, hashlib.sha512).digest()
