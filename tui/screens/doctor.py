"""Doctor: whether this machine, this terminal and this node are as they should be.

Belongs here: the node's checks and those of the terminal, in one list.
Never here: making a check of the node (``node.services.doctor``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Doctor
from tui.keymap import keymap_path
from tui.pictures.terminal import SETTING, Pictures
from tui.screens.page import Page
from tui.settings import settings_path
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Column, Moved, Rows

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.widgets.pages import Row

_SIGNS = {"ok": ("✓ ok", "ok"), "warning": ("! look", "warn"), "problem": ("✕ bad", "bad")}


class DoctorScreen(Page):
    """The checks."""

    NAME = "Doctor"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "look again", show=False, id="doctor.again"),
    ]
    DEFAULT_CSS = """
    DoctorScreen Rows { height: 1fr; }
    DoctorScreen .told { height: auto; max-height: 5; padding: 0 1; background: $surface; }
    """

    def body(self) -> ComposeResult:
        """Give the list and the words of the check under the cursor."""
        yield Rows(
            (
                Column(
                    title="",
                    text=lambda row: _SIGNS.get(row["state"], (row["state"], ""))[0],
                    style=lambda row: _SIGNS.get(row["state"], ("", ""))[1],
                    width=7,
                ),
                Column(title="check", text=lambda row: str(row["check"]), width=18),
                Column(title="", text=lambda row: str(row["message"])),
            ),
            key=lambda row: row["check"],
        )
        yield Static(classes="told")

    @property
    def rows(self) -> Rows:
        """The list."""
        return self.query_one(Rows)

    def first(self) -> Widget:
        """Let the list take keys."""
        return self.rows

    def beside(self) -> str:
        """Return nothing: the list says it."""
        return ""

    def keys(self) -> Sequence[Key]:
        """Return the keys here."""
        return (Key("r", "look again", "again"),)

    async def load(self) -> None:
        """Ask the node, and look at the terminal."""
        answer = await self.program.gateway.call("doctor", Doctor())
        rows = terminal_checks(os.environ, self.program.pictures, self.app.size.width)
        rows += [settings_check(self.program.problems)]
        rows += [dict(one) for one in answer["checks"]]
        self.rows.show(Fixed(rows), keep=self.rows.pages.loaded)

    def on_moved(self, _message: Moved) -> None:
        """Say the whole of the check under the cursor."""
        row = self.rows.current
        said = "" if row is None else "\n".join(filter(None, (row["message"], row.get("hint"))))
        self.query_one(".told", Static).update(Content(said))
        self.refresh_frame()

    def action_again(self) -> None:
        """Look again."""
        self.reload()


def settings_check(problems: Sequence[str]) -> Row:
    """Return whether the files of settings and keys are as they should be."""
    return {
        "check": "settings",
        "state": "warning" if problems else "ok",
        "message": "; ".join(problems) or str(settings_path()),
        "hint": f"settings: {settings_path()}; keys: {keymap_path()}",
    }


def terminal_checks(environment: Mapping[str, str], pictures: Pictures, columns: int) -> list[Row]:
    """Return what can be told of the terminal: kind, colours, how pictures are drawn."""
    term = environment.get("TERM", "")
    true = environment.get("COLORTERM", "").lower() in {"truecolor", "24bit"}
    grey = bool(environment.get("NO_COLOR"))
    return [
        {
            "check": "terminal",
            "state": "ok" if term not in {"", "dumb"} else "warning",
            "message": f"{term or 'unknown'}, {columns} columns"
            + (", in tmux" if environment.get("TMUX") else ""),
            "hint": "",
        },
        {
            "check": "colour",
            "state": "ok" if true or grey else "warning",
            "message": "greys, as NO_COLOR asks"
            if grey
            else ("24 bits" if true else "256 colours: pictures show bands"),
            "hint": "" if true or grey else "where the terminal has more: COLORTERM=truecolor",
        },
        {
            "check": "pictures",
            "state": "ok" if pictures is not Pictures.OFF else "warning",
            "message": pictures.value,
            "hint": f"{SETTING}=quadrants, halves or off chooses otherwise",
        },
    ]
