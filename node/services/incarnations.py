"""The next incarnation of the log: what a node does that was restored or copied.

Belongs here: when a new log begins, what ends with the old one, and how that is told to people.
Never here: finding out that this log is not the newest (``witnessing``, ``log_keys``, the vault),
issuing anew (``reissuing``).

A node whose vault came from a backup, or is a copy, has a log that others have seen go on. To
append to it would fork it. So nothing is released until a member has said which head of the log
was its last; then the node begins a new log, which cites that head, and everything it granted
before is over: how often it was opened is not known any more.

Whoever copied a disk has two nodes of one name. The first that meets somebody goes on with a new
log. The other one hears of that log, which it did not begin, and releases nothing until it is
restored from a backup on purpose: otherwise the two would end each other's capabilities for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from node.services.context import Context
from node.services.ending import Ending
from node.services.findings import Finding, State
from node.services.log_keys import BEHIND_META, LOST_META, LogKeyring, lost_incarnation
from node.services.loops import forever
from node.services.moments import rfc3339
from node.services.whole import whole
from node.services.witnessing import Witnessing
from node.vault import log_keys as key_rows
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import grants as rows
from node.vault.records.grants import GrantRow
from protocol.audit.checkpoint import Checkpoint
from protocol.errors import RemoteError

_GATHER_S: Final = 2.0
"""How long heads of other members are waited for, once the first one has told one."""


class Incarnations:
    """Begins the next log where this one is not the newest any more."""

    def __init__(
        self,
        context: Context,
        log_keys: LogKeyring,
        witnessing: Witnessing,
        ending: Ending,
        *,
        poke: Callable[[bytes], None],
    ) -> None:
        self._context = context
        self._log_keys = log_keys
        self._witnessing = witnessing
        self._ending = ending
        self._poke = poke
        self._copied = False
        """Another node of this name has begun a log."""
        self._incarnation = 0
        self._lapsed = 0
        self._begun_at: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._told = asyncio.Event()
        witnessing.on_told = self._told.set
        log_keys.on_lost = self._lost

    async def load(self) -> None:
        """Read what the vault knows."""
        (
            self._incarnation,
            self._copied,
            self._lapsed,
            self._begun_at,
        ) = await self._context.database.read(_read)
        self._witnessing.behind = self._witnessing.behind or self._copied

    def start(self) -> None:
        """Begin the next log once a member has said what it knows of this one."""
        self._task = asyncio.create_task(forever(self._run, "the log"), name="incarnations")

    async def close(self) -> None:
        """Stop waiting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _lost(self) -> None:
        """Take note of a log key of this node that it does not know of."""
        self._witnessing.behind = True
        await self.load()
        self._told.set()

    @property
    def _may_begin(self) -> bool:
        # A backup that a person restored is meant to go on; a copy may not know that it is one.
        return self._witnessing.behind and (self._context.vault.restored or not self._copied)

    async def _run(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            if self._may_begin and self._witnessing.own_told:
                await asyncio.sleep(_GATHER_S)
                if self._may_begin:
                    await whole(self._begin())

    # The next log ---------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Begin the next log, end every capability, and destroy what could open them."""
        previous = await self._last_known()
        number = 1 + await self._context.database.read(
            lambda db: max(key_rows.newest_incarnation(db), lost_incarnation(db))
        )

        def also(transaction: WriteTransaction) -> tuple[list[GrantRow], bytes]:
            db = transaction.connection
            for key in (BEHIND_META, LOST_META):
                db.execute("DELETE FROM meta WHERE key = ?", (key,))
            return self._ending.lapse_all(transaction), key_rows.statements(db)[-1]

        ended, statement = await self._context.vault.begin_log(number, previous, also)
        slots = [grant.slot for grant in ended if grant.slot is not None]
        await asyncio.to_thread(self._context.vault.keyslots.destroy_and_sweep, slots)
        self._witnessing.behind = False
        self._witnessing.own_told.clear()
        await self.load()
        self._log_keys.changed(statement)
        self._context.events.tell("new_log", incarnation=number, ended=len(ended))
        for holder in {grant.holder for grant in ended}:
            self._poke(holder)

    async def _last_known(self) -> bytes:
        """Return the newest head of this node's log that it or a member knows, or nothing."""
        keys = await self._log_keys.own()
        mine = await self._context.database.read(log_store.head)
        notes = [*self._witnessing.own_told.values(), b"" if mine is None else mine.note]
        heads: list[tuple[int, int, bytes]] = []
        for note in notes:
            try:
                head = keys.open_head_untrusted(note)
            except RemoteError:
                continue  # Not signed by this node, or nothing.
            heads.append((_incarnation_of(head), head.size, note))
        return max(heads, default=(0, 0, b""))[2]

    # People ---------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return which log this node appends to, and whether it releases."""
        return {
            "incarnation": self._incarnation,
            "state": self._state,
            "begun_at": rfc3339(self._begun_at),
            "lapsed": self._lapsed,
        }

    @property
    def _state(self) -> str:
        if not self._witnessing.behind:
            return "current"
        return "waiting" if self._may_begin else "copied"

    def notice(self) -> str | None:
        """Return in one sentence, with what to do, what a person must know now; or None."""
        finding = self.finding()
        return None if finding.state is State.OK else f"{finding.message}; {finding.hint}"

    def finding(self) -> Finding:
        """Return what doctor says of the own log."""
        match self._state:
            case "waiting":
                return Finding(
                    check="own log",
                    state=State.PROBLEM,
                    code="restored",
                    message="this vault was restored from a backup or copied: it releases nothing "
                    "until it has met a member who knows its log",
                    hint="leave it running until one is online; it then begins a new log, and "
                    "what it had granted is over",
                )
            case "copied":
                return Finding(
                    check="own log",
                    state=State.PROBLEM,
                    code="copied",
                    message="another copy of this vault has begun a new log: this one releases "
                    "nothing any more",
                    hint="go on with the other copy, or restore a backup of it here and stop the "
                    "other one for good",
                )
            case _ if self._lapsed:
                return Finding(
                    check="own log",
                    state=State.WARNING,
                    code="new_log",
                    message=f"this node began a new log at {rfc3339(self._begun_at)}, because it "
                    "was restored or copied, and capabilities that it had granted are over: "
                    f"{self._lapsed}",
                    hint="safelight shares --reissue grants them anew",
                )
        return Finding(
            check="own log",
            state=State.OK,
            message="the own log is the newest that members know"
            if not self._incarnation
            else f"the own log is the newest that members know; it is number {self._incarnation}, "
            "after a restored backup or a copy",
        )


def _read(db: Connection) -> tuple[int, bool, int, int | None]:
    """Return incarnation, whether another node of this name has made keys, lapsed, begin."""
    current = log_store.current(db)
    (own,) = db.execute("SELECT max(incarnation) FROM log_keys WHERE seed IS NOT NULL").fetchone()
    first = log_store.entry(db, 0, current) if current else None
    # A key of the same log that is lost is what any backup lacks. Another log is what it never had.
    copied = own < max(key_rows.newest_incarnation(db), lost_incarnation(db))
    return current, copied, len(rows.lapsed(db)), None if first is None else first.time


def _incarnation_of(head: Checkpoint) -> int:
    return int(head.origin.rpartition("/")[2])
