"""What a node does about members who left: their capabilities end, their places are forgotten.

Belongs here: settling what concerns non-members, after each change of the roster and at start.
Never here: removing anybody (``administering``), or refusing a non-member's open (``opening``
does, from the moment this node holds the roster).
"""

from __future__ import annotations

import asyncio

from node.services.context import Context
from node.services.ending import Ending
from node.services.loops import forever
from node.services.membership import Membership
from node.vault.database import WriteTransaction
from node.vault.records import outbox
from node.vault.records import team as rows


class Departures:
    """Revokes what was granted to non-members, and forgets what was kept for them."""

    def __init__(self, context: Context, membership: Membership, ending: Ending) -> None:
        self._context = context
        self._membership = membership
        self._ending = ending
        self._changed = membership.watch()
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Settle what a former run left, and every change from now on."""
        self._watch = asyncio.create_task(forever(self._run, "departures"), name="departures")

    async def close(self) -> None:
        """Stop; what is left is settled at the next start."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            await self._settle()
            await self._changed.wait()

    async def _settle(self) -> None:
        if not self._membership.founded or self._membership.removed:
            # A node that was removed itself knows no longer who is a member.
            return
        ended = await self._ending.revoke_of_others(self._members)
        await self._forget_others()
        if ended:
            self._context.events.tell("departed", capabilities=ended)

    def _members(self) -> set[bytes]:
        """Return who is a member now: somebody may become one while others are being settled."""
        return set(self._membership.trusted.members)

    async def _forget_others(self) -> None:
        """Forget addresses of non-members, and what waits for them but for revocations."""
        known = await self._context.database.read(rows.known_peers)
        if not known - self._members():
            return

        def job(transaction: WriteTransaction) -> None:
            for former in rows.known_peers(transaction.connection) - self._members():
                rows.remove_addresses(transaction.connection, former)
                outbox.drop_for_former(transaction.connection, former)

        await self._context.database.write(job)
