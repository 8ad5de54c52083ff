"""Makes docs/images/library.png and share.png: the real program in xterm, with made pictures.

Belongs here: real nodes, an X server without a screen, the keys that lead to each picture.
Never here: pictures that anybody took, or anything that the program did not draw.

    python -m tests.make_screenshots

Needs Xvfb, xterm and tmux.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image, ImageChops, ImageGrab

from tests.e2e.people import Cli, people, picture_files
from tests.support import ROOT

IMAGES: Final = ROOT / "docs" / "images"
TOOLS: Final = ("Xvfb", "xterm", "tmux")

_COLUMNS: Final = 142
_ROWS: Final = 43
_COLOURS: Final = 200
_PATIENCE_S: Final = 60
_SOCKET: Final = "safelight-screenshots"
_RULES: Final = """\
set -g status off
set -s escape-time 0
set -g default-terminal tmux-256color
set -ga terminal-overrides ",*:Tc"
"""
_PROGRAM: Final = "from tui.start import main; main()"


def missing() -> str:
    """Say what is not installed, or nothing."""
    return ", ".join(one for one in TOOLS if shutil.which(one) is None)


def main() -> None:
    """Draw both."""
    if lacking := missing():
        raise SystemExit(f"screenshots need {lacking}")
    with tempfile.TemporaryDirectory(prefix="shots-", dir="/tmp") as name:
        folder = Path(name)
        files = picture_files(folder / "pictures", 30, (1200, 800))
        with people(folder, "anna", "ben", "carla") as (anna, ben, _carla):
            anna.do("import", *map(str, files[:18]), "--album", "Coast", "--tag", "landscape")
            winter = ("--album", "Winter", "--tag", "landscape", "--classification", "confidential")
            anna.do("import", *map(str, files[18:]), *winter)
            anna.do("share", files[29].name, files[27].name, "--to", ben.name, "--for", "48h")
            with screen(anna) as shown:
                shown.until("30 pictures")
                shown.press("+", "Right", "Right", "Down")
                shown.keep(IMAGES / "library.png")
                shown.press("s")
                shown.until("Enter shares")
                shown.until("may view")
                shown.keep(IMAGES / "share.png")


class Screen:
    """The program in xterm on a display of its own."""

    def __init__(self, display: str) -> None:
        self._display = display

    def press(self, *keys: str) -> None:
        """Press keys by their names in tmux."""
        for key in keys:
            _tmux("send-keys", key)
            time.sleep(0.1)

    def until(self, text: str) -> None:
        """Wait until text is on the screen."""
        deadline = time.monotonic() + _PATIENCE_S
        while text not in _tmux("capture-pane", "-p"):
            if time.monotonic() > deadline:
                raise SystemExit(f"{text!r} did not appear:\n{_tmux('capture-pane', '-p')}")
            time.sleep(0.1)

    def grab(self) -> Image.Image:
        """Return the screen once nothing on it has moved for a second."""
        deadline = time.monotonic() + _PATIENCE_S
        before = ImageGrab.grab(xdisplay=self._display)
        while time.monotonic() < deadline:
            time.sleep(1)
            now = ImageGrab.grab(xdisplay=self._display)
            if ImageChops.difference(before, now).getbbox() is None:
                return now.convert("RGB")
            before = now
        raise SystemExit("the screen never came to rest")

    def keep(self, path: Path) -> None:
        """Write the window as a small file."""
        shown = self.grab()
        # The window, without the empty screen around it.
        box = shown.getbbox()
        few = shown.crop(box).quantize(_COLOURS, dither=Image.Dither.NONE)
        few.save(path, optimize=True)


@contextmanager
def screen(person: Cli) -> Iterator[Screen]:
    """Run the program of a person in xterm under an X server of its own."""
    read, write = os.pipe()
    with subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x1000x24", "-nolisten", "tcp"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        os.close(write)
        with os.fdopen(read) as told:
            display = f":{told.readline().strip()}"
        try:
            with _xterm(person, display) as shown:
                yield shown
        finally:
            server.terminate()


@contextmanager
def _xterm(person: Cli, display: str) -> Iterator[Screen]:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in {"TMUX", "NO_COLOR"}},
        "DISPLAY": display,
        "COLORTERM": "truecolor",
        "SAFELIGHT_HOME": str(person.home),
        "SAFELIGHT_PASSPHRASE_FILE": str(person.passphrase_file),
        "XDG_CONFIG_HOME": str(person.folder),
    }
    rules = person.folder / "tmux.conf"
    rules.write_text(_RULES)
    inside = [
        "tmux", "-L", _SOCKET, "-f", str(rules),
        "new-session", "env", "COLORTERM=truecolor", sys.executable, "-P", "-c", _PROGRAM,
    ]  # fmt: skip
    subprocess.run(["tmux", "-L", _SOCKET, "kill-server"], capture_output=True)
    with subprocess.Popen(
        [
            "xterm", "-fa", "DejaVu Sans Mono", "-fs", "8", "-geometry", f"{_COLUMNS}x{_ROWS}+0+0",
            "-b", "0", "-bw", "0", "+sb", "-bg", "#0e0f12", "-cr", "#0e0f12",
            "-tn", "xterm-256color",
            "-e", *inside,
        ],
        env=environment, stderr=subprocess.DEVNULL,
    ) as terminal:  # fmt: skip
        try:
            deadline = time.monotonic() + _PATIENCE_S
            while not _tmux("list-sessions") and time.monotonic() < deadline:
                time.sleep(0.1)
            yield Screen(display)
        finally:
            subprocess.run(["tmux", "-L", _SOCKET, "kill-server"], capture_output=True)
            terminal.wait(20)


def _tmux(*arguments: str) -> str:
    done = subprocess.run(
        ["tmux", "-L", _SOCKET, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout


if __name__ == "__main__":
    main()
