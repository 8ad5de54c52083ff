"""Audit: what happened, newest first, and whether the log that says so holds.

Belongs here: the list of entries, its filter, verifying, the state of chain and witnesses.
Never here: verification itself (the node and ``protocol``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static

from tui.gateway import GatewayError
from tui.screens.page import Page, Progress
from tui.text import plural
from tui.times import clock, span
from tui.widgets.lines import Key
from tui.widgets.rows import Column, Failed, Moved, Rows

if TYPE_CHECKING:
    from textual.widget import Widget

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
        """Return the filter of these words; a word without a colon is an event."""
        fields: dict[str, Any] = {}
        events: list[str] = []
        for word in text.split():
            name, colon, value = word.partition(":")
            if not colon:
                events.append(word)
            elif name in ("who", "image", "since", "until") and value:
                fields[name] = value
        return replace(cls(events=tuple(events)), **fields)


class AuditSource:
    """Pages of the log under a filter, newest first."""

    def __init__(self, gateway: Gateway, wanted: AuditFilter) -> None:
        self._gateway = gateway
        self._wanted = wanted

    async def page(self, offset: int, limit: int) -> tuple[int, list[Row]]:
        """Return how many entries there are under the filter, and those from offset on."""
        wanted = self._wanted
        answer = await self._gateway.call(
            "audit_page",
            {
                "who": wanted.who,
                "image": wanted.image,
                "since": wanted.since,
                "until": wanted.until,
                "events": list(wanted.events),
                "offset": offset,
                "limit": limit,
            },
        )
        return answer["total"], answer["entries"]


class AuditScreen(Page):
    """The log."""

    NAME = "Audit"
    LISTENS = frozenset(
        {"released", "denied", "imported", "revoked", "received", "roster", "alarm", "receipt"}
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False, id="audit.filter"),
        Binding("v", "verify", "verify", show=False, id="audit.verify"),
        Binding("d", "denied", "denied only", show=False, id="audit.denied"),
    ]
    DEFAULT_CSS = """
    AuditScreen #filter { display: none; }
    AuditScreen #filter.open { display: block; }
    AuditScreen Rows { height: 1fr; }
    AuditScreen .told { height: auto; max-height: 6; padding: 0 1; background: $surface; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._wanted = AuditFilter()
        self._state: dict[str, Any] = {}

    def body(self) -> ComposeResult:
        """Give the filter's line, the list, and what the entry under the cursor says."""
        yield Input(placeholder="who:… image:… since:… until:… and events: denied", id="filter")
        yield Rows(
            (
                Column(title="entry", text=lambda row: f"{row['index']:,}", width=9),
                Column(title="time", text=lambda row: clock(row["time"]), width=19, least=60),
                Column(
                    title="event",
                    text=lambda row: str(row["event"]),
                    style=lambda row: _STYLES.get(row["event"], ""),
                    width=16,
                ),
                Column(title="who", text=lambda row: str(row["actor"] or ""), width=14),
                Column(title="what", text=lambda row: str(row["subject"] or "")),
            ),
            key=lambda row: (row.get("incarnation", 0), row["index"]),
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
        """Return how long the log is, and how far others vouch for it."""
        parts = [plural(self.rows.total, "entry", "entries")]
        state = self._state
        if state:
            witnessed = f"witnessed by {state['witnessed_by']} of {state['members']}"
            parts.append(witnessed)
            if state["unwitnessed_entries"]:
                parts.append(
                    f"tail {state['unwitnessed_entries']:,}, {span(state['unwitnessed_s'] or 0)}"
                )
        return " · ".join(parts)

    def keys(self) -> Sequence[Key]:
        """Return the keys of the log."""
        return (
            Key("v", "verify", "verify"),
            Key("/", "filter", "filter"),
            Key("d", "denied", "denied"),
        )

    async def load(self) -> None:
        """Show the newest entries, and the state of the chain."""
        self._state = await self.program.gateway.call("audit_state")
        keep = self.rows.pages.loaded and self.rows.cursor > 0
        self.rows.show(AuditSource(self.program.gateway, self._wanted), keep=keep)

    def on_moved(self, _message: Moved) -> None:
        """Say all of the entry under the cursor."""
        row = self.rows.current
        told = ""
        if row is not None:
            detail = row["detail"]
            told = "  ".join(f"{name} {value}" for name, value in detail.items() if value)
        self.query_one(".told", Static).update(Content(told))
        self.refresh_frame()

    def on_failed(self, message: Failed) -> None:
        """Say why entries did not come."""
        self.say(str(message.error), error=True)

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
        self._look(AuditFilter.typed(event.value))
        self.rows.focus()

    def action_denied(self) -> None:
        """Show denied opens only, or everything again."""
        only = AuditFilter(events=("denied",))
        self._look(AuditFilter() if self._wanted == only else only)

    def _look(self, wanted: AuditFilter) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            self.rows.show(AuditSource(self.program.gateway, wanted))

    def action_verify(self) -> None:
        """Recompute the whole log."""

        async def job(progress: Progress) -> Any:
            return await self.program.gateway.call("audit_verify", progress=progress)

        def done(report: Any) -> str:
            if not report["ok"]:
                first = report["problems"][0]
                where = "" if first["index"] is None else f"entry {first['index']}: "
                raise GatewayError(
                    f"the log does NOT verify: {where}{first['message']}", code="unverified"
                )
            return f"verified: {plural(report['size'], 'entry', 'entries')}, every hash recomputed"

        self.work("verifying", job, done=done)
