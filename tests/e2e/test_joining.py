"""Joining by code and mail for who is away, with real processes and the real command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.people import COMMAND, Cli, CommandFailedError, picture_files

PATIENCE_S = 90


@pytest.fixture(autouse=True)
def short_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sockets have short paths; pytest's own folders have long ones."""
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@contextmanager
def nodes(folder: Path, *names: str) -> Iterator[list[Cli]]:
    """Hold people with running nodes who are in no team; the first founds one."""
    everybody = [Cli(name, folder) for name in names]
    try:
        for one in everybody:
            one.do("init", "--name", one.name, "--recovery-out", str(folder / f"{one.name}.24"))
            start(one)
        everybody[0].do("team", "create", "The Desk")
        yield everybody
    finally:
        for one in everybody:
            if one.home.exists():
                one.run("node", "stop")


def start(person: Cli, *options: str) -> None:
    person.do("node", "start", "--listen", "127.0.0.1:0", "--no-mdns", *options)


@contextmanager
def server(folder: Path) -> Iterator[dict[str, Any]]:
    """Run a rendezvous as its operator does; give what it prints."""
    options = ["--listen", "127.0.0.1:0", "--data", str(folder), "--metrics-port", "0"]
    process = subprocess.Popen(
        [*COMMAND, "rendezvous", "serve", *options, "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def piped(person: Cli, text: str, *arguments: str) -> tuple[int, Any]:
    """Run a command that reads a line; return its exit code and its JSON document."""
    process = person.start(*arguments, stdin=subprocess.PIPE)
    stdout, stderr = process.communicate(text + "\n", timeout=PATIENCE_S)
    assert "Traceback" not in stderr, stderr
    return process.returncode, json.loads(stdout)


def invite(person: Cli, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start an invitation; return the command that waits, and the code."""
    process = person.start("invite", *options)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise CommandFailedError(f"no invitation: {process.communicate()}")
    return process, json.loads(line)["code"]


def until(condition: Callable[[], Any]) -> Any:
    """Return what condition gives once it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise CommandFailedError("it did not come about in time")


def listens(person: Cli) -> str:
    return str(person.do("node", "status")["listen"][0])


def command_lines() -> str:
    """Return the arguments of every process that can be looked at."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_row_8_joining_by_a_code_that_stands_in_no_command_line(tmp_path: Path) -> None:
    with nodes(tmp_path, "alice", "bob") as (alice, bob):
        waiting, code = invite(alice, "--role", "reviewer")
        joining = bob.start("join", "--at", listens(alice), stdin=subprocess.PIPE)
        seen = command_lines()
        stdout, _ = joining.communicate(code + "\n", timeout=PATIENCE_S)
        seen += command_lines()

        assert joining.returncode == 0, stdout
        joined = json.loads(stdout)
        assert (joined["team"], joined["member"]) == ("The Desk", "bob")
        assert len(joined["words"]) == 8
        assert waiting.wait(timeout=PATIENCE_S) == 0
        assert code not in seen
        assert "safelight" in seen or "node.cli.main" in seen
        roles = {one["name"]: one["role"] for one in alice.do("team", "show")["members"]}
        assert roles == {"alice": "admin", "bob": "reviewer"}
        until(lambda: bob.do("peers")[0]["path"] == "lan")


def test_a_wrong_code_ends_both_commands(tmp_path: Path) -> None:
    with nodes(tmp_path, "alice", "bob") as (alice, bob):
        waiting, code = invite(alice)
        number, first, second = code.split("-")
        wrong = f"{number}-{first}-{'zoo' if second != 'zoo' else 'zone'}"

        ended, told = piped(bob, wrong, "join", "--at", listens(alice))

        assert (ended, told["error"]["code"]) == (1, "wrong_code")
        assert waiting.wait(timeout=PATIENCE_S) == 1
        ended, told = piped(bob, code, "join", "--at", listens(alice))
        assert (ended, told["error"]["code"]) == (4, "unreachable")
        assert len(alice.events("unlock_failed")) == 1


def test_ctrl_c_takes_the_invitation_back(tmp_path: Path) -> None:
    with nodes(tmp_path, "alice", "bob") as (alice, bob):
        waiting, code = invite(alice)

        os.kill(waiting.pid, signal.SIGINT)

        assert waiting.wait(timeout=PATIENCE_S) == 130
        ended, told = piped(bob, code, "join", "--at", listens(alice))
        assert (ended, told["error"]["code"]) == (4, "unreachable")


def test_locking_ends_an_invitation(tmp_path: Path) -> None:
    with nodes(tmp_path, "alice") as (alice,):
        waiting, _ = invite(alice)

        alice.do("lock")

        assert waiting.wait(timeout=PATIENCE_S) == 1
        alice.do("unlock")


def test_through_a_rendezvous_by_code_and_by_mail(tmp_path: Path) -> None:
    with (
        server(tmp_path / "rendezvous") as served,
        nodes(tmp_path, "alice", "bob") as (alice, bob),
    ):
        address = served["address"]
        ended, claimed = piped(alice, served["claim"], "rendezvous", "claim", address)
        assert ended == 0, claimed
        waiting, code = invite(alice)
        ended, joined = piped(bob, code, "join", "--rendezvous", address)
        assert (ended, joined["team"]) == (0, "The Desk")
        assert waiting.wait(timeout=PATIENCE_S) == 0
        until(lambda: bob.do("node", "status")["rendezvous"]["state"] == "connected")
        (path,) = picture_files(tmp_path / "pictures", 1)
        image = alice.do("import", str(path))["images"][0]

        # To who is off, from who then goes off.
        bob.do("node", "stop")
        (granted,) = alice.do("share", image["id"], "--to", "bob", "--for", "1h")["capabilities"]
        until(lambda: alice.do("shares")[0]["mailed"])
        alice.do("node", "stop")
        start(bob)
        until(lambda: [one for one in bob.do("inbox") if one["id"] == granted["id"]])
        assert bob.do("inbox")[0]["state"] == "live"

        # What was mailed is good for an open once its issuer is there.
        start(alice)
        bob.ready(granted["id"])
        until(lambda: bob.do("peers")[0]["path"] != "none")
        assert bob.do("open", granted["id"])["opens_left"] == 9

        # Taken back while its holder is off, by who then goes off.
        bob.do("node", "stop")
        alice.do("revoke", granted["id"], "--yes")
        until(lambda: mail_waits(served))
        alice.do("node", "stop")
        start(bob)
        until(lambda: bob.do("inbox")[0]["state"] == "revoked")


def mail_waits(served: dict[str, Any]) -> bool:
    """Say whether the server keeps mail, as its own numbers have it."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{served['metrics_port']}/metrics", timeout=PATIENCE_S
    ) as answer:
        numbers = answer.read().decode()
    deposited, collected = (
        float(next(line for line in numbers.splitlines() if line.startswith(name)).split()[-1])
        for name in (
            "safelight_rendezvous_mail_deposited_total ",
            "safelight_rendezvous_mail_collected_total ",
        )
    )
    return deposited > collected
