"""Another user of this machine, for tests that root runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STRANGER = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextmanager
def connected_stranger(path: Path, talk: Callable[[socket.socket], bytes]) -> Iterator[int]:
    """Connect to a Unix socket as another user and talk; gives a descriptor of what talk returns.

    The folders on the way are opened to everybody first.
    """
    for place in (path, *path.parents[:-2]):
        place.chmod(0o777)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(STRANGER)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(path))
                os.write(tell, talk(connection))
        except OSError as error:
            os.write(tell, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(tell)
    try:
        yield told
    finally:
        os.close(told)
        os.waitpid(child, 0)
