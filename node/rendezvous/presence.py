"""Who attends: the members that are connected now, and what they are told.

Belongs here: one session for each member, and news of team-mates, rings and mail on their way out.
Never here: who is a member (``admission``), or what a member asks (``server``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

from node.faults import reported_faults
from node.transport.driver import Session
from protocol.errors import Reason, Refused, SafelightError
from protocol.messages import Message
from protocol.rendezvous.messages import MailWaiting, Present, Ring

_MAX_RINGS: Final = 32
"""Rings that one member has not answered: half of what a channel has in flight."""


class Attendant:
    """One member that is connected, and what they have yet to be told."""

    __slots__ = ("_hanging_up", "_mail", "_news", "_rings", "_telling", "key", "session", "team_id")

    def __init__(self, session: Session, *, team_id: bytes, key: bytes) -> None:
        self.session = session
        self.team_id = team_id
        self.key = key
        """Agreement key, proved."""
        self._news: dict[bytes, bool] = {}
        self._mail = False
        self._telling: asyncio.Task[None] | None = None
        self._rings: set[asyncio.Task[None]] = set()
        self._hanging_up: asyncio.Task[None] | None = None

    def tell_present(self, key: bytes, *, online: bool) -> None:
        """Tell that a team-mate came or went. Of one that came and went the last word is told."""
        self._news[key] = online
        self._tell()

    def tell_mail(self) -> None:
        """Tell that mail waits."""
        self._mail = True
        self._tell()

    def ring(self, ring: Ring) -> None:
        """Tell of a call, past all other news; Refused where too many are unanswered."""
        if len(self._rings) >= _MAX_RINGS:
            raise Refused(Reason.BUSY)
        task = asyncio.get_running_loop().create_task(self._ask(ring), name="ring")
        self._rings.add(task)
        task.add_done_callback(self._rings.discard)

    def hang_up(self, reason: str) -> None:
        """End the member's session, and tell them a short code why."""
        self._hanging_up = asyncio.get_running_loop().create_task(self.session.close(reason))

    def end(self) -> None:
        """Tell nothing more."""
        for task in self._rings:
            task.cancel()
        if self._telling is not None:
            self._telling.cancel()

    def _tell(self) -> None:
        if self._telling is None:
            work = self._tell_all()
            self._telling = asyncio.get_running_loop().create_task(work, name="news")

    async def _tell_all(self) -> None:
        """Tell one thing after the other, so that who does not listen has one waiting."""
        try:
            while self._news or self._mail:
                if self._mail:
                    self._mail = False
                    await self._ask(MailWaiting())
                else:
                    key = next(iter(self._news))
                    await self._ask(Present(key=key, online=self._news.pop(key)))
        finally:
            self._telling = None

    async def _ask(self, message: Message) -> None:
        # A node's no, or no answer, changes nothing here.
        with reported_faults("news to a member"), contextlib.suppress(SafelightError):
            await self.session.request(message)


class Presence:
    """The members that attend, by team."""

    def __init__(self) -> None:
        self._teams: dict[bytes, dict[bytes, Attendant]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._teams.values()))

    def find(self, team_id: bytes, key: bytes) -> Attendant | None:
        """Return a member that is here."""
        return self._teams.get(team_id, {}).get(key)

    def online(self, attendant: Attendant) -> tuple[bytes, ...]:
        """Return the team-mates that are here."""
        here = self._teams[attendant.team_id]
        return tuple(sorted(key for key in here if key != attendant.key))

    def arrive(self, attendant: Attendant) -> Attendant | None:
        """Take a member in, and tell the team; return the session that this one replaces."""
        here = self._teams.setdefault(attendant.team_id, {})
        before = here.pop(attendant.key, None)
        here[attendant.key] = attendant
        if before is None:
            self._tell(attendant, online=True)
        return before

    def leave(self, attendant: Attendant) -> None:
        """Take note that a member's session has ended; of a replaced one nothing is told."""
        attendant.end()
        here = self._teams.get(attendant.team_id, {})
        if here.get(attendant.key) is attendant:
            del here[attendant.key]
            self._tell(attendant, online=False)
            if not here:
                del self._teams[attendant.team_id]

    def remove(self, team_id: bytes, keys: Iterable[bytes]) -> list[Attendant]:
        """Forget those who are no members any more; return them, for their sessions to end."""
        here = self._teams.get(team_id, {})
        gone = [here[key] for key in keys if key in here]
        for attendant in gone:
            self.leave(attendant)
        return gone

    def _tell(self, about: Attendant, *, online: bool) -> None:
        for key, attendant in self._teams[about.team_id].items():
            if key != about.key:
                attendant.tell_present(about.key, online=online)
