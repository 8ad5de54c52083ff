"""SPAKE2 as docs/spec/joining.md writes it, over libsodium's group and nothing else."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import nacl.bindings as sodium

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
M: Final = bytes.fromhex("15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312")
N: Final = bytes.fromhex("f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3")


def scalar(number: int) -> bytes:
    """Return a number modulo the order, as libsodium takes it."""
    return (number % ORDER).to_bytes(32, "little")


def password_scalar(password: bytes) -> int:
    """Return HKDF-SHA-256 of a password, read as a big-endian number."""
    key = hmac.digest(bytes(32), password, "sha256")
    first = hmac.digest(key, b"SPAKE2 pw\x01", "sha256")
    second = hmac.digest(key, first + b"SPAKE2 pw\x02", "sha256")
    return int.from_bytes((first + second)[:48], "big") % ORDER


def message(*, first: bool, password: bytes, entropy: bytes) -> bytes:
    """Return the message of one side, whose secret is 64 bytes of entropy."""
    secret = int.from_bytes(entropy, "big")
    mask = sodium.crypto_scalarmult_ed25519_noclamp(
        scalar(password_scalar(password)), M if first else N
    )
    point = sodium.crypto_core_ed25519_add(
        sodium.crypto_scalarmult_ed25519_base_noclamp(scalar(secret)), mask
    )
    return (b"A" if first else b"B") + point


def key(
    *, first: bool, password: bytes, entropy: bytes, theirs: bytes, id_a: bytes, id_b: bytes
) -> bytes:
    """Return the key of one side that got the message theirs."""
    own = message(first=first, password=password, entropy=entropy)
    mask = sodium.crypto_scalarmult_ed25519_noclamp(
        scalar(password_scalar(password)), N if first else M
    )
    shared = sodium.crypto_scalarmult_ed25519_noclamp(
        scalar(int.from_bytes(entropy, "big")), sodium.crypto_core_ed25519_sub(theirs[1:], mask)
    )
    of_a, of_b = (own, theirs) if first else (theirs, own)
    hashed = [hashlib.sha256(part).digest() for part in (password, id_a, id_b)]
    return hashlib.sha256(b"".join((*hashed, of_a[1:], of_b[1:], shared))).digest()
