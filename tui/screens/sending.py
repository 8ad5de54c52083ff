"""From Enter on: ten seconds in which a share can be taken back, then how far it is.

Belongs here: what waits to be sent, the phrases that are shown once, each holder's progress.
Never here: choosing whom and what (``share``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Shares
from tui.gateway import Connection, GatewayError
from tui.screens.dialog import Dialog
from tui.screens.terms import Wanted
from tui.text import plural
from tui.times import ago

if TYPE_CHECKING:
    from tui.app import SafelightApp
    from tui.widgets.pages import Row

Undone = Callable[[], None]
"""Puts back what a share was made of."""

UNDO_S: Final = 10.0
"""How long a share waits unsent."""

_LOOK_S: Final = 0.25
"""Between looks for a node that is gone while a share waits."""


class PhraseDialog(Dialog[None]):
    """Shows second-factor phrases, this once; only its key closes it, no slip does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "keep", "I have it", show=False, id="phrase.keep"),
    ]
    DEFAULT_CSS = "PhraseDialog .phrase { text-style: bold; color: $accent; padding: 1 0; }"

    def __init__(self, phrases: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._phrases = tuple(phrases)

    def compose(self) -> ComposeResult:
        """Lay out who is to be told what."""
        key = self.key_of("phrase.keep")
        lines = "\n".join(f"{holder}: {phrase}" for holder, phrase in self._phrases)
        with Vertical(classes="box"):
            yield Static(Content("Second factor, shown this once"), classes="heading")
            yield Static(Content(lines), classes="phrase")
            yield Static(
                Content("Tell each of them theirs by another way than Safelight."), classes="words"
            )
            yield Static(
                Content(f"{key}: I have told it, or written it down"), classes="consequence"
            )

    def action_keep(self) -> None:
        """Close: the person has the phrases."""
        self._phrases = ()
        self.dismiss(None)

    def action_give_up(self) -> None:
        """Stay: nobody can show them again."""


class Watched:
    """The share that was sent last: how far it is with each holder."""

    KINDS: Final = frozenset(
        {"rendered", "rendition_failed", "log.delivered", "log.opened", "log.released"}
    )

    def __init__(self, app: SafelightApp) -> None:
        self._app = app
        self._ids: frozenset[str] = frozenset()
        self._said = ""

    def watch(self, capabilities: Sequence[str], said: str) -> None:
        """Tell from now on how far these are, after what was said of them first."""
        self._ids = frozenset(capabilities)
        self._said = said
        self.look()

    def forget(self) -> None:
        """Tell no more."""
        self._ids = frozenset()

    def heard(self, event: dict[str, Any]) -> None:
        """Look again after an event that may have changed something."""
        if self._ids and event.get("kind") in self.KINDS:
            self.look()

    def look(self) -> None:
        """Say in the status line how far each holder is."""
        self._app.run_worker(self._look, group="watched share", exclusive=True)

    async def _look(self) -> None:
        try:
            found = await self._app.gateway.call("shares", Shares())
        except GatewayError:
            return  # The screen Shared by me says what is wrong.
        mine = [one for one in found if one["id"] in self._ids]
        if mine:
            failed = any(one["problems"] for one in mine)
            each = [way(one) if len(mine) == 1 else f"{one['holder']} {way(one)}" for one in mine]
            self._app.say(f"{self._said}: {', '.join(each)}", error=failed)
        if mine and all(
            one["last_open"] or one["state"] not in {"pending", "live"} for one in mine
        ):
            self._ids = frozenset()


def way(share: Row) -> str:
    """Return how far a share is with its holder: rendering, sent, seen, or what is in the way."""
    if share["problems"]:
        return f"✕ {len(share['problems'])} of {share['images']} not ready"
    if share["ready"] < share["images"]:
        return f"rendering {share['ready']}/{share['images']}"
    if share["last_open"]:
        return f"seen {ago(share['last_open'])}"
    if share["delivered"]:
        return "delivered"
    return "in the mail" if share["mailed"] else "waiting"


class Unsent:
    """A share that waits for ten seconds, so that it can be taken back before it is sent."""

    def __init__(self, app: SafelightApp) -> None:
        self._app = app
        self._waiting: tuple[Wanted, asyncio.Task[None], Undone] | None = None
        self._said = ""
        """What was said of it last, on the screen that was in front."""
        self._counts = asyncio.Event()
        """Seconds pass: nobody is asked what is to become of it."""
        self._counts.set()

    @property
    def waits(self) -> bool:
        """A share waits to be sent."""
        return self._waiting is not None

    @property
    def words(self) -> str:
        """What would be granted, in the node's sentences."""
        return "" if self._waiting is None else "\n".join(self._waiting[0].sentences)

    async def take(self, wanted: Wanted, undone: Undone = lambda: None) -> None:
        """Hold a share; one that waits already is sent now.

        ``undone`` puts back what it was made of: it is called where nothing was shared.
        """
        await self.send_now()
        self._waiting = (wanted, asyncio.create_task(self._wait()), undone)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no second pass while somebody is asked what is to become of what waits."""
        self._counts.clear()
        self._say("not shared yet: it waits for your answer")
        try:
            yield
        finally:
            self._counts.set()

    def undo(self) -> bool:
        """Take back what waits; say whether there was anything."""
        if self._waiting is None:
            return False
        _, task, undone = self._waiting
        self._waiting = None
        task.cancel()
        undone()
        self._say("not shared")
        return True

    async def send_now(self) -> bool:
        """Send what waits; say whether nothing is left unsent."""
        if self._waiting is None:
            return True
        wanted, task, undone = self._waiting
        self._waiting = None
        task.cancel()
        return await self._send(wanted, undone)

    def _say(self, text: str, *, error: bool = False) -> None:
        """Say it on the screen in front, and on no other what was true before."""
        for page in self._app.pages():
            page.unsay(self._said)
        self._said = text
        self._app.say(text, error=error)

    async def _wait(self) -> None:
        assert self._waiting is not None, "made by take"
        wanted, _, undone = self._waiting
        what = plural(wanted.count or len(wanted.what), "picture")
        await self._count_down(what)
        while await self._waits_for_node(what):
            await self._count_down(what)
        self._waiting = None
        await self._send(wanted, undone)

    async def _waits_for_node(self, what: str) -> bool:
        """Wait until there is a node, and keep what was chosen; say whether there was none."""
        waited = False
        while self._app.gateway.connection is not Connection.READY:
            undo = self._app.key_of("app.undo")
            self._say(f"not shared yet, {undo} takes it back: no node for {what}", error=True)
            waited = True
            await asyncio.sleep(_LOOK_S)
        return waited

    async def _count_down(self, what: str) -> None:
        """Tell the seconds that are left; without a node there is nothing to count to."""
        left = round(UNDO_S)
        while left:
            await self._counts.wait()
            if self._app.gateway.connection is not Connection.READY:
                return
            undo = self._app.key_of("app.undo")
            self._say(f"sharing {what} in {left} s, {undo} takes it back")
            await asyncio.sleep(1)
            if self._counts.is_set():
                left -= 1

    async def _send(self, wanted: Wanted, undone: Undone) -> bool:
        try:
            answer = await self._app.gateway.call("share", wanted.params())
        except GatewayError as error:
            if error.code == "node_lost":
                where = f"Shared by me ({self._app.key_of('show.shares')})"
                said = f"the node went away while it shared: {where} tells whether it did"
            else:
                said = f"not shared: {error}"
                undone()
            self._say(said, error=True)
            return False
        made = answer["capabilities"]
        people = ", ".join(str(one["holder"]) for one in made)
        said = f"shared {plural(wanted.count or len(wanted.what), 'picture')} with {people}"
        self._say(said)
        phrases = [(str(one["holder"]), str(one["factor"])) for one in made if one.get("factor")]
        if phrases:
            await self._app.push_screen(PhraseDialog(phrases))
        self._app.watched.watch([str(one["id"]) for one in made], said)
        return True
