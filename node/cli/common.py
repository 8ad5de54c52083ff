"""What every command shares: its options, its shape and how it ends.

Belongs here: the options that stand before or after any command's name, and the
click classes that add them.
Never here: reaching a node (``reach``), or anything slow to import: this module is
part of every start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True, kw_only=True)
class Settings:
    """What the shared options say, whichever side of the command's name they stand on."""

    json: bool = False
    """One JSON document on stdout instead of text for people."""
    home: Path | None = None
    """None: $SAFELIGHT_HOME, else the platform's folder."""
    passphrase_file: Path | None = None
    """None: $SAFELIGHT_PASSPHRASE_FILE, else a prompt."""
    yes: bool = False
    """Every question of a destructive command is answered."""


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Remember a shared option; one that is not given changes nothing."""
    if value:
        setattr(context.ensure_object(Settings), parameter.name or "", value)


def _shared_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--home"],
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder of the node's data.  [env: SAFELIGHT_HOME]",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            is_eager=True,
            help="Print one JSON document.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--passphrase-file"],
            type=click.Path(dir_okay=False, path_type=Path),
            help="Read the passphrase from its first line.  [env: SAFELIGHT_PASSPHRASE_FILE]",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--yes"],
            is_flag=True,
            help="Answer the question of a destructive command.",
            expose_value=False,
            callback=_keep,
        ),
    ]


SHARED: Final = frozenset({"--home", "--json", "--passphrase-file", "--yes", "--help"})
"""The options that every command has."""


def _format_options(
    command: click.Command, context: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write a command's own options first, and those of every command apart."""
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and not isinstance(parameter, click.Argument):
            (shared if SHARED.intersection(parameter.opts) else own).append(record)
    if own:
        with formatter.section("Options"):
            formatter.write_dl(own)
    with formatter.section("Options of every command"):
        formatter.write_dl(shared)


def _keep_example_whole(help_text: str | None) -> str | None:
    """Mark the example of a help text as not to be wrapped: it is there to be copied."""
    if help_text is None:
        return None
    return inspect.cleandoc(help_text).replace("\n\nExample:", "\n\n\b\nExample:")


CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""How click reads and shows every command."""


class Command(click.Command):
    """A command that takes the shared options after its name."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        attributes.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **attributes)
        self.params += _shared_options()
        self.help = _keep_example_whole(self.help)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the shared ones apart."""
        _format_options(self, ctx, formatter)


class Group(click.Group):
    """Commands under one name; takes the shared options before and after that name."""

    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        attributes.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **attributes)
        self.params += _shared_options()
        self.help = _keep_example_whole(self.help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order they are declared: the order of a day's work."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the shared ones apart, then the commands."""
        _format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def new_command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command of this name."""
    return click.command(name, cls=Command, **attributes)


def new_group(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Group]:
    """Declare a group of commands of this name."""
    return click.group(name, cls=Group, **attributes)


def absolute(path: Path) -> str:
    """Return a path as the control API takes it: absolute, symbolic links as they are."""
    return str(path.expanduser().absolute())


def listed(values: tuple[str, ...]) -> list[str]:
    """Return what was given by repeating an option or with commas, without repetition."""
    parts = (part.strip() for value in values for part in value.split(","))
    return list(dict.fromkeys(part for part in parts if part))
