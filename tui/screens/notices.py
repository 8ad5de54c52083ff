"""What happened while the program runs, and the alarms of the log that nobody has cleared.

Belongs here: showing both lists, and noting that a person has looked into an alarm.
Never here: which events are worth a line (``tui.notices``), what raises an alarm (the node).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from node.control.schema import AuditAlarm, Status
from tui.gateway import GatewayError
from tui.screens.dialog import Answer, Ask, Dialog
from tui.times import ago, clock

if TYPE_CHECKING:
    from tui.app import SafelightApp
    from tui.notices import Notice

_MEANINGS = {
    "rollback": "Their log is shorter than it was: entries are gone. Ask them what happened.",
    "fork": "Their log does not go on from what it was: it was rewritten. Ask them what happened.",
    "equivocation": "Two different logs are signed: it was rewritten, or runs on two machines. "
    "Ask them what happened.",
}
_SIGNS = {"information": "·", "warning": "!", "error": "✕"}


class NoticesDialog(Dialog[None]):
    """The lines, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,I", "give_up", "close", show=False, id="notices.close"),
        Binding("4", "log", "the log", show=False, id="notices.log"),
    ]
    DEFAULT_CSS = "NoticesDialog > .box { width: 96; }"
    HINTS = (("notices.log", "the log has all of it"), ("dialog.cancel", "closes"))

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

    def action_log(self) -> None:
        """Go to the log."""
        self.dismiss(None)
        self.app.call_later(self.app.run_action, "show('audit')")


def alarm_lines(alarm: Mapping[str, Any]) -> list[str]:
    """Return what is told of one alarm: whose log, since when, what it contradicts, what follows.

    One that is over is told as what was: it stands until a person has cleared it.
    """
    proven = "proven by its signatures" if alarm["proven"] else "not proven"
    said = [f"✕ {alarm['name']}, {ago(alarm['raised_at'])}, {proven}"]
    follows = "Until it is cleared, nothing is opened or delivered between you."
    if alarm["state"] == "over":
        since = alarm["over_since"]
        said += [f"  was: {alarm['detail']}; is over" + (f" since {clock(since)}" if since else "")]
        follows = "A new log was begun since, and nothing is held up. Clear it once you know why."
    else:
        said += [f"  {alarm['detail']}"]
    meaning = _MEANINGS.get(alarm["kind"])
    return [*said, f"  {meaning} {follows}" if meaning else f"  {follows}"]


class AlarmsDialog(Dialog[None]):
    """The alarms that nobody has cleared; each can be said to have been looked into."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,A", "give_up", "close", show=False, id="alarms.close"),
        Binding("c", "clear", "looked into", show=False, id="alarms.clear"),
    ]
    DEFAULT_CSS = "AlarmsDialog > .box { width: 96; border: round $error; }"
    HINTS = (("alarms.clear", "I looked into it"), ("dialog.cancel", "closes"))

    def __init__(self, app: SafelightApp) -> None:
        super().__init__()
        self._program = app
        self._alarms = list(app.alarms)

    def compose(self) -> ComposeResult:
        """Lay out each alarm: whose log, since when, what it contradicts."""
        with Vertical(classes="box"):
            yield Static(Content("Alarms of the log"), classes="heading")
            with VerticalScroll(classes="words", id="lines"):
                yield Static(id="alarms")
            yield Static(
                Content("safelight audit evidence writes what proves it."), classes="words"
            )
            yield Static("", classes="wrong")

    def _tell(self) -> None:
        lines = [line for one in self._alarms for line in alarm_lines(one)]
        said = "\n".join(lines) or "No alarm stands any more."
        self.query_one("#alarms", Static).update(Content(said))

    def on_mount(self) -> None:
        """Let the arrows scroll; what is told may be over since, or cleared."""
        self._tell()
        self.query_one("#lines").focus()
        self.run_worker(self._look)

    async def _look(self) -> None:
        try:
            status = await self._program.gateway.call("status", Status())
        except GatewayError:
            return  # What was known is shown.
        self._alarms = list(status["alarms"])
        self._tell()

    def action_clear(self) -> None:
        """Note that a person has looked into the oldest of them."""
        if self._alarms:
            self.run_worker(self._clear)

    async def _clear(self) -> None:
        alarm = self._alarms[0]
        over = alarm["state"] == "over"
        answer = await self._program.push_screen_wait(
            Ask(
                "Clear the alarm that is over?" if over else f"Deal with {alarm['name']} again?",
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
            # Cleared elsewhere meanwhile, or the node is gone.
            self.query_one(".wrong", Static).update(Content(str(error)))
            self._program.look_at_node()
            return
        self._program.look_at_node()
        self.dismiss(None)
