"""Options and arguments that several commands share, but not all of them.

Belongs here: one name for each, so that it reads the same wherever it stands.
Never here: what every command has (``common``), or what a command does with them.
"""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.complete import images_and_albums

pictures_argument = click.argument(
    "what",
    nargs=-1,
    required=True,
    metavar="IMAGE|ALBUM...",
    shell_complete=images_and_albums,
    help="Names, ids or their beginnings.",
)
out_folder = click.option(
    "-o",
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; nothing there is overwritten.",
)
