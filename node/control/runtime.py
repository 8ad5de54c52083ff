"""Where a home's control socket is, who may use it, and how a node is started.

Belongs here: the runtime folder and its checks, the uid of a peer, the spawn.
Never here: what is said over the socket (``routes``, ``client``). This module is
part of every command's start, so it imports nothing slow.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from protocol.errors import SafelightError

if TYPE_CHECKING:
    import subprocess

_MAX_SOCKET_PATH_BYTES: Final = 103
"""``sun_path`` has 104 bytes on macOS and 108 on Linux, the final zero included."""

_HASH_DIGITS: Final = 16

SPAWNED: Final = "SAFELIGHT_SPAWNED"
"""Set in the environment of a node that ``spawn_node`` starts, until it serves: its starter
unlocks it, and reads its output, but not for long."""

_MAX_OUTPUT_BYTES: Final = 64 * 1024
"""What is kept of a starting node's output: its end, where the error stands."""

_POLL_S: Final = 0.02


class RuntimeFolderError(SafelightError):
    """The folder of the control socket cannot be trusted or used."""

    code = "runtime_folder"


class NodeStartError(SafelightError):
    """A node was started and ended, or did not answer; ``code`` is its own where it gave one."""

    code = "not_started"


def default_home() -> Path:
    """Return $SAFELIGHT_HOME, else the platform's folder for user data."""
    if home := os.environ.get("SAFELIGHT_HOME"):
        return Path(home)
    from platformdirs import user_data_path

    return user_data_path("safelight")


def runtime_folder() -> Path:
    """Return the folder of the control sockets. It need not exist yet."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    # A job outside the login session lacks the variable, but must find the same node.
    session = Path(given if given.startswith("/") else f"/run/user/{os.geteuid()}")
    folder = session / "safelight"
    if _fits(folder) and (given or session.is_dir()):
        return folder
    folder = Path(tempfile.gettempdir()) / f"safelight-{os.geteuid()}"
    if _fits(folder):
        return folder
    raise RuntimeFolderError(
        f"the path {folder} is too long for a socket",
        hint="name a folder with a shorter path in XDG_RUNTIME_DIR",
    )


def socket_path(home: Path) -> Path:
    """Return where the node of a home listens.

    A hash of the home stands for it, because the path of a home may be longer than
    a socket's may be.
    """
    # Not through protocol.primitives: that would load the crypto libraries for a file name.
    digest = hashlib.blake2b(os.fsencode(home.expanduser().resolve())).hexdigest()
    return runtime_folder() / f"{digest[:_HASH_DIGITS]}.sock"


def make_runtime_folder(folder: Path) -> None:
    """Make the folder of the control sockets, or check the one that is there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeFolderError(f"cannot make {folder}: {error.strerror}", hint=_HINT) from None
    check_runtime_folder(folder)


def check_runtime_folder(folder: Path) -> None:
    """Raise RuntimeFolderError unless nobody but this user can put a socket there.

    A folder that does not exist raises FileNotFoundError: then no node runs.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RuntimeFolderError(f"cannot use {folder}: {error.strerror}", hint=_HINT) from None
    if not stat.S_ISDIR(status.st_mode):
        raise RuntimeFolderError(f"{folder} is not a folder", hint=_HINT)
    if status.st_uid != os.geteuid():
        raise RuntimeFolderError(f"{folder} belongs to another user", hint=_HINT)
    if status.st_mode & 0o077:
        raise RuntimeFolderError(
            f"other users can enter {folder}", hint=f"remove it, or: chmod 700 {folder}"
        )


_HINT: Final = "name another folder in XDG_RUNTIME_DIR"


def peer_uid(connection: int) -> int | None:
    """Return the uid of the process at the other end of a connected Unix socket.

    None where this system has no known way to ask.
    """
    with socket.socket(fileno=os.dup(connection)) as peer:
        if hasattr(socket, "SO_PEERCRED"):
            # struct ucred: pid, uid, gid
            data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            return int(_UCRED.unpack(data)[1])
        if hasattr(socket, "LOCAL_PEERCRED"):
            # struct xucred: version, uid, groups
            data = peer.getsockopt(_SOL_LOCAL, socket.LOCAL_PEERCRED, _XUCRED_BYTES)
            version, uid = _XUCRED_START.unpack_from(data)
            return int(uid) if version == 0 else None
    return None


_UCRED: Final = struct.Struct("iII")
_SOL_LOCAL: Final = 0
_XUCRED_START: Final = struct.Struct("=II")
_XUCRED_BYTES: Final = 76


async def answers(home: Path) -> bool:
    """Say whether a node of this home accepts connections."""
    path = socket_path(home)
    try:
        check_runtime_folder(path.parent)
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(1):
                await asyncio.get_running_loop().sock_connect(connection, str(path))
        except (OSError, TimeoutError):
            return False
    return True


async def spawn_node(home: Path, arguments: Sequence[str] = (), *, timeout: float = 30) -> int:
    """Start the node of a home in the background; return its pid once its socket answers.

    ``arguments`` are further options of ``node run``; their paths are absolute, for the
    node's working folder is the root. No secret is among them: other users can read them.
    Where two start a node of one home at once, one of the two nodes serves both.

    Raises NodeStartError with the node's own message where it ends before it answers, and
    where it does not answer within ``timeout`` seconds.
    """
    make_runtime_folder(socket_path(home).parent)
    process = await asyncio.to_thread(_start, home, arguments)
    assert process.stdout is not None
    output = bytearray()
    try:
        async with asyncio.timeout(timeout):
            while not await answers(home):
                ended = process.poll() is not None
                _drain(process.stdout, output)
                if ended:
                    if await answers(home):
                        break
                    raise _start_error(output)
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        process.terminate()
        raise NodeStartError(f"the node did not answer within {timeout:g} s") from None
    except asyncio.CancelledError:
        process.terminate()
        raise
    finally:
        process.stdout.close()
    return process.pid


def let_go_of_starter() -> None:
    """Send further output of a node that ``spawn_node`` started to the null device.

    Its starter stops reading once the socket answers, and a pipe without a reader breaks
    whoever writes to it.
    """
    if os.environ.pop(SPAWNED, None) is None:
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def _fits(folder: Path) -> bool:
    """Say whether the path of a socket in this folder is short enough to bind."""
    return len(os.fsencode(folder)) + len("/.sock") + _HASH_DIGITS <= _MAX_SOCKET_PATH_BYTES


def _start(home: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    import subprocess

    process = subprocess.Popen(  # noqa: S603  our own interpreter and module
        # -P: a file in the current folder must not stand in for one of ours.
        [
            *(sys.executable, "-P", "-m", "node.cli.main"),
            *("--home", str(home.expanduser().absolute()), "node", "run", "--json", *arguments),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, SPAWNED: "1"},
        cwd="/",
        umask=0o077,
        start_new_session=True,
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return process


def _drain(pipe: IO[bytes], output: bytearray) -> None:
    """Move what a starting node has written so far to the end of output."""
    while data := pipe.read(_MAX_OUTPUT_BYTES):
        output += data
        del output[:-_MAX_OUTPUT_BYTES]


def _start_error(output: bytes | bytearray) -> NodeStartError:
    """Return what a node said before it ended: its error document, else its last words."""
    import json

    text = output.decode(errors="replace")
    for line in reversed(text.splitlines()):
        try:
            error = json.loads(line)["error"]
            return NodeStartError(
                str(error["message"]), code=str(error["code"]), hint=str(error["hint"])
            )
        except (ValueError, KeyError, TypeError):
            continue
    last = text.strip()[-1_000:]
    return NodeStartError(f"the node ended at once: {last}" if last else "the node ended at once")
