"""The SymmetricState of the Noise specification (5.2) and its hash functions (4.3).

Belongs here: the chaining key ck, the handshake hash h, and how both absorb input.
Never here: keys of people, patterns, or messages as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.noise.cipher_state import CipherState
from protocol.primitives import KEY_BYTES, blake2b, hmac_blake2b


@dataclass(frozen=True, slots=True, kw_only=True)
class HashFunction:
    """A hash of the specification (4.3) with its HMAC."""

    name: str
    """As it stands in a protocol name."""
    hash_bytes: int
    """HASHLEN."""
    digest: Callable[[bytes], bytes]
    hmac: Callable[[bytes, bytes], bytes]
    """HMAC-HASH(key, data)."""


BLAKE2B: Final = HashFunction(
    name="BLAKE2b",
    hash_bytes=64,
    digest=lambda data: blake2b(data, size=64),
    hmac=hmac_blake2b,
)


class SymmetricState:
    """Key material and transcript of one handshake, whoever takes part."""

    __slots__ = ("_cipher", "_ck", "_function", "h")

    def __init__(self, protocol_name: str, function: HashFunction = BLAKE2B) -> None:
        # InitializeSymmetric: a name that fits is padded with zeros, a longer one is hashed.
        name = protocol_name.encode()
        fits = len(name) <= function.hash_bytes
        self._function = function
        self._cipher = CipherState()
        self.h = name.ljust(function.hash_bytes, b"\x00") if fits else function.digest(name)
        """Hash of everything both sides have sent and known so far."""
        self._ck = self.h

    def __repr__(self) -> str:
        return f"SymmetricState(h={self.h.hex()})"

    def has_key(self) -> bool:
        """Say whether payloads are encrypted by now."""
        return self._cipher.has_key()

    def mix_key(self, input_key_material: bytes) -> None:
        """Absorb a secret into ck and take a new encryption key from it."""
        self._ck, key = self._hkdf(input_key_material, 2)
        self._cipher = CipherState(key[:KEY_BYTES])

    def mix_hash(self, data: bytes) -> None:
        """Absorb public data into h."""
        self.h = self._function.digest(self.h + data)

    def mix_key_and_hash(self, input_key_material: bytes) -> None:
        """Absorb a pre-shared key into ck and h."""
        self._ck, temp_h, key = self._hkdf(input_key_material, 3)
        self.mix_hash(temp_h)
        self._cipher = CipherState(key[:KEY_BYTES])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Encrypt under h where there is a key, and absorb the result."""
        ciphertext = self._cipher.encrypt_with_ad(self.h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Decrypt under h where there is a key, and absorb the input.

        Raises AuthenticationError with h unchanged.
        """
        plaintext = self._cipher.decrypt_with_ad(self.h, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the transport ciphers: initiator to responder, responder to initiator."""
        first, second = self._hkdf(b"", 2)
        return CipherState(first[:KEY_BYTES]), CipherState(second[:KEY_BYTES])

    def _hkdf(self, input_key_material: bytes, outputs: int) -> list[bytes]:
        """Return HKDF(ck, input, outputs) of the specification (4.3): HASHLEN bytes each."""
        hmac = self._function.hmac
        secret = hmac(self._ck, input_key_material)
        results: list[bytes] = []
        previous = b""
        for number in range(1, outputs + 1):
            previous = hmac(secret, previous + bytes([number]))
            results.append(previous)
        return results
