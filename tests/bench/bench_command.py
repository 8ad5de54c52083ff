"""How soon the command is there."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

RUNS = 15
_PROGRAM = "from tui.start import main; main()"
"""As the installed script does."""


def run() -> list[dict[str, Any]]:
    """Return the median of `safelight --version` and of a bare interpreter."""
    ours = _median([sys.executable, "-P", "-c", _PROGRAM, "--version"])
    bare = _median([sys.executable, "-P", "-c", "pass"])
    return [
        {"what": "safelight --version", "value": ours, "unit": "ms", "budget": "120 ms",
         "peer": "a bare interpreter", "ratio": ours / bare}
    ]  # fmt: skip


def _median(command: list[str]) -> float:
    taken = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)
