"""Commands that set up, start, stop, lock and unlock a node."""

from __future__ import annotations

from pathlib import Path

from node.control import schema
from tests.node.cli.conftest import Served
from tests.node.cli.support import refusal, run


async def test_status_is_told_without_unlocking(served: Served) -> None:
    served.node.results["status"] = {"state": "locked", "locked_by_user": False, "pid": 1}

    ran = await served.run("node", "status", "--json")

    assert (ran.code, ran.document["state"]) == (0, "locked")


def test_a_node_that_does_not_run_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "vault").touch()

    for arguments in (("node", "status"), ("node", "stop")):
        ran = run("--home", str(tmp_path), *arguments, "--json")

        assert (ran.code, ran.document["state"]) == (0, "stopped")
    assert run("--home", str(tmp_path), "lock").out.startswith("no node runs")


def test_no_node_is_started_where_there_is_no_passphrase(tmp_path: Path) -> None:
    (tmp_path / "vault").touch()

    for arguments in (("images",), ("node", "start"), ("unlock",)):
        ran = run("--home", str(tmp_path), "--json", *arguments)

        assert (ran.code, ran.document["error"]["code"]) == (6, "locked")
        assert "--passphrase-file" in ran.document["error"]["hint"]
    assert run("--home", str(tmp_path), "node", "status", "--json").document["state"] == "stopped"


async def test_a_node_that_was_never_unlocked_is_unlocked_by_the_command(
    served: Served, tmp_path: Path
) -> None:
    served.node.results.update(
        status={"state": "locked", "locked_by_user": False, "pid": 1}, unlock={}, images=[]
    )
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)

    ran = await served.run("images", "--json", "--passphrase-file", str(secret))

    assert ran.code == 0
    assert served.node.calls[1] == ("unlock", schema.Unlock(passphrase="correct horse"))
    assert [name for name, _ in served.node.calls] == ["status", "unlock", "images"]


async def test_what_a_person_locked_only_unlock_opens(served: Served, tmp_path: Path) -> None:
    served.node.results.update(
        status={"state": "locked", "locked_by_user": True, "pid": 1}, unlock={}
    )
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    given = ("--passphrase-file", str(secret), "--json")

    refused = [await served.run(*command, *given) for command in (("images",), ("node", "start"))]
    unlocked = await served.run("unlock", *given)

    for ran in refused:
        assert (ran.code, ran.document["error"]["code"]) == (6, "locked")
        assert ran.document["error"]["hint"] == "safelight unlock"
    assert unlocked.document == {"state": "unlocked"}
    assert len(served.node.called("unlock")) == 1


async def test_a_wrong_passphrase_exits_with_6_also_where_it_is_unlocked(
    served: Served, tmp_path: Path
) -> None:
    served.node.results["unlock"] = refusal("wrong_passphrase")
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    secret.chmod(0o600)

    ran = await served.run("unlock", "--passphrase-file", str(secret), "--json")

    assert (ran.code, ran.document["error"]["code"]) == (6, "wrong_passphrase")


async def test_start_leaves_a_node_that_runs_as_it_is(served: Served) -> None:
    ran = await served.run("node", "start", "--listen", "127.0.0.1:0")

    assert ran.code == 0
    assert "unlocked" in ran.out
    assert "ran already" in ran.err
    assert {name for name, _ in served.node.calls} == {"status"}


def test_init_refuses_a_home_with_a_vault_before_it_asks_for_anything(tmp_path: Path) -> None:
    (tmp_path / "vault").touch()

    ran = run("init", "--name", "alice", "--home", str(tmp_path), "--json")

    assert (ran.code, ran.document["error"]["code"]) == (1, "exists")


def test_init_without_a_terminal_or_file_does_not_hang(tmp_path: Path) -> None:
    ran = run("init", "--name", "alice", "--home", str(tmp_path / "new"), "--json")

    assert (ran.code, ran.document["error"]["code"]) == (6, "locked")
    assert not (tmp_path / "new").exists()
