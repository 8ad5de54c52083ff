"""Rosters between two nodes: what each has is told, and what the other lacks is fetched.

Belongs here: asking a peer for the versions that are missing here, answering the same, and
telling of a newer roster until it is taken.
Never here: which versions are good (``membership``), or who is told when (``peering``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from weakref import WeakValueDictionary

from node.services.loops import RETRY_S
from node.services.membership import Membership
from node.transport.driver import Reply, Session, SessionClosedError
from protocol.errors import (
    AuthenticationError,
    Reason,
    Refused,
    RemoteError,
    RemoteProtocolError,
    SafelightError,
)
from protocol.limits import MAX_ROSTER_UPDATE_BYTES
from protocol.messages import RosterFetch, RosterUpdate, Streamed

_ROSTER_S: Final = 10.0
"""How long the versions of a roster may take to come."""


class RosterExchange:
    """Passes the versions that this node's membership holds, and takes in what peers hold."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._fetching: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        """By agreement key: a peer that stalls holds up nobody else."""

    def mine(self) -> RosterUpdate:
        """Return the statement of which version is in force here."""
        return RosterUpdate(version=self._membership.version, hash=self._membership.roster_hash)

    async def tell(self, session: Session) -> None:
        """Tell a member of the roster in force, until they have taken it or the link is gone."""
        while True:
            try:
                await session.request(self.mine())
            except SessionClosedError:
                return
            except SafelightError:
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def versions(self, request: RosterFetch) -> Reply:
        """Answer with the versions after the one that a peer has."""
        stream = await self._membership.versions_after(request.have_version)
        return Streamed(length=len(stream)), _once(stream)

    async def hear(self, session: Session, version: int, roster_hash: bytes) -> None:
        """Learn what a peer's roster has and ours has not; Refused where it is not good.

        A member with another history of the team stays one: both sides know each other, and
        what was granted goes on (4.6).
        """
        if version > self._membership.version:
            try:
                return await self._fetch_newer(session)
            except Refused as refusal:
                if refusal.reason is not Reason.POLICY:
                    raise
        elif version == 0 or roster_hash in self._membership.trusted.hashes.values():
            return None
        if self._membership.member_by_agreement(session.peer_key) is None:
            raise Refused(Reason.NOT_MEMBER)
        rival = self._membership.rival
        if rival is None or rival.hash != roster_hash:
            await self._fetch_rival(session)
        return None

    async def _fetch_newer(self, session: Session) -> None:
        """Fetch and accept the peer's newer roster versions; Refused where they are not good."""
        stream = await self._fetch(session, after=self._membership.version)
        try:
            await self._membership.update_untrusted(stream)
        except (RemoteProtocolError, AuthenticationError):
            # They may be of another history of the team than the one known here, and be signed
            # by administrators that only that one has.
            raise Refused(Reason.POLICY) from None
        except RemoteError:
            raise Refused(Reason.NOT_MEMBER) from None

    async def _fetch_rival(self, session: Session) -> None:
        """Fetch the whole of a member's other history of the team, for people to resolve."""
        stream = await self._fetch(session, after=0)
        try:
            await self._membership.hear_rival_untrusted(stream)
        except RemoteError:
            raise Refused(Reason.NOT_MEMBER) from None

    async def _fetch(self, session: Session, *, after: int) -> bytes:
        """Return the stream of a peer's roster versions after one."""
        lock = self._fetching.setdefault(session.peer_key, asyncio.Lock())
        try:
            async with asyncio.timeout(_ROSTER_S), lock:
                _, stream = await session.request_stream(RosterFetch(have_version=after))
                received = bytearray()
                async for piece in stream:
                    received += piece
                    if len(received) > MAX_ROSTER_UPDATE_BYTES:
                        raise Refused(Reason.UNKNOWN, "roster update is over its limit")
        except TimeoutError:
            raise Refused(Reason.NOT_READY) from None
        return bytes(received)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
