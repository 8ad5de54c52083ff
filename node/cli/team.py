"""`safelight team`.

Belongs here: founding a team, showing it, adding members from identity files.
Never here: rules of the roster (``protocol.roster``).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, new_group

ROLES = ("admin", "editor", "publisher", "reviewer", "guest")


@new_group("team")
def command() -> None:
    """Found a team, show it, and add people to it.

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
    Compare the words that are shown with theirs before you share anything.
    """
    from node.cli import output, reach
    from node.cli.files import PRIVATE, new_file
    from node.control.schema import TeamAdd

    identity_file = base64.b64encode(file.read_bytes()).decode()
    with new_file(out, PRIVATE) as write:
        result = reach.call(settings, "team_add", TeamAdd(identity_file=identity_file, role=role))
        write(base64.b64decode(result.pop("welcome"), validate=True))

    def people(member: dict[str, Any]) -> None:
        output.line(f"added {member.get('name', '')} as {member.get('role', role)}")
        if words := member.get("words"):
            output.line(f"their words: {' '.join(words)}")
        output.line(f"wrote {out}; they join with: safelight join --file {out.name}")

    output.present({**result, "path": absolute(out)}, people, as_json=settings.json)


def _people(team: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import brief

    output.line(f"{team['team']}, version {team['version']}")
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
