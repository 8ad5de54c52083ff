"""A screen that comes to the terminal in several short turns of the loop, and in one piece.

Belongs here: when a screen is styled, laid out and painted, and the one behind it with it.
Never here: what is on it.

The framework styles, lays out and paints a screen that comes in one turn, and paints it again for
each thing that it hears of meanwhile: its size, its focus, the keys on a frame. Here each is a turn
of its own, between which keys are taken, and it is painted once, when all that has been heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rich.console import RenderableType
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual import style as visual_style
from textual.geometry import Region
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import Screen
from textual.strip import Strip
from textual.visual import RenderOptions, Visual
from textual.widget import Widget

if TYPE_CHECKING:
    from textual.css.styles import RulesMap

R = TypeVar("R")

_BATCH_S: Final = 0.01
"""Seconds until it is seen whether what is changed together has been."""


class Shaded(BackgroundScreen, Visual):
    """The screen behind a dialog, each of its few styles shaded once and not letter by letter."""

    def render_strips(
        self, width: int, height: int | None, style: visual_style.Style, options: RenderOptions
    ) -> list[Strip]:
        """Return the lines of the screen behind."""
        shaded: dict[Style | None, Style | None] = {}
        lines: list[Strip] = []
        for line in self.screen._compositor.render_strips():  # noqa: SLF001
            segments: list[Segment] = []
            for text, own, _ in line:
                if own not in shaded:
                    (one,) = self.process_segments((Segment(text, own),), self.color)
                    shaded[own] = one.style
                segments.append(Segment(text, shaded[own]))
            lines.append(Strip(segments, line.cell_length))
        return lines

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """Return the columns that it has."""
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        """Return the lines that it has."""
        return self.screen.size.height


class Painted(Screen[R], Generic[R]):
    """A screen that does one thing in a turn."""

    _to_paint = False
    """A turn in which it is painted is on its way."""
    _stood: Mapping[Widget, tuple[Region, Region]] = {}
    """Where each widget stood when it was painted last."""

    def render(self) -> RenderableType:
        """Draw what is behind, where that is seen."""
        behind = super().render()
        if isinstance(behind, BackgroundScreen):
            return Shaded(behind.screen, behind.color)
        return behind

    async def on_event(self, event: events.Event) -> None:
        """Begin what takes long in a turn of its own."""
        if isinstance(event, (events.ScreenResume, events.Resize)):
            await asyncio.sleep(0)
        await super().on_event(event)

    def _compositor_refresh(self) -> None:
        """Paint what has changed, soon; a screen behind another only tells that one."""
        if not self._in_front:
            super()._compositor_refresh()
        elif not self._to_paint:
            self._to_paint = self.call_later(self._paint)

    async def _paint(self) -> None:
        await asyncio.sleep(0)
        self._to_paint = False
        if self.app._batch_count:  # noqa: SLF001  nothing public tells
            # Nothing is shown before all of it has been changed.
            self.set_timer(_BATCH_S, self._compositor_refresh)
            return
        if self._in_front:
            if self._repaint_required:
                self._repaint_required = False
                self._dirty_widgets.add(self)
            # What changed since is painted now: the framework takes it for painted. What is not
            # laid out yet comes with the next layout, and must not be known before.
            known = self._compositor.visible_widgets.keys()
            self._compositor.update_widgets(self._dirty_widgets & known)
            self._paint_what_moved()
        super()._compositor_refresh()

    def _paint_what_moved(self) -> None:
        """Paint where something stands now, or did: the framework may have moved it unseen.

        It arranges widgets anew whenever it asks itself where one is, and compares the next layout
        with that: what a toast that has gone was in front of would never be painted again.
        """
        before, self._stood = self._stood, dict(self._compositor.visible_widgets)
        for _, (region, clip) in before.items() ^ self._stood.items():
            if moved := clip.intersection(region):
                self._compositor._dirty_regions.add(moved)  # noqa: SLF001

    @property
    def _in_front(self) -> bool:
        return self.app.screen_stack[-1:] == [self]
