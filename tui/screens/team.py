"""Team: who belongs to it, how they are reached, inviting, joining, roles, removing.

Belongs here: the list of members and the dialogs about them.
Never here: what a role may do (the node's policy).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from node.control.schema import (
    Invite,
    InviteCancel,
    InviteWait,
    Join,
    TeamCreate,
    TeamRemove,
    TeamRole,
)
from tui.gateway import GatewayError
from tui.screens.dialog import Answer, Ask, AskText, Dialog
from tui.screens.page import Page
from tui.text import plural
from tui.times import ago, left
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Chosen, Column, Moved, Rows

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.gateway import Gateway
    from tui.widgets.pages import Row

ROLES = ("editor", "publisher", "reviewer", "guest", "admin")
_PATHS = {"lan": "LAN", "relay": "relay", "none": "–"}


class TeamScreen(Page):
    """The members."""

    NAME = "Team"
    LISTENS = frozenset({"peer", "roster", "proposal", "roster_conflict", "roster_resolved"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "invite", "invite", show=False, id="team.invite"),
        Binding("J", "join", "join a team", show=False, id="team.join"),
        Binding("r", "role", "role", show=False, id="team.role"),
        Binding("x", "remove", "remove", show=False, id="team.remove"),
        Binding("w", "words", "words to compare", show=False, id="team.words"),
        Binding("N", "create", "new team", show=False, id="team.create"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._team: dict[str, Any] = {}

    def body(self) -> ComposeResult:
        """Give the list."""
        yield Rows(
            (
                Column(
                    title="",
                    text=lambda row: "● online" if row["online"] else "○ away",
                    style=lambda row: "ok" if row["online"] else "dim",
                    width=8,
                ),
                Column(title="name", text=lambda row: str(row["name"])),
                Column(title="role", text=lambda row: str(row["role"]), width=10),
                Column(title="path", text=lambda row: str(row["path"]), width=6),
                Column(title="rtt", text=_rtt, width=8, least=70),
                Column(title="seen", text=lambda row: str(row["seen"]), width=12, least=80),
                Column(title="why", text=lambda row: str(row["why"]), least=110),
            ),
            key=lambda row: row["fingerprint"],
        )

    @property
    def rows(self) -> Rows:
        """The list."""
        return self.query_one(Rows)

    def first(self) -> Widget:
        """Let the list take keys."""
        return self.rows

    def beside(self) -> str:
        """Return the team's name, its version, and what waits to be signed."""
        if not self._team:
            return ""
        parts = [str(self._team["team"]), plural(self.rows.total, "member")]
        if self._team.get("pending"):
            parts.append(f"{plural(self._team['pending'], 'change')} to sign: safelight team sign")
        return " · ".join(parts)

    def sentence(self) -> str:
        """Say how to get a team."""
        if self.rows.pages.loaded and not self.rows.total:
            return "You are in no team yet. Press J to join one with a code, N to found one."
        return ""

    def keys(self) -> Sequence[Key]:
        """Return the keys of a team."""
        return (
            Key("i", "invite", "invite"),
            Key("w", "words", "words"),
            Key("r", "role", "role"),
            Key("x", "remove", "remove"),
        )

    async def load(self) -> None:
        """Fetch members and how they are reached."""
        try:
            team, peers = await asyncio.gather(
                self.program.gateway.call("team_show"), self.program.gateway.call("peers")
            )
        except GatewayError as error:
            if error.code != "no_team":
                raise
            team, peers = {"team": "", "members": []}, []
        reached = {one["fingerprint"]: one for one in peers}
        me = self.program.gateway.status.get("fingerprint")
        rows = []
        for one in team["members"]:
            path = reached.get(one["fingerprint"], {})
            mine = one["fingerprint"] == me
            rows.append(
                {
                    **one,
                    "online": one["online"] or mine,
                    "path": "me" if mine else _PATHS.get(path.get("path", ""), "–"),
                    "rtt_ms": path.get("rtt_ms"),
                    "seen": "" if mine else ago(one["last_seen"]),
                    "why": path.get("why") or "",
                }
            )
        self._team = team if team["members"] else {}
        self.rows.show(Fixed(rows), keep=self.rows.pages.loaded)

    def on_moved(self, _message: Moved) -> None:
        """Count the members."""
        self.refresh_frame()

    # Actions --------------------------------------------------------------------------------------

    def action_invite(self) -> None:
        """Invite somebody by a code of a few words."""
        self.later(self._invite())

    async def _invite(self) -> None:
        role = await self.program.push_screen_wait(RoleDialog("Invite somebody as"))
        if role is None:
            return
        invitation = await self.ask("invite", Invite(role=role))
        if invitation is None:
            return
        came = await self.program.push_screen_wait(
            InvitationDialog(self.program.gateway, invitation)
        )
        if came is not None:
            await self.program.push_screen_wait(_words_dialog(came["name"], came["words"]))
            self.reload()

    def action_join(self) -> None:
        """Join a team with a code."""
        self.later(self._join())

    async def _join(self) -> None:
        code = await self.program.push_screen_wait(
            AskText("Join a team", "The code, like 7-canyon-lava:", placeholder="7-canyon-lava")
        )
        if not code:
            return
        self.say("looking for whoever invites …")
        joined = await self.ask("join", Join(code=code))
        if joined is not None:
            await self.program.push_screen_wait(_words_dialog(joined["team"], joined["words"]))
            self.reload()

    def action_create(self) -> None:
        """Found a team with this node as its administrator."""
        self.later(self._create())

    async def _create(self) -> None:
        name = await self.program.push_screen_wait(AskText("Found a team", "Its name:"))
        if name and await self.ask("team_create", TeamCreate(name=name)) is not None:
            self.reload()

    def action_words(self) -> None:
        """Show the words of the member under the cursor, for comparing by voice."""
        row = self.rows.current
        if row is not None:
            self.later(self._words(row))

    async def _words(self, row: Row) -> None:
        await self.program.push_screen_wait(_words_dialog(str(row["name"]), row["words"]))

    def action_role(self) -> None:
        """Give the member under the cursor another role."""
        row = self.rows.current
        if row is not None:
            self.later(self._role(row))

    async def _role(self, row: Row) -> None:
        role = await self.program.push_screen_wait(
            RoleDialog(f"{row['name']} is {row['role']}; from now on")
        )
        if role is None or role == row["role"]:
            return
        params = TeamRole(who=str(row["fingerprint"]), role=role)
        if await self.ask("team_role", params) is not None:
            self.say(f"{row['name']} is {role}")
            self.reload()

    def action_remove(self) -> None:
        """Remove the member under the cursor."""
        row = self.rows.current
        if row is not None:
            self.later(self._remove(row))

    async def _remove(self, row: Row) -> None:
        answer = await self.program.push_screen_wait(
            Ask(
                f"Remove {row['name']} from the team?",
                "Every node revokes what it granted to them as soon as it hears of it.",
                consequence="What they saw or saved already cannot be taken back.",
                answers=(
                    Answer("k", "Keep", "keep"),
                    Answer("r", "Remove", "remove", dangerous=True),
                ),
            )
        )
        if answer != "remove":
            return
        if await self.ask("team_remove", TeamRemove(who=str(row["fingerprint"]))) is not None:
            self.say(f"{row['name']} is removed")
            self.reload()


def _rtt(row: Row) -> str:
    return "" if row["rtt_ms"] is None else f"{row['rtt_ms']:.0f} ms"


def _words_dialog(whose: str, words: Sequence[str]) -> Ask:
    return Ask(
        f"Words of {whose}",
        "  ".join(words),
        consequence="The other side sees the same words: compare them by voice.",
        answers=(Answer("o", "They are the same", "same"),),
    )


class RoleDialog(Dialog[str | None]):
    """Chooses a role."""

    DEFAULT_CSS = "RoleDialog Rows { height: 7; }"

    def __init__(self, heading: str) -> None:
        super().__init__()
        self._heading = heading

    def compose(self) -> ComposeResult:
        """Lay out the roles."""
        with Vertical(classes="box"):
            yield Static(Content(self._heading), classes="heading")
            yield Rows(
                (Column(title="role", text=lambda row: str(row["role"])),),
                key=lambda row: row["role"],
            )

    def on_mount(self) -> None:
        """Show the roles, the common one first."""
        rows = self.query_one(Rows)
        rows.show(Fixed([{"role": one} for one in ROLES]))
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


class InvitationDialog(Dialog["dict[str, Any] | None"]):
    """Shows a code and waits for who uses it; Esc takes it back."""

    DEFAULT_CSS = """
    InvitationDialog .code { text-align: center; text-style: bold; color: $accent; padding: 1; }
    InvitationDialog .qr { width: auto; height: auto; }
    """

    def __init__(self, gateway: Gateway, invitation: dict[str, Any]) -> None:
        super().__init__()
        self._gateway = gateway
        self._invitation = invitation

    def compose(self) -> ComposeResult:
        """Lay out the code, how to use it, and how long it is good for."""
        invitation = self._invitation
        lines = ["They run: safelight join", "and type this code. It is good for one try."]
        if invitation.get("rendezvous"):
            lines.append(f"Elsewhere: safelight join --rendezvous {invitation['rendezvous']}")
        lines += [
            f"Without multicast: safelight join --at {address}"
            for address in (invitation.get("addresses") or [])[:1]
        ]
        with Vertical(classes="box"):
            yield Static(Content("Invitation"), classes="heading")
            yield Static(Content(str(invitation["code"])), classes="code")
            yield Static(Content("\n".join(lines)), classes="words")
            yield Static("", classes="consequence", id="left")
            yield Static("", classes="wrong")

    def on_mount(self) -> None:
        """Wait, and count down."""
        self._count()
        self.set_interval(1, self._count)
        self.run_worker(self._wait())

    def _count(self) -> None:
        self.query_one("#left", Static).update(
            Content(f"waiting, {left(self._invitation['expires_at'])} left; Esc takes it back")
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
        self.run_worker(self._cancel())

    async def _cancel(self) -> None:
        # Where it is over already, that is what was wanted.
        with contextlib.suppress(GatewayError):
            await self._gateway.call(
                "invite_cancel", InviteCancel(number=self._invitation["number"])
            )
        self.dismiss(None)
