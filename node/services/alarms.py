"""Alarms: logs that contradict themselves, whom nobody deals with until it is settled.

Belongs here: raising an alarm once, what stands, clearing, and the evidence of each.
Never here: finding a contradiction (``witnessing``, ``gossip``), or ending links (``peering``).

An alarm is about one log, named by its origin. It stands until a person clears it. Where its keeper
goes on with another log, the next incarnation, it is over: it stops no dealings any more, and is
told all the same, because a log can be given up by whoever rewrote it. What was raised stays in the
index and in the log for ever, with the two statements that contradict each other: they convince
anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from node.errors import UnknownError
from node.services.context import Context
from node.services.entries import draft
from node.services.moments import rfc3339
from node.vault.database import WriteTransaction
from node.vault.errors import VaultError
from node.vault.records import witness as rows
from node.vault.records.witness import AlarmRow
from protocol.identity import Identity, format_fingerprint

ROLLBACK: Final = "rollback"
"""The log is shorter than a head that it signed before."""
FORK: Final = "fork"
"""The log does not extend a head that it signed before."""
EQUIVOCATION: Final = "equivocation"
"""Two statements that are contradictory by themselves: two heads of one size, two keys of one
epoch."""

_MOST_REMARKS: Final = 100
"""Remarks of one run: who sends nonsense without end does not fill the log with it."""


class Alarms:
    """What is known of logs that contradict themselves."""

    def __init__(self, context: Context, newest: Callable[[bytes], Awaitable[str | None]]) -> None:
        self._context = context
        self._newest = newest
        """Gives the origin of a person's newest log, None for somebody who is no member."""
        self._rows: list[AlarmRow] = []
        self._origins: dict[bytes, str | None] = {}
        """The newest log of everybody about whose logs there ever was an alarm."""
        self._remarked: set[tuple[bytes, str]] = set()
        self._changing = asyncio.Lock()
        self.on_stop: Callable[[bytes], None] = lambda _fingerprint: None
        """Called with the fingerprint of somebody with whom dealings stop."""

    async def load(self) -> None:
        """Read what the vault knows."""
        self._rows = await self._context.database.read(rows.alarms)
        await self.refresh()

    async def refresh(self) -> None:
        """Look again which of the logs in question their keepers have given up."""
        for fingerprint in {row.fingerprint for row in self._rows}:
            self._origins[fingerprint] = await self._newest(fingerprint)
        ended = {row.alarm_id for row in self._rows if row.over_at is None and self._given_up(row)}
        if ended:
            await self._end(ended)

    async def _end(self, ended: set[int]) -> None:
        """Note since when alarms are over: later nobody may be there to ask which log is newest."""
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> None:
            for alarm_id in ended:
                rows.end_alarm(transaction.connection, alarm_id, now)

        # A vault that takes nothing any more can be asked all the same.
        with contextlib.suppress(VaultError):
            await self._context.database.write(job)
        self._rows = [
            replace(row, over_at=now) if row.alarm_id in ended and row.over_at is None else row
            for row in self._rows
        ]

    # What stands ----------------------------------------------------------------------------------

    def standing(self) -> list[AlarmRow]:
        """Return the alarms that no person has cleared, oldest first, those that are over too."""
        return [row for row in self._rows if row.cleared_at is None]

    def is_over(self, row: AlarmRow) -> bool:
        """Say whether an alarm is about a log that its keeper has given up.

        Of who is no member any more, what was known last counts.
        """
        known = self._origins.get(row.fingerprint) is not None
        return self._given_up(row) if known else row.over_at is not None

    def _given_up(self, row: AlarmRow) -> bool:
        return self._origins.get(row.fingerprint) not in (None, row.origin)

    def stopped(self, fingerprint: bytes) -> bool:
        """Say whether there are no dealings with somebody because of their log."""
        return any(
            row.fingerprint == fingerprint and not self._given_up(row) for row in self.standing()
        )

    def settled(self, note: bytes) -> bool:
        """Say whether a head belongs to a contradiction into which a person has looked.

        Others hold it still, and tell it again.
        """
        return any(
            row.cleared_at is not None and note in (row.first, row.second) for row in self._rows
        )

    # Raising --------------------------------------------------------------------------------------

    async def sound(
        self,
        *,
        kind: str,
        about: bytes,
        origin: str,
        detail: str,
        first: bytes,
        second: bytes,
        evidence: bytes | None = None,
        member: Identity,
    ) -> bool:
        """Raise an alarm about a person's log; False where one like it stands, or stood before.

        ``first`` and ``second`` are what that person signed, and ``evidence`` is what convinces
        anybody of it. ``member`` is that person; where it is about the own log, who showed it.
        """
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> bool:
            if not rows.insert_alarm(
                transaction.connection,
                fingerprint=about,
                origin=origin,
                kind=kind,
                detail=detail,
                first=first,
                second=second,
                evidence=evidence,
                now=now,
            ):
                return False
            _log(transaction, self._context.me, member.fingerprint, detail, kind, origin)
            return True

        async with self._changing:
            if any(row.kind == kind and row.origin == origin for row in self.standing()):
                # The first evidence is enough; more would be a way to fill the disk.
                return False
            if any(
                row.origin == origin and {row.first, row.second} == {first, second}
                for row in self._rows
            ):
                return False  # A person has looked into that.
            if any(
                row.kind == kind
                and row.origin == origin
                and row.cleared_at is not None
                and self._given_up(row)
                for row in self._rows
            ):
                # It was given up, and a person has looked into it. Others who saw the one history
                # or the other will tell of it for ever.
                return False
            raised = (await self._context.database.write(job)).value
            await self.load()
        if raised:
            self._context.events.tell("alarm", name=member.name, detail=detail, alarm=kind)
        if self.stopped(about):
            self.on_stop(about)
        return raised

    async def remark(self, member: Identity, detail: str) -> None:
        """Log, once a run, what is wrong with a head and yet proves nothing to anybody else."""

        def job(transaction: WriteTransaction) -> None:
            _log(transaction, self._context.me, member.fingerprint, detail, "head", "")

        # Whoever is refused for a reason that was told before finds it in the log too.
        async with self._changing:
            said = (member.fingerprint, detail)
            if said in self._remarked or len(self._remarked) >= _MOST_REMARKS:
                return
            await self._context.database.write(job)
            self._remarked.add(said)
        self._context.events.tell("alarm", name=member.name, detail=detail, alarm="head")

    # People ---------------------------------------------------------------------------------------

    async def clear(self, alarm_id: int) -> AlarmRow:
        """Note that a person has looked into an alarm, and deal with that log again.

        The heads that are held of it are forgotten: the next one counts as the first; but not
        those of a log that was given up. Raises UnknownError where no such alarm stands.
        """
        now = self._context.clock.now()
        async with self._changing:
            row = next((one for one in self.standing() if one.alarm_id == alarm_id), None)
            if row is None:
                raise UnknownError(
                    f"no alarm {alarm_id} stands", hint="safelight audit alarms lists them"
                )

            def job(transaction: WriteTransaction) -> None:
                rows.clear_alarm(transaction.connection, alarm_id, now)
                if row.fingerprint != self._context.me and not self._given_up(row):
                    rows.forget_heads(transaction.connection, row.origin)
                _log(
                    transaction,
                    self._context.me,
                    row.fingerprint,
                    f"alarm {alarm_id} was cleared: {row.detail}",
                    "cleared",
                    row.origin,
                )

            await self._context.database.write(job)
            await self.load()
        return row

    async def row(self, alarm_id: int | None) -> AlarmRow:
        """Return one alarm, or the newest; UnknownError where there is none."""
        found = [row for row in self._rows if alarm_id in (None, row.alarm_id)]
        if not found:
            raise UnknownError("there is no such alarm", hint="safelight audit alarms lists them")
        return found[-1]

    def describe(self, name_of: Callable[[bytes], str], *, past: bool = False) -> list[Any]:
        """Return the alarms that stand as JSON has them; with ``past`` the cleared ones too."""
        return [
            {
                "id": row.alarm_id,
                "name": name_of(row.fingerprint),
                "fingerprint": format_fingerprint(row.fingerprint),
                "own": row.fingerprint == self._context.me,
                "origin": row.origin,
                "kind": row.kind,
                "detail": row.detail,
                "proven": row.evidence is not None,
                "raised_at": rfc3339(row.raised_at),
                "over_since": rfc3339(row.over_at) if self.is_over(row) else None,
                "state": self._state(row),
            }
            for row in (self._rows if past else self.standing())
        ]

    def _state(self, row: AlarmRow) -> str:
        """Return ``cleared``, ``over`` where it stops no dealings, or ``stands``."""
        if row.cleared_at is not None:
            return "cleared"
        return "over" if self.is_over(row) else "stands"


def _log(
    transaction: WriteTransaction, me: bytes, member: bytes, detail: str, kind: str, origin: str
) -> None:
    facts = {"detail": detail, "kind": kind}
    if origin:
        facts["origin"] = origin
    transaction.append(
        draft(
            "witness_alarm",
            actor=None,
            about=me,
            references={"member": member},
            facts=facts,
        )
    )
