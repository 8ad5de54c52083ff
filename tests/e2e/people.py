"""People with real node processes, driven by the real command.

Belongs here: homes, passphrase files and commands as subprocesses.
Never here: anything inside a node.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.imaging.made import made_pictures

COMMAND = [sys.executable, "-P", "-m", "node.cli.main"]


class CommandFailedError(AssertionError):
    """A command that a test needs has failed."""


@dataclass
class Cli:
    """One person at one home."""

    name: str
    folder: Path
    passphrase: str = "a passphrase of one test"
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Where the node keeps its data."""
        return self.folder / self.name

    @property
    def passphrase_file(self) -> Path:
        """The file that holds the passphrase, outside the home."""
        return self.folder / f"{self.name}.passphrase"

    def write_passphrase(self) -> None:
        """Make the passphrase file."""
        self.passphrase_file.touch(0o600)
        self.passphrase_file.write_text(self.passphrase + "\n")

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command without waiting for it."""
        if not self.passphrase_file.exists():
            self.write_passphrase()
        return subprocess.Popen(
            [*COMMAND, "--home", str(self.home), "--json", *arguments],
            env={
                **os.environ,
                "SAFELIGHT_PASSPHRASE_FILE": str(self.passphrase_file),
                **self.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whatever runs the tests may ignore Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def run(self, *arguments: str) -> tuple[int, Any]:
        """Run a command; return its exit code and its JSON document."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=120)
        assert "Traceback" not in stderr, stderr
        return process.returncode, json.loads(stdout) if stdout.strip() else None

    def do(self, *arguments: str) -> Any:
        """Run a command that must succeed; return its JSON document."""
        code, document = self.run(*arguments)
        if code:
            raise CommandFailedError(f"{self.name}: {arguments}: exit {code}: {document}")
        return document

    def refused(self, *arguments: str) -> tuple[int, str]:
        """Run a command that must fail; return its exit code and error code."""
        code, document = self.run(*arguments)
        assert code != 0, f"{arguments} succeeded: {document}"
        return code, document["error"]["code"]

    def set_up(self) -> None:
        """Make the identity and start the node on loopback."""
        self.do("init", "--name", self.name, "--recovery-out", str(self.folder / f"{self.name}.24"))
        self.do("node", "start", "--listen", "127.0.0.1:0", "--no-mdns")

    def pid(self) -> int:
        """Return the node's process id."""
        return int(self.do("node", "status")["pid"])

    def kill(self) -> None:
        """Kill the node as a power cut would, and wait until it is gone."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)

    def ready(self, capability: str) -> dict[str, Any]:
        """Return a held capability once every picture of it is ready."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for held in self.do("inbox"):
                if held["id"] == capability and all(one["ready"] for one in held["images"]):
                    found: dict[str, Any] = held
                    return found
            time.sleep(0.1)
        raise CommandFailedError(f"{capability} did not become ready for {self.name}")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's entries of one event."""
        return [one for one in self.do("audit", "log")["entries"] if one["event"] == name]


def wait_gone(pid: int) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise CommandFailedError(f"process {pid} did not end")


def join(administrator: Cli, person: Cli) -> None:
    """Bring a person into the team by files."""
    identity, welcome = (
        person.folder / f"{person.name}.id",
        person.folder / f"{person.name}.welcome",
    )
    person.do("identity", "export", str(identity))
    administrator.do("team", "add", str(identity), "-o", str(welcome))
    fingerprint = administrator.do("identity")["fingerprint"]
    person.do("join", "--file", str(welcome), "--expect", fingerprint)


@contextmanager
def people(folder: Path, *names: str) -> Iterator[list[Cli]]:
    """Hold people with running nodes of one team; the first is the administrator."""
    everybody = [Cli(name, folder) for name in names]
    try:
        for one in everybody:
            one.set_up()
        first, *others = everybody
        first.do("team", "create", "Test team")
        for one in others:
            join(first, one)
        yield everybody
    finally:
        for one in everybody:
            if one.home.exists():
                one.run("node", "stop")


def picture_files(folder: Path, count: int, size: tuple[int, int] = (640, 427)) -> list[Path]:
    """Write made pictures to a folder; return their paths."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, data in made_pictures(count, size):
        path = folder / name
        path.write_bytes(data)
        paths.append(path)
    return paths
