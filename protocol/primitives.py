"""The only door to the cryptographic libraries.

Belongs here: one thin, typed function or class for each primitive that the
specifications name, with its security reason.
Never here: formats, labels, or a choice between primitives. PyNaCl does
signatures, X25519 and Argon2id; ``cryptography`` (OpenSSL) does ChaCha20-Poly1305
and HKDF, because it is several times faster in bulk and releases the GIL;
``hashlib`` does hashes, and ``spake2`` does SPAKE2.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, TypeAlias

import nacl.bindings as sodium
import nacl.exceptions
import nacl.pwhash.argon2id
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocol.errors import AuthenticationError, LocalError

Entropy = Callable[[int], bytes]
"""Takes a number of bytes, returns that many unpredictable ones."""
Data: TypeAlias = bytes | bytearray | memoryview
"""Bytes in bulk, which need not be copied to be sealed or opened."""

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SIGNATURE_BYTES: Final = 64


class SigningKey:
    """An Ed25519 key made from a 32-byte seed (RFC 8032)."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise LocalError("an Ed25519 seed is 32 bytes")
        self.public, self._secret = sodium.crypto_sign_seed_keypair(seed)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over message."""
        return sodium.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def verify_signature(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise AuthenticationError unless signature is public's over message."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise AuthenticationError
    try:
        sodium.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        raise AuthenticationError from None


def is_valid_point(public: bytes) -> bool:
    """Say whether public is a canonical Ed25519 point of prime order."""
    return len(public) == KEY_BYTES and bool(sodium.crypto_core_ed25519_is_valid_point(public))


def x25519_public(secret: bytes) -> bytes:
    """Return the 32-byte public key of a 32-byte X25519 secret (RFC 7748)."""
    return sodium.crypto_scalarmult_base(secret)


def x25519(secret: bytes, public: bytes) -> bytes:
    """Return the 32-byte shared secret; AuthenticationError where it would be zero."""
    if len(public) != KEY_BYTES:
        raise AuthenticationError
    try:
        return sodium.crypto_scalarmult(secret, public)
    except nacl.exceptions.RuntimeError:
        raise AuthenticationError from None


class Aead:
    """ChaCha20-Poly1305 (RFC 8439) under one 32-byte key. Nonces are the caller's duty."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)

    def __repr__(self) -> str:
        return "Aead()"

    def seal(self, nonce: bytes, plaintext: Data, ad: bytes = b"") -> bytes:
        """Return ciphertext ‖ 16-byte tag."""
        return self._cipher.encrypt(nonce, plaintext, ad)

    def open(self, nonce: bytes, ciphertext: Data, ad: bytes = b"") -> bytes:
        """Return the plaintext, or raise AuthenticationError."""
        try:
            return self._cipher.decrypt(nonce, ciphertext, ad)
        except InvalidTag:
            raise AuthenticationError from None


def blake2b(data: bytes, *, size: int = 32, key: bytes = b"") -> bytes:
    """Return BLAKE2b of data, size bytes (RFC 7693), keyed where a key is given."""
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def sha256(data: bytes) -> bytes:
    """Return SHA-256 of data."""
    return hashlib.sha256(data).digest()


class Sha256:
    """SHA-256 of data that arrives in pieces."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: Data) -> None:
        """Add data to what is hashed."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """Return the hash, 32 bytes, of everything added."""
        return self._hash.digest()


def hmac_sha512(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA-512, 64 bytes (RFC 2104)."""
    return hmac.digest(key, data, "sha512")


def hmac_blake2b(key: bytes, data: bytes) -> bytes:
    """Return HMAC-BLAKE2b, 64 bytes, as the Noise specification's HKDF uses it."""
    return hmac.digest(key, data, "blake2b")


def hkdf_expand(key: bytes, info: bytes, size: int) -> bytes:
    """Return size bytes of HKDF-Expand-SHA-512 (RFC 5869, 2.3)."""
    return HKDFExpand(algorithm=hashes.SHA512(), length=size, info=info).derive(key)


def argon2id(password: bytes, salt: bytes, *, time: int, memory_bytes: int) -> bytes:
    """Return 32 bytes of Argon2id (RFC 9106) with one lane. The caller bounds time and memory."""
    return nacl.pwhash.argon2id.kdf(KEY_BYTES, password, salt, opslimit=time, memlimit=memory_bytes)


class Spake2:
    """One side of SPAKE2 over Ed25519: a shared key from a short password, one guess a run.

    ``first`` says which of the two sides this is (A or B of the draft that the library
    implements); both name the ends alike. 64 bytes of ``entropy`` are used once.
    """

    __slots__ = ("_side", "message")

    def __init__(
        self, *, first: bool, password: bytes, id_a: bytes, id_b: bytes, entropy: Entropy
    ) -> None:
        # It computes its group's elements when it is imported, which few processes need.
        import spake2

        side = spake2.SPAKE2_A if first else spake2.SPAKE2_B
        self._side = side(password, idA=id_a, idB=id_b, entropy_f=entropy)
        self.message: bytes = self._side.start()
        """33 bytes for the other side: ``A`` or ``B``, and a point."""

    def __repr__(self) -> str:
        return "Spake2()"

    def finish_untrusted(self, message: bytes) -> bytes:
        """Return the 32-byte key, which the other side has too if its password is the same.

        Can be done once. AuthenticationError for what no other side of this run can have
        sent: its own message come back, or no canonical point of prime order. A wrong
        password is no error here: the keys differ.
        """
        import spake2

        # The library takes a second spelling of some points, zero among them.
        if not is_valid_point(message[1:]):
            raise AuthenticationError
        try:
            key: bytes = self._side.finish(message)
        except spake2.SPAKEError:
            raise AuthenticationError from None
        return key


def equal(left: bytes, right: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)
