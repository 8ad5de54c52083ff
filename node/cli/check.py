"""`safelight check`.

Belongs here: the command.
Never here: checking (``node.vault.check``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command

if TYPE_CHECKING:
    from node.cli.diagnostics import ExitCode


@new_command("check")
@click.option("--read-data", is_flag=True, help="Also read and authenticate every sealed byte.")
@click.pass_obj
def command(settings: Settings, read_data: bool) -> ExitCode:
    """Check the vault: index, sealed files and keyslots.

    Example: safelight check --read-data

    Exits with 5 where something is damaged, and names the picture.
    """
    from node.cli import output, reach
    from node.cli.diagnostics import ExitCode
    from node.control.schema import Check
    from node.vault.errors import DamagedError
    from protocol.errors import SafelightError

    try:
        report = reach.call(settings, "check", Check(read_data=read_data), bar=True)
    except SafelightError as error:
        if error.code != DamagedError.code:
            raise
        # Too damaged to open: no node can tell, so the files are looked at from here.
        report = _check_closed(settings, read_data=read_data)

    def people(found: dict[str, Any]) -> None:
        output.line("no problem found" if found["ok"] else "the vault is DAMAGED")
        for problem in found["problems"]:
            output.line(f"  {output.plain(problem)}")

    output.present(report, people, as_json=settings.json)
    return ExitCode.DONE if report["ok"] else ExitCode.UNVERIFIED


def _check_closed(settings: Settings, *, read_data: bool) -> dict[str, Any]:
    import asyncio

    from node.cli import passphrase, reach
    from node.cli.progress import Bar
    from node.services.health import describe
    from node.vault.check import check_closed

    with Bar(enabled=not settings.json) as bar:
        problems = asyncio.run(
            check_closed(
                reach.home_of(settings),
                passphrase=passphrase.read_passphrase(settings),
                read_data=read_data,
                progress=bar.report,
            )
        )
    return describe(problems)
