"""A question in front of a screen: what, about whom, with what consequence.

Belongs here: the frame of a dialog, a list of answers with the safe one in focus.
Never here: what is asked (the screens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

T = TypeVar("T")


class Dialog(ModalScreen[T], Generic[T]):
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
    }
    Dialog .heading { text-style: bold; color: $primary; height: auto; }
    Dialog .words { height: auto; color: $foreground; }
    Dialog .consequence { height: auto; color: $warning; }
    Dialog .wrong { height: auto; color: $error; }
    Dialog VerticalScroll { height: auto; max-height: 66vh; }
    Dialog .answers { height: auto; align-horizontal: right; }
    Dialog .answers Button { min-width: 8; height: 1; border: none; margin: 0 0 0 1; }
    Dialog Input { height: 1; border: none; padding: 0 1; background: $panel; }
    """

    def action_give_up(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


@dataclass(frozen=True, slots=True)
class Answer:
    """One way to end a dialog."""

    key: str
    label: str
    value: str
    dangerous: bool = False


class Ask(Dialog[str | None]):
    """A question with a few answers; the first is the safe one and has the focus."""

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

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            with VerticalScroll(can_focus=False, classes="words"):
                if self._words:
                    yield Static(Content(self._words), classes="words")
                if self._consequence:
                    yield Static(Content(self._consequence), classes="consequence")
            with Horizontal(classes="answers"):
                for answer in self._answers:
                    yield Button(
                        Content(f"{answer.label} ({answer.key})"),
                        variant="error" if answer.dangerous else "default",
                        id=f"answer-{answer.value}",
                    )

    def on_mount(self) -> None:
        """Keys of the answers work at once; the safe one is in focus."""
        self.query_one(f"#answer-{self._answers[0].value}", Button).focus()

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


class AskText(Dialog[str | None]):
    """A question that is answered by typing one line."""

    def __init__(
        self,
        heading: str,
        words: str = "",
        *,
        value: str = "",
        placeholder: str = "",
        password: bool = False,
    ) -> None:
        super().__init__()
        self._heading = heading
        self._words = words
        self._value = value
        self._placeholder = placeholder
        self._password = password

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            if self._words:
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

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with what was typed."""
        self.dismiss(event.value)
