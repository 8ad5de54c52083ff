"""Shared by me: what I granted, how it is used, and taking it back.

Belongs here: the list of capabilities that this node issued, revoking and extending.
Never here: granting (``share``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from node.control.schema import Extend, Revoke
from tui.screens.dialog import Answer, Ask, AskText
from tui.screens.inbox import state_column
from tui.screens.listed import ListPage, lines
from tui.screens.page import Page, marked_words
from tui.screens.sending import way
from tui.text import plural
from tui.times import ago, left
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Column, Rows

if TYPE_CHECKING:
    from tui.widgets.pages import Row

OVER = ("expired", "revoked", "lapsed")


def pictures_of_share(row: Row) -> str:
    """Return the names of a share's first pictures, and how many more there are."""
    names = ", ".join(str(one) for one in row["names"][:3])
    more = row["images"] - 3
    return names + (f" and {more} more" if more > 0 else "")


def _ends_in(row: Row) -> str:
    return "over" if row["state"] in OVER else left(row["expires_at"])


def told_of_share(row: Row) -> Content:
    """Return what a share grants, how far it is, and what is wrong with its pictures."""
    problems = [
        f"✕ not ready: {one['name']}: {one['message']}; share a preview of it instead"
        for one in row["problems"][:4]
    ]
    if len(row["problems"]) > 4:
        problems.append(f"✕ and {len(row['problems']) - 4} more")
    ends = _ends_in(row)
    return lines(
        Content.assemble(
            (str(row["holder"]), "bold"),
            " (no member now)" if row["former"] else "",
            f": {', '.join(row['rights'])} of {plural(row['images'], 'picture')}, "
            f"{row['rendition']}: {pictures_of_share(row)}",
        ),
        (ends if ends == "over" else f"ends in {ends}")
        + f" · {way(row)} · {plural(row['opens'], 'open')} so far, {row['opens_left']:,} left",
        Content.assemble(("\n".join(problems), "$error")),
    )


class SharesScreen(ListPage):
    """What I granted, the next to end first."""

    NAME = "Shared by me"
    LISTENS = frozenset(
        {
            *("released", "expired", "rendered", "rendition_failed", "denied", "departed"),
            *("log.issued", "log.delivered", "log.opened", "log.saved", "log.revoked"),
            *("log.revocation_seen", "log.amended"),
        }
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "revoke", "revoke", show=False, id="shares.revoke"),
        Binding("e", "extend", "extend", show=False, id="shares.extend"),
        Binding("a", "all", "live or all", show=False, id="shares.all"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._all = False

    def columns(self) -> Sequence[Column]:
        """Return the columns: whose, what, how far, how long."""
        return (
            state_column(),
            Column(title="to", text=lambda row: str(row["holder"]), width=12, narrow=8, wide=24),
            Column(title="pictures", text=pictures_of_share, ends=True),
            Column(title="may", text=lambda row: ", ".join(row["rights"]), width=24, least=150),
            Column(title="as", text=lambda row: str(row["rendition"]), width=14, least=150),
            Column(title="opens", text=lambda row: f"{row['opens']:,}", width=5, least=60),
            Column(title="left", text=lambda row: f"{row['opens_left']:,} ×", width=6, least=60),
            Column(
                title="on its way",
                text=way,
                style=lambda row: "bad" if row["problems"] else "",
                width=20,
                least=90,
            ),
            Column(title="granted", text=lambda row: ago(row["granted_at"]), width=13, least=150),
            Column(title="ends in", text=_ends_in, width=9, least=50),
        )

    def told(self, row: Row) -> Content:
        """Return all of the share under the cursor."""
        return told_of_share(row)

    def beside(self) -> str:
        """Return how many there are, and how many are marked."""
        which = "all" if self._all else "live"
        parts = [f"{self.rows.total:,} {which}", marked_words(len(self.rows.pages.marks), "share")]
        return " · ".join(part for part in parts if part)

    def sentence(self) -> str:
        """Say what would stand here."""
        if not self.rows.pages.loaded or self.rows.total:
            return ""
        key_of = self.program.key_of
        pictures, share = key_of("show.library"), key_of("library.share")
        if self._all:
            how = f"Press {pictures}, choose a picture, and press {share}."
            return f"You have shared nothing yet. {how}"
        over = f"{key_of('shares.all')} shows what is over"
        return f"Nothing is shared now. {over}; {pictures} and {share} share a picture."

    def keys(self) -> Sequence[Key]:
        """Return the keys of a share."""
        return (
            self.bound("shares.revoke", "revoke", "revoke"),
            self.bound("shares.extend", "extend", "extend"),
            self.bound("shares.all", "live/all", "all"),
            self.bound("list.mark", "mark", "mark"),
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

    def action_all(self) -> None:
        """Show what is over too, or not."""
        self._all = not self._all
        self.rows.clear_marks()
        self.reload()

    def action_revoke(self) -> None:
        """Take back what is marked, else the share under the cursor."""
        chosen = [one for one in self.rows.chosen() if one["state"] not in OVER]
        if chosen:
            self.asks(revoke(self, self.rows, chosen))
        else:
            self.say("that is over already")

    def action_extend(self) -> None:
        """Give the share under the cursor more time or more opens."""
        row = self.rows.current
        if row is not None:
            self.asks(self._extend(row))

    async def _extend(self, row: Row) -> None:
        typed = await self.program.push_screen_wait(
            AskText(
                f"Extend {row['holder']}'s share of {pictures_of_share(row)}",
                f"It ends in {left(row['expires_at'])}, {plural(row['opens_left'], 'open')} left.\n"
                "Type how long from now (48h, 7d), or more opens (+5), or both:",
                needs="Nothing to extend by yet: 48h, +5, or both.",
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
            opens = plural(result["opens_left"], "open")
            ends = left(result["expires_at"])
            self.say(f"extended: ends in {ends}, {opens} left; the holder is told")
            self.reload()


def _revoke_heading(chosen: list[Row]) -> str:
    if len(chosen) > 1:
        return f"Revoke {len(chosen)} shares?"
    return f"Revoke {chosen[0]['holder']}'s share of {pictures_of_share(chosen[0])}?"


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
            _revoke_heading(chosen),
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
    said = f"revoked {len(revoked)}"
    if seen == len(revoked):
        said += f", seen by {'its holder' if seen == 1 else 'all holders'}"
    else:
        said += f"; {seen} seen by their holders, the rest are told later"
    if leased:
        said += f"; {plural(leased, 'leased open')} work until their deadline"
    rows.clear_marks()
    page.say(said)
    page.reload()
