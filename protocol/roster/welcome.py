"""WELCOME: the team, sealed to its new member.

Belongs here: the roster's history and the members' addresses, sealed in parts to one
identity, and their opening.
Never here: whether the administrator is the right one (a person compares fingerprints),
or what joining writes.
Specification: docs/spec/welcome.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from protocol.encoding import decode, encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    LocalError,
    RemoteProtocolError,
)
from protocol.identity import Identity, LocalIdentity, is_address
from protocol.labels import NO_TEAM, PROLOGUE_WELCOME
from protocol.limits import (
    MAX_RENDEZVOUS_ADDRESS_BYTES,
    MAX_SEALED_PLAINTEXT_BYTES,
    MAX_WELCOME_ADDRESSES,
    MAX_WELCOME_BYTES,
)
from protocol.noise.one_way import SEALED_OVERHEAD_BYTES, open_from_untrusted, seal_to
from protocol.primitives import Entropy
from protocol.rendezvous.address import RendezvousAddress, parse_rendezvous_address
from protocol.roster.metadata import ADMIN
from protocol.roster.trusted import TrustedRoster

Address = tuple[bytes, str, int]
"""Fingerprint of a member, host, port."""


class Welcome(msgspec.Struct, frozen=True, tag="welcome", forbid_unknown_fields=True, kw_only=True):
    """What a new member needs to begin."""

    rosters: tuple[bytes, ...]
    """Every signed version from 1 on, the exact bytes."""
    addresses: Annotated[
        tuple[tuple[bytes, str, int], ...], msgspec.Meta(max_length=MAX_WELCOME_ADDRESSES)
    ]
    """(fingerprint, host, port) of members, in no order. Hints: unusable ones are left out."""
    rendezvous: Annotated[str, msgspec.Meta(max_length=MAX_RENDEZVOUS_ADDRESS_BYTES)]
    """Text of the address of the team's rendezvous, or empty. A hint, as the addresses."""


# "SLW1" | welcome id 16 | u16be number of parts N | N parts
# part: Noise X of the next MAX_SEALED_PLAINTEXT_BYTES of the encoded Welcome; all are full but
# the last, which has at least one byte. Prologue: label ‖ 32 zero bytes ‖ the 22 bytes of the
# header ‖ u16be part number from 0. So parts of two WELCOMEs never mix.

_MAGIC: Final = b"SLW1"
_ID_BYTES: Final = 16
_HEADER_BYTES: Final = len(_MAGIC) + _ID_BYTES + 2
_PART_BYTES: Final = MAX_SEALED_PLAINTEXT_BYTES + SEALED_OVERHEAD_BYTES


def _prologue(header: bytes, part: int) -> bytes:
    return PROLOGUE_WELCOME + NO_TEAM + header + part.to_bytes(2, "big")


def seal_welcome(
    *,
    rosters: Iterable[bytes],
    addresses: Iterable[Address],
    sender: LocalIdentity,
    recipient: Identity,
    entropy: Entropy,
    rendezvous: str = "",
) -> bytes:
    """Return a WELCOME that only recipient can open.

    ``rosters`` are all signed versions from 1 on, the newest with recipient as a member;
    ``rendezvous`` is the text of its address where the team has one.
    LimitError where the whole would be over MAX_WELCOME_BYTES.
    """
    plaintext = encode(
        Welcome(rosters=tuple(rosters), addresses=tuple(addresses), rendezvous=rendezvous)
    )
    pieces = [
        plaintext[start : start + MAX_SEALED_PLAINTEXT_BYTES]
        for start in range(0, len(plaintext), MAX_SEALED_PLAINTEXT_BYTES)
    ]
    if len(plaintext) + len(pieces) * SEALED_OVERHEAD_BYTES + _HEADER_BYTES > MAX_WELCOME_BYTES:
        raise LimitError("the roster's history does not fit a WELCOME")
    header = _MAGIC + entropy(_ID_BYTES) + len(pieces).to_bytes(2, "big")
    return header + b"".join(
        seal_to(
            sender_secret=sender.agreement_secret,
            recipient_public=recipient.agreement_key,
            prologue=_prologue(header, part),
            plaintext=piece,
            entropy=entropy,
        )
        for part, piece in enumerate(pieces)
    )


def open_welcome_untrusted(
    data: bytes, *, recipient: LocalIdentity
) -> tuple[Identity, TrustedRoster, tuple[Address, ...], RendezvousAddress | None]:
    """Return who sent a WELCOME, the team, where its members listen, and its rendezvous.

    The sender is an administrator of the newest version and recipient a member of it.
    That proves nothing about who the sender is: a person compares its fingerprint before
    the roster is used, and the caller asks whether it has expired. Raises EncodingError
    for bytes that are no WELCOME, AuthenticationError for one that does not open here or
    was changed, and what `TrustedRoster.load_untrusted` raises.
    """
    sender, plaintext = _open_parts_untrusted(data, recipient)
    welcome = decode(Welcome, plaintext, limit=MAX_WELCOME_BYTES)
    trusted = TrustedRoster.load_untrusted(welcome.rosters)
    administrator = trusted.by_agreement.get(sender)
    if administrator is None or trusted.role_of(administrator.fingerprint) != ADMIN:
        raise AuthenticationError("WELCOME: not from an administrator of its team")
    if recipient.public.fingerprint not in trusted.members:
        raise AuthenticationError("WELCOME: to a team that this identity is not in")
    usable = tuple(
        (fingerprint, host, port)
        for fingerprint, host, port in welcome.addresses
        if fingerprint in trusted.members and is_address(host, port)
    )
    return administrator, trusted, usable, _rendezvous_untrusted(welcome.rendezvous)


def _rendezvous_untrusted(text: str) -> RendezvousAddress | None:
    """Return the address of a rendezvous; None for an empty or unusable text."""
    try:
        return parse_rendezvous_address(text) if text else None
    except LocalError:
        return None


def _open_parts_untrusted(data: bytes, recipient: LocalIdentity) -> tuple[bytes, bytes]:
    """Return the one sender's agreement key and the joined plaintext."""
    header, sealed = data[:_HEADER_BYTES], data[_HEADER_BYTES:]
    parts = [sealed[start : start + _PART_BYTES] for start in range(0, len(sealed), _PART_BYTES)]
    if len(data) > MAX_WELCOME_BYTES or not header.startswith(_MAGIC) or not parts:
        raise EncodingError("WELCOME: not one")
    if int.from_bytes(header[-2:], "big") != len(parts):
        raise EncodingError("WELCOME: a part is missing")
    senders: set[bytes] = set()
    plaintext = bytearray()
    for number, part in enumerate(parts):
        try:
            sender, piece = open_from_untrusted(
                recipient_secret=recipient.agreement_secret,
                prologue=_prologue(header, number),
                sealed=part,
            )
        except RemoteProtocolError:
            raise AuthenticationError from None
        senders.add(sender)
        plaintext += piece
    if len(senders) != 1:
        raise AuthenticationError("WELCOME: its parts are from several senders")
    return senders.pop(), bytes(plaintext)
