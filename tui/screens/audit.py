"""Audit: what happened, newest first, and whether the log that says so holds.

Belongs here: the list of entries, its filter, verifying, the state of chain and witnesses.
Never here: verification itself (the node and ``protocol``).
"""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from node.control.schema import AuditPage, AuditProve
from tui.gateway import GatewayError
from tui.screens.dialog import Answer, Ask, AskText, Dialog
from tui.screens.listed import ListPage, lines
from tui.screens.page import Progress
from tui.text import plural
from tui.times import clock, past_moment, span
from tui.widgets.lines import Key
from tui.widgets.rows import Chosen, Column, Failed, Moved

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.widgets.pages import Row

_STYLES = {
    "denied": "warn",
    "unlock_failed": "warn",
    "revoked": "warn",
    "witness_alarm": "bad",
    "manifest_alarm": "bad",
    "released": "ok",
    "opened": "ok",
}


_SIGNS = {"": " ", "ok": "●", "warn": "!", "bad": "✕"}
_TIMED = 60
"""Cells of the list from which it has the number and the time of an entry itself."""
_PLAIN_LETTERS = 40
"""Values up to so long stand first: what is longer is mostly a hash."""

_LOOKED_AT = 200
"""Entries asked for at once when one is looked for."""
_MOST_LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What was typed: ``who:bob image:harbour.jpg since:2030-01-31 denied released``."""

    who: str | None = None
    image: str | None = None
    since: str | None = None
    until: str | None = None
    events: tuple[str, ...] = ()

    @classmethod
    def typed(cls, text: str) -> AuditFilter:
        """Return the filter of these words; a word without a colon is an event.

        What has spaces in it stands in quotes. ValueError for a field that there is not.
        """
        fields: dict[str, Any] = {}
        events: list[str] = []
        try:
            words = shlex.split(text)
        except ValueError:  # A quote that is alone is a letter like any other.
            words = text.split()
        for word in words:
            name, colon, value = word.partition(":")
            if not colon:
                events.append(word)
            elif name not in _FIELDS:
                raise ValueError(f"no filter {name}: but {', '.join(f'{one}:' for one in _FIELDS)}")
            elif value:
                fields[name] = value
        return replace(cls(events=tuple(events)), **fields)

    def params(self, *, offset: int = 0, limit: int = 1) -> AuditPage:
        """Return the call for a page; a time that nobody understands the node refuses."""
        return AuditPage(
            who=self.who,
            image=self.image,
            since=None if self.since is None else past_moment(self.since) or self.since,
            until=None if self.until is None else past_moment(self.until) or self.until,
            events=list(self.events),
            offset=offset,
            limit=limit,
        )


_FIELDS: Final = ("who", "image", "since", "until")


class AuditSource:
    """Pages of the log under a filter, newest first."""

    def __init__(self, gateway: Gateway, wanted: AuditFilter) -> None:
        self._gateway = gateway
        self._wanted = wanted

    async def page(self, offset: int, limit: int) -> tuple[int, list[Row]]:
        """Return how many entries there are under the filter, and those from offset on."""
        params = self._wanted.params(offset=offset, limit=limit)
        answer = await self._gateway.call("audit_page", params)
        return answer["total"], answer["entries"]


class AuditScreen(ListPage):
    """The log."""

    NAME = "Audit"
    LISTENS = frozenset({"alarm", "witnessed"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False, id="audit.filter"),
        Binding("v", "verify", "verify", show=False, id="audit.verify"),
        Binding("d", "denied", "denied only", show=False, id="audit.denied"),
        Binding("n", "next_denied", "next denied", show=False, id="audit.next-denied"),
        Binding("t", "time", "go to a time", show=False, id="audit.time"),
    ]
    DEFAULT_CSS = """
    AuditScreen #filter { display: none; }
    AuditScreen #filter.open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._wanted = AuditFilter()
        self._state: dict[str, Any] = {}
        self._total = 0
        """Entries that there were when the list was last seen."""

    def body(self) -> ComposeResult:
        """Give the filter's line, the list, and what the entry under the cursor says."""
        yield Input(placeholder="who:… image:… since:… until:… and events: denied", id="filter")
        yield from super().body()

    def columns(self) -> Sequence[Column]:
        """Return the columns: when, what happened, by whom, to what."""
        return (
            Column(title="entry", text=lambda row: f"{row['index']:,}", width=7, least=60),
            Column(title="time", text=lambda row: clock(row["time"]), width=19, least=60),
            Column(
                title="event",
                text=lambda row: f"{_SIGNS[_STYLES.get(row['event'], '')]} {row['event']}",
                style=lambda row: _STYLES.get(row["event"], ""),
                width=18,
                narrow=15,
                wide=20,
            ),
            Column(
                title="who", text=lambda row: str(row["actor"] or ""), width=12, narrow=8, wide=24
            ),
            Column(title="what", text=lambda row: str(row["subject"] or ""), wide=40, ends=True),
            Column(title="detail", text=_detail, least=150),
        )

    def key_of(self, row: Row) -> Hashable:
        """Return which log an entry stands in, and its number."""
        return _order(row)

    def told(self, row: Row) -> Content:
        """Return what the entry says, and when it was written."""
        when = "" if self.rows.size.width >= _TIMED else f"{row['index']:,} · {clock(row['time'])}"
        return lines(when, _detail(row))

    def beside(self) -> str:
        """Return how long the log is, and how far others vouch for it."""
        parts = [plural(self.rows.total, "entry", "entries")]
        state = self._state
        if state:
            witnessed = f"witnessed by {state['witnessed_by']} of {state['members']}"
            parts.append(witnessed)
            if state["unwitnessed_entries"]:
                since = span(state["unwitnessed_s"] or 0)
                parts.append(f"{state['unwitnessed_entries']:,} not witnessed for {since}")
        return " · ".join(parts)

    def keys(self) -> Sequence[Key]:
        """Return the keys of the log."""
        return (
            self.bound("list.choose", "proof", "choose"),
            self.bound("audit.verify", "verify", "verify"),
            self.bound("audit.filter", "filter", "filter"),
            self.bound("audit.next-denied", "next denied", "next_denied"),
        )

    def heard(self, event: dict[str, Any]) -> None:
        """Load anew for every new entry of the log too."""
        if str(event.get("kind")).startswith("log."):
            self.reload()
        super().heard(event)

    async def load(self) -> None:
        """Show the newest entries, and the state of the chain."""
        self._state = await self.program.gateway.call("audit_state")
        keep = self.rows.pages.loaded and self.rows.cursor > 0
        self.rows.show(AuditSource(self.program.gateway, self._wanted), keep=keep)

    def on_moved(self, _message: Moved) -> None:
        """Stay on the entry that the cursor is on."""
        grown, self._total = self.rows.total - self._total, self.rows.total
        if grown > 0 and grown < self.rows.total and self.rows.cursor:
            # New entries come in above: the cursor stays on the entry that it is on.
            self.rows.move_to(self.rows.cursor + grown)

    def on_failed(self, message: Failed) -> None:
        """Say why entries did not come."""
        self.say(str(message.error), error=True)

    def on_chosen(self, _message: Chosen) -> None:
        """Show the entry whole, with its proof."""
        self.action_choose()

    def action_choose(self) -> None:
        """Show the entry under the cursor whole, with its proof."""
        row = self.rows.current
        if row is not None:
            self.app.push_screen(EntryDialog(self.program.gateway, row))

    # Going to an entry ----------------------------------------------------------------------------

    def action_next_denied(self) -> None:
        """Go to the next denied open below the cursor: the one before it in time."""
        row = self.rows.current
        if row is not None:
            self.later(self._next_denied(row))

    async def _next_denied(self, row: Row) -> None:
        only = replace(self._wanted, events=("denied",))
        # At most as many entries share the row's millisecond and stand above it as it has place.
        for offset in range(0, _MOST_LOOKED_AT, _LOOKED_AT):
            asked = replace(only, until=_just_after(row["time"]))
            answer = await self.program.gateway.call(
                "audit_page", asked.params(offset=offset, limit=_LOOKED_AT)
            )
            for one in answer["entries"]:
                if _order(one) < _order(row):
                    await self._go_to(one)
                    return
            if len(answer["entries"]) < _LOOKED_AT:
                break
        back, first = map(self.program.key_of, ("page.back", "list.first"))
        self.say(f"no denied open below: {back} and {first} show the newest")

    def action_time(self) -> None:
        """Go to the entries of a time."""
        self.asks(self._time())

    async def _time(self) -> None:
        typed = await self.program.push_screen_wait(
            AskText(
                "Go to a time",
                "14:00, 2030-01-31, 2030-01-31 14:00, or how long ago: 3h, 2d",
                needs="It needs a time.",
            )
        )
        if not typed:
            return
        moment = past_moment(typed)
        if moment is None:
            self.say(f"not a time: {typed}", error=True)
            return
        answer = await self.program.gateway.call(
            "audit_page", replace(self._wanted, since=moment).params()
        )
        self.rows.move_to(max(0, answer["total"] - 1))

    async def _go_to(self, entry: Row) -> None:
        """Put the cursor on an entry of the list, wherever it stands now."""
        asked = replace(self._wanted, since=entry["time"])
        if asked.events and entry["event"] not in asked.events:
            self._look(AuditFilter())
            asked = AuditFilter(since=entry["time"])
        answer = await self.program.gateway.call("audit_page", asked.params())
        # Entries of the same millisecond stand above and below.
        last = answer["total"]
        first = max(0, last - _LOOKED_AT)
        near = await self.program.gateway.call(
            "audit_page", asked.params(offset=first, limit=_LOOKED_AT)
        )
        place = next(
            (place for place, one in enumerate(near["entries"]) if _order(one) == _order(entry)),
            last - first - 1,
        )
        self.rows.move_to(first + place)

    def forget(self) -> None:
        """Drop the filter and the state too."""
        self._wanted, self._state, self._total = AuditFilter(), {}, 0
        super().forget()
        for line in self.query("#filter"):
            line.remove_class("open")

    def narrower(self) -> bool:
        """Take the filter back."""
        line = self.query_one("#filter", Input)
        if not line.has_class("open") and self._wanted == AuditFilter():
            return False
        line.value = ""
        line.remove_class("open")
        self._look(AuditFilter())
        self.rows.focus()
        return True

    def action_filter(self) -> None:
        """Type a filter."""
        line = self.query_one("#filter", Input)
        line.add_class("open")
        line.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Filter by what was typed."""
        try:
            wanted = AuditFilter.typed(event.value)
        except ValueError as error:
            self.say(str(error), error=True)
            return
        self.later(self._filter(wanted))

    async def _filter(self, wanted: AuditFilter) -> None:
        """Look at what fits; where the node does not understand it, stay as it is and say why."""
        try:
            await self.program.gateway.call("audit_page", wanted.params())
        except GatewayError as error:
            if wanted.events and error.message.startswith("no such event"):
                word = wanted.events[0]
                self.say(
                    f"{error.message}; who:{word} is a person, image:{word} a picture", error=True
                )
                return
            raise
        self.say("")
        self._look(wanted)
        self.rows.focus()

    def action_denied(self) -> None:
        """Show denied opens only, or everything again."""
        only = AuditFilter(events=("denied",))
        self._look(AuditFilter() if self._wanted == only else only)

    def _look(self, wanted: AuditFilter) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            self._total = 0
            self.rows.show(AuditSource(self.program.gateway, wanted))

    def action_verify(self) -> None:
        """Recompute the whole log."""

        async def job(progress: Progress) -> Any:
            return await self.program.gateway.call("audit_verify", progress=progress)

        def done(report: Any) -> str:
            if not report["ok"]:
                self.app.push_screen(unverified(report))
                raise GatewayError("the log does NOT verify", code="unverified")
            return f"verified: {plural(report['size'], 'entry', 'entries')}, every hash recomputed"

        self.work("verifying", job, done=done)


def unverified(report: dict[str, Any]) -> Ask:
    """Return what stays in front until somebody closes it: the log is not what was written."""
    problems = [
        ("" if one["index"] is None else f"entry {one['index']}: ") + str(one["message"])
        for one in report["problems"]
    ]
    told = list(dict.fromkeys(problems))
    more = f"\nand {len(told) - _MOST_TOLD} more: safelight audit verify --json" * (
        len(told) > _MOST_TOLD
    )
    return Ask(
        "The log does NOT verify",
        "\n".join(told[:_MOST_TOLD]) + more,
        consequence="Somebody or a fault of the disk changed it. Stop this node, keep the vault as "
        "it is, and restore a backup elsewhere; what others witnessed shows what was there.",
        answers=(Answer("o", "Close", "close", dangerous=True),),
    )


_MOST_TOLD: Final = 6


def _detail(row: Row) -> str:
    """Return what an entry says besides, hashes last."""
    said = [(str(name), str(value)) for name, value in row["detail"].items() if value]
    said.sort(key=lambda one: len(one[1]) > _PLAIN_LETTERS and " " not in one[1])
    return "  ".join(f"{name} {value}" for name, value in said)


def _order(row: Row) -> tuple[int, int]:
    """Return what orders entries: the log they stand in, then their number."""
    return int(row.get("incarnation", 0)), int(row["index"])


def _just_after(moment: str) -> str:
    """Return the time a millisecond later: what is asked for until it has that moment's entries."""
    later = datetime.fromisoformat(moment) + timedelta(milliseconds=1)
    return later.isoformat()


class EntryDialog(Dialog[None]):
    """One entry whole, and what proves to anybody that it stands in the log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "give_up", "close", show=False, id="entry.close"),
    ]
    DEFAULT_CSS = """
    EntryDialog > .box { width: 100; }
    EntryDialog .note { height: auto; color: $dim; }
    EntryDialog.low .note { display: none; }
    """
    HINTS = (("↑ ↓", "scroll"), ("dialog.cancel", "closes"))

    def __init__(self, gateway: Gateway, entry: Row) -> None:
        super().__init__()
        self._gateway = gateway
        self._entry = entry

    def compose(self) -> ComposeResult:
        """Lay out the entry and room for its proof."""
        entry = self._entry
        lines = [
            f"{clock(entry['time'])}  ({entry['time']})",
            f"who   {entry['actor'] or '–'}",
            f"what  {entry['subject'] or '–'}",
            *(f"{name}  {value}" for name, value in entry["detail"].items() if value),
        ]
        with Vertical(classes="box"):
            yield Static(Content(f"Entry {entry['index']:,}: {entry['event']}"), classes="heading")
            with VerticalScroll(classes="words", id="lines"):
                yield Static(Content("\n".join(lines)))
                yield Static(Content("\nlooking for its proof …"), id="proof")
            yield Static(
                Content(f"safelight audit prove {entry['index']} writes it to a file."),
                classes="note",
            )

    def on_mount(self) -> None:
        """Ask for the proof; let the arrows scroll."""
        self.query_one("#lines").focus()
        self.run_worker(self._prove)

    async def _prove(self) -> None:
        proof = self.query_one("#proof", Static)
        try:
            told = await self._gateway.call(
                "audit_prove",
                AuditProve(index=self._entry["index"], incarnation=self._entry.get("incarnation")),
            )
        except GatewayError as error:
            proof.update(Content(f"\nno proof: {error}"))
            return
        signed = plural(told["cosignatures"], "other", "others")
        proof.update(
            Content(
                f"\nproven under the head of {plural(told['size'], 'entry', 'entries')}, "
                f"cosigned by {signed}\n\n" + str(told["proof"])
            )
        )
