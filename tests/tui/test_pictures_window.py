"""A picture in a plain window: pixels by pipe, and gone with the program."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from PIL import ImageGrab

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
    told = tmp_path / "display"
    with (
        told.open("w") as out,
        subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "400x300x24", "-nolisten", "tcp"],
            stdout=out, stderr=subprocess.DEVNULL,
        ) as server,
    ):  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not told.read_text().strip():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            display = f":{told.read_text().strip()}"
            monkeypatch.setenv("DISPLAY", display)
            assert why_none() == ""
            shown = Window()
            await shown.show(bytes(COLOUR) * (120 * 80), 120, 80)

            def seen() -> int:
                colours = ImageGrab.grab(xdisplay=display).convert("RGB").getcolors(1 << 20)
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
        finally:
            server.terminate()


def test_the_child_reads_its_pixels_from_the_pipe_alone() -> None:
    assert "stdin" in window._CHILD
    assert not any(word in window._CHILD for word in ("open(", "argv", "environ", "tempfile"))
