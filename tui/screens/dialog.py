"""A question in front of a screen: what, about whom, with what consequence.

Belongs here: the frame of a dialog, a list of answers with the safe one in focus.
Never here: what is asked (the screens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar, cast

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from tui.gateway import Connection
from tui.screens.parting import Parting

if TYPE_CHECKING:
    from tui.app import SafelightApp

T = TypeVar("T")

_LOW: Final = 20
"""Lines of a terminal in which a dialog takes all of them."""
_COLUMNS: Final = 72
_PART: Final = 0.96
"""Columns of a dialog, and its part of the terminal at most."""
_FRAME_COLUMNS: Final = 4
_FRAME_LINES: Final = 2
_GAPS: Final = 2
"""Lines that are free where there is room: below the heading, above the answers."""
_BUTTON: Final = 3
"""Columns of an answer's button besides its words."""
_FEWEST_WORDS: Final = 3
"""Lines of the words at least, however long the heading."""


class Dialog(Parting[T], ModalScreen[T], Generic[T]):
    """A box over a screen. Esc gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "cancel", show=False, id="dialog.cancel"),
        Binding("question_mark", "app.show_keys", "keys here", show=False, id="dialog.keys"),
    ]
    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .box {
        width: 72; max-width: 96%; height: auto; max-height: 96%;
        border: round $primary; background: $surface; padding: 0 1;
        border-subtitle-align: right; border-subtitle-color: $dim;
        border-subtitle-background: $surface;
    }
    Dialog.low > .box { max-width: 100%; height: 100%; max-height: 100%; }
    Dialog.low > .box > VerticalScroll { height: 1fr; max-height: 100%; }
    Dialog.dangerous > .box { border: round $error; }
    Dialog.dangerous .heading { color: $error; }
    Dialog .heading { text-style: bold; color: $primary; height: auto; margin-bottom: 1; }
    Dialog.low .heading { margin-bottom: 0; }
    Dialog .gap { height: 1; }
    Dialog.low .gap { display: none; }
    Dialog .words { height: auto; color: $foreground; }
    Dialog .consequence { height: auto; color: $warning; }
    Dialog .wrong { height: auto; color: $error; }
    Dialog VerticalScroll { height: auto; max-height: 66vh; }
    Dialog .answers { height: auto; align-horizontal: right; }
    Dialog .answers Button { min-width: 8; height: 1; border: none; margin: 0 0 0 1; }
    Dialog Input { height: 1; border: none; padding: 0 1; background: $panel; }
    """

    HINTS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Keys and what they do here, for the frame's lower edge; the last one is always there.

    A key is the id of its binding, or several with spaces between; one that nobody can choose
    otherwise stands as it is.
    """

    def hints(self) -> Sequence[tuple[str, str]]:
        """Return what stands on the frame's lower edge."""
        return self.HINTS

    def key_of(self, binding: str) -> str:
        """Return the key to press for a binding, by its id, as a person reads it."""
        return cast("SafelightApp", self.app).key_of(binding)

    def shown_hints(self) -> list[tuple[str, str]]:
        """Return what stands on the frame's lower edge, with the keys that hold."""
        return [
            (" ".join(self.key_of(one) if "." in one else one for one in keys.split()), words)
            for keys, words in self.hints()
        ]

    def on_resize(self, event: events.Resize) -> None:
        """Use the whole of a low terminal, and say as many keys as the frame has room for."""
        self.set_class(event.size.height < _LOW, "low")
        self.call_after_refresh(self.say_hints)

    def say_hints(self) -> None:
        """Say as many keys as the frame's lower edge has room for."""
        for box in self.query(".box"):
            room = box.outer_size.width - 6
            shown = self.shown_hints()
            while len(shown) > 1 and len(" · ".join(map(" ".join, shown))) > room:
                shown.pop(-2)
            said = [Content.assemble((key, "bold $accent"), f" {words}") for key, words in shown]
            box.border_subtitle = Content(" · ").join(said) if said else None

    def action_give_up(self) -> None:
        """Close without an answer."""
        self.dismiss(None)

    def stays(self) -> bool:
        """Say whether what was typed has to stay, there being no node to take it: start one."""
        program = cast("SafelightApp", self.app)
        if program.gateway.connection is Connection.READY:
            return False
        for line in self.query(".wrong").results(Static):
            line.display = True
            again, _ = self.shown_hints()[0]
            line.update(Content(f"The node was gone and is started. This stays: {again} again."))
        program.go_in(asked=True)
        return True


@dataclass(frozen=True, slots=True)
class Answer:
    """One way to end a dialog."""

    key: str
    label: str
    value: str
    dangerous: bool = False


class Ask(Dialog[str | None]):
    """A question with a few answers; the first is the safe one and has the focus.

    Every answer is in sight whatever the terminal; words that it has no room for are scrolled,
    and the frame says so.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "read(1)", "read on", show=False, id="ask.down"),
        Binding("up", "read(-1)", "read back", show=False, id="ask.up"),
        Binding("pagedown", "read_page(1)", "page down", show=False, id="ask.page-down"),
        Binding("pageup", "read_page(-1)", "page up", show=False, id="ask.page-up"),
    ]
    DEFAULT_CSS = """
    Ask.stacked .answers { layout: vertical; }
    Ask.stacked .answers Button { width: 100%; margin: 0; }
    """

    def __init__(
        self,
        heading: str,
        words: str = "",
        *,
        consequence: str = "",
        answers: Sequence[Answer],
    ) -> None:
        super().__init__()
        self._heading = heading
        self._words = words
        self._consequence = consequence
        self._answers = tuple(answers)

    def hints(self) -> Sequence[tuple[str, str]]:
        """Return whether there is more to read, and how to come to another answer."""
        more: tuple[tuple[str, str], ...] = ()
        for words in self.query(VerticalScroll):
            if words.scroll_y < words.max_scroll_y:
                more = (("ask.page-down", "more"),)
            elif words.max_scroll_y:
                more = (("ask.page-up", "back"),)
        several = (("Tab", "another answer"),) if len(self._answers) > 1 else ()
        return (*more, *several, ("dialog.cancel", "closes"))

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        self.set_class(any(one.dangerous for one in self._answers), "dangerous")
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            with VerticalScroll(can_focus=False, classes="words"):
                if self._words:
                    yield Static(Content(self._words), classes="words")
                if self._consequence:
                    yield Static(Content(f"! {self._consequence}"), classes="consequence")
            yield Static(classes="gap")
            with Horizontal(classes="answers"):
                for answer in self._answers:
                    yield Button(
                        Content(_words_of(answer)),
                        variant="error" if answer.dangerous else "default",
                        id=f"answer-{answer.value}",
                    )

    def on_mount(self) -> None:
        """Keys of the answers work at once; the safe one is in focus."""
        self.query_one(f"#answer-{self._answers[0].value}", Button).focus()
        words = self.query_one(VerticalScroll)
        for what in ("scroll_y", "show_vertical_scrollbar"):
            self.watch(words, what, self.say_hints, init=False)

    def on_resize(self, event: events.Resize) -> None:
        """Keep every answer in sight: what is left is for the words."""
        super().on_resize(event)
        low = self.has_class("low")
        columns = min(_COLUMNS, int(event.size.width * (1 if low else _PART))) - _FRAME_COLUMNS
        lines = int(event.size.height * (1 if low else _PART)) - _FRAME_LINES
        if not low:
            lines -= _GAPS
        stacked = sum(cell_len(_words_of(one)) + _BUTTON for one in self._answers) > columns
        self.set_class(stacked, "stacked")
        lines -= len(self._answers) if stacked else 1
        heading = min(
            Content(self._heading).get_height({}, max(1, columns)), max(1, lines - _FEWEST_WORDS)
        )
        self.query_one(".heading").styles.max_height = heading
        self.query_one(VerticalScroll).styles.max_height = max(1, lines - heading)

    def action_read(self, by: int) -> None:
        """Scroll the words by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_read_page(self, by: int) -> None:
        """Scroll the words by what is seen of them, less a line."""
        self.action_read(by * max(1, self.query_one(VerticalScroll).size.height - 1))

    def on_key(self, event: events.Key) -> None:
        """End with the answer of this letter."""
        for answer in self._answers:
            if event.character == answer.key:
                # Else the screen behind, which is in front by then, would take the letter too.
                event.stop()
                self.dismiss(answer.value)
                return

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """End with the answer of this button."""
        self.dismiss((event.button.id or "").removeprefix("answer-"))


def _words_of(answer: Answer) -> str:
    return f"{answer.label} ({answer.key})"


class AskText(Dialog[str | None]):
    """A question that is answered by typing one line."""

    HINTS = (("Enter", "goes on"), ("dialog.cancel", "cancels"))

    def __init__(
        self,
        heading: str,
        words: str = "",
        *,
        value: str = "",
        placeholder: str = "",
        password: bool = False,
        needs: str = "",
    ) -> None:
        """``needs`` is said of an empty line; without it an empty line is an answer, too."""
        super().__init__()
        self._heading = heading
        self._words = words
        self._value = value
        self._placeholder = placeholder
        self._password = password
        self._needs = needs

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            if self._words:
                with VerticalScroll(can_focus=False, classes="words"):
                    yield Static(Content(self._words), classes="words")
            yield Input(
                value=self._value,
                placeholder=self._placeholder,
                password=self._password,
                select_on_focus=False,
            )
            yield Static("", classes="wrong")

    def wrong(self, text: str) -> None:
        """Say what is wrong with what was typed; it stays."""
        self.query_one(".wrong", Static).update(Content(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Take back what was said of the line as it was before."""
        if event.value:
            self.wrong("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with what was typed."""
        if self._needs and not event.value.strip():
            self.wrong(self._needs)
        elif not self.stays():
            self.dismiss(event.value)
