"""`safelight show`.

Belongs here: the command.
Never here: the picture itself; `open` and the screens show pixels.
"""

from __future__ import annotations

import click

from node.cli.common import Settings, new_command
from node.cli.complete import images


@new_command("show")
@click.argument("image", shell_complete=images, help="A name, an id or its beginning.")
@click.pass_obj
def command(settings: Settings, image: str) -> None:
    """Show everything about one of your pictures, and who may open it.

    Example: safelight show harbour.jpg
    """
    from node.cli import output, reach
    from node.control.schema import Show

    result = reach.call(settings, "show", Show(image=image))
    output.present(result, output.details, as_json=settings.json)
