"""Real node processes and the real command, with a malicious member and other users about.

Belongs here: attacks that only whole processes show.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.control.runtime import socket_path
from node.system import system_entropy
from protocol.identity import Seeds, export_identity_file, make_identity
from protocol.roster.welcome import open_welcome_untrusted
from tests.attacks.mallory import CLOCK, Mallory
from tests.attacks.test_text import ESCAPES, harmless
from tests.e2e.people import COMMAND, Cli, people, picture_files

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Cli, Cli]]:
    """Hold two people, their nodes started carelessly: under umask 0, in a folder for everybody."""
    with tempfile.TemporaryDirectory(prefix="sl-attacks-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        before = os.umask(0)
        try:
            with people(folder, "alice", "bob") as (alice, bob):
                yield alice, bob
        finally:
            os.umask(before)


# Row 32 -------------------------------------------------------------------------------------------


def test_row_32_what_the_command_prints_holds_no_escape(
    pair: tuple[Cli, Cli], tmp_path: Path
) -> None:
    alice, bob = pair
    asyncio.run(_grant_evil(alice, bob, tmp_path))
    for arguments in (
        ("inbox",),
        ("team", "show"),
        ("audit", "log"),
    ):
        for options in ((), ("--json",)):
            printed = _printed(bob, *options, *arguments)
            assert harmless(printed), (arguments, options)
    inbox = _printed(bob, "inbox")

    assert "[red]markup" in inbox
    assert "0;title" in inbox
    held = next(one for one in bob.do("inbox") if one["issuer"] == "mallory")
    which = _printed(bob, "open", held["id"], check=False)
    assert "say which" in which
    assert harmless(which)


def _printed(person: Cli, *arguments: str, check: bool = True) -> str:
    """Return all that a command writes, for people unless told otherwise."""
    done = subprocess.run(
        [*COMMAND, "--home", str(person.home), *arguments],
        env={**os.environ, "SAFELIGHT_PASSPHRASE_FILE": str(person.passphrase_file)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=check,
    )
    return (done.stdout + done.stderr).decode()


async def _grant_evil(alice: Cli, bob: Cli, folder: Path) -> None:
    """Join as a member, and grant bob pictures whose names act."""
    local = make_identity(Seeds.generate(system_entropy), name="mallory", now=CLOCK.now())
    (folder / "mallory.id").write_bytes(export_identity_file(local, ()))
    add = ("team", "add", str(folder / "mallory.id"), "-o", str(folder / "welcome"))
    await asyncio.to_thread(alice.do, *add)
    _, trusted, *_ = open_welcome_untrusted((folder / "welcome").read_bytes(), recipient=local)
    mallory = Mallory(local, trusted)
    status = await asyncio.to_thread(bob.do, "node", "status")
    host, _, port = status["listen"][0].rpartition(":")
    (who,) = [one for one in trusted.members.values() if one.name == "bob"]
    session = await mallory.dial_address(host, int(port), who)
    # A screen holds the first of them, so what could be taken for markup goes first.
    await mallory.grant(session, mallory.forge(who, names=ESCAPES[::-1]))
    await mallory.close()


# Row 48 -------------------------------------------------------------------------------------------

NOBODY = 65534


def _exposed(folder: Path) -> list[str]:
    """Return what below folder, itself included, somebody else may read, write or enter."""
    found = []
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & ~wanted:
            found.append(f"{path} {stat.filemode(status.st_mode)}")
    return found


def test_row_48_every_file_of_a_node_is_its_owners_alone(
    pair: tuple[Cli, Cli], tmp_path: Path
) -> None:
    alice, bob = pair
    (path,) = picture_files(tmp_path / "pictures", 1, (200, 133))
    image = alice.do("import", str(path))["images"][0]["id"]
    (granted,) = alice.do("share", image, "--to", "bob", "--allow", "view,save")["capabilities"]
    bob.ready(granted["id"])
    bob.do("save", granted["id"], "-o", str(tmp_path / "saved"))
    alice.do("export", image, "-o", str(tmp_path / "exported"))

    for folder in (alice.home, bob.home, socket_path(alice.home).parent):
        assert _exposed(folder) == []
    saved = [*(tmp_path / "saved").iterdir(), *(tmp_path / "exported").iterdir()]
    assert len(saved) == 2
    assert [one for one in saved if stat.S_IMODE(one.stat().st_mode) & 0o077] == []
    assert _private((alice.folder / "alice.24", alice.folder / "bob.welcome"))
    _abstract_sockets_are_off()
    if os.getuid() == 0:
        _another_user_gets_nowhere(alice)


def _private(paths: tuple[Path, ...]) -> bool:
    return all(not stat.S_IMODE(one.stat().st_mode) & 0o077 for one in paths)


def _abstract_sockets_are_off() -> None:
    """Abstract sockets have no modes: anybody may connect."""
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    assert [name for name in names if name.startswith("@") and "safelight" in name] == []


def _another_user_gets_nowhere(alice: Cli) -> None:
    """Try as another user what a person's own programs may do."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            assert list(alice.folder.iterdir())
            opened = 0
            for path in (alice.home, alice.home / "index.db", socket_path(alice.home)):
                try:
                    os.close(os.open(path, os.O_RDONLY))
                    opened += 1
                except OSError:
                    continue
            os.write(tell, bytes([opened]))
        finally:
            os._exit(0)
    os.close(tell)
    # Nothing at all would mean that not even the folder around was reached.
    assert os.read(told, 1) == b"\x00"
    os.waitpid(child, 0)
    os.close(told)


# Row 24 -------------------------------------------------------------------------------------------

LONG = bool(os.environ.get("SAFELIGHT_LONG"))
CALLS = {
    "sync": "fdatasync,fsync",
    "write": "pwrite64,pwritev",
    "send": "sendto,sendmsg,write,writev",
}
SHORT = {"sync": 1, "send": 4}
"""Which call during an open is the last one, where not each is tried in turn."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", CALLS if LONG else SHORT)
def test_row_24_no_kill_between_two_calls_gives_a_share_without_its_entry(
    pair: tuple[Cli, Cli], tmp_path: Path, kind: str
) -> None:
    if shutil.which("strace") is None or os.geteuid() != 0:
        pytest.skip("needs strace, and root to attach it")
    alice, bob = pair
    (path,) = picture_files(tmp_path / "pictures", 1, (200 + len(kind), 133))
    image = alice.do("import", str(path), "--classification", "public")["images"][0]["id"]
    (granted,) = alice.do("share", image, "--to", "bob", "--opens", "100000")["capabilities"]
    bob.ready(granted["id"])
    bob.do("fetch", granted["id"])
    opened: list[int] = []
    kills = 0

    for number in range(1, 400) if LONG else (SHORT[kind],):
        killed, log_index = _open_while_killed(alice, bob, granted["id"], CALLS[kind], number)
        opened += [] if log_index is None else [log_index]
        kills += killed
        if not killed:
            break

    (share,) = [one for one in alice.do("shares") if one["id"] == granted["id"]]
    released = {
        entry["index"]
        for entry in alice.events("released")
        if entry["detail"]["capability"] == granted["id"]
    }
    assert kills
    assert set(opened) <= released
    assert share["opens"] == len(released)
    assert alice.do("audit", "verify")["ok"]
    assert bob.do("open", granted["id"])["log"]["index"] not in opened


def _open_while_killed(
    alice: Cli, bob: Cli, capability: str, calls: str, number: int
) -> tuple[bool, int | None]:
    """Let bob open while the issuer dies in its number-th call of a kind.

    Returns whether it died, and the entry that bob was shown if he saw the picture.
    """
    alice.do("identity")
    pid = alice.pid()
    with subprocess.Popen(
        ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}",
         "-e", f"inject={calls}:signal=SIGKILL:when={number}"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as tracer:  # fmt: skip
        assert tracer.stderr is not None
        while b"attached" not in tracer.stderr.readline():
            pass
        drain = threading.Thread(target=tracer.stderr.read)
        drain.start()
        code, document = bob.run("open", capability)
        died = _dies(pid)
        tracer.terminate()
        drain.join()
    return died, document["log"]["index"] if code == 0 else None


def _dies(pid: int) -> bool:
    """Say whether a process has ended, or does so now."""
    for _ in range(40):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False
