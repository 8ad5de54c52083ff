from __future__ import annotations

import ast
import asyncio
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from node.imaging import landlock
from node.imaging.confine import Walls, possible_walls, weaker_walls
from node.imaging.messages import WallName, WallState
from node.imaging.pixels import FORMATS
from node.imaging.pool import ImagingPool
from node.imaging.processes import OWN_VARIABLES
from tests.node.imaging.confined import (
    A_WORKER,
    A_WORKER_WITHOUT_WALLS,
    LANDLOCK_ALONE,
    NOTHING,
    outcomes,
)
from tests.node.imaging.process_tree import parent_of_workers, until, workers
from tests.support_pictures import slow_picture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

needs_landlock = pytest.mark.skipif(
    not landlock.version(), reason="this kernel has no Landlock, or does not use it"
)
needs_network_rules = pytest.mark.skipif(
    landlock.version() < landlock.NETWORK, reason="Landlock of this kernel has no rules for TCP"
)
needs_scopes = pytest.mark.skipif(
    landlock.version() < landlock.SIGNALS, reason="Landlock of this kernel has no scopes"
)
needs_seccomp = pytest.mark.skipif(
    not possible_walls().system_calls,
    reason="this kernel takes no filters of system calls, or nobody wrote one for this machine",
)


LIMITED = (
    "open('/etc/passwd')",
    "open('/tmp/safelight-test', 'wb')",
    "os.memfd_create('plaintext')",
    "socket.socket()",
    "os.pipe()",
    "os.dup(0)",
    "bytes(500_000_000)",
)


@pytest.mark.parametrize("wall", [A_WORKER, A_WORKER_WITHOUT_WALLS], ids=["walls", "limits"])
@pytest.mark.parametrize("attempt", LIMITED)
def test_a_worker_can_open_nothing_and_take_no_more_than_its_memory(
    attempt: str, wall: str
) -> None:
    assert outcomes(wall, LIMITED)[attempt].startswith(("refused: ", "killed: SIGSYS"))


def test_a_worker_has_four_descriptors_and_its_memory() -> None:
    open_ones = "[n for n in range(256) if os.path.exists(f'/proc/self/fd/{n}')]"
    memory = "len(bytes(50_000_000))"

    assert outcomes(A_WORKER, (memory,)) == {memory: "50000000"}
    assert outcomes(A_WORKER_WITHOUT_WALLS, (open_ones,)) == {open_ones: "[0, 1, 2, 3]"}


def test_a_worker_can_do_what_decoding_takes() -> None:
    expected = {
        "in_a_thread()": "'a thread'",
        "allow_cpu_seconds(5)": "None",
        "time.sleep(0.01)": "None",
        "len(os.urandom(8))": "8",
        "os.getpid() > 0": "True",
        "bool(os.sched_getaffinity(0))": "True",
        "os.write(2, b'')": "0",
        "len(mmap.mmap(-1, 1 << 20, prot=mmap.PROT_READ))": "1048576",
    }

    assert outcomes(A_WORKER, tuple(expected)) == expected


DENIED = {
    "open": "os.open('/etc/passwd', os.O_RDONLY)",
    "make": "os.open('/tmp/safelight-test', os.O_WRONLY | os.O_CREAT)",
    "stat": "os.stat('/')",
    "list": "os.listdir('/')",
    "rename": "os.rename('/tmp/safelight-test', '/tmp/safelight-test-2')",
    "remove": "os.unlink('/tmp/safelight-test')",
    "change mode": "os.chmod('/tmp/safelight-test', 0o777)",
    "look at a descriptor": "os.fstat(0)",
    "copy a descriptor": "os.dup(0)",
    "pipe": "os.pipe()",
    "control a terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "memory that runs": "mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "let memory run": "call(10 if X86 else 226, address, PAGE, 5)",
    "be traced and dumped again": "kernel.process_attribute(4, 1)",
    "another user": "os.setuid(0)",
    "raise its own limits": "call(302 if X86 else 261, 0, resource.RLIMIT_NOFILE, address, 0)",
    "ask for limits of its parent": "resource.prlimit(parent, resource.RLIMIT_CPU)",
    "clone3": "call(435, address, 64)",
    "a call that nobody knows": "call(100_000)",
}
FATAL = {
    "exec": "os.execv('/bin/true', ['true'])",
    "execveat": "call(322 if X86 else 281, -100, ctypes.addressof(path), 0, 0, 0)",
    "fork": "os.fork()",
    "fork by clone": "call(56 if X86 else 220, signal.SIGCHLD, 0, 0, 0, 0)",
    "new namespace": "call(56 if X86 else 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)",
    "thread that is traced": "call(56 if X86 else 220, 0x3d0f00 | 0x2000, 0, 0, 0, 0)",
    "unshare": "call(272 if X86 else 97, 0x10000000)",
    "socket": "socket.socket()",
    "unix socket": "socket.socket(socket.AF_UNIX)",
    "connect": "call(42 if X86 else 203, 3, address, 16)",
    "bind": "call(49 if X86 else 200, 3, address, 16)",
    "pass a descriptor": "jobs.sendmsg([b'x'])",
    "ptrace": "call(101 if X86 else 117, 16, parent, 0, 0)",
    "read another process": "call(310 if X86 else 270, parent, 0, 0, 0, 0, 0)",
    "write another process": "call(311 if X86 else 271, parent, 0, 0, 0, 0, 0)",
    "kill": "os.kill(parent, 0)",
    "take another's descriptor": "call(438, 0, 0, 0)",
    "io_uring": "call(425, 1, address)",
    "bpf": "call(321 if X86 else 280, 0, address, 64)",
    "userfaultfd": "call(323 if X86 else 282, 1)",
    "performance counters": "call(298 if X86 else 241, address, 0, -1, -1, 0)",
    "keys of the kernel": "call(250 if X86 else 219, 0, -3)",
    "a file without a name": "os.memfd_create('plaintext')",
}


@needs_seccomp
@pytest.mark.parametrize("name", DENIED)
def test_row_35_what_a_worker_has_no_use_for_fails(name: str) -> None:
    assert outcomes(A_WORKER, tuple(DENIED.values()))[DENIED[name]].startswith("refused: ")


@needs_seccomp
@pytest.mark.parametrize("name", FATAL)
def test_row_35_what_only_an_intruder_tries_ends_the_worker(name: str) -> None:
    assert outcomes(A_WORKER, tuple(FATAL.values()))[FATAL[name]] == "killed: SIGSYS"


@needs_seccomp
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only there are other ABIs in reach")
def test_row_35_calls_of_another_abi_end_the_worker() -> None:
    x32 = "call(0x4000_0000 | 39)"

    assert outcomes(A_WORKER, (x32,)) == {x32: "killed: SIGSYS"}


FILES = (
    "open('/etc/passwd').read(1)",
    "os.listdir('/')",
    "os.execv('/bin/sh', ['sh', '-c', 'kill -USR1 $$'])",
    "open('/dev/null', 'wb')",
)
REACH = ("client.connect(listener.getsockname())", "other.bind(('127.0.0.1', 0))")
SIGNALS = ("os.kill(parent, 0)",)


@needs_landlock
def test_row_35_landlock_alone_keeps_a_process_from_every_file() -> None:
    assert set(outcomes(LANDLOCK_ALONE, FILES).values()) == {"refused: PermissionError"}


@needs_network_rules
def test_row_35_landlock_alone_keeps_a_process_from_tcp() -> None:
    assert set(outcomes(LANDLOCK_ALONE, REACH).values()) == {"refused: PermissionError"}


@needs_scopes
def test_row_35_landlock_alone_keeps_a_process_from_signalling_others() -> None:
    assert set(outcomes(LANDLOCK_ALONE, SIGNALS).values()) == {"refused: PermissionError"}


def test_what_the_walls_refuse_works_without_them() -> None:
    harmless = (
        *("open", "stat", "list", "look at a descriptor", "copy a descriptor", "pipe"),
        *("memory that runs", "let memory run", "be traced and dumped again"),
    )
    attempts = (*FILES, *REACH, *SIGNALS, *(DENIED[name] for name in harmless))

    without = outcomes(NOTHING, attempts)

    assert not [one for one in attempts if not without[one] or "refused" in without[one]]
    assert without[FILES[2]] == "killed: SIGUSR1"


@pytest.mark.parametrize(
    ("abi", "fields"),
    [
        (1, [0x1FFF]),
        (2, [0x3FFF]),
        (3, [0x7FFF]),
        (4, [0x7FFF, 3]),
        (5, [0xFFFF, 3]),
        (6, [0xFFFF, 3, 3]),
        (9, [0xFFFF, 3, 3]),
    ],
)
def test_landlock_denies_all_that_each_abi_knows(abi: int, fields: list[int]) -> None:
    assert struct.unpack(f"={len(fields)}Q", landlock.ruleset(abi)) == tuple(fields)


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
    assert 10 <= int(limits["Max cpu time"][0]) <= 12
    assert "NoNewPrivs:\t1" in (process / "status").read_text()
    if possible_walls().system_calls:
        assert "Seccomp:\t2" in (process / "status").read_text()
    for stream in (0, 1, 2):
        assert (process / "fd" / str(stream)).readlink() == Path(os.devnull)
    for one in (worker, parent):
        assert b"canary" not in (Path("/proc") / str(one) / "environ").read_bytes()

    job.cancel()
    await pool.close()


TRIED = """
import os, socket, struct
from node.imaging import worker
from node.imaging.confine import Walls, keep_pixels_in_memory, possible_walls
from node.imaging.seccomp import KILL_PROCESS

worker.configure_pillow()
worker.configure_decoders()
trials = worker._warm_up()
keep_pixels_in_memory()
possible = possible_walls()
{prepare}
walls = worker._strongest(possible, trials)
print({told})
"""


def tried(told: str, prepare: str = "") -> str:
    """Return what an expression about the walls that a warm parent chooses evaluates to."""
    script = TRIED.replace("{prepare}", prepare).replace("{told}", told)
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | OWN_VARIABLES,
    )
    return done.stdout.strip()


STATES = "{wall.name.value: wall.state.value for wall in walls.describe(possible)}"


@pytest.mark.parametrize("user", ["None", "os.setuid(65534)"])
def test_every_format_is_decoded_behind_the_strongest_walls_by_any_user(user: str) -> None:
    if user != "None" and os.geteuid() != 0:
        pytest.skip("this user cannot become another one")
    decoded = "sorted({t.job.format for t in trials if type(t.got[0]).__name__ == 'PixelsHashed'})"

    states, formats = ast.literal_eval(tried(f"({STATES}, {decoded})", prepare=user))

    assert set(states.values()) <= {"stands", "unsupported"}
    assert formats == sorted(FORMATS)


def test_a_wall_that_decoding_does_not_survive_is_left_out_and_named() -> None:
    kills = "struct.pack('=HBBI', 6, 0, 0, KILL_PROCESS)"
    prepare = f"possible = Walls(landlock=possible.landlock, system_calls={kills})"

    states = ast.literal_eval(tried(STATES, prepare))

    assert states["system_calls"] == "failed"
    assert states["limits"] == "stands"
    assert states["files"] == ("stands" if landlock.version() else "unsupported")


def test_weaker_walls_are_tried_from_the_strongest_to_none() -> None:
    both = Walls(landlock=7, system_calls=b"filter")
    weakest = [Walls(processes=True), Walls(landlock=7), Walls()]

    assert weaker_walls(both) == [
        both,
        Walls(system_calls=b"filter"),
        Walls(landlock=7, processes=True),
        *weakest,
    ]
    assert weaker_walls(Walls(landlock=7)) == [Walls(landlock=7, processes=True), *weakest]
    assert weaker_walls(Walls()) == [Walls(processes=True), Walls()]


def test_walls_that_a_kernel_does_not_have_are_named() -> None:
    states = ast.literal_eval(tried(STATES, "possible = Walls()"))

    assert states == {
        "limits": "stands",
        "privileges": "stands",
        "files": "unsupported",
        "network": "unsupported",
        "signals": "unsupported",
        "system_calls": "unsupported",
    }


async def test_a_pool_says_what_stands_around_its_workers() -> None:
    pool = ImagingPool(1)
    before = pool.walls
    await pool.start()
    states = {wall.name: wall.state for wall in pool.walls}
    await pool.close()

    assert before == ()
    assert set(states) == set(WallName)
    assert set(states.values()) <= {WallState.STANDS, WallState.UNSUPPORTED}
    assert states[WallName.LIMITS] is WallState.STANDS


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
