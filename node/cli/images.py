"""`safelight images`.

Belongs here: the command.
Never here: search.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import albums


@new_command("images")
@click.argument("query", nargs=-1, metavar="[QUERY]", help="Words of a name, tag or album.")
@click.option("--album", metavar="A", shell_complete=albums, help="Only of this album.")
@click.option("--tag", metavar="T", help="Only with this tag.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=1_000_000,
    help="At most so many: the newest.",
)
@click.pass_obj
def command(
    settings: Settings, query: tuple[str, ...], album: str | None, tag: str | None, limit: int
) -> None:
    """List your pictures, newest first, or those that fit a search.

    Example: safelight images harbour --album launch
    """
    from node.cli import output, reach
    from node.control.schema import Images

    params = Images(query=" ".join(query), album=album, tag=tag, limit=limit)
    output.present(reach.call(settings, "images", params), _people, as_json=settings.json)


def _people(images: list[dict[str, Any]]) -> None:
    from node.cli import output

    output.table(
        ("name", "size", "format", "bytes", "class", "albums", "tags", "id"),
        [
            (
                image["name"],
                f"{image['width']}×{image['height']}",
                image["format"],
                output.size(image["bytes"]),
                image["classification"],
                image["albums"],
                image["tags"],
                output.short(image["id"]),
            )
            for image in images
        ],
        empty="no pictures; import some: safelight import PATH",
    )
