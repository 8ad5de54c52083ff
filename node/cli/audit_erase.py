"""`safelight audit erase`.

Belongs here: the command, and asking before what cannot be undone.
Never here: what is destroyed (``services.erasing``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import members

if TYPE_CHECKING:
    from node.control.client import ControlClient


@new_command("erase")
@click.argument(
    "subject",
    metavar="SUBJECT",
    shell_complete=members,
    help="A person, picture, album or capability; what is gone by the beginning of its id.",
)
@click.option(
    "--kind",
    type=click.Choice(["person", "picture", "album", "capability"]),
    help="What SUBJECT means, where it may mean several things.",
)
@click.pass_obj
def command(settings: Settings, subject: str, kind: str | None) -> None:
    """Destroy what the log and the index say about a person, a picture or a capability.

    Example: safelight audit erase carol

    The entries stay, and so does every proof: they only commit to what was said. The key
    of the subject and its values are overwritten, which is logged in its turn. Backups
    made before still hold them, and other people's nodes keep their own logs.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import AuditErase
    from node.errors import NodeError

    params = AuditErase(subject=subject, kind=kind)

    async def job(client: ControlClient) -> Any:
        if not settings.yes and diagnostics.interactive():
            rehearsal = AuditErase(subject=subject, kind=kind, dry_run=True)
            foretold = await client.call("audit_erase", rehearsal)
            if not diagnostics.confirm(_question(foretold)):
                raise NodeError("nothing was erased", code="declined")
        return await client.call("audit_erase", params)

    def people(done: dict[str, Any]) -> None:
        output.line(f"erased: {_what(done)}")
        for text in _stays(done):
            output.line(text)

    output.present(reach.with_node(settings, job), people, as_json=settings.json)


def _what(told: dict[str, Any]) -> str:
    from node.cli import output

    subject = told["subject"]
    entries = "1 entry" if told["entries"] == 1 else f"{told['entries']} entries"
    parts = [f"{output.plural(told['values'], 'value')} of {entries} of the log"]
    if told["mentions"]:
        parts.append(f"{output.plural(told['mentions'], 'more value')} that named them")
    if told["receipts"]:
        parts.append(output.plural(told["receipts"], "signed receipt"))
    if told["rewritten"]:
        parts.append(f"{output.plural(told['rewritten'], 'row')} outside of it")
    return f"{subject['kind']} {output.plain(subject['name'])}: " + ", ".join(parts)


def _stays(told: dict[str, Any]) -> list[str]:
    from node.cli import output

    return [f"  stays: {output.plain(text)}" for text in (*told["remains"], *told["elsewhere"])]


def _question(foretold: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"this destroys {_what(foretold)}",
            *_stays(foretold),
            "what is destroyed cannot be brought back, and no question about it be answered",
            "erase it?",
        ]
    )
