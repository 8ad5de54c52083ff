"""Keys that a person has chosen otherwise: a TOML file of binding id and keys.

Belongs here: finding, reading and judging the file; how keys are written for people.
Never here: what keys do; each screen names its bindings, with an id each.

    [keys]
    "library.share" = "s"
    "page.down" = "ctrl+d,pagedown"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from platformdirs import user_config_path

NEVER: Final = frozenset({"ctrl+s", "ctrl+b", "ctrl+j", "ctrl+c"})
"""Keys that terminals and multiplexers take for themselves, and the way out."""


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
        else:
            chosen[name] = ",".join(wanted)
    return chosen, problems


_NAMES: Final = {
    "question_mark": "?",
    "exclamation_mark": "!",
    "slash": "/",
    "space": "Space",
    "home": "Home",
    "end": "End",
    "asterisk": "*",
    "colon": ":",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
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
    return " ".join(_NAMES.get(one, one.replace("ctrl+", "^")) for one in keys.split(","))
