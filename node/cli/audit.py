"""`safelight audit`.

Belongs here: reading the log, following it, and saying whether it verifies.
Never here: verification (``protocol.audit``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_group
from node.cli.complete import images, members

if TYPE_CHECKING:
    from node.cli.diagnostics import ExitCode
    from node.control.client import ControlClient
    from node.control.schema import AuditLog


@new_group("audit")
def command() -> None:
    """Read and verify the log of what happened.

    Example: safelight audit verify
    """


@command.command("log")
@click.option("--follow", is_flag=True, help="Go on with what happens from now, until Ctrl-C.")
@click.option("--who", metavar="W", shell_complete=members, help="Only what this person did.")
@click.option("--image", metavar="I", shell_complete=images, help="Only about this picture.")
@click.option("--since", metavar="T", help="Only from this time on: 2030-01-31T18:00:00Z.")
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
    limit: int,
) -> None:
    """Show who did what and when, oldest first.

    Example: safelight audit log --who bob --since 2030-01-31T00:00:00Z

    With --follow and --json each entry is one document on a line of its own.
    """
    from node.cli import output, reach
    from node.control.schema import AuditLog

    params = AuditLog(who=who, image=image, since=since, limit=limit)
    if follow:
        reach.with_node(settings, lambda client: _follow(client, params, settings))
    else:
        result = reach.call(settings, "audit_log", params)
        output.present(result, _table, as_json=settings.json)


@command.command("verify")
@click.pass_obj
def verify(settings: Settings) -> ExitCode:
    """Recompute your whole log and check every hash and signature of it.

    Example: safelight audit verify

    Exits with 5 where something is wrong, and says where.
    """
    from node.cli import output, reach
    from node.cli.diagnostics import ExitCode

    report = reach.call(settings, "audit_verify", bar=True)

    def people(found: dict[str, Any]) -> None:
        if found["ok"]:
            output.line(f"the log verifies: {found['size']} entries")
        else:
            output.line("the log does NOT verify")
        output.details({name: value for name, value in found.items() if name not in _SAID})

    output.present(report, people, as_json=settings.json)
    return ExitCode.DONE if report["ok"] else ExitCode.UNVERIFIED


_SAID = frozenset({"ok", "size"})


async def _follow(client: ControlClient, params: AuditLog, settings: Settings) -> None:
    """Write the entries there are, then each that comes, every one once."""
    import asyncio
    from contextlib import aclosing

    from node.cli import output

    def show(entry: dict[str, Any]) -> None:
        output.present(entry, _line, as_json=settings.json)

    shown = -1
    async with aclosing(client.stream("audit_follow", params)) as events:
        # Listening begins before the reading, so that nothing falls between the two.
        upcoming = asyncio.ensure_future(anext(events))
        try:
            for entry in (await client.call("audit_log", params))["entries"]:
                show(entry)
                shown = max(shown, entry["index"])
            while True:
                entry = await upcoming
                upcoming = asyncio.ensure_future(anext(events))
                if entry["index"] > shown:
                    show(entry)
                    shown = entry["index"]
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


def _table(result: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import clock_time

    output.table(
        ("entry", "time", "event", "actor", "subject", "detail"),
        [
            (
                entry["index"],
                clock_time(entry["time"]),
                entry["event"],
                entry["actor"],
                entry["subject"],
                _readable(entry["detail"]),
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
    parts.append(output.plain(_readable(entry["detail"])))
    output.line("  ".join([str(entry["index"]), *filter(None, parts)]))


def _readable(detail: Any) -> Any:
    """Return an entry's detail with its hashes shortened: --json has them whole."""
    if not isinstance(detail, dict):
        return detail
    return {
        name: f"{value[:8]}…" if isinstance(value, str) and _HASH.fullmatch(value) else value
        for name, value in detail.items()
    }


_HASH = re.compile("[0-9a-f]{64}")
