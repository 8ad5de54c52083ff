"""`safelight open`.

Belongs here: spending an open, drawing the picture, ending the viewer with the command.
Never here: decoding, or keeping pixels.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import held, held_images
from node.cli.factor import factor_option, with_factor

if TYPE_CHECKING:
    from node.control.client import ControlClient


@new_command("open")
@click.argument("capability", metavar="CAP", shell_complete=held, help="An id or its beginning.")
@click.argument(
    "image",
    required=False,
    shell_complete=held_images,
    help="Which one, where there are several.",
)
@factor_option
@click.pass_obj
def command(
    settings: Settings, capability: str, image: str | None, factor_file: Path | None
) -> None:
    """Open a picture that is shared with you; spends one open, which its owner logs.

    Example: safelight open 3f9a12c4 harbour.jpg

    Draws the picture where there is a terminal. Where there is a second factor, asks for
    its phrase.
    """
    from node.cli import output, reach
    from node.control.schema import CloseOpen, Open

    async def job(client: ControlClient) -> Any:
        async def attempt(factor: str | None) -> Any:
            params = Open(capability=capability, image=image, factor=factor)
            return await reach.ask(client, "open", params, bar=not settings.json)

        opened = await with_factor(attempt, factor_file)
        try:
            if output.is_terminal() and not settings.json:
                await _draw(client, opened["open_id"])
        finally:
            closed = await client.call("close_open", CloseOpen(open_id=opened["open_id"]))
        return {**opened, **closed}

    output.present(reach.with_node(settings, job), _people, as_json=settings.json)


async def _draw(client: ControlClient, open_id: str) -> None:
    """Draw an opened picture. Where that fails the open is spent all the same, and says so."""
    from node.cli import diagnostics, output, picture
    from node.control.schema import OpenPixels
    from protocol.errors import SafelightError

    canvas = picture.canvas()
    width, height = canvas.box()
    try:
        pixels = await client.call(
            "open_pixels", OpenPixels(open_id=open_id, width=width, height=height)
        )
        rgb = base64.b64decode(pixels["rgb"], validate=True)
        for line in picture.draw(rgb, pixels["width"], pixels["height"], canvas):
            output.raw(line + "\n")
    except (SafelightError, ValueError) as error:
        diagnostics.warn(f"cannot draw the picture: {error}")


def _people(opened: dict[str, Any]) -> None:
    from node.cli import diagnostics, output

    if undeclared := opened.get("undeclared"):
        diagnostics.warn(
            "the picture carries what its issuer did not declare: "
            + output.plain(", ".join(undeclared)),
            hint="the log has it; ask the issuer",
        )
    name = output.plain(opened.get("name") or output.short(opened["image"]))
    output.line(
        f"{name}  {opened['width']}×{opened['height']} {opened['format']}, "
        f"{output.size(opened['bytes'])}"
    )
    output.line(
        f"{output.plural(opened['opens_left'], 'open')} left; "
        f"entry {opened['log']['index']} of {opened['log']['origin']}"
    )
