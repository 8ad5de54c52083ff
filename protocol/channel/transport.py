"""The transport phase: frames in and out of Noise transport messages.

Belongs here: one cipher for each direction, and when each rekeys.
Never here: what frames mean.
"""

from __future__ import annotations

from protocol.channel.frames import Frame, FrameType, pack_frame, parse_frame_untrusted
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_NOISE_MESSAGE_BYTES, REKEY_MESSAGES
from protocol.noise.cipher_state import CipherState
from protocol.primitives import Data


class Transport:
    """Seals frames to the peer and opens the peer's.

    After every 2^16th message of a direction both sides rekey it, so that keys taken from
    memory later do not open what passed before.
    """

    __slots__ = ("_receiving", "_sending")

    def __init__(self, *, sending: CipherState, receiving: CipherState) -> None:
        self._sending = sending
        self._receiving = receiving

    def seal(self, kind: FrameType, request_id: int, payload: Data = b"") -> bytes:
        """Return the transport message of a frame; LocalProtocolError without nonces left."""
        message = self._sending.encrypt_with_ad(b"", pack_frame(kind, request_id, payload))
        _rekey_when_due(self._sending)
        return message

    def open_untrusted(self, message: bytes) -> Frame:
        """Return the frame of the peer's next message.

        Raises AuthenticationError for a message that is not exactly that, RemoteProtocolError
        for one that is, and breaks a bound.
        """
        if len(message) > MAX_NOISE_MESSAGE_BYTES:
            raise RemoteProtocolError("a Noise message is over its bound")
        plaintext = self._receiving.decrypt_with_ad(b"", message)
        _rekey_when_due(self._receiving)
        return parse_frame_untrusted(plaintext)


def _rekey_when_due(cipher: CipherState) -> None:
    if cipher.n % REKEY_MESSAGES == 0:
        cipher.rekey()
