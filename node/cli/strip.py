"""`safelight strip`.

Belongs here: reading files, writing their clean copies, and saying what became of each.
Never here: what is removed (``node.imaging.strip``). It needs no vault and no node.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.common import Settings, listed, new_command
from node.cli.options import out_folder

if TYPE_CHECKING:
    from node.cli.diagnostics import ExitCode
    from node.imaging.pool import ImagingPool
    from node.imaging.strip.policy import StripPolicy

_KEEP: Final = {
    "capture-time": "capture_time",
    "depth-maps": "depth_maps",
    "previews": "previews",
}
"""What `--keep` may name, and the switch that it turns on."""


@new_command("strip")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    # One that cannot be read is named among the others.
    type=click.Path(readable=False, path_type=Path),
    help="Pictures: JPEG, PNG, WebP, GIF, TIFF, HEIC or AVIF.",
)
@out_folder
@click.option(
    "--keep",
    metavar="WHAT",
    multiple=True,
    help="Keep capture-time, depth-maps or previews too; with commas or repeated.",
)
@click.option("--drop-gain-maps", is_flag=True, help="Remove what bright screens use as well.")
@click.pass_obj
def command(
    settings: Settings, files: tuple[Path, ...], out: Path, keep: tuple[str, ...],
    drop_gain_maps: bool,
) -> ExitCode:  # fmt: skip
    """Write clean copies of picture files: no position, no names, no hidden pictures.

    Example: safelight strip ~/Pictures/launch/*.jpg -o ~/Desktop/clean

    No pixel changes: the picture is taken over as it is coded, and compared. Orientation
    and colour profile stay. A file that cannot be cleaned is named, and the rest goes on.
    """
    import asyncio

    from node.cli import diagnostics, output
    from node.cli.diagnostics import ExitCode
    from node.imaging.strip.policy import StripPolicy

    policy = StripPolicy(gain_maps=not drop_gain_maps, **_switches(keep))
    folder = out.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    result = asyncio.run(_strip(files, folder, policy, bar=not settings.json))
    output.present(result, _people, as_json=settings.json)
    if not settings.json and result["failed"]:
        for failure in result["failed"]:
            diagnostics.note(f"not cleaned: {failure['path']}: {failure['message']}")
        diagnostics.note(f"{output.plural(len(result['failed']), 'file')} not cleaned")
    return ExitCode.DONE if result["files"] else ExitCode.FAILED


def _switches(keep: tuple[str, ...]) -> dict[str, bool]:
    named = listed(keep)
    if unknown := [word for word in named if word not in _KEEP]:
        raise click.BadParameter(
            f"{unknown[0]!r} is none of {', '.join(_KEEP)}", param_hint="--keep"
        )
    return {_KEEP[word]: True for word in named}


async def _strip(
    files: tuple[Path, ...], folder: Path, policy: StripPolicy, *, bar: bool
) -> dict[str, Any]:
    """Clean every file, as many at a time as there are processors; results in the given order."""
    import asyncio
    import os

    from node.cli.progress import Bar
    from node.imaging.pool import ImagingPool

    places = asyncio.Semaphore(os.cpu_count() or 1)
    pool = ImagingPool()
    done = 0
    try:
        await pool.start()
        with Bar(enabled=bar) as shown:

            async def one(path: Path) -> dict[str, Any]:
                nonlocal done
                async with places:
                    result = await _strip_one(pool, path, folder, policy)
                done += 1
                shown.report(done, len(files), f"cleaning {path.name}")
                return result

            results = await asyncio.gather(*map(one, files))
    finally:
        await pool.close()
    return {
        "files": [result for result in results if "out" in result],
        "failed": [result for result in results if "out" not in result],
    }


async def _strip_one(
    pool: ImagingPool, path: Path, folder: Path, policy: StripPolicy
) -> dict[str, Any]:
    """Write the clean copy of one file, and say what became of it."""
    import asyncio

    from node.cli.reading import read_picture
    from node.imaging.strip.parts import MAX_FILE_BYTES
    from protocol.errors import SafelightError

    try:
        data = await asyncio.to_thread(read_picture, path, MAX_FILE_BYTES)
        copy = await pool.clean(data, policy=policy)
        target = folder / path.name
        await asyncio.to_thread(_write, target, copy.data)
    except SafelightError as error:
        return {"path": str(path), "code": error.code, "message": str(error)}
    return {
        "path": str(path),
        "out": str(target),
        "removed": list(copy.disclosure.removed),
        "kept": list(copy.disclosure.kept),
        "pixels_identical": True,
    }


def _write(target: Path, data: bytes) -> None:
    """Write a new file and read it back; LocalError where that fails, and then there is none."""
    from node.cli.files import PUBLIC, new_file
    from protocol.errors import LocalError

    try:
        with new_file(target, PUBLIC) as write:
            write(data)
            if target.read_bytes() != data:
                raise LocalError("the copy on disk is not what was written", code="write_failed")
    except FileExistsError:
        raise LocalError(
            f"{target} exists and is never overwritten", code="exists", hint="name another folder"
        ) from None
    except OSError as error:
        raise LocalError(f"cannot write {target}: {error.strerror}", code="write_failed") from None


def _people(result: dict[str, Any]) -> None:
    from node.cli import output

    for file in result["files"]:
        output.line(output.plain(file["out"]))
        _listed("removed", file["removed"] or ["nothing: it carried nothing"], output.line)
        _listed("kept", file["kept"], output.line)
        output.line("  every pixel is the same")


def _listed(word: str, lines: list[str], show: Callable[[str], None]) -> None:
    for number, line in enumerate(lines):
        show(f"  {word if not number else '':<8}{line}")
