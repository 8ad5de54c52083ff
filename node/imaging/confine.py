"""What a decoding process gives up before it reads a stranger's bytes.

Belongs here: the order in which a worker gives things up, resource limits, process
attributes, descriptors; which walls there are and which of them stand.
Never here: pictures, or the decision what a worker may take (``messages.Limits``).
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from dataclasses import dataclass, field, replace
from typing import Final

from node.imaging import kernel, landlock, seccomp
from node.imaging.messages import Limits, Wall, WallName, WallState

JOB_DESCRIPTOR: Final = 3
"""The one descriptor of a worker besides the three standard ones, which are /dev/null."""

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What a worker has around it besides limits of memory, time and descriptors."""

    landlock: int = 0
    """The ABI of Landlock that is used, 0 for none."""
    system_calls: bytes = field(default=b"", repr=False)
    """The seccomp filter, empty for none."""
    processes: bool = False
    """RLIMIT_NPROC, which cannot tell a thread from a process: HEIC needs a thread."""

    def describe(self, wanted: Walls) -> tuple[Wall, ...]:
        """Return each wall's state; wanted are those the kernel has."""
        stands = _parts(self)
        possible = _parts(wanted)
        return tuple(
            Wall(
                name=name,
                state=WallState.STANDS
                if stands[name]
                else WallState.FAILED
                if possible[name]
                else WallState.UNSUPPORTED,
            )
            for name in WallName
        )


def possible_walls() -> Walls:
    """Return the walls that this kernel offers."""
    machine = os.uname().machine
    known = machine in seccomp.AUDIT_ARCHITECTURES and seccomp.supported()
    return Walls(
        landlock=landlock.version(),
        system_calls=seccomp.assemble(machine) if known else b"",
    )


def weaker_walls(possible: Walls) -> list[Walls]:
    """Return what to try one after another, the strongest first and no wall last."""
    tries = []
    if possible.system_calls:
        tries += [possible, replace(possible, landlock=0)]
    files = replace(possible, system_calls=b"")
    tries += [replace(files, processes=True), Walls(processes=True), files, Walls()]
    return list(dict.fromkeys(tries))


def keep_pixels_in_memory() -> None:
    """Forbid this process and its children core dumps, tracing and new privileges."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if kernel.IS_LINUX:
        # RLIMIT_CORE does not bind a core_pattern that is a pipe; this does.
        kernel.process_attribute(_PR_SET_DUMPABLE, 0)
        kernel.process_attribute(_PR_SET_NO_NEW_PRIVS, 1)


def silence_standard_streams() -> None:
    """Point standard input, output and error at /dev/null: nothing a library prints lands."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def confine_worker(job_descriptor: int, limits: Limits, parent: int, walls: Walls) -> socket.socket:
    """Turn a fresh fork into a worker that has memory and this socket, and nothing else.

    parent: process id of the forking parent; the worker does not outlive it.
    Raises OSError or RuntimeError where something cannot be given up: then read nothing.
    """
    if kernel.IS_LINUX:
        kernel.process_attribute(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise RuntimeError("the parent died first")
    if job_descriptor != JOB_DESCRIPTOR:
        os.dup2(job_descriptor, JOB_DESCRIPTOR)
    os.closerange(JOB_DESCRIPTOR + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    jobs = socket.socket(fileno=JOB_DESCRIPTOR)
    if walls.landlock:
        landlock.deny_everything(walls.landlock)
    # No free descriptor: nothing can be opened from here on, for reading or for writing.
    _limit(resource.RLIMIT_NOFILE, JOB_DESCRIPTOR + 1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    if walls.processes:
        _limit(resource.RLIMIT_NPROC, 0)
    if walls.system_calls:
        seccomp.install(walls.system_calls)
    return jobs


def allow_cpu_seconds(seconds: int) -> None:
    """Let the kernel end this process after seconds more of CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = int(used.ru_utime + used.ru_stime) + 1 + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _parts(walls: Walls) -> dict[WallName, bool]:
    return {
        WallName.LIMITS: True,
        WallName.PRIVILEGES: kernel.IS_LINUX,
        WallName.FILES: walls.landlock >= landlock.FILES,
        WallName.NETWORK: walls.landlock >= landlock.NETWORK,
        WallName.SIGNALS: walls.landlock >= landlock.SIGNALS,
        WallName.SYSTEM_CALLS: bool(walls.system_calls),
    }
