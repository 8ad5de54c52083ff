"""Hidden metadata of a picture, in plain words: `m`.

Belongs here: what the node found in one original, grouped.
Never here: finding it (``node.imaging.inspect``), or removing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Inspect
from tui.gateway import GatewayError
from tui.screens.dialog import Dialog
from tui.text import fit

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.widgets.pages import Row


class MetadataDialog(Dialog[None]):
    """What an original would reveal."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "give_up", "close", show=False, id="metadata.close"),
    ]
    DEFAULT_CSS = """
    MetadataDialog > .box { width: 96; }
    MetadataDialog .found { height: auto; max-height: 80vh; }
    MetadataDialog.low .note { display: none; }
    MetadataDialog .note { height: auto; color: $dim; }
    """

    HINTS = (("↑ ↓", "scroll"), ("metadata.close dialog.cancel", "closes"))

    def __init__(self, gateway: Gateway, picture: Row) -> None:
        super().__init__()
        self._gateway = gateway
        self._picture = picture

    def compose(self) -> ComposeResult:
        """Lay out the heading and room for what is found."""
        with Vertical(classes="box"):
            yield Static(Content(f"What {self._picture['name']} reveals"), classes="heading")
            with VerticalScroll(classes="found"):
                yield Static(Content("…"), id="found")
            yield Static(
                Content("A share removes all of it, unless the original is granted."),
                classes="note",
            )

    def on_mount(self) -> None:
        """Ask the node."""
        self.query_one(".found", VerticalScroll).focus()
        self.run_worker(self._look)

    async def _look(self) -> None:
        found = self.query_one("#found", Static)
        try:
            answer = await self._gateway.call("inspect", Inspect(image=str(self._picture["id"])))
        except GatewayError as error:
            found.update(Content(str(error)))
            return
        found.update(_words(answer["findings"]))


def _words(findings: list[dict[str, Any]]) -> Text:
    """Return findings under their groups; what is sensitive carries a sign."""
    if not findings:
        return Text("Nothing: this file has only pixels.")
    text = Text()
    group = None
    for one in findings:
        if one["group"] != group:
            group = one["group"]
            text.append(f"{group}\n", style="bold")
        sign = "! " if one["sensitive"] else "  "
        text.append(f"{sign}{fit(str(one['tag']), 28)} {one['value']}\n")
    return text
