"""`safelight join`.

Belongs here: joining by a WELCOME file, and comparing the administrator's words first.
Never here: opening the file (the node does).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command
from node.cli.text import clean_line

if TYPE_CHECKING:
    from node.control.client import ControlClient


@new_command("join")
@click.option(
    "--file",
    "welcome",
    required=True,
    metavar="WELCOME",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that `team add` wrote for you.",
)
@click.option(
    "--expect",
    metavar="FINGERPRINT",
    help="The administrator's full fingerprint, where nobody can compare words.",
)
@click.pass_obj
def command(settings: Settings, welcome: Path, expect: str | None) -> None:
    """Join a team with the WELCOME file its administrator made for you.

    Example: safelight join --file bob.welcome

    Shows who the administrator is and asks whether the words are theirs; call them.
    Scripts pass --expect instead. --yes does not answer this question.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import JoinFile
    from node.errors import NodeError, UsageError

    if expect is None and not diagnostics.interactive():
        raise UsageError(
            "nobody can compare the administrator's words here",
            hint="pass their full fingerprint with --expect",
        )
    sealed = base64.b64encode(welcome.read_bytes()).decode()

    async def job(client: ControlClient) -> Any:
        expected = expect
        if expected is None:
            offer = await client.call("join_file", JoinFile(welcome=sealed))
            if not diagnostics.confirm(_question(offer)):
                raise NodeError("not joined", code="declined")
            expected = offer["fingerprint"]
        return await client.call("join_file", JoinFile(welcome=sealed, expect=expected))

    def people(joined: dict[str, Any]) -> None:
        output.line(f"{joined['member']} is a member of {joined['team']}")

    output.present(reach.with_node(settings, job), people, as_json=settings.json)


def _question(offer: dict[str, Any]) -> str:
    return (
        f"{clean_line(offer['administrator'])} invites you to {clean_line(offer['team'])}\n"
        f"words:        {' '.join(offer['words'])}\n"
        f"fingerprint:  {offer['fingerprint']}\n"
        "are these the words that they read to you?"
    )
