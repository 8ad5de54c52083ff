"""What every screen shares: three lines around its body, loading, and failing in words.

Belongs here: the frame, work in the background with its status line, undo and toasts.
Never here: what one screen shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.gateway import Connection, GatewayError
from tui.screens.parting import Parting, while_here
from tui.screens.table import KEYS
from tui.text import plural
from tui.times import span
from tui.widgets.lines import CountLine, Key, KeyLine, StatusLine, Tab, TopLine
from tui.widgets.rows import Listing

if TYPE_CHECKING:
    from tui.app import SafelightApp

T = TypeVar("T")


class Page(Parting[None]):
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
    Page .sentence {
        width: 100%; height: 1fr; padding: 0 2; color: $foreground; display: none;
        content-align: center middle; text-align: center;
    }
    Page.bare .sentence { display: block; }
    Page.bare .content { display: none; }
    Page.low CountLine, Page.alone CountLine { display: none; }
    Page.low .told { max-height: 3; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._work: asyncio.Task[Any] | None = None
        self._label = ""
        """What the work under way is, for the status line."""
        self._loading: asyncio.Future[object] | None = None
        self._stale = True
        self._whole = False
        """The frame's parts are there."""
        self._said = ""
        """The sentence that stands instead of the body."""
        self.asking = False
        """A question is on its way to the screen: keys that come before it would go astray."""

    @property
    def program(self) -> SafelightApp:
        """The app, with its own type."""
        return cast("SafelightApp", self.app)

    # Parts ----------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Put the frame around the body."""
        yield TopLine()
        yield CountLine()
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
        self.set_class(self.NAME not in _TITLES, "alone")
        self.refresh_frame()

    def on_resize(self, event: events.Resize) -> None:
        """Keep lines for what matters where there are few."""
        self.set_class(event.size.height < _LOW, "low")
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
            self._loading = asyncio.ensure_future(while_here(self._load, self)())

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
            # Behind another screen nobody draws it, and until then it keeps what it drew.
            told.render_line(0)
        for line in self.query(Input):
            line.value = ""
        if self._work is None or self._work.done():
            self.say("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let nothing be done where there is no unlocked vault, but going in or back."""
        if self.program.gateway.connection in _SHUT and action not in _WHILE_SHUT:
            return False
        return super().check_action(action, parameters)

    def refresh_frame(self) -> None:
        """Draw title, sentence and keys anew."""
        if not (self._whole and self.is_attached and self.display):
            # What goes loses its parts first.
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
        parts = [] if program.connection_sentence() else self.beside().split(" · ")
        # What needs a look stands where no narrow line cuts it.
        beside = " · ".join(sorted(parts, key=lambda part: not part.startswith("!")))
        self.query_one(TopLine).say(
            title=self.NAME,
            tabs=() if self.has_class("low") or self.has_class("alone") else self._tabs(),
            middle=beside,
            right=program.node_words(),
            bad=program.gateway.connection is not Connection.READY,
            alarm=program.alarm,
            alarm_key=program.key_of("app.alarms"),
        )
        self.query_one(CountLine).say(beside)
        # While there is no node to ask, its actions do nothing: their keys are not shown.
        lost = program.connection_sentence()
        own = (self.bound("page.enter", "go in", "enter"),) if lost else self.keys()
        always = (
            self.bound("app.keys", "keys", "app.show_keys"),
            self.bound("app.leave", "back", "app.leave"),
        )
        self.query_one(KeyLine).show(own, always)

    def bound(self, binding: str, label: str, action: str) -> Key:
        """Return the key of a binding, by its id, for the last line."""
        return Key(self.program.key_of(binding), label, action)

    def _tabs(self) -> Sequence[Tab]:
        key_of = self.program.key_of
        return [
            Tab(key_of(f"show.{name}"), title, _SHORT.get(title, title), f"app.show('{name}')")
            for _, name, title in KEYS
        ]

    # Saying and doing -----------------------------------------------------------------------------

    def say(self, text: str, *, error: bool = False, share: float | None = None) -> None:
        """Say something in the status line."""
        for line in self.query(StatusLine):  # None while the screen comes up or goes.
            line.say(text, error=error, share=share)
            if error:
                self.set_timer(_ERROR_STAYS_S, partial(self.unsay, text))
            if error and len(text) > self.app.size.width - _BESIDES:
                # What helps stands at a refusal's end, which the line has no room for.
                self.notify(text, severity="error", markup=False, timeout=_ERROR_STAYS_S / 2)

    def unsay(self, text: str) -> None:
        """Take away what was said, where nothing has followed: it is not about now any more."""
        for line in self.query(StatusLine):
            if line.text == text:
                line.say("")

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
            cancel = self.program.key_of("page.back")
            self.say(f"still {self._label}: {cancel} cancels it", error=True)
            return
        self._label = label
        self._work = asyncio.create_task(self._working(label, job, done))

    async def _working(
        self, label: str, job: Callable[[Progress], Awaitable[T]], done: Done[T]
    ) -> None:
        began = asyncio.get_running_loop().time()
        cancel = self.program.key_of("page.back")

        def progress(finished: int, total: int | None, _what: str) -> None:
            passed = asyncio.get_running_loop().time() - began
            self.say(
                f"{label} {progress_words(finished, total, passed)}, {cancel} cancels",
                share=finished / total if total else None,
            )

        self.say(f"{label} …, {cancel} cancels")
        try:
            self.say(done(await job(progress)))
        except GatewayError as error:
            self.say(str(error), error=True)
        except asyncio.CancelledError:
            self.say(f"{label}: cancelled")
            raise

    def action_back(self) -> None:
        """Cancel what is going on, else take back what narrows the view, else go back."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
        elif not self.narrower() and not self.program.go_back():
            # Esc cancels work: one that comes when it is done must not end the program.
            self.say(f"{self.program.key_of('app.leave')} quits")

    def action_enter(self) -> None:
        """Start, unlock or set up the node where the sentence says that Enter does."""
        if self.program.gateway.connection is not Connection.READY:
            self.program.go_in(asked=True)

    def narrower(self) -> bool:
        """Take back one thing that narrows the view (marks, a filter); say whether one was."""
        return False

    def later(self, job: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine as this screen's, with its refusal in the status line."""
        self.run_worker(partial(self._caught, job), exclusive=False)

    def asks(self, job: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine that asks something: until its dialog is up, keys do nothing.

        Keys pressed in quick succession are read before the dialog is there: a second one of
        the same would ask twice, and Enter would be taken by what is behind.
        """
        self.asking = True
        self.later(self._until_asked(job))

    async def _until_asked(self, job: Coroutine[Any, Any, Any]) -> None:
        try:
            await job
        finally:
            self.asking = False

    def on_screen_suspend(self) -> None:
        """Take keys again when the question is answered."""
        self.asking = False

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

_SHUT: Final = frozenset(
    {Connection.NO_VAULT, Connection.STOPPED, Connection.LOCKED, Connection.LOST}
)
_WHILE_SHUT: Final = frozenset({"back", "enter"})
_ERROR_STAYS_S: Final = 20.0
_BESIDES: Final = 4
"""Columns of the status line besides a refusal's text."""
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


_LOW: Final = 16
"""Lines of a terminal below which the frame takes three, not four."""
_SHORT: Final = {"Shared with me": "With me", "Shared by me": "By me", "Doctor": ""}
_TITLES: Final = frozenset(title for _, _, title in KEYS)


def marked_words(count: int, of_what: str) -> str:
    """Return how many are marked, for the title line."""
    return f"{plural(count, of_what)} marked" if count else ""
