"""`safelight team`.

Belongs here: founding a team, showing it, adding members from identity files, and what
administrators change, sign and join again.
Never here: rules of the roster (``protocol.roster``).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, absolute, new_group
from node.cli.complete import members

if TYPE_CHECKING:
    from node.control.client import ControlClient
    from node.control.schema import Params

ROLES = ("admin", "editor", "publisher", "reviewer", "guest")


@new_group("team")
def command() -> None:
    """Found a team, show it, add people to it, and change it.

    Example: safelight team show
    """


@command.command("create")
@click.argument("name", help="What the team is called.")
@click.pass_obj
def create(settings: Settings, name: str) -> None:
    """Found a team with you as its administrator.

    Example: safelight team create "The Desk"
    """
    from node.cli import output, reach
    from node.control.schema import TeamCreate

    result = reach.call(settings, "team_create", TeamCreate(name=name))
    output.present(result, _people, as_json=settings.json)


@command.command("show")
@click.pass_obj
def show(settings: Settings) -> None:
    """Show the team, its members, their roles and who is online.

    Example: safelight team show
    """
    from node.cli import output, reach

    output.present(reach.call(settings, "team_show"), _people, as_json=settings.json)


@command.command("add")
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Their identity file.",
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="editor",
    show_default=True,
    help="What they may do in the team.",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The new file for them to join with.",
)
@click.pass_obj
def add(settings: Settings, file: Path, role: str, out: Path) -> None:
    """Add a person by their identity file; writes the WELCOME file they join with.

    Example: safelight team add bob.identity --role reviewer -o bob.welcome

    The welcome is the roster and its members' addresses, sealed to that person alone.
    Compare the words that are shown with theirs before you share anything. Where several
    administrators sign, run it again once they have: then the welcome is written.
    """
    from node.cli import diagnostics, output, reach
    from node.cli.files import PRIVATE, new_file
    from node.control.schema import TeamAdd

    params = TeamAdd(identity_file=base64.b64encode(file.read_bytes()).decode(), role=role)
    with new_file(out, PRIVATE) as write:
        result = reach.call(settings, "team_add", params)
        if not result.get("pending"):
            write(base64.b64decode(result.pop("welcome"), validate=True))

    def people(member: dict[str, Any]) -> None:
        if member.get("pending"):
            _tell_pending(member)
            diagnostics.note("the welcome can be written then: run this command again")
        else:
            output.line(f"added {member.get('name', '')} as {member.get('role', role)}")
        if words := member.get("words"):
            output.line(f"their words: {' '.join(words)}")
        if not member.get("pending"):
            output.line(f"wrote {out}; they join with: safelight join --file {out.name}")

    path = None if result.get("pending") else absolute(out)
    output.present({**result, "path": path}, people, as_json=settings.json)


@command.command("role")
@click.argument("who", shell_complete=members, help="A member.")
@click.argument("role", type=click.Choice(ROLES), help="What they may do from now on.")
@click.pass_obj
def role_(settings: Settings, who: str, role: str) -> None:
    """Give a member another role.

    Example: safelight team role bob reviewer

    What was granted to them stays granted, as far as the new role may hold it.
    """
    from node.cli import output
    from node.control.schema import TeamRole

    _change(
        settings,
        "team_role",
        TeamRole(who=who, role=role),
        lambda done: output.line(f"{done['name']} is {done['role']} now"),
    )


@command.command("remove")
@click.argument("who", shell_complete=members, help="A member.")
@click.pass_obj
def remove(settings: Settings, who: str) -> None:
    """Remove a member; every node then takes back what it granted to them.

    Example: safelight team remove bob

    Each node refuses their opens from the moment it holds the new roster. What they saw or
    saved already cannot be taken back.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import Shares, TeamRemove
    from node.errors import NodeError

    async def job(client: ControlClient) -> Any:
        if not settings.yes and diagnostics.interactive():
            shares = await client.call("shares", Shares(to=who))
            live = [one for one in shares if one["state"] not in {"expired", "revoked"}]
            if not diagnostics.confirm(_removal(who, live)):
                raise NodeError("nobody was removed", code="declined")
        return await client.call("team_remove", TeamRemove(who=who))

    def people(result: dict[str, Any]) -> None:
        if result["pending"]:
            _tell_pending(result)
        else:
            output.line(f"removed {result['name']}; the team is at version {result['version']}")

    output.present(reach.with_node(settings, job), people, as_json=settings.json)


def _removal(who: str, live: list[dict[str, Any]]) -> str:
    from node.cli import output

    lines = [f"{output.plain(who)} is a member no more, and nobody's pictures open for them"]
    if live:
        number = output.plural(len(live), "capability").replace("ys", "ies")
        lines.append(f"you take back {number}; what was seen or saved stays with them")
    return "\n".join([*lines, "remove them?"])


@command.command("threshold")
@click.argument("number", type=click.IntRange(min=1), help="Administrators who have to sign.")
@click.pass_obj
def threshold(settings: Settings, number: int) -> None:
    """Let so many administrators sign each change of the team.

    Example: safelight team threshold 2

    From then on a change is a proposal until enough of them have signed it.
    """
    from node.cli import output
    from node.control.schema import TeamThreshold

    _change(
        settings,
        "team_threshold",
        TeamThreshold(threshold=number),
        lambda _: output.line(f"each change is signed by {_administrators(number)} now"),
    )


@command.command("renew")
@click.pass_obj
def renew(settings: Settings) -> None:
    """Let the roster last a year from now.

    Example: safelight team renew

    Administrators' nodes do so by themselves in its last month. One that has expired is only
    renewed by this command: nothing is released under it until then.
    """
    from node.cli import output

    _change(
        settings,
        "team_renew",
        None,
        lambda done: output.line(
            f"the roster lasts until {output.fact('expires_at', done['expires_at'])}"
        ),
    )


@command.command("pending")
@click.pass_obj
def pending(settings: Settings) -> None:
    """List the changes that wait for administrators to sign them.

    Example: safelight team pending
    """
    from node.cli import output, reach
    from node.cli.times import brief

    def people(found: list[dict[str, Any]]) -> None:
        output.table(
            ("proposal", "would change", "signed by", "missing", "created"),
            [
                (
                    output.short(one["id"]),
                    "; ".join(one["changes"]),
                    one["signed_by"],
                    str(one["missing"]),
                    brief(one["created"]),
                )
                for one in found
            ],
            empty="nothing waits for a signature",
        )

    output.present(reach.call(settings, "team_pending"), people, as_json=settings.json)


@command.command("sign")
@click.argument("proposal", default="", metavar="[ID]", help="Its id or the beginning of it.")
@click.pass_obj
def sign(settings: Settings, proposal: str) -> None:
    """Sign a change that waits; without an id the only one.

    Example: safelight team sign 3f9a

    Look at what it would change first: safelight team pending
    """
    from node.cli import output
    from node.control.schema import TeamSign

    def people(done: dict[str, Any]) -> None:
        for change in done["changes"]:
            output.line(change)
        output.line(f"the team is at version {done['version']}")

    _change(settings, "team_sign", TeamSign(proposal=proposal), people)


@command.command("resolve")
@click.option("--dry-run", is_flag=True, help="Only say what would come of it.")
@click.option(
    "--keep-ours",
    is_flag=True,
    help="Keep all of this side's version, against one by somebody who was removed.",
)
@click.pass_obj
def resolve(settings: Settings, dry_run: bool, keep_ours: bool) -> None:
    """Join two histories of the team, made by administrators who acted at the same time.

    Example: safelight team resolve --dry-run

    Who was removed in one is removed; who was added in one is a member; of two new roles the
    narrower holds. Until then joins, new roles and some grants pause on both sides.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import TeamResolve
    from node.errors import NodeError

    async def job(client: ControlClient) -> Any:
        told = await client.call("team_resolve", TeamResolve(dry_run=True, keep_ours=keep_ours))
        if dry_run:
            return told
        if not settings.yes and diagnostics.interactive():
            question = "\n".join([*_joined(told), "sign this version?"])
            if not diagnostics.confirm(question):
                raise NodeError("nothing was signed", code="declined")
        return await client.call("team_resolve", TeamResolve(keep_ours=keep_ours))

    def people(result: dict[str, Any]) -> None:
        for text in _joined(result):
            output.line(text)
        if result.get("pending"):
            _tell_pending(result)
        elif not dry_run:
            output.line(f"the two are one: the team is at version {result['version']}")

    output.present(reach.with_node(settings, job), people, as_json=settings.json)


def _joined(told: dict[str, Any]) -> list[str]:
    """Return what a version that joins two histories changes on either side."""
    from node.cli import output

    lines = [f"version {told['version']} would change here:"]
    lines += [f"  {output.plain(one)}" for one in told["changes"]]
    lines.append("and on the other side:")
    return lines + [f"  {output.plain(one)}" for one in told["changes_elsewhere"]]


def _change(
    settings: Settings,
    method: str,
    params: Params | None,
    people: Callable[[dict[str, Any]], None],
) -> None:
    """Ask for a change; say what was done, or that it waits for others."""
    from node.cli import output, reach

    def told(result: dict[str, Any]) -> None:
        if result["pending"]:
            _tell_pending(result)
        else:
            people(result)

    output.present(reach.call(settings, method, params), told, as_json=settings.json)


def _tell_pending(result: dict[str, Any]) -> None:
    from node.cli import output

    missing = result["missing"]
    have = "has" if missing == 1 else "have"
    identifier = output.short(result["proposal"])
    output.line(f"proposed: {output.plural(missing, 'more administrator')} {have} to sign it")
    output.line(f"they run: safelight team sign {identifier}")


def _administrators(number: int) -> str:
    return "one administrator" if number == 1 else f"{number} administrators"


def _people(team: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import brief

    output.line(f"{team['team']}, version {team['version']}")
    if team.get("removed"):
        output.line("you are no member of it any more: nothing opens for you, or by you")
    if conflict := team.get("conflict"):
        output.line(f"{conflict}; an administrator joins them with: safelight team resolve")
    if until := team.get("expires_at"):
        output.line(f"lasts until {output.fact('expires_at', until)}")
    if team.get("expired"):
        output.line("it has expired: an administrator renews it with: safelight team renew")
    if team.get("threshold", 1) > 1:
        output.line(f"each change is signed by {_administrators(team['threshold'])}")
    if waiting := team.get("pending"):
        output.line(f"{output.plural(waiting, 'change')} waiting: safelight team pending")
    output.table(
        ("name", "role", "online", "last seen", "fingerprint"),
        [
            (
                member["name"],
                member["role"],
                member.get("online"),
                brief(member.get("last_seen")),
                member["fingerprint"],
            )
            for member in team["members"]
        ],
        empty="nobody",
    )
