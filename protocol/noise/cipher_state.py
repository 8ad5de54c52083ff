"""The CipherState of the Noise specification (5.1), with ChaChaPoly (12.3).

Belongs here: one key, its nonce counter n, and the rules for both.
Never here: when a channel rekeys, or what a message means.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import LocalProtocolError
from protocol.primitives import KEY_BYTES, TAG_BYTES, Aead

RESERVED_NONCE: Final = 2**64 - 1
"""The highest n, which only Rekey() uses (specification 4.2 and 5.1)."""


class CipherState:
    """A key k, or none, and the counter n of the messages under it."""

    __slots__ = ("_aead", "n")

    def __init__(self, key: bytes | None = None) -> None:
        self._aead = None if key is None else Aead(key)
        self.n = 0
        """Number of the next message; unchanged by a message that does not verify."""

    def __repr__(self) -> str:
        return f"CipherState(n={self.n})"

    def has_key(self) -> bool:
        """Say whether a key is set; without one, messages pass unencrypted."""
        return self._aead is not None

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        """Return ciphertext ‖ 16-byte tag; LocalProtocolError once the nonces are used up."""
        if self._aead is None:
            return plaintext
        ciphertext = self._aead.seal(self._nonce(), plaintext, ad)
        self.n += 1
        return ciphertext

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        """Return the plaintext; AuthenticationError leaves n as it was.

        LocalProtocolError once the nonces are used up.
        """
        if self._aead is None:
            return ciphertext
        plaintext = self._aead.open(self._nonce(), ciphertext, ad)
        self.n += 1
        return plaintext

    def rekey(self) -> None:
        """Replace k by REKEY(k), which cannot be turned back; n goes on (4.2, 11.3)."""
        if self._aead is None:
            raise LocalProtocolError("a cipher state without a key cannot rekey")
        stream = self._aead.seal(_nonce_bytes(RESERVED_NONCE), bytes(KEY_BYTES))
        self._aead = Aead(stream[:-TAG_BYTES])

    def _nonce(self) -> bytes:
        # 5.1: "the maximum n value (2^64-1) is reserved for other use".
        if self.n >= RESERVED_NONCE:
            raise LocalProtocolError("the nonces of this key are used up")
        return _nonce_bytes(self.n)


def _nonce_bytes(n: int) -> bytes:
    """Return 32 zero bits ‖ n in 64 bits, little-endian (12.3)."""
    return b"\x00\x00\x00\x00" + n.to_bytes(8, "little")
