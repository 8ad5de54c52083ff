"""`safelight audit alarms` and `safelight audit evidence`.

Belongs here: showing which logs contradict themselves, clearing an alarm, writing its evidence.
Never here: finding contradictions, or checking evidence.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, new_command, new_group


@new_group("alarms", invoke_without_command=True)
@click.pass_context
def alarms(context: click.Context) -> None:
    """Show which logs contradicted what they had shown before.

    Example: safelight audit alarms

    While an alarm stands your node deals with that person no more: nothing is opened, delivered
    or fetched, either way. When their node begins a new log that is over. The alarm is shown until
    you clear it.
    """
    if context.invoked_subcommand is None:
        _show(context.ensure_object(Settings))


def _show(settings: Settings) -> None:
    from node.cli import output, reach

    def people(found: list[dict[str, Any]]) -> None:
        output.table(
            ("alarm", "state", "whose log", "kind", "what", "raised", "over", "proof for others"),
            [
                (
                    str(one["id"]),
                    one["state"],
                    "your own" if one["own"] else one["name"],
                    one["kind"],
                    one["detail"],
                    output.fact("raised_at", one["raised_at"]),
                    output.fact("over_since", one["over_since"]),
                    one["proven"],
                )
                for one in found
            ],
            empty="no log contradicted what it showed before",
        )

    output.present(reach.call(settings, "audit_alarms"), people, as_json=settings.json)


@alarms.command("clear")
@click.argument("alarm", type=int, metavar="ID", help="The number of the alarm.")
@click.pass_obj
def clear(settings: Settings, alarm: int) -> None:
    """Deal with a person again whose log you have looked into; your own log keeps that you did.

    Example: safelight audit alarms clear 1

    The next head of their log counts as the first one that you ever saw: what came before it can
    no longer be compared. A log that still contradicts itself raises the next alarm. Where the
    alarm is over, clearing it only takes it from what is shown.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import AuditAlarm
    from node.errors import UsageError

    if not settings.yes:
        if not diagnostics.interactive():
            raise UsageError("clearing an alarm is asked about", hint="answer with --yes")
        if not diagnostics.confirm(f"clear alarm {alarm}, and deal with its log's keeper again?"):
            raise click.Abort
    result = reach.call(settings, "audit_alarm_clear", AuditAlarm(alarm=alarm))
    output.present(
        result, lambda _: output.line(f"alarm {alarm} is cleared"), as_json=settings.json
    )


@new_command("evidence")
@click.argument("alarm", type=int, metavar="[ID]", required=False, help="Which; else the newest.")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it into this new file.",
)
@click.pass_obj
def evidence(settings: Settings, alarm: int | None, out: Path | None) -> None:
    """Write what proves to anybody that a log has two histories.

    Example: safelight audit evidence -o mallory.evidence

    The file holds what the log's keeper signed, and nothing secret. `safelight audit verify FILE`
    checks it on any machine, without a vault.
    """
    from node.cli import output, reach
    from node.cli.files import PUBLIC, new_file
    from node.control.schema import AuditEvidence
    from node.errors import NodeError

    params = AuditEvidence(alarm=alarm)
    if out is None:
        result = reach.call(settings, "audit_evidence", params)
        output.present(result, _describe, as_json=settings.json)
        return
    with new_file(out, PUBLIC) as write:
        result = reach.call(settings, "audit_evidence", params)
        data = result.pop("evidence")
        if data is None:
            raise NodeError(
                "the two heads are known to contradict each other here, and prove it to nobody "
                "else by themselves",
                code="no_evidence",
                hint="safelight audit evidence --json has both as they were signed",
            )
        write(base64.b64decode(data, validate=True))
    output.present(
        {"path": absolute(out), **result},
        lambda _: output.line(f"wrote {out}"),
        as_json=settings.json,
    )


def _describe(found: dict[str, Any]) -> None:
    from node.cli import output

    proven = found["evidence"] is not None
    output.line(f"alarm {found['id']}, about the log of {found['name']}: {found['detail']}")
    output.line(
        "anybody can check it: add -o FILE" if proven else "the two heads alone prove it to nobody"
    )
    for which in ("first", "second"):
        output.line(f"\n{which}")
        output.line(found[which] or "(nothing)")
