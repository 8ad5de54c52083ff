"""What the initiator offers in the clear, and what the responder chooses.

Belongs here: the two values, their bounds, and the prologue that binds the offer.
Never here: handshake messages.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from protocol.encoding import decode, encode
from protocol.errors import LocalError, RemoteProtocolError, UnsupportedError
from protocol.labels import PROLOGUE_CHANNEL
from protocol.limits import MAX_OFFER_BYTES, MAX_RELAY_SESSION_BYTES, MAX_VERSIONS_OFFERED

CHANNEL_VERSION: Final = 1
"""The version that this build speaks; stands in the specification too."""
TEAM_ID_BYTES: Final = 32
_MAX_VERSION: Final = 255


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="offer"):
    """The first message of a channel. Not secret, and bound by the prologue."""

    versions: tuple[int, ...] = (CHANNEL_VERSION,)
    """Versions the initiator speaks, ascending, each 1 to 255."""
    transport: Literal["direct", "relay"] = "direct"
    relay_session: bytes = b""
    """The rendezvous' id of the circuit, at most 64 bytes; empty on a direct channel."""


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="choice"):
    """Payload of the second handshake message."""

    version: int


DIRECT: Final = Offer()
"""What a node offers, and accepts, on a connection of its own."""


def encode_offer(offer: Offer) -> bytes:
    """Return the bytes of an offer of ours; LocalError where it breaks its bounds."""
    problem = _problem(offer)
    if problem:
        raise LocalError(problem)
    return encode(offer)


def decode_offer_untrusted(data: bytes) -> Offer:
    """Return the peer's offer; EncodingError or RemoteProtocolError for a bad one."""
    offer = decode(Offer, data, limit=MAX_OFFER_BYTES)
    problem = _problem(offer)
    if problem:
        raise RemoteProtocolError(problem)
    return offer


def choose_version_untrusted(ours: Offer, theirs: Offer) -> int:
    """Return the highest common version.

    Raises UnsupportedError where there is none, and RemoteProtocolError where the offer speaks
    of another transport or relay circuit than the one that carried it.
    """
    if (ours.transport, ours.relay_session) != (theirs.transport, theirs.relay_session):
        raise RemoteProtocolError("the offer is for another transport")
    common = set(ours.versions) & set(theirs.versions)
    if not common:
        raise UnsupportedError("no common version")
    return max(common)


def prologue(team_id: bytes, offer: bytes) -> bytes:
    """Return label ‖ team_id ‖ the offer's exact bytes; a team_id has 32 bytes."""
    if len(team_id) != TEAM_ID_BYTES:
        raise LocalError("a team_id is 32 bytes")
    return PROLOGUE_CHANNEL + team_id + offer


def encode_choice(version: int) -> bytes:
    """Return the payload of the second handshake message."""
    return encode(Choice(version=version))


def decode_choice_untrusted(payload: bytes, offer: Offer) -> int:
    """Return the version that the responder chose; UnsupportedError for one not offered."""
    choice = decode(Choice, payload, limit=MAX_OFFER_BYTES)
    if choice.version not in offer.versions:
        raise UnsupportedError("the chosen version was not offered")
    return choice.version


def _problem(offer: Offer) -> str:
    versions = offer.versions
    if not 1 <= len(versions) <= MAX_VERSIONS_OFFERED or list(versions) != sorted(set(versions)):
        return "versions of an offer are few, ascending and distinct"
    if versions[0] < 1 or versions[-1] > _MAX_VERSION:
        return f"a version is 1 to {_MAX_VERSION}"
    if len(offer.relay_session) > MAX_RELAY_SESSION_BYTES:
        return f"a relay session is at most {MAX_RELAY_SESSION_BYTES} bytes"
    if (offer.transport == "relay") != bool(offer.relay_session):
        return "a relayed channel names its session, a direct one does not"
    return ""
