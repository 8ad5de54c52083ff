"""Viewer: one picture as large and sharp as the terminal can.

Belongs here: an own picture or an opened one, going to the next, its facts beside it.
Never here: drawing (``widgets.picture``), lists of pictures.

What it goes through is a ``Sequence`` of its caller: the library's grid, or a capability's list.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from node.control.schema import CloseOpen, Open, OpenPixels, Thumbnail
from tui.gateway import GatewayError
from tui.screens.dialog import Answer, Ask, AskText
from tui.screens.page import Page
from tui.text import plural
from tui.widgets.lines import Key
from tui.widgets.picture import Picture, PictureView, Pixels

if TYPE_CHECKING:
    from PIL.Image import Image
    from textual.widget import Widget

    from tui.gateway import Gateway
    from tui.widgets.pages import Row
    from tui.widgets.rows import Listing

_FEW: Final = 3
"""Opens left at which spending one is asked about first."""


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

    async def picture(self, screen: ViewerScreen) -> Picture | None:
        """Return its pixels, or None where they are not to be had; says why on the screen."""

    async def close(self) -> None:
        """Drop what is held of it."""


class ViewerScreen(Page):
    """One picture."""

    NAME = "Viewer"
    LISTENS = frozenset({"revoked", "expired"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "step(1)", "next", show=False, id="viewer.next"),
        Binding("p", "step(-1)", "previous", show=False, id="viewer.previous"),
        Binding("enter", "enter", "open", show=False, id="viewer.open"),
    ]

    def __init__(self, viewed: Viewed) -> None:
        super().__init__()
        self._viewed = viewed

    def body(self) -> ComposeResult:
        """Give the picture."""
        yield PictureView(self.program.pictures)

    @property
    def view(self) -> PictureView:
        """The picture's widget."""
        return self.query_one(PictureView)

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
        return (
            Key("n", "next", "step(1)"),
            Key("p", "previous", "step(-1)"),
            Key("+", "closer", "zoom(1)"),
            Key("-", "farther", "zoom(-1)"),
        )

    async def load(self) -> None:
        """Show the picture that is looked at."""
        self._show()

    def _show(self) -> None:
        self.run_worker(self._shown(), group="shown", exclusive=True)

    async def _shown(self) -> None:
        self.say(self._viewed.words())
        self.view.show(None, "…")
        self.refresh_frame()
        try:
            picture = await self._viewed.picture(self)
        except GatewayError as error:
            self.view.show(None, str(error))
            self.say(str(error), error=True)
            return
        if picture is not None:
            self.view.show(picture, self._viewed.name())
        self.say(self._viewed.words())
        self.refresh_frame()

    def action_step(self, by: int) -> None:
        """Go to the next picture or the one before."""
        wanted = self._viewed.place + by
        if 0 <= wanted < self._viewed.total:
            self.later(self._step(wanted))

    async def _step(self, wanted: int) -> None:
        await self._viewed.close()
        self._viewed.go(wanted)
        self._show()

    def action_zoom(self, by: int) -> None:
        """Come closer or go farther."""
        self.view.action_zoom(by)
        self.refresh_frame()

    def on_picture_view_failed(self, message: PictureView.Failed) -> None:
        """Say why the picture is not drawn."""
        self.view.show(None, str(message.error))
        self.say(str(message.error), error=True)

    def on_picture_view_drawn(self, _message: PictureView.Drawn) -> None:
        """Tell how close it is."""
        self.refresh_frame()

    def on_unmount(self) -> None:
        """Drop the pixels."""
        super().on_unmount()
        self.program.run_worker(self._viewed.close())

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

    async def phrase(self) -> str | None:
        """Ask for a second-factor phrase."""
        return await self.program.push_screen_wait(
            AskText("Second factor", "The phrase that its issuer told you:", password=True)
        )


# Own pictures -------------------------------------------------------------------------------------


class Own:
    """Pictures of the library, through the listing that shows them."""

    def __init__(self, gateway: Gateway, listing: Listing) -> None:
        self._gateway = gateway
        self._listing = listing
        self._kept: dict[str, Image] = {}
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

    async def picture(self, _screen: ViewerScreen) -> Picture | None:
        """Return the large thumbnail; its neighbours are fetched behind it."""
        row = self._listing.current
        if row is None:
            return None
        image = await self._image(row)
        near = [self._listing.pages.row(self.place + step) for step in (1, -1)]
        self._listing.screen.run_worker(self._prefetch([one for one in near if one is not None]))
        return _Decoded(image)

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

    async def _image(self, row: Row) -> Image:
        name = str(row["id"])
        if name not in self._kept:
            answer = await self._gateway.call("thumbnail", Thumbnail(image=name, size=1024))
            self._kept[name] = await asyncio.to_thread(_decode, answer["data"])
        return self._kept[name]

    async def close(self) -> None:
        """Keep the neighbours: they are looked at next."""


def _decode(data: str) -> Image:
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(data)), formats=("JPEG", "PNG", "WEBP"))
    return image.convert("RGB")


class _Decoded:
    """A decoded picture, fitted by the library that decoded it."""

    def __init__(self, image: Image) -> None:
        self._image = image

    async def fitted(self, width: int, height: int) -> Pixels:
        return await asyncio.to_thread(self._fit, width, height)

    def _fit(self, width: int, height: int) -> Pixels:
        from PIL import Image

        scale = min(width / self._image.width, height / self._image.height)
        size = (max(1, round(self._image.width * scale)), max(1, round(self._image.height * scale)))
        fitted = self._image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        return Pixels(width=size[0], height=size[1], rgb=fitted.tobytes())


# Pictures of others -------------------------------------------------------------------------------


class Granted:
    """The pictures of one capability that was granted to this node; looking at one opens it."""

    def __init__(self, gateway: Gateway, capability: dict[str, Any], place: int) -> None:
        self._gateway = gateway
        self._capability = capability
        self._place = place
        self._open_id: str | None = None
        self._left: int | None = None

    @property
    def total(self) -> int:
        """How many pictures the capability has."""
        return len(self._capability["images"])

    @property
    def place(self) -> int:
        """Which one is looked at."""
        return self._place

    def go(self, place: int) -> None:
        """Look at another."""
        self._place = place
        self._left = None

    @property
    def _image(self) -> dict[str, Any]:
        image: dict[str, Any] = self._capability["images"][self._place]
        return image

    def name(self) -> str:
        """Return the picture's name as its issuer told it."""
        return str(self._image["name"])

    def words(self) -> str:
        """Return what may be done with it, how often still, until when."""
        left = self._image["opens_left"] if self._left is None else self._left
        return f"{self._capability['sentence']} {plural(left, 'open')} left."

    async def picture(self, screen: ViewerScreen) -> Picture | None:
        """Open the picture: asks first where that spends one of a few."""
        left = int(self._image["opens_left"])
        if left <= _FEW and not await screen.confirm(
            f"Open {self.name()}?",
            f"This spends one of {plural(left, 'open')} left. {self._capability['sentence']}",
        ):
            screen.view.show(None, "not opened: Enter opens it")
            return None
        factor = await screen.phrase() if self._capability["factor"] else None
        opened = await self._gateway.call(
            "open",
            Open(capability=self._capability["id"], image=self._image["id"], factor=factor),
        )
        self._open_id = opened["open_id"]
        self._left = self._image["opens_left"] = opened["opens_left"]
        return _Opened(self._gateway, opened["open_id"])

    async def close(self) -> None:
        """Drop the pixels of the open."""
        if self._open_id is not None:
            open_id, self._open_id = self._open_id, None
            await self._gateway.call("close_open", CloseOpen(open_id=open_id))


class _Opened:
    """An opened picture, whose pixels the node holds and fits."""

    def __init__(self, gateway: Gateway, open_id: str) -> None:
        self._gateway = gateway
        self._open_id = open_id

    async def fitted(self, width: int, height: int) -> Pixels:
        answer = await self._gateway.call(
            "open_pixels", OpenPixels(open_id=self._open_id, width=width, height=height)
        )
        return Pixels(
            width=answer["width"],
            height=answer["height"],
            rgb=base64.b64decode(answer["rgb"], validate=True),
        )
