"""A picture in a plain window: pixels by pipe, and gone with the program."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from PIL import ImageGrab

from tests.tui.terminals import display
from tui import window
from tui.window import Window, why_none

COLOUR = (10, 200, 30)


def test_where_there_is_no_display_it_says_so() -> None:
    assert "display" in why_none({})


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
async def test_a_window_shows_the_pixels_and_is_gone_when_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tkinter")
    with display(tmp_path / "display") as name:
        monkeypatch.setenv("DISPLAY", name)
        deadline = time.monotonic() + 60
        assert why_none() == ""
        shown = Window()
        await shown.show(bytes(COLOUR) * (120 * 80), 120, 80)

        def seen() -> int:
            colours = ImageGrab.grab(xdisplay=name).convert("RGB").getcolors(1 << 20)
            return {colour: count for count, colour in colours or ()}.get(COLOUR, 0)

        while seen() != 120 * 80:
            assert shown.is_open
            assert time.monotonic() < deadline
            time.sleep(0.1)
        await shown.close()
        assert not shown.is_open
        while seen():
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_child_reads_its_pixels_from_the_pipe_alone() -> None:
    assert "stdin" in window._CHILD
    assert not any(word in window._CHILD for word in ("open(", "argv", "environ", "tempfile"))
