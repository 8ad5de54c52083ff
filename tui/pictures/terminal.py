"""What the terminal can draw: decided once, before the first paint.

Belongs here: reading the settings, the environment and the terminal's answer, in this order.
Never here: drawing (``painter``).

    SAFELIGHT_PICTURES = auto | kitty | sextants | quadrants | halves | off
    SAFELIGHT_COLOURS  = auto | true | 256 | grey

A terminal is asked for its name only where nothing else tells: by XTVERSION, with the question
that every terminal answers behind it, and no longer than a moment. Inside a multiplexer it is
the multiplexer that answers, and it has quadrants.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from typing import Final

from node.cli.picture import Blocks, Depth

SETTING: Final = "SAFELIGHT_PICTURES"
COLOURS: Final = "SAFELIGHT_COLOURS"

_PATIENCE_S: Final = 0.15
"""A terminal at the far end of a slow line answers within this, or gets quadrants."""

_QUESTION: Final = b"\x1b[>0q\x1b[c"
_NAME: Final = re.compile(rb"\x1bP>\|([ -~]{1,64}?)\x1b\\")
_END: Final = re.compile(rb"\x1b\[\?[0-9;]*c")

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


_NAMES: Final = {
    "kitty": Pictures.KITTY,
    "ghostty": Pictures.KITTY,
    "foot": Pictures.SEXTANTS,
    "wezterm": Pictures.SEXTANTS,
    "contour": Pictures.SEXTANTS,
}
"""What terminals of these names have, drawn by themselves and not by a font."""

_VTE_WITH_SEXTANTS: Final = 6200


def pictures_of(environment: Mapping[str, str], answered: str = "") -> Pictures:
    """Return how this terminal is drawn on.

    A setting wins over the environment, and that over the name that the terminal ``answered``.
    """
    wanted = environment.get(SETTING, "").lower()
    for one in Pictures:
        if wanted == one.value:
            return one
    found = _of_environment(environment) or _named(answered) or Pictures.QUADRANTS
    if found is Pictures.KITTY and depth_of(environment) is not Depth.TRUE:
        # The number of a picture is told as a colour, which must arrive as it is.
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
    return wanted in {one.value for one in Pictures} or _of_environment(environment) is not None


def ask_name(terminal: int) -> str:
    """Ask the terminal of a file descriptor for its name; empty where it does not tell.

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
            ready, _, _ = select.select([terminal], [], [], _PATIENCE_S)
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


def _of_environment(environment: Mapping[str, str]) -> Pictures | None:
    term = environment.get("TERM", "")
    if term == "dumb":
        return Pictures.OFF
    if term == "linux":
        return Pictures.HALVES
    if environment.get("TMUX") or environment.get("STY") or term.startswith(("tmux", "screen")):
        # What the environment says else is of the terminal where the multiplexer began.
        return Pictures.QUADRANTS
    if term == "xterm-kitty" or environment.get("KITTY_WINDOW_ID"):
        return Pictures.KITTY
    if found := _named(environment.get("TERM_PROGRAM", "")) or _named(term.removeprefix("xterm-")):
        return found
    vte = environment.get("VTE_VERSION", "")
    if vte.isascii() and vte.isdigit() and int(vte) >= _VTE_WITH_SEXTANTS:
        return Pictures.SEXTANTS
    return None


def _named(name: str) -> Pictures | None:
    lower = name.lower()
    return next((one for known, one in _NAMES.items() if lower.startswith(known)), None)
