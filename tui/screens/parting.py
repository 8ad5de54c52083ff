"""Work of screens that are left meanwhile: their parts go first, and nobody minds.

Belongs here: ending what still runs for a screen that goes.
Never here: what runs (each screen knows).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from textual.css.query import NoMatches
from textual.screen import Screen

from tui.screens.painted import Painted

if TYPE_CHECKING:
    from textual.worker import Worker

R = TypeVar("R")


Job = Callable[[], Awaitable[object]]


def while_here(job: Job, of: Screen[Any]) -> Job:
    """Return a job that ends when it finds that the widgets of whom it works for have gone."""

    async def done() -> None:
        try:
            await job()
        except NoMatches:
            if of in of.app.screen_stack and of.is_attached:
                raise

    return done


class Parting(Painted[R], Generic[R]):
    """A screen that may be left while it works."""

    def run_worker(self, work: Any, *args: Any, **options: Any) -> Worker[Any]:
        """Run a job as the framework does, until it ends or the screen goes.

        It is a function: where the program ends before a job has begun, it never does.
        """
        return super().run_worker(while_here(work, self), *args, **options)
