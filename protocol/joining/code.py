"""The invitation code: what one person reads to another, as ``7-canyon-lava``.

Belongs here: the code as a value, its text, and fresh words.
Never here: the protocol that proves it (``session``), or how long one is good.
Specification: docs/spec/joining.md, "Code".
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Final

from mnemonic import Mnemonic

from protocol.errors import LocalError
from protocol.limits import CODE_WORDS, MAX_INVITATION_NUMBER
from protocol.primitives import Entropy

_HINT: Final = "a code is a number and two words, as 7-canyon-lava"
_WORD_BITS: Final = 11
"""2,048 words."""


@functools.cache
def _words() -> tuple[str, ...]:
    return tuple(Mnemonic("english").wordlist)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationCode:
    """A code that somebody may join with, once. Its words are secret, its number is not."""

    number: int
    """What names the invitation on a network or a rendezvous: 1 to MAX_INVITATION_NUMBER."""
    words: tuple[str, ...] = field(repr=False)
    """CODE_WORDS words of the BIP-39 list."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= MAX_INVITATION_NUMBER:
            raise LocalError(
                "this is not an invitation code",
                hint=f"its number is 1 to {MAX_INVITATION_NUMBER}",
            )
        if len(self.words) != CODE_WORDS:
            raise LocalError("this is not an invitation code", hint=_HINT)
        unknown = [word for word in self.words if word not in _words()]
        if unknown:
            # Such a word is in nobody's code, so naming it tells nothing of one.
            raise LocalError(
                "this is not an invitation code",
                hint=f"the list of words has no {unknown[0][:32]!a}",
            )

    @property
    def text(self) -> str:
        """The code as it is read out: secret."""
        return "-".join((str(self.number), *self.words))


def parse_code(text: str) -> InvitationCode:
    """Read a code in any case, with hyphens or white space between its parts.

    LocalError for anything else; its hint names a word that is not in the list.
    """
    parts = text.replace("-", " ").lower().split()
    # str.isdecimal and int take the digits of every script.
    if not parts or not parts[0].isascii() or not parts[0].isdecimal() or len(parts[0]) > 4:
        raise LocalError("this is not an invitation code", hint=_HINT)
    return InvitationCode(number=int(parts[0]), words=tuple(parts[1:]))


def new_words(entropy: Entropy) -> tuple[str, str]:
    """Draw the two words of a new code, each of the 2,048 alike."""
    number = int.from_bytes(entropy(4), "big")
    words = _words()
    mask = len(words) - 1
    return words[number & mask], words[number >> _WORD_BITS & mask]
