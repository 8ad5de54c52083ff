"""Sharing: to whom, for how long, and what that means, before Enter.

Belongs here: the dialog, and the ten seconds in which a share can be taken back unsent.
Never here: what may be granted: the node decides, and says it in a sentence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Share
from tui.gateway import GatewayError
from tui.screens.dialog import Dialog
from tui.text import plural
from tui.widgets.fixed import Fixed
from tui.widgets.rows import Chosen, Column, Marked, Moved, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.app import SafelightApp
    from tui.gateway import Gateway
    from tui.widgets.pages import Row

UNDO_S: Final = 10.0
"""How long a share waits unsent."""

_DURATIONS: Final = (None, "1h", "8h", "24h", "48h", "7d", "30d")
"""None is the policy's default for these pictures."""
_PREVIEW_PAUSE_S: Final = 0.12
"""After the last key, before the node is asked what it would mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person chose in the dialog."""

    what: tuple[str, ...]
    names: tuple[str, ...]
    """Of the pictures, for the words about it."""
    to: tuple[str, ...]
    """Fingerprints."""
    duration: str | None = None
    opens: int | None = None
    rights: tuple[str, ...] = ("view",)
    rendition: str | None = None
    sentences: tuple[str, ...] = field(default=())

    def params(self, *, dry_run: bool = False) -> Share:
        """Return the call."""
        return Share(
            what=list(self.what),
            to=list(self.to),
            duration=self.duration,
            rights=list(self.rights),
            opens=self.opens,
            rendition=self.rendition,
            dry_run=dry_run,
        )


_LOOSER: Final = (
    ("1", "once", {"opens": 1}, "each picture can be opened once"),
    ("2", "save", {"rights": ("view", "save")}, "they may keep a clean copy, full size"),
    (
        "3",
        "original",
        {"rights": ("view", "save"), "rendition": "original"},
        "they may keep the original with everything hidden in it",
    ),
)


class ShareDialog(Dialog["Wanted | None"]):
    """Chooses people and duration; the sentence of what is granted is on screen before Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "duration(1)", "longer", show=False, id="share.longer"),
        Binding("left,h", "duration(-1)", "shorter", show=False, id="share.shorter"),
        Binding("o", "looser", "other terms", show=False, id="share.other"),
    ]
    DEFAULT_CSS = """
    ShareDialog > .box { width: 84; }
    ShareDialog Rows { height: auto; max-height: 9; min-height: 3; }
    ShareDialog .duration { height: 1; color: $accent; }
    ShareDialog .meaning { height: auto; max-height: 10; }
    ShareDialog .looser { height: auto; color: $warning; display: none; }
    ShareDialog .looser.open { display: block; }
    ShareDialog .hints { height: auto; color: $foreground 60%; }
    """

    def __init__(self, gateway: Gateway, pictures: Sequence[Row]) -> None:
        super().__init__()
        self._gateway = gateway
        self._pictures = tuple(pictures)
        self._duration = 0
        self._terms: dict[str, Any] = {}
        self._asking: asyncio.Task[None] | None = None
        self._meaning: tuple[Wanted, tuple[str, ...]] | None = None
        """What the node last said, and to which question."""

    def compose(self) -> ComposeResult:
        """Lay out people, duration and meaning."""
        names = ", ".join(str(one["name"]) for one in self._pictures[:3])
        more = len(self._pictures) - 3
        heading = f"Share {names}" + (f" and {more} more" if more > 0 else "")
        with Vertical(classes="box"):
            yield Static(Content(heading), classes="heading")
            yield Rows(
                (
                    Column(title="to", text=lambda row: str(row["name"])),
                    Column(title="role", text=lambda row: str(row["role"]), width=10),
                    Column(
                        title="",
                        text=lambda row: "● online" if row["online"] else "○ away",
                        width=9,
                        style=lambda row: "ok" if row["online"] else "dim",
                    ),
                ),
                key=lambda row: row["fingerprint"],
            )
            yield Static(classes="duration")
            with VerticalScroll(classes="meaning", can_focus=False):
                yield Static(classes="words")
            yield Static(classes="looser")
            yield Static("", classes="wrong")
            yield Static(
                Content("Enter shares · Space several · ← → how long · o other terms · Esc"),
                classes="hints",
            )

    def on_mount(self) -> None:
        """Fetch the members."""
        self._say_duration()
        looser = "\n".join(f"{key}  {meaning}" for key, _, _, meaning in _LOOSER)
        self.query_one(".looser", Static).update(Content(looser))
        self.people.focus()
        self.run_worker(self._fetch_people())

    @property
    def people(self) -> Rows:
        """The list of people."""
        return self.query_one(Rows)

    async def _fetch_people(self) -> None:
        try:
            team = await self._gateway.call("team_show")
        except GatewayError as error:
            self._wrong(str(error))
            return
        me = self._gateway.status.get("fingerprint")
        others = [one for one in team["members"] if one["fingerprint"] != me]
        others.sort(key=lambda one: (not one["online"], one["name"].casefold()))
        if not others:
            self._wrong("nobody to share with yet: invite somebody on the Team screen (5)")
        self.people.show(Fixed(others))

    # What it would mean ---------------------------------------------------------------------------

    def _wanted(self) -> Wanted | None:
        chosen = self.people.chosen()
        if not chosen:
            return None
        return Wanted(
            what=tuple(str(one["id"]) for one in self._pictures),
            names=tuple(str(one["name"]) for one in self._pictures),
            to=tuple(str(one["fingerprint"]) for one in chosen),
            duration=_DURATIONS[self._duration],
            **self._terms,
        )

    def _ask_meaning(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = asyncio.create_task(self._asked())

    async def _asked(self) -> None:
        await asyncio.sleep(_PREVIEW_PAUSE_S)
        wanted = self._wanted()
        if wanted is None:
            return
        try:
            answer = await self._gateway.call("share", wanted.params(dry_run=True))
        except GatewayError as error:
            self._meaning = None
            self.query_one(".words", Static).update(Content(""))
            self._wrong(str(error))
            return
        self._wrong("")
        sentences = tuple(str(one["sentence"]) for one in answer["capabilities"])
        self._meaning = (wanted, sentences)
        lines = list(sentences)
        for one in answer["capabilities"]:
            lines += [f"  by the policy: {change}" for change in one.get("changed_by_policy") or ()]
        for picture in answer.get("pictures", ()):
            lines += _leaves(picture)
        self.query_one(".words", Static).update(Content("\n".join(dict.fromkeys(lines))))

    def _wrong(self, text: str) -> None:
        self.query_one(".wrong", Static).update(Content(text))

    def _say_duration(self) -> None:
        names = [one or "as the policy has it" for one in _DURATIONS]
        shown = [f"[{one}]" if place == self._duration else one for place, one in enumerate(names)]
        self.query_one(".duration", Static).update(Content("for  " + "  ".join(shown)))

    # Keys -----------------------------------------------------------------------------------------

    def on_moved(self, message: Moved) -> None:
        """Another person, another meaning."""
        message.stop()
        self._ask_meaning()

    def on_marked(self, message: Marked) -> None:
        """Other people, another meaning."""
        message.stop()
        self._ask_meaning()

    def action_duration(self, by: int) -> None:
        """Choose a longer or shorter time."""
        self._duration = min(max(0, self._duration + by), len(_DURATIONS) - 1)
        self._say_duration()
        self._ask_meaning()

    def action_looser(self) -> None:
        """Show terms other than the preset; each costs one more key."""
        self.query_one(".looser", Static).toggle_class("open")

    def on_key(self, event: events.Key) -> None:
        """Take a number of the other terms, once they are shown."""
        if not self.query_one(".looser", Static).has_class("open"):
            return
        for key, _, terms, _ in _LOOSER:
            if event.key == key:
                event.stop()
                self._terms = {} if self._terms == terms else dict(terms)
                self._ask_meaning()

    def on_chosen(self, message: Chosen) -> None:
        """Share: only what the node has said the meaning of."""
        message.stop()
        wanted = self._wanted()
        if wanted is None:
            return
        if self._meaning is None or self._meaning[0] != wanted:
            self._wrong("one moment: what this means is being looked up")
            self._ask_meaning()
            return
        self.dismiss(
            Wanted(
                what=wanted.what,
                names=wanted.names,
                to=wanted.to,
                duration=wanted.duration,
                opens=wanted.opens,
                rights=wanted.rights,
                rendition=wanted.rendition,
                sentences=self._meaning[1],
            )
        )

    def on_unmount(self) -> None:
        """Ask nothing more."""
        if self._asking is not None:
            self._asking.cancel()


def _leaves(picture: dict[str, Any]) -> list[str]:
    """Return what would leave of one picture."""
    size = "" if picture["bytes"] is None else f", {picture['bytes'] / 1e6:.1f} MB"
    lines = [
        f"{picture['name']}: {picture['width']} × {picture['height']} {picture['format']}{size}"
    ]
    if picture.get("problem"):
        lines.append(f"  cannot be made: {picture['problem']}; a preview can")
    lines += [f"  {line}" for line in picture.get("found", ())]
    return lines


class Unsent:
    """A share that waits for ten seconds, so that it can be taken back before it is sent."""

    def __init__(self, app: SafelightApp) -> None:
        self._app = app
        self._waiting: tuple[Wanted, asyncio.Task[None]] | None = None

    @property
    def waits(self) -> bool:
        """A share waits to be sent."""
        return self._waiting is not None

    async def take(self, wanted: Wanted) -> None:
        """Hold a share; one that waits already is sent now."""
        await self.send_now()
        self._waiting = (wanted, asyncio.create_task(self._wait()))

    def undo(self) -> bool:
        """Take back what waits; say whether there was anything."""
        if self._waiting is None:
            return False
        _, task = self._waiting
        self._waiting = None
        task.cancel()
        self._app.say("not shared")
        return True

    async def send_now(self) -> None:
        """Send what waits."""
        if self._waiting is not None:
            wanted, task = self._waiting
            self._waiting = None
            task.cancel()
            await self._send(wanted)

    async def _wait(self) -> None:
        assert self._waiting is not None, "made by take"
        wanted = self._waiting[0]
        what = plural(len(wanted.what), "picture")
        for left in range(round(UNDO_S), 0, -1):
            self._app.say(f"sharing {what} in {left} s, u takes it back")
            await asyncio.sleep(1)
        self._waiting = None
        await self._send(wanted)

    async def _send(self, wanted: Wanted) -> None:
        try:
            answer = await self._app.gateway.call("share", wanted.params())
        except GatewayError as error:
            self._app.say(str(error), error=True)
            return
        people = ", ".join(str(one["holder"]) for one in answer["capabilities"])
        self._app.say(f"shared {plural(len(wanted.what), 'picture')} with {people}")
