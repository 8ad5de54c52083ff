"""Team: who belongs to it, how they are reached, inviting, joining, roles, removing.

Belongs here: the list of members, and what is done with them and asked about them.
Never here: dialogs of their own (``inviting``), what a role may do (the node's policy).
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from node.control.schema import (
    AuditSubject,
    Invite,
    TeamCreate,
    TeamRemove,
    TeamResolve,
    TeamRole,
    TeamSign,
)
from tui.gateway import GatewayError
from tui.screens.choosing import Choose
from tui.screens.dialog import Answer, Ask, AskText
from tui.screens.inviting import IdentityDialog, InvitationDialog, RoleDialog, join_by
from tui.screens.listed import ListPage, lines
from tui.text import clean, plural
from tui.times import ago
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Column

if TYPE_CHECKING:
    from tui.widgets.pages import Row

_PATHS = {"lan": "LAN", "relay": "relay", "none": "–"}


class TeamScreen(ListPage):
    """The members."""

    NAME = "Team"
    LISTENS = frozenset(
        {"peer", "roster", "proposal", "roster_conflict", "roster_resolved", "alarm"}
    )
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
        if self._team.get("removed"):
            parts.append("! you are no member any more")
        if self._team.get("conflict"):
            parts.append(f"! two histories, {self.program.key_of('team.resolve')} joins them")
        if self._team.get("expired"):
            parts.append("! expired: safelight team renew")
        if self._team.get("pending"):
            key = self.program.key_of("team.sign")
            parts.append(f"! {plural(self._team['pending'], 'change')} to sign ({key})")
        return " · ".join(parts)

    def sentence(self) -> str:
        """Say how to get a team."""
        if self.rows.pages.loaded and not self.rows.total:
            join, found = map(self.program.key_of, ("team.join", "team.create"))
            how = f"Press {join} to join one with a code, {found} to found one."
            return f"You are in no team yet. {how}"
        return ""

    def keys(self) -> Sequence[Key]:
        """Return the keys of a team, those that one's own role may use."""
        if not self._team.get("team"):
            return (
                self.bound("team.join", "join a team", "join"),
                self.bound("team.create", "new team", "create"),
            )
        if not self._is_administrator():
            return (
                self.bound("team.words", "words", "words"),
                self.bound("team.kept", "what they may hold", "kept"),
            )
        return (
            self.bound("team.invite", "invite", "invite"),
            self.bound("team.words", "words", "words"),
            self.bound("team.sign", "sign", "sign")
            if self._team.get("pending")
            else self.bound("team.role", "role", "role"),
            self.bound("team.remove", "remove", "remove"),
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
        alarmed = {one["name"] for one in self.program.alarms if one["state"] == "stands"}
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
                    "seen": "" if mine else "now" if one["online"] else ago(one["last_seen"]),
                    "why": path.get("why") or "",
                    "alarm": bool(path.get("alarm")) or one["name"] in alarmed,
                }
            )
        self._team = team if team["members"] else {}
        self.rows.show(Fixed(rows), keep=self.rows.pages.loaded)

    def forget(self) -> None:
        """Drop the team's name too."""
        self._team = {}
        super().forget()

    # Actions --------------------------------------------------------------------------------------

    def _is_administrator(self) -> bool:
        me = self.program.gateway.status.get("fingerprint")
        members = self._team.get("members") or []
        return any(one["role"] == "admin" and one["fingerprint"] == me for one in members)

    def _may_change(self) -> bool:
        """Say whether the team is this person's to change; where not, who can, before a dialog."""
        if not self._team.get("team"):
            self.say(self.sentence(), error=True)
            return False
        if not self._is_administrator():
            asked = [one["name"] for one in self._team["members"] if one["role"] == "admin"]
            self.say(
                f"only an administrator changes the team: ask {' or '.join(asked)}", error=True
            )
            return False
        return True

    def _in_a_team(self) -> bool:
        """Say, in the status line too, that there is a team already."""
        if team := self._team.get("team"):
            self.say(
                f"this vault is in {team} already: another team needs another vault", error=True
            )
        return bool(team)

    def action_invite(self) -> None:
        """Invite somebody by a code of a few words."""
        if self._may_change():
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
        if came is None:
            self.say("the invitation is taken back")
            return
        self.say(f"{came['name']} is in the team")
        self.reload()
        await self._compare(str(came["name"]), came["words"])

    def action_join(self) -> None:
        """Join a team with a code."""
        if not self._in_a_team():
            self.asks(self._join())

    async def _join(self) -> None:
        code = await self.program.push_screen_wait(
            AskText(
                "Join a team",
                "The code that your administrator tells you. Where they are not on this network,"
                " the address that their screen shows after it:",
                placeholder="7-canyon-lava",
                needs="It needs the code.",
            )
        )
        if not code:
            return
        params = join_by(code)

        def joined(result: dict[str, Any]) -> str:
            self.reload()
            self.later(self._compare(str(result["team"]), result["words"], joined=True))
            return f"you are in {result['team']}"

        self.work(
            "looking for whoever invites",
            lambda _progress: self.program.gateway.call("join", params),
            done=joined,
        )

    async def _compare(self, whose: str, words: Sequence[str], *, joined: bool = False) -> None:
        """Show words to compare by voice; where they differ, say what to do."""
        answer = await self.program.push_screen_wait(
            Ask(
                f"Words of {whose}",
                "  ".join(words),
                consequence="The other side sees the same words: compare them by voice.",
                answers=(
                    Answer("o", "They are the same", "same"),
                    Answer("d", "They differ", "differ"),
                ),
            )
        )
        if answer != "differ":
            return
        if joined:
            advice = "Somebody else may have answered. Ask whoever invited you by another way."
        elif self._is_administrator():
            advice = f"Somebody may stand in for {whose}. Remove them, and invite {whose} anew."
        else:
            advice = f"Somebody may stand in for {whose}. Tell an administrator to remove them."
        await self.program.push_screen_wait(
            Ask(
                "The words differ",
                f"{advice} Your keys and pictures are safe.",
                consequence=f"Share nothing with {whose} until the words are the same.",
                answers=(Answer("o", "Close", "close"),),
            )
        )

    def action_create(self) -> None:
        """Found a team with this node as its administrator."""
        if not self._in_a_team():
            self.asks(self._create())

    async def _create(self) -> None:
        name = await self.program.push_screen_wait(
            AskText("Found a team", "Its name:", needs="It needs a name.")
        )
        if name and await self.ask("team_create", TeamCreate(name=name)) is not None:
            self.say(f"{clean(name)} is founded: invite its members")
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
        await self._compare(str(row["name"]), row["words"])

    def action_role(self) -> None:
        """Give the member under the cursor another role."""
        row = self.rows.current
        if row is not None and self._may_change():
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
        if row is not None and self._may_change():
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
                    f"What changes {where}: {'; '.join(changes) or 'nothing'}."
                    for where, changes in (
                        ("here", _besides(told["changes"])),
                        ("elsewhere", _besides(told["changes_elsewhere"])),
                    )
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


def _besides(changes: Sequence[str]) -> list[str]:
    """Return what changes besides that there is one history again, which is what was asked."""
    return [one for one in changes if one != "two histories of the team become one"]


def kept_by(told: dict[str, Any]) -> list[str]:
    """Return what a person was granted, opened and saved, by the own log."""
    counts = {one["event"]: one["count"] for one in told["counts"]}
    granted = told["capabilities"]
    if not granted:
        return ["You granted them nothing: they hold no picture of yours by this log."]
    live = [one for one in granted if one["state"] in {"live", "pending", "exhausted"}]
    opened = sum(1 for one in granted if one["opens"])
    lines = [
        f"{plural(len(granted), 'capability', 'capabilities')} granted, {len(live)} not over",
        f"{opened} of them opened, {plural(counts.get('released', 0), 'time')} in all",
        f"{counts.get('saved', 0)} saved",
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
