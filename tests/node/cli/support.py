"""A node of canned answers behind the real control server, and ways to run the command."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.control.routes import Progress
from node.control.schema import Params
from protocol.errors import SafelightError

COMMAND = (sys.executable, "-m", "node.cli.main")


class Answers(list[Any]):
    """What a method answers, call by call."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(answers)


@dataclass
class CannedNode:
    """Answers each method with what a test put into `results`; keeps the calls.

    A result may be an exception, which is raised, or `Answers`, one for each call.
    """

    results: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    calls: list[tuple[str, Params]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results.setdefault(
            "status",
            {
                "state": "unlocked",
                "locked_by_user": False,
                "pid": os.getpid(),
                "listen": ["127.0.0.1:7421"],
                "fingerprint": "abcd-efgh",
                "peers": 1,
                "log_size": 3,
            },
        )

    async def call(self, method: str, params: Params, progress: Progress) -> Any:
        self.calls.append((method, params))
        result = self.results[method]
        if isinstance(result, Answers):
            result = result.pop(0)
        if isinstance(result, Exception):
            raise result
        if method == "import":
            progress(1, 1, "importing")
            await asyncio.sleep(0.1)
        return result

    async def stream(self, method: str, params: Params) -> AsyncIterator[dict[str, Any]]:
        self.calls.append((method, params))
        for event in self.streams[method]:
            yield event

    def called(self, method: str) -> list[Params]:
        """Return the parameters of each call of a method."""
        return [params for name, params in self.calls if name == method]


class RefusalError(SafelightError):
    """A node's no, with the code of the test."""


def refusal(code: str, hint: str = "") -> RefusalError:
    return RefusalError(f"no: {code}", code=code, hint=hint)


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document of stdout."""
        assert self.out.count("\n") == 1, self.out + self.err
        return json.loads(self.out)


def run(*arguments: str, environment: Mapping[str, str] | None = None, text: str = "") -> Ran:
    """Run the command as a process of its own, without a terminal."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment() if environment is None else dict(environment),
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment without what would change how the command behaves."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAFELIGHT_", "_SAFELIGHT")) and name not in _CHANGING
    }
    return {**kept, **more}


_CHANGING = {"NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES", "XDG_RUNTIME_DIR"}


def run_on_terminal(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    answers: Sequence[tuple[str, str]] = (),
    size: tuple[int, int] = (24, 80),
) -> Ran:
    """Run the command on a terminal of its own, typing each answer after its prompt."""
    person, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, size)

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=dict(environment),
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(terminal)
    waiting = list(answers)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([person], [], [], 0.1)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(person, 65_536)
        except OSError:
            break
        if not data:
            break
        seen += data
        if waiting and waiting[0][0].encode() in seen:
            os.write(person, waiting.pop(0)[1].encode() + b"\n")
    os.close(person)
    process.wait(timeout=10)
    assert not waiting, f"never asked {waiting[0][0]!r}: {seen!r}"
    return Ran(process.returncode, seen.decode().replace("\r\n", "\n"), "")


def new_home(folder: Path) -> Path:
    """Return a home that looks as if a vault were in it."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    (home / "vault").write_bytes(b"")
    return home
