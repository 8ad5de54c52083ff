"""`safelight doctor`: what it puts together, and how it exits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.cli.version import VERSION
from node.control import schema
from tests.node.cli.conftest import Served
from tests.node.cli.support import Ran, clean_environment, refusal, run

PROBLEM = {
    "check": "clock",
    "state": "problem",
    "code": "clock",
    "message": "the clock was moved",
    "hint": "set it right",
}
FORK = {**PROBLEM, "check": "log", "code": "fork", "message": "the log has 1 alarm", "hint": ""}
WARNING = {**PROBLEM, "check": "decoding", "code": "decoding", "state": "warning"}
NODE = {**PROBLEM, "check": "node", "code": "node", "state": "ok", "hint": ""}
FINE = {**PROBLEM, "check": "memory", "code": "memory", "state": "ok", "hint": ""}


@pytest.fixture(autouse=True)
def private_home(request: pytest.FixtureRequest) -> None:
    """The home of canned answers is one that others may touch, which would be told."""
    if "served" in request.fixturenames:
        home: Path = request.getfixturevalue("served").home
        for path in (home, *home.iterdir()):
            path.chmod(path.stat().st_mode & 0o700)


def named(document: dict[str, Any], check: str) -> dict[str, Any]:
    """Return one check of the JSON document."""
    (found,) = [one for one in document["checks"] if one["check"] == check]
    return dict(found)


@pytest.mark.parametrize(
    ("checks", "code", "problems"),
    [
        ([FINE], 0, []),
        ([FINE, WARNING], 0, []),
        ([PROBLEM, FINE], 1, ["clock"]),
        ([PROBLEM, FORK, WARNING], 5, ["clock", "fork"]),
    ],
)
async def test_problems_decide_how_it_exits_and_warnings_do_not(
    served: Served, checks: list[dict[str, Any]], code: int, problems: list[str]
) -> None:
    served.node.results["doctor"] = {"checks": [NODE, *checks]}

    for_scripts = await served.run("doctor", "--json")
    for_people = await served.run("doctor")

    found = for_scripts.document
    assert [one["code"] for one in found["problems"]] == problems
    assert found["ok"] == (not problems)
    assert (for_scripts.code, for_people.code) == (code, code)
    for one in checks:
        assert one in found["checks"]
        assert one["message"] in for_people.out
        assert one["hint"] in for_people.out
    assert named(found, "node")["state"] == "ok"
    assert named(found, "versions")["state"] == "ok"
    assert all(set(one) == {"code", "message", "hint"} for one in found["problems"])


async def test_only_the_node_is_asked_and_nothing_else_of_it(served: Served) -> None:
    served.node.results["doctor"] = {"checks": [FINE]}

    await served.run("doctor")

    assert [name for name, _ in served.node.calls] == ["status", "doctor"]
    assert served.node.called("doctor") == [schema.Doctor()]


async def test_the_clock_is_accepted_by_the_node(served: Served) -> None:
    served.node.results["doctor"] = {"checks": [FINE]}

    ran = await served.run("doctor", "--accept-clock")

    assert ran.code == 0
    assert served.node.called("doctor") == [schema.Doctor(accept_clock=True)]


async def test_the_clock_of_a_locked_node_cannot_be_accepted(served: Served) -> None:
    served.node.results["doctor"] = refusal("locked")
    assert (await served.run("doctor", "--accept-clock")).code == 6


def test_without_a_node_nothing_is_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "vault").touch(mode=0o600)

    looked = run("--home", str(home), "doctor", "--json")
    accepted = run("--home", str(home), "doctor", "--accept-clock", "--json")

    assert "no node runs" in named(looked.document, "node")["message"]
    assert named(looked.document, "decoding")["state"] in {"ok", "warning"}
    assert named(looked.document, "permissions")["state"] == "ok"
    assert [path.name for path in home.iterdir()] == ["vault"]
    assert (accepted.code, accepted.document["error"]["code"]) == (1, "not_running")


def test_without_a_vault_the_machine_is_looked_at(tmp_path: Path) -> None:
    ran = run("--home", str(tmp_path / "nowhere"), "doctor", "--json")

    assert named(ran.document, "vault")["state"] == "warning"
    assert not (tmp_path / "nowhere").exists()


def test_a_real_node_is_looked_at_stopped_unlocked_and_locked(
    tmp_path: Path, short_runtime_folder: Path
) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    environment = clean_environment(
        SAFELIGHT_HOME=str(tmp_path / "home"),
        SAFELIGHT_PASSPHRASE_FILE=str(passphrase),
        XDG_RUNTIME_DIR=str(short_runtime_folder),
    )

    def doctor(*arguments: str) -> Ran:
        return run("doctor", *arguments, "--json", environment=environment)

    run("init", "--name", "alice", environment=environment)
    listen = ("--listen", "127.0.0.1:0", "--no-mdns")
    try:
        stopped = doctor()
        started = run("node", "start", *listen, "--json", environment=environment)
        unlocked = doctor()
        accepted = doctor("--accept-clock")
        run("lock", environment=environment)
        locked = doctor()
        refused = doctor("--accept-clock")
    finally:
        run("node", "stop", environment=environment)

    of_a_node = {"memory", "decoding"}
    of_an_open_vault = {"clock", "team", "keys", "log", "verified", "own log"}
    checks = [
        {one["check"] for one in ran.document["checks"]} for ran in (stopped, locked, unlocked)
    ]
    assert not checks[0] & ({"memory"} | of_an_open_vault)
    assert checks[1] == checks[0] | of_a_node
    assert checks[2] == checks[1] | of_an_open_vault
    assert unlocked.document["ok"]
    told = [named(ran.document, "node") for ran in (locked, unlocked)]
    assert all(f"Safelight {VERSION} runs since 20" in one["message"] for one in told)
    assert "it is locked" in told[0]["message"]
    assert told[0]["hint"].startswith("safelight unlock")
    assert f"listens on {started.document['listen'][0]}; it is unlocked" in told[1]["message"]
    assert accepted.code == 0
    assert (refused.code, refused.document["error"]["code"]) == (6, "locked")
    assert set(started.document["decoding"].values()) <= {"stands", "unsupported"}
    assert started.document["decoding"]["limits"] == "stands"
