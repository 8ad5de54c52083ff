"""`safelight import`.

Belongs here: the command, and its words for people.
Never here: reading, sealing or removing files (the node does it all).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from node.cli.common import Settings, absolute, new_command
from node.cli.complete import albums

if TYPE_CHECKING:
    from node.cli.diagnostics import ExitCode
    from node.control.client import ControlClient
    from node.control.schema import Import

_LOOK_SECONDS: Final = 1.0
"""Between two looks at watched folders."""

CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")


@new_command("import")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    # One that cannot be read is named among the others.
    type=click.Path(readable=False, path_type=Path),
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
@click.option("--watch", is_flag=True, help="Go on with what comes into them, until Ctrl-C.")
@click.pass_obj
def command(
    settings: Settings,
    paths: tuple[Path, ...],
    album: str | None,
    tags: tuple[str, ...],
    classification: str,
    move: bool,
    watch: bool,
) -> ExitCode:
    """Import pictures into the vault: files, and folders with all below them.

    Example: safelight import ~/Pictures/launch --album launch --tag press

    A picture that is there already is recognised and not stored twice. A file that is
    no picture is named, and the rest goes on. Files of edits (.xmp, .aae, .thm) beside a
    picture are kept with it.

    With --watch a file is imported once it has been left alone for two seconds, and with
    --json each import is one document on a line of its own.
    """
    from node.cli import reach
    from node.cli.diagnostics import Diagnosis, ExitCode
    from node.control.schema import Import

    params = Import(
        paths=[_sendable(path) for path in paths],
        album=album,
        tags=list(tags),
        classification=classification,
        move=move,
    )
    if watch:
        reach.with_node(settings, lambda client: _watch(client, params, settings))
    result = reach.call(settings, "import", params, bar=True)
    if result["images"] or not result["failed"]:
        _present(result, settings)
        return ExitCode.DONE
    nothing = Diagnosis(code="nothing_imported", message="nothing was imported")
    _present({**result, **nothing.document()}, settings)
    return nothing.exit_code


async def _watch(client: ControlClient, params: Import, settings: Settings) -> NoReturn:
    """Import what is there and what comes, whenever it has been left alone."""
    import asyncio

    import msgspec

    from node.cli import diagnostics, reach
    from node.services.watching import Watch

    now = asyncio.get_running_loop().time
    watch = Watch(params.paths)
    if not settings.json:
        diagnostics.note("watching until Ctrl-C")
    while True:
        ready, failed = await asyncio.to_thread(watch.look, now())
        if ready:
            some = msgspec.structs.replace(params, paths=[_sendable(path) for path in ready])
            result = await reach.ask(client, "import", some, bar=not settings.json)
            _present({**result, "failed": result["failed"] + failed}, settings)
            failed = []
        if failed:
            _present({"images": [], "failed": failed}, settings)
        await asyncio.sleep(_LOOK_SECONDS)


def _present(result: dict[str, Any], settings: Settings) -> None:
    """Write what an import did: for people what they have to know on stderr."""
    from node.cli import diagnostics, output

    output.present(result, _people, as_json=settings.json)
    if settings.json:
        return
    for image in result["images"]:
        if image["similar"]:
            others = [f"{one['name']} ({output.short(one['id'])})" for one in image["similar"]]
            diagnostics.note(f"{image['name']} looks like {', '.join(others)}")
        if image["stays"]:
            diagnostics.note(f"not removed: {image['path']}: {image['stays']}")
    for failure in result["failed"]:
        what = "not removed" if failure["code"] == "not_removed" else "not imported"
        diagnostics.note(f"{what}: {failure['path']}: {failure['message']}")
    left_out = sum(failure["code"] != "not_removed" for failure in result["failed"])
    if left_out:
        diagnostics.note(f"{output.plural(left_out, 'file')} not imported")


def _sendable(path: Path) -> str:
    """Return a path as the node takes it; file names may be bytes that are no text."""
    text = absolute(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return Path(text).as_uri()
    return text


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
