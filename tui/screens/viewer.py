"""Viewer: one picture as large and sharp as the terminal can.

Belongs here: what one does in front of any picture, and what an own one is.
Never here: pictures of others (``granted``), drawing (``widgets.picture``), lists of pictures.

What it goes through is a ``Sequence`` of its caller: the library's grid, or a capability's list.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Show, Thumbnail
from tui.gateway import Connection, GatewayError
from tui.screens.dialog import Answer, Ask
from tui.screens.facts import picture_facts, row_facts
from tui.screens.metadata import MetadataDialog
from tui.screens.page import Page
from tui.screens.sending import Undone
from tui.screens.share import ShareDialog
from tui.text import plural
from tui.widgets.decoded import Decoded
from tui.widgets.lines import Key
from tui.widgets.picture import Picture, PictureView
from tui.window import MOST_PIXELS, Window, why_none

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.gateway import Gateway
    from tui.widgets.pages import Row
    from tui.widgets.rows import Listing

_FACTS_FROM: Final = 100
"""Columns of the terminal from which facts stand beside the picture."""


class Viewed(Protocol):
    """What the viewer goes through."""

    @property
    def total(self) -> int:
        """How many pictures there are."""

    @property
    def place(self) -> int:
        """Which one is looked at now."""

    def go(self, place: int) -> None:
        """Look at another."""

    def name(self) -> str:
        """Return the name of the one looked at."""

    def words(self) -> str:
        """Return what it is, or what one may do with it, in one sentence."""

    def row(self) -> Row | None:
        """Return the own picture looked at; None where it is somebody else's."""

    def may_be_saved(self) -> bool:
        """Say whether it may be kept in the own library."""

    async def facts(self) -> Content:
        """Return what there is to know of it, in lines."""

    async def picture(self, screen: ViewerScreen, *, asked: bool) -> Picture | None:
        """Return its pixels, or None where they are not shown; says why on the screen.

        ``asked`` says that a person pressed Enter for them: nothing is spent without.
        """

    async def gone(self) -> str:
        """Return why it may not be looked at any more, else nothing."""

    async def save(self, screen: ViewerScreen) -> None:
        """Keep the one looked at, where that is granted."""

    async def close(self) -> None:
        """Drop what is held of it."""


class ViewerScreen(Page):
    """One picture."""

    NAME = "Viewer"
    LISTENS = frozenset({"revoked", "expired", "amended", "log.issued", "log.revoked"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "step(1)", "next", show=False, id="viewer.next"),
        Binding("p", "step(-1)", "previous", show=False, id="viewer.previous"),
        Binding("enter", "enter", "open", show=False, id="page.enter"),
        Binding("s", "share", "share", show=False, id="viewer.share"),
        Binding("m", "metadata", "hidden metadata", show=False, id="viewer.metadata"),
        Binding("w", "save", "save", show=False, id="viewer.save"),
        Binding("o", "window", "plain window", show=False, id="viewer.window"),
    ]
    DEFAULT_CSS = """
    ViewerScreen .beside { height: 1fr; }
    ViewerScreen PictureView { width: 1fr; }
    ViewerScreen #facts {
        width: 38; height: 100%; padding: 0 1; background: $surface; display: none;
    }
    ViewerScreen.wide #facts { display: block; }
    ViewerScreen #cover { width: 1fr; height: 100%; padding: 1 2; display: none; }
    ViewerScreen.covered #cover { display: block; }
    ViewerScreen.covered PictureView { display: none; }
    ViewerScreen.covered #facts { display: none; }
    """

    def __init__(self, viewed: Viewed) -> None:
        super().__init__()
        self._viewed = viewed
        self._begun = False
        self.view: PictureView
        """The picture's widget, once the screen is laid out."""
        self._picture: Picture | None = None
        """What is shown now."""
        self._window = Window()
        # Kept here: what goes on while the screen closes finds no widgets by asking for them.
        self._covering = Static(id="cover")
        self._facts = Static(id="facts")

    def body(self) -> ComposeResult:
        """Give the picture, what is said in its place, and its facts beside it."""
        self.view = PictureView(self.program.painter)
        with Horizontal(classes="beside"):
            yield self.view
            yield self._covering
            yield self._facts

    def on_resize(self, event: events.Resize) -> None:
        """Show the facts where there is room for them."""
        self.set_class(event.size.width >= _FACTS_FROM, "wide")

    def first(self) -> Widget:
        """Let the picture take keys."""
        return self.view

    def beside(self) -> str:
        """Return the name, which of how many, and how close."""
        viewed = self._viewed
        zoom = f" · ×{self.view.zoom:g}" if self.view.zoom != 1 else ""
        return f"{viewed.name()} · {viewed.place + 1:,}/{viewed.total:,}{zoom}"

    def keys(self) -> Sequence[Key]:
        """Return the keys of one picture."""
        steps = (
            self.bound("viewer.next", "next", "step(1)"),
            self.bound("viewer.previous", "previous", "step(-1)"),
        )
        if self.has_class("covered"):
            return (self.bound("page.enter", "open", "enter"), *steps)
        closer = self.bound("picture.closer", "closer", "zoom(1)")
        if self._viewed.row() is None:
            saved = (self.bound("viewer.save", "save", "save"),)
            return (*steps, closer, *(saved if self._viewed.may_be_saved() else ()))
        return (*steps, closer, self.bound("viewer.share", "share", "share"))

    async def load(self) -> None:
        """Show the picture; later only what may be said of it now, and whether it still may."""
        if not self._begun:
            self._begun = True
            self._show()
            return
        gone = await self._viewed.gone()
        if gone:
            await self._viewed.close()
            self.cover(gone)
            self.say(gone, error=True)
        await self._say_facts()

    def _show(self, *, asked: bool = False) -> None:
        self.run_worker(partial(self._shown, asked), group="shown", exclusive=True)

    async def _shown(self, asked: bool) -> None:
        self.say(self._viewed.words())
        if not asked:
            self.view.show(None, "…")
        self.refresh_frame()
        try:
            picture = await self._viewed.picture(self, asked=asked)
        except GatewayError as error:
            self.cover(str(error))
            self.say(str(error), error=True)
            return
        if picture is not None:
            self.remove_class("covered")
            self.set_focus(self.view)
            self._picture = picture
            self.view.show(picture, self._viewed.name())
            self.say(self._viewed.words())
        self.refresh_frame()
        await self._say_facts()

    async def _say_facts(self) -> None:
        try:
            facts = await self._viewed.facts()
        except GatewayError:
            return  # What is shown says itself what is wrong.
        self._facts.update(Content.assemble(facts))

    def cover(self, words: str) -> None:
        """Show words in the picture's place, and no pixel."""
        self._picture = None
        self._window.kill()
        self.view.show(None)
        self._covering.update(Content(words))
        self.add_class("covered")
        self.refresh_frame()

    def action_enter(self) -> None:
        """Open what is covered."""
        if self.program.gateway.connection is not Connection.READY:
            super().action_enter()
        elif self.has_class("covered"):
            self._show(asked=True)

    def action_share(self) -> None:
        """Share the own picture."""
        row = self._viewed.row()
        if row is None:
            self.say("this picture is not yours to share", error=True)
        else:
            self.asks(share(self, [row]))

    def action_metadata(self) -> None:
        """Show what the own picture would reveal."""
        row = self._viewed.row()
        if row is None:
            self.say("what its owner removed, nobody can show here", error=True)
        else:
            self.app.push_screen(MetadataDialog(self.program.gateway, row))

    def action_window(self) -> None:
        """Show the picture in a plain window beside the terminal, or close that."""
        if why := why_none():
            self.say(why, error=True)
        elif self._window.is_open:
            self.run_worker(self._window.close)
        elif self._picture is not None:
            self.later(self._show_window(self._picture))

    async def _show_window(self, picture: Picture) -> None:
        pixels = await picture.fitted(*MOST_PIXELS)
        if picture is not self._picture:
            return
        try:
            await self._window.show(pixels.rgb, pixels.width, pixels.height)
        except OSError as error:
            self.say(f"no window: {error.strerror}", error=True)
        if picture is not self._picture:
            # Taken back, locked or left while the window came up.
            await self._window.close()

    def action_save(self) -> None:
        """Keep the picture, where that is granted."""
        self.asks(self._viewed.save(self))

    def action_step(self, by: int) -> None:
        """Go to the next picture or the one before."""
        wanted = self._viewed.place + by
        if 0 <= wanted < self._viewed.total:
            self.later(self._step(wanted))

    async def _step(self, wanted: int) -> None:
        self._picture = None
        await self._window.close()
        await self._viewed.close()
        self._viewed.go(wanted)
        self._show()

    def action_zoom(self, by: int) -> None:
        """Come closer or go farther."""
        self.view.action_zoom(by)
        self.refresh_frame()

    def on_picture_view_failed(self, message: PictureView.Failed) -> None:
        """Say why the picture is not drawn."""
        self.cover(str(message.error))
        self.say(str(message.error), error=True)

    def on_picture_view_drawn(self, _message: PictureView.Drawn) -> None:
        """Tell how close it is."""
        self.refresh_frame()

    def on_unmount(self) -> None:
        """Drop the pixels."""
        super().on_unmount()
        self._picture = None
        self._window.kill()
        self.program.run_worker(self._viewed.close)

    async def confirm(self, heading: str, words: str) -> bool:
        """Ask before an open is spent of a few."""
        answer = await self.program.push_screen_wait(
            Ask(
                heading,
                words,
                answers=(Answer("k", "Keep it", "keep"), Answer("o", "Open", "open")),
            )
        )
        return answer == "open"


async def share(page: Page, chosen: list[Row], undone: Undone = lambda: None) -> bool:
    """Ask with whom to share pictures or albums, and send it in ten seconds; say whether.

    ``undone`` puts back what was chosen, where nothing comes of it after all.
    """
    wanted = await page.program.push_screen_wait(ShareDialog(page.program.gateway, chosen))
    if wanted is None:
        return False
    await page.program.unsent.take(wanted, undone)
    return True


# Own pictures -------------------------------------------------------------------------------------


class Own:
    """Pictures of the library, through the listing that shows them."""

    def __init__(self, gateway: Gateway, listing: Listing) -> None:
        self._gateway = gateway
        self._listing = listing
        self._kept: dict[str, Decoded] = {}
        """The picture looked at and its neighbours, decoded."""

    @property
    def total(self) -> int:
        """How many pictures the listing has."""
        return self._listing.total

    @property
    def place(self) -> int:
        """Where the listing's cursor is."""
        return self._listing.cursor

    def go(self, place: int) -> None:
        """Move the listing's cursor, so that going back finds it there."""
        self._listing.move_to(place)

    def name(self) -> str:
        """Return the picture's name."""
        row = self._listing.current
        return "…" if row is None else str(row["name"])

    def words(self) -> str:
        """Return its size, classification and shares."""
        row = self._listing.current
        if row is None:
            return ""
        return (
            f"{row['width']} × {row['height']} {row['format']} · {row['classification']} · "
            + plural(row["shares"], "live capability", "live capabilities")
        )

    def row(self) -> Row | None:
        """Return the picture's row."""
        return self._listing.current

    async def facts(self) -> Content:
        """Return its row and what the node tells besides."""
        row = self._listing.current
        if row is None:
            return Content("")
        shown = await self._gateway.call("show", Show(image=str(row["id"])))
        return row_facts(row) + picture_facts(shown)

    async def gone(self) -> str:
        """Return nothing: own pictures stay."""
        return ""

    def may_be_saved(self) -> bool:
        """Say no: it is there already."""
        return False

    async def save(self, screen: ViewerScreen) -> None:
        """Say that there is nothing to keep."""
        screen.say("this picture is yours already")

    async def picture(self, screen: ViewerScreen, *, asked: bool) -> Picture | None:
        """Return the large thumbnail; its neighbours are fetched behind it."""
        del asked  # Own pictures cost nothing.
        row = self._listing.current
        if row is None:
            return None
        image = await self._image(row)
        near = [self._listing.pages.row(self.place + step) for step in (1, -1)]
        screen.run_worker(partial(self._prefetch, [one for one in near if one is not None]))
        return image

    async def _prefetch(self, rows: list[Row]) -> None:
        for row in rows:
            try:
                await self._image(row)
            except (GatewayError, ValueError):
                return
        keep = {str(row["id"]) for row in rows}
        current = self._listing.current
        if current is not None:
            keep.add(str(current["id"]))
        for name in [one for one in self._kept if one not in keep]:
            del self._kept[name]

    async def _image(self, row: Row) -> Decoded:
        name = str(row["id"])
        if name not in self._kept:
            answer = await self._gateway.call("thumbnail", Thumbnail(image=name, size=1024))
            self._kept[name] = await Decoded.of(answer["data"])
        return self._kept[name]

    async def close(self) -> None:
        """Keep the neighbours: they are looked at next."""
