"""What every screen shares: three lines around its body, loading, and failing in words.

Belongs here: the frame, work in the background with its status line, undo and toasts.
Never here: what one screen shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.gateway import Connection, GatewayError
from tui.text import plural
from tui.times import span
from tui.widgets.lines import Key, KeyLine, StatusLine, TopLine
from tui.widgets.rows import Listing

if TYPE_CHECKING:
    from tui.app import SafelightApp

T = TypeVar("T")


class Page(Screen[None]):
    """One screen of the program. Subclasses give a name, keys, a body and how it is loaded."""

    AUTO_FOCUS = ""
    NAME: ClassVar[str] = ""
    """As the title line says it."""
    LISTENS: ClassVar[frozenset[str]] = frozenset()
    """Kinds of the node's events after which the screen is loaded anew."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", show=False, id="page.back"),
        Binding("enter", "enter", "go in", show=False, id="page.enter"),
    ]
    DEFAULT_CSS = """
    Page { layout: vertical; background: $background; }
    Page > .body { height: 1fr; }
    Page .sentence { padding: 1 2; color: $foreground; width: 100%; height: auto; display: none; }
    Page.bare .sentence { display: block; }
    Page.bare .content { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._work: asyncio.Task[Any] | None = None
        self._label = ""
        """What the work under way is, for the status line."""
        self._loading: asyncio.Task[None] | None = None
        self._stale = True
        self._whole = False
        """The frame's parts are there."""
        self._said = ""
        """The sentence that stands instead of the body."""

    @property
    def program(self) -> SafelightApp:
        """The app, with its own type."""
        return cast("SafelightApp", self.app)

    # Parts ----------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Put the frame around the body."""
        yield TopLine()
        with Vertical(classes="body"):
            yield Static(classes="sentence")
            with Vertical(classes="content"):
                yield from self.body()
        yield StatusLine()
        yield KeyLine()

    def body(self) -> ComposeResult:
        """Give the screen's own widgets."""
        yield from ()

    def keys(self) -> Sequence[Key]:
        """Return the keys that matter now: the last line shows the first six."""
        return ()

    def beside(self) -> str:
        """Return what stands beside the screen's name: counts, filters."""
        return ""

    def sentence(self) -> str:
        """Return one sentence and a key where there is nothing to show, else nothing."""
        return ""

    async def load(self) -> None:
        """Fetch what the screen shows. Called when it is shown and after its events."""

    # Life -----------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Draw the frame from now on."""
        self._whole = True
        self.refresh_frame()

    def on_unmount(self) -> None:
        """Draw nothing more."""
        self._whole = False

    def on_screen_resume(self) -> None:
        """Load what may have changed while another screen was in front."""
        self.refresh_frame()
        if self._stale:
            self.reload()

    def reload(self) -> None:
        """Load anew, once for any number of calls while a load is under way."""
        self._stale = True
        ready = self.program.gateway.connection is Connection.READY
        if not (ready and self._whole and self.is_current):
            self.refresh_frame()
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        while self._stale and self._whole:
            self._stale = False
            try:
                await self.load()
            except GatewayError as error:
                self.say(str(error), error=True)
            self.refresh_frame()

    @property
    def settled(self) -> bool:
        """Nothing is being loaded, and nothing waits to be."""
        return not self._stale and (self._loading is None or self._loading.done())

    def heard(self, event: dict[str, Any]) -> None:
        """Take an event of the node: load anew where it is one of LISTENS."""
        if event.get("kind") in self.LISTENS:
            self.reload()

    def connection_changed(self) -> None:
        """Load anew: the node came, went, was locked or unlocked."""
        self._stale = True
        self.reload()

    def forget(self) -> None:
        """Drop every row, text and pixel that is held: the vault is locked."""
        self._stale = True
        if not self._whole:
            return
        for listing in self.query(Listing):
            listing.drop()
        for told in self.query(".told").results(Static):
            told.update(Content(""))
        for line in self.query(Input):
            line.value = ""
        if self._work is None or self._work.done():
            self.say("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let nothing be done on a screen of a vault that is locked, but going in or back."""
        if self.program.gateway.connection is Connection.LOCKED and action not in _WHILE_LOCKED:
            return False
        return super().check_action(action, parameters)

    def refresh_frame(self) -> None:
        """Draw title, sentence and keys anew."""
        if not self._whole:
            return
        program = self.program
        said = program.connection_sentence() or self.sentence()
        bare = bool(said)
        if bare != self.has_class("bare"):
            # What is hidden takes no keys.
            self.set_class(bare, "bare")
        if bare:
            self.set_focus(None)
        elif self.focused is None:
            self.set_focus(self.first())
        if said != self._said:
            # Text in a widget of its own height lays the whole screen out anew.
            self._said = said
            self.query_one(".sentence", Static).update(Content(said))
        self.query_one(TopLine).say(
            left=self.NAME,
            middle="" if program.connection_sentence() else self.beside(),
            right=program.node_words(),
            alarm=program.alarm,
        )
        # While there is no node to ask, its actions do nothing: their keys are not shown.
        own = () if program.connection_sentence() else self.keys()
        self.query_one(KeyLine).show([*own, *_ALWAYS])

    # Saying and doing -----------------------------------------------------------------------------

    def say(self, text: str, *, error: bool = False, share: float | None = None) -> None:
        """Say something in the status line."""
        for line in self.query(StatusLine):  # None while the screen comes up or goes.
            line.say(text, error=error, share=share)

    async def ask(self, method: str, params: Any = None) -> Any:
        """Return a method's result; None, with the reason in the status line, where refused."""
        try:
            return await self.program.gateway.call(method, params)
        except GatewayError as error:
            self.say(str(error), error=True)
            return None

    def work(self, label: str, job: Callable[[Progress], Awaitable[T]], *, done: Done[T]) -> None:
        """Do long work in the background with a bar in the status line; Esc cancels it."""
        if self._work is not None and not self._work.done():
            self.say(f"still {self._label}: Esc cancels it", error=True)
            return
        self._label = label
        self._work = asyncio.create_task(self._working(label, job, done))

    async def _working(
        self, label: str, job: Callable[[Progress], Awaitable[T]], done: Done[T]
    ) -> None:
        began = asyncio.get_running_loop().time()

        def progress(finished: int, total: int | None, _what: str) -> None:
            passed = asyncio.get_running_loop().time() - began
            self.say(
                f"{label} {progress_words(finished, total, passed)}, Esc cancels",
                share=finished / total if total else None,
            )

        self.say(f"{label} …, Esc cancels")
        try:
            result = await job(progress)
        except GatewayError as error:
            self.say(str(error), error=True)
        except asyncio.CancelledError:
            self.say(f"{label}: cancelled")
            raise
        else:
            said = done(result)
            self.say(said)

    def action_back(self) -> None:
        """Cancel what is going on, else take back what narrows the view, else go back."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
        elif not self.narrower():
            self.later(self.program.action_leave())

    def action_enter(self) -> None:
        """Start, unlock or set up the node where the sentence says that Enter does."""
        if self.program.gateway.connection is not Connection.READY:
            self.program.go_in(asked=True)

    def narrower(self) -> bool:
        """Take back one thing that narrows the view (marks, a filter); say whether one was."""
        return False

    def later(self, job: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine as this screen's, with its refusal in the status line."""
        self.run_worker(self._caught(job), exclusive=False)

    async def _caught(self, job: Coroutine[Any, Any, Any]) -> None:
        try:
            await job
        except GatewayError as error:
            self.say(str(error), error=True)

    def first(self) -> Widget | None:
        """Return the widget that takes keys when the screen comes up."""
        return None


Progress = Callable[[int, "int | None", str], None]
Done = Callable[[T], str]

_WHILE_LOCKED = frozenset({"back", "enter"})
_SURE_S = 1.0
"""Seconds of work after which its rate tells something."""


def progress_words(done: int, total: int | None, seconds: float) -> str:
    """Return how far work is, how fast, and how long it still takes: ``12/40, 3.1/s, 9 s left``."""
    words = f"{done:,}" if total is None else f"{done:,}/{total:,}"
    if seconds < _SURE_S or not done:
        return words
    rate = done / seconds
    words += f", {rate:.{1 if rate < 10 else 0}f}/s"
    return words if total is None else f"{words}, {span((total - done) / rate)} left"


_ALWAYS = (Key("?", "keys", "app.show_keys"), Key("q", "back", "app.leave"))


def marked_words(count: int, of_what: str = "row") -> str:
    """Return how many are marked, for the title line."""
    return f"{plural(count, of_what)} marked" if count else ""
