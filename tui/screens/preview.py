"""What a person would see of a picture that is about to be shared: a pane, and the whole screen.

Belongs here: asking for it, keeping the last few, showing it with its watermark closer.
Never here: what is shared with whom (``share``), making the picture: the node does.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from node.control.schema import PreviewShare
from tui.gateway import GatewayError
from tui.screens.dialog import Dialog
from tui.widgets.decoded import Decoded
from tui.widgets.picture import Picture, PictureView

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.pictures.painter import Painter

_KEPT: Final = 12
"""Answers of 40 to 200 kB: going back to a person shows at once what was shown before."""

_CLOSER: Final = 0.34
"""Width of the part that is shown closer, in roots of the picture's area, in which watermarks are
measured too: a name of usual length and the line under it, whatever the picture's shape.

In a picture of 20 to 40 columns a watermark is a few cells wide: one sees where it is, at best. To
draw it larger for the preview would be a lie about how much of the picture it takes, so the
picture is whole and true, and a part of it stands under it, closer."""

_BOTH_FROM: Final = 14
"""Lines of a pane from which there is room for both; a smaller one shows the part of a picture
that bears a watermark, and less close, so that one still knows the picture."""
_LESS_CLOSE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A picture as one person would see it."""

    picture: Decoded
    holder: str
    watermark: str
    """What it bears, in words; empty for none."""
    which: str
    """Which of how many pictures it is; empty for the only one."""

    @property
    def words(self) -> str:
        """What it is."""
        return f"{self.which}as {self.holder} sees it"

    def closer(self, part: float) -> Picture:
        """Return the part where the watermark is: a subtle one stands in the corner.

        Others stand all over, and one of them in the middle.
        """
        return self.picture.closer(part, corner=self.watermark.startswith("subtle"))


class Looks:
    """Asks the node for looks, and keeps the last few as they came, in memory."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._kept: OrderedDict[bytes, dict[str, Any]] = OrderedDict()

    def has(self, wanted: PreviewShare) -> bool:
        """Say whether a look is here already."""
        return msgspec.json.encode(wanted) in self._kept

    async def of(self, wanted: PreviewShare, holder: str) -> Look:
        """Return a look; GatewayError where the node makes none."""
        key = msgspec.json.encode(wanted)
        answer = self._kept.get(key)
        if answer is None:
            answer = await self._gateway.call("preview_share", wanted)
            self._kept[key] = answer
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        try:
            picture = await Decoded.of(answer["data"])
        except ValueError as error:
            raise GatewayError(f"no preview: {error}", code="broken") from None
        count = int(answer["pictures"])
        return Look(
            picture=picture,
            holder=holder,
            watermark=str(answer["watermark"] or ""),
            which=f"{wanted.place + 1:,}/{count:,} " if count > 1 else "",
        )

    def forget(self) -> None:
        """Keep nothing."""
        self._kept.clear()


class PreviewPane(Vertical):
    """The picture, what it is, and its watermark closer where there are one and room."""

    DEFAULT_CSS = """
    PreviewPane PictureView { background: $surface; }
    PreviewPane PictureView > .picture--plain { background: $surface; }
    PreviewPane .said {
        height: auto; max-height: 4; text-align: center; color: $foreground 70%;
    }
    PreviewPane.shown .said { text-wrap: nowrap; text-overflow: ellipsis; }
    PreviewPane.refused .said { color: $warning; }
    """

    def __init__(self, painter: Painter, *, id: str) -> None:  # noqa: A002  the framework's name
        super().__init__(id=id)
        self._whole = PictureView(painter)
        self._whole.add_class("whole")
        self._closer = PictureView(painter)
        self._closer.add_class("closer")
        # Keys stay with the list of people.
        self._whole.can_focus = self._closer.can_focus = False
        self._said = Static(classes="said")
        self._look: Look | None = None

    def compose(self) -> ComposeResult:
        """Lay out the whole, the words and the part."""
        yield self._whole
        yield self._said
        yield self._closer

    def on_resize(self, _event: events.Resize) -> None:
        """Share the lines out anew."""
        self._lay_out()

    def show(self, look: Look) -> None:
        """Show a look."""
        self._look = look
        self._lay_out()

    def _lay_out(self) -> None:
        """Give the whole as many lines as its shape takes, and the part what is left."""
        width, height = self.size
        look = self._look
        if look is None or not height:
            return
        both = height >= _BOTH_FROM
        self._closer.display = both and bool(look.watermark)
        tall = max(1, math.ceil(width * look.picture.ratio / 2))
        if not look.watermark:
            self._whole.styles.height = min(tall, height - 1)
            self._show(look.picture, None, look.words)
        elif both:
            whole = min(tall, (height - 1) * 3 // 5)
            self._whole.styles.height = whole
            self._closer.styles.height = min(whole, height - 1 - whole)
            self._show(look.picture, look.closer(_CLOSER), f"{look.words}, and its mark closer")
        else:
            self._whole.styles.height = height - 1
            self._show(look.closer(_LESS_CLOSE), None, f"a part, {look.words}")

    def _show(self, whole: Picture, closer: Picture | None, words: str) -> None:
        self._whole.show(whole)
        self._closer.show(closer)
        self.add_class("shown")
        self.remove_class("refused")
        self._said.update(Content(words))

    def say(self, words: str, *, refused: bool = False) -> None:
        """Show words, and no picture."""
        self._look = None
        self._whole.show(None)
        self._closer.show(None)
        self.remove_class("shown")
        self.set_class(refused, "refused")
        self._said.update(Content(words))

    @property
    def drawn(self) -> bool:
        """The picture stands there as it is wanted now."""
        return self._whole.drawn


class PreviewDialog(Dialog[None]):
    """The picture as large as the screen; ``+`` and arrows go closer, as in the viewer."""

    DEFAULT_CSS: ClassVar[str] = """
    PreviewDialog > .box { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
    PreviewDialog PictureView { background: $surface; }
    PreviewDialog PictureView > .picture--plain { background: $surface; }
    PreviewDialog .said { height: auto; max-height: 2; color: $foreground 70%; }
    """

    def __init__(self, looks: Looks, painter: Painter, wanted: PreviewShare, holder: str) -> None:
        super().__init__()
        self._looks = looks
        self._painter = painter
        self._wanted = wanted
        self._holder = holder

    def compose(self) -> ComposeResult:
        """Lay out the picture and what it is."""
        with Vertical(classes="box"):
            yield PictureView(self._painter)
            yield Static(classes="said")

    def on_mount(self) -> None:
        """Ask for the picture."""
        self.query_one(PictureView).focus()
        self._say(f"making what {self._holder} would see…")
        self.run_worker(self._shown)

    async def _shown(self) -> None:
        try:
            look = await self._looks.of(self._wanted, self._holder)
        except GatewayError as error:
            self._say(f"no preview: {error}")
            return
        self.query_one(PictureView).show(look.picture)
        words = f" · watermark {look.watermark}" if look.watermark else " · no watermark"
        closer, close = map(self.key_of, ("picture.closer", "dialog.cancel"))
        self._say(f"{look.words}{words} · {closer} closer · {close}")

    def _say(self, words: str) -> None:
        self.query_one(".said", Static).update(Content(words))

    def on_picture_view_failed(self, message: PictureView.Failed) -> None:
        """Say why the picture is not drawn."""
        message.stop()
        self._say(f"not drawn: {message.error}")
