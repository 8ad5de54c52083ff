"""Files the command writes itself.

Belongs here: creating a file that did not exist, whole or not at all.
Never here: pictures, which the node writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


@contextmanager
def new_file(path: Path, mode: int) -> Iterator[Callable[[bytes], None]]:
    """Hold a file that did not exist; it stays only if the block writes to it and ends well.

    The file is made before the block, so that nothing irrevocable happens for a
    result that then cannot be written. FileExistsError where there is one.
    """
    path = path.expanduser()
    descriptor = os.open(path, _NEW, mode)
    written = kept = False
    try:
        with os.fdopen(descriptor, "wb") as file:

            def write(data: bytes) -> None:
                nonlocal written
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                written = True

            yield write
        kept = written
    finally:
        if not kept:
            path.unlink(missing_ok=True)
