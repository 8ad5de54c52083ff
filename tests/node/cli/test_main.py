from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import click
import pytest

from node.cli.common import SHARED
from node.cli.main import SECTIONS, cli
from node.cli.version import VERSION
from tests.node.cli.support import COMMAND, clean_environment, run
from tests.support import ROOT

HEAVY = (
    *("asyncio", "aiohttp", "msgspec", "rich", "textual", "nacl", "cryptography", "PIL"),
    *("aiosqlite", "sqlcipher3", "platformdirs", "importlib.metadata", "node.control"),
)


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield every command and group with its name as it is typed."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for sub in command.list_commands(context):
                found = command.get_command(context, sub)
                assert found is not None
                yield from walk(f"{name} {sub}", found)

    yield from walk("safelight", cli)


COMMANDS = dict(every_command())


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION


def test_version_is_printed_for_people_and_for_scripts() -> None:
    assert run("--version").out == f"safelight {VERSION}\n"
    assert run("--json", "--version").document == {"version": VERSION}


def test_the_version_is_told_with_only_click_imported() -> None:
    program = (
        "import sys\n"
        "from node.cli.main import run\n"
        "assert run(['--version']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_without_arguments_the_help_is_printed() -> None:
    ran = run()

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Usage: safelight")
    for section, commands in SECTIONS.items():
        assert f"{section}:" in ran.out
        for name in commands:
            assert f"\n  {name} " in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_opens_with_one_sentence_and_one_example(name: str) -> None:
    help_text = COMMANDS[name].help

    assert help_text is not None
    sentence, example, *_ = help_text.split("\n\n")
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0
    assert example.startswith("\b\nExample: safelight ")
    assert example.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_shared_options(name: str) -> None:
    command = COMMANDS[name]
    context = click.Context(command)
    options = {option for one in command.get_params(context) for option in one.opts}

    assert options >= SHARED


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is(name: str) -> None:
    options = [one for one in COMMANDS[name].params if isinstance(one, click.Option)]
    unsaid = [one.name for one in options if not one.help]

    assert unsaid == []


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_takes_a_secret_as_an_argument(name: str) -> None:
    secrets = {"--passphrase", "--password", "--phrase", "--code", "--secret", "--recovery"}
    options = {option for one in COMMANDS[name].params for option in one.opts}

    assert not options & secrets


@pytest.mark.parametrize(
    "arguments",
    [
        ("shar", "--json"),
        ("--json", "share"),
        ("share", "a", "--to", "b", "--opens", "none", "--json"),
        ("share", "a", "--to", "b", "--opens", "3", "--once", "--json"),
        ("share", "--json", "a", "--bogus"),
        ("import", "--json"),
        ("import", "--json", "a", "--classification", "secret"),
        ("audit", "--json"),
        ("extend", "--json", "3f9a"),
        ("revoke", "--json"),
        ("peers", "--json", "add", "bob", "192.0.2.7"),
        ("peers", "--json", "add", "bob", "2001:db8::1:7421"),
        ("completion", "--json", "tcsh"),
        ("--json", "team", "add", "/does/not/exist", "-o", "x"),
    ],
)
def test_wrong_usage_is_one_json_error_and_exit_code_2(arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)

    assert ran.code == 2
    assert ran.document["error"]["code"] == "usage"
    assert ran.document["error"].keys() == {"code", "message", "hint"}
    assert ran.err == ""


def test_wrong_usage_is_told_to_people_on_stderr() -> None:
    ran = run("shar")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("safelight: no such command 'shar'")
    assert "share" in ran.err
    assert "hint: see safelight --help" in ran.err


def test_a_home_without_a_vault_names_the_command_that_makes_one(tmp_path: object) -> None:
    for arguments in (("images",), ("node", "status"), ("unlock",), ("node", "run")):
        ran = run("--home", f"{tmp_path}/none", "--json", *arguments)

        assert ran.code == 1
        assert ran.document["error"]["code"] == "no_vault"
        assert "safelight init" in ran.document["error"]["hint"]


def test_output_that_nobody_reads_ends_the_command_quietly() -> None:
    process = subprocess.Popen(
        [*COMMAND, "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()

    assert process.stderr.read() == b""
    process.wait(timeout=30)


def test_json_words_after_a_double_dash_are_no_option() -> None:
    ran = run("show", "a", "b", "--", "--json")

    assert (ran.code, ran.out) == (2, "")
    with pytest.raises(ValueError):
        json.loads(ran.err)
