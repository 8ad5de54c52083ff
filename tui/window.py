"""A plain window for one picture, where there is a display.

Belongs here: the child process with the window, and the pipe that its pixels go through.
Never here: which picture, or when it must be gone (the viewer says).

The pixels go to the child as bytes on its standard input: no file, no argument, no environment.
The window is gone with the pipe, whatever ends the program.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Final

_PATIENCE_S: Final = 2.0

MOST_PIXELS: Final = (1600, 1000)
"""Of a window: as much as most displays show."""

_CHILD: Final = r"""
import sys, threading, tkinter
head = sys.stdin.buffer.readline().split()
width, height = int(head[0]), int(head[1])
pixels = sys.stdin.buffer.read(width * height * 3)
if len(pixels) != width * height * 3:
    sys.exit(1)
window = tkinter.Tk()
window.title("Safelight")
window.configure(background="black")
window.resizable(False, False)
data = b"P6 %d %d 255\n" % (width, height) + pixels
picture = tkinter.PhotoImage(data=data, format="PPM")
del data, pixels
tkinter.Label(window, image=picture, borderwidth=0).pack()
for key in ("<Escape>", "q", "o"):
    window.bind(key, lambda event: window.destroy())
gone = threading.Event()
def wait():
    sys.stdin.buffer.read()
    gone.set()
threading.Thread(target=wait, daemon=True).start()
def look():
    if gone.is_set():
        window.destroy()
    else:
        window.after(100, look)
look()
window.mainloop()
"""


def why_none(environment: Mapping[str, str] = os.environ) -> str:
    """Say why no window can be shown here, or nothing."""
    if find_spec("tkinter") is None:
        return "this Python has no tkinter, which shows windows"
    if sys.platform not in {"win32", "darwin"} and not environment.get("DISPLAY"):
        return "there is no display here to show a window on"
    return ""


class Window:
    """One picture in a window of its own."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_open(self) -> bool:
        """The window is there."""
        return self._process is not None and self._process.returncode is None

    async def show(self, rgb: bytes, width: int, height: int) -> None:
        """Show width × height RGB pixels instead of what was shown. OSError where that fails."""
        await self.close()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-c",
            _CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d %d\n" % (width, height) + rgb)
        await self._process.stdin.drain()

    def kill(self) -> None:
        """Take the window away now, without waiting."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()

    async def close(self) -> None:
        """Close the window, if there is one; returns when it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        with suppress(ProcessLookupError):
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
