from __future__ import annotations

import re

import click
import pytest

from node.cli.common import SHARED
from node.cli.diagnostics import ExitCode, exit_code_of
from node.cli.main import SECTIONS
from tests.node.cli.test_main import COMMANDS
from tests.support import ROOT

GUIDE = (ROOT / "docs" / "cli.md").read_text()
PARTS = dict(re.findall(r"^### `(safelight[^`]*)`\n(.*?)(?=^##|\Z)", GUIDE, re.M | re.S))


def does_something(command: click.Command) -> bool:
    """Say whether a name is a command itself, not only a group of them."""
    return not isinstance(command, click.Group) or command.invoke_without_command


def test_the_guide_has_every_command_and_no_other() -> None:
    expected = {name for name, command in COMMANDS.items() if does_something(command)}

    assert set(PARTS) == expected - {"safelight"}


def test_the_guide_has_the_sections_of_the_help_in_their_order() -> None:
    headings = re.findall(r"^## (.*)$", GUIDE, re.M)

    assert headings[1:] == list(SECTIONS)


@pytest.mark.parametrize("name", PARTS)
def test_the_guide_names_every_option_of_a_command_and_no_other(name: str) -> None:
    named = set(re.findall(r"`(--[a-z-]+)", PARTS[name])) - SHARED
    options = {
        option
        for parameter in COMMANDS[name].params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }

    assert named == options - SHARED


def test_the_guide_has_the_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|$", GUIDE, re.M)

    assert {int(number) for number, _ in rows} == {int(code) for code in ExitCode}
    for number, codes in rows:
        for code in re.findall(r"`([a-z_]+)`", codes):
            assert exit_code_of(code) == int(number)
