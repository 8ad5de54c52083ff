"""`safelight images`.

Belongs here: the command.
Never here: search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.common import Settings, new_command
from node.cli.complete import albums, members

if TYPE_CHECKING:
    from node.control.client import ControlClient

_CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")
_STATUSES: Final = ("shared", "unshared", "received", "expiring")
_PAGE: Final = 256


@new_command("images")
@click.argument("query", nargs=-1, metavar="[QUERY]", help="Words of a name, tag or album.")
@click.option("--album", metavar="A", shell_complete=albums, help="Only of this album.")
@click.option("--tag", metavar="T", help="Only with this tag.")
@click.option("--classification", type=click.Choice(_CLASSIFICATIONS), help="Only so sensitive.")
@click.option(
    "--status",
    type=click.Choice(_STATUSES),
    help="Only what is shared now, is not, came from somebody else, or is over within a day.",
)
@click.option(
    "--person", metavar="WHO", shell_complete=members, help="Only what they may open now."
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=1_000_000,
    help="At most so many: the newest.",
)
@click.pass_obj
def command(
    settings: Settings,
    query: tuple[str, ...],
    album: str | None,
    tag: str | None,
    classification: str | None,
    status: str | None,
    person: str | None,
    limit: int,
) -> None:
    """List your pictures, newest first, or those that fit a search.

    Example: safelight images harbour --album launch
    """
    from node.cli import output, reach
    from node.control.schema import Images

    words = " ".join(query)
    narrower = {"classification": classification, "status": status, "person": person}
    if any(narrower.values()):
        wanted = {"query": words, "album": album, "tag": tag, **narrower}
        found = reach.with_node(settings, lambda client: _browsed(client, wanted, limit))
    else:
        params = Images(query=words, album=album, tag=tag, limit=limit)
        found = reach.call(settings, "images", params)
    output.present(found, _table, as_json=settings.json)


async def _browsed(
    client: ControlClient, wanted: dict[str, str | None], limit: int
) -> list[dict[str, Any]]:
    """Return what screens show under these filters, page by page."""
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        page = await client.call(
            "browse", {**wanted, "offset": len(found), "limit": min(_PAGE, limit - len(found))}
        )
        # The JSON is the same whatever was asked.
        found += [
            {name: value for name, value in image.items() if name != "shares"}
            for image in page["images"]
        ]
        if not page["images"]:
            break
    return found


def _table(images: list[dict[str, Any]]) -> None:
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
