"""The app: which screens there are, and what is the same on all of them.

Belongs here: the table of screens, keys of every screen, the watch over the node, the leaks of
the framework that are shut here.
Never here: what one screen does, or a call that belongs to one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from rich.segment import Segments
from textual import events
from textual.actions import ActionParseResult
from textual.app import App, SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.filter import ANSIToTruecolor, LineFilter, NoColor
from textual.screen import Screen
from textual.worker import Worker

from node.cli.picture import Depth
from node.control.schema import Lock, Status
from tui.garbage import Collecting, hold_no_lines
from tui.gateway import Connection, Gateway, GatewayError
from tui.keymap import key_that_holds, keymap_path, read_keymap
from tui.notices import Notices
from tui.pictures.painter import Painter
from tui.pictures.terminal import SETTING, depth_of, pictures_of
from tui.screens import entry, table
from tui.screens.dialog import Answer, Ask, Dialog
from tui.screens.help import KeysDialog
from tui.screens.page import Page
from tui.screens.palette import Palette
from tui.screens.sending import PhraseDialog, Unsent, Watched
from tui.settings import read_settings, remember_theme, settings_path
from tui.text import letters
from tui.theme import NAMES, THEMES, VARIABLES, Greys, first_theme
from tui.times import clock, now
from tui.widgets.grid import Grid
from tui.widgets.picture import PictureView

_STATES: Final = {
    Connection.CONNECTING: "◌ looking",
    Connection.NO_VAULT: "○ no vault",
    Connection.STOPPED: "✕ no node",
    Connection.LOCKED: "◍ locked",
    Connection.READY: "",
    Connection.LOST: "✕ node lost",
}

_SENTENCES: Final = {
    Connection.CONNECTING: "Looking for the node.",
    Connection.NO_VAULT: "There is no vault here yet. Press {key} to make one.",
    Connection.STOPPED: "No node runs. Press {key} to start it.",
    Connection.LOCKED: "The vault is locked. Press {key} to unlock it.",
    Connection.LOST: "The node is gone. It is being looked for; {key} starts it.",
}


def _terminal() -> int | None:
    """Return the descriptor of the terminal that the program is in front of, if there is one."""
    return sys.__stdin__.fileno() if sys.__stdin__ is not None and sys.__stdin__.isatty() else None


class SafelightApp(App[int]):
    """The terminal UI of one home."""

    CSS_PATH = "styles/app.tcss"
    TITLE = "Safelight"
    ENABLE_COMMAND_PALETTE = True
    SCREENS: ClassVar = table.SCREENS
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(key, f"show('{name}')", title, show=False, id=f"show.{name}")
            for key, name, title in table.KEYS
        ),
        Binding("q", "leave", "back or quit", show=False, id="app.leave"),
        Binding("question_mark", "show_keys", "keys here", show=False, id="app.keys"),
        Binding("ctrl+p", "command_palette", "all actions", show=False, id="app.palette"),
        Binding("ctrl+q", "quit", "quit", show=False, id="app.quit"),
        Binding("u", "undo", "take back", show=False, id="app.undo"),
        Binding("L", "lock", "lock", show=False, id="app.lock"),
        Binding("I", "notices", "what happened", show=False, id="app.notices"),
        Binding("A", "alarms", "alarms of the log", show=False, id="app.alarms"),
    ]

    def __init__(
        self, *, home: Path, passphrase_file: Path | None = None, terminal: str = ""
    ) -> None:
        """``terminal`` is the name that the terminal gave when it was asked."""
        super().__init__()
        hold_no_lines()
        self.home = home
        self.passphrase_file = passphrase_file
        self.settings, problems = read_settings(settings_path(), NAMES)
        chosen_pictures = {SETTING: self.settings.pictures} if self.settings.pictures else {}
        self.pictures = pictures_of(
            {**chosen_pictures, **os.environ, **({"NO_COLOR": "1"} if self.no_color else {})},
            terminal,
        )
        """How pictures are drawn."""
        # The framework has taken NO_COLOR out of the environment.
        depth = Depth.GREY if self.no_color else depth_of(os.environ)
        self.painter = Painter(self.pictures, depth, self._to_terminal, _terminal())
        """Draws them."""
        self.notices = Notices(self.settings)
        """What happened while the program runs."""
        self.unsent = Unsent(self)
        """A share that can still be taken back."""
        self.watched = Watched(self)
        """The share that was sent last."""
        self._greys = Greys()
        self._entered: set[Connection] = set()
        self._going_in = False
        self._lost = False
        """The node was gone, and since then nobody has been let in."""
        self._not_shared = ""
        """What became of a share that waited when the vault was locked, until it is unlocked."""
        # No dialog and no viewer is open: pages stay.
        self._collecting = Collecting(lambda: len(self.screen_stack) == 2)
        self.alarm = ""
        """The alarms that stand, in words; shown on every screen."""
        self.alarms: list[dict[str, Any]] = []
        """The alarms that stand, as the node tells them."""
        self.gateway = Gateway(
            home,
            on_connection=partial(self.call_later, self._connection_changed),
            on_event=partial(self.call_later, self._heard),
        )
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.settings.theme or first_theme(os.environ)
        chosen, wrong_keys = read_keymap(keymap_path(), table.binding_ids)
        self.problems = [*problems, *wrong_keys]
        """What is wrong with the files of settings and keys."""
        self._chosen_keys = chosen
        self.set_keymap(chosen)

    # Life -----------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Show the library and begin to watch the node."""
        self.push_screen("library")
        # The frame is on the screen first.
        self.call_after_refresh(self.gateway.start)
        self.call_after_refresh(self._collecting.begin)
        for problem in self.problems:
            self.notify(problem, severity="warning", markup=False)

    async def action_quit(self) -> None:
        """Leave; asks first where a share waits to be sent, and loses no phrases."""
        if isinstance(self.screen, PhraseDialog):
            return
        if self.unsent.waits:
            if not isinstance(self.screen, Ask):
                self.run_worker(self._quit_with_unsent, name="unsent")
            return
        self.exit(0)

    async def _quit_with_unsent(self) -> None:
        if not self.unsent.waits:
            return  # It is being sent: what comes of it is to be read.
        with self.unsent.held():
            answer = await self.push_screen_wait(
                Ask(
                    "A share is not sent yet",
                    self.unsent.words,
                    consequence="It waits for your answer.",
                    answers=(
                        Answer("s", "Send, quit", "send"),
                        Answer("d", "Drop, quit", "drop"),
                        Answer("k", "Stay", "stay"),
                    ),
                )
            )
        if answer == "send":
            # Where it was not sent, that is to be read; phrases are to be told.
            if await self.unsent.send_now() and not isinstance(self.screen, PhraseDialog):
                self.exit(0)
        elif answer == "drop":
            self.unsent.undo()
            self.exit(0)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key says, but nothing while a question is on its way to the screen."""
        if isinstance(self.screen, Page) and self.screen.asking:
            return True
        return await super().run_action(action, default_namespace, namespaces)

    async def on_event(self, event: events.Event) -> None:
        """Take an event; what is pasted is the letters of one line, and nothing more."""
        if isinstance(event, events.Paste):
            event.text = letters((event.text.splitlines() or [""])[0])
        await super().on_event(event)

    def on_resize(self, _event: events.Resize) -> None:
        """Draw pictures anew where the terminal has cells of another size now."""
        if not self.painter.measure():
            return
        for screen in dict.fromkeys((*self.screen_stack, *self.pages())):
            for grid in screen.query(Grid):
                grid.forget()
            for view in screen.query(PictureView):
                view.again()

    def run_worker(self, work: Any, *args: Any, **options: Any) -> Worker[Any]:
        """Run a function as the framework does; where the program ends before, it never begins."""
        return super().run_worker(work, *args, **options)

    def action_command_palette(self) -> None:
        """Show all actions."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def pop_screen(self) -> AwaitComplete:
        """Put the screen behind in front."""
        self._collecting.closed()
        return super().pop_screen()

    async def on_unmount(self) -> None:
        """Hang up; the terminal keeps no picture."""
        self._collecting.end()
        self.painter.drop_all()
        await self.gateway.close()

    def _connection_changed(self, seen: Connection) -> None:
        if seen is Connection.LOST:
            # Whoever is there when a node is started again wants to be let in again.
            self._entered.discard(Connection.LOCKED)
            self._lost = True
        elif seen is Connection.LOCKED and not self._lost:
            self._forget()
        elif seen is Connection.READY:
            self._lost, self._not_shared = False, ""
            # From here on a lock is somebody's will, which no passphrase file undoes.
            self._entered.add(Connection.LOCKED)
            if isinstance(self.screen, entry.UnlockDialog):
                self.screen.dismiss(None)  # Unlocked elsewhere.
        self._go_in_by_itself()
        self._take_alarms(self.gateway.status.get("alarms") or [])
        for page in self.pages():
            page.connection_changed()
        if seen is Connection.LOCKED and not self._lost:
            self._collecting.forget()
        notice = self.gateway.status.get("notice")
        if seen is Connection.READY and notice:
            self.notify(str(notice), severity="warning", markup=False, timeout=30)

    def pages(self) -> list[Page]:
        """Return every page there is, those behind others too."""
        found = [*self.screen_stack, *self._installed_screens.values()]
        return list(dict.fromkeys(one for one in found if isinstance(one, Page)))

    def _heard(self, event: dict[str, Any]) -> None:
        for page in self.pages():
            page.heard(event)
        self.watched.heard(event)
        if event.get("kind") in {"alarm", "peer"}:
            self.look_at_node()
        me = str(self.gateway.status.get("name", ""))
        told = self.notices.heard(event, me=me, now=now())
        if told is None:
            return
        notice, in_toast = told
        if in_toast:
            table.toast(self, notice)
        self._refresh_frames()

    def _refresh_frames(self) -> None:
        for page in self.pages():
            if page.is_current:
                page.refresh_frame()

    def look_at_node(self) -> None:
        """Ask the node who is online and which alarms stand."""
        self.run_worker(self._look_at_node, group="node", exclusive=True)

    async def _look_at_node(self) -> None:
        try:
            status = await self.gateway.call("status", Status())
        except GatewayError:
            return  # The next connection tells it.
        self.gateway.status = status
        self._take_alarms(status["alarms"])
        self._refresh_frames()

    def _take_alarms(self, alarms: list[dict[str, Any]]) -> None:
        self.alarms = alarms
        if not alarms:
            self.alarm = ""
        elif len(alarms) == 1:
            one = alarms[0]
            self.alarm = f"{one['name']}: {one['detail']}"
            if one["state"] == "over":
                since = f" since {clock(one['over_since'])}" if one["over_since"] else ""
                self.alarm = f"{one['name']}: was: {one['detail']}; is over{since}"
        else:
            self.alarm = f"{len(alarms)} alarms of the log stand"

    def _forget(self) -> None:
        """Drop what is held of the vault: pictures, rows, texts, dialogs about them."""
        while len(self.screen_stack) > 2:
            top = self.screen
            if isinstance(top, Dialog):
                top.dismiss(None)
            else:
                self.pop_screen()
        for page in self.pages():
            page.forget()
        self.painter.drop_all()
        self.notices.forget()
        self.watched.forget()
        self.clear_notifications()
        if self.unsent.undo():
            self._not_shared = "the vault was locked: what waited is not shared"
        if self._not_shared:
            self.say(self._not_shared, error=True)

    def _go_in_by_itself(self) -> None:
        """Go in the first time, as a command would; after that a person presses Enter."""
        seen = self.gateway.connection
        begun = self._going_in or seen in self._entered
        if seen in (Connection.STOPPED, Connection.LOCKED) and not begun:
            self._entered.add(seen)
            self.go_in(asked=False)

    def go_in(self, *, asked: bool) -> None:
        """Start, unlock or set up what is missing; once at a time."""
        if not self._going_in:
            self._going_in = True
            if self.gateway.connection is not Connection.LOCKED:
                # Whoever has a node started wants to be let in, too.
                self._entered.discard(Connection.LOCKED)
            self.run_worker(partial(self._go_in, asked=asked), name="entry")

    async def _go_in(self, *, asked: bool) -> None:
        let_in = False
        try:
            let_in = await entry.enter(self, asked=asked)
        except GatewayError as error:
            self.say(str(error), error=True)
        finally:
            self._going_in = False
        if self._lost and self.gateway.connection is Connection.LOCKED and not let_in:
            # What was kept of a node that was lost was kept for whoever has the passphrase.
            self._lost = False
            self._forget()
            self._collecting.forget()
        # What came meanwhile was left to this.
        self._go_in_by_itself()

    def begin_with(self, what: str) -> None:
        """Go on from a new vault: ``import``, ``join`` or ``look``."""
        if isinstance(self.screen, Page) and what == "import":
            self.call_later(self.screen.run_action, "import")
        elif what == "join":
            self.action_show("team")
            self.call_later(self.screen.run_action, "join")

    def say(self, text: str, *, error: bool = False) -> None:
        """Say something in the status line of whatever screen is in front."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Page):
                screen.say(text, error=error)
                return

    # Words ----------------------------------------------------------------------------------------

    def connection_sentence(self) -> str:
        """Return one sentence and a key where there is no node to talk to, else nothing."""
        said = _SENTENCES.get(self.gateway.connection, "")
        return said.format(key=self.key_of("page.enter"))

    def key_of(self, binding: str) -> str:
        """Return the key to press for a binding, by its id, as a person reads it.

        Whatever names a key asks for it here: the person may have chosen another.
        """
        return key_that_holds(self._chosen_keys, binding)

    def node_words(self) -> tuple[str, ...]:
        """Return the node's state for the end of the title line, the fullest words first."""
        state = _STATES[self.gateway.connection]
        if state:
            return (state,)
        status = self.gateway.status
        online = f"● {status.get('peers', 0)} online"
        name = str(status.get("name", ""))
        if self.notices.unread:
            new = f"{self.notices.unread} new ({self.key_of('app.notices')})"
            return (f"{new} · {name} · {online}", f"{new} · {online}", new)
        return (f"{name} · {online}", online, online.removesuffix(" online"))

    # Keys of every screen -------------------------------------------------------------------------

    def action_show(self, name: str) -> None:
        """Put a screen in front."""
        if isinstance(self.screen, Page):
            self.switch_screen(name)

    def action_show_keys(self) -> None:
        """Show every key that does something here."""
        self.push_screen(KeysDialog(self.screen))

    def action_lock(self) -> None:
        """Lock the vault; every picture that is held here is dropped."""
        self.run_worker(self._lock)

    async def _lock(self) -> None:
        await self.unsent.send_now()
        if isinstance(self.screen, PhraseDialog):
            return  # It would be lost.
        try:
            await self.gateway.call("lock", Lock())
        except GatewayError as error:
            self.say(str(error), error=True)
            return
        self._forget()
        self.gateway.look_again()

    def action_notices(self) -> None:
        """Show what happened while the program runs."""
        from tui.screens.notices import NoticesDialog

        if isinstance(self.screen, Page):
            self.push_screen(NoticesDialog(self.notices.read()))

    def action_alarms(self) -> None:
        """Show the alarms that stand."""
        from tui.screens.notices import AlarmsDialog

        if not self.alarms:
            self.say("no alarm stands: no log contradicts itself that nobody has looked into")
        elif isinstance(self.screen, Page):
            self.push_screen(AlarmsDialog(self))

    def action_theme(self, name: str) -> None:
        """Show other colours, from now on."""
        self.theme = name
        try:
            remember_theme(settings_path(), name)
        except OSError as error:
            self.say(f"the theme is not remembered: {error.strerror}", error=True)

    def action_undo(self) -> None:
        """Take back a share that is not sent yet."""
        if not self.unsent.undo():
            self.say("nothing to take back: what is sent is revoked on the screen Shared by me")

    async def action_leave(self) -> None:
        """Go back to the library, or quit from there."""
        if not self.go_back():
            await self.action_quit()

    def go_back(self) -> bool:
        """Go to the screen before, else to the library; say whether there was a way back."""
        if len(self.screen_stack) > 2:
            self.pop_screen()
        elif isinstance(self.screen, Page) and self.screen.NAME != table.FIRST:
            self.switch_screen("library")
        else:
            return False
        return True

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Name every action of the screen in front, with its key. None of them takes pictures."""
        yield from table.palette(self, screen)

    # What the framework would let out, shut -------------------------------------------------------

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters without the one whose small cache pictures defeat."""
        return [
            self._greys if isinstance(one, NoColor) else one
            for one in super().get_line_filters()
            if not isinstance(one, ANSIToTruecolor)
        ]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the colours that the framework's own themes do not name."""
        return VARIABLES

    def _to_terminal(self, text: str) -> None:
        """Send what is no part of a line: pictures that the terminal itself draws."""
        if self._driver is not None:
            self._driver.write(text)

    def export_screenshot(self, *_args: Any, **_kwargs: Any) -> str:
        """Refuse: a screen holds pictures, and a file of it is a copy in the clear."""
        raise PermissionError("Safelight takes no screenshots of itself")

    def save_screenshot(self, *_args: Any, **_kwargs: Any) -> str:
        """Refuse, as `export_screenshot`."""
        raise PermissionError("Safelight takes no screenshots of itself")

    def deliver_screenshot(self, *_args: Any, **_kwargs: Any) -> str | None:
        """Refuse, as `export_screenshot`."""
        raise PermissionError("Safelight takes no screenshots of itself")

    def action_screenshot(self, *_args: Any, **_kwargs: Any) -> None:
        """Refuse, as `export_screenshot`."""

    def _fatal_error(self) -> None:
        """End after a fault with where it was, never with what the variables held."""
        from rich.traceback import Traceback

        self.bell()
        self.painter.drop_all()
        traceback = Traceback(show_locals=False, width=None)
        self._exit_renderables.append(
            Segments(self.console.render(traceback, self.console.options))
        )
        self._close_messages_no_wait()
