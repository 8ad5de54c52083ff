"""`safelight revoke`.

Belongs here: the command, and saying what it means before it is done.
Never here: ending capabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import albums, granted, members

if TYPE_CHECKING:
    from node.control.client import ControlClient


@new_command("revoke")
@click.argument(
    "capabilities",
    nargs=-1,
    metavar="[CAP]...",
    shell_complete=granted,
    help="Ids or their beginnings.",
)
@click.option("--to", metavar="WHO", shell_complete=members, help="All to this member.")
@click.option(
    "--album", metavar="A", shell_complete=albums, help="All that hold pictures of this album."
)
@click.pass_obj
def command(
    settings: Settings, capabilities: tuple[str, ...], to: str | None, album: str | None
) -> None:
    """Take capabilities back; once this returns, no later open succeeds.

    Example: safelight revoke --to bob

    What was fetched but never opened stays shut for good. What was seen was seen, what
    was saved stays saved, and leased opens work until their deadline.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import Revoke
    from node.errors import NodeError

    if not capabilities and to is None and album is None:
        raise click.UsageError("nothing to revoke: name capabilities, --to WHO or --album A")

    async def job(client: ControlClient) -> Any:
        if not settings.yes and diagnostics.interactive():
            concerned = await _concerned(client, capabilities, to, album)
            if concerned and not diagnostics.confirm(_question(concerned)):
                raise NodeError("nothing was revoked", code="declined")
        params = Revoke(capabilities=list(capabilities), to=to, album=album)
        return await client.call("revoke", params)

    def people(result: dict[str, Any]) -> None:
        for one in result["revoked"]:
            seen = "the holder knows" if one["seen_by_holder"] else "the holder is told later"
            output.line(f"revoked {output.short(one['id'])} of {one.get('holder', '')}: {seen}")
            if one["leased_opens"]:
                until = output.fact("until", one["leased_until"])
                output.line(f"  {output.plural(one['leased_opens'], 'leased open')} until {until}")
        if not result["revoked"]:
            output.line("nothing to revoke")

    output.present(reach.with_node(settings, job), people, as_json=settings.json)


async def _concerned(
    client: ControlClient, capabilities: tuple[str, ...], to: str | None, album: str | None
) -> list[dict[str, Any]]:
    """Return the capabilities that would end, as `shares` has them."""
    from node.control.schema import Shares

    chosen: dict[str, dict[str, Any]] = {}
    if capabilities:
        for share in await client.call("shares"):
            if share["id"].startswith(tuple(one.lower() for one in capabilities)):
                chosen[share["id"]] = share
    if to is not None or album is not None:
        for share in await client.call("shares", Shares(to=to, album=album)):
            chosen[share["id"]] = share
    return [one for one in chosen.values() if one["state"] not in {"expired", "revoked"}]


def _question(concerned: list[dict[str, Any]]) -> str:
    from node.cli import output

    lines = [
        f"  {output.short(one['id'])}  {output.plain(one['holder'])} loses "
        f"{output.plural(one['images'], 'picture')}, opened {output.plural(one['opens'], 'time')}"
        for one in concerned
    ]
    return "\n".join(
        [
            *lines,
            "no later open will succeed; what was seen or saved already cannot be taken back",
            f"revoke {output.plural(len(concerned), 'capability').replace('ys', 'ies')}?",
        ]
    )
