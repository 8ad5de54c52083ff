"""SLB1 written a second time, from its specification alone and over another library."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import nacl.bindings as sodium
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from protocol.errors import RemoteError
from protocol.sealed_blob import (
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    BlobContext,
    Opener,
    RandomAccess,
    open_sealed,
)

CHUNK = 65_536
KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
SALT = bytes(range(100, 124))
OTHER_SALT = bytes(range(101, 125))
CONTEXT = BlobContext(
    team=bytes([1]) * 32, device=bytes([2]) * 32, image=bytes([3]) * 16, rendition=b"original"
).encode()
OTHER_CONTEXT = BlobContext(
    team=bytes([1]) * 32, device=bytes([2]) * 32, image=bytes([4]) * 16, rendition=b"original"
).encode()


def pixels(size: int) -> bytes:
    """Return the plaintext of the vectors' recipe."""
    return hashlib.shake_128(b"safelight sealed blob").digest(size)


SMALL = pixels(20)
LARGE = pixels(3 * CHUNK + 1000)


@dataclass(frozen=True)
class Reference:
    """SLB1 as docs/spec/sealed-blob.md says it, chunk by chunk, over libsodium and hashlib."""

    key: bytes
    context: bytes
    salt: bytes
    fixed: bytes = b"SLB1\x01\x10\x00\x00"

    def info(self) -> bytes:
        return b"safelight/v1/kdf/sealed-blob\x00" + self.fixed + self.salt + self.context

    def derived(self) -> bytes:
        info = self.info()
        first = hmac.digest(self.key, info + b"\x01", "sha512")
        return (first + hmac.digest(self.key, first + info + b"\x02", "sha512"))[:76]

    def header(self) -> bytes:
        return self.fixed + self.salt + self.derived()[44:]

    def nonce(self, index: int) -> bytes:
        counter = index.to_bytes(12, "big")
        return bytes(a ^ b for a, b in zip(self.derived()[32:44], counter, strict=True))

    def chunk(self, index: int, plaintext: bytes) -> bytes:
        return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
            plaintext, None, self.nonce(index), self.derived()[:32]
        )

    def blob(self, *plaintexts: bytes) -> bytes:
        """Seal these plaintexts as chunks 0, 1, ..., of whatever size they are."""
        return self.header() + b"".join(self.chunk(i, p) for i, p in enumerate(plaintexts))

    def seal(self, plaintext: bytes) -> bytes:
        full = len(plaintext) // CHUNK
        return self.blob(*(plaintext[i * CHUNK : (i + 1) * CHUNK] for i in range(full + 1)))


REFERENCE = Reference(KEY, CONTEXT, SALT)


def stream(
    sealed: bytes,
    *,
    key: bytes = KEY,
    context: bytes = CONTEXT,
    piece: int = 50_000,
    released: list[bytes] | None = None,
) -> bytes:
    """Open a blob as it arrives in pieces; released keeps what came out before an error."""
    parts: list[bytes] = [] if released is None else released
    opener = Opener(key, context, sealed[:HEADER_BYTES])
    for at in range(HEADER_BYTES, len(sealed), piece):
        parts.append(opener.update(sealed[at : at + piece]))
    parts.append(opener.finish())
    return b"".join(parts)


def refuse(sealed: bytes, *, original: bytes, key: bytes = KEY, context: bytes = CONTEXT) -> None:
    """Demand that a blob fails in one piece, streamed and at random, releasing only true bytes."""
    released: list[bytes] = []
    with pytest.raises(RemoteError):
        open_sealed(key, context, sealed)
    with pytest.raises(RemoteError):
        stream(sealed, key=key, context=context, piece=30_000, released=released)
    with pytest.raises(RemoteError):
        read_at_random(sealed, key=key, context=context)

    assert original.startswith(b"".join(released))


def read_at_random(sealed: bytes, *, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    """Open every chunk, the last first."""
    access = RandomAccess(key, context, sealed[:HEADER_BYTES], len(sealed))
    count = access.plain_length // CHUNK + 1
    chunks = []
    for index in reversed(range(count)):
        start = HEADER_BYTES + index * SEALED_CHUNK_BYTES
        chunks.append(access.open_chunk(index, sealed[start : start + SEALED_CHUNK_BYTES]))
    return b"".join(reversed(chunks))


def chunks_of(sealed: bytes) -> list[bytes]:
    body = sealed[HEADER_BYTES:]
    return [body[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(body), SEALED_CHUNK_BYTES)]


def bad_tag(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


# One ciphertext under two keys

PRIME = 2**130 - 5
HIGH = 2**128


def one_time_key(key: bytes, nonce: bytes) -> tuple[int, int]:
    """Return r and s of Poly1305 as RFC 8439 section 2.6 draws them from ChaCha20."""
    keystream = Cipher(ChaCha20(key, bytes(4) + nonce), mode=None).encryptor().update(bytes(32))
    clamp = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    return int.from_bytes(keystream[:16], "little") & clamp, int.from_bytes(
        keystream[16:], "little"
    )


def salamander(one: tuple[bytes, bytes], two: tuple[bytes, bytes]) -> bytes:
    """Return ciphertext ‖ tag that ChaCha20-Poly1305 accepts under both (key, nonce) pairs.

    The ciphertext is three blocks: a counter, the block that is solved for, and zeros. Poly1305
    is a polynomial in r over the blocks modulo 2^130 − 5, plus s modulo 2^128; equal tags are
    one linear equation in the free block, up to a few carries.
    """
    (r1, s1), (r2, s2) = one_time_key(*one), one_time_key(*two)
    lengths = (48 << 64) + HIGH

    def evaluate(r: int, blocks: tuple[int, ...]) -> int:
        total = 0
        for block in blocks:
            total = (total + block) * r % PRIME
        return total

    slope = pow(pow(r1, 3, PRIME) - pow(r2, 3, PRIME), -1, PRIME)
    for counter in range(1000):
        known = (counter + HIGH, 0, HIGH, lengths)
        for carry in range(-4, 5):
            difference = evaluate(r2, known) - evaluate(r1, known) + s2 - s1 + carry * HIGH
            block = difference * slope % PRIME
            if not HIGH <= block < 2 * HIGH:
                continue
            blocks = (known[0], block, *known[2:])
            tags = {(evaluate(r, blocks) + s) % HIGH for r, s in ((r1, s1), (r2, s2))}
            if len(tags) == 1:
                parts = [counter, block - HIGH, 0, tags.pop()]
                return b"".join(part.to_bytes(16, "little") for part in parts)
    raise AssertionError("no salamander")
