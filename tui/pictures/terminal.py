"""What the terminal can draw: decided once, before the first paint; and how large its cells are.

Belongs here: reading the settings, the environment and the terminal's answer, in this order.
Never here: drawing (``painter``).

    SAFELIGHT_PICTURES = auto | kitty | sextants | quadrants | halves | off
    SAFELIGHT_COLOURS  = auto | true | 256 | grey

A terminal is asked for its name where nothing else tells, and where it seems to draw pixels: by
XTVERSION, with the question that every terminal answers behind it, and no longer than a moment.
That a terminal draws pixels only its own answer proves: the environment comes along into others
and through what would take the pixels away, and tells no version. Inside a multiplexer it is the
multiplexer that answers, and it has quadrants.
"""

from __future__ import annotations

import os
import re
import select
import struct
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from typing import Final

from node.cli.picture import Blocks, Depth

SETTING: Final = "SAFELIGHT_PICTURES"
COLOURS: Final = "SAFELIGHT_COLOURS"
TRUE_COLOURS: Final = {"COLORTERM": "truecolor"}
"""The environment of a terminal that has them."""

_PATIENCE_S: Final = 0.15
"""The program takes longer to load, so that a terminal that never answers costs nothing."""
_KITTY_PATIENCE_S: Final = 0.3
"""One that seems to be kitty or Ghostty answers, be it that it has just begun, or is at the far end
of a slow line."""

_QUESTION: Final = b"\x1b[>0q\x1b[c"
_NAME: Final = re.compile(rb"\x1bP>\|([ -~]{1,64}?)\x1b\\")
_END: Final = re.compile(rb"\x1b\[\?[0-9;]*c")

USUAL_CELL: Final = (10, 20)
"""Pixels of a cell where the terminal does not tell: about what a cell has."""
_CELL_SIDES: Final = range(4, 65)
"""Pixels that a side of a cell may have: letters are not smaller, and more are not seen."""

_DEPTHS: Final = {"true": Depth.TRUE, "256": Depth.PALETTE, "grey": Depth.GREY}


class Pictures(Enum):
    """How pictures are drawn, the sharpest first."""

    KITTY = "kitty"
    """Pixels, which the terminal itself puts where placeholder letters stand."""
    SEXTANTS = "sextants"
    QUADRANTS = "quadrants"
    HALVES = "halves"
    OFF = "off"

    @property
    def blocks(self) -> Blocks:
        """The glyphs to draw with."""
        return {Pictures.HALVES: Blocks.HALVES, Pictures.SEXTANTS: Blocks.SEXTANTS}.get(
            self, Blocks.QUADRANTS
        )


_KITTY_WITH_PLACEHOLDERS: Final = (0, 28)
_KITTY: Final = re.compile(r"kitty\(([0-9]{1,4})\.([0-9]{1,4})")

_NAMES: Final = {
    "kitty": Pictures.KITTY,
    "ghostty": Pictures.KITTY,
    "foot": Pictures.SEXTANTS,
    "wezterm": Pictures.SEXTANTS,
    "contour": Pictures.SEXTANTS,
}
"""What terminals of these names have, drawn by themselves and not by a font. All of them have
sextants and true colours; kitty has placeholders from a version on."""

_VTE_WITH_SEXTANTS: Final = 6200


def pictures_of(environment: Mapping[str, str], answered: str = "") -> Pictures:
    """Return how this terminal is drawn on.

    A setting wins over the environment, and that over the name that the terminal ``answered``.
    """
    wanted = environment.get(SETTING, "").lower()
    for one in Pictures:
        if wanted == one.value:
            return one
    found = _of_environment(environment)
    if found is None or found is Pictures.KITTY:
        silent = Pictures.QUADRANTS if found is None else Pictures.SEXTANTS
        found = _answers(answered) or Pictures.QUADRANTS if answered else silent
    if found is Pictures.KITTY and depth_of({**environment, **TRUE_COLOURS}) is not Depth.TRUE:
        # Pixels have all colours, and fewer are wanted.
        return Pictures.SEXTANTS
    return found


def depth_of(environment: Mapping[str, str]) -> Depth:
    """Return how many colours pictures have; a setting wins over what is guessed."""
    if environment.get("NO_COLOR"):
        return Depth.GREY
    if chosen := _DEPTHS.get(environment.get(COLOURS, "").lower()):
        return chosen
    if environment.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return Depth.TRUE
    return Depth.PALETTE


def is_known(environment: Mapping[str, str]) -> bool:
    """Say whether setting or environment tell enough, so that nobody needs to be asked."""
    wanted = environment.get(SETTING, "").lower()
    unsure = {None, Pictures.KITTY}
    return wanted in {one.value for one in Pictures} or _of_environment(environment) not in unsure


def has_true_colours(answered: str) -> bool:
    """Say whether a terminal that ``answered`` this has true colours, whatever was told."""
    return _named(answered) is not None


def patience_with(environment: Mapping[str, str]) -> float:
    """Return how many seconds a terminal's answer is waited for."""
    seems_kitty = _of_environment(environment) is Pictures.KITTY
    return _KITTY_PATIENCE_S if seems_kitty else _PATIENCE_S


def ask_name(terminal: int, patience_s: float = _PATIENCE_S) -> str:
    """Ask the terminal of a file descriptor for its name; empty where it does not tell in time.

    What is typed meanwhile is lost, so this is short, and comes before the first paint.
    """
    import termios
    import tty

    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        return ""
    answer = b""
    try:
        tty.setcbreak(terminal)
        os.write(terminal, _QUESTION)
        while not _END.search(answer) and len(answer) < 1024:
            ready, _, _ = select.select([terminal], [], [], patience_s)
            piece = os.read(terminal, 1024) if ready else b""
            if not piece:
                break
            answer += piece
    except OSError:
        return ""
    finally:
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    name = _NAME.search(answer)
    return name[1].decode("ascii") if name else ""


def cell_size(terminal: int) -> tuple[int, int]:
    """Return how many pixels across and down a cell of a file descriptor's terminal has.

    Terminals that draw pixels tell, and what stands between passes it on; `USUAL_CELL` where
    nothing is told, or nothing that can be.
    """
    try:
        import fcntl
        import termios

        told = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
    except (ImportError, OSError):
        return USUAL_CELL
    rows, columns, wide, high = struct.unpack("HHHH", told)
    cell = (wide // max(1, columns), high // max(1, rows))
    return cell if all(side in _CELL_SIDES for side in cell) else USUAL_CELL


def _of_environment(environment: Mapping[str, str]) -> Pictures | None:
    term = environment.get("TERM", "")
    if term == "dumb":
        return Pictures.OFF
    if term == "linux":
        return Pictures.HALVES
    if environment.get("TMUX") or environment.get("STY") or term.startswith(("tmux", "screen")):
        # What the environment says else is of the terminal where the multiplexer began.
        return Pictures.QUADRANTS
    if found := _named(term.removeprefix("xterm-")) or _named(environment.get("TERM_PROGRAM", "")):
        return found
    vte = environment.get("VTE_VERSION", "")
    if vte.isascii() and vte.isdigit() and int(vte) >= _VTE_WITH_SEXTANTS:
        return Pictures.SEXTANTS
    return None


def _named(name: str) -> Pictures | None:
    lower = name.lower()
    return next((one for known, one in _NAMES.items() if lower.startswith(known)), None)


def _answers(answered: str) -> Pictures | None:
    """Return what a terminal of this name and version has."""
    found = _named(answered)
    if found is Pictures.KITTY and answered.lower().startswith("kitty"):
        version = _KITTY.match(answered)
        if version is None or (int(version[1]), int(version[2])) < _KITTY_WITH_PLACEHOLDERS:
            return Pictures.SEXTANTS
    return found
