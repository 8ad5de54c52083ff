"""The HandshakeState of the Noise specification (5.3).

Belongs here: one side's walk through the tokens of a pattern, and its failure rules.
Never here: payload formats, prologue contents, or what follows Split().

Failure rules
- A message that fails in any way ends the handshake: every later call is refused.
- A remote static key equal to our own is a reflection and fails.
- A Diffie-Hellman result of zero (a low-order point) fails as a wrong tag does.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import (
    AuthenticationError,
    LimitError,
    LocalError,
    LocalProtocolError,
    RemoteProtocolError,
)
from protocol.limits import MAX_NOISE_MESSAGE_BYTES
from protocol.noise.cipher_state import CipherState
from protocol.noise.patterns import HandshakePattern, Token
from protocol.noise.symmetric_state import BLAKE2B, HashFunction, SymmetricState
from protocol.primitives import KEY_BYTES, TAG_BYTES, Entropy, x25519, x25519_public

# Which of our keys and which of theirs a token multiplies, for the initiator. The responder's
# are the other way round.
_DIFFIE_HELLMAN: Final = {
    Token.EE: ("e", "e"),
    Token.ES: ("e", "s"),
    Token.SE: ("s", "e"),
    Token.SS: ("s", "s"),
}

_FAILED: Final = -1
"""Position of a handshake that a bad message has ended."""


class HandshakeState:
    """One side of one handshake.

    ``s`` is our static secret and ``rs`` the remote static public key, 32 bytes each, where the
    pattern needs them beforehand; ``psks`` are 32 bytes each, in the order of use. The ephemeral
    secret is 32 bytes of ``entropy``, which a side that only reads does without. LocalError for
    keys that the pattern lacks or cannot use.
    """

    __slots__ = (
        "_entropy",
        "_initiator",
        "_keys",
        "_pattern",
        "_position",
        "_psk_mode",
        "_remote",
        "_symmetric",
        "_unused_psks",
    )

    def __init__(
        self,
        pattern: HandshakePattern,
        *,
        initiator: bool,
        prologue: bytes,
        s: bytes | None,
        entropy: Entropy | None,
        rs: bytes | None = None,
        psks: tuple[bytes, ...] = (),
        function: HashFunction = BLAKE2B,
    ) -> None:
        if any(len(key) != KEY_BYTES for key in (s, rs, *psks) if key is not None):
            raise LocalError("a Noise key is 32 bytes")
        if len(psks) != pattern.psk_count:
            raise LocalError(f"{pattern.name} takes {pattern.psk_count} pre-shared keys")
        self._pattern = pattern
        self._initiator = initiator
        self._entropy = entropy
        self._psk_mode = bool(psks)
        self._unused_psks = iter(psks)
        self._position = 0
        # Letter to (secret, public) of ours, letter to public of theirs.
        self._keys = {} if s is None else {"s": (s, x25519_public(s))}
        self._remote: dict[str, bytes] = {}
        if rs is not None:
            if self._is_ours(rs):
                raise LocalError("the remote static key is our own")
            self._remote["s"] = rs
        self._symmetric = SymmetricState(
            f"Noise_{pattern.name}_25519_ChaChaPoly_{function.name}", function
        )
        self._symmetric.mix_hash(prologue)
        for of_initiator, known in (
            (True, pattern.initiator_known),
            (False, pattern.responder_known),
        ):
            if known:
                self._symmetric.mix_hash(self._known_static(ours=of_initiator == initiator))

    def __repr__(self) -> str:
        role = "initiator" if self._initiator else "responder"
        return f"HandshakeState({self._pattern.name}, {role}, message {self._position})"

    @property
    def complete(self) -> bool:
        """Whether the last message of the pattern has passed."""
        return self._position == len(self._pattern.messages)

    @property
    def handshake_hash(self) -> bytes:
        """The final h: equal on both sides, different for every handshake (11.2)."""
        if not self.complete:
            raise LocalProtocolError("the handshake is not complete")
        return self._symmetric.h

    @property
    def rs(self) -> bytes | None:
        """The remote static public key, as soon as it is known."""
        return self._remote.get("s")

    def write_message(self, payload: bytes) -> bytes:
        """Return the next message, carrying payload; LimitError where it would be too long."""
        tokens = self._next_tokens(writing=True)
        position, self._position = self._position, _FAILED
        parts = [self._write_token(token) for token in tokens]
        parts.append(self._symmetric.encrypt_and_hash(payload))
        message = b"".join(parts)
        if len(message) > MAX_NOISE_MESSAGE_BYTES:
            raise LimitError(f"a Noise message is at most {MAX_NOISE_MESSAGE_BYTES} bytes")
        self._position = position + 1
        return message

    def read_message_untrusted(self, message: bytes) -> bytes:
        """Return the payload of the peer's next message.

        Raises AuthenticationError for a tag, a reflected key or a low-order point, and
        RemoteProtocolError for a message too short or too long. Both end the handshake.
        """
        tokens = self._next_tokens(writing=False)
        position, self._position = self._position, _FAILED
        if len(message) > MAX_NOISE_MESSAGE_BYTES:
            raise RemoteProtocolError("a Noise message is over its bound")
        rest = message
        for token in tokens:
            rest = self._read_token_untrusted(token, rest)
        if self._symmetric.has_key() and len(rest) < TAG_BYTES:
            raise RemoteProtocolError("a Noise message is cut short")
        payload = self._symmetric.decrypt_and_hash(rest)
        self._position = position + 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the transport ciphers: initiator to responder, responder to initiator."""
        if not self.complete:
            raise LocalProtocolError("the handshake is not complete")
        return self._symmetric.split()

    def _next_tokens(self, *, writing: bool) -> tuple[Token, ...]:
        if not 0 <= self._position < len(self._pattern.messages):
            raise LocalProtocolError("the handshake is over")
        if (self._position % 2 == 0) != (writing == self._initiator):
            raise LocalProtocolError("it is the other side's turn")
        return self._pattern.messages[self._position]

    def _write_token(self, token: Token) -> bytes:
        if token is Token.E:
            if self._entropy is None:
                raise LocalError("a side that writes an ephemeral key needs entropy")
            secret = self._entropy(KEY_BYTES)
            public = x25519_public(secret)
            self._keys["e"] = (secret, public)
            self._mix_ephemeral(public)
            return public
        if token is Token.S:
            return self._symmetric.encrypt_and_hash(self._known_static(ours=True))
        self._mix_token(token)
        return b""

    def _read_token_untrusted(self, token: Token, message: bytes) -> bytes:
        """Take token's part off the front of message; return what is left."""
        if token is Token.E:
            public, rest = _cut(message, KEY_BYTES)
            self._remote["e"] = public
            self._mix_ephemeral(public)
            return rest
        if token is Token.S:
            length = KEY_BYTES + (TAG_BYTES if self._symmetric.has_key() else 0)
            sealed, rest = _cut(message, length)
            public = self._symmetric.decrypt_and_hash(sealed)
            if self._is_ours(public):
                raise AuthenticationError
            self._remote["s"] = public
            return rest
        self._mix_token(token)
        return message

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        # 9.2: a psk handshake also keys on its ephemerals, so that no nonce repeats under a psk.
        if self._psk_mode:
            self._symmetric.mix_key(public)

    def _mix_token(self, token: Token) -> None:
        if token is Token.PSK:
            self._symmetric.mix_key_and_hash(next(self._unused_psks))
            return
        ours, theirs = _DIFFIE_HELLMAN[token]
        if not self._initiator:
            ours, theirs = theirs, ours
        self._symmetric.mix_key(x25519(self._keys[ours][0], self._remote[theirs]))

    def _known_static(self, *, ours: bool) -> bytes:
        if "s" not in (self._keys if ours else self._remote):
            raise LocalError(f"{self._pattern.name} needs a static key that was not given")
        return self._keys["s"][1] if ours else self._remote["s"]

    def _is_ours(self, public: bytes) -> bool:
        return "s" in self._keys and self._keys["s"][1] == public


def _cut(message: bytes, length: int) -> tuple[bytes, bytes]:
    if len(message) < length:
        raise RemoteProtocolError("a Noise message is cut short")
    return message[:length], message[length:]
