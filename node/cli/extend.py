"""`safelight extend`.

Belongs here: the command.
Never here: what the policy allows.
"""

from __future__ import annotations

import click

from node.cli.common import Settings, new_command
from node.cli.complete import granted


@new_command("extend")
@click.argument("capability", metavar="CAP", shell_complete=granted, help="An id or its beginning.")
@click.option(
    "--for", "duration", metavar="DURATION", help="Ends this long from now, never earlier."
)
@click.option(
    "--opens", metavar="N", type=click.IntRange(min=1), help="So many opens more for each picture."
)
@click.pass_obj
def command(settings: Settings, capability: str, duration: str | None, opens: int | None) -> None:
    """Give a live capability more time, more opens, or both.

    Example: safelight extend 3f9a12c4 --for 7d --opens 5

    It is a signed and logged amendment within the policy; the terms never change. What
    has expired cannot be extended: share anew.
    """
    from node.cli import output, reach
    from node.cli.shares import show_shares
    from node.control.schema import Extend

    if duration is None and opens is None:
        raise click.UsageError("nothing to extend: give --for DURATION, --opens N, or both")
    params = Extend(capability=capability, duration=duration, opens=opens)
    result = reach.call(settings, "extend", params)
    output.present(result, lambda share: show_shares([share]), as_json=settings.json)
