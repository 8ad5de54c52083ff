"""What a person has set for the screens: a TOML file beside the keymap.

Belongs here: finding, reading and judging the file, and remembering a theme in it.
Never here: what a setting does.

    theme = "safelight-light"
    pictures = "halves"

    [notices]
    toasts = ["denied", "alarm"]
    quiet = "22:00-07:00"

    [notices.from]
    opened = 5
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from platformdirs import user_config_path

from tui.pictures.terminal import Pictures

NOTICES: Final = ("opened", "saved", "denied", "received", "revocation_seen", "revoked", "alarm")
"""What may be told of in a toast."""
_PICTURES: Final = ("auto", *(one.value for one in Pictures))
_QUIET: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_THEME_LINE: Final = re.compile(r"^theme\s*=.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What counts, where the file says nothing too."""

    theme: str | None = None
    """None is what fits the terminal."""
    pictures: str | None = None
    """How pictures are drawn; the environment wins."""
    toasts: frozenset[str] = frozenset(NOTICES)
    """What is told of in a toast; the list of notices has all."""
    quiet: tuple[int, int] | None = None
    """Minutes of the day, from and to, between which only alarms make a toast."""
    least: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """From the how-manieth of one kind by one person within an hour on there is a toast."""

    def is_quiet(self, minute: int) -> bool:
        """Say whether a minute of the day is in the quiet hours, which may span midnight."""
        if self.quiet is None:
            return False
        start, end = self.quiet
        return start <= minute < end if start <= end else minute >= start or minute < end


def settings_path() -> Path:
    """Return where the file is looked for."""
    return user_config_path("safelight") / "settings.toml"


def read_settings(path: Path, themes: frozenset[str]) -> tuple[Settings, list[str]]:
    """Return the settings, and what is wrong with the file in words.

    What is wrong is left out, the rest counts.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings(), []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Settings(), [f"{path.name} was not read: {error}"]
    problems: list[str] = []

    def wrong(name: str, needs: str) -> None:
        problems.append(f"{path.name}: {name} needs {needs}")

    found: dict[str, Any] = {}
    for name, known in (("theme", tuple(sorted(themes))), ("pictures", _PICTURES)):
        if name in document:
            if document[name] in known:
                found[name] = document[name]
            else:
                wrong(name, "one of " + ", ".join(known))
    notices = document.get("notices", {})
    if isinstance(notices, dict):
        found |= _notices(notices, wrong)
    else:
        wrong("notices", "to be a table")
    problems += [
        f"{path.name}: no setting is called {name}"
        for name in document
        if name not in {"theme", "pictures", "notices"}
    ]
    return Settings(**found), problems


def _notices(table: dict[str, Any], wrong: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "toasts" in table:
        toasts = table["toasts"]
        if isinstance(toasts, list) and all(one in NOTICES for one in toasts):
            # What contradicts the log of a team-mate is never switched off.
            found["toasts"] = frozenset(toasts) | {"alarm"}
        else:
            wrong("notices.toasts", "a list of " + ", ".join(NOTICES))
    if "quiet" in table:
        quiet = table["quiet"]
        match = _QUIET.fullmatch(quiet) if isinstance(quiet, str) else None
        if match:
            first, second, third, fourth = (int(one) for one in match.groups())
            found["quiet"] = (first * 60 + second, third * 60 + fourth)
        else:
            wrong("notices.quiet", "hours like 22:00-07:00")
    if "from" in table:
        least = table["from"]
        if isinstance(least, dict) and all(
            name in NOTICES and isinstance(count, int) and count > 0
            for name, count in least.items()
        ):
            found["least"] = MappingProxyType({**least})
        else:
            wrong("notices.from", "numbers over 0 by kind, like opened = 5")
    return found


def remember_theme(path: Path, theme: str) -> None:
    """Write the theme into the file, whose other lines stay as they are. OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    line = f'theme = "{theme}"'
    text, changed = _THEME_LINE.subn(line, text, count=1)
    if not changed:
        text = f"{line}\n{text}"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
