"""The installed program as a process in front of a terminal: a plain one, and tmux.

Belongs here: starting it, pressing keys, reading what is on the screen or was written to it.
Never here: what a test expects.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

PROGRAM = [sys.executable, "-P", "-c", "from tui.start import main; main()"]
"""As the installed script does."""

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[PX^_].*?\x1b\\|\].*?(?:\x07|\x1b\\)|.)", re.S)


def environment_of(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a usual terminal, with settings of nobody."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAFELIGHT_", "TEXTUAL", "TMUX"))
        and name not in {"NO_COLOR", "COLORFGBG", "COLUMNS", "LINES"}
    }
    return {
        **kept,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
        "XDG_CONFIG_HOME": str(folder / "config"),
        **(more or {}),
    }


def until(condition: Callable[[], object], shown: Callable[[], str], *, seconds: float) -> None:
    """Wait until a condition holds; AssertionError, with what is shown, where it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it never came:\n{shown()}"
        time.sleep(0.05)


@contextmanager
def display(told: Path, size: str = "800x600") -> Iterator[str]:
    """Hold an X server without a screen; give its name. ``told`` is a file for its number."""
    with (
        told.open("w") as out,
        subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", f"{size}x24", "-nolisten", "tcp"],
            stdout=out, stderr=subprocess.DEVNULL,
        ) as server,
    ):  # fmt: skip
        try:
            until(lambda: told.read_text().endswith("\n"), told.read_text, seconds=60)
            yield f":{told.read_text().strip()}"
        finally:
            server.terminate()


class Terminal:
    """A process on a pseudo-terminal of its own; every byte that it writes is kept."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        size: tuple[int, int] = (80, 24),
        program: list[str] = PROGRAM,
        elsewhere: Mapping[str, int] | None = None,
    ) -> None:
        """``elsewhere`` names streams (stdin, stdout, stderr) that are not the terminal."""
        self._master, slave = os.openpty()
        columns, lines = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, **(elsewhere or {})}
        self.process = subprocess.Popen(
            [*program, *arguments],
            env=dict(environment),
            start_new_session=True,
            # The session's own terminal, so that hanging up is told to it.
            preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0) and None,
            **streams,  # type: ignore[call-overload]
        )
        os.close(slave)
        self.written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self._master, 65_536):
                self.written += data

    @property
    def text(self) -> str:
        """What was written, without what moves the cursor or colours."""
        return self.text_since(0)

    def text_since(self, place: int) -> str:
        """Return the same of what was written from a place on."""
        return _SEQUENCE.sub("", self.written[place:].decode("utf-8", "replace"))

    def until(self, words: str, *, seconds: float = 60) -> None:
        """Wait until words were written."""
        until(lambda: words in self.text, lambda: self.text[-4_000:], seconds=seconds)

    def quiet(self, seconds: float = 0.4) -> None:
        """Wait until nothing has been written for a while."""
        size = -1
        while size != len(self.written):
            size = len(self.written)
            time.sleep(seconds)

    def send(self, keys: str) -> None:
        """Send what keys send."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int, cell: tuple[int, int] = (0, 0)) -> None:
        """Give the terminal another size; the program is told, of pixels of a cell too."""
        told = struct.pack("HHHH", lines, columns, columns * cell[0], lines * cell[1])
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, told)

    def ended(self, *, seconds: float = 60) -> int:
        """Wait until the process has ended and everything is read; return its exit code."""
        code: int = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def hang_up(self) -> None:
        """Take the terminal away, as a connection that breaks does."""
        master, self._master = self._master, -1
        # A close alone ends nothing while the reader still holds the terminal.
        os.kill(self.process.pid, signal.SIGHUP)
        os.close(master)

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            self._reader.join(10)
            os.close(self._master)


@contextmanager
def terminal(
    *arguments: str,
    environment: Mapping[str, str],
    size: tuple[int, int] = (80, 24),
    elsewhere: Mapping[str, int] | None = None,
) -> Iterator[Terminal]:
    """Hold the program on a pseudo-terminal."""
    made = Terminal(*arguments, environment=environment, size=size, elsewhere=elsewhere)
    try:
        yield made
    finally:
        made.close()


_LEFT = "it left with"


class Tmux:
    """The program in a tmux server of its own, as a person over SSH has it."""

    def __init__(self, size: tuple[int, int], environment: Mapping[str, str]) -> None:
        self._name = f"safelight-{uuid4().hex[:12]}"
        self._environment = dict(environment)
        columns, lines = size
        command = (
            f"{sys.executable} -P -c 'from tui.start import main; main()'; "
            f'echo "{_LEFT} $?"; exec sleep 600'
        )
        self._run(
            *("start-server", ";", "set", "-g", "status", "off", ";"),
            *("set", "-s", "escape-time", "0", ";"),
            *("new-session", "-d", "-x", str(columns), "-y", str(lines), "sh", "-c", command),
        )

    def _run(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["tmux", "-L", self._name, "-f", "/dev/null", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    @property
    def lines(self) -> list[str]:
        """The lines of the screen."""
        return self._run("capture-pane", "-p").split("\n")

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        """The words on the screen with single spaces, whatever lines and frames they stand in."""
        return " ".join(self.text.translate(_FRAME).split())

    def empty(self, text: str) -> None:
        """Take away what stands in the line that takes keys."""

        def emptied() -> bool:
            self.press("C-u")
            with suppress(AssertionError):
                self.gone(text, seconds=3)
            return text not in self.words

        until(emptied, lambda: self.text, seconds=60)

    def fill(self, text: str, *, shown: str = "", times: int = 1) -> None:
        """Put text into the line that takes keys, and see it there (``shown``, so many times).

        Typed again where nothing came of it, as a person does: a dialog that is just being
        drawn takes no keys yet.
        """

        def stands() -> bool:
            return self.text.count(shown or text) >= times

        def typed() -> bool:
            self.press("C-u")
            self.type(text)
            with suppress(AssertionError):
                until(stands, lambda: self.text, seconds=3)
            return stands()

        until(typed, lambda: self.text, seconds=60)

    def until(self, *words: str, seconds: float = 60) -> str:
        """Wait until one of these words stand on the screen; return which."""
        found: list[str] = []

        def seen() -> bool:
            shown = self.words
            found.extend(one for one in words if one in shown)
            assert found or _LEFT not in shown, f"it ended:\n{self.text}"
            return bool(found)

        until(seen, lambda: self.text, seconds=seconds)
        return found[0]

    def gone(self, words: str, *, seconds: float = 60) -> None:
        """Wait until words stand on the screen no more."""
        until(lambda: words not in self.words, lambda: self.text, seconds=seconds)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type text."""
        self._run("send-keys", "-l", text)

    def close(self) -> None:
        """End the server and what runs in it."""
        with suppress(AssertionError):
            socket = self._run("display-message", "-p", "#{socket_path}").strip()
            self._run("kill-server")
            # The server leaves it behind.
            Path(socket).unlink(missing_ok=True)


_FRAME = dict.fromkeys(map(ord, "│╭╮╰╯─▌"), " ")


@contextmanager
def tmux(size: tuple[int, int], environment: Mapping[str, str]) -> Iterator[Tmux]:
    """Hold the program in tmux."""
    made = Tmux(size, environment)
    try:
        yield made
    finally:
        made.close()
