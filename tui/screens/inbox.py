"""Shared with me: what I may look at, how often still, until when.

Belongs here: the list of capabilities that were granted to this node, and opening one.
Never here: the picture itself (``viewer``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from node.control.schema import Fetch
from tui.screens.choosing import Choose
from tui.screens.granted import Granted, save
from tui.screens.listed import ListPage, lines
from tui.screens.page import Progress
from tui.screens.viewer import ViewerScreen
from tui.text import plural
from tui.times import left, seconds_left
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Chosen, Column

if TYPE_CHECKING:
    from tui.widgets.pages import Row

_MOST_TIMED = 1_000
"""Rows that are looked at each second for whether they end soon."""

SIGNS = {
    "live": ("● live", "ok"),
    "pending": ("◌ not yet", "dim"),
    "expired": ("○ expired", "dim"),
    "exhausted": ("◍ used up", "warn"),
    "revoked": ("✕ revoked", "bad"),
    "lapsed": ("✕ lapsed", "bad"),
}
"""A glyph, a word and a colour for each state: none of them alone."""


GOING_ON = ("live", "pending")
"""States in which something can be opened, now or later."""


def state_column() -> Column:
    """Return the column of a capability's state."""
    return Column(
        title="state",
        text=_sign,
        style=lambda row: SIGNS.get(row["state"], ("", ""))[1],
        width=10,
    )


def _sign(row: Row) -> str:
    return SIGNS.get(row["state"], (str(row["state"]), ""))[0]


def ends_in(row: Row) -> str:
    """Return how long a capability still is good for, where it is."""
    return left(row["expires_at"]) if row["state"] in GOING_ON else "–"


def _opens_left(row: Row) -> str:
    return f"{row['opens_left']:,} ×" if row["state"] in GOING_ON else "–"


def _pictures(row: Row) -> str:
    images = row["images"]
    names = ", ".join(str(one["name"]) for one in images[:3])
    more = len(images) - 3
    return names + (f" and {more} more" if more > 0 else "")


class InboxScreen(ListPage):
    """What was granted to me."""

    NAME = "Shared with me"
    LISTENS = frozenset(
        {"received", "ready", "amended", "revoked", "expired", "log.opened", "log.saved"}
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "fetch", "fetch", show=False, id="inbox.fetch"),
        Binding("w", "save", "save", show=False, id="inbox.save"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._superseded: frozenset[str] = frozenset()
        self._ticks = 0

    def columns(self) -> Sequence[Column]:
        """Return the columns: what, from whom, how often still, how long."""
        return (
            state_column(),
            Column(title="", text=self._badge, style=lambda row: "warn", width=8, least=60),
            Column(title="pictures", text=_pictures, ends=True),
            Column(title="from", text=lambda row: str(row["issuer"]), width=14, least=50, wide=24),
            Column(title="may", text=lambda row: ", ".join(row["rights"]), width=24, least=150),
            Column(title="left", text=_opens_left, width=6, least=60),
            Column(title="ends in", text=ends_in, width=9),
        )

    def told(self, row: Row) -> Content:
        """Return in a sentence what may be done, and on what terms."""
        terms = f"Terms: {row['usage_terms']}" if row["usage_terms"] else ""
        over = "" if row["state"] in GOING_ON else f"{_sign(row)}: it opens nothing any more."
        return lines(Content.assemble((over, "$warning")), str(row["sentence"]), terms)

    def beside(self) -> str:
        """Return how many there are."""
        return plural(self.rows.total, "capability", "capabilities") if self.rows.total else ""

    def sentence(self) -> str:
        """Say what comes here."""
        if self.rows.pages.loaded and not self.rows.total:
            return "Nothing was shared with you yet. What team-mates share appears here by itself."
        return ""

    def keys(self) -> Sequence[Key]:
        """Return the keys of a capability."""
        row = self.rows.current
        saved = (self.bound("inbox.save", "save", "save"),)
        return (
            self.bound("list.choose", "open", "choose"),
            self.bound("inbox.fetch", "fetch", "fetch"),
            *(saved if row is not None and "save" in row["rights"] else ()),
        )

    async def load(self) -> None:
        """Fetch the list."""
        found = await self.program.gateway.call("inbox")
        self._superseded = superseded(found)
        self.rows.show(Fixed(found), keep=self.rows.pages.loaded)

    def on_mount(self) -> None:
        """Count down: by the second where less than a minute is left."""
        self.set_interval(1, self._tick)

    def _tick(self) -> None:
        self._ticks += 1
        if self.is_current and (self._ticks % 30 == 0 or self.rows_end_soon()):
            self.rows.refresh()

    def rows_end_soon(self) -> bool:
        """Say whether less than a minute is left of anything in the list."""
        rows = (self.rows.pages.row(index) for index in range(min(self.rows.total, _MOST_TIMED)))
        return any(row is not None and 0 < seconds_left(row["expires_at"]) < 61 for row in rows)

    def _badge(self, row: Row) -> str:
        if row["id"] in self._superseded:
            return "renewed"
        return "new" if row["state"] in GOING_ON and not row["opened"] else ""

    def forget(self) -> None:
        """Drop what was renewed, too."""
        self._superseded = frozenset()
        super().forget()

    def on_chosen(self, _message: Chosen) -> None:
        """Look at the picture of the capability; choose one where there are several."""
        row = self.rows.current
        if row is None or not row["images"]:
            return
        if row["state"] in GOING_ON:
            self.asks(self._look(row))
        else:
            self.say(f"{_sign(row)}: it opens nothing any more; ask {row['issuer']} for it again")

    async def _look(self, row: Row) -> None:
        place = 0
        if len(row["images"]) > 1:
            chosen = await self.program.push_screen_wait(
                Choose(
                    f"{plural(len(row['images']), 'picture')} from {row['issuer']}",
                    [{**one, "place": place} for place, one in enumerate(row["images"])],
                    (
                        Column(title="picture", text=lambda image: str(image["name"])),
                        Column(title="", text=_sealed, width=10),
                        Column(title="opens", text=lambda image: str(image["opens_left"]), width=5),
                    ),
                    key="id",
                    empty="",
                )
            )
            if chosen is None:
                return
            place = int(chosen[1]["place"])
        self.app.push_screen(ViewerScreen(Granted(self.program.gateway, row, place)))

    def action_choose(self) -> None:
        """Look at the capability under the cursor."""
        self.rows.action_choose()

    def action_fetch(self) -> None:
        """Fetch the sealed pictures without opening them."""
        row = self.rows.current
        if row is None:
            return
        params = Fetch(capability=str(row["id"]))

        async def job(progress: Progress) -> Any:
            return await self.program.gateway.call("fetch", params, progress=progress)

        self.work(
            "fetching",
            job,
            done=lambda answer: f"fetched {plural(answer['fetched'], 'picture')}, none opened",
        )

    def action_save(self) -> None:
        """Save the pictures into the own library; an open each."""
        row = self.rows.current
        if row is not None:
            self.asks(save(self, row, row["images"]))


def superseded(found: Sequence[Row]) -> frozenset[str]:
    """Return the ids of what is over while the same issuer granted the same pictures anew."""
    live: set[tuple[str, frozenset[str]]] = {
        (str(one["issuer"]), frozenset(str(image["id"]) for image in one["images"]))
        for one in found
        if one["state"] in {"live", "pending"}
    }
    return frozenset(
        str(one["id"])
        for one in found
        if one["state"] not in {"live", "pending"}
        and (str(one["issuer"]), frozenset(str(image["id"]) for image in one["images"])) in live
    )


def _sealed(image: dict[str, Any]) -> str:
    if not image["ready"]:
        return "not ready"
    return "fetched" if image["fetched"] else "ready"
