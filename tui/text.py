"""The one sanitiser between what the node tells and what a terminal gets.

Belongs here: cleaning text, and putting it into objects that are never read as markup.
Never here: words of the screens themselves, or colours.

Names, comments, terms and reasons come from other people's nodes. Whatever of them reaches a
widget has passed `clean` (the gateway cleans every answer whole), and stands in a ``Content`` or
a ``Text``: no widget here is given a string that it would read as markup.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from rich.cells import cell_len

from node.cli.text import clean as clean_lines
from node.cli.text import clean_line

MOST_LETTERS: Final = 4_000
"""Of one text on a screen: more is cut. Terms and comments are shorter."""

_RAW: Final = frozenset({"data", "rgb", "thumbnails", "welcome", "identity_file"})
"""Fields that hold base64, which is nobody's text and may be long."""


_BOTH_ENDS: Final = 10
"""Cells from which both ends of a text that is cut say something."""

_LINED: Final = frozenset({"proof"})
"""Fields whose lines mean something."""
_MOST_LINES: Final = 500


def clean(text: str) -> str:
    """Return text on one line, without controls, formats and private letters, in NFC."""
    cut = text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return unicodedata.normalize("NFC", clean_line(cut))


def letters(text: str) -> str:
    """Return what was pasted, or is the name of a file, without what a terminal would act upon."""
    return clean_lines(text).replace("\n", "")


def clean_answer(value: Any, field: str = "") -> Any:
    """Return an answer of the node with every text in it cleaned, keys included."""
    if isinstance(value, str):
        if field in _LINED:
            return "\n".join(clean(line) for line in value.split("\n")[:_MOST_LINES])
        return value if field in _RAW else clean(value)
    if isinstance(value, list):
        return [clean_answer(one, field) for one in value]
    if isinstance(value, dict):
        return {
            clean(str(name)): clean_answer(one, field if field in _RAW else str(name))
            for name, one in value.items()
        }
    return value


def fit(text: str, width: int) -> str:
    """Return text in exactly width cells: cut with an ellipsis, or filled with spaces."""
    length = cell_len(text)
    if length <= width:
        return text + " " * (width - length)
    kept, used = [], 0
    for letter in text:
        cells = cell_len(letter)
        if used + cells > width - 1:
            break
        kept.append(letter)
        used += cells
    if width <= 0:
        return ""
    return "".join(kept) + "…" + " " * (width - 1 - used)


def fit_ends(text: str, width: int) -> str:
    """Return text in exactly width cells: cut in its middle, for names that differ at the end."""
    if cell_len(text) <= width or width < _BOTH_ENDS:
        return fit(text, width)
    end = text[-(width // 2 - 1) :]
    while cell_len(end) > width // 2 - 1:
        end = end[1:]
    return fit(fit(text, width - cell_len(end)).rstrip() + end, width)


def plural(count: int, one: str, many: str = "") -> str:
    """Return ``3 pictures`` or ``1 picture``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
