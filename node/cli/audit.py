"""`safelight audit`: the group, and `audit log`.

Belongs here: showing the log and following it.
Never here: the other commands of the group, each of which has a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from node.cli import (
    audit_alarms,
    audit_erase,
    audit_export,
    audit_questions,
    audit_reconcile,
    audit_roll,
    audit_verify,
    audit_witness,
)
from node.cli.common import Settings, listed, new_group
from node.cli.complete import images, members

if TYPE_CHECKING:
    from node.control.client import ControlClient
    from node.control.schema import AuditLog


@new_group("audit")
def command() -> None:
    """Read and verify the log of what happened.

    Example: safelight audit verify
    """


command.add_command(audit_verify.verify)
command.add_command(audit_export.export)
command.add_command(audit_export.prove)
command.add_command(audit_reconcile.reconcile)
command.add_command(audit_alarms.alarms)
command.add_command(audit_alarms.evidence)
command.add_command(audit_witness.command)
command.add_command(audit_erase.command)
command.add_command(audit_roll.command)
command.add_command(audit_questions.who_could)
command.add_command(audit_questions.holders)
command.add_command(audit_questions.subject)


@command.command("log")
@click.option("--follow", is_flag=True, help="Go on with what happens from now, until Ctrl-C.")
@click.option("--who", metavar="W", shell_complete=members, help="Only of this person.")
@click.option("--image", metavar="I", shell_complete=images, help="Only about this picture.")
@click.option("--since", metavar="T", help="Only from this time on: 2030-01-31T18:00:00Z.")
@click.option("--until", metavar="T", help="Only before this time.")
@click.option("--event", "events", multiple=True, metavar="E", help="Only of this event: released.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=1_000_000,
    help="At most so many: the newest.",
)
@click.pass_obj
def log(
    settings: Settings,
    follow: bool,
    who: str | None,
    image: str | None,
    since: str | None,
    until: str | None,
    events: tuple[str, ...],
    limit: int,
) -> None:
    """Show who did what and when, oldest first.

    Example: safelight audit log --who bob --since 2030-01-31T00:00:00Z

    With --follow and --json each entry is one document on a line of its own.
    """
    from node.cli import output, reach
    from node.control.schema import AuditLog

    params = AuditLog(
        who=who, image=image, since=since, until=until, events=listed(events), limit=limit
    )
    if follow:
        reach.with_node(settings, lambda client: _follow(client, params, settings))
    else:
        result = reach.call(settings, "audit_log", params)
        output.present(result, _table, as_json=settings.json)


async def _follow(client: ControlClient, params: AuditLog, settings: Settings) -> None:
    """Write the entries there are, then each that comes, every one once."""
    import asyncio
    from contextlib import aclosing

    from node.cli import output

    def show(entry: dict[str, Any]) -> None:
        output.present(entry, _line, as_json=settings.json)

    shown = (0, -1)
    async with aclosing(client.stream("audit_follow", params)) as events:
        # Listening begins before the reading, so that nothing falls between the two.
        upcoming = asyncio.ensure_future(anext(events))
        try:
            for entry in (await client.call("audit_log", params))["entries"]:
                show(entry)
                shown = max(shown, _position(entry))
            while True:
                entry = await upcoming
                upcoming = asyncio.ensure_future(anext(events))
                if _position(entry) > shown:
                    show(entry)
                    shown = _position(entry)
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


def _position(entry: dict[str, Any]) -> tuple[int, int]:
    return entry["incarnation"], entry["index"]


def _table(result: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import clock_time

    output.table(
        ("entry", "time", "event", "actor", "subject", "detail"),
        [
            (
                _place(entry),
                clock_time(entry["time"]),
                entry["event"],
                entry["actor"],
                entry["subject"],
                _readable(entry),
            )
            for entry in result["entries"]
        ],
        empty="nothing of that in the log",
    )


def _line(entry: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import clock_time

    parts = [clock_time(entry["time"])]
    parts += [output.plain(entry[name]) for name in ("event", "actor", "subject")]
    parts.append(output.plain(_readable(entry)))
    output.line("  ".join([str(_place(entry)), *filter(None, parts)]))


def _place(entry: dict[str, Any]) -> Any:
    """Return an entry's index, behind the number of its log where that is not the first."""
    log = entry.get("incarnation", 0)
    return f"{log}/{entry['index']}" if log else entry["index"]


def _readable(entry: dict[str, Any]) -> Any:
    """Return an entry's detail without what the other columns say, ids and hashes shortened.

    With --json there is all of it.
    """
    detail = entry["detail"]
    if "sentence" in detail:
        return detail["sentence"]  # It says in words what the limits and the holder beside it do.
    said = (entry["actor"], entry["subject"])
    short = {name: _shortened(value) for name, value in detail.items()}
    return {
        name: value
        for name, value in short.items()
        # Where an entry is about a picture, that is its subject.
        if name != "image" and value not in said and f"{name} {value}" not in said
    }


def _shortened(value: str) -> str:
    if head := _HEAD.match(value):
        return f"head of size {head[1]}"
    if origin := _ORIGIN.fullmatch(value):
        return f"{origin[1]}…{origin[2]}"
    if _HASH.fullmatch(value):
        return f"{value[:8]}…"
    return value[:8] if _ID.fullmatch(value) else value


_ID = re.compile("[0-9a-f]{32}")
_HASH = re.compile("[0-9a-f]{64}")
_ORIGIN = re.compile("(safelight/[a-z2-7]{8})[a-z2-7]{44}(/[0-9]+)")
_HEAD = re.compile(r"safelight/[^\n]*\n([0-9]+)\n")
"""A signed head, as entries about the log itself cite it."""
