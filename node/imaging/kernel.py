"""Kernel calls that Python has no function for.

Belongs here: making one call, and what it takes to make it.
Never here: which calls a worker makes or may make.

Imported by the warm parent before it forks: a worker can load nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys

IS_LINUX = sys.platform == "linux"


def system_call(number: int, *arguments: int) -> int:
    """Make a system call by its number; OSError. Linux only."""
    # As wide as a register: ctypes would pass an int of C, and lose half of an address.
    result: int = _libc.syscall(*map(ctypes.c_long, (number, *arguments)))
    return _checked(result, f"system call {number}")


def process_attribute(option: int, *values: int) -> int:
    """Make a prctl call; OSError. Linux only."""
    wide = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(option, *wide)
    return _checked(result, f"prctl {option}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


_libc = ctypes.CDLL(None, use_errno=True)
if IS_LINUX:
    _libc.syscall.restype = ctypes.c_long
