"""Statements to peers, delivered in order and kept until acknowledged.

Belongs here: emptying the outbox over the links of ``peering``.
Never here: what a statement says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import Final

from node.services.context import Context
from node.services.loops import RETRY_S, forever
from node.services.peering import Link, Peering
from node.transport.driver import SessionClosedError
from node.vault.database import WriteTransaction
from node.vault.records import grants, outbox
from node.vault.records.outbox import OutboxRow
from protocol.errors import Reason, Refused, RemoteProtocolError, SafelightError
from protocol.messages import (
    Deliver,
    DeliverManifest,
    DeliverStatement,
    Done,
    Message,
    ProposeRoster,
)

_BATCH: Final = 32
"""Statements in flight to one peer: hides the round trip, stays under the channel's bound."""


def _message(row: OutboxRow) -> Message:
    match row.kind:
        case "capability":
            return Deliver(sealed=row.body)
        case "manifest":
            return DeliverManifest(signed=row.body)
        case "proposal":
            return ProposeRoster(signed=row.body)
        case kind:
            return DeliverStatement(statement=kind, signed=row.body)


class Delivery:
    """One task a peer empties its part of the outbox whenever there is a link."""

    def __init__(self, context: Context, peering: Peering) -> None:
        self._context = context
        self._peering = peering
        self._wake: dict[bytes, asyncio.Event] = {}
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        peering.on_link = self.poke
        self.on_poke: Callable[[bytes], None] = lambda _fingerprint: None
        """Called with a peer's fingerprint when something may have come to wait for it, or when
        it has a new link."""

    def poke(self, peer: bytes) -> None:
        """Deliver what waits for a peer, now if there is a link."""
        self._wake.setdefault(peer, asyncio.Event()).set()
        self.on_poke(peer)
        if peer not in self._tasks:
            self._tasks[peer] = asyncio.create_task(
                forever(lambda: self._run(peer), "delivery"), name="deliver"
            )

    async def close(self) -> None:
        """Stop; what is not acknowledged stays in the outbox."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, peer: bytes) -> None:
        wake = self._wake[peer]
        while True:
            await wake.wait()
            wake.clear()
            if (link := self._peering.link(peer)) is None:
                continue
            try:
                emptied = await self._empty(link, peer)
            except SessionClosedError:
                continue
            except SafelightError:
                # Nonsense from the peer, or our own disk is full: neither is for ever.
                emptied = False
            if not emptied:
                asyncio.get_running_loop().call_later(RETRY_S, wake.set)

    async def _empty(self, link: Link, peer: bytes) -> bool:
        """Deliver what waits, in order; False where the peer cannot take something just now."""
        while rows := await self._context.database.read(
            lambda db: outbox.waiting(db, peer, limit=_BATCH)
        ):
            # Only manifests overtake each other: all else is sent in order, one at a time.
            manifests = list(takewhile(lambda row: row.kind == "manifest", rows))
            rows = manifests or rows[:1]
            results = await asyncio.gather(
                *(self._send(link, row) for row in rows), return_exceptions=True
            )
            kept = await self._settle(rows, results)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, Refused):
                    raise result
            if kept:
                return False
        return True

    async def _send(self, link: Link, row: OutboxRow) -> None:
        if not isinstance(await link.session.request(_message(row)), Done):
            raise RemoteProtocolError("the peer does not acknowledge a delivery")

    async def _settle(self, rows: list[OutboxRow], results: list[BaseException | None]) -> bool:
        """Forget what the peer stored or will never take; say whether it may take some later."""
        done = [row for row, result in zip(rows, results, strict=True) if result is None]
        refused = [
            row
            for row, result in zip(rows, results, strict=True)
            if isinstance(result, Refused)
            and result.reason not in (Reason.NOT_MEMBER, Reason.NOT_READY)
        ]
        if not done and not refused:
            return True
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> None:
            outbox.delivered(transaction.connection, [row.message_id for row in done + refused])
            for row in done:
                if row.kind == "capability" and row.capability_id is not None:
                    grants.mark_delivered(transaction.connection, row.capability_id, now)

        await self._context.database.write(job)
        for row in refused:
            self._context.events.tell("refused_by_peer", statement=row.kind)
        return len(done) + len(refused) < len(rows)
