"""The app: which screens there are, and what is the same on all of them.

Belongs here: the table of screens, keys of every screen, the watch over the node, the leaks of
the framework that are shut here.
Never here: what one screen does, or a call that belongs to one.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from rich.segment import Segments
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import ANSIToTruecolor, LineFilter
from textual.screen import Screen

from node.cli.picture import Depth
from node.control.schema import Lock, Status
from tui.gateway import Connection, Gateway, GatewayError
from tui.keymap import keymap_path, read_keymap
from tui.notices import Notices
from tui.pictures.painter import Painter
from tui.pictures.terminal import SETTING, depth_of, pictures_of
from tui.screens import entry, table
from tui.screens.dialog import Dialog
from tui.screens.help import KeysDialog
from tui.screens.page import Page
from tui.screens.share import PhraseDialog, Unsent, Watched
from tui.settings import read_settings, remember_theme, settings_path
from tui.theme import NAMES, THEMES, first_theme
from tui.times import now

_STATES: Final = {
    Connection.CONNECTING: "…",
    Connection.NO_VAULT: "no vault",
    Connection.STOPPED: "no node",
    Connection.LOCKED: "locked",
    Connection.READY: "",
    Connection.LOST: "node lost",
}

_SENTENCES: Final = {
    Connection.CONNECTING: "Looking for the node.",
    Connection.NO_VAULT: "There is no vault here yet. Press Enter to make one.",
    Connection.STOPPED: "No node runs. Press Enter to start it.",
    Connection.LOCKED: "The vault is locked. Press Enter to unlock it.",
    Connection.LOST: "The node is gone. It is being looked for; Enter starts it.",
}


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
        self.painter = Painter(self.pictures, depth, self._to_terminal)
        """Draws them."""
        self.notices = Notices(self.settings)
        """What happened while the program runs."""
        self.unsent = Unsent(self)
        """A share that can still be taken back."""
        self.watched = Watched(self)
        """The share that was sent last."""
        self._entered: set[Connection] = set()
        self._going_in = False
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
        self.set_keymap(chosen)

    # Life -----------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Show the library and begin to watch the node."""
        self.push_screen("library")
        # The frame is on the screen first.
        self.call_after_refresh(self.gateway.start)
        # What is loaded now stays: looking through it for garbage would hold the screen.
        self.call_after_refresh(gc.freeze)
        for problem in self.problems:
            self.notify(problem, severity="warning", markup=False)

    async def action_quit(self) -> None:
        """Leave; what waits to be sent is sent first, and phrases are not lost."""
        await self.unsent.send_now()
        if not isinstance(self.screen, PhraseDialog):
            self.exit(0)

    async def on_unmount(self) -> None:
        """Hang up; the terminal keeps no picture."""
        self.painter.drop_all()
        await self.gateway.close()

    def _connection_changed(self, seen: Connection) -> None:
        if seen in (Connection.STOPPED, Connection.LOCKED) and seen not in self._entered:
            # The first time, as a command would; after that a person presses Enter.
            self._entered.add(seen)
            self.go_in(asked=False)
        if seen is Connection.LOCKED:
            self._forget()
        self._take_alarms(self.gateway.status.get("alarms") or [])
        for page in self.pages():
            page.connection_changed()
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
        if event.get("kind") == "alarm":
            self.look_at_alarms()
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

    def look_at_alarms(self) -> None:
        """Ask the node which alarms stand."""
        self.run_worker(self._look_at_alarms(), group="alarms", exclusive=True)

    async def _look_at_alarms(self) -> None:
        try:
            status = await self.gateway.call("status", Status())
        except GatewayError:
            return  # The next connection tells them.
        self._take_alarms(status["alarms"])
        self._refresh_frames()

    def _take_alarms(self, alarms: list[dict[str, Any]]) -> None:
        self.alarms = alarms
        if not alarms:
            self.alarm = ""
        elif len(alarms) == 1:
            self.alarm = f"{alarms[0]['name']}: {alarms[0]['detail']} (A)"
        else:
            self.alarm = f"{len(alarms)} alarms of the log stand (A)"

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

    def go_in(self, *, asked: bool) -> None:
        """Start, unlock or set up what is missing; once at a time."""
        if not self._going_in:
            self._going_in = True
            self.run_worker(self._go_in(asked=asked), name="entry")

    async def _go_in(self, *, asked: bool) -> None:
        try:
            await entry.enter(self, asked=asked)
        except GatewayError as error:
            if isinstance(self.screen, Page):
                self.screen.say(str(error), error=True)
        finally:
            self._going_in = False

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
        return _SENTENCES.get(self.gateway.connection, "")

    def node_words(self) -> str:
        """Return the node's state for the end of the title line."""
        state = _STATES[self.gateway.connection]
        if state:
            return state
        status = self.gateway.status
        parts = [str(status.get("name", "")), f"{status.get('peers', 0)} online"]
        if self.notices.unread:
            parts.insert(0, f"{self.notices.unread} new (I)")
        return " · ".join(parts)

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
        self.run_worker(self._lock())

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
            self.say("no alarm stands: nobody's log contradicts what it said before")
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
        if len(self.screen_stack) > 2:
            self.pop_screen()
        elif isinstance(self.screen, Page) and self.screen.NAME != table.FIRST:
            self.switch_screen("library")
        else:
            await self.action_quit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Name every action of the screen in front, with its key. None of them takes pictures."""
        yield from table.palette(self, screen)

    # What the framework would let out, shut -------------------------------------------------------

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters without the one whose small cache pictures defeat."""
        return [one for one in super().get_line_filters() if not isinstance(one, ANSIToTruecolor)]

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
