"""The terminal UI against real nodes: homes, and a pilot that waits for conditions.

Belongs here: starting the app of a person, and waiting.
Never here: mocks; nodes are processes of their own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from tests.e2e.people import Cli
from tui.app import SafelightApp
from tui.gateway import Connection
from tui.screens.page import Page
from tui.widgets.lines import StatusLine
from tui.widgets.rows import Listing

LARGE = (120, 40)
USUAL = (80, 24)
SMALL = (40, 12)


class Screen:
    """A person in front of the app."""

    def __init__(self, app: SafelightApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def until(self, condition: Callable[[], object], *, seconds: float = 30.0) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it never came; on screen:\n{self.text}"
            await self.pilot.pause(0.02)

    async def press(self, *keys: str) -> None:
        """Press keys, and let the app take them."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type text."""
        await self.press(*_keys(text))

    async def show(self, name: str, key: str) -> Page:
        """Go to a screen by its key."""
        await self.press(key)
        await self.until(lambda: isinstance(self.app.screen, Page) and name == self.page.NAME)
        return self.page

    async def settled(self) -> None:
        """Wait until the node is reached and the screen in front has loaded, its rows too."""
        await self.until(lambda: self.app.gateway.connection is Connection.READY)
        await self.until(lambda: isinstance(self.app.screen, Page) and self.page.settled)
        await self.until(
            lambda: (
                isinstance(self.app.screen, Page)
                and all(one.pages.loaded for one in self.page.query(Listing))
            )
        )

    @property
    def page(self) -> Page:
        """The screen in front, which is no dialog."""
        assert isinstance(self.app.screen, Page), self.app.screen
        return self.app.screen

    @property
    def status(self) -> str:
        """What the status line says."""
        page = next(one for one in reversed(self.app.screen_stack) if isinstance(one, Page))
        return page.query_one(StatusLine).text

    @property
    def lines(self) -> list[str]:
        """Every line of the screen as the terminal has it, without colours."""
        width, height = self.app.size
        return [
            "".join(segment.text for segment in strip)
            for strip in self.app.screen._compositor.render_strips()
        ][:height] or [" " * width]

    @property
    def head(self) -> str:
        """The two lines above a screen's body: where one is, and what there is."""
        return "\n".join(self.lines[:2])

    @property
    def text(self) -> str:
        """The whole screen as text."""
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        """The words on the screen with single spaces, whatever lines and frames they stand in."""
        return " ".join(self.text.translate(_FRAME).split())


_FRAME = dict.fromkeys(map(ord, "│╭╮╰╯─▌"), " ")


def _keys(text: str) -> list[str]:
    named = {" ": "space", "-": "minus", "/": "slash", "+": "plus", ":": "colon", ".": "full_stop"}
    return [named.get(one, one) for one in text]


@asynccontextmanager
async def opened(person: Cli, size: tuple[int, int] = USUAL) -> AsyncIterator[Screen]:
    """Open the app of a person."""
    app = SafelightApp(home=person.home, passphrase_file=person.passphrase_file)
    async with app.run_test(size=size) as pilot:
        yield Screen(app, pilot)
