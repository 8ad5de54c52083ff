"""`safelight export`.

Belongs here: the command.
Never here: writing pictures (the node writes and logs them).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, new_command
from node.cli.options import out_folder, pictures_argument


@new_command("export")
@pictures_argument
@out_folder
@click.option(
    "--rendition",
    metavar="R",
    default="original",
    show_default=True,
    help="original, clean, preview or preview:PX.",
)
@click.option("--credit", metavar="NAME", default="", help="Write who made them into the copies.")
@click.option(
    "--copyright", "notice", metavar="TEXT", default="", help="Write whose they are into them."
)
@click.option("--terms", metavar="TEXT", default="", help="Usage terms beside the credit.")
@click.option("--no-credit", is_flag=True, help="Write no credit, not even the album's.")
@click.pass_obj
def command(
    settings: Settings, what: tuple[str, ...], out: Path, rendition: str, credit: str,
    notice: str, terms: str, no_credit: bool,
) -> None:  # fmt: skip
    """Write your own pictures as files; the log keeps that you did.

    Example: safelight export launch -o ~/Desktop/launch --rendition clean

    `clean` and `preview` are made as they are for a share: without hidden metadata, and with
    the album's credit where it has one. A picture that cannot be cleaned is named, and the
    rest goes on.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import Export

    params = Export(
        what=list(what),
        out=absolute(out),
        rendition=rendition,
        credit=credit,
        copyright_notice=notice,
        terms=terms,
        no_credit=no_credit,
    )
    result = reach.call(settings, "export", params, bar=True)
    output.present(result, show_files, as_json=settings.json)
    if not settings.json:
        instead = "; a preview can be" if rendition == "clean" else ""
        for failure in result["failed"]:
            name, message = output.plain(failure["name"]), output.plain(failure["message"])
            diagnostics.note(f"not exported: {name}: {message}{instead}")


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
