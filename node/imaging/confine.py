"""What a decoding process gives up before it reads a stranger's bytes.

Belongs here: resource limits, process attributes, file descriptors; every kernel wall.
Never here: pictures, messages, or the decision what a worker may take (``messages.Limits``).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import Final

from node.imaging.messages import Limits

JOB_DESCRIPTOR: Final = 3
"""The one descriptor of a worker besides the three standard ones, which are /dev/null."""

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


def keep_pixels_in_memory() -> None:
    """Forbid this process and its children core dumps, tracing and new privileges."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # RLIMIT_CORE does not bind a core_pattern that is a pipe; this does.
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def silence_standard_streams() -> None:
    """Point standard input, output and error at /dev/null: nothing a library prints lands."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def confine_worker(job_descriptor: int, limits: Limits, parent: int) -> None:
    """Turn a fresh fork into a worker that has JOB_DESCRIPTOR and memory, and nothing else.

    parent: process id of the forking parent; the worker does not outlive it.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise RuntimeError("the parent died first")
    if job_descriptor != JOB_DESCRIPTOR:
        os.dup2(job_descriptor, JOB_DESCRIPTOR)
    os.closerange(JOB_DESCRIPTOR + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    # No free descriptor: nothing can be opened from here on, for reading or for writing.
    _limit(resource.RLIMIT_NOFILE, JOB_DESCRIPTOR + 1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_AS, limits.memory_bytes)


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


def _prctl(option: int, value: int) -> None:
    """Set a process attribute where the kernel is Linux; other systems have none of these."""
    if sys.platform == "linux" and _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


_libc = ctypes.CDLL(None, use_errno=True)
