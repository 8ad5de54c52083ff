"""The node of canned answers, served for the time of a test."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.cli.main import run as run_in_process
from node.control.routes import ControlServer
from node.control.runtime import socket_path
from tests.node.cli.support import CannedNode, Ran, clean_environment, new_home


@dataclass
class Served:
    """A home, the canned node that serves it, and the way to run a command on it."""

    home: Path
    node: CannedNode
    environment: dict[str, str]
    run: Callable[..., Coroutine[Any, Any, Ran]]
    """In this process: fast, and with the same streams and exit codes."""


@pytest.fixture(autouse=True)
def short_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sockets have short paths; pytest's own folders have long ones."""
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        for name in ("SAFELIGHT_HOME", "SAFELIGHT_PASSPHRASE_FILE", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


@pytest.fixture
async def served(
    tmp_path: Path, short_runtime_folder: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Served]:
    """A node that is unlocked and whose answers a test chooses."""
    home = new_home(tmp_path)
    node = CannedNode()
    server = ControlServer(socket_path(home), node)

    async def run(*arguments: str) -> Ran:
        code = await asyncio.to_thread(run_in_process, ["--home", str(home), *arguments])
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    await server.start()
    yield Served(
        home=home,
        node=node,
        environment=clean_environment(
            XDG_RUNTIME_DIR=str(short_runtime_folder), SAFELIGHT_HOME=str(home), TERM="xterm"
        ),
        run=run,
    )
    await server.close()
