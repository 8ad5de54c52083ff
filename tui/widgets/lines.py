"""The single lines around every screen: where one is, what there is, what goes on, which keys.

Belongs here: drawing them, and a click on a tab or a key.
Never here: what they say (``screens.page``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.segment import Segment
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


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the screens that a key leads to."""

    key: str
    title: str
    short: str
    """Where there is no room for the title."""
    action: str


class Clicked(Widget):
    """A line, parts of which do something when they are clicked."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []
        """First cell, cell behind the last, action."""

    async def on_click(self, event: events.Click) -> None:
        """Do what the part under the pointer does."""
        for start, end, action in self._spans:
            if start <= event.x < end:
                await self.screen.run_action(action)


class TopLine(Clicked):
    """Where one is, among which screens. Right: the state of the node. An alarm covers both."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "top-line--title",
        "top-line--plain",
        "top-line--key",
        "top-line--dim",
        "top-line--bad",
        "top-line--alarm",
    }
    DEFAULT_CSS = """
    TopLine { height: 1; background: $panel; }
    TopLine > .top-line--title { color: $background; background: $primary; text-style: bold; }
    TopLine > .top-line--plain { color: $foreground; background: $panel; }
    TopLine > .top-line--key { color: $accent; background: $panel; }
    TopLine > .top-line--dim { color: $dim; background: $panel; }
    TopLine > .top-line--bad { color: $error; background: $panel; text-style: bold; }
    TopLine > .top-line--alarm { color: $background; background: $error; text-style: bold; }
    TopLine:ansi > .top-line--title { color: ansi_default; background: ansi_default;
                                      text-style: bold reverse; }
    TopLine:ansi > .top-line--alarm { color: ansi_red; background: ansi_default;
                                      text-style: bold reverse; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: tuple[str, tuple[Tab, ...], str, tuple[str, ...], bool, str, str] = (
            "", (), "", (), False, "", "",
        )  # fmt: skip

    def say(
        self,
        *,
        title: str,
        tabs: Sequence[Tab] = (),
        middle: str = "",
        right: Sequence[str] = (),
        bad: bool = False,
        alarm: str = "",
        alarm_key: str = "",
    ) -> None:
        """Show where one is; with tabs: among them, else with what belongs to it in the middle.

        ``right`` has the state of the node in more and fewer words; ``bad``: it is no good one.
        ``alarm_key`` tells more of an alarm.
        """
        said = (title, tuple(tabs), middle, tuple(right), bad, alarm, alarm_key)
        if said != self._said:
            self._said = said
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        title, tabs, middle, rights, bad, alarm, alarm_key = self._said
        width = self.size.width
        plain = self.get_component_rich_style("top-line--plain")
        own = Segment(f" {title} ", self.get_component_rich_style("top-line--title"))
        self._spans = []
        if alarm:
            style = self.get_component_rich_style("top-line--alarm")
            key = f" ({alarm_key}) "
            words = fit(f" ! {alarm}", max(0, width - own.cell_length - cell_len(key)))
            said = [own, Segment(words.rstrip(), style), Segment(key, style)]
            return Strip(said).adjust_cell_length(width, style)
        left, right = self._fitting(own, tabs, middle, rights, width)
        used = 0
        for part, action in left:
            if action:
                self._spans.append((used, used + part.cell_length, action))
            used += part.cell_length
        room = max(0, width - used - cell_len(right))
        between = fit(f" {middle}" if middle and not tabs else "", room)
        state = self.get_component_rich_style("top-line--bad" if bad else "top-line--plain")
        parts = [part for part, _ in left]
        return Strip([*parts, Segment(between, plain), Segment(right, state)]).adjust_cell_length(
            width, plain
        )

    def _fitting(
        self, own: Segment, tabs: Sequence[Tab], middle: str, rights: Sequence[str], width: int
    ) -> tuple[list[tuple[Segment, str]], str]:
        """Return the parts on the left, each with its action, and the words on the right."""
        wanted = cell_len(middle) + 2 if middle and not tabs else 0
        ends = [f" {one} " for one in rights] or [""]
        for left in self._lefts(own, tabs):
            for right in ends:
                if sum(one.cell_length for one, _ in left) + wanted + cell_len(right) <= width:
                    return left, right
        least = ends[-1] if own.cell_length + cell_len(ends[-1]) + 8 <= width else ""
        return [(own, "")], least

    def _lefts(self, own: Segment, tabs: Sequence[Tab]) -> Iterator[list[tuple[Segment, str]]]:
        """Give what may stand on the left, the fullest first."""
        key = self.get_component_rich_style("top-line--key")
        dim = self.get_component_rich_style("top-line--dim")
        for titles in ([one.title for one in tabs], [one.short for one in tabs], [""] * len(tabs)):
            parts: list[tuple[Segment, str]] = []
            for tab, words in zip(tabs, titles, strict=True):
                if f" {tab.title} " == own.text:
                    here = Segment(f" {tab.key} {tab.title} ", own.style)
                    parts.append((here, tab.action))
                    continue
                parts.append((Segment(f" {tab.key}", key), tab.action))
                parts.append((Segment(f" {words} " if words else " ", dim), tab.action))
            if parts:
                yield parts
        yield [(own, "")]


class CountLine(Widget):
    """How much there is, what narrows it, what is marked; what needs a look stands out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"count-line--plain", "count-line--warn"}
    DEFAULT_CSS = """
    CountLine { height: 1; background: $background; }
    CountLine > .count-line--plain { color: $dim; background: $background; }
    CountLine > .count-line--warn { color: $warning; background: $background; text-style: bold; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def say(self, text: str) -> None:
        """Show parts with ``·`` between them."""
        if text != self._text:
            self._text = text
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        width = self.size.width
        plain = self.get_component_rich_style("count-line--plain")
        warn = self.get_component_rich_style("count-line--warn")
        segments = [Segment(" ", plain)]
        for place, part in enumerate(fit(self._text, max(0, width - 1)).split(" · ")):
            if place:
                segments.append(Segment(" · ", plain))
            segments.append(Segment(part, warn if part.startswith("!") else plain))
        return Strip(segments).adjust_cell_length(width, plain)


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
    StatusLine:ansi > .status-line--bar { color: ansi_default; background: ansi_default;
                                          text-style: reverse; }
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
        text = fit(f" ✕ {self._text}" if self._error else f" {self._text}", width)
        if self._share is None:
            return Strip([Segment(text, plain)], width)
        filled = round(width * min(1.0, max(0.0, self._share)))
        bar = self.get_component_rich_style("status-line--bar")
        line = Strip([Segment(text, plain)], width)
        done = Strip([Segment(text, bar)], width).crop(0, filled)
        return Strip.join([done, line.crop(filled, width)])


class KeyLine(Clicked):
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
        self._always: tuple[Key, ...] = ()

    def show(self, own: Sequence[Key], always: Sequence[Key] = ()) -> None:
        """Show a screen's own keys and those of every screen: six in all."""
        shown = (*own[: MOST_KEYS - len(always)], *always)
        if (shown, tuple(always)) != (self._keys, self._always):
            self._keys, self._always = shown, tuple(always)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw as many keys as fit, each whole; the first of every screen's has its place."""
        width = self.size.width
        end = list(self._always)
        kept = list(self._keys[: len(self._keys) - len(end)])
        while end[1:] and _length([*kept, *end]) > width:
            end.pop()
        while kept and _length([*kept, *end]) > width:
            kept.pop()
        key_style = self.get_component_rich_style("key-line--key")
        label_style = self.get_component_rich_style("key-line--label")
        segments: list[Segment] = []
        self._spans = []
        used = 0
        for one in [*kept, *end]:
            if one in end[:1]:
                # What is the same everywhere stands at the same place.
                room = max(0, width - used - _length(end))
                segments.append(Segment(" " * room, label_style))
                used += room
            length = _length([one])
            segments += [Segment(f" {one.key}", key_style), Segment(f" {one.label} ", label_style)]
            self._spans.append((used, used + length, one.action))
            used += length
        return Strip(segments).adjust_cell_length(width, label_style)


def _length(keys: Sequence[Key]) -> int:
    return sum(cell_len(one.key) + cell_len(one.label) + 3 for one in keys)
