"""`safelight shares`.

Belongs here: the command.
Never here: counting opens.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import albums, members

STATES = ("pending", "live", "expired", "exhausted", "revoked")


@new_command("shares")
@click.option("--album", metavar="A", shell_complete=albums, help="Only of this album's pictures.")
@click.option("--to", metavar="WHO", shell_complete=members, help="Only to this member.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.pass_obj
def command(settings: Settings, album: str | None, to: str | None, state: str | None) -> None:
    """List what you granted, how often it was opened and when it ends.

    Example: safelight shares --to bob --state live

    The states: `pending` is not delivered yet, `live` can be opened, `exhausted` has no
    opens left, `expired` and `revoked` are over.
    """
    from node.cli import output, reach
    from node.control.schema import Shares

    result = reach.call(settings, "shares", Shares(album=album, to=to, state=state))
    output.present(result, show_shares, as_json=settings.json)


def show_shares(shares: list[dict[str, Any]]) -> None:
    """Write capabilities that were granted, for people."""
    from node.cli import output
    from node.cli.times import brief

    output.table(
        ("id", "to", "pics", "rights", "state", "opens", "left", "expires", "last open"),
        [
            (
                output.short(share["id"]),
                share["holder"],
                share["images"],
                share["rights"],
                share["state"],
                share["opens"],
                share["opens_left"],
                brief(share["expires_at"]),
                brief(share["last_open"]),
            )
            for share in shares
        ],
        empty="nothing is shared; share a picture: safelight share IMAGE --to WHO",
    )
