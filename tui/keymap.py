"""Keys that a person has chosen otherwise: a TOML file of binding id and keys.

Belongs here: finding, reading and judging the file; how keys are written for people, and which
key a sentence names.
Never here: what keys do; each screen names its bindings, with an id each.

    [keys]
    "library.share" = "s"
    "page.down" = "ctrl+d,pagedown"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from platformdirs import user_config_path
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import key_to_character

NEVER: Final = frozenset({"ctrl+s", "ctrl+b", "ctrl+j", "ctrl+c"})
"""Keys that terminals and multiplexers take for themselves, and the way out."""
_OUT_OF_LINES: Final = frozenset({"dialog.cancel", "page.back"})
"""What leads out of a line that takes letters: no letter does."""


def keymap_path() -> Path:
    """Return where the file is looked for."""
    return user_config_path("safelight") / "keymap.toml"


def read_keymap(path: Path, ids: Callable[[], frozenset[str]]) -> tuple[dict[str, str], list[str]]:
    """Return binding id to keys, and what is wrong with the file in words.

    ``ids`` gives those there are; it is asked only where there is a file. A line that
    is wrong is left out, the rest counts.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path.name} was not read: {error}"]
    chosen: dict[str, str] = {}
    problems: list[str] = []
    keys = document.get("keys", {})
    if not isinstance(keys, dict):
        return {}, [f"{path.name} has no table [keys]"]
    for name, value in keys.items():
        wanted = [one.strip() for one in value.split(",")] if isinstance(value, str) else []
        taken = sorted(NEVER.intersection(wanted))
        if name not in ids():
            problems.append(f"{path.name}: no binding is called {name}")
        elif not wanted or not all(wanted):
            problems.append(f"{path.name}: {name} needs keys as text")
        elif taken:
            problems.append(f"{path.name}: {taken[0]} belongs to the terminal")
        elif name in _OUT_OF_LINES and any(_is_letter(one) for one in wanted):
            problems.append(f"{path.name}: {name} needs keys that write no letter")
        else:
            chosen[name] = ",".join(wanted)
    for name, key, other in _taken(chosen) if chosen else ():
        if chosen.pop(name, None) is not None:
            problems.append(f"{path.name}: {name}: {key} is the key of {other}")
    return chosen, problems


def _taken(chosen: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Give each choice that would take the key by which sentences name another binding there."""
    for owner in _owners():
        there = {
            binding.id: binding.key
            for base in owner.__mro__
            for binding in vars(base).get("BINDINGS", ())
            if isinstance(binding, Binding) and binding.id
        }
        for name in there.keys() & chosen.keys():
            wanted = set(key_words(chosen[name]).split())
            for other, keys in there.items():
                first = key_words(keys).split()[0]
                if other not in chosen and first in wanted:
                    yield name, first, other


def _is_letter(key: str) -> bool:
    letter = key_to_character(key)
    return letter is not None and letter.isprintable()


_usual: dict[str, str] = {}
"""Binding id to keys, of what was imported when one was last looked for."""


def usual_keys() -> dict[str, str]:
    """Return binding id to keys, for every binding of the screens that are imported."""
    return {
        binding.id: binding.key
        for owner in _owners()
        for binding in vars(owner).get("BINDINGS", ())
        if isinstance(binding, Binding) and binding.id
    }


def _owners() -> Iterator[type[DOMNode]]:
    """Give every class that may bind keys."""
    waiting: list[type[DOMNode]] = [DOMNode]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        yield one


def key_that_holds(chosen: Mapping[str, str], name: str) -> str:
    """Return the first key of the binding with this id, for a sentence that names it.

    ``chosen`` are the keys of a person's own. KeyError where no binding is called so.
    """
    if name not in chosen and name not in _usual:
        _usual.update(usual_keys())
    return key_words((chosen.get(name) or _usual[name]).partition(",")[0])


_NAMES: Final = {
    "plus": "+",
    "minus": "-",
    "slash": "/",
    "backslash": "\\",
    "at": "@",
    "underscore": "_",
    "space": "Space",
    "tab": "Tab",
    "backspace": "Backspace",
    "delete": "Del",
    "insert": "Ins",
    "home": "Home",
    "end": "End",
    "escape": "Esc",
    "enter": "Enter",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


def key_words(keys: str) -> str:
    """Return keys as a person reads them: ``ctrl+p`` as ``^p``."""
    return " ".join(_word(one.strip()) for one in keys.split(","))


def _word(key: str) -> str:
    held, plus, last = key.rpartition("+")
    if key.startswith("f") and key[1:].isdigit():
        return key.upper()
    sign = _NAMES.get(last) or key_to_character(last) or last
    return (held + plus).replace("ctrl+", "^") + (sign if sign.isprintable() else last)
