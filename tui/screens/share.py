"""Sharing: to whom, for how long, and what that means, before Enter.

Belongs here: the dialog.
Never here: what may be granted: the node decides, and says it in a sentence; sending (``sending``).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from node.control.schema import PreviewShare
from tui.gateway import GatewayError
from tui.screens.dialog import AskText, Dialog
from tui.screens.preview import Looks, PreviewDialog, PreviewPane
from tui.screens.terms import OTHER, TYPED, Wanted, told
from tui.text import plural
from tui.widgets.fixed import Fixed
from tui.widgets.picture import PictureView
from tui.widgets.rows import Chosen, Column, Marked, Moved, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.app import SafelightApp
    from tui.gateway import Gateway
    from tui.pictures.painter import Painter
    from tui.widgets.pages import Row

_DURATIONS: Final = (None, "1h", "8h", "24h", "48h", "7d", "30d")
"""None is the policy's default for these pictures."""
_SMALL_LINES: Final = 20
_DURATIONS_FROM: Final = 54
"""Columns from which all durations stand beside each other."""
_BESIDE_FROM: Final = 100
"""Columns of the terminal from which the preview stands beside the words."""
_NEAR_FROM: Final = 76
"""Columns of the terminal from which a small one stands beside the people."""
_COLUMNS: Final = 84
_MOST_COLUMNS: Final = 170
"""Of the dialog, with the preview beside it: in a wider one the eye would lose the line."""
_SMALL_PANE: Final = 26
_PANE: Final = 36
"""Columns of the preview beside the people, and beside the words at least."""
_WORDS: Final = 62
"""Columns of the words beside it: what is over goes to the preview."""
_PEOPLE: Final = 9
_FEWEST: Final = 3
"""Lines of the list of people, with the titles: as many as are seen anyway, and the fewest."""
_MOST_OTHERS: Final = 14
"""Lines of the other terms: terms of use may be long."""
_SAID: Final = 5
"""Lines of what is said that come before a longer list of people."""
_PREVIEW_PAUSE_S: Final = 0.12
"""After the last key, before the node is asked what it would mean."""
_MOMENT: Final = "one moment: what this means is being looked up"


class ShareDialog(Dialog["Wanted | None"]):
    """Chooses people and duration; the sentence of what is granted is on screen before Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "duration(1)", "longer", show=False, id="share.longer"),
        Binding("left,h", "duration(-1)", "shorter", show=False, id="share.shorter"),
        Binding("o", "looser", "other terms", show=False, id="share.other"),
        Binding("d", "scroll_meaning", "read on", show=False, id="share.read-on"),
        Binding("v", "see", "see it as they would", show=False, id="share.see"),
        Binding("p", "next_picture", "another picture", show=False, id="share.another"),
        Binding("slash", "find", "find a person", show=False, id="share.find"),
    ]
    DEFAULT_CSS = """
    ShareDialog .heading { max-height: 2; margin: 0; }
    ShareDialog.beside .heading { margin: 0 0 1 0; }
    ShareDialog .sides { height: auto; }
    ShareDialog .words-side { width: 1fr; height: auto; }
    ShareDialog .people { height: auto; }
    ShareDialog Rows { height: auto; width: 1fr; min-height: 3; overflow-x: hidden; }
    ShareDialog #find { display: none; }
    ShareDialog #find.open { display: block; }
    ShareDialog .duration { height: 1; color: $accent; }
    ShareDialog.beside .duration { margin: 1 0; }
    ShareDialog .meaning { height: auto; }
    ShareDialog .looser { height: auto; color: $warning; display: none; }
    ShareDialog.others .looser { display: block; max-height: 14; }
    ShareDialog.small .looser { text-wrap: nowrap; text-overflow: ellipsis; }
    ShareDialog PreviewPane { margin: 0 0 0 1; }
    ShareDialog.others #near { display: none; }
    ShareDialog.small > .box { max-height: 100%; }
    ShareDialog.small .heading { max-height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    ShareDialog.small.others .people { display: none; }
    ShareDialog.small.others .heading { display: none; }
    ShareDialog.small.others .duration { display: none; }
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
        self._others: tuple[Row, ...] = ()
        """Everybody it could be shared with."""
        self._looks = Looks(gateway)
        self._looking: asyncio.Task[None] | None = None
        self._seen: PreviewShare | None = None
        """What the preview shows, or is being made to show."""
        self._place = 0
        """Which of the pictures it shows."""

    def compose(self) -> ComposeResult:
        """Lay out people, duration and meaning."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading()), classes="heading")
            with Horizontal(classes="sides"), Vertical(classes="words-side"):
                yield Input(placeholder="part of a name", id="find")
                with Horizontal(classes="people"):
                    yield Rows(_PERSON, key=lambda row: row["fingerprint"])
                yield Static(classes="duration")
                yield Static("", classes="wrong")
                with VerticalScroll(classes="meaning", can_focus=False):
                    yield Static(classes="words")
                yield Static(classes="looser")

    def _heading(self) -> str:
        names = ", ".join(str(one["name"]) for one in self._pictures[:3])
        more = len(self._pictures) - 3
        heading = f"Share {names}" + (f" and {more} more" if more > 0 else "")
        if self._of_albums:
            heading += f" · {plural(self._count, 'picture')}"
        return heading

    def hints(self) -> Sequence[tuple[str, str]]:
        """Return the keys of this dialog, the most wanted first."""
        keys = [
            ("list.mark", "several"),
            ("share.shorter share.longer", "how long"),
            ("share.other", "other"),
            ("share.read-on", "read on"),
            ("share.find", "find"),
        ]
        if not self._painter.off:
            # On a small terminal this is the only way to it.
            keys.insert(0 if self.has_class("small") else 3, ("share.see", "see"))
            if self._count > 1:
                keys.insert(5, ("share.another", "next picture"))
        return (("list.choose", "shares"), *keys, ("dialog.cancel", "closes"))

    def on_mount(self) -> None:
        """Fetch the members."""
        self._wrong("")
        self._say_duration()
        self._say_other()
        self.people.focus()
        self.run_worker(self._fetch_people)

    def on_resize(self, event: events.Resize) -> None:
        """Keep the sentence in sight on a small terminal; the preview takes what is left."""
        width, height = event.size
        pictures = not self._painter.off
        small = height < _SMALL_LINES
        beside = pictures and not small and width >= _BESIDE_FROM
        self.set_class(small, "small")
        self.set_class(beside, "beside")
        self.set_class(pictures and not small and not beside and width >= _NEAR_FROM, "near")
        self._lay_out()
        self.call_after_refresh(self._laid_out)

    def _laid_out(self) -> None:
        self._say_duration()
        # The words are on the screen by now: what comes with the preview holds no key.
        self.run_worker(self._put_pane, group="pane", exclusive=True)

    async def _put_pane(self) -> None:
        """Put the preview where there is room for it at this size, if there is any."""
        wanted = next((one for one in ("beside", "near") if self.has_class(one)), None)
        if [one.id for one in self._panes] == ([] if wanted is None else [wanted]):
            return
        await self.query(PreviewPane).remove()
        if wanted is not None:
            place = self.query_one(".sides" if wanted == "beside" else ".people")
            await place.mount(PreviewPane(self._painter, id=wanted))
            self._lay_out()
        self._seen = None
        self._look()

    def _lay_out(self) -> None:
        """Share the lines out: what is said gets what the list and the other terms leave."""
        width, height = self.app.size
        small, beside = self.has_class("small"), self.has_class("beside")
        columns = min(int(width * 0.96), _MOST_COLUMNS if beside else _COLUMNS)
        inside = columns - 4
        # Two pictures of three to two, one over the other, and the words between.
        pane = max(_PANE, min(columns // 2, inside - 1 - _WORDS)) if beside else 0
        room = (height if small else int(height * 0.96)) - 2
        others = self._lines_of_others(inside - pane - beside)
        if small:
            people = 0 if others else _FEWEST
            room -= 0 if others else 2 + self._finds
        else:
            room -= 1 + 3 * beside + min(2, -(-cell_len(self._heading()) // inside)) + self._finds
            people = min(max(_PEOPLE, room // 3), 1 + len(self._others)) if beside else _PEOPLE
            people = max(_FEWEST, people - max(0, _SAID + others - (room - people)))
        self.query_one(".box").styles.width = columns
        self.query_one(".people").styles.max_height = people
        self.query_one(Rows).styles.max_height = people
        self.query_one(".meaning").styles.max_height = max(1, room - people - others)
        for one in self._panes:
            one.styles.width = pane if beside else _SMALL_PANE
            one.styles.height = min(room, int(pane * 0.72) + 2) if beside else people

    def _lines_of_others(self, columns: int) -> int:
        """Return how many lines the other terms take in so many columns; 0 while not shown."""
        if not self.has_class("others"):
            return 0
        lines = self._other_lines()
        if self.has_class("small"):
            return len(lines)
        return min(_MOST_OTHERS, sum(-(-cell_len(line) // columns) for line in lines))

    @property
    def _finds(self) -> bool:
        return self.query_one("#find").has_class("open")

    @property
    def _painter(self) -> Painter:
        return cast("SafelightApp", self.app).painter

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
            where = self.key_of("show.team")
            self._wrong(f"nobody to share with yet: invite somebody on the Team screen ({where})")
        self._others = tuple(others)
        self._lay_out()
        self.people.show(Fixed(others))

    def action_find(self) -> None:
        """Type a part of a name; the list follows, and marks stay."""
        line = self.query_one("#find", Input)
        line.add_class("open")
        line.focus()
        self._lay_out()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show who is called like that."""
        event.stop()
        part = event.value.strip().casefold()
        found = [one for one in self._others if part in str(one["name"]).casefold()]
        self.people.move_to(0)
        self.people.show(Fixed(found), keep=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the list: the next Enter shares."""
        event.stop()
        self.people.focus()

    def action_give_up(self) -> None:
        """Show everybody again, else close without a share."""
        line = self.query_one("#find", Input)
        if not line.has_class("open"):
            super().action_give_up()
            return
        line.value = ""
        line.remove_class("open")
        self.people.focus()
        self._lay_out()

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
            self._unsaid("nobody is called that" if self._others else "")
            return
        try:
            answer = await self._gateway.call("share", wanted.params(dry_run=True))
        except GatewayError as error:
            self._unsaid(str(error))
            return
        self._wrong("")
        sentences = tuple(str(one["sentence"]) for one in answer["capabilities"])
        self._meaning = (wanted, sentences)
        said = told(answer, self._count, airy=not self.has_class("small"))
        self.query_one(".words", Static).update(Content.assemble(said))
        self._look()

    def _unsaid(self, wrong: str) -> None:
        """Take back what was said of a share that cannot be."""
        self._meaning = None
        self.query_one(".words", Static).update(Content(""))
        self._wrong(wrong)
        self._look()

    def _wrong(self, text: str) -> None:
        line = self.query_one(".wrong", Static)
        line.update(Content(text))
        line.display = bool(text)

    def _say_duration(self) -> None:
        names = [one or "as the policy has it" for one in _DURATIONS]
        if self.query_one(".duration").size.width < _DURATIONS_FROM:
            shorter, longer = map(self.key_of, ("share.shorter", "share.longer"))
            said = f"for  {shorter} [{names[self._duration]}] {longer}"
            self.query_one(".duration", Static).update(Content(said))
            return
        shown = [f"[{one}]" if place == self._duration else one for place, one in enumerate(names)]
        self.query_one(".duration", Static).update(Content("for  " + "  ".join(shown)))

    # What they would see --------------------------------------------------------------------------

    @property
    def _panes(self) -> list[PreviewPane]:
        """The preview that there is at this size: one, or none."""
        return list(self.query(PreviewPane))

    def _look(self) -> None:
        """Show what the first person would see of what the node said last.

        The words come first: a share waits for them, and never for the picture.
        """
        wanted = None if self._meaning is None else self._meaning[0].preview(self._place)
        if wanted == self._seen or not self._panes:
            return
        self._seen = wanted
        if self._looking is not None:
            self._looking.cancel()  # Hanging up ends the node's work on it.
        if wanted is None:
            for pane in self._panes:
                pane.say("")
            return
        self._looking = asyncio.create_task(self._looked(wanted))

    async def _looked(self, wanted: PreviewShare) -> None:
        holder = self._name_of(wanted.to)
        if not self._looks.has(wanted):
            for pane in self._panes:
                pane.say(f"making what {holder} would see…")
        try:
            look = await self._looks.of(wanted, holder)
        except GatewayError as error:
            for pane in self._panes:
                pane.say(f"no preview: {error}", refused=True)
            return
        for pane in self._panes:
            pane.show(look)

    def _name_of(self, fingerprint: str) -> str:
        found = (str(one["name"]) for one in self._others if one["fingerprint"] == fingerprint)
        return next(found, "they")

    def on_picture_view_failed(self, message: PictureView.Failed) -> None:
        """Say why the picture is not drawn."""
        message.stop()
        for pane in self._panes:
            pane.say(f"not drawn: {message.error}", refused=True)

    def action_see(self) -> None:
        """Show what they would see as large as the screen."""
        if self._painter.off:
            self._wrong("pictures are switched off here")
        elif self._meaning is None:
            self._wrong(_MOMENT)
        else:
            wanted = self._meaning[0].preview(self._place)
            holder = self._name_of(wanted.to)
            self.app.push_screen(PreviewDialog(self._looks, self._painter, wanted, holder))

    def action_next_picture(self) -> None:
        """Preview another of the pictures; after the last the first."""
        if self._count > 1:
            self._place = (self._place + 1) % self._count
            self._look()

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
        self.toggle_class("others")
        self._lay_out()

    def action_scroll_meaning(self) -> None:
        """Show the next lines of what leaves; after the last the first."""
        box = self.query_one(".meaning", VerticalScroll)
        if box.scroll_y >= box.max_scroll_y:
            box.scroll_home(animate=False)
        else:
            box.scroll_page_down(animate=False)

    def on_key(self, event: events.Key) -> None:
        """Go from what was typed to the list; take a key of the other terms that are shown."""
        if event.key == "down" and self.query_one("#find").has_focus:
            event.stop()
            self.people.focus()
        if not self.has_class("others"):
            return
        for key, terms, _ in OTHER:
            if event.key == key:
                event.stop()
                if self._is_on(terms):
                    self._take_back(terms)
                else:
                    self._terms |= terms
                self._changed()
        for key, name, _, question in TYPED:
            if event.key == key:
                event.stop()
                value = self._terms.get(name)
                self.app.push_screen(
                    AskText("Other terms", question, value="" if value is None else str(value)),
                    partial(self._typed, name),
                )

    def _take_back(self, terms: dict[str, Any]) -> None:
        """Switch terms off, and those with them that count only together with one of these."""
        gone = set(terms)
        for _, others, _ in OTHER:
            if self._is_on(others) and not gone.isdisjoint(others):
                gone |= set(others)
        self._terms = {name: value for name, value in self._terms.items() if name not in gone}

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

    def _other_lines(self) -> list[str]:
        lines = [
            f"{key} {'[x]' if self._is_on(terms) else '[ ]'} {meaning}"
            for key, terms, meaning in OTHER
        ]
        for key, name, meaning, _ in TYPED:
            value = self._terms.get(name)
            lines.append(
                f"{key} [{'x' if value else ' '}] {meaning}" + (f": {value}" if value else "")
            )
        return lines

    def _say_other(self) -> None:
        self.query_one(".looser", Static).update(Content("\n".join(self._other_lines())))
        self._lay_out()

    def on_chosen(self, message: Chosen) -> None:
        """Share: only what the node has said the meaning of."""
        message.stop()
        wanted = self._wanted()
        if wanted is None:
            return
        if self._meaning is None or self._meaning[0] != wanted:
            self._wrong(_MOMENT)
            if self._asking is None or self._asking.done():
                self._ask_meaning()  # Else somebody who presses on would never be told.
            return
        if self.stays():
            return
        self.dismiss(replace(wanted, sentences=self._meaning[1]))

    def on_unmount(self) -> None:
        """Ask nothing more, and keep nothing of the preview."""
        for task in (self._asking, self._looking):
            if task is not None:
                task.cancel()
        self._looks.forget()


_PERSON: Final = (
    Column(title="to", text=lambda row: str(row["name"])),
    Column(title="role", text=lambda row: str(row["role"]), width=9, least=36),
    Column(
        title="",
        text=lambda row: "● online" if row["online"] else "○ away",
        width=8,
        style=lambda row: "ok" if row["online"] else "dim",
    ),
)
