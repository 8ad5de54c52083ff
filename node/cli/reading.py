"""Picture files that a person names: read whole, within bounds, whatever stands behind the name.

Belongs here: telling a file from a pipe, a device or a folder before anything is read.
Never here: what is in a picture.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from protocol.errors import LocalError


def read_picture(path: Path, limit: int) -> bytes:
    """Return what a regular file of at most limit bytes holds; LocalError says why not."""
    try:
        # A pipe without a writer must not hold the command up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise LocalError(
                    "it is not a file", code="not_a_file", hint="name the pictures themselves"
                )
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LocalError(error.strerror or "it cannot be read", code="unreadable") from None
    if len(data) > limit:
        raise LocalError(f"it is larger than {limit >> 20} MB", code="too_large")
    return data
