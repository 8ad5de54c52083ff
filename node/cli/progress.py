"""The bar of long work: on a terminal, nothing where stderr is piped.

Belongs here: showing how far the node is.
Never here: results.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from node.cli.text import clean_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """Shows progress from the first report on, and leaves no trace behind."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Draw nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the bar."""
        if self._progress is not None:
            self._progress.stop()

    def report(self, done: int, total: int | None, label: str) -> None:
        """Show that done of total, where that is known, are over, and what is being done."""
        if not self._enabled:
            return
        if self._progress is None or self._task is None:
            self._progress, self._task = _start()
        self._progress.update(
            self._task, completed=done, total=total, description=clean_line(label)
        )


def _start() -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many a second, lately."""

        def render(self, task: Task) -> Text:
            if task.speed is None:
                return Text("")
            return Text(f"{task.speed:.{1 if task.speed < 10 else 0}f}/s")

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True, markup=False, emoji=False, highlight=False),
        transient=True,
    )
    progress.start()
    return progress, progress.add_task("", total=None)
