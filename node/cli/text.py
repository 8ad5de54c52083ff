"""The last line of defence between somebody's text and a terminal.

Belongs here: dropping what a terminal would act upon or that misleads a reader.
Never here: the sanitiser of the trust boundary (``protocol.identity.clean_text``),
which every received name has already passed.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_DROPPED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories: controls, formats (bidi among them), surrogates, private, separators."""


def clean(text: str) -> str:
    """Return text that a terminal shows and does nothing else with; lines stay lines."""
    if text.isascii() and text.isprintable():
        return text
    return "\n".join(_clean(line) for line in text.split("\n"))


def clean_line(text: str) -> str:
    """Return text that a terminal shows on one line."""
    if text.isascii() and text.isprintable():
        return text
    return " ".join(_clean(line) for line in text.split("\n")).strip()


def _clean(line: str) -> str:
    spaced = line.replace("\t", " ")
    return "".join(letter for letter in spaced if unicodedata.category(letter) not in _DROPPED)
