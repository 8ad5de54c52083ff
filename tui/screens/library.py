"""Library: my pictures as a grid, found while typing, marked, shared, imported.

Belongs here: filters, the grid and its side panel, which actions there are on pictures.
Never here: the dialogs of those actions (``share``, ``importing``), drawing (``widgets``).

Every filter is one of `safelight images`, every action a command of its own.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input
from textual.worker import Worker

from node.control.schema import Browse, Classify, Import, Inspect, Show
from tui.gateway import GatewayError
from tui.screens.choosing import Choose
from tui.screens.dialog import AskText
from tui.screens.exporting import export
from tui.screens.facts import BROAD, CLASS_SIGNS, NARROW, picture_facts, row_facts, told_facts
from tui.screens.importing import CLASSIFICATIONS, ImportDialog
from tui.screens.metadata import MetadataDialog
from tui.screens.page import Page, Progress, marked_words
from tui.screens.viewer import Own, ViewerScreen, share
from tui.text import fit, plural
from tui.thumbnails import LibraryThumbnails
from tui.widgets.grid import Grid, Words
from tui.widgets.lines import Key
from tui.widgets.pages import Row
from tui.widgets.panel import Panel
from tui.widgets.rows import Chosen, Column, Failed, Marked, Moved

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.gateway import Gateway

_PANEL_FROM = 100
"""Columns of the terminal from which the side panel stands beside the grid."""

_BROAD_FROM = 180
"""Columns from which the panel is broader."""

_MOST_INSPECTED = 16_000_000
"""Bytes of an original that is looked into while the cursor rests on it; ``m`` looks into any."""

_REST_S = 0.15
"""How long the cursor rests before more is asked of a picture."""

_STATUSES = (None, "shared", "unshared", "received", "expiring")
_CEILINGS = (
    "nothing in it that may not be seen",
    "for the team",
    "for few, for days, as watermarked previews",
    "for very few, for hours, as watermarked previews",
)
"""What each is meant for; the policy says what that allows."""

_WORDY = 22
"""Columns of a cell from which a share is a word, not an arrow with a number."""

_FIELDS = ("album", "tag", "classification", "status", "person")
"""Filters that are typed as ``album:winter``; every other word is searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFilter:
    """What was typed into the filter."""

    query: str = ""
    album: str | None = None
    tag: str | None = None
    classification: str | None = None
    status: str | None = None
    person: str | None = None

    @classmethod
    def typed(cls, text: str) -> LibraryFilter:
        """Return the filter of words like ``sea album:'winter walk' status:shared``."""
        words: list[str] = []
        fields: dict[str, str] = {}
        try:
            parts = shlex.split(text)
        except ValueError:  # A quote is not closed yet, or is a letter like any other.
            parts = text.split()
        for word in parts:
            name, colon, value = word.partition(":")
            if colon and name in _FIELDS:
                if value:
                    fields[name] = value
            else:
                words.append(word)
        return replace(cls(query=" ".join(words)), **fields)

    def hint(self) -> str:
        """Return what may be typed where a field has nothing yet that it can have."""
        for name, value, choices in (
            ("status", self.status, [one for one in _STATUSES if one]),
            ("classification", self.classification, CLASSIFICATIONS),
        ):
            if value is not None and value not in choices:
                return f"{name}: {', '.join(choices)}"
        return ""


class LibrarySource:
    """Pages of the library under a filter."""

    def __init__(self, gateway: Gateway, wanted: LibraryFilter) -> None:
        self._gateway = gateway
        self._wanted = wanted

    async def page(self, offset: int, limit: int) -> tuple[int, list[Row]]:
        """Return how many pictures there are under the filter, and those from offset on."""
        wanted = self._wanted
        answer = await self._gateway.call(
            "browse",
            {
                "query": wanted.query,
                "album": wanted.album,
                "tag": wanted.tag,
                "classification": wanted.classification,
                "status": wanted.status,
                "person": wanted.person,
                "offset": offset,
                "limit": limit,
            },
        )
        return answer["total"], answer["images"]


assert set(LibraryFilter.__slots__) <= set(Browse.__struct_fields__)


class LibraryScreen(Page):
    """The thumbnail grid."""

    NAME = "Library"
    LISTENS = frozenset(
        {
            "imported",
            "expired",
            "revoked",
            "rendered",
            "log.issued",
            "log.revoked",
            "log.classified",
        }
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False, id="library.filter"),
        Binding("s", "share", "share", show=False, id="library.share"),
        Binding("i", "import", "import", show=False, id="library.import"),
        Binding("e", "export", "export", show=False, id="library.export"),
        Binding("m", "metadata", "hidden metadata", show=False, id="library.metadata"),
        Binding("a", "albums", "albums", show=False, id="library.albums"),
        Binding("f", "status", "all, shared, unshared …", show=False, id="library.status"),
        Binding("c", "classify", "classify", show=False, id="library.classify"),
        Binding("colon", "jump", "go to a number", show=False, id="library.jump"),
    ]
    DEFAULT_CSS = """
    LibraryScreen .content { layout: vertical; }
    LibraryScreen #filter { display: none; height: 1; border: none; padding: 0 1;
                            background: $panel; }
    LibraryScreen #filter.open { display: block; }
    LibraryScreen .beside { height: 1fr; }
    LibraryScreen Grid { width: 1fr; }
    LibraryScreen #panel {
        width: 38; height: 100%; padding: 0 1; background: $surface; display: none;
    }
    LibraryScreen.wide #panel { display: block; }
    LibraryScreen.broad #panel { width: 52; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._wanted = LibraryFilter()
        self._typed = LibraryFilter()
        """What stands in the filter's line."""
        self._hinted = False
        """The status line says what may be typed."""
        self._album: tuple[str, str] | None = None
        """Id and name of the album that was chosen."""
        self._unfinished: Import | None = None
        """An import that did not end by itself: the next dialog offers it again."""
        self._status: str | None = None
        self._looking: Worker[None] | None = None
        self._told: tuple[str, Content] | None = None
        """Id of the picture that the panel tells of in full, and what it says."""

    def body(self) -> ComposeResult:
        """Give the filter's line, the grid and the panel."""
        yield Input(placeholder="words, album:… tag:… status:shared person:…", id="filter")
        with Horizontal(classes="beside"):
            yield Grid(
                key=lambda row: row["id"],
                thumbnails=LibraryThumbnails(self.program.gateway, self.program.painter),
                name_of=lambda row: str(row["name"]),
                words_of=_words,
            )
            yield Panel(id="panel")

    @property
    def grid(self) -> Grid:
        """The grid."""
        return self.query_one(Grid)

    def first(self) -> Widget:
        """Let the grid take keys."""
        return self.grid

    def beside(self) -> str:
        """Return how many pictures there are, and how many are marked."""
        if not self.grid.pages.loaded:
            return ""
        filtered = " found" if self._wanted != LibraryFilter() else ""
        parts = [plural(self.grid.total, "picture") + filtered]
        if self._album is not None:
            parts.append(f"album {self._album[1]}")
        if self._status is not None:
            parts.append(self._status)
        parts += [marked_words(len(self.grid.pages.marks), "picture")]
        return " · ".join(part for part in parts if part)

    def sentence(self) -> str:
        """Say what to do with an empty library."""
        if not self.grid.pages.loaded or self.grid.total:
            return ""
        if self._wanted != LibraryFilter():
            return ""
        return f"No pictures yet. Press {self.program.key_of('library.import')} to import a folder."

    def keys(self) -> Sequence[Key]:
        """Return the keys of the grid."""
        return (
            self.bound("library.share", "share", "share"),
            self.bound("library.filter", "filter", "filter"),
            self.bound("library.import", "import", "import"),
            self.bound("library.albums", "albums", "albums"),
        )

    async def load(self) -> None:
        """Show the pictures under the filter as they are now."""
        self.grid.show(LibrarySource(self.program.gateway, self._wanted), keep=True)

    # Grid -----------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Show the panel where there is room for it."""
        self.set_class(event.size.width >= _PANEL_FROM, "wide")
        self.set_class(event.size.width >= _BROAD_FROM, "broad")
        self._show_panel()

    def on_moved(self, _message: Moved) -> None:
        """Tell of the picture under the cursor."""
        self.refresh_frame()
        self._show_panel()

    def _show_panel(self) -> None:
        row = self.grid.current
        if not self.has_class("wide"):
            return
        if row is None:
            self.query_one(Panel).update(Content(""))
            return
        known = self._told is not None and self._told[0] == row["id"]
        self._say_panel(row, self._told[1] if known and self._told is not None else Content(""))
        # What cannot be told from the row is asked for once the cursor rests.
        self._looking = self.run_worker(
            partial(self._look_closer, row), group="panel", exclusive=True
        )

    def _say_panel(self, row: Row, told: Content) -> None:
        facts = row_facts(row, self._facts_width)
        self.query_one(Panel).update(Content.assemble(facts, told))

    @property
    def _facts_width(self) -> int:
        return BROAD if self.has_class("broad") else NARROW

    @property
    def settled(self) -> bool:
        """Nothing is being loaded, and the panel says all there is to say."""
        return super().settled and (self._looking is None or self._looking.is_finished)

    async def _look_closer(self, row: Row) -> None:
        await asyncio.sleep(_REST_S)
        try:
            shown = await self.program.gateway.call("show", Show(image=str(row["id"])))
        except GatewayError:
            return  # The row says what is known.
        told = picture_facts(shown, self._facts_width)
        self._tell(row, told)
        if int(row["bytes"]) > _MOST_INSPECTED:
            return
        await asyncio.sleep(_REST_S)
        try:
            found = await self.program.gateway.call("inspect", Inspect(image=str(row["id"])))
        except GatewayError:
            return
        all_of_it = self.program.key_of("library.metadata")
        self._tell(row, told + told_facts(found["findings"], all_of_it, self._facts_width))

    def _tell(self, row: Row, told: Content) -> None:
        """Say this of a picture where the cursor is still on it."""
        for grid in self.query(Grid):  # None while the program ends.
            if grid.current is not None and grid.current["id"] == row["id"]:
                self._told = (str(row["id"]), told)
                self._say_panel(row, told)

    def on_marked(self, _message: Marked) -> None:
        """Count the marks."""
        self.refresh_frame()

    def on_failed(self, message: Failed) -> None:
        """Say why a page did not come."""
        self.say(str(message.error), error=True)

    def on_chosen(self, _message: Chosen) -> None:
        """Open the viewer."""
        self.app.push_screen(ViewerScreen(Own(self.program.gateway, self.grid)))

    # Actions --------------------------------------------------------------------------------------

    def action_share(self) -> None:
        """Share what is marked, else the picture under the cursor."""
        chosen = self.grid.chosen()
        if chosen:
            self.asks(self._share(chosen))

    async def _share(self, chosen: list[Row]) -> None:
        grid = self.grid
        marks, under = dict(grid.pages.marks), self._wanted

        def undone() -> None:
            # Only what is shown is marked: nothing of a locked vault, or of another filter.
            if grid.pages.loaded and self._wanted == under:
                grid.pages.marks = marks | grid.pages.marks
                grid.refresh()
                self.refresh_frame()

        if await share(self, chosen, undone):
            grid.clear_marks()

    def action_metadata(self) -> None:
        """Show what the picture under the cursor would reveal."""
        row = self.grid.current
        if row is not None:
            self.app.push_screen(MetadataDialog(self.program.gateway, row))

    def action_import(self) -> None:
        """Import files and folders."""
        self.asks(self._import())

    async def _import(self) -> None:
        albums = await self.program.gateway.call("albums")
        params = await self.program.push_screen_wait(
            ImportDialog(
                path=f"{Path.home()}/",
                album="" if self._album is None else self._album[1],
                albums=[str(one["name"]) for one in albums],
                again=self._unfinished,
            )
        )
        if params is None:
            return
        self._unfinished = params

        async def job(progress: Progress) -> Any:
            return await self.program.gateway.call("import", params, progress=progress)

        def done(answer: Any) -> str:
            self._unfinished = None
            images, failed = answer["images"], answer["failed"]
            again = sum(1 for one in images if one["duplicate"])
            said = f"imported {plural(len(images) - again, 'picture')}"
            if failed and not images:
                said = "nothing was imported"
            if again:
                said += f", {again} were here already"
            if failed:
                which = Path(str(failed[0]["path"])).name
                said += f", {len(failed)} failed: {which}: {failed[0]['message']}"
            self.reload()
            return said

        self.work("importing", job, done=done)

    def action_export(self) -> None:
        """Write the marked pictures as files, else the one under the cursor."""
        chosen = self.grid.chosen()
        if chosen:
            self.asks(export(self, chosen, done=self.grid.clear_marks))

    # Albums, status, classification ---------------------------------------------------------------

    def action_albums(self) -> None:
        """Choose an album to look at, or to share whole."""
        self.asks(self._albums())

    async def _albums(self) -> None:
        albums = await self.program.gateway.call("albums")
        chosen = await self.program.push_screen_wait(
            Choose(
                "Albums",
                albums,
                (
                    Column(title="album", text=lambda row: str(row["name"])),
                    Column(title="pictures", text=lambda row: f"{row['images']:,}", width=8),
                ),
                key="id",
                empty="No albums yet: an import with an album's name makes one.",
                more=(("s", "shares it"),),
            )
        )
        if chosen is None:
            return
        key, album = chosen
        if key == "s":
            await share(self, [album])
        else:
            self._album = (str(album["id"]), str(album["name"]))
            self._narrow()

    def action_status(self) -> None:
        """Show all, only what is shared, what is not, what was received, or what ends soon."""
        place = _STATUSES.index(self._status)
        self._status = _STATUSES[(place + 1) % len(_STATUSES)]
        self._narrow()

    def action_classify(self) -> None:
        """Say how sensitive the marked pictures are, else the one under the cursor."""
        chosen = self.grid.chosen()
        if chosen:
            self.asks(self._classify(chosen))

    async def _classify(self, chosen: list[Row]) -> None:
        now = str(chosen[0]["classification"])
        answer = await self.program.push_screen_wait(
            Choose(
                f"{plural(len(chosen), 'picture')}: how sensitive?",
                [
                    {"name": name, "words": words}
                    for name, words in zip(CLASSIFICATIONS, _CEILINGS, strict=True)
                ],
                (
                    Column(title="classification", text=lambda row: str(row["name"]), width=14),
                    Column(title="", text=lambda row: str(row["words"])),
                ),
                key="name",
                empty="",
                at=CLASSIFICATIONS.index(now) if now in CLASSIFICATIONS else 0,
            )
        )
        if answer is None:
            return
        name = str(answer[1]["name"])
        params = Classify(what=[str(one["id"]) for one in chosen], classification=name)
        if await self.ask("classify", params) is not None:
            self.grid.clear_marks()
            self.say(f"{plural(len(chosen), 'picture is', 'pictures are')} {name} now")
            self.reload()

    def action_jump(self) -> None:
        """Go to a picture by its number."""
        if self.grid.total:
            self.asks(self._jump())

    async def _jump(self) -> None:
        typed = await self.program.push_screen_wait(
            AskText("Go to", f"A number from 1 to {self.grid.total:,}:", needs="It needs a number.")
        )
        if typed and typed.strip().isdecimal():
            self.grid.move_to(int(typed) - 1)
        elif typed:
            self.say(f"not a number: {typed}", error=True)

    def on_screen_suspend(self) -> None:
        """Draw nothing in the clear behind a dialog."""
        self.grid.cover(True)

    def on_screen_resume(self) -> None:
        """Draw the pictures again."""
        self.grid.cover(False)
        super().on_screen_resume()

    def forget(self) -> None:
        """Drop rows, thumbnails, filters, and what the panel says."""
        self._told = self._unfinished = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._album = self._status = None
        self._wanted = self._typed = LibraryFilter()
        super().forget()
        if self.is_mounted:
            self.grid.forget()
            self.query_one(Panel).update(Content(""))
            self.query_one("#filter", Input).remove_class("open")

    def narrower(self) -> bool:
        """Take back marks, then the filter."""
        if self.grid.clear_marks():
            return True
        line = self.query_one("#filter", Input)
        if line.has_class("open"):
            line.value = ""
            line.remove_class("open")
            self.grid.focus()
            return True
        if self._album is not None or self._status is not None:
            self._album = self._status = None
            self._narrow()
            return True
        return False

    # Filter ---------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type a filter; the grid follows."""
        if self.has_class("bare"):
            return
        line = self.query_one("#filter", Input)
        line.add_class("open")
        line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter by what stands there now."""
        typed = LibraryFilter.typed(event.value)
        hint = typed.hint()
        if hint or self._hinted:
            self.say(hint)
        self._hinted = bool(hint)
        if not hint:
            self._typed = typed
            self._narrow()

    def _narrow(self) -> None:
        """Show what fits the line, the album and the status that were chosen."""
        wanted = replace(
            self._typed,
            album=self._typed.album or (None if self._album is None else self._album[0]),
            status=self._typed.status or self._status,
        )
        if wanted != self._wanted:
            self._wanted = wanted
            self.grid.show(LibrarySource(self.program.gateway, wanted))
            self.refresh_frame()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go to the grid; the filter stays."""
        self.grid.focus()


def _words(row: Row, width: int) -> Words:
    """Return how sensitive a picture is and how often it is shared, in so many cells."""
    sign, style = CLASS_SIGNS.get(row["classification"], (str(row["classification"]), "bad"))
    shared = ""
    if row["shares"]:
        shared = f"→ {plural(row['shares'], 'share')}" if width >= _WORDY else f"→{row['shares']}"
    kind = fit(sign, width - len(shared) - bool(shared))
    return ((kind, style), (f" {shared}" if shared else "", "ok"))
