"""Importing: which files, into which album, with what tags and classification.

Belongs here: the dialog, and completing paths.
Never here: reading or judging a file (the node does).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from os.path import commonprefix  # of letters, as a shell completes
from pathlib import Path
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from node.cli.common import absolute
from node.control.schema import Import
from tui.screens.dialog import Dialog
from tui.text import clean, letters

CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")
_MOST_SHOWN: Final = 8


def meant(text: str) -> str:
    """Return the path that is meant where a whole one was typed after the one that stood there."""
    start = max(text.rfind("//") + 1, text.rfind("/~/") + 1)
    return text[start:]


def path_of(text: str) -> Path:
    """Return a typed path, with the home folder in the place of ``~``."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # Nobody here is called so: the name of a file, maybe.
        return Path(text)


def completions(text: str) -> tuple[str, list[str]]:
    """Return a path as far as it can only go on, and the names that fit where there are several.

    Folders end with a slash. Hidden names are among them only where a dot was typed, and names
    that a terminal would act upon never: their folder brings them.
    """
    path = path_of(text)
    folder, start = (path, "") if text.endswith("/") else (path.parent, path.name)
    try:
        fitting = sorted(
            one.name + ("/" if one.is_dir() else "")
            for one in folder.iterdir()
            if one.name.startswith(start)
            and (start or not one.name.startswith("."))
            and letters(one.name) == one.name
        )
    except OSError:
        return text, []
    if not fitting:
        return text, []
    return str(folder / commonprefix(fitting)) + (  # noqa: RUF071
        "/" if len(fitting) == 1 and fitting[0].endswith("/") else ""
    ), fitting


class ImportDialog(Dialog["Import | None"]):
    """Asks for a path and what to note of the pictures; Enter imports from any line."""

    DEFAULT_CSS = """
    ImportDialog .row { height: 1; }
    ImportDialog .row .label { width: 10; height: 1; }
    ImportDialog .row Input { width: 1fr; }
    ImportDialog #fitting { height: auto; max-height: 3; color: $dim; }
    """

    HINTS = (("Enter", "imports"), ("Tab", "completes, goes on"), ("dialog.cancel", "cancels"))

    def __init__(
        self, *, path: str, album: str = "", albums: Sequence[str] = (), again: Import | None = None
    ) -> None:
        """``again`` is what was typed for an import that did not end by itself."""
        super().__init__()
        self._tags = self._class = ""
        if again is not None:
            path, album = again.paths[0], again.album or ""
            self._tags, self._class = ", ".join(again.tags), again.classification
        self._path = path
        self._album = album
        self._albums = tuple(albums)

    def compose(self) -> ComposeResult:
        """Lay out the lines."""
        with Vertical(classes="box"):
            yield Static(Content("Import pictures"), classes="heading")
            yield Static(Content("A file or a folder:"), classes="words")
            yield Input(value=self._path, id="path", select_on_focus=False)
            yield Static(id="fitting")
            for name, value, words in (
                ("album", self._album, self._albums),
                ("tags", self._tags, ()),
                ("class", self._class or "internal", CLASSIFICATIONS),
            ):
                with Horizontal(classes="row"):
                    yield Static(Content(name), classes="label")
                    yield Input(
                        value=value,
                        id=name,
                        select_on_focus=name == "class",
                        suggester=SuggestFromList(words, case_sensitive=False) if words else None,
                    )
            yield Static("", classes="wrong")

    def on_mount(self) -> None:
        """Begin with the path."""
        self.set_focus(self.query_one("#path", Input))

    async def on_key(self, event: events.Key) -> None:
        """Complete the path with Tab as far as it can only go on; then go to the next line."""
        path = self.query_one("#path", Input)
        if event.key != "tab" or self.focused is not path:
            return
        event.stop()
        event.prevent_default()
        if meant(path.value) != path.value:
            path.value = meant(path.value)
        typed = path.value
        longer, fitting = await asyncio.to_thread(completions, typed)
        if path.value != typed:
            return  # Somebody types on.
        shown = [clean(one) for one in fitting[:_MOST_SHOWN]] if len(fitting) > 1 else []
        more = len(fitting) - len(shown)
        said = "  ".join(shown) + (f"  and {more} more" if shown and more else "")
        self.query_one("#fitting", Static).update(Content(said))
        if longer in (typed, typed.rstrip("/")) or not fitting:
            if len(fitting) < 2 or typed.endswith("/"):
                self.query_one("#album", Input).focus()
            return
        path.value = longer
        path.cursor_position = len(longer)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with what was typed."""
        event.stop()
        values = {one: self.query_one(f"#{one}", Input).value.strip() for one in _LINES}
        typed = meant(self.query_one("#path", Input).value)
        if not typed.strip():
            self._wrong("a path is needed", "path")
        elif values["class"] not in CLASSIFICATIONS:
            self._wrong("the class is one of " + ", ".join(CLASSIFICATIONS), "class")
        elif not self.stays():
            self.run_worker(partial(self._end, typed, values))

    async def _end(self, typed: str, values: Mapping[str, str]) -> None:
        path = path_of(typed)
        if not await asyncio.to_thread(os.path.lexists, path):
            self._wrong(f"there is no {clean(str(path))}", "path")
            return
        self.dismiss(
            Import(
                paths=[absolute(path)],
                album=values["album"] or None,
                tags=[one for one in (tag.strip() for tag in values["tags"].split(",")) if one],
                classification=values["class"],
            )
        )

    def _wrong(self, text: str, where: str) -> None:
        self.query_one(".wrong", Static).update(Content(text))
        self.set_focus(self.query_one(f"#{where}", Input))


_LINES: Final = ("album", "tags", "class")
