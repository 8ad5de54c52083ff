"""Inviting and joining: a role, a code with what to scan, and oneself as others see one.

Belongs here: the dialogs of the team's screen that are more than a question, and reading a code.
Never here: when they come and what follows (``team``), what a role may do (the node's policy).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from node.control.schema import InviteCancel, InviteWait, Join
from tui.gateway import GatewayError
from tui.screens.dialog import Dialog
from tui.times import left
from tui.widgets.fixed import Fixed
from tui.widgets.qr import qr_lines
from tui.widgets.rows import Chosen, Column, Moved, Rows

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.widgets.pages import Row

T = TypeVar("T")

ROLES = {
    "editor": "shares, and is granted everything",
    "publisher": "approved pictures only: nothing yet in this version",
    "reviewer": "shares nothing; looks, comments, rates, approves",
    "guest": "shares nothing; looks, comments and rates, where guests may",
    "admin": "as an editor, and changes the team",
}
"""Role to what it may."""
_LEAST_WORDS = 34
"""Columns of the words beside a code, and of the frame."""
_FRAME = 4
"""Lines of the frame and the heading."""
_GROUPS = 5
"""Groups of a fingerprint in a line."""


def join_by(text: str) -> Join:
    """Return how to join: a code, and maybe an address or a rendezvous after it."""
    *words, last = text.split()
    if not words or ":" not in last:
        return Join(code=text)
    code = " ".join(words)
    return Join(code=code, rendezvous=last) if "/" in last else Join(code=code, at=last)


class BesideQr(Dialog[T], Generic[T]):
    """Words, and a QR code beside them where there is room for it."""

    DEFAULT_CSS = """
    BesideQr .beside { height: auto; }
    BesideQr .beside VerticalScroll { width: 1fr; }
    BesideQr .qr { width: auto; height: auto; margin-left: 2;
                   color: #ffffff; background: #000000; }
    BesideQr.low .beside { height: 1fr; }
    BesideQr.low .beside VerticalScroll { height: 1fr; }
    """
    HINTS = (("dialog.cancel", "closes"),)

    def __init__(self, heading: str, coded: str) -> None:
        super().__init__()
        self._heading = heading
        self._code = qr_lines(coded)

    def told(self) -> ComposeResult:
        """Give the words."""
        yield from ()

    def compose(self) -> ComposeResult:
        """Lay out the words and the code."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            with Horizontal(classes="beside"):
                with VerticalScroll(classes="words"):
                    yield from self.told()
                yield Static(Content("\n".join(self._code)), classes="qr")
            yield Static("", classes="wrong")

    def on_mount(self) -> None:
        """Let the arrows scroll."""
        self.query_one(VerticalScroll).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Show the code where it is whole."""
        super().on_resize(event)
        wide = event.size.width >= len(self._code[0]) + _LEAST_WORDS
        self.query_one(".qr").display = wide and event.size.height >= len(self._code) + _FRAME


class IdentityDialog(BesideQr[None]):
    """The own words and fingerprint, and a QR code where there is room."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q,w", "give_up", "close", show=False, id="identity.close"),
    ]

    def __init__(self, row: Row) -> None:
        super().__init__(f"{row['name']}, as others see you", str(row["fingerprint"]).upper())
        self._row = row

    def told(self) -> ComposeResult:
        """Give words and fingerprint."""
        yield Static(Content("  ".join(self._row["words"])))
        yield Static(classes="gap")
        groups = str(self._row["fingerprint"]).split("-")
        rows = [groups[start : start + _GROUPS] for start in range(0, len(groups), _GROUPS)]
        yield Static(Content("-\n".join("-".join(row) for row in rows)))
        yield Static(classes="gap")
        yield Static(Content("Others see the same words: compare them by voice."))


class RoleDialog(Dialog[str | None]):
    """Chooses a role."""

    DEFAULT_CSS = """
    RoleDialog Rows { height: 6; }
    RoleDialog.low Rows { height: 1fr; }
    """
    HINTS = (("list.choose", "chooses"), ("dialog.cancel", "cancels"))

    def __init__(self, heading: str) -> None:
        super().__init__()
        self._heading = heading

    def compose(self) -> ComposeResult:
        """Lay out the roles."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            yield Rows(
                (
                    Column(title="role", text=lambda row: str(row["role"]), width=10),
                    Column(title="may", text=lambda row: str(row["may"])),
                ),
                key=lambda row: row["role"],
            )

    def on_mount(self) -> None:
        """Show the roles, the common one first."""
        rows = self.query_one(Rows)
        rows.show(Fixed([{"role": role, "may": may} for role, may in ROLES.items()]))
        rows.focus()

    def on_chosen(self, message: Chosen) -> None:
        """End with the role under the cursor."""
        message.stop()
        row = self.query_one(Rows).current
        if row is not None:
            self.dismiss(str(row["role"]))

    def on_moved(self, message: Moved) -> None:
        """Keep it here: the screen behind has rows of its own."""
        message.stop()


class InvitationDialog(BesideQr["dict[str, Any] | None"]):
    """Shows a code and waits for who uses it; Esc takes it back."""

    DEFAULT_CSS = """
    InvitationDialog .code { text-style: bold; color: $accent; padding: 1 0; }
    InvitationDialog.low .code { padding: 0; }
    """
    HINTS = (("dialog.cancel", "takes it back"),)

    def __init__(self, gateway: Gateway, invitation: dict[str, Any]) -> None:
        super().__init__("Invitation", str(invitation["code"]))
        self._gateway = gateway
        self._invitation = invitation

    def told(self) -> ComposeResult:
        """Give the code, how to use it, and how long it is good for."""
        invitation = self._invitation
        how = "They choose Join on their Team screen, or run safelight join, and type this code."
        lines = [f"{how} It is good for one try."]
        ways = [("--rendezvous", invitation.get("rendezvous"))]
        ways += [("--at", one) for one in (invitation.get("addresses") or [])[:1]]
        lines += [
            f"Where that finds nobody: {place} typed after it, or safelight join {option} {place}"
            for option, place in ways
            if place
        ]
        yield Static(Content(str(invitation["code"])), classes="code")
        yield Static("", classes="consequence", id="left")
        yield Static(Content("\n".join(lines)))

    def on_mount(self) -> None:
        """Wait, and count down."""
        super().on_mount()
        self._count()
        self.set_interval(1, self._count)
        self.run_worker(self._wait)

    def _count(self) -> None:
        self.query_one("#left", Static).update(
            Content(f"waiting, {left(self._invitation['expires_at'])} left")
        )

    async def _wait(self) -> None:
        try:
            came = await self._gateway.call(
                "invite_wait", InviteWait(number=self._invitation["number"])
            )
        except GatewayError as error:
            self.query_one(".wrong", Static).update(Content(str(error)))
        else:
            self.dismiss(came)

    def action_give_up(self) -> None:
        """Take the invitation back."""
        self.run_worker(self._cancel)

    async def _cancel(self) -> None:
        # Where it is over already, that is what was wanted.
        with contextlib.suppress(GatewayError):
            await self._gateway.call(
                "invite_cancel", InviteCancel(number=self._invitation["number"])
            )
        self.dismiss(None)
