"""`safelight import`.

Belongs here: the command, and removing files that `--move` gave away.
Never here: decoding or sealing (the node does both).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, new_command
from node.cli.complete import albums

CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")


@new_command("import")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    type=click.Path(path_type=Path),
    help="Pictures, and folders of pictures.",
)
@click.option("--album", metavar="A", shell_complete=albums, help="Put them into this album.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="Tag them; may be repeated.")
@click.option(
    "--classification",
    type=click.Choice(CLASSIFICATIONS),
    default="internal",
    show_default=True,
    help="The ceiling of what may be granted.",
)
@click.option("--move", is_flag=True, help="Remove each file once it is safe in the vault.")
@click.pass_obj
def command(
    settings: Settings,
    paths: tuple[Path, ...],
    album: str | None,
    tags: tuple[str, ...],
    classification: str,
    move: bool,
) -> None:
    """Import pictures into the vault: files, and folders with all below them.

    Example: safelight import ~/Pictures/launch --album launch --tag press

    A picture that is there already is recognised and not stored twice. A file that is
    no picture is named, and the rest goes on.
    """
    from node.cli import diagnostics, output, reach
    from node.control.schema import Import

    result = reach.call(
        settings,
        "import",
        Import(
            paths=[absolute(path) for path in paths],
            album=album,
            tags=list(tags),
            classification=classification,
        ),
        bar=True,
    )
    if move:
        _remove({image["sha256"] for image in result["images"]}, paths)
    output.present(result, _people, as_json=settings.json)
    if not settings.json and result["failed"]:
        for failure in result["failed"]:
            diagnostics.note(f"not imported: {failure['path']}: {failure['message']}")
        diagnostics.note(f"{output.plural(len(result['failed']), 'file')} not imported")


def _people(result: dict[str, Any]) -> None:
    from node.cli import output

    output.table(
        ("name", "size", "format", "bytes", "class", "new", "id"),
        [
            (
                image["name"],
                f"{image['width']}×{image['height']}",
                image["format"],
                output.size(image["bytes"]),
                image["classification"],
                not image["duplicate"],
                output.short(image["id"]),
            )
            for image in result["images"]
        ],
        empty="nothing was imported",
    )


def _remove(imported: set[str], paths: tuple[Path, ...]) -> None:
    """Remove the files whose very bytes are in the vault now; all others stay."""
    for path in _files(paths):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest in imported:
            path.unlink()


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        for folder, _, names in os.walk(path):
            yield from (file for name in sorted(names) if (file := Path(folder, name)).is_file())
