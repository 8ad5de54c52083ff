"""A rendezvous in a process of its own: the real command, to be measured and killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocol.rendezvous.address import RendezvousAddress, parse_rendezvous_address


class Server:
    """A server that runs: its process, and what it told at the start."""

    def __init__(self, process: subprocess.Popen[bytes], told: dict[str, Any], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.address: str = told["address"]
        self.claim: str | None = told["claim"]
        self.metrics_port: int = told["metrics_port"]
        self.log = log
        """What it has written for its operator."""

    @property
    def place(self) -> RendezvousAddress:
        """The address in its parts."""
        return parse_rendezvous_address(self.address)

    def memory(self) -> int:
        """Return the bytes of the process that are in memory."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """Return the most there ever were."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) * 1024


@contextmanager
def serving(
    folder: Path, settings: dict[str, int] | None = None, *options: str
) -> Iterator[Server]:
    """Run `safelight rendezvous serve` on a data folder and a free port of this machine."""
    folder.mkdir(mode=0o700, exist_ok=True)
    limits = folder.with_name(folder.name + ".toml")
    changed = {"disk_reserve_percent": 1, **(settings or {})}
    limits.write_text("".join(f"{name} = {value}\n" for name, value in changed.items()))
    log = folder.with_name(folder.name + ".log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "node.cli.main", "rendezvous", "serve", "--json"),
                *("--listen", "127.0.0.1:0", "--metrics-port", "0"),
                *("--data", str(folder), "--settings", str(limits), *options),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        yield Server(process, told, log)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
