"""Library: my pictures as a grid, found while typing, marked, shared, imported.

Belongs here: filters, the grid and its side panel, which actions there are on pictures.
Never here: the dialogs of those actions (``share``, ``importing``), drawing (``widgets``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from node.cli.common import absolute
from node.control.schema import Browse, Import
from tui.screens.dialog import AskText
from tui.screens.metadata import MetadataDialog
from tui.screens.page import Page, Progress, marked_words
from tui.screens.share import ShareDialog
from tui.screens.viewer import Own, ViewerScreen
from tui.text import plural
from tui.thumbnails import LibraryThumbnails
from tui.widgets.grid import Grid
from tui.widgets.lines import Key
from tui.widgets.pages import Row
from tui.widgets.rows import Chosen, Failed, Marked, Moved

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.gateway import Gateway

_PANEL_FROM = 100
"""Columns of the terminal from which the side panel stands beside the grid."""

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
        """Return the filter of words like ``sea album:winter status:shared``."""
        words: list[str] = []
        fields: dict[str, str] = {}
        for word in text.split():
            name, colon, value = word.partition(":")
            if colon and name in _FIELDS:
                if value:
                    fields[name] = value
            else:
                words.append(word)
        return replace(cls(query=" ".join(words)), **fields)


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
    LISTENS = frozenset({"imported", "expired", "revoked", "rendered"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False, id="library.filter"),
        Binding("s", "share", "share", show=False, id="library.share"),
        Binding("i", "import", "import", show=False, id="library.import"),
        Binding("m", "metadata", "hidden metadata", show=False, id="library.metadata"),
    ]
    DEFAULT_CSS = """
    LibraryScreen .content { layout: vertical; }
    LibraryScreen #filter { display: none; height: 1; border: none; padding: 0 1;
                            background: $panel; }
    LibraryScreen #filter.open { display: block; }
    LibraryScreen .beside { height: 1fr; }
    LibraryScreen Grid { width: 1fr; }
    LibraryScreen #panel { width: 34; padding: 0 1; background: $surface; display: none; }
    LibraryScreen.wide #panel { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._wanted = LibraryFilter()

    def body(self) -> ComposeResult:
        """Give the filter's line, the grid and the panel."""
        yield Input(placeholder="words, album:… tag:… status:shared person:…", id="filter")
        with Horizontal(classes="beside"):
            yield Grid(
                key=lambda row: row["id"],
                thumbnails=LibraryThumbnails(self.program.gateway, self.program.pictures),
                name_of=lambda row: str(row["name"]),
                words_of=_words,
            )
            yield Static(id="panel")

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
        parts += [marked_words(len(self.grid.pages.marks), "picture")]
        return " · ".join(part for part in parts if part)

    def sentence(self) -> str:
        """Say what to do with an empty library."""
        if not self.grid.pages.loaded or self.grid.total:
            return ""
        if self._wanted != LibraryFilter():
            return ""
        return "No pictures yet. Press i to import a folder."

    def keys(self) -> Sequence[Key]:
        """Return the keys of the grid."""
        return (
            Key("s", "share", "share"),
            Key("/", "filter", "filter"),
            Key("i", "import", "import"),
            Key("space", "mark", "mark"),
        )

    async def load(self) -> None:
        """Show the pictures under the filter as they are now."""
        self.grid.show(LibrarySource(self.program.gateway, self._wanted), keep=True)

    # Grid -----------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Show the panel where there is room for it."""
        self.set_class(self.size.width >= _PANEL_FROM, "wide")

    def on_moved(self, _message: Moved) -> None:
        """Tell of the picture under the cursor."""
        self.refresh_frame()
        row = self.grid.current
        if self.has_class("wide"):
            self.query_one("#panel", Static).update(Content(_panel(row) if row else ""))

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
            self.later(self._share(chosen))

    async def _share(self, chosen: list[Row]) -> None:
        wanted = await self.program.push_screen_wait(ShareDialog(self.program.gateway, chosen))
        if wanted is not None:
            self.grid.clear_marks()
            await self.program.unsent.take(wanted)

    def action_metadata(self) -> None:
        """Show what the picture under the cursor would reveal."""
        row = self.grid.current
        if row is not None:
            self.app.push_screen(MetadataDialog(self.program.gateway, row))

    def action_import(self) -> None:
        """Import files and folders."""
        self.later(self._import())

    async def _import(self) -> None:
        path = await self.program.push_screen_wait(
            AskText("Import pictures", "A file or a folder:", value=f"{Path.home()}/")
        )
        if not path:
            return
        params = Import(paths=[absolute(Path(path))])

        async def job(progress: Progress) -> Any:
            return await self.program.gateway.call("import", params, progress=progress)

        def done(answer: Any) -> str:
            images, failed = answer["images"], answer["failed"]
            again = sum(1 for one in images if one["duplicate"])
            said = f"imported {plural(len(images) - again, 'picture')}"
            if again:
                said += f", {again} were here already"
            if failed:
                said += f", {len(failed)} failed: {failed[0]['message']}"
            self.reload()
            return said

        self.work("importing", job, done=done)

    def on_screen_suspend(self) -> None:
        """Draw nothing in the clear behind a dialog."""
        self.grid.cover(True)

    def on_screen_resume(self) -> None:
        """Draw the pictures again."""
        self.grid.cover(False)
        super().on_screen_resume()

    def forget(self) -> None:
        """Drop the thumbnails."""
        self.grid.forget()

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
        wanted = LibraryFilter.typed(event.value)
        if wanted != self._wanted:
            self._wanted = wanted
            self.grid.show(LibrarySource(self.program.gateway, wanted))

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go to the grid; the filter stays."""
        self.grid.focus()


def _words(row: Row) -> str:
    words = [str(row["classification"])]
    if row["shares"]:
        words.append(f"→{row['shares']}")
    return " ".join(words)


def _panel(row: dict[str, Any]) -> str:
    lines = [
        str(row["name"]),
        "",
        f"{row['width']} × {row['height']} {row['format']}",
        f"{row['bytes'] / 1e6:.1f} MB",
        f"class   {row['classification']}",
        f"albums  {', '.join(row['albums']) or '–'}",
        f"tags    {', '.join(row['tags']) or '–'}",
        f"shared  {plural(row['shares'], 'live capability', 'live capabilities')}",
    ]
    return "\n".join(lines)
