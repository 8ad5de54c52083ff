"""The way in: starting the node, unlocking it, and the first walk of a new vault.

Belongs here: what Enter does while there is no unlocked node, and the dialogs of that.
Never here: anything that needs an unlocked node.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from node.control.client import SafelightError
from node.control.schema import Unlock
from tui.gateway import Connection, GatewayError
from tui.screens.dialog import Answer, Ask, AskText, Dialog
from tui.text import clean

if TYPE_CHECKING:
    from tui.app import SafelightApp

LEAST_LETTERS: Final = 8
"""Of a new passphrase, as `safelight init` demands."""
_LOOK_S: Final = 0.02
_HIGH: Final = 20
"""Lines of a terminal in which the phrase is seen whole."""
_WIDE: Final = 64
"""Columns for four words beside each other."""
_ASKED_WORDS: Final = 3
"""Words of the recovery phrase that are asked for again: who can give them has written them."""


async def enter(app: SafelightApp, *, asked: bool) -> bool:
    """Do what leads to an unlocked node; ``asked`` says that a person pressed Enter for it.

    Says whether nobody was turned away for want of the passphrase.
    """
    connection = app.gateway.connection
    if connection is Connection.NO_VAULT:
        if asked:
            await _first_run(app)
    elif connection is Connection.LOCKED:
        return await _unlock(app, asked=asked)
    elif connection is not Connection.READY:
        await _start(app)
    return True


async def _start(app: SafelightApp) -> None:
    app.say("starting the node …")
    await app.gateway.start_node()
    app.say("")


async def _unlock(app: SafelightApp, *, asked: bool) -> bool:
    by_person = bool(app.gateway.status.get("locked_by_user"))
    if app.passphrase_file is not None and not by_person:
        try:
            text = await asyncio.to_thread(app.passphrase_file.read_text, "utf-8")
            await app.gateway.call("unlock", Unlock(passphrase=text.split("\n", 1)[0].rstrip("\r")))
        except (OSError, UnicodeDecodeError, GatewayError):
            app.passphrase_file = None
        else:
            app.gateway.look_again()
            return True
    if by_person and not asked:
        return False
    return await app.push_screen_wait(UnlockDialog(app)) is not None


class UnlockDialog(AskText):
    """Asks for the passphrase until it is the right one or Esc."""

    def __init__(self, app: SafelightApp) -> None:
        super().__init__("Unlock", "The passphrase of this vault:", password=True)
        self._program = app
        self._checking = False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Try what was typed."""
        event.stop()
        event.prevent_default()  # The plain question would end with whatever was typed.
        if event.value and not self._checking:
            self._checking = True
            self.wrong("…")
            self.run_worker(partial(self._try, event.value))

    async def _try(self, passphrase: str) -> None:
        try:
            await self._program.gateway.call("unlock", Unlock(passphrase=passphrase))
        except GatewayError as error:
            # Nobody sees what stands in the line: what is typed next takes its place.
            self.query_one(Input).value = ""
            self.wrong(str(error))
            self._checking = False
        else:
            self._program.gateway.look_again()
            self.dismiss("unlocked")


# The first walk -----------------------------------------------------------------------------------


async def _first_run(app: SafelightApp) -> None:
    """Name, passphrase, recovery phrase shown and confirmed; then import or join."""
    made = await app.push_screen_wait(NewVaultDialog(app.home))
    if made is None:
        return
    await app.push_screen_wait(RecoveryDialog(made.recovery_phrase.split()))
    name, passphrase = made.name, made.passphrase
    del made
    await _start(app)
    await app.gateway.call("unlock", Unlock(passphrase=passphrase))
    app.gateway.look_again()
    while app.gateway.connection is not Connection.READY:  # noqa: ASYNC110  the app is told, not this
        await asyncio.sleep(_LOOK_S)
    chosen = await app.push_screen_wait(
        Ask(
            f"Welcome, {clean(name)}",
            "Your vault is ready. Begin with pictures of your own, or join your team.",
            answers=(
                Answer("i", "Import pictures", "import"),
                Answer("j", "Join a team", "join"),
                Answer("l", "Look around", "look"),
            ),
        )
    )
    app.begin_with(chosen or "look")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A vault that was made just now."""

    name: str
    passphrase: str = field(repr=False)
    recovery_phrase: str = field(repr=False)


class NewVaultDialog(Dialog[Made | None]):
    """Asks for a name and, twice, a passphrase, and makes the vault."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Before the line has it: letters that follow at once, of a passphrase maybe, are for
        # the next line and must not be read in this one.
        Binding("enter", "next", "go on", show=False, priority=True, id="vault.next"),
    ]
    HINTS = (("Enter", "goes on"), ("dialog.cancel", "cancels"))

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self._making = False

    def compose(self) -> ComposeResult:
        """Lay out the three lines."""
        with Vertical(classes="box"):
            yield Static(Content("A new vault"), classes="heading")
            yield Static(Content("Your name, as your team will see it:"), classes="words")
            yield Input(id="name", select_on_focus=False)
            yield Static(
                Content("A passphrase (four or five random words are easy to keep in mind):"),
                classes="words",
            )
            yield Input(id="passphrase", password=True, select_on_focus=False)
            yield Static(Content("Once more:"), classes="words")
            yield Input(id="again", password=True, select_on_focus=False)
            yield Static("", classes="wrong")

    def action_next(self) -> None:
        """Go to the next line; in the last one Enter is the line's."""
        order = ["name", "passphrase", "again"]
        place = order.index(self.focused.id or "") if isinstance(self.focused, Input) else -1
        if place == len(order) - 1:
            raise SkipAction
        self.set_focus(self.query_one(f"#{order[place + 1]}", Input))

    def action_give_up(self) -> None:
        """Close, but not while the vault is made: its recovery phrase would be lost."""
        if not self._making:
            super().action_give_up()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Make the vault, where what was typed will do."""
        event.stop()
        if self._making:
            return
        name, passphrase, again = (
            self.query_one(f"#{one}", Input).value for one in ("name", "passphrase", "again")
        )
        if not name.strip():
            self._wrong("a name is needed", "name")
        elif len(passphrase) < LEAST_LETTERS:
            self._again(f"the passphrase has fewer than {LEAST_LETTERS} letters: type another one")
        elif passphrase != again:
            self._again("the two are not the same: type both again")
        else:
            self._making = True
            self._say("making the vault …")
            self.run_worker(partial(self._make, name.strip(), passphrase))

    async def _make(self, name: str, passphrase: str) -> None:
        from node.cli.init import create

        try:
            created = await asyncio.to_thread(create, self._home, name, passphrase.encode())
        except SafelightError as error:
            self._making = False
            self._wrong("; ".join(clean(one) for one in (str(error), error.hint) if one), "name")
        else:
            self.dismiss(
                Made(name=name, passphrase=passphrase, recovery_phrase=created.recovery_phrase)
            )

    def _again(self, text: str) -> None:
        # Nobody sees what stands in these lines: what was typed after it would be added to it.
        for one in ("passphrase", "again"):
            self.query_one(f"#{one}", Input).value = ""
        self._wrong(text, "passphrase")

    def _wrong(self, text: str, where: str) -> None:
        self._say(text)
        self.set_focus(self.query_one(f"#{where}", Input))

    def _say(self, text: str) -> None:
        self.query_one(".wrong", Static).update(Content(text))


class RecoveryDialog(Dialog[str]):
    """Shows the recovery phrase once, then asks for three of its words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "read(1)", "read on", show=False, id="recovery.down"),
        Binding("up,k", "read(-1)", "read back", show=False, id="recovery.up"),
    ]
    DEFAULT_CSS = """
    RecoveryDialog #told { height: auto; scrollbar-gutter: stable; }
    RecoveryDialog.low > .box { height: 96%; }
    RecoveryDialog.low #told { height: 1fr; }
    """

    HINTS = (("recovery.up recovery.down", "scroll"), ("Enter", "goes on"))

    def __init__(self, words: list[str]) -> None:
        super().__init__()
        self._words = words
        step = len(words) // _ASKED_WORDS
        self._asked = [step * turn + step // 2 for turn in range(_ASKED_WORDS)]
        self._confirming = False

    def compose(self) -> ComposeResult:
        """Lay out the phrase, and the question that comes after it."""
        with Vertical(classes="box"):
            yield Static(Content("Your recovery phrase, shown this once"), classes="heading")
            with VerticalScroll(id="told", can_focus=False):
                yield Static(
                    Content(
                        "Write it on paper and keep it away from this machine. With a backup it "
                        "brings the vault back; whoever reads it can open the vault."
                    ),
                    classes="words",
                    id="why",
                )
                yield Static(Content(self._numbered()), id="phrase", classes="words")
            yield Input(id="given", select_on_focus=False)
            yield Static("", classes="wrong")
            yield Button(Content("I have written it down"), id="written")

    def on_mount(self) -> None:
        """Show the phrase first."""
        self.query_one("#given", Input).display = False
        self.query_one("#written", Button).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Lay the words out for the room there is; where it is low, they scroll."""
        self.set_class(event.size.height < _HIGH, "low")
        if not self._confirming:
            self.query_one("#phrase", Static).update(Content(self._numbered()))

    def action_read(self, by: int) -> None:
        """Scroll."""
        self.query_one("#told").scroll_relative(y=by, animate=False)

    def action_give_up(self) -> None:
        """Stay: without the phrase a lost passphrase loses everything."""

    def _numbered(self) -> str:
        cells = [f"{number:>2} {word:<10}" for number, word in enumerate(self._words, 1)]
        beside = 4 if self.app.size.width >= _WIDE else 2
        starts = range(0, len(cells), beside)
        return "\n".join(" ".join(cells[start : start + beside]) for start in starts)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Hide the phrase and ask for three words of it; or show it again."""
        event.stop()
        self._confirming = not self._confirming
        given = self.query_one("#given", Input)
        phrase = self.query_one("#phrase", Static)
        given.display = self._confirming
        self.query_one("#why").display = not self._confirming
        if self._confirming:
            numbers = ", ".join(str(one + 1) for one in self._asked)
            phrase.update(Content(f"Type the words {numbers}, with spaces between:"))
            event.button.label = Content("Show it again")
            given.value = ""
            self.set_focus(given)
        else:
            phrase.update(Content(self._numbered()))
            event.button.label = Content("I have written it down")
            self.query_one(".wrong", Static).update(Content(""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End where the words are right."""
        event.stop()
        if event.value.lower().split() == [self._words[one] for one in self._asked]:
            self._words = []
            self.dismiss("kept")
        else:
            self.query_one(".wrong", Static).update(
                Content("those are other words: Tab and Enter show the phrase again")
            )
