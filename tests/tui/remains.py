"""The program opens all it has about a picture, is locked, and what then remains of its name.

Belongs here: what is done, and the search through everything that Python holds.
Never here: what may remain.

Run as a process (``main``): what the tests themselves hold of the name is not the program's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.people import Cli
from tests.tui.support import LARGE, Screen, opened
from tui.gateway import Connection
from tui.screens.dialog import Dialog
from tui.screens.page import Page
from tui.screens.viewer import ViewerScreen

LIBRARY = ("m", "s", "e", "c", "a", "i", "question_mark", "ctrl+p")
OTHERS = (("3", "Shared by me", ("x", "e")), ("4", "Audit", ("enter", "t")))


def everything() -> Iterator[tuple[Any, Any]]:
    """Give all there is that Python can reach, garbage too, each with what holds it."""
    gc.unfreeze()  # What is set aside is not among the objects that Python tells of.
    waiting: list[Any] = gc.get_objects()
    seen = {id(one) for one in waiting}
    seen |= {id(waiting), id(seen)}
    while waiting:
        holder = waiting.pop()
        for one in gc.get_referents(holder):
            if isinstance(one, (str, bytes, bytearray)):
                yield one, holder
            elif id(one) not in seen:
                seen.add(id(one))
                waiting.append(one)


def remains(word: str) -> list[str]:
    """Return what holds a text with this word: its kind, and what holds that."""
    found = []
    for one, holder in everything():
        text = one if isinstance(one, str) else one.decode("utf-8", "replace")
        if word in text and text != word:
            above = [str(type(other)) for other in gc.get_referrers(holder)][:6]
            said = f"{text[:60]!r} in {type(holder).__name__} {str(holder)[:90]!r} in {above}"
            # What is found is not to be found again.
            found.append(said.replace(word, "…"))
    return found


async def _see(screen: Screen) -> None:
    """Open and close what tells of the first picture."""
    app = screen.app
    await screen.settled()

    async def back() -> None:
        while not isinstance(app.screen, Page) or isinstance(app.screen, ViewerScreen):
            await screen.press("escape")

    for key in LIBRARY:
        await screen.press(key)
        await screen.until(lambda: not isinstance(app.screen, Page))
        if isinstance(app.screen, Dialog):
            await screen.until(lambda: app.screen.query_one(".box").region.height > 2)
        await screen.pilot.pause(0.3)
        await back()
    await screen.press("enter")
    await screen.until(lambda: isinstance(app.screen, ViewerScreen))
    await screen.until(lambda: app.screen.view.drawn)  # type: ignore[attr-defined]
    await back()
    for number, title, keys in OTHERS:
        await screen.show(title, number)
        await screen.settled()
        for key in keys:
            await screen.press(key)
            await screen.until(lambda: isinstance(app.screen, Dialog))
            await screen.pilot.pause(0.3)
            await back()


async def look(person: Cli, name: Path) -> tuple[bool, list[str]]:
    """Return whether the name was on the screen before the lock, and what remains of it after."""
    async with opened(person, LARGE) as screen:
        await screen.settled()
        word = name.read_text()
        shown = word in screen.text
        del word
        await _see(screen)
        await screen.show("Library", "1")
        await screen.settled()
        await screen.press("L")
        await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
        await screen.until(lambda: "The vault is locked" in screen.text)
        await screen.until(lambda: screen.app._collecting.whole)
        return shown, remains(name.read_text())


def main() -> None:
    """Say as JSON whether the picture's name was seen, and what remains of it."""
    home, passphrase_file, name = map(Path, sys.argv[1:])
    person = Cli(home.name, home.parent, passphrase=passphrase_file.read_text().strip())
    print(json.dumps(asyncio.run(look(person, name))))


if __name__ == "__main__":
    main()
