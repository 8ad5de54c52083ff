"""Shared by me: what I granted, how it is used, and taking it back.

Belongs here: the list of capabilities that this node issued, revoking and extending.
Never here: granting (``share``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Extend, Revoke
from tui.screens.dialog import Answer, Ask, AskText
from tui.screens.inbox import state_column
from tui.screens.page import Page, marked_words
from tui.screens.share import way
from tui.text import plural
from tui.times import left
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Column, Marked, Moved, Rows

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.widgets.pages import Row

OVER = ("expired", "revoked", "lapsed")


def pictures_of_share(row: Row) -> str:
    """Return the names of a share's first pictures, and how many more there are."""
    names = ", ".join(str(one) for one in row["names"][:3])
    more = row["images"] - 3
    return names + (f" and {more} more" if more > 0 else "")


def _told(row: Row) -> str:
    """Return what a share grants, how far it is, and what is wrong with its pictures."""
    lines = [
        f"{row['holder']}: {', '.join(row['rights'])} of {plural(row['images'], 'picture')}, "
        f"{row['rendition']}; {way(row)}; {plural(row['opens'], 'open')} so far"
        + (", no member now" if row["former"] else "")
    ]
    lines += [
        f"✕ not ready: {one['name']}: {one['message']}; share a preview of it instead"
        for one in row["problems"][:4]
    ]
    if len(row["problems"]) > 4:
        lines.append(f"✕ and {len(row['problems']) - 4} more")
    return "\n".join(lines)


class SharesScreen(Page):
    """What I granted, the next to end first."""

    NAME = "Shared by me"
    LISTENS = frozenset(
        {
            *("released", "expired", "rendered", "rendition_failed", "denied", "departed"),
            *("log.issued", "log.delivered", "log.opened", "log.saved", "log.revoked"),
            *("log.revocation_seen", "log.amended"),
        }
    )
    DEFAULT_CSS = """
    SharesScreen Rows { height: 1fr; }
    SharesScreen .told { height: auto; max-height: 6; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "revoke", "revoke", show=False, id="shares.revoke"),
        Binding("e", "extend", "extend", show=False, id="shares.extend"),
        Binding("a", "all", "live or all", show=False, id="shares.all"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._all = False

    def body(self) -> ComposeResult:
        """Give the list."""
        yield Rows(
            (
                state_column(),
                Column(title="to", text=lambda row: str(row["holder"]), width=14),
                Column(title="pictures", text=pictures_of_share),
                Column(
                    title="opens",
                    text=lambda row: f"{row['opens']}/{row['opens'] + row['opens_left']}",
                    width=7,
                    least=60,
                ),
                Column(
                    title="on its way",
                    text=way,
                    style=lambda row: "bad" if row["problems"] else "",
                    width=20,
                    least=75,
                ),
                Column(title="ends in", text=lambda row: left(row["expires_at"]), width=9),
            ),
            key=lambda row: row["id"],
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
        """Return how many there are, and how many are marked."""
        which = "all" if self._all else "live"
        parts = [f"{self.rows.total:,} {which}", marked_words(len(self.rows.pages.marks))]
        return " · ".join(part for part in parts if part)

    def sentence(self) -> str:
        """Say what would stand here."""
        if not self.rows.pages.loaded or self.rows.total:
            return ""
        if self._all:
            return "You have shared nothing yet. Press 1, choose a picture, and press s."
        return "Nothing is shared now. a shows what is over; 1 and s share a picture."

    def keys(self) -> Sequence[Key]:
        """Return the keys of a share."""
        return (
            Key("x", "revoke", "revoke"),
            Key("e", "extend", "extend"),
            Key("a", "live/all", "all"),
            Key("space", "mark", "mark"),
        )

    async def load(self) -> None:
        """Fetch the list."""
        found = await self.program.gateway.call("shares")
        if not self._all:
            found = [one for one in found if one["state"] not in OVER]
        found.sort(key=lambda one: (one["state"] in OVER, one["expires_at"]))
        self.rows.show(Fixed(found), keep=self.rows.pages.loaded)

    def on_mount(self) -> None:
        """Count down."""
        self.set_interval(30, self.rows.refresh)

    def on_moved(self, _message: Moved) -> None:
        """Count what there is, and say all of the share under the cursor."""
        row = self.rows.current
        self.query_one(".told", Static).update(Content("" if row is None else _told(row)))
        self.refresh_frame()

    def on_marked(self, _message: Marked) -> None:
        """Count the marks."""
        self.refresh_frame()

    def narrower(self) -> bool:
        """Take back marks."""
        return self.rows.clear_marks()

    def action_all(self) -> None:
        """Show what is over too, or not."""
        self._all = not self._all
        self.rows.clear_marks()
        self.reload()

    def action_revoke(self) -> None:
        """Take back what is marked, else the share under the cursor."""
        chosen = [one for one in self.rows.chosen() if one["state"] not in OVER]
        if chosen:
            self.later(revoke(self, self.rows, chosen))
        else:
            self.say("that is over already")

    def action_extend(self) -> None:
        """Give the share under the cursor more time or more opens."""
        row = self.rows.current
        if row is not None:
            self.later(self._extend(row))

    async def _extend(self, row: Row) -> None:
        typed = await self.program.push_screen_wait(
            AskText(
                f"Extend {row['holder']}'s share of {pictures_of_share(row)}",
                f"It ends in {left(row['expires_at'])}, {plural(row['opens_left'], 'open')} left.\n"
                "Type how long from now (48h, 7d), or more opens (+5), or both:",
            )
        )
        if not typed:
            return
        duration = next((one for one in typed.split() if not one.startswith("+")), None)
        opens = next((one[1:] for one in typed.split() if one.startswith("+")), None)
        if opens is not None and not opens.isdecimal():
            self.say(f"not a number of opens: +{opens}", error=True)
            return
        result = await self.ask(
            "extend",
            Extend(
                capability=str(row["id"]),
                duration=duration,
                opens=None if opens is None else int(opens),
            ),
        )
        if result is not None:
            self.say("extended; the holder is told")
            self.reload()


async def revoke(page: Page, rows: Rows, chosen: list[Row]) -> None:
    """Take shares back once the dialog, which names each and the consequence, says so."""
    lines = [
        f"{one['holder']} loses {pictures_of_share(one)}, opened {plural(one['opens'], 'time')}"
        for one in chosen[:6]
    ]
    if len(chosen) > 6:
        lines.append(f"and {len(chosen) - 6} more")
    answer = await page.program.push_screen_wait(
        Ask(
            f"Revoke {plural(len(chosen), 'capability', 'capabilities')}?",
            "\n".join(lines),
            consequence="No later open will succeed. What was seen or saved already cannot "
            "be taken back.",
            answers=(
                Answer("k", "Keep", "keep"),
                Answer("r", "Revoke", "revoke", dangerous=True),
            ),
        )
    )
    if answer != "revoke":
        return
    result = await page.ask("revoke", Revoke(capabilities=[one["id"] for one in chosen]))
    if result is None:
        return
    revoked = result["revoked"]
    seen = sum(1 for one in revoked if one["seen_by_holder"])
    leased = sum(one["leased_opens"] for one in revoked)
    said = f"revoked {len(revoked)}; {seen} seen by their holders, the rest are told later"
    if leased:
        said += f"; {plural(leased, 'leased open')} work until their deadline"
    rows.clear_marks()
    page.say(said)
    page.reload()
