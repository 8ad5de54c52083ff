"""The event loop is never held for long: keys are answered while anything else goes on.

The real program on a terminal: each thing that a person does, and the longest turn it took.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.color import Color
from textual.strip import Strip

from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.tui import turns
from tests.tui.terminals import Terminal, environment_of
from tui.garbage import hold_no_lines

LONGEST_MS = 50.0
"""What one turn of the loop may compute, on a machine as fast as the budgets are for.

Most turns take under 15; what paints all of the largest terminal takes 20 to 30, and so does
setting it all in another style.
"""
LOCKED_MS = 100.0
"""The same behind a lock: one look for garbage, which nothing cuts in parts, through all that was
made. It takes 25 to 45 after usual work, 40 to 75 where many dialogs were opened in no time.
"""
WALKS = 4
"""What holds the loop does so every time; what the machine does besides, now and then."""

ESCAPE, PAGE_DOWN, PAGE_UP, ENTER = "\x1b", "\x1b[6~", "\x1b[5~", "\r"
PALETTE, EMPTY = "\x10", "\x15"
LIBRARY = (PAGE_DOWN, PAGE_UP, "G", "g", "+", "+", "-", "-", "l", "j", " ", "*", ESCAPE)
FILTER = ("/", "s", "e", "a", EMPTY, ENTER)
DIALOGS = ("s", "m", "?", "a", "c", "i", ":", "I", "s")
VIEWER = (ENTER, "n", "+", "-", "p", "s", ESCAPE, ESCAPE)
SCREENS = ("2", "3", "4", ENTER, ESCAPE, "5", ENTER, ESCAPE, "6", "!", "1")
SIZES = ((80, 24), (240, 70), (40, 12), (120, 40))
LOCK = ("L",)
UNLOCKED = "unlocked"


@pytest.fixture(scope="module")
def many(pair: tuple[Cli, Cli], tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Alice with as many pictures as the largest terminal shows."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    e2e.picture_files(folder, 72)
    pair[0].do("import", str(folder))
    return pair[0]


def test_a_loop_that_is_held_is_noticed(tmp_path: Path) -> None:
    held = """
import asyncio, time
from tests.tui.turns import measure
async def hold():
    await asyncio.sleep(0)
    until = time.thread_time() + 0.1
    while time.thread_time() < until: pass
measure()
asyncio.run(hold())
"""
    found = tmp_path / "turns"
    subprocess.run(
        [sys.executable, "-c", held], env={**os.environ, turns.NAMED: str(found)}, check=True
    )
    assert any(took >= 100 for took in _turns(found))


@pytest.mark.parametrize("size", [(120, 40), (240, 70)])
def test_the_loop_is_never_held_while_a_person_works(
    many: Cli, tmp_path: Path, size: tuple[int, int]
) -> None:
    longest: dict[str, float] = {}
    for number in range(WALKS):
        found = _walk(many, tmp_path, number, size)
        longest = {name: min(took, longest.get(name, took)) for name, took in found.items()}
        slow = {
            name: took
            for name, took in longest.items()
            if took > (LOCKED_MS if name == UNLOCKED else LONGEST_MS)
        }
        if not slow:
            break
    assert slow == {}


def test_what_a_widget_has_drawn_goes_with_it() -> None:
    hold_no_lines()
    drawn = StylesCache()
    drawn.get_inner_outer(Color.parse("#123456"), Color.parse("#654321"))
    held = weakref.ref(drawn)
    del drawn
    gc.collect()
    assert held() is None


def test_a_line_that_was_drawn_goes_with_what_held_it() -> None:
    class Told(str):
        """Text that can be watched going."""

        __slots__ = ("__weakref__",)

    hold_no_lines()
    told = Told("a name")
    line, held = Strip([Segment(told)], len(told)), weakref.ref(told)
    gc.disable()
    try:
        assert line.divide([6]) == line.divide([6, 9]) == [line]
        assert line.crop_extend(0, 6, None) is line
        # In no circle: nobody has to look for it.
        del line, told
        assert held() is None
    finally:
        gc.enable()


def test_a_line_is_cut_as_before() -> None:
    hold_no_lines()
    line = Strip([Segment("a name")])
    assert [one.text for one in line.divide([2, 6])] == ["a ", "name"]
    assert line.crop_extend(2, 8, None).text == "name  "


def _walk(person: Cli, folder: Path, number: int, begins: tuple[int, int]) -> dict[str, float]:
    """Do all there is to do; return the longest turn of each, as on a machine of the budgets."""
    found = folder / f"turns-{number}"
    found.touch()
    environment = environment_of(
        folder,
        {
            turns.NAMED: str(found),
            "SAFELIGHT_HOME": str(person.home),
            "SAFELIGHT_PASSPHRASE_FILE": str(person.passphrase_file),
        },
    )
    longest: dict[str, float] = {}
    program = Terminal(
        environment=environment, size=begins, program=[sys.executable, "-P", turns.__file__]
    )
    try:
        program.until("pictures")
        program.quiet()
        # Until the first frame nobody waits for a key; that has a budget of its own.
        seen = len(_turns(found))

        def did(name: str) -> None:
            nonlocal seen
            program.quiet(0.25)
            slow = turns.slowness()
            taken = _turns(found)
            longest[name] = max(longest.get(name, 0.0), max(taken[seen:], default=0.0) / slow)
            seen = len(taken)

        def press(*keys: str) -> None:
            for at, key in enumerate(keys):
                program.send(key)
                did(f"{keys[: at + 1]}")

        press(*LIBRARY)
        press(*FILTER)
        for key in DIALOGS:
            press(key, ESCAPE)
        press(PALETTE, "s", "h", ESCAPE)
        press(*VIEWER)
        press(*SCREENS)
        for size in SIZES:
            program.resize(*size)
            did(f"{size}")
        press(*LOCK)
        # Once, a moment after the lock, all there is is looked through: nobody waits for a key.
        program.quiet(2)
        seen = len(_turns(found))
        person.do("unlock")
        did(UNLOCKED)
    finally:
        program.close()
    return longest


def _turns(written: Path) -> list[float]:
    """Return how many milliseconds each turn took, as far as they are worth a word."""
    return [float(line) for line in written.read_text().split()]
