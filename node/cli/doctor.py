"""`safelight doctor`.

Belongs here: the command, and putting what the node and the machine tell together.
Never here: looking (``node.services.doctor``, ``node.services.machine``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command

if TYPE_CHECKING:
    from node.cli.diagnostics import ExitCode
    from node.control.client import ControlClient
    from node.services.findings import Finding


@new_command("doctor")
@click.option(
    "--accept-clock",
    is_flag=True,
    help="Go on by a clock that was moved while the node ran, as it is right now.",
)
@click.pass_obj
def command(settings: Settings, accept_clock: bool) -> ExitCode:
    """Look at the set-up: what protects, what is missing, and what to do about it.

    Example: safelight doctor

    Starts and unlocks nothing; an unlocked node tells more. Exits with 0 where nothing is worse
    than a warning, with 5 where logs contradict each other, your own does not verify, or a copy
    of a vault runs.
    """
    from node.cli import output, reach
    from node.services.findings import report

    result = report(reach.run(_checks(settings, accept_clock=accept_clock)))

    def people(found: dict[str, Any]) -> None:
        output.table(
            ("check", "state", "found", "what to do"),
            [(one["check"], one["state"], one["message"], one["hint"]) for one in found["checks"]],
            empty="",
        )

    output.present(result, people, as_json=settings.json)
    return _exit_code(result["problems"])


async def _checks(settings: Settings, *, accept_clock: bool) -> list[dict[str, Any]]:
    """Return every check there is; NodeError where there is no clock to accept."""
    from node.cli import reach
    from node.errors import NodeError
    from node.services.findings import described
    from node.services.machine import expected_decoding, look_at_machine

    home = reach.home_of(settings)
    checks = described(look_at_machine(home))
    if reach.has_vault(home):
        async with reach.found(settings) as (client, status):
            if status is not None:
                return [*await _of_node(client, accept_clock=accept_clock), *checks]
    if accept_clock:
        raise NodeError(
            "no node runs, so none waits for its clock to be accepted",
            code="not_running",
            hint="safelight node start",
        )
    return [*described([_stopped(), expected_decoding()]), *checks]


async def _of_node(client: ControlClient, *, accept_clock: bool) -> list[dict[str, Any]]:
    from node.control.schema import Doctor

    answer = await client.call("doctor", Doctor(accept_clock=accept_clock))
    checks: list[dict[str, Any]] = answer["checks"]
    return checks


def _stopped() -> Finding:
    from node.services.findings import Finding, State

    return Finding(
        check="node",
        state=State.OK,
        message="no node runs: its clock, team, log and keys were not looked at",
        hint="safelight node start, then doctor again",
    )


def _exit_code(problems: list[dict[str, Any]]) -> ExitCode:
    from node.cli.diagnostics import ExitCode, exit_code_of

    if not problems:
        return ExitCode.DONE
    unverified = any(exit_code_of(one["code"]) is ExitCode.UNVERIFIED for one in problems)
    return ExitCode.UNVERIFIED if unverified else ExitCode.FAILED
