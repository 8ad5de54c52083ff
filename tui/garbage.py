"""How Python looks for garbage here: a little at a time, for a person waits for the next key.

Belongs here: what the collector may do, and when.
Never here: what is held (the widgets know), or dropping it (a lock does).

Most of what the program lets go is gone at once. What hangs together in circles, as the widgets of
a dialog do, is found by looking through all there is, and there is much: the program itself, and
the thumbnails that are held. Left alone, Python does so every few keys, for 50 ms and more. Here
what has once been found in use is never looked through again, so that each look is short.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any, Final

_EACH: Final = (1_000, 10, 1)
"""Things made before the young are looked through, and looks before the older ones are."""
_GONE_S: Final = 2.0
"""Seconds after which nothing holds any more what was closed."""


def put_off() -> None:
    """Look for no garbage while the program loads: what is made then stays."""
    gc.disable()


def hold_no_lines() -> None:
    """Keep the framework from holding what widgets have drawn that are long gone.

    It means to remember a thousand pairs of colours, and remembers whose they were: every line,
    names and pictures too, of the last thousand widgets, even when the vault is locked.
    """
    # The framework reads the environment when it is imported: not before that is cleared.
    from textual._styles_cache import StylesCache

    colours = vars(StylesCache)["get_inner_outer"]
    if not isinstance(colours, classmethod):
        colours.cache_clear()
        setattr(StylesCache, "get_inner_outer", classmethod(colours))  # noqa: B010


class Collecting:
    """Looks for garbage while an app runs."""

    def __init__(self, stays: Callable[[], bool]) -> None:
        """``stays`` says, in any thread, whether all that is in use now will stay so.

        What hangs together in circles and is dropped after that is never found.
        """
        self._stays = stays
        self._now: Callable[[], float] | None = None
        self._closed = 0.0
        self._usual = gc.get_threshold()

    def closed(self) -> None:
        """Take note that a screen was closed: its widgets go one by one."""
        if self._now is not None:
            self._closed = self._now()

    def begin(self) -> None:
        """Look for garbage from now on, never in what is held now. Called in the loop."""
        self._now = asyncio.get_running_loop().time
        self._usual = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(*_EACH)
        gc.callbacks.append(self._looked)
        gc.enable()

    def end(self) -> None:
        """Look for garbage as before; what stays is still not looked through."""
        if self._looked in gc.callbacks:
            gc.callbacks.remove(self._looked)
            gc.set_threshold(*self._usual)

    def _looked(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2:
            rests = self._now is not None and self._now() - self._closed > _GONE_S
            if rests and self._stays():
                gc.freeze()
