"""`safelight watermark`.

Belongs here: the command.
Never here: drawing, or which copies are marked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, new_command


@new_command("watermark")
@click.option(
    "--logo",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A PNG, best one with transparency.",
)
@click.option("--no-logo", is_flag=True, help="Words alone, from now on.")
@click.pass_obj
def command(settings: Settings, logo: Path | None, no_logo: bool) -> None:
    """Set or show the logo that your watermarks bear before the holder's name.

    Example: safelight watermark --logo ~/Pictures/logo.png

    A small copy of it is kept in the vault. Copies that exist already stay as they are. How
    strong a watermark is follows from the pictures' classification.
    """
    from node.cli import output, reach
    from node.control.schema import Watermark

    params = Watermark(logo=None if logo is None else absolute(logo), no_logo=no_logo)

    def people(said: dict[str, Any]) -> None:
        kept = said["logo"]
        output.line(
            "no logo: watermarks are words alone"
            if kept is None
            else f"a logo of {kept['width']}×{kept['height']} pixels, {output.size(kept['bytes'])}"
        )

    output.present(reach.call(settings, "watermark", params), people, as_json=settings.json)
