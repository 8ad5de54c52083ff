from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.imaging.pool import ImagingPool
from tests.node.imaging.process_tree import parent_of_workers, until, workers
from tests.support_pictures import slow_picture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CONFINED = """
import os, socket, sys
from node.imaging.confine import confine_worker, keep_pixels_in_memory
from node.imaging.messages import Limits

ours, theirs = socket.socketpair()
parent = os.getpid()
if os.fork() == 0:
    keep_pixels_in_memory()
    confine_worker(theirs.fileno(), Limits(memory_bytes=300_000_000), parent)
    jobs = socket.socket(fileno=3)
    try:
        outcome = repr({attempt})
    except (OSError, MemoryError) as error:
        outcome = "refused: " + type(error).__name__
    jobs.sendall(outcome.encode())
    os._exit(0)
theirs.close()
os.wait()
print(ours.recv(1000).decode())
"""


def attempt(expression: str) -> str:
    """Return what a confined process gets from a Python expression."""
    done = subprocess.run(
        [sys.executable, "-c", CONFINED.replace("{attempt}", expression)],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "expression",
    [
        "open('/etc/passwd')",
        "open('/tmp/plaintext', 'wb')",
        "os.memfd_create('plaintext')",
        "socket.socket()",
        "os.pipe()",
        "os.dup(0)",
        "bytes(400_000_000)",
    ],
)
def test_a_worker_can_open_nothing_and_take_no_more_than_its_memory(expression: str) -> None:
    assert attempt(expression).startswith("refused: ")


def test_a_worker_has_four_descriptors_and_its_memory() -> None:
    assert attempt("len(bytes(50_000_000))") == "50000000"
    assert attempt("[n for n in range(256) if os.path.exists(f'/proc/self/fd/{n}')]") == (
        "[0, 1, 2, 3]"
    )


async def test_running_workers_are_confined_and_see_nothing_of_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAFELIGHT_TEST_SECRET", "canary")
    pool = ImagingPool(1)
    await pool.start()
    job = asyncio.create_task(pool.render_preview(slow_picture(), 64))
    (worker,) = await until(workers)
    await asyncio.sleep(0.3)
    os.kill(worker, signal.SIGSTOP)
    parent = parent_of_workers()
    process = Path("/proc") / str(worker)
    limits = {
        line[:26].strip(): line[26:].split()[:2]
        for line in (process / "limits").read_text().splitlines()[1:]
    }

    assert limits["Max address space"] == ["1500000000", "1500000000"]
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max file size"] == ["0", "0"]
    assert limits["Max open files"] == ["4", "4"]
    assert limits["Max processes"] == ["0", "0"]
    assert 10 <= int(limits["Max cpu time"][0]) <= 12
    assert "NoNewPrivs:\t1" in (process / "status").read_text()
    for stream in (0, 1, 2):
        assert (process / "fd" / str(stream)).readlink() == Path(os.devnull)
    for one in (worker, parent):
        assert b"canary" not in (Path("/proc") / str(one) / "environ").read_bytes()

    job.cancel()
    await pool.close()


def test_hostile_modules_in_the_folder_the_node_starts_in_are_not_loaded(tmp_path: Path) -> None:
    for name in ("PIL", "msgspec", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hostile')")
    script = (
        "import asyncio, sys\n"
        "from node.imaging.pool import ImagingPool\n"
        "async def main():\n"
        "    pool = ImagingPool(1)\n"
        "    await pool.start()\n"
        "    await pool.close()\n"
        "asyncio.run(main())\n"
    )

    done = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, check=False)

    assert done.returncode == 0
