"""`safelight export`.

Belongs here: the command.
Never here: writing pictures (the node writes and logs them).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, new_command
from node.cli.complete import images_and_albums


@new_command("export")
@click.argument(
    "what",
    nargs=-1,
    required=True,
    metavar="IMAGE|ALBUM...",
    shell_complete=images_and_albums,
    help="Names, ids or their beginnings.",
)
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; nothing there is overwritten.",
)
@click.option(
    "--rendition",
    metavar="R",
    default="original",
    show_default=True,
    help="original, preview or preview:PX.",
)
@click.pass_obj
def command(settings: Settings, what: tuple[str, ...], out: Path, rendition: str) -> None:
    """Write your own pictures as files; the log keeps that you did.

    Example: safelight export launch -o ~/Desktop/launch --rendition preview:2048
    """
    from node.cli import output, reach
    from node.control.schema import Export

    params = Export(what=list(what), out=absolute(out), rendition=rendition)
    result = reach.call(settings, "export", params, bar=True)
    output.present(result, show_files, as_json=settings.json)


def show_files(result: dict[str, Any]) -> None:
    """Write the files of a result for people."""
    from node.cli import output

    output.table(
        ("file", "bytes", "sha-256"),
        [
            (file["path"] or "in the vault", output.size(file["bytes"]), file["sha256"][:16])
            for file in result["files"]
        ],
        empty="nothing was written",
    )
