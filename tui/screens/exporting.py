"""Exporting: own pictures as files in a folder.

Belongs here: which bytes, and where to.
Never here: writing a file (the node does, and logs it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from node.cli.common import absolute
from node.control.schema import Export
from tui.screens.choosing import Choose
from tui.screens.dialog import AskText
from tui.screens.importing import meant, path_of
from tui.screens.page import Page, Progress
from tui.text import clean, plural
from tui.widgets.pages import Row
from tui.widgets.rows import Column

_RENDITIONS: Final = (
    ("clean", "full size, nothing hidden in it"),
    ("preview", "smaller, nothing hidden in it"),
    ("original", "with everything hidden in it"),
)


async def export(page: Page, chosen: Sequence[Row], *, done: Callable[[], object]) -> None:
    """Ask which bytes and where to, and write them; ``done`` is called when that is over."""
    what = plural(len(chosen), "picture")
    rendition = await page.program.push_screen_wait(
        Choose(
            f"Export {what}",
            [{"name": name, "words": words} for name, words in _RENDITIONS],
            (
                Column(title="copies", text=lambda row: str(row["name"]), width=9),
                Column(title="", text=lambda row: str(row["words"])),
            ),
            key="name",
            empty="",
        )
    )
    if rendition is None:
        return
    name = str(rendition[1]["name"])
    folder = await page.program.push_screen_wait(
        AskText(
            f"Export {what}, {name}",
            "A folder to write to. Nothing there is overwritten; the log keeps it:",
            value=f"{Path.home()}/",
            needs="It needs a folder.",
        )
    )
    if folder is None:
        return
    into = str(path_of(meant(folder.strip())))
    params = _params(chosen, into, name)

    async def job(progress: Progress) -> Any:
        return await page.program.gateway.call("export", params, progress=progress)

    def told(answer: Any) -> str:
        done()
        said = f"wrote {plural(len(answer['files']), 'file')} to {clean(into)}"
        if failed := answer["failed"]:
            said += f", {len(failed)} failed: {failed[0]['name']}: {failed[0]['message']}"
        return said

    page.work("exporting", job, done=told)


def _params(chosen: Sequence[Row], folder: str, rendition: str) -> Export:
    return Export(
        what=[str(one["id"]) for one in chosen],
        out=absolute(Path(folder)),
        rendition=rendition,
    )
