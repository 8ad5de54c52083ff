"""`safelight fetch`.

Belongs here: the command.
Never here: transfer.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import held, held_images


@new_command("fetch")
@click.argument("capability", metavar="CAP", shell_complete=held, help="An id or its beginning.")
@click.argument(
    "images", nargs=-1, metavar="[IMAGE]...", shell_complete=held_images, help="Only these."
)
@click.pass_obj
def command(settings: Settings, capability: str, images: tuple[str, ...]) -> None:
    """Fetch sealed pictures ahead of time; nothing is opened and no open is spent.

    Example: safelight fetch 3f9a12c4

    A later `open` then needs its issuer for a moment only.
    """
    from node.cli import output, reach
    from node.control.schema import Fetch

    params = Fetch(capability=capability, images=list(images))
    result = reach.call(settings, "fetch", params, bar=True)

    def people(fetched: dict[str, Any]) -> None:
        output.line(f"{output.plural(fetched['fetched'], 'picture')} fetched, still sealed")
        if waiting := fetched.get("not_ready"):
            output.line(f"{output.plural(waiting, 'picture')} not ready yet")

    output.present(result, people, as_json=settings.json)
