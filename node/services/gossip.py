"""Gossip: what peers hold of other members' logs, compared with what this node holds.

Belongs here: giving and asking for held heads.
Never here: comparing two heads (``witnessing``), or asking for cosignatures (``witnessed``).

A member who shows one log to some and another one to others gives each of them heads that go
together. Only heads that went different ways contradict each other, so everybody asks everybody
else: all heads at the first time on a channel, then those that changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from node.services.context import Context
from node.services.cosigning import keeper_of, origin_untrusted
from node.services.peering import Link, Peering
from node.services.witnessing import Shown, Witnessing
from node.transport.driver import Session
from node.vault.records import witness as rows
from protocol.errors import RemoteError, RemoteProtocolError
from protocol.identity import Identity
from protocol.limits import MAX_HEAD_BYTES, MAX_HEADS_AT_ONCE, MAX_MEMBERS
from protocol.messages import FetchHeads, Heads

if TYPE_CHECKING:
    from node.services.log_keys import LogKeyring
    from node.services.membership import Membership

_MOST_ROUNDS = MAX_MEMBERS // MAX_HEADS_AT_ONCE + 1
"""Answers of one peer at a time: every member's newest log, and some."""


class Gossip:
    """Exchanges held heads with peers."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        log_keys: LogKeyring,
        witnessing: Witnessing,
        peering: Peering,
    ) -> None:
        self._context = context
        self._membership = membership
        self._log_keys = log_keys
        self._witnessing = witnessing
        self._peering = peering
        self._asked: WeakKeyDictionary[Session, int] = WeakKeyDictionary()
        """How far each peer's changes were heard on a channel."""

    async def answer(self, request: FetchHeads) -> Heads:
        """Return held heads, those that changed after the number asked with."""
        found = await self._context.database.read(
            lambda db: rows.held_heads(db, after=request.after, limit=MAX_HEADS_AT_ONCE)
        )
        return Heads(
            notes=tuple(note for _, note in found),
            next=found[-1][0] if found else request.after,
        )

    async def ask(self, link: Link) -> None:
        """Ask a peer what it holds, and compare. Raises what the channel raises."""
        for _ in range(_MOST_ROUNDS):
            after = self._asked.get(link.session, 0)
            answer = await link.session.request(FetchHeads(after=after))
            if not isinstance(answer, Heads) or len(answer.notes) > MAX_HEADS_AT_ONCE:
                raise RemoteProtocolError("the peer does not say which heads it holds")
            to_ask: dict[bytes, Identity] = {}
            for note in answer.notes:
                member = await self._hear_untrusted(link.member, note)
                if member is not None:
                    to_ask[member.fingerprint] = member
            # Only now: whoever is cut off here asks for all of them again.
            self._asked[link.session] = answer.next
            for member in to_ask.values():
                self._let_prove(member)
            if len(answer.notes) < MAX_HEADS_AT_ONCE:
                return

    def _let_prove(self, member: Identity) -> None:
        """Ask a member for its proofs now if there is a link; else when there is one."""
        if (link := self._peering.link(member.fingerprint)) is not None:
            self._peering.spawn(self._witnessing.follow(link.session, member))

    async def _hear_untrusted(self, teller: Identity, note: bytes) -> Identity | None:
        """Take in a head that a peer holds; return the member who has to prove it, if any."""
        keeper = keeper_of(origin_untrusted(note))
        if keeper == self._context.me:
            await self._witnessing.hear_of_own(teller, note)
            return None
        member = None if keeper is None else self._membership.member(keeper)
        if member is None or len(note) > MAX_HEAD_BYTES:
            return None
        try:
            keys = await self._log_keys.keys_of(member)
            shown = Shown(keys.open_head_untrusted(note), note)
        except RemoteError:
            # By a key that is not known yet, or nonsense. Its keeper tells the key on contact.
            return None
        must_prove = await self._witnessing.hear_of(member, shown)
        return member if must_prove else None
