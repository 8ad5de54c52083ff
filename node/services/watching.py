"""Folders that are looked at again and again: which files there are ready to be imported.

Belongs here: telling a file that is complete from one that somebody still writes.
Never here: importing, waiting, or the clock.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from node.services.importing import Failure, Source, collect, state_of

QUIET_SECONDS: Final = 2.0
"""A file is complete that has not changed for so long: copies write without such pauses."""

_State = tuple[tuple[int, ...] | None, ...]


class Watch:
    """What is new below some paths, each time it is asked."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._since: dict[Path, tuple[_State, float]] = {}
        """What each file looked like last, and since when it looks so."""
        self._given: dict[Path, _State] = {}
        """What it looked like when it was given out: a file that changes is given again."""
        self._wrong: dict[tuple[str, str], float] = {}
        """Path and code of each failure, and since when; infinite once it was told."""

    def look(self, now: float) -> tuple[list[Path], list[Failure]]:
        """Return the files that are ready, and what else is wrong; both only what is new.

        now: seconds of a clock that never goes back. Sidecars count as part of their file.
        """
        sources, failed = collect(self._paths)
        before, self._since = self._since, {}
        ready = []
        for source in sources:
            state = _state(source)
            seen, since = before.get(source.path, (None, now))
            if seen != state:
                since = now
            self._since[source.path] = (state, since)
            if now - since >= QUIET_SECONDS and self._given.get(source.path) != state:
                self._given[source.path] = state
                ready.append(source.path)
        self._given = {path: self._given[path] for path in self._since if path in self._given}
        return ready, self._new(failed, now)

    def _new(self, failed: list[Failure], now: float) -> list[Failure]:
        """Return failures that last: a sidecar may come a moment before its picture."""
        before, self._wrong = self._wrong, {}
        new = []
        for one in failed:
            key = (one["path"], one["code"])
            since = before.get(key, now)
            if now - since >= QUIET_SECONDS:
                new.append(one)
                since = math.inf
            self._wrong[key] = since
        return new


def _state(source: Source) -> _State:
    return tuple(state_of(path) for path in (source.path, *source.sidecars))
