"""Doctor: whether this machine, this terminal and this node are as they should be.

Belongs here: the node's checks and those of the terminal, in one list.
Never here: making a check of the node (``node.services.doctor``).
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from node.control.schema import Doctor
from tui.keymap import keymap_path
from tui.pictures.terminal import SETTING, USUAL_CELL, Pictures
from tui.screens.listed import ListPage, lines
from tui.settings import settings_path
from tui.text import plural
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Column

if TYPE_CHECKING:
    from tui.widgets.pages import Row

_SIGNS = {"ok": ("✓ ok", "ok"), "warning": ("! look", "warn"), "problem": ("✕ bad", "bad")}


class DoctorScreen(ListPage):
    """The checks."""

    NAME = "Doctor"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "look again", show=False, id="doctor.again"),
    ]

    def columns(self) -> Sequence[Column]:
        """Return the columns: how it stands, what was looked at, what was found."""
        return (
            Column(
                title="state",
                text=lambda row: _SIGNS.get(row["state"], (row["state"], ""))[0],
                style=lambda row: _SIGNS.get(row["state"], ("", ""))[1],
                width=7,
            ),
            Column(title="check", text=lambda row: str(row["check"]), width=18, narrow=10),
            Column(title="found", text=lambda row: str(row["message"])),
        )

    def key_of(self, row: Row) -> Hashable:
        """Return the name of a check."""
        return str(row["check"])

    def told(self, row: Row) -> Content:
        """Return the whole of the check under the cursor."""
        return lines(str(row["message"]), str(row.get("hint") or ""))

    def beside(self) -> str:
        """Return how many checks there are, and how many need a look."""
        total = self.rows.total
        states = [(self.rows.pages.row(place) or {}).get("state") for place in range(total)]
        parts = [plural(total, "check")] if total else []
        for state, words in (("problem", "bad"), ("warning", "to look at")):
            if count := states.count(state):
                parts.append(f"! {count} {words}")
        return " · ".join(parts)

    def keys(self) -> Sequence[Key]:
        """Return the keys here."""
        return (self.bound("doctor.again", "look again", "again"),)

    async def load(self) -> None:
        """Ask the node, and look at the terminal."""
        answer = await self.program.gateway.call("doctor", Doctor())
        program = self.program
        rows = terminal_checks(
            os.environ, program.pictures, self.app.size.width, program.painter.cell
        )
        rows += [settings_check(self.program.problems)]
        rows += [dict(one) for one in answer["checks"]]
        self.rows.show(Fixed(rows), keep=self.rows.pages.loaded)

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


def terminal_checks(
    environment: Mapping[str, str],
    pictures: Pictures,
    columns: int,
    cell: tuple[int, int] = USUAL_CELL,
) -> list[Row]:
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
            "message": "kitty: pixels, which the terminal itself draws, "
            f"{cell[0]} × {cell[1]} to a cell"
            if pictures is Pictures.KITTY
            else pictures.value,
            "hint": _other_pictures(environment, pictures),
        },
    ]


def _other_pictures(environment: Mapping[str, str], pictures: Pictures) -> str:
    """Return how to have pictures drawn otherwise."""
    if pictures is not Pictures.KITTY and environment.get("TMUX"):
        return (
            f"{SETTING}=kitty draws pixels in tmux, where allow-passthrough is on and the terminal"
            " around it is Ghostty, or kitty from 0.28.0 on"
        )
    if pictures is Pictures.SEXTANTS and "kitty" in environment.get("TERM", ""):
        return f"kitty draws pixels from 0.28.0 on, where it answers; else {SETTING}=kitty"
    return f"{SETTING}=quadrants, halves or off chooses otherwise"
