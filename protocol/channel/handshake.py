"""The opening of a channel: the clear offer and the three messages of XK.

Belongs here: what each message carries, in order.
Never here: which message comes next (``states``), timers, frames.

    initiator                                  responder
    offer {versions, transport, session}  -->
    e, es                                 -->
                                          <--  e, ee  {chosen version}
    s, se                                 -->
"""

from __future__ import annotations

from protocol.channel.events import Established
from protocol.channel.offer import (
    Offer,
    choose_version_untrusted,
    decode_choice_untrusted,
    decode_offer_untrusted,
    encode_choice,
    encode_offer,
    prologue,
)
from protocol.channel.states import Role
from protocol.channel.transport import Transport
from protocol.errors import LocalError, RemoteProtocolError
from protocol.noise.handshake_state import HandshakeState
from protocol.noise.patterns import XK
from protocol.primitives import Entropy


class Handshake:
    """One side of the opening. The initiator's ``remote_static`` is the key it wants to reach.

    ``offer`` is what the initiator sends; for the responder it says what it speaks, and over
    which transport the connection came.
    """

    def __init__(
        self,
        *,
        role: Role,
        static_secret: bytes,
        remote_static: bytes | None,
        team_id: bytes,
        entropy: Entropy,
        offer: Offer,
    ) -> None:
        if (role is Role.INITIATOR) != (remote_static is not None):
            raise LocalError("an initiator names the key to reach, a responder does not")
        self._role = role
        self._static_secret = static_secret
        self._remote_static = remote_static
        self._team_id = team_id
        self._entropy = entropy
        self._offer = offer
        self._offer_bytes = encode_offer(offer)
        # Made by both roles, so that bad keys of ours fail here; the responder's is replaced
        # when the offer that its prologue holds is known.
        self._noise = self._begin(self._offer_bytes)
        self._version = 0

    def write_first(self) -> list[bytes]:
        """Return the clear offer and the first handshake message (initiator)."""
        return [self._offer_bytes, self._noise.write_message(b"")]

    def read_offer_untrusted(self, data: bytes) -> None:
        """Take the clear offer and choose a version (responder)."""
        self._version = choose_version_untrusted(self._offer, decode_offer_untrusted(data))
        self._noise = self._begin(data)

    def answer_first_untrusted(self, data: bytes) -> bytes:
        """Take the first handshake message, return the second (responder)."""
        _no_payload(self._noise.read_message_untrusted(data))
        return self._noise.write_message(encode_choice(self._version))

    def answer_second_untrusted(self, data: bytes) -> bytes:
        """Take the second handshake message, return the third (initiator)."""
        payload = self._noise.read_message_untrusted(data)
        self._version = decode_choice_untrusted(payload, self._offer)
        return self._noise.write_message(b"")

    def read_third_untrusted(self, data: bytes) -> None:
        """Take the third handshake message, which names the initiator (responder)."""
        _no_payload(self._noise.read_message_untrusted(data))

    def finish(self) -> tuple[Established, Transport]:
        """Return what both sides have agreed on. The handshake's own keys end with this object."""
        remote_static = self._noise.rs
        assert remote_static is not None
        established = Established(
            remote_static=remote_static,
            handshake_hash=self._noise.handshake_hash,
            version=self._version,
        )
        to_responder, to_initiator = self._noise.split()
        if self._role is Role.INITIATOR:
            return established, Transport(sending=to_responder, receiving=to_initiator)
        return established, Transport(sending=to_initiator, receiving=to_responder)

    def _begin(self, offer: bytes) -> HandshakeState:
        return HandshakeState(
            XK,
            initiator=self._role is Role.INITIATOR,
            prologue=prologue(self._team_id, offer),
            s=self._static_secret,
            rs=self._remote_static,
            entropy=self._entropy,
        )


def _no_payload(payload: bytes) -> None:
    if payload:
        raise RemoteProtocolError("a handshake message carries a payload it may not")
