"""`safelight album`.

Belongs here: what an album says of its pictures by default.
Never here: which pictures are in it, or what is written into copies.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_group
from node.cli.complete import albums


@new_group("album")
def command() -> None:
    """Say what holds for every picture of an album.

    Example: safelight album credit launch --credit "Ann Example" --copyright "© Ann Example"
    """


@command.command("credit")
@click.argument(
    "album", metavar="ALBUM", shell_complete=albums, help="A name, id or its beginning."
)
@click.option("--credit", metavar="NAME", default="", help="Who made the pictures.")
@click.option("--copyright", "notice", metavar="TEXT", default="", help="Whose they are.")
@click.option("--terms", metavar="TEXT", default="", help="Usage terms beside the credit.")
@click.option("--no-credit", is_flag=True, help="From now on none.")
@click.pass_obj
def credit(
    settings: Settings, album: str, credit: str, notice: str, terms: str, no_credit: bool
) -> None:
    """Set or show the credit that shares and exports of an album carry.

    Example: safelight album credit launch --credit "Ann Example" --copyright "© Ann Example"

    It is written into every copy of the album's pictures but originals, unless the share or
    export says --credit or --no-credit itself. What was shared already stays as it is.
    """
    from node.cli import output, reach
    from node.control.schema import AlbumCredit

    params = AlbumCredit(
        album=album, credit=credit, copyright_notice=notice, terms=terms, no_credit=no_credit
    )

    def people(said: dict[str, Any]) -> None:
        facts = {name: said[name] for name in ("credit", "copyright", "terms") if said[name]}
        if facts:
            output.details(facts)
        else:
            output.line("no credit")

    output.present(reach.call(settings, "album_credit", params), people, as_json=settings.json)
