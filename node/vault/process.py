"""What a process gives up before it holds keys.

Belongs here: limits that keep memory and new files from others on the machine.
Never here: files of a vault.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""linux/prctl.h"""


def protect_process() -> None:
    """Keep memory out of core dumps and away from tracers, and new files from other users."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # The limit does not bind a core_pattern that is a pipe; this does.
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
