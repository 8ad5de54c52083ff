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

_MARKS: Final = frozenset({"Mn", "Me"})
_MOST_MARKS: Final = 4
"""Marks on one letter: more than scripts have, and they would run over the lines around it."""


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
    kept: list[str] = []
    marks = 0
    for letter in line.replace("\t", " "):
        category = unicodedata.category(letter)
        marks = marks + 1 if category in _MARKS else 0
        if category not in _DROPPED and marks <= _MOST_MARKS:
            kept.append(letter)
    return "".join(kept)
