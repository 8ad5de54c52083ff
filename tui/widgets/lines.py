"""The three single lines of every screen: title, status, keys.

Belongs here: drawing them, and a click on a key.
Never here: what they say (``screens.page``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from tui.text import fit

MOST_KEYS: Final = 6
"""Keys in the last line: more are read by nobody; `?` has all."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the last line."""

    key: str
    """As a person reads it: ``s``, ``Enter``, ``^p``."""
    label: str
    action: str
    """The action it runs, on the screen: clicking does the same."""


class TopLine(Widget):
    """What this is, whose, and what is wrong. Right: the state of the node."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "top-line--title",
        "top-line--plain",
        "top-line--alarm",
    }
    DEFAULT_CSS = """
    TopLine { height: 1; background: $panel; }
    TopLine > .top-line--title { color: $primary; background: $panel; text-style: bold; }
    TopLine > .top-line--plain { color: $foreground; background: $panel; }
    TopLine > .top-line--alarm { color: $background; background: $error; text-style: bold; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._left = ""
        self._middle = ""
        self._right = ""
        self._alarm = ""

    def say(self, *, left: str, middle: str = "", right: str = "", alarm: str = "") -> None:
        """Show a title, what belongs to it, the node's state, and an alarm where there is one."""
        said = (left, middle, right, alarm)
        if said != (self._left, self._middle, self._right, self._alarm):
            self._left, self._middle, self._right, self._alarm = said
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        width = self.size.width
        plain = self.get_component_rich_style("top-line--plain")
        title = self.get_component_rich_style("top-line--title")
        left = f" {self._left} "
        if self._alarm:
            style = self.get_component_rich_style("top-line--alarm")
            alarm = fit(f" ! {self._alarm}", max(0, width - len(left)))
            said = [Segment(left, title), Segment(alarm, style)]
            return Strip(said).adjust_cell_length(width, style)
        right = f" {self._right} " if self._right else ""
        room = width - len(left) - len(right)
        if room < 0:
            right, room = "", max(0, width - len(left))
        return Strip(
            [
                Segment(fit(left, min(len(left), width)), title),
                Segment(fit(self._middle, room), plain),
                Segment(right, plain),
            ],
        ).adjust_cell_length(width, plain)


class StatusLine(Widget):
    """One line for what is going on: ``importing 12/40, Esc cancels``."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "status-line--plain",
        "status-line--error",
        "status-line--bar",
    }
    DEFAULT_CSS = """
    StatusLine { height: 1; background: $background; }
    StatusLine > .status-line--plain { color: $foreground; background: $background; }
    StatusLine > .status-line--error { color: $error; background: $background; }
    StatusLine > .status-line--bar { color: $background; background: $secondary; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self._error = False
        self._share: float | None = None

    @property
    def text(self) -> str:
        """What stands there."""
        return self._text

    def say(self, text: str, *, error: bool = False, share: float | None = None) -> None:
        """Show text; ``share`` (0 to 1) fills that part of the line."""
        if (text, error, share) != (self._text, self._error, self._share):
            self._text, self._error, self._share = text, error, share
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        width = self.size.width
        plain = self.get_component_rich_style(
            "status-line--error" if self._error else "status-line--plain"
        )
        text = fit(f" {self._text}", width)
        if self._share is None:
            return Strip([Segment(text, plain)], width)
        filled = round(width * min(1.0, max(0.0, self._share)))
        bar = self.get_component_rich_style("status-line--bar")
        line = Strip([Segment(text, plain)], width)
        done = Strip([Segment(text, bar)], width).crop(0, filled)
        return Strip.join([done, line.crop(filled, width)])


class KeyLine(Widget):
    """The keys that matter here, at most six; a click presses one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key", "key-line--label"}
    DEFAULT_CSS = """
    KeyLine { height: 1; background: $panel; }
    KeyLine > .key-line--key { color: $accent; background: $panel; text-style: bold; }
    KeyLine > .key-line--label { color: $foreground; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[Key, ...] = ()
        self._spans: list[tuple[int, int, str]] = []

    def show(self, keys: Sequence[Key]) -> None:
        """Show these keys: the first six."""
        shown = tuple(keys[:MOST_KEYS])
        if shown != self._keys:
            self._keys = shown
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw as many keys as fit, each whole."""
        width = self.size.width
        key_style = self.get_component_rich_style("key-line--key")
        label_style = self.get_component_rich_style("key-line--label")
        segments: list[Segment] = []
        self._spans = []
        used = 0
        for one in self._keys:
            key, label = f" {one.key}", f" {one.label} "
            length = len(key) + len(label)
            if used + length > width:
                break
            segments += [Segment(key, key_style), Segment(label, label_style)]
            self._spans.append((used, used + length, one.action))
            used += length
        segments.append(Segment(" " * (width - used), label_style))
        return Strip(segments, width)

    async def on_click(self, event: events.Click) -> None:
        """Do what the key under the pointer does."""
        for start, end, action in self._spans:
            if start <= event.x < end:
                await self.screen.run_action(action)


def plain_strip(text: str, width: int, style: Style) -> Strip:
    """Return one line of text in one style."""
    return Strip([Segment(fit(text, width), style)], width)
