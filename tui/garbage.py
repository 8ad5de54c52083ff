"""How Python looks for garbage here: a little at a time, for a person waits for the next key.

Belongs here: what the collector may do, and when.
Never here: what is held (the widgets know), or dropping it (a lock does).

Most of what the program lets go is gone at once. What hangs together in circles, as the widgets of
a dialog do, is found by looking through all there is, and there is much: the program itself, and
the thumbnails that are held. Left alone, Python does so every few keys, for 50 ms and more. Here

- what is there before the first picture is never looked through: it is the program, and stays;
- what is made is looked through when it is young, a thousand things at a time;
- what has been made since the last look is looked through in a turn of its own, while a person
  rests and no dialog is open: what is found in use then is set aside, and not looked through again;
- what was set aside is looked through after a lock, when little of it is left: of what was dropped
  since, names and terms of dialogs among it, nothing stays.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.style import Style
    from textual.strip import Strip

_YOUNG: Final = 1_000
"""Things made before the young are looked through."""
_NEVER: Final = 1_000_000_000
_WORTH: Final = 5
"""Looks through the young after which more are worth one."""
_MOST: Final = 60
"""Looks through the young before what they left is looked through, rest or not."""
_REST_S: Final = 0.3
"""Seconds in which little is made: the time to look."""
_REMEMBERS: Final = type(lru_cache(len))
_REMEMBERING: Final = ("rich.", "textual.", "tui.")
_AT_ONCE: Final = 4
"""Of what remembers, emptied in a turn."""
_GONE_S: Final = 0.5
"""Seconds after which nothing holds any more what was closed."""


def put_off() -> None:
    """Look for no garbage while the program loads: what is made then stays."""
    gc.disable()


def hold_no_lines() -> None:
    """Keep the framework from holding what widgets have drawn that are long gone.

    It means to remember a thousand pairs of colours, and remembers whose they were: every line,
    names and pictures too, of the last thousand widgets, even when the vault is locked. And it
    remembers of a line that is drawn whole that its part is itself: a circle for each line, most
    of the garbage there is.
    """
    # The framework reads the environment when it is imported: not before that is cleared.
    from textual._styles_cache import StylesCache
    from textual.strip import Strip

    colours = vars(StylesCache)["get_inner_outer"]
    if isinstance(colours, classmethod):
        return
    colours.cache_clear()
    setattr(StylesCache, "get_inner_outer", classmethod(colours))  # noqa: B010
    divide, crop_extend = Strip.divide, Strip.crop_extend

    def divided(self: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
        inside = [cut for cut in cuts if cut <= self.cell_length]
        return [self] if inside == [self.cell_length] else divide(self, inside)

    def cropped(self: Strip, start: int, end: int, style: Style | None) -> Strip:
        whole = start == 0 and end == self.cell_length
        return self if whole else crop_extend(self, start, end, style)

    Strip.divide = divided  # type: ignore[method-assign]
    Strip.crop_extend = cropped  # type: ignore[method-assign]


class Collecting:
    """Looks for garbage while an app runs."""

    def __init__(self, stays: Callable[[], bool]) -> None:
        """``stays`` says whether all that is in use now will stay so: no dialog is open."""
        self._stays = stays
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = 0.0
        self._due = False
        """A look is on its way."""
        self.whole = True
        """What a lock dropped is gone, what had been set aside too."""
        self._usual = gc.get_threshold()
        self._remembering: list[Any] = []
        """What remembers texts and colours."""

    def closed(self) -> None:
        """Take note that a screen was closed: its widgets go one by one."""
        if self._loop is not None:
            self._closed = self._loop.time()
            self._look_soon()

    def forget(self) -> None:
        """Look soon through what was set aside too: the vault was locked, and nothing is to stay.

        Until what was closed is gone, and little is made.
        """
        self.whole = False
        if self._loop is not None:
            self._look_soon()

    def begin(self) -> None:
        """Look for garbage from now on, never in what is held now. Called in the loop."""
        self._loop = asyncio.get_running_loop()
        self._usual = gc.get_threshold()
        self._remembering = _remembering()
        gc.freeze()
        gc.set_threshold(_YOUNG, _NEVER, _NEVER)
        gc.callbacks.append(self._looked)
        gc.enable()

    def end(self) -> None:
        """Look for garbage as before; what was there at first is still not looked through."""
        if self._looked in gc.callbacks:
            gc.callbacks.remove(self._looked)
            gc.set_threshold(*self._usual)
            self._loop = None

    def _looked(self, phase: str, info: dict[str, Any]) -> None:
        """Know, in any thread and in the midst of anything, that much has been made."""
        if phase == "stop" and not self._due and self._loop is not None and _looks() >= _WORTH:
            with suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._look_soon)

    def _look_soon(self) -> None:
        if self._loop is not None and not self._due:
            self._due = True
            self._loop.call_later(_REST_S, self._look, _looks())

    def _look(self, before: int) -> None:
        """Look through what was made, once little is, or so much that it cannot wait."""
        self._due = False
        if self._loop is None:
            return
        much = _looks() > _MOST
        gone = self._loop.time() - self._closed > _GONE_S
        if not much and not (gone and _looks() == before):
            self._look_soon()
        elif gone and not self.whole:
            self._due = True
            self._loop.call_soon(self._forget, [*self._remembering, *_remembering()])
        elif much or self._stays():
            gc.collect(1)
            if not self.whole:
                self._look_soon()

    def _forget(self, remembering: list[Any]) -> None:
        """Empty some of what remembers, and look at last through all that was made, in turns."""
        if self._loop is None:
            return
        for one in remembering[:_AT_ONCE]:
            one.cache_clear()
        if remembering:
            self._loop.call_soon(self._forget, remembering[_AT_ONCE:])
        elif _looks():
            gc.collect(1)
            self._loop.call_soon(self._forget, [])
        else:
            gc.collect()
            self._due, self.whole = False, True


def _looks() -> int:
    """Return how often the young were looked through since what they left was."""
    return gc.get_count()[1]


def _remembering() -> list[Any]:
    """Return what remembers texts that were measured, cut or styled, and colours of pictures."""
    return [
        one
        for one in gc.get_objects()
        if type(one) is _REMEMBERS and one.__module__.startswith(_REMEMBERING)
    ]
