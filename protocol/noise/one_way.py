"""Sealing to a person: Noise one-way X from one agreement key to another (architecture 4.1).

Belongs here: one message out, one message in.
Never here: what is sealed, or which prologue binds it.

What it gives: only the recipient reads it, and the recipient learns the sender's agreement key.
Whoever holds the recipient's secret can also forge messages to the recipient, so what is sealed
carries a signature of its own wherever that matters.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import LimitError, RemoteProtocolError
from protocol.limits import MAX_SEALED_PLAINTEXT_BYTES
from protocol.noise.handshake_state import HandshakeState
from protocol.noise.patterns import X
from protocol.primitives import KEY_BYTES, TAG_BYTES, Entropy

# Sealed message:
#   0   32  e, the sender's ephemeral public key
#   32  48  s, the sender's static public key, encrypted, with its tag
#   80   n  plaintext, encrypted, with its 16-byte tag
SEALED_OVERHEAD_BYTES: Final = 2 * KEY_BYTES + 2 * TAG_BYTES
"""How much longer a sealed message is than its plaintext."""


def seal_to(
    *,
    sender_secret: bytes,
    recipient_public: bytes,
    prologue: bytes,
    plaintext: bytes,
    entropy: Entropy,
) -> bytes:
    """Return plaintext (at most 60,000 bytes) sealed to recipient_public under prologue.

    Raises LimitError for a longer plaintext, LocalError where sender and recipient are one,
    AuthenticationError where recipient_public is a low-order point.
    """
    if len(plaintext) > MAX_SEALED_PLAINTEXT_BYTES:
        raise LimitError(f"at most {MAX_SEALED_PLAINTEXT_BYTES} bytes are sealed at once")
    handshake = HandshakeState(
        X,
        initiator=True,
        prologue=prologue,
        s=sender_secret,
        rs=recipient_public,
        entropy=entropy,
    )
    return handshake.write_message(plaintext)


def open_from_untrusted(
    *, recipient_secret: bytes, prologue: bytes, sealed: bytes
) -> tuple[bytes, bytes]:
    """Return the sender's public key and the plaintext.

    Raises RemoteProtocolError for an impossible length and AuthenticationError for everything
    else: another recipient, another prologue, a changed byte, a message of our own.
    """
    if not 0 <= len(sealed) - SEALED_OVERHEAD_BYTES <= MAX_SEALED_PLAINTEXT_BYTES:
        raise RemoteProtocolError(f"a sealed message cannot have {len(sealed)} bytes")
    handshake = HandshakeState(
        X, initiator=False, prologue=prologue, s=recipient_secret, entropy=None
    )
    plaintext = handshake.read_message_untrusted(sealed)
    sender = handshake.rs
    assert sender is not None
    return sender, plaintext
