"""Tells of a fault of Safelight itself: where it happened, never with which values.

Belongs here: one line for each exception and frame, on stderr.
Never here: expected errors, which have a code and go to whoever asked.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator


@contextlib.contextmanager
def reported_faults(where: str) -> Iterator[None]:
    """Report an error that nobody foresaw, and go on behind the block: the node outlives it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  one fault must not end everything else
        report_fault(where, error)


def report_fault(where: str, error: BaseException) -> None:
    """Write the types and frames of an unexpected error and of what led to it."""
    lines = [f"safelight: fault in {where}"]
    cause: BaseException | None = error
    while cause is not None:
        lines.append(f"  {type(cause).__module__}.{type(cause).__qualname__}")
        lines += [
            f"    {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(cause.__traceback__, limit=-20)
        ]
        cause = cause.__cause__ or cause.__context__
    # A node whose starter has gone has nobody to tell.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
