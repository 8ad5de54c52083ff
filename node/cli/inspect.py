"""`safelight inspect`.

Belongs here: the command, and how findings are laid out for people.
Never here: finding anything (``node.imaging.inspect``). A file needs no vault and no node; a
picture of the vault is looked at by the node.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from node.cli.common import Settings, new_command

_HEADINGS: Final = {
    "where": "Where",
    "when": "When",
    "who": "Who",
    "device": "Which device",
    "hidden": "Hidden pictures and data",
    "edits": "Edits",
    "provenance": "Provenance",
    "text": "What somebody wrote",
    "other": "Everything else",
}


@new_command("inspect")
@click.argument("what", metavar="FILE|IMAGE", help="A picture file, or a picture of yours.")
@click.option("--tags", is_flag=True, help="Show every tag too, as the file has it.")
@click.pass_obj
def command(settings: Settings, what: str, tags: bool) -> None:
    """Show what a picture tells besides its pixels: where, when, who, with what.

    Example: safelight inspect ~/Pictures/launch/harbour.jpg

    What names no file is looked for among your pictures. Nothing is changed, sent or decoded.
    `safelight strip` makes a copy of a file without it; `clean` shares leave it out.
    """
    from node.cli import output

    path = Path(what)
    is_file = os.sep in what or os.path.lexists(path)
    found = _of_file(path) if is_file else _of_picture(settings, what)
    findings = [
        {name: finding[name] for name in ("group", "tag", "value", "sensitive")}
        for finding in found
        if finding["plain"] or tags
    ]
    output.present(
        {"findings": findings}, lambda result: _people(result, tags=tags), as_json=settings.json
    )


def _of_file(path: Path) -> list[dict[str, Any]]:
    """Look into a file, without a vault or a node, in a confined process all the same."""
    import asyncio
    from dataclasses import asdict

    from node.cli.reading import read_picture
    from node.imaging.pool import ImagingPool
    from node.imaging.strip.parts import MAX_FILE_BYTES

    async def look() -> list[dict[str, Any]]:
        pool = ImagingPool(1)
        try:
            contents = await pool.inspect(data)
        finally:
            await pool.close()
        if contents.problem is not None and not contents.findings:
            raise contents.problem
        return [asdict(one) for one in contents.findings]

    data = read_picture(path, MAX_FILE_BYTES)
    return asyncio.run(look())


def _of_picture(settings: Settings, image: str) -> list[dict[str, Any]]:
    """Look into the original of a picture of the vault."""
    from node.cli import reach
    from node.control.schema import Inspect

    found: list[dict[str, Any]] = reach.call(settings, "inspect", Inspect(image=image))["findings"]
    return found


def _people(result: dict[str, Any], *, tags: bool) -> None:
    from node.cli import output

    if not result["findings"]:
        output.line("nothing but pixels")
    for group, heading in _HEADINGS.items():
        found = [finding for finding in result["findings"] if finding["group"] == group]
        if found:
            output.line(heading)
        for finding in found:
            if tags:
                output.line(f"  {finding['tag']}: {finding['value']}")
            else:
                output.line(f"  {finding['value']}")
