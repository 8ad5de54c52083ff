"""Shared with me: what I may look at, how often still, until when.

Belongs here: the list of capabilities that were granted to this node, and opening one.
Never here: the picture itself (``viewer``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Fetch, Save
from tui.screens.dialog import Answer, Ask
from tui.screens.page import Page, Progress
from tui.screens.viewer import Granted, ViewerScreen
from tui.text import plural
from tui.times import left
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Chosen, Column, Moved, Rows

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.widgets.pages import Row

SIGNS = {
    "live": ("● live", "ok"),
    "pending": ("◌ not yet", "dim"),
    "expired": ("○ expired", "dim"),
    "exhausted": ("◍ used up", "warn"),
    "revoked": ("✕ revoked", "bad"),
    "lapsed": ("✕ lapsed", "bad"),
}
"""A glyph, a word and a colour for each state: none of them alone."""


def state_column() -> Column:
    """Return the column of a capability's state."""
    return Column(
        title="state",
        text=lambda row: SIGNS.get(row["state"], (row["state"], ""))[0],
        style=lambda row: SIGNS.get(row["state"], ("", ""))[1],
        width=10,
    )


def _pictures(row: Row) -> str:
    images = row["images"]
    names = ", ".join(str(one["name"]) for one in images[:3])
    more = len(images) - 3
    return names + (f" and {more} more" if more > 0 else "")


class InboxScreen(Page):
    """What was granted to me."""

    NAME = "Shared with me"
    LISTENS = frozenset({"received", "ready", "amended", "revoked", "expired"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "fetch", "fetch", show=False, id="inbox.fetch"),
        Binding("w", "save", "save", show=False, id="inbox.save"),
    ]
    DEFAULT_CSS = """
    InboxScreen Rows { height: 1fr; }
    InboxScreen .told { height: auto; max-height: 4; padding: 0 1; background: $surface; }
    """

    def body(self) -> ComposeResult:
        """Give the list and, below it, the sentence of the capability under the cursor."""
        yield Rows(
            (
                state_column(),
                Column(title="pictures", text=_pictures),
                Column(title="from", text=lambda row: str(row["issuer"]), width=14, least=50),
                Column(title="opens", text=lambda row: f"{row['opens_left']}", width=5, least=60),
                Column(title="ends in", text=lambda row: left(row["expires_at"]), width=9),
            ),
            key=lambda row: row["id"],
        )
        yield Static(classes="told")

    @property
    def rows(self) -> Rows:
        """The list."""
        return self.query_one(Rows)

    def first(self) -> Widget:
        """Let the list take keys."""
        return self.rows

    def beside(self) -> str:
        """Return how many there are."""
        return plural(self.rows.total, "capability", "capabilities") if self.rows.total else ""

    def sentence(self) -> str:
        """Say what comes here."""
        if self.rows.pages.loaded and not self.rows.total:
            return "Nothing was shared with you yet. What team-mates share appears here by itself."
        return ""

    def keys(self) -> Sequence[Key]:
        """Return the keys of a capability."""
        return (
            Key("Enter", "open", "choose"),
            Key("f", "fetch", "fetch"),
            Key("w", "save", "save"),
        )

    async def load(self) -> None:
        """Fetch the list."""
        found = await self.program.gateway.call("inbox")
        self.rows.show(Fixed(found), keep=self.rows.pages.loaded)

    def on_mount(self) -> None:
        """Count down."""
        self.set_interval(30, self.rows.refresh)

    def on_moved(self, _message: Moved) -> None:
        """Say in a sentence what may be done."""
        row = self.rows.current
        said = ""
        if row is not None:
            said = str(row["sentence"])
            if row["usage_terms"]:
                said += f"\nTerms: {row['usage_terms']}"
        self.query_one(".told", Static).update(Content(said))
        self.refresh_frame()

    def on_chosen(self, _message: Chosen) -> None:
        """Look at the first picture of the capability."""
        row = self.rows.current
        if row is not None and row["images"]:
            self.app.push_screen(ViewerScreen(Granted(self.program.gateway, row, 0)))

    def action_choose(self) -> None:
        """Look at the capability under the cursor."""
        self.rows.action_choose()

    def action_fetch(self) -> None:
        """Fetch the sealed pictures without opening them."""
        row = self.rows.current
        if row is None:
            return
        params = Fetch(capability=str(row["id"]))

        async def job(progress: Progress) -> Any:
            return await self.program.gateway.call("fetch", params, progress=progress)

        self.work(
            "fetching",
            job,
            done=lambda answer: f"fetched {plural(answer['fetched'], 'picture')}, none opened",
        )

    def action_save(self) -> None:
        """Save the pictures into the own library; an open each."""
        row = self.rows.current
        if row is not None:
            self.later(self._save(row))

    async def _save(self, row: Row) -> None:
        if "save" not in row["rights"]:
            self.say("saving was not granted here", error=True)
            return
        count = len(row["images"])
        answer = await self.program.push_screen_wait(
            Ask(
                f"Save {plural(count, 'picture')}?",
                f"This spends an open of each. {row['sentence']}",
                answers=(Answer("k", "Keep them", "keep"), Answer("s", "Save", "save")),
            )
        )
        if answer != "save":
            return
        params = Save(capability=str(row["id"]))

        async def job(progress: Progress) -> Any:
            return await self.program.gateway.call("save", params, progress=progress)

        self.work("saving", job, done=lambda saved: f"saved {plural(len(saved['files']), 'file')}")
