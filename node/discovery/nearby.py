"""This node on the local network: announced there, and team-mates seen put into the directory.

Belongs here: which sightings are of members, and when to announce anew.
Never here: multicast DNS itself (``mdns``), dialling, or what an invitation is (``inviting``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from node.discovery.directory import Directory
from node.discovery.mdns import Mdns, match
from node.services.context import Context
from node.services.loops import forever
from node.services.membership import Address, Membership
from protocol.announcement import Announcement


class Nearby:
    """Announces this node and looks for others, from ``start`` on where that is called at all."""

    def __init__(self, context: Context, membership: Membership, directory: Directory) -> None:
        self._context = context
        self._membership = membership
        self._directory = directory
        self._roster_changed = membership.watch()
        self._mdns: Mdns | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self, *, port: int, interfaces: Callable[[], Sequence[str]]) -> None:
        """Begin to announce the port on the interfaces of these IPv4 addresses, and to look."""
        self._mdns = Mdns(
            self._context,
            port=port,
            tag_key=self._context.identity.public.agreement_key,
            interfaces=interfaces,
        )
        self._mdns.on_sighting = self._sighted
        await self._mdns.start()
        self._watch = asyncio.create_task(forever(self._watch_roster, "the network"), name="nearby")

    async def close(self) -> None:
        """Take the announcement back."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._mdns is not None:
            await self._mdns.close()

    def describe(self) -> dict[str, str]:
        """Return the ``state`` (off, on, failing), and the ``problem`` where nobody is found."""
        problem = "" if self._mdns is None else self._mdns.problem
        state = "off" if self._mdns is None else "failing" if problem else "on"
        return {"state": state, "problem": problem}

    def readvertise(self) -> None:
        """Announce and look anew: this machine has moved."""
        if self._mdns is not None:
            self._mdns.readvertise()

    def announce(self, invitation: int | None) -> None:
        """Announce that an invitation is open here, or that none is."""
        if self._mdns is not None:
            self._mdns.announce(invitation)

    async def browse_invitation(self, number: int, seconds: float) -> AsyncGenerator[Address, None]:
        """Yield where an invitation of this number says that it is open; anybody can say so."""
        if self._mdns is not None:
            async for place in self._mdns.browse_invitation(number, seconds):
                yield place

    async def _watch_roster(self) -> None:
        """Look anew when the roster changes: who was nobody may be a member now."""
        while True:
            await self._roster_changed.wait()
            self._roster_changed.clear()
            self.readvertise()

    def _sighted(self, announcement: Announcement, hosts: list[str], port: int) -> None:
        if not self._membership.founded:
            return
        member = match(announcement, port, self._membership.trusted.members.values())
        if member is not None and member.fingerprint != self._context.me:
            for host in hosts:
                self._directory.sighted(member.fingerprint, host, port)
