"""The installed command: when it opens the terminal UI, and when it is a command."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.tui.terminals import PROGRAM, environment_of, terminal
from tui.start import _names_no_command

SCREEN = b"\x1b[?1049h"
"""Takes the whole terminal for a program's screen."""
LEFT = b"\x1b[?1049l"


def test_the_script_that_is_installed_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="safelight")
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert script.value == named["safelight"] == "tui.start:main"


def test_every_file_that_the_terminal_ui_reads_is_packed() -> None:
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    named = [*packed["package-data"]["*"], *packed["package-data"]["tui"]]
    data = [
        path.relative_to(ROOT / "tui")
        for path in (ROOT / "tui").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]

    assert data
    assert [one for one in data if not any(one.match(pattern) for pattern in named)] == []


def test_without_a_command_the_terminal_ui_opens_and_leaves_the_terminal_as_it_was(
    tmp_path: Path,
) -> None:
    with terminal("--home", str(tmp_path / "home"), environment=environment_of(tmp_path)) as one:
        one.until("There is no vault here yet")
        assert SCREEN in one.written
        one.send("q")
        assert one.ended() == 0
        assert LEFT in one.written
    assert not (tmp_path / "home").exists(), "looking makes nothing"


def test_the_home_of_the_environment_is_opened(tmp_path: Path) -> None:
    environment = environment_of(tmp_path, {"SAFELIGHT_HOME": str(tmp_path / "home")})
    with terminal(environment=environment) as one:
        one.until("There is no vault here yet")


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_where_one_stream_is_no_terminal_it_is_the_help(tmp_path: Path, stream: str) -> None:
    """A file for stdout or stderr would get the screens, pictures included."""
    path = tmp_path / "file"
    with (
        path.open("w+b") as file,
        terminal(environment=environment_of(tmp_path), elsewhere={stream: file.fileno()}) as one,
    ):
        assert one.ended() == 0
        told = one.written + path.read_bytes()
    assert b"Usage: safelight" in told
    assert SCREEN not in told


def test_a_command_is_a_command_on_a_terminal_too(tmp_path: Path) -> None:
    with terminal("--version", environment=environment_of(tmp_path)) as one:
        assert one.ended() == 0
    assert one.text.startswith("safelight ")
    assert SCREEN not in one.written


def test_a_shell_that_completes_gets_answers(tmp_path: Path) -> None:
    environment = environment_of(
        tmp_path,
        {
            "_SAFELIGHT_COMPLETE": "bash_complete",
            "COMP_WORDS": "safelight im",
            "COMP_CWORD": "1",
        },
    )
    with terminal(environment=environment) as one:
        assert one.ended() == 0
    assert "import" in one.text
    assert SCREEN not in one.written


def test_a_wrong_option_is_told_by_the_command_line(tmp_path: Path) -> None:
    with terminal("--home", environment=environment_of(tmp_path)) as one:
        assert one.ended() == 2
    assert SCREEN not in one.written


def test_the_command_line_alone_is_as_before(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "node.cli.main"],
        env=environment_of(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert shown.stdout.startswith("Usage: safelight")
    assert "opens the terminal UI" in shown.stdout


def test_a_command_waits_for_nothing_of_the_terminal_ui(tmp_path: Path) -> None:
    script = "import sys\nfrom tui.start import main\ntry:\n    main()\nfinally:\n"
    script += "    print(*sorted(one.partition('.')[0] for one in sys.modules))\n"
    shown = subprocess.run(
        [sys.executable, "-P", "-c", script, "--version"],
        env=environment_of(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(shown.stdout.split())

    assert "click" in loaded
    assert not loaded & {"textual", "rich", "PIL", "nacl", "asyncio"}


@pytest.mark.parametrize(
    ("line", "none"),
    [
        ("", True),
        ("--home DIR", True),
        ("--home=DIR --passphrase-file FILE", True),
        ("--home", False),
        ("--json", False),
        ("--help", False),
        ("--home DIR images", False),
        ("images --home DIR", False),
        ("--passphrase-file FILE --json", False),
    ],
)
def test_which_lines_name_no_command(line: str, none: bool) -> None:
    assert _names_no_command(line.split()) is none


def test_a_terminal_that_goes_away_ends_the_program(tmp_path: Path) -> None:
    with terminal("--home", str(tmp_path / "home"), environment=environment_of(tmp_path)) as one:
        one.until("There is no vault here yet")
        one.hang_up()
        one.ended()


def test_the_program_of_these_tests_is_what_the_script_runs() -> None:
    script = Path(sys.executable).with_name("safelight")
    if not script.exists():
        pytest.skip("the project is not installed as a script here")
    assert "from tui.start import main" in script.read_text()
    assert "from tui.start import main" in PROGRAM[-1]
    assert os.access(script, os.X_OK)
