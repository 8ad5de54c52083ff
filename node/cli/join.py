"""`safelight join`.

Belongs here: joining by a code that is typed or piped in, or by a WELCOME file after comparing
the administrator's words.
Never here: finding who invited, or opening the file (the node does).
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.common import CONTEXT, Settings, new_command
from node.cli.text import clean_line

if TYPE_CHECKING:
    from node.control.client import ControlClient

_MAX_CODE_LETTERS: Final = 256
"""More on one line of stdin is no code but a mistake."""


@new_command("join", context_settings={**CONTEXT, "allow_extra_args": True})
@click.option("--at", metavar="HOST:PORT", help="Where the inviter's node listens.")
@click.option("--rendezvous", metavar="ADDR", help="The rendezvous that the inviter's team uses.")
@click.option(
    "--file",
    "welcome",
    metavar="WELCOME",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Join by the file that `team add` wrote for you instead.",
)
@click.option(
    "--expect",
    metavar="FINGERPRINT",
    help="With --file: the administrator's full fingerprint, where nobody can compare words.",
)
@click.pass_context
def command(
    context: click.Context,
    at: str | None,
    rendezvous: str | None,
    welcome: Path | None,
    expect: str | None,
) -> None:
    """Join a team with the code that `invite` showed to its administrator.

    Example: safelight join

    The code is asked for, or read from the first line of stdin. It is good for one try. Whoever
    invited is looked for on this network, unless --at or --rendezvous says where they are.
    With --file no code is needed: it shows who the administrator is and asks whether the words
    are theirs; scripts pass --expect instead, and --yes does not answer this question.
    """
    from node.cli import output, reach
    from node.errors import UsageError

    settings = context.ensure_object(Settings)
    if context.args:
        raise UsageError(
            "a code is not given on the command line, where others on this machine can read it",
            hint="type it at the prompt, or pipe its line in",
        )
    if welcome is None:
        if expect is not None:
            raise UsageError("--expect goes with --file")
        joined = _join_by_code(settings, at, rendezvous)
    else:
        if at is not None or rendezvous is not None:
            raise UsageError("--at and --rendezvous go with a code, not with --file")
        joined = reach.with_node(settings, _by_file(welcome, expect))

    def people(joined: dict[str, Any]) -> None:
        output.line(f"{joined['member']} is a member of {joined['team']}")
        if welcome is None:
            output.line(f"words  {' '.join(joined['words'])}")
            output.line("whoever invited you sees the same words; compare them when you talk")

    output.present(joined, people, as_json=settings.json)


# By code ------------------------------------------------------------------------------------------


def _join_by_code(settings: Settings, at: str | None, rendezvous: str | None) -> Any:
    from node.cli import diagnostics, reach
    from node.control.schema import Join

    code = _read_code()
    told: set[str] = set()

    def show(_done: int, _total: int | None, label: str) -> None:
        if not settings.json and label not in told:
            told.add(label)
            diagnostics.note(label)

    async def job(client: ControlClient) -> Any:
        params = Join(code=code, at=at, rendezvous=rendezvous)
        return await client.call("join", params, progress=show)

    return reach.with_node(settings, job)


def _read_code() -> str:
    """Return the line that somebody typed or piped in. It is shown: it lives for minutes."""
    from node.cli import diagnostics
    from node.errors import UsageError

    if diagnostics.interactive():
        line = diagnostics.ask("code: ")
    else:
        line = "" if sys.stdin is None else sys.stdin.readline(_MAX_CODE_LETTERS)
    if not line.strip():
        raise UsageError("no code on stdin", hint="type it at the prompt, or pipe its line in")
    return line.strip()


# By file ------------------------------------------------------------------------------------------


def _by_file(welcome: Path, expect: str | None) -> Any:
    from node.cli import diagnostics
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

    return job


def _question(offer: dict[str, Any]) -> str:
    return (
        f"{clean_line(offer['administrator'])} invites you to {clean_line(offer['team'])}\n"
        f"words:        {' '.join(offer['words'])}\n"
        f"fingerprint:  {offer['fingerprint']}\n"
        "are these the words that they read to you?"
    )
