"""Everything the command writes to stdout.

Belongs here: JSON documents, tables, details, lines and pictures.
Never here: messages and prompts (``diagnostics``), or what a command does.

With `--json` one document and nothing else; for people text whose every value is
cleaned, since names of pictures and people came from somewhere. Colour only on a
terminal, and never where NO_COLOR is set.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from node.cli.text import clean, clean_line

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: Final = {
    "live": "green",
    "unlocked": "green",
    "lan": "green",
    "relay": "green",
    "pending": "yellow",
    "locked": "yellow",
    "expired": "dim",
    "exhausted": "dim",
    "stopped": "dim",
    "none": "dim",
    "revoked": "red",
    "denied": "red",
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
}
"""Colours of states. The word itself always stands there too."""

_PIPED_WIDTH: Final = 10_000
"""Columns where nothing is a terminal: a script's lines are never wrapped."""


def is_terminal() -> bool:
    """Say whether a person looks at stdout."""
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def colourful() -> bool:
    """Say whether colour may be written."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def document(value: Any) -> None:
    """Write one JSON document on one line. ASCII only, so that no terminal acts on it."""
    raw(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")


def present(result: Any, people: Callable[[Any], None], *, as_json: bool) -> None:
    """Write a result: as the JSON document that scripts rely on, or as people read it."""
    if as_json:
        document(result)
    else:
        people(result)


def line(text: str) -> None:
    """Write text for people, cleaned."""
    raw(clean(text) + "\n")


def raw(text: str) -> None:
    """Write text of our own making as it is: pictures, completion scripts."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Write rows under a heading, or one sentence where there are none.

    A cell shows its value as `plain` has it; known states get their colour.
    """
    from rich.table import Table
    from rich.text import Text

    cells = [[plain(value) for value in row] for row in rows]
    if not cells:
        line(empty)
        return
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, heading in enumerate(columns):
        numbers = all(row[index].isdigit() or not row[index] for row in cells)
        grid.add_column(
            Text(clean_line(heading)), justify="right" if numbers else "left", overflow="fold"
        )
    for row in cells:
        grid.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    _render(grid)


def details(facts: Mapping[str, Any]) -> None:
    """Write an object: its plain facts one a line, then its lists of objects as tables."""
    tables = {name: value for name, value in facts.items() if _is_rows(value)}
    lines = {_words(name): fact(name, facts[name]) for name in facts if name not in tables}
    shown = {name: text for name, text in lines.items() if text}
    width = max((len(name) for name in shown), default=0)
    for name, text in shown.items():
        line(f"{name:<{width}}  {text}")
    for name, rows in tables.items():
        columns = list(dict.fromkeys(key for row in rows for key in row))
        line(f"\n{_words(name)}")
        table(
            [_words(column) for column in columns],
            [[fact(column, row.get(column)) for column in columns] for row in rows],
            empty="",
        )


def fact(name: str, value: Any) -> str:
    """Return a value for people by what its field's name says it is."""
    from node.cli.times import moment

    if isinstance(value, str) and (
        name.endswith(("_at", "_until", "_seen", "_open")) or name in _TIMES
    ):
        return moment(value)
    if name == "words" and isinstance(value, list):
        return " ".join(plain(word) for word in value)
    if name == "bytes" and isinstance(value, int):
        return size(value)
    return plain(value)


_TIMES: Final = ("time", "_at", "until", "_seen", "last_open", "not_before")
"""How fields that hold a time end."""


def plain(value: Any) -> str:
    """Return any JSON value as one cleaned line for people."""
    match value:
        case None:
            return ""
        case True | False:
            return "yes" if value else "no"
        case str():
            return clean_line(value)
        case Mapping():
            facts = ((_words(str(key)), fact(str(key), item)) for key, item in value.items())
            return ", ".join(f"{name} {text}" for name, text in facts if text)
        case list() | tuple():
            return ", ".join(plain(item) for item in value)
        case _:
            return clean_line(str(value))


def short(identifier: str) -> str:
    """Return the first characters of an id: enough to name it on the command line."""
    return identifier[:8]


def size(count: int) -> str:
    """Return a number of bytes for people."""
    amount, units = float(count), iter(("kB", "MB", "GB", "TB"))
    if amount < 1000:
        return f"{count} B"
    unit = "B"
    while amount >= 1000 and (larger := next(units, None)) is not None:
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}"


def plural(count: int, word: str) -> str:
    """Return `1 picture`, `2 pictures`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _render(renderable: Any) -> None:
    console = _console()
    with console.capture() as capture:
        console.print(renderable)
    raw("".join(f"{text.rstrip()}\n" for text in capture.get().split("\n")[:-1]))


def _console() -> Console:
    from rich.console import Console

    seen = is_terminal()
    return Console(
        file=sys.stdout,
        force_terminal=seen,
        no_color=not colourful(),
        width=None if seen else _PIPED_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
    )


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _words(name: str) -> str:
    return clean_line(name.replace("_", " "))
