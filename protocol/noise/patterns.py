"""Handshake patterns in the words of the Noise specification (7).

Belongs here: the token alphabet and the patterns that Safelight speaks.
Never here: processing of tokens, or patterns that only published vectors need.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Token(StrEnum):
    """One step of a message pattern; in the two-letter ones the initiator's key comes first."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    SS = "ss"
    PSK = "psk"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakePattern:
    """Who knows what beforehand, and what each message carries, initiator first."""

    name: str
    """Pattern name with its psk modifiers, as it stands in a protocol name."""
    initiator_known: bool = False
    """Pre-message ``-> s``: the responder has the initiator's static key already."""
    responder_known: bool = False
    """Pre-message ``<- s``: the initiator has the responder's static key already."""
    messages: tuple[tuple[Token, ...], ...]

    @property
    def psk_count(self) -> int:
        """How many pre-shared keys the pattern consumes."""
        return sum(tokens.count(Token.PSK) for tokens in self.messages)


XK: Final = HandshakePattern(
    name="XK",
    responder_known=True,
    messages=((Token.E, Token.ES), (Token.E, Token.EE), (Token.S, Token.SE)),
)
"""Between members: the responder's key is in the roster, the initiator's stays hidden."""

XXPSK0: Final = HandshakePattern(
    name="XXpsk0",
    messages=(
        (Token.PSK, Token.E),
        (Token.E, Token.EE, Token.S, Token.ES),
        (Token.S, Token.SE),
    ),
)
"""Joining: neither side knows the other's key, both know what a code proved."""

X: Final = HandshakePattern(
    name="X",
    responder_known=True,
    messages=((Token.E, Token.ES, Token.S, Token.SS),),
)
"""One way: sealing to a person."""
