"""Team: who belongs to it, how they are reached, inviting, joining, roles, removing.

Belongs here: the list of members and the dialogs about them.
Never here: what a role may do (the node's policy).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from node.control.schema import (
    AuditSubject,
    Invite,
    InviteCancel,
    InviteWait,
    Join,
    TeamCreate,
    TeamRemove,
    TeamResolve,
    TeamRole,
    TeamSign,
)
from tui.gateway import GatewayError
from tui.screens.choosing import Choose
from tui.screens.dialog import Answer, Ask, AskText, Dialog
from tui.screens.listed import ListPage, lines
from tui.text import plural
from tui.times import ago, left
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.qr import qr_lines
from tui.widgets.rows import Chosen, Column, Moved, Rows

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.widgets.pages import Row

ROLES = ("editor", "publisher", "reviewer", "guest", "admin")
_PATHS = {"lan": "LAN", "relay": "relay", "none": "–"}


class TeamScreen(ListPage):
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
        Binding("s", "sign", "sign changes", show=False, id="team.sign"),
        Binding("R", "resolve", "join two histories", show=False, id="team.resolve"),
        Binding("o", "kept", "what they may hold", show=False, id="team.kept"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._team: dict[str, Any] = {}

    def columns(self) -> Sequence[Column]:
        """Return the columns: who, as what, how they are reached."""
        return (
            Column(title="state", text=_presence, style=_presence_style, width=8),
            Column(title="name", text=lambda row: str(row["name"]), wide=40),
            Column(title="role", text=lambda row: str(row["role"]), width=10, narrow=9),
            Column(title="path", text=lambda row: str(row["path"]), width=6, narrow=5),
            Column(title="rtt", text=_rtt, width=8, least=70),
            Column(title="seen", text=lambda row: str(row["seen"]), width=12, least=75),
            Column(title="why", text=lambda row: str(row["why"]), least=150),
        )

    def key_of(self, row: Row) -> Hashable:
        """Return a member's fingerprint."""
        return str(row["fingerprint"])

    def told(self, row: Row) -> Content:
        """Return how a member is reached, and the words to compare."""
        reached = " · ".join(one for one in (str(row["role"]), _reached(row)) if one)
        return lines(
            Content.assemble((str(row["name"]), "bold"), f": {reached}"),
            Content.assemble((f"words  {'  '.join(row['words'])}", "$dim")),
        )

    def beside(self) -> str:
        """Return the team's name, its version, and what waits to be signed."""
        if not self._team:
            return ""
        parts = [str(self._team["team"]), plural(self.rows.total, "member")]
        if self._team.get("pending"):
            parts.append(f"! {plural(self._team['pending'], 'change')} to sign (s)")
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
            Key("s", "sign", "sign") if self._team.get("pending") else Key("r", "role", "role"),
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
                    "alarm": bool(path.get("alarm")),
                }
            )
        self._team = team if team["members"] else {}
        self.rows.show(Fixed(rows), keep=self.rows.pages.loaded)

    def forget(self) -> None:
        """Drop the team's name too."""
        self._team = {}
        super().forget()

    # Actions --------------------------------------------------------------------------------------

    def action_invite(self) -> None:
        """Invite somebody by a code of a few words."""
        self.asks(self._invite())

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
        self.asks(self._join())

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
        self.asks(self._create())

    async def _create(self) -> None:
        name = await self.program.push_screen_wait(AskText("Found a team", "Its name:"))
        if name and await self.ask("team_create", TeamCreate(name=name)) is not None:
            self.reload()

    def action_words(self) -> None:
        """Show the words of the member under the cursor, for comparing by voice."""
        row = self.rows.current
        if row is not None:
            self.asks(self._words(row))

    async def _words(self, row: Row) -> None:
        if row["path"] == "me":
            await self.program.push_screen_wait(IdentityDialog(row))
            return
        await self.program.push_screen_wait(_words_dialog(str(row["name"]), row["words"]))

    def action_role(self) -> None:
        """Give the member under the cursor another role."""
        row = self.rows.current
        if row is not None:
            self.asks(self._role(row))

    async def _role(self, row: Row) -> None:
        role = await self.program.push_screen_wait(
            RoleDialog(f"{row['name']} is {row['role']}; from now on")
        )
        if role is None or role == row["role"]:
            return
        params = TeamRole(who=str(row["fingerprint"]), role=role)
        result = await self.ask("team_role", params)
        if result is not None:
            pending = result["pending"]
            self.say(_pending_words(result) if pending else f"{row['name']} is {role}")
            self.reload()

    def action_remove(self) -> None:
        """Remove the member under the cursor."""
        row = self.rows.current
        if row is not None:
            self.asks(self._remove(row))

    async def _remove(self, row: Row) -> None:
        told = await self.program.gateway.call(
            "audit_subject", AuditSubject(who=str(row["fingerprint"]))
        )
        answer = await self.program.push_screen_wait(
            Ask(
                f"Remove {row['name']} from the team?",
                "Every node revokes what it granted to them as soon as it hears of it.\n\n"
                + "\n".join(kept_by(told)),
                consequence="What they saw or saved already cannot be taken back.",
                answers=(
                    Answer("k", "Keep", "keep"),
                    Answer("r", "Remove", "remove", dangerous=True),
                ),
            )
        )
        if answer != "remove":
            return
        result = await self.ask("team_remove", TeamRemove(who=str(row["fingerprint"])))
        if result is None:
            return
        self.reload()
        if result["pending"]:
            self.say(_pending_words(result))
            return
        self.say(f"{row['name']} is removed")
        await self._kept(row)

    def action_kept(self) -> None:
        """Show what the member under the cursor may hold of mine."""
        row = self.rows.current
        if row is not None:
            self.asks(self._kept(row))

    async def _kept(self, row: Row) -> None:
        told = await self.program.gateway.call(
            "audit_subject", AuditSubject(who=str(row["fingerprint"]))
        )
        await self.program.push_screen_wait(
            Ask(
                f"What {row['name']} may still hold",
                "\n".join(kept_by(told)),
                consequence=f"safelight audit subject {row['name']} has every entry.",
                answers=(Answer("o", "Close", "close"),),
            )
        )

    # Changes that wait ----------------------------------------------------------------------------

    def action_sign(self) -> None:
        """Show the changes that wait for administrators, and sign one."""
        self.asks(self._sign())

    async def _sign(self) -> None:
        waiting = await self.program.gateway.call("team_pending")
        if not waiting:
            self.say("nothing waits for a signature")
            return
        chosen = await self.program.push_screen_wait(
            Choose(
                "Changes that wait for signatures",
                waiting,
                (
                    Column(title="change", text=lambda one: "; ".join(one["changes"])),
                    Column(
                        title="signed by", text=lambda one: ", ".join(one["signed_by"]), width=18
                    ),
                    Column(title="needs", text=lambda one: f"{one['missing']} more", width=7),
                ),
                key="id",
                empty="",
            )
        )
        if chosen is None:
            return
        change = chosen[1]
        if change["signed"]:
            self.say("you have signed that already; it waits for others")
            return
        answer = await self.program.push_screen_wait(
            Ask(
                "Sign this change of the team?",
                "\n".join(change["changes"]),
                consequence="Once enough administrators have signed, every node follows it.",
                answers=(Answer("n", "Not now", "no"), Answer("s", "Sign", "sign")),
            )
        )
        if answer != "sign":
            return
        result = await self.ask("team_sign", TeamSign(proposal=str(change["id"])))
        if result is not None:
            self.say(_pending_words(result) if result["pending"] else "signed: the team follows it")
            self.reload()

    def action_resolve(self) -> None:
        """Join two histories of the team, once what comes of it was read."""
        self.asks(self._resolve())

    async def _resolve(self) -> None:
        told = await self.ask("team_resolve", TeamResolve(dry_run=True))
        if told is None:
            return
        answer = await self.program.push_screen_wait(
            Ask(
                "Join the two histories of the team?",
                "\n".join(
                    [
                        *(f"here: {one}" for one in told["changes"]),
                        *(f"elsewhere: {one}" for one in told["changes_elsewhere"]),
                    ]
                ),
                consequence="Two administrators changed the team without knowing of each other. "
                "safelight team resolve --help tells of other ways.",
                answers=(
                    Answer("n", "Not now", "no"),
                    Answer("j", "Join them", "join", dangerous=True),
                ),
            )
        )
        if answer != "join":
            return
        result = await self.ask("team_resolve", TeamResolve())
        if result is not None:
            self.say(_pending_words(result) if result["pending"] else "joined: one history again")
            self.reload()


def kept_by(told: dict[str, Any]) -> list[str]:
    """Return what a person was granted, opened and saved, by the own log."""
    counts = {one["event"]: one["count"] for one in told["counts"]}
    granted = told["capabilities"]
    live = [one for one in granted if one["state"] in {"live", "pending", "exhausted"}]
    opened = sum(1 for one in granted if one["opens"])
    lines = [
        f"{plural(len(granted), 'capability', 'capabilities')} granted, {len(live)} not over",
        f"{plural(counts.get('released', 0), 'open')} of {opened}, {counts.get('saved', 0)} saved",
    ]
    lines += [
        f"  may have kept: {', '.join(one['names'][:3])}"
        for one in [one for one in granted if "save" in one["rights"] and one["opens"]][:5]
    ]
    if not opened:
        lines.append("Nothing was opened: they hold no picture of yours by this log.")
    return lines


def _pending_words(result: dict[str, Any]) -> str:
    others = plural(result["missing"], "other administrator", "other administrators")
    return f"waits for the signature of {others}"


def _reached(row: Row) -> str:
    """Return how a member is reached, or since when not."""
    if row["path"] == "me":
        return "this node"
    if row["why"]:
        return str(row["why"])
    return "" if row["online"] else f"seen {row['seen']}"


def _presence(row: Row) -> str:
    if row["alarm"]:
        return "✕ alarm"
    return "● online" if row["online"] else "○ away"


def _presence_style(row: Row) -> str:
    if row["alarm"]:
        return "bad"
    return "ok" if row["online"] else "dim"


def _rtt(row: Row) -> str:
    return "" if row["rtt_ms"] is None else f"{row['rtt_ms']:.0f} ms"


def _words_dialog(whose: str, words: Sequence[str]) -> Ask:
    return Ask(
        f"Words of {whose}",
        "  ".join(words),
        consequence="The other side sees the same words: compare them by voice.",
        answers=(Answer("o", "They are the same", "same"),),
    )


class IdentityDialog(Dialog[None]):
    """The own words and fingerprint, and a QR code where there is room."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q,w", "give_up", "close", show=False, id="identity.close"),
    ]
    DEFAULT_CSS = """
    IdentityDialog .qr { width: auto; height: auto; color: #ffffff; background: #000000; }
    IdentityDialog .square { align-horizontal: center; height: auto; }
    """
    HINTS = (("Esc", "closes"),)

    def __init__(self, row: Row) -> None:
        super().__init__()
        self._row = row

    def compose(self) -> ComposeResult:
        """Lay out words, fingerprint and code."""
        row = self._row
        with Vertical(classes="box"):
            yield Static(Content(f"{row['name']}, as others see you"), classes="heading")
            yield Static(Content("  ".join(row["words"])), classes="words")
            yield Static(Content(str(row["fingerprint"])), classes="words")
            if code := _qr_that_fits(str(row["fingerprint"]).upper(), self.app.size.height, _ROOM):
                with Vertical(classes="square"):
                    yield Static(Content(code), classes="qr")
            yield Static(
                Content("Others see the same words: compare them by voice."), classes="words"
            )


_ROOM = 7
"""Lines of a dialog besides its code."""


def _qr_that_fits(text: str, height: int, besides: int) -> str:
    """Return a QR code as lines where the terminal has room for it, else nothing."""
    lines = qr_lines(text)
    return "\n".join(lines) if len(lines) + besides <= height else ""


class RoleDialog(Dialog[str | None]):
    """Chooses a role."""

    DEFAULT_CSS = """
    RoleDialog Rows { height: 6; }
    RoleDialog.low Rows { height: 1fr; }
    """
    HINTS = (("Enter", "chooses"), ("Esc", "cancels"))

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
    InvitationDialog .qr { width: auto; height: auto; color: #ffffff; background: #000000; }
    InvitationDialog .square { align-horizontal: center; height: auto; }
    InvitationDialog.low .code { padding: 0; }
    """
    HINTS = (("Esc", "takes it back"),)

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
            besides = _ROOM + 3 + len(lines)
            if code := _qr_that_fits(str(invitation["code"]), self.app.size.height, besides):
                with Vertical(classes="square"):
                    yield Static(Content(code), classes="qr")
            yield Static("", classes="consequence", id="left")
            with VerticalScroll(can_focus=False, classes="words"):
                yield Static(Content("\n".join(lines)), classes="words")
            yield Static("", classes="wrong")

    def on_mount(self) -> None:
        """Wait, and count down."""
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
