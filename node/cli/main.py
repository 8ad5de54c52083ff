"""The `safelight` command: its name, its table of commands, and how it ends.

Belongs here: which module holds which command, and turning an error into an exit code.
Never here: what a command does. Only click is imported before a command is known.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from node.cli import diagnostics, output
from node.cli.common import Group, Settings
from node.cli.diagnostics import ExitCode
from node.cli.version import VERSION
from protocol.errors import SafelightError

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Set up": {
        "init": "node.cli.init",
        "demo": "node.cli.demo",
        "node": "node.cli.node",
        "unlock": "node.cli.unlock",
        "lock": "node.cli.lock",
        "passphrase": "node.cli.change",
        "recover": "node.cli.recover",
        "completion": "node.cli.completion",
    },
    "Team": {
        "identity": "node.cli.identity",
        "team": "node.cli.team",
        "invite": "node.cli.invite",
        "join": "node.cli.join",
        "peers": "node.cli.peers",
        "rendezvous": "node.cli.rendezvous",
    },
    "My pictures": {
        "import": "node.cli.import_",
        "images": "node.cli.images",
        "show": "node.cli.show",
        "classify": "node.cli.classify",
        "export": "node.cli.export",
        "album": "node.cli.album",
    },
    "Any picture file": {
        "inspect": "node.cli.inspect",
        "strip": "node.cli.strip",
    },
    "What I share": {
        "share": "node.cli.share",
        "shares": "node.cli.shares",
        "extend": "node.cli.extend",
        "revoke": "node.cli.revoke",
        "access-review": "node.cli.access_review",
        "watermark": "node.cli.watermark",
    },
    "Shared with me": {
        "inbox": "node.cli.inbox",
        "fetch": "node.cli.fetch",
        "open": "node.cli.open",
        "save": "node.cli.save",
    },
    "Trust": {
        "audit": "node.cli.audit",
        "check": "node.cli.check",
        "doctor": "node.cli.doctor",
    },
}
"""Modules of the commands, under the headings of the help. Each has one `command`."""

_MODULES: Final = {name: module for part in SECTIONS.values() for name, module in part.items()}


class Commands(Group):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command, by section."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _MODULES:
            return None
        found: click.Command = importlib.import_module(_MODULES[cmd_name]).command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the arguments; a mistyped one is told what is near."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=_MODULES, ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        for heading, modules in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, self._summary(ctx, name)) for name in modules])

    def _summary(self, ctx: click.Context, name: str) -> str:
        found = self.get_command(ctx, name)
        return found.get_short_help_str(80) if found is not None else ""


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        output.present(
            {"version": VERSION},
            lambda _: output.line(f"safelight {VERSION}"),
            as_json=context.ensure_object(Settings).json,
        )
        context.exit()


@click.group(cls=Commands, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Share pictures with your team, without a server, and take them back.

    Example: safelight demo

    Without a command, on a terminal, it opens the terminal UI.
    """
    if context.invoked_subcommand is None:
        output.raw(context.get_help() + "\n")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Every error ends here."""
    settings = Settings(json=_wants_json(arguments))
    try:
        result: Any = cli.main(
            list(arguments), prog_name="safelight", standalone_mode=False, obj=settings
        )
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  every error ends here
        return _end(error, as_json=settings.json)
    return result if isinstance(result, int) else ExitCode.DONE


def main() -> NoReturn:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def _end(error: BaseException, *, as_json: bool) -> ExitCode:
    diagnosis = diagnostics.diagnose(error)
    if diagnosis.code == "internal" and not isinstance(error, SafelightError):
        diagnostics.show_fault(error)
    if as_json:
        output.document(diagnosis.document())
    else:
        diagnostics.show(diagnosis)
    return diagnosis.exit_code


def _wants_json(arguments: Sequence[str]) -> bool:
    """Say whether --json stands anywhere, so that a usage error is told as JSON too."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before


if __name__ == "__main__":
    main()
