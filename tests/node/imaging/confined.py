"""Attempts at what a worker must not do, each made from inside a confined process of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

SCRIPT = """
import ctypes, fcntl, json, mmap, os, resource, signal, socket, sys, threading, time
from node.imaging import kernel, landlock, seccomp
from node.imaging.confine import (
    Walls, allow_cpu_seconds, confine_worker, keep_pixels_in_memory, possible_walls
)
from node.imaging.messages import Limits

X86 = os.uname().machine == "x86_64"
MEMORY = Limits(memory_bytes=400_000_000)
PAGE = 4096
buffer = mmap.mmap(-1, PAGE)
address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
path = ctypes.create_string_buffer(b"/etc/passwd")
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
client = socket.socket()
other = socket.socket()
call = kernel.system_call
parent = os.getpid()

def in_a_thread():
    said = []
    thread = threading.Thread(target=lambda: said.append("a thread"))
    thread.start()
    thread.join()
    return said[0]

def attempted(wall, attempt):
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            keep_pixels_in_memory()
            jobs = eval(wall) or theirs
            try:
                outcome = repr(eval(attempt))
            except (OSError, MemoryError) as error:
                outcome = "refused: " + type(error).__name__
            jobs.send(outcome.encode())
        finally:
            os._exit(0)
    theirs.close()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "killed: " + signal.Signals(os.WTERMSIG(status)).name
    return ours.recv(1000).decode()

in_a_thread()
wall, attempts = json.load(sys.stdin)
wall = compile(wall, "wall", "eval")
attempts = [compile(one, "attempt", "eval") for one in attempts]
json.dump([attempted(wall, one) for one in attempts], sys.stdout)
"""

A_WORKER = "confine_worker(theirs.fileno(), MEMORY, parent, possible_walls())"
"""Everything that the kernel has."""
A_WORKER_WITHOUT_WALLS = "confine_worker(theirs.fileno(), MEMORY, parent, Walls())"
"""Where the kernel has nothing but resource limits."""
LANDLOCK_ALONE = "landlock.deny_everything(landlock.version())"
NOTHING = "None"


@functools.cache
def outcomes(wall: str, attempts: tuple[str, ...]) -> dict[str, str]:
    """Return what processes behind a wall get from Python expressions.

    What it evaluates to, `refused: ` and an exception, or `killed: ` and a signal.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([wall, attempts]),
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(zip(attempts, json.loads(done.stdout), strict=True))
