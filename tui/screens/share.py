"""Sharing: to whom, for how long, and what that means, before Enter.

Belongs here: the dialog, and the ten seconds in which a share can be taken back unsent.
Never here: what may be granted: the node decides, and says it in a sentence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from node.control.schema import Share, Shares
from tui.gateway import GatewayError
from tui.screens.dialog import AskText, Dialog
from tui.text import plural
from tui.times import ago
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
_TOLD: Final = 3
"""Pictures of which the dialog says what leaves; of the others it says how many."""
_SMALL_LINES: Final = 20
_WIDE: Final = 70
"""Columns from which all durations stand beside each other."""
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
    watermark: bool | None = None
    factor: bool = False
    not_before: str | None = None
    terms: str = ""
    count: int = 0
    """Of pictures, for the words about it: an album has several."""
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
            watermark=self.watermark,
            factor=self.factor,
            not_before=self.not_before,
            terms=self.terms,
            dry_run=dry_run,
        )


_OTHER: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("1", {"opens": 1}, "each picture can be opened once"),
    ("2", {"rights": ("view", "save")}, "they may keep a clean copy, full size"),
    (
        "3",
        {"rights": ("view", "save"), "rendition": "original"},
        "they may keep the original with everything hidden in it",
    ),
    ("4", {"watermark": False}, "no watermark, where the policy allows it"),
    ("5", {"factor": True}, "a second factor: a phrase that you tell them yourself"),
)
"""Key, terms, meaning: the key switches them on and off."""

_TYPED: Final = (
    ("n", "opens", "how often each picture may be opened", "Opens of each picture:"),
    ("b", "not_before", "not before a time", "Nothing opens before (24h, or 2030-01-31T09:00Z):"),
    ("t", "terms", "terms of use, which they read before they open", "Terms of use:"),
)
"""Key, field, meaning, question: the key asks for it; an empty answer takes it back."""


class ShareDialog(Dialog["Wanted | None"]):
    """Chooses people and duration; the sentence of what is granted is on screen before Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "duration(1)", "longer", show=False, id="share.longer"),
        Binding("left,h", "duration(-1)", "shorter", show=False, id="share.shorter"),
        Binding("o", "looser", "other terms", show=False, id="share.other"),
        Binding("d", "scroll_meaning", "read on", show=False, id="share.read-on"),
    ]
    DEFAULT_CSS = """
    ShareDialog > .box { width: 84; }
    ShareDialog Rows { height: auto; max-height: 9; min-height: 3; }
    ShareDialog .duration { height: 1; color: $accent; }
    ShareDialog .meaning { height: auto; max-height: 11; }
    ShareDialog .looser { height: auto; color: $warning; display: none; }
    ShareDialog.others .meaning { max-height: 5; }
    ShareDialog.small .meaning { max-height: 3; }
    ShareDialog.small Rows { max-height: 3; }
    ShareDialog.small .hints { display: none; }
    ShareDialog.small .looser.open { display: block; }
    ShareDialog.small .looser { text-wrap: nowrap; text-overflow: ellipsis; }
    ShareDialog.small.others Rows { display: none; }
    ShareDialog.small.others .heading { display: none; }
    ShareDialog.small.others .duration { display: none; }
    ShareDialog.small.others .meaning { max-height: 1; }
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
        if self._of_albums:
            heading += f" · {plural(self._count, 'picture')}"
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
            yield Static("", classes="wrong")
            with VerticalScroll(classes="meaning", can_focus=False):
                yield Static(classes="words")
            yield Static(classes="looser")
            yield Static(
                Content("Enter shares · Space several · ← → how long · o other · d read on · Esc"),
                classes="hints",
            )

    def on_mount(self) -> None:
        """Fetch the members."""
        self._wrong("")
        self._say_duration()
        self._say_other()
        self.people.focus()
        self.run_worker(self._fetch_people())

    def on_resize(self, event: events.Resize) -> None:
        """Keep the sentence in sight on a small terminal."""
        self.set_class(event.size.height < _SMALL_LINES, "small")

    @property
    def _of_albums(self) -> bool:
        return any("images" in one for one in self._pictures)

    @property
    def _count(self) -> int:
        return sum(int(one.get("images", 1)) for one in self._pictures)

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
            count=self._count,
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
            if one.get("watermark"):
                lines.append(f"  watermark: {one['watermark']}")
        pictures = answer.get("pictures", ())
        for picture in pictures[:_TOLD]:
            lines += _leaves(picture)
        if len(pictures) > _TOLD:
            lines.append(f"and {plural(len(pictures) - _TOLD, 'picture')} more")
        self.query_one(".words", Static).update(Content("\n".join(dict.fromkeys(lines))))

    def _wrong(self, text: str) -> None:
        line = self.query_one(".wrong", Static)
        line.update(Content(text))
        line.display = bool(text)

    def _say_duration(self) -> None:
        names = [one or "as the policy has it" for one in _DURATIONS]
        if self.app.size.width < _WIDE:
            said = f"for  ← [{names[self._duration]}] →"
            self.query_one(".duration", Static).update(Content(said))
            return
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
        other = self.query_one(".looser", Static)
        other.toggle_class("open")
        self.set_class(other.has_class("open"), "others")

    def action_scroll_meaning(self) -> None:
        """Show the next lines of what leaves; after the last the first."""
        box = self.query_one(".meaning", VerticalScroll)
        if box.scroll_y >= box.max_scroll_y:
            box.scroll_home(animate=False)
        else:
            box.scroll_page_down(animate=False)

    def on_key(self, event: events.Key) -> None:
        """Take a key of the other terms, once they are shown."""
        if not self.query_one(".looser", Static).has_class("open"):
            return
        for key, terms, _ in _OTHER:
            if event.key == key:
                event.stop()
                if self._is_on(terms):
                    self._terms = {
                        name: value for name, value in self._terms.items() if name not in terms
                    }
                else:
                    self._terms |= terms
                self._changed()
        for key, name, _, question in _TYPED:
            if event.key == key:
                event.stop()
                value = self._terms.get(name)
                self.app.push_screen(
                    AskText("Other terms", question, value="" if value is None else str(value)),
                    partial(self._typed, name),
                )

    def _is_on(self, terms: dict[str, Any]) -> bool:
        return all(self._terms.get(name) == value for name, value in terms.items())

    def _typed(self, name: str, text: str | None) -> None:
        if text is None:
            return
        text = text.strip()
        if not text:
            self._terms.pop(name, None)
        elif name != "opens":
            self._terms[name] = text
        elif text.isdecimal() and int(text):
            self._terms[name] = int(text)
        else:
            self._wrong(f"not a number of opens: {text}")
            return
        self._changed()

    def _changed(self) -> None:
        self._say_other()
        self._ask_meaning()

    def _say_other(self) -> None:
        lines = [
            f"{key} {'[x]' if self._is_on(terms) else '[ ]'} {meaning}"
            for key, terms, meaning in _OTHER
        ]
        for key, name, meaning, _ in _TYPED:
            value = self._terms.get(name)
            lines.append(
                f"{key} [{'x' if value else ' '}] {meaning}" + (f": {value}" if value else "")
            )
        self.query_one(".looser", Static).update(Content("\n".join(lines)))

    def on_chosen(self, message: Chosen) -> None:
        """Share: only what the node has said the meaning of."""
        message.stop()
        wanted = self._wanted()
        if wanted is None:
            return
        if self._meaning is None or self._meaning[0] != wanted:
            self._wrong("one moment: what this means is being looked up")
            if self._asking is None or self._asking.done():
                self._ask_meaning()  # Else somebody who presses on would never be told.
            return
        self.dismiss(replace(wanted, sentences=self._meaning[1]))

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
    lines += [
        f"  {word}: {', '.join(picture[word]) or 'nothing'}"
        for word in ("removed", "kept")
        if word in picture
    ]
    return lines


class PhraseDialog(Dialog[None]):
    """Shows second-factor phrases, this once; only its key closes it, no slip does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "keep", "I have it", show=False, id="phrase.keep"),
    ]
    DEFAULT_CSS = "PhraseDialog .phrase { text-style: bold; color: $accent; padding: 1 0; }"

    def __init__(self, phrases: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._phrases = tuple(phrases)

    def compose(self) -> ComposeResult:
        """Lay out who is to be told what."""
        lines = "\n".join(f"{holder}: {phrase}" for holder, phrase in self._phrases)
        with Vertical(classes="box"):
            yield Static(Content("Second factor, shown this once"), classes="heading")
            yield Static(Content(lines), classes="phrase")
            yield Static(
                Content("Tell each of them theirs by another way than Safelight."), classes="words"
            )
            yield Static(Content("k: I have told it, or written it down"), classes="consequence")

    def action_keep(self) -> None:
        """Close: the person has the phrases."""
        self._phrases = ()
        self.dismiss(None)

    def action_give_up(self) -> None:
        """Stay: nobody can show them again."""


class Watched:
    """The share that was sent last: how far it is with each holder."""

    KINDS: Final = frozenset(
        {"rendered", "rendition_failed", "log.delivered", "log.opened", "log.released"}
    )

    def __init__(self, app: SafelightApp) -> None:
        self._app = app
        self._ids: frozenset[str] = frozenset()
        self._said = ""

    def watch(self, capabilities: Sequence[str], said: str) -> None:
        """Tell from now on how far these are, after what was said of them first."""
        self._ids = frozenset(capabilities)
        self._said = said
        self.look()

    def forget(self) -> None:
        """Tell no more."""
        self._ids = frozenset()

    def heard(self, event: dict[str, Any]) -> None:
        """Look again after an event that may have changed something."""
        if self._ids and event.get("kind") in self.KINDS:
            self.look()

    def look(self) -> None:
        """Say in the status line how far each holder is."""
        # As a function: while the program ends it is not begun at all.
        self._app.run_worker(
            self._look,  # type: ignore[arg-type]
            group="watched share",
            exclusive=True,
        )

    async def _look(self) -> None:
        try:
            found = await self._app.gateway.call("shares", Shares())
        except GatewayError:
            return  # The screen Shared by me says what is wrong.
        mine = [one for one in found if one["id"] in self._ids]
        if mine:
            failed = any(one["problems"] for one in mine)
            each = [way(one) if len(mine) == 1 else f"{one['holder']} {way(one)}" for one in mine]
            self._app.say(f"{self._said}: {', '.join(each)}", error=failed)
        if mine and all(
            one["last_open"] or one["state"] not in {"pending", "live"} for one in mine
        ):
            self._ids = frozenset()


def way(share: Row) -> str:
    """Return how far a share is with its holder: rendering, sent, seen, or what is in the way."""
    if share["problems"]:
        return f"✕ {len(share['problems'])} of {share['images']} not ready"
    if share["ready"] < share["images"]:
        return f"rendering {share['ready']}/{share['images']}"
    if share["last_open"]:
        return f"seen {ago(share['last_open'])}"
    if share["delivered"]:
        return "delivered"
    return "in the mail" if share["mailed"] else "waiting"


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
        what = plural(wanted.count or len(wanted.what), "picture")
        for left in range(round(UNDO_S), 0, -1):
            self._app.say(f"sharing {what} in {left} s, u takes it back")
            await asyncio.sleep(1)
        self._waiting = None
        await self._send(wanted)

    async def _send(self, wanted: Wanted) -> None:
        try:
            answer = await self._app.gateway.call("share", wanted.params())
        except GatewayError as error:
            self._app.say(f"not shared: {error}", error=True)
            return
        made = answer["capabilities"]
        people = ", ".join(str(one["holder"]) for one in made)
        said = f"shared {plural(wanted.count or len(wanted.what), 'picture')} with {people}"
        self._app.say(said)
        phrases = [(str(one["holder"]), str(one["factor"])) for one in made if one.get("factor")]
        if phrases:
            await self._app.push_screen(PhraseDialog(phrases))
        self._app.watched.watch([str(one["id"]) for one in made], said)
