"""Disks that fail at one instant: an fsync error, a power cut."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.vault import log_store
from node.vault.database import Database, LogSigner
from protocol.audit.checkpoint import origin_of
from protocol.primitives import SigningKey
from tests.node.vault.disks import ext4, mounted
from tests.node.vault.support import ManualClock
from tests.support import ROOT

SIGNER = LogSigner(origin=origin_of(bytes(32)), key=SigningKey(bytes(32)))

WRITER = """
import asyncio, os, sys
from pathlib import Path
from node.system import SystemClock
from node.vault.database import Database, LogDraft, LogSigner
from protocol.audit.checkpoint import origin_of
from protocol.primitives import SigningKey
folder, turns = Path(sys.argv[1]), int(sys.argv[2])
signer = LogSigner(origin=origin_of(bytes(32)), key=SigningKey(bytes(32)))
async def main():
    try:
        database = await Database.open(folder / "index.db", bytes(32), clock=SystemClock(),
            entropy=os.urandom, prepare=lambda db: signer)
    except Exception as error:
        print("open", type(error).__name__, flush=True)
        return
    if len(sys.argv) > 3:
        await database._writer.run(lambda db: db.execute(sys.argv[3]).fetchall())
    draft = LogDraft(event="imported")
    for turn in range(turns):
        try:
            committed = await database.write(lambda transaction: transaction.append(draft))
        except Exception as error:
            print("fail", type(error).__name__, flush=True)
        else:
            print("done", committed.value, flush=True)
    await database.close()
asyncio.run(main())
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "writer.py"
    path.write_text(WRITER)
    return path


async def head_size(folder: Path) -> int:
    """Return the size of the log that survived; its head fits or opening raises."""
    database = await Database.open(
        folder / "index.db",
        bytes(32),
        clock=ManualClock(),
        entropy=os.urandom,
        prepare=lambda _: SIGNER,
    )
    head = await database.read(log_store.head)
    await database.close()
    return 0 if head is None else head.size


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("name", "when"),
    [("index.db-journal", 1), ("index.db", 1), ("index.db-wal", 1), ("index.db-wal", 5), (".", 1)],
    ids=["first journal", "first index", "first WAL", "a commit", "the folder"],
)
async def test_an_fsync_error_stops_everything_and_is_never_retried(
    tmp_path: Path, program: Path, name: str, when: int
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "index.db").touch()

    inject = f"inject=fsync,fdatasync:error=EIO:when={when}"
    command = ["strace", "-f", "-o", "/dev/null", "-e", inject, "-P", str(folder / name)]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, sys.executable, str(program), str(folder), "8"],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )

    told = [line.split() for line in done.stdout.splitlines()]
    good = [int(index) for word, index in told if word == "done"]
    bad = [(place, name) for place, (word, name) in enumerate(told) if word != "done"]
    assert good == list(range(len(good)))
    assert {name for _, name in bad} == {"StorageFailedError"}
    # Nothing works after the first failure, and what was acknowledged before it is there.
    assert [place for place, _ in bad] == list(range(len(good), len(told)))
    assert await head_size(folder) >= len(good)


async def cut_power(tmp_path: Path, program: Path, *settings: str) -> tuple[int, int]:
    """Return how many entries were acknowledged, and how many a power cut left."""
    with ext4(tmp_path, mib=32) as (image, disk):
        (disk / "index.db").touch()
        os.sync()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program), str(disk), "100000", *settings),
            stdout=asyncio.subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        acknowledged = 0
        while acknowledged < 50:
            acknowledged = int((await process.stdout.readline()).split()[1]) + 1
        process.send_signal(signal.SIGSTOP)
        copy = tmp_path / "after.img"
        await asyncio.to_thread(shutil.copy, image, copy)
        process.send_signal(signal.SIGKILL)
        rest = (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
        acknowledged += sum(line.startswith(b"done ") and line.endswith(b"\n") for line in rest)
    with mounted(copy, tmp_path / "after") as disk:
        return acknowledged, await head_size(disk)


@pytest.mark.root
async def test_guarantee_10_what_was_acknowledged_survives_a_power_cut(
    tmp_path: Path, program: Path
) -> None:
    for trial in range(20 if os.environ.get("SAFELIGHT_LONG") else 1):
        folder = tmp_path / str(trial)
        folder.mkdir()
        acknowledged, left = await cut_power(folder, program)
        assert left >= acknowledged


@pytest.mark.root
async def test_the_power_cut_test_sees_commits_that_are_not_synced(
    tmp_path: Path, program: Path
) -> None:
    for trial in range(5):
        folder = tmp_path / str(trial)
        folder.mkdir()
        acknowledged, left = await cut_power(folder, program, "PRAGMA synchronous = NORMAL")
        if left < acknowledged:
            return
    pytest.fail("no commit was lost without syncing: the test would not see a loss")
