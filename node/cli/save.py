"""`safelight save`.

Belongs here: the command.
Never here: writing pictures (the node does, into the vault or a folder).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, absolute, new_command
from node.cli.complete import held, held_images
from node.cli.factor import factor_option, with_factor

if TYPE_CHECKING:
    from node.control.client import ControlClient


@new_command("save")
@click.argument("capability", metavar="CAP", shell_complete=held, help="An id or its beginning.")
@click.argument(
    "images", nargs=-1, metavar="[IMAGE]...", shell_complete=held_images, help="Only these."
)
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write files here instead, overwriting none.",
)
@factor_option
@click.pass_obj
def command(
    settings: Settings,
    capability: str,
    images: tuple[str, ...],
    out: Path | None,
    factor_file: Path | None,
) -> None:
    """Keep pictures that are shared with you; spends an open each.

    Example: safelight save 3f9a12c4 -o ~/Desktop

    Needs the right `save`. Without -o the pictures go into your own vault, with where
    they came from.
    """
    from node.cli import diagnostics, output, reach
    from node.cli.export import show_files
    from node.control.schema import Save

    async def job(client: ControlClient) -> Any:
        async def attempt(factor: str | None) -> Any:
            params = Save(
                capability=capability,
                images=list(images),
                out=None if out is None else absolute(out),
                factor=factor,
            )
            return await reach.ask(client, "save", params, bar=not settings.json)

        return await with_factor(attempt, factor_file)

    def people(saved: dict[str, Any]) -> None:
        files = saved["files"]
        if undeclared := sorted({one for file in files for one in file.get("undeclared", ())}):
            diagnostics.warn(
                "there are pictures that carry what their issuer did not declare: "
                + output.plain(", ".join(undeclared)),
                hint="the log has it; ask the issuer",
            )
        show_files(saved)

    output.present(reach.with_node(settings, job), people, as_json=settings.json)
