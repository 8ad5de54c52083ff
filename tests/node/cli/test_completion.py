from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from node.cli.common import Settings
from node.cli.main import cli
from tests.node.cli.conftest import Served
from tests.node.cli.support import COMMAND, clean_environment, run

SHELLS = ("bash", "zsh", "fish")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell_is_printed(shell: str) -> None:
    script = run("completion", shell)

    assert (script.code, script.err) == (0, "")
    assert "_SAFELIGHT_COMPLETE" in script.out
    assert run("completion", shell, "--json").document == {"shell": shell, "script": script.out}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_its_shell_reads(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(run("completion", shell).out)

    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def offered(environment: dict[str, str], line: str) -> list[str]:
    """Return what bash offers at the end of a line."""
    words = line.split(" ")
    done = subprocess.run(
        COMMAND,
        env={
            **environment,
            "_SAFELIGHT_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [one.split(",", 1)[1] for one in done.stdout.splitlines() if one]


def offered_by_node(environment: dict[str, str], line: str) -> list[str]:
    """Return what bash offers of what a node tells.

    Completion gives up on a slow node at once, so that typing never waits; a busy machine may
    make any node slow.
    """
    found: list[str] = []
    for _ in range(30):
        found = found or offered(environment, line)
    return found


def offered_here(home: Path, line: str) -> list[str]:
    """Return what any shell offers at the end of a line, without a process for each line."""
    complete = ShellComplete(cli, {"obj": Settings()}, "safelight", "_SAFELIGHT_COMPLETE")
    *words, incomplete = line.split(" ")[1:]
    return [
        one.value for one in complete.get_completions(["--home", str(home), *words], incomplete)
    ]


def test_commands_and_options_are_offered() -> None:
    environment = clean_environment()

    assert offered(environment, "safelight sh") == ["show", "share", "shares"]
    assert offered(environment, "safelight node st") == ["start", "stop", "status"]
    assert offered(environment, "safelight share --wat") == ["--watermark"]


def test_nothing_is_offered_and_nothing_started_where_no_node_runs(tmp_path: Path) -> None:
    (tmp_path / "vault").touch()

    assert offered(clean_environment(SAFELIGHT_HOME=str(tmp_path)), "safelight show ") == []


async def test_names_and_ids_of_a_running_node_are_offered(served: Served) -> None:
    hostile = {"name": "$(touch pwned).jpg", "id": "ab" * 16}
    served.node.results.update(
        images=[{"name": "harbour.jpg", "id": "cd" * 16}, hostile],
        albums=[{"name": "launch", "id": "ef" * 16}],
        team_show={"members": [{"name": "bob", "fingerprint": "abcd-efgh"}]},
        shares=[
            {"id": "12" * 16, "holder": "bob", "state": "live"},
            {"id": "34" * 16, "holder": "bob", "state": "revoked"},
        ],
        inbox=[
            {"id": "56" * 16, "issuer": "alice", "images": [{"name": "pier.jpg", "id": "78" * 16}]}
        ],
    )
    expected = {
        "safelight show ": ["harbour.jpg", "ab" * 16],
        "safelight show ha": ["harbour.jpg"],
        "safelight show a": ["ab" * 16],
        "safelight share ": ["launch", "harbour.jpg", "ab" * 16],
        "safelight share launch --to b": ["bob"],
        "safelight images --album ": ["launch"],
        "safelight peers remove ": ["bob"],
        "safelight revoke ": ["12" * 16],
        "safelight extend ": ["12" * 16],
        "safelight open ": ["56" * 16],
        "safelight open 5656 ": ["pier.jpg"],
    }

    found = {
        line: await asyncio.to_thread(offered_by_node, served.environment, line)
        for line in expected
    }

    assert found == expected


async def test_a_home_on_the_line_is_the_one_that_is_asked(served: Served) -> None:
    served.node.results["albums"] = [{"name": "launch", "id": "ef" * 16}]
    environment = {**served.environment, "SAFELIGHT_HOME": "/does/not/exist"}
    line = f"safelight --home {served.home} images --album "

    assert await asyncio.to_thread(offered_by_node, environment, line) == ["launch"]
