"""Where a home's control socket is, whom it trusts, and how a node is started."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from node.control import runtime
from node.control.client import ControlClient
from node.control.runtime import NodeStartError, RuntimeFolderError
from tests.node.control.stranger import STRANGER, connected_stranger, needs_root


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of the session with a short path, as systems have it."""
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def test_home_is_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_HOME", "/some/where")

    assert Path("/some/where") == runtime.default_home()


def test_home_is_the_platforms_folder_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAFELIGHT_HOME", raising=False)

    assert runtime.default_home().name == "safelight"


def test_socket_is_named_by_a_hash_of_the_resolved_home(short: Path, tmp_path: Path) -> None:
    home, other, link = tmp_path / "home", tmp_path / "other", tmp_path / "link"
    home.mkdir()
    link.symlink_to(home)

    path = runtime.socket_path(home)

    assert short / "safelight" == path.parent
    assert len(path.stem) == 16
    assert path.suffix == ".sock"
    assert path == runtime.socket_path(link)
    assert path == runtime.socket_path(other / ".." / "home")
    assert path != runtime.socket_path(other)


def test_a_home_with_a_long_path_has_a_socket_that_can_be_bound(short: Path) -> None:
    home = Path("/" + "/".join(["a-very-long-folder-name" * 4] * 20))
    path = runtime.socket_path(home)
    runtime.make_runtime_folder(path.parent)

    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))

    assert stat.S_ISSOCK(path.stat().st_mode)


def test_a_folder_of_the_user_below_the_temporary_one_stands_in_for_a_long_runtime_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/" + "x" * 100)
    monkeypatch.setattr("tempfile.tempdir", "/tmp")

    assert Path(f"/tmp/safelight-{os.geteuid()}") == runtime.runtime_folder()


def test_no_folder_is_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/" + "x" * 100)
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "x" * 100)

    with pytest.raises(RuntimeFolderError, match="too long"):
        runtime.runtime_folder()


def test_the_folder_is_made_for_its_owner_alone(short: Path) -> None:
    folder = runtime.runtime_folder()
    runtime.make_runtime_folder(folder)
    runtime.make_runtime_folder(folder)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_can_enter_is_refused(short: Path) -> None:
    folder = short / "safelight"
    folder.mkdir(mode=0o700)
    folder.chmod(0o710)

    with pytest.raises(RuntimeFolderError, match="other users can enter"):
        runtime.make_runtime_folder(folder)


def test_a_symbolic_link_is_refused(short: Path, tmp_path: Path) -> None:
    (short / "safelight").symlink_to(tmp_path)

    with pytest.raises(RuntimeFolderError, match="is not a folder"):
        runtime.make_runtime_folder(short / "safelight")


def test_a_file_is_refused(short: Path) -> None:
    (short / "safelight").touch()

    with pytest.raises(RuntimeFolderError):
        runtime.make_runtime_folder(short / "safelight")


@pytest.mark.root
@needs_root
def test_a_folder_of_another_user_is_refused(short: Path) -> None:
    folder = short / "safelight"
    folder.mkdir(mode=0o700)
    os.chown(folder, STRANGER, STRANGER)

    with pytest.raises(RuntimeFolderError, match="another user"):
        runtime.make_runtime_folder(folder)


def test_the_peer_of_a_socket_pair_is_this_user() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert os.geteuid() == runtime.peer_uid(one.fileno())


@pytest.mark.root
@needs_root
def test_the_uid_of_another_user_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("u") / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with connected_stranger(path, lambda connection: connection.recv(1)):
            connection, _ = listening.accept()
            with connection:
                assert runtime.peer_uid(connection.fileno()) == STRANGER


# Starting a node. The interpreter is a stand-in; what it runs is a node with a real control server.


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What spawn_node runs instead of Python, with the same arguments."""
    python, script = sys.executable, tmp_path / "interpreter"
    script.write_text(f'#!/bin/sh\nexec "{python}" "{tmp_path / "stand_in.py"}" "$@"\n')
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    return tmp_path / "stand_in.py"


_NODE = """
import asyncio, json, os, sys
from pathlib import Path
from node.control.routes import ControlServer
from node.control.runtime import socket_path
from protocol.errors import SafelightError

class Dispatch:
    async def call(self, method, params, progress):
        print("a word that nobody reads", flush=True)
        print("x" * 100_000, file=sys.stderr, flush=True)
        return {"argv": sys.argv[1:], "cwd": os.getcwd(), "sid": os.getsid(0), "pid": os.getpid(),
                "umask": os.umask(0o077), "stdin": os.readlink("/proc/self/fd/0")}

async def main():
    home = Path(sys.argv[sys.argv.index("--home") + 1])
    server = ControlServer(socket_path(home), Dispatch())
    await server.start()
    await asyncio.sleep(60)

try:
    asyncio.run(main())
except SafelightError as error:
    print(json.dumps({"error": {"code": error.code, "message": str(error), "hint": error.hint}}))
    sys.exit(1)
"""


async def test_a_node_is_started_in_the_background(
    short: Path, tmp_path: Path, interpreter: Path
) -> None:
    interpreter.write_text(_NODE)
    home = tmp_path / "home"

    pid = await runtime.spawn_node(home, ["--no-mdns"])
    try:
        async with ControlClient(home) as client:
            told = await client.call("status")
            again = await client.call("status")
    finally:
        os.kill(pid, signal.SIGKILL)

    expected = ["-P", "-m", "node.cli.main", "--home", str(home), "node", "run", "--json"]
    assert [*expected, "--no-mdns"] == told["argv"]
    assert told["cwd"] == "/"
    assert told["pid"] == told["sid"] == pid == again["pid"]
    assert told["umask"] == 0o077
    assert told["stdin"] == "/dev/null"


async def test_what_a_node_says_when_it_cannot_start_is_raised(
    short: Path, tmp_path: Path, interpreter: Path
) -> None:
    document = '{"error": {"code": "corrupt", "message": "no vault here", "hint": "init"}}'
    interpreter.write_text(f"import sys\nprint('noise', file=sys.stderr)\nprint('{document}')\n")

    with pytest.raises(NodeStartError, match=r"^no vault here$") as raised:
        await runtime.spawn_node(tmp_path)

    assert (raised.value.code, raised.value.hint) == ("corrupt", "init")


async def test_the_last_words_of_a_node_are_raised_where_it_gives_no_document(
    short: Path, tmp_path: Path, interpreter: Path
) -> None:
    interpreter.write_text("raise SystemExit('broken installation')\n")

    with pytest.raises(NodeStartError, match="broken installation") as raised:
        await runtime.spawn_node(tmp_path)

    assert raised.value.code == "not_started"


async def test_a_node_that_never_answers_is_ended(
    short: Path, tmp_path: Path, interpreter: Path
) -> None:
    noted = tmp_path / "pid"
    interpreter.write_text(
        f"import os, time\nopen({str(noted)!r}, 'w').write(str(os.getpid()))\n"
        "print('x' * 1_000_000, flush=True)\ntime.sleep(60)\n"
    )

    with pytest.raises(NodeStartError, match="did not answer"):
        await runtime.spawn_node(tmp_path, timeout=1)

    deadline = time.monotonic() + 5
    while _runs(int(noted.read_text())):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_two_who_start_a_node_at_once_have_one_node(
    short: Path, tmp_path: Path, interpreter: Path
) -> None:
    interpreter.write_text(_NODE)

    pids = await asyncio.gather(*(runtime.spawn_node(tmp_path) for _ in range(3)))
    try:
        async with ControlClient(tmp_path) as client:
            serving = {(await client.call("status"))["pid"] for _ in range(5)}
    finally:
        for pid in pids:
            if _runs(pid):
                os.kill(pid, signal.SIGKILL)

    assert len(serving) == 1
    assert serving <= set(pids)


async def test_nobody_answers_for_a_home_without_a_node(short: Path, tmp_path: Path) -> None:
    assert not await runtime.answers(tmp_path)


def _runs(pid: int) -> bool:
    """Say whether a process runs; one that has ended and is not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
