"""A question in front of a screen: what, about whom, with what consequence.

Belongs here: the frame of a dialog, a list of answers with the safe one in focus.
Never here: what is asked (the screens).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar, cast

from rich.console import RenderableType
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from tui.gateway import Connection
from tui.screens.parting import Parting

if TYPE_CHECKING:
    from tui.app import SafelightApp

T = TypeVar("T")

_LOW: Final = 20
"""Lines of a terminal in which a dialog takes all of them."""


class Shaded(BackgroundScreen):
    """The screen behind a dialog, each of its few styles shaded once and not letter by letter."""

    @classmethod
    def process_segments(cls, segments: Iterable[Segment], color: Color) -> Iterable[Segment]:
        """Return segments in a colour's shade."""
        shaded: dict[Style | None, Style | None] = {}
        for text, style, control in segments:
            if style not in shaded:
                (one,) = super().process_segments((Segment(text, style),), color)
                shaded[style] = one.style
            yield Segment(text, shaded[style], control)


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
    """Keys and what they do here, for the frame's lower edge; the last one is always there."""

    def render(self) -> RenderableType:
        """Draw what is behind."""
        behind = super().render()
        if isinstance(behind, BackgroundScreen):
            return Shaded(behind.screen, behind.color)
        return behind

    def hints(self) -> Sequence[tuple[str, str]]:
        """Return what stands on the frame's lower edge."""
        return self.HINTS

    def on_resize(self, event: events.Resize) -> None:
        """Use the whole of a low terminal, and say as many keys as the frame has room for."""
        self.set_class(event.size.height < _LOW, "low")
        self.call_after_refresh(self.say_hints)

    def say_hints(self) -> None:
        """Say as many keys as the frame's lower edge has room for."""
        for box in self.query(".box"):
            room = box.outer_size.width - 6
            shown = list(self.hints())
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
            line.update(Content("The node was gone and is started. This stays: Enter again."))
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

    def hints(self) -> Sequence[tuple[str, str]]:
        """Return how to come to another answer, where there is one."""
        several = (("Tab", "another answer"),) if len(self._answers) > 1 else ()
        return (*several, ("Esc", "closes"))

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

    HINTS = (("Enter", "goes on"), ("Esc", "cancels"))

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

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with what was typed."""
        if not self.stays():
            self.dismiss(event.value)
