"""What happened while the program runs, and the alarms of the log that stand.

Belongs here: showing both lists, and noting that a person has looked into an alarm.
Never here: which events are worth a line (``tui.notices``), what raises an alarm (the node).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from node.control.schema import AuditAlarm
from tui.gateway import GatewayError
from tui.screens.dialog import Answer, Ask, Dialog
from tui.times import ago

if TYPE_CHECKING:
    from tui.app import SafelightApp
    from tui.notices import Notice

_SIGNS = {"information": "·", "warning": "!", "error": "✕"}


class NoticesDialog(Dialog[None]):
    """The lines, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,I", "give_up", "close", show=False, id="notices.close"),
    ]
    DEFAULT_CSS = "NoticesDialog > .box { width: 96; }"
    HINTS = (("4", "the log has all of it"), ("Esc", "closes"))

    def __init__(self, notices: Sequence[Notice]) -> None:
        super().__init__()
        self._notices = notices

    def compose(self) -> ComposeResult:
        """Lay out the lines."""
        lines = [
            f"{_SIGNS[one.severity]} {ago(one.at.isoformat()):>9}  {one.title}: {one.words}"
            for one in self._notices
        ]
        said = "\n".join(lines) or "Nothing yet. Opens, denials and alarms appear here."
        with Vertical(classes="box"):
            yield Static(Content("What happened"), classes="heading")
            with VerticalScroll(classes="words", id="lines"):
                yield Static(Content(said))

    def on_mount(self) -> None:
        """Let the arrows scroll."""
        self.query_one("#lines").focus()


class AlarmsDialog(Dialog[None]):
    """The alarms that stand; each can be said to have been looked into."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,A", "give_up", "close", show=False, id="alarms.close"),
        Binding("c", "clear", "looked into", show=False, id="alarms.clear"),
    ]
    DEFAULT_CSS = "AlarmsDialog > .box { width: 96; border: round $error; }"
    HINTS = (("c", "I looked into it"), ("Esc", "closes"))

    def __init__(self, app: SafelightApp) -> None:
        super().__init__()
        self._program = app
        self._alarms = list(app.alarms)

    def compose(self) -> ComposeResult:
        """Lay out each alarm: whose log, since when, what it contradicts."""
        lines = []
        for one in self._alarms:
            proven = "proven by its signatures" if one["proven"] else "not proven"
            lines += [f"✕ {one['name']}, {ago(one['raised_at'])}, {proven}", f"  {one['detail']}"]
        with Vertical(classes="box"):
            yield Static(Content("Alarms of the log"), classes="heading")
            with VerticalScroll(classes="words", id="lines"):
                yield Static(Content("\n".join(lines)))
            yield Static(
                Content("safelight audit evidence writes what proves it."), classes="words"
            )
            yield Static("", classes="wrong")

    def on_mount(self) -> None:
        """Let the arrows scroll."""
        self.query_one("#lines").focus()

    def action_clear(self) -> None:
        """Note that a person has looked into the oldest of them."""
        self.run_worker(self._clear)

    async def _clear(self) -> None:
        alarm = self._alarms[0]
        answer = await self._program.push_screen_wait(
            Ask(
                f"Deal with {alarm['name']} again?",
                f"{alarm['detail']}\n\nThe log will say that you looked into it.",
                consequence="Their log contradicted itself: ask them by another way first.",
                answers=(
                    Answer("k", "Keep the alarm", "keep"),
                    Answer("c", "I looked into it", "clear", dangerous=True),
                ),
            )
        )
        if answer != "clear":
            return
        try:
            await self._program.gateway.call(
                "audit_alarm_clear", AuditAlarm(alarm=int(alarm["id"]))
            )
        except GatewayError as error:
            self.query_one(".wrong", Static).update(Content(str(error)))
            return
        self._program.look_at_alarms()
        self.dismiss(None)
