"""Signed heads exchanged with peers, so that no log is quietly rewritten.

Belongs here: which heads are told and kept, and the alarm when one does not fit.
Never here: tree arithmetic (``protocol.audit``) or the own log's writing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from node.services.context import Context
from node.services.entries import draft
from node.transport.driver import Session
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection, get_meta, set_meta
from node.vault.records import team as rows
from protocol.audit.checkpoint import Checkpoint, open_checkpoint_untrusted, origin_of
from protocol.audit.proof import verify_consistency
from protocol.audit.tree import Frontier
from protocol.errors import LogError, Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.messages import FetchHead, Head, Hello

_BEHIND: Final = "log_behind"
"""Key in ``meta``: a peer has shown a head of this log that this log does not extend."""


class Witnessing:
    """Keeps the newest verified head of every peer's log."""

    def __init__(self, context: Context, *, behind: bool) -> None:
        self._context = context
        self.behind = behind
        """This node's log is not the one its peers hold heads of, or its keyslots are not those
        of its index: it was restored or cloned. It appends and releases nothing."""
        self._alarmed: set[tuple[bytes, str]] = set()
        """Alarms already raised in this run: a peer that comes again does not fill the log."""
        self._alarming = asyncio.Lock()

    @classmethod
    async def load(cls, context: Context) -> Witnessing:
        """Return what the vault knows."""
        known = await context.database.read(lambda db: get_meta(db, _BEHIND))
        return cls(context, behind=known is not None or context.vault.restored)

    async def heads(self, fingerprint: bytes) -> tuple[bytes, bytes]:
        """Return the own newest head and the newest one held of a peer; empty where none."""

        def query(db: Connection) -> tuple[bytes, bytes]:
            mine = log_store.head(db)
            yours = rows.peer_head(db, origin_of(fingerprint))
            return (b"" if mine is None else mine.note, b"" if yours is None else yours[1])

        return await self._context.database.read(query)

    async def answer_head(self, request: FetchHead) -> Head:
        """Return the own newest head, and the proof that was asked for if there is one."""

        def query(db: Connection) -> Head:
            mine = log_store.head(db)
            if mine is None:
                return Head(note=b"", proof=())
            end = request.to_size or mine.size
            if not 0 < request.from_size <= end <= mine.size:
                return Head(note=mine.note, proof=())
            proof = log_store.consistency_proof(db, request.from_size, end)
            return Head(note=mine.note, proof=tuple(proof))

        return await self._context.database.read(query)

    # On contact -----------------------------------------------------------------------------------

    async def check_heads(self, session: Session, member: Identity, hello: Hello) -> None:
        """Check and keep what a peer says of both logs; Refused after an alarm."""
        await self._check_own(member, hello.your_head)
        try:
            await self._check_theirs(session, member, hello.my_head)
            await self._check_release_heads(session, member)
        except RemoteError as error:
            await self._alarm(member, str(error))
            raise Refused(Reason.UNKNOWN, "the log's head does not fit") from None

    async def _check_own(self, member: Identity, note: bytes) -> None:
        """Compare the head that a peer holds of this log with this log."""
        if not note:
            return
        public = self._context.identity.public
        try:
            theirs = open_checkpoint_untrusted(note, origin_of(public.fingerprint), public.log_key)
        except RemoteError:
            return  # Not signed by this node: it proves nothing about this node.

        def extends(db: Connection) -> bool:
            mine = log_store.head(db)
            if mine is None or theirs.size > mine.size:
                return False
            tree = Frontier.from_nodes(theirs.size, log_store.node_reader(db))
            return tree.root() == theirs.root

        if not self.behind and not await self._context.database.read(extends):
            self.behind = True
            await self._alarm(
                member, "the own log does not extend a head that it signed before", own=True
            )

    async def _check_theirs(self, session: Session, member: Identity, note: bytes) -> None:
        origin = origin_of(member.fingerprint)
        held = await self._context.database.read(lambda db: rows.peer_head(db, origin))
        if not note and held is None:
            return
        told = open_checkpoint_untrusted(note, origin, member.log_key)
        if held is not None:
            known = open_checkpoint_untrusted(held[1], origin, member.log_key)
            # A greeting may be overtaken on its way; a log that is shorter proves nothing longer.
            older, newer = sorted((known, told), key=lambda one: one.size)
            await self._prove(session, member, older, newer)
            if newer is known:
                return
        await self._keep(member, told, note)

    # After a release ------------------------------------------------------------------------------

    async def check_release(self, session: Session, member: Identity, head: Checkpoint) -> None:
        """Raise LogError, after an alarm, for a release whose head is not of the log held.

        A head that is only older than the one held may have been overtaken on its way; the
        peer then has to prove at once that its log extends both.
        """
        origin = origin_of(member.fingerprint)
        held = await self._context.database.read(lambda db: rows.peer_head(db, origin))
        if held is None:
            return
        known = open_checkpoint_untrusted(held[1], origin, member.log_key)
        try:
            if head.size <= known.size:
                await self._prove(session, member, head, known)
        except RemoteError as error:
            await self._alarm(member, "a release stands in a log that is not the one shown before")
            raise LogError("the release's head is not of the log that was shown before") from error

    async def follow(self, session: Session, member: Identity) -> None:
        """Prove that the peer's log extends every head that its releases showed."""
        try:
            await self._check_release_heads(session, member)
        except RemoteError as error:
            await self._alarm(member, str(error))
            await session.close()

    async def _check_release_heads(self, session: Session, member: Identity) -> None:
        origin = origin_of(member.fingerprint)
        for note in await self._context.database.read(lambda db: rows.release_heads(db, origin)):
            held = await self._context.database.read(lambda db: rows.peer_head(db, origin))
            newest = note
            head = open_checkpoint_untrusted(note, origin, member.log_key)
            if held is not None:
                known = open_checkpoint_untrusted(held[1], origin, member.log_key)
                older, newer = sorted((known, head), key=lambda one: one.size)
                await self._prove(session, member, older, newer)
                if newer is known:
                    head, newest = known, held[1]
            await self._keep(member, head, newest, proven=note)

    async def _prove(
        self, session: Session, member: Identity, older: Checkpoint, newer: Checkpoint
    ) -> None:
        """Let the peer prove that one signed head of its log extends another, or raise LogError."""
        proof: tuple[bytes, ...] = ()
        if older.size != newer.size:
            answer = await session.request(FetchHead(from_size=older.size, to_size=newer.size))
            if not isinstance(answer, Head):
                raise LogError("the peer does not prove its head")
            proof = answer.proof
        verify_consistency(older.size, newer.size, older.root, newer.root, proof)

    async def _keep(
        self, member: Identity, head: Checkpoint, note: bytes, *, proven: bytes | None = None
    ) -> None:
        """Keep a verified head, and forget a release's head that it is proven to extend."""
        origin = origin_of(member.fingerprint)

        def job(transaction: WriteTransaction) -> None:
            rows.set_peer_head(
                transaction.connection,
                origin=origin,
                fingerprint=member.fingerprint,
                size=head.size,
                note=note,
                now=self._context.clock.now(),
            )
            if proven is not None:
                rows.remove_release_head(transaction.connection, origin=origin, note=proven)

        await self._context.database.write(job)

    # Alarms ---------------------------------------------------------------------------------------

    async def _alarm(self, member: Identity, detail: str, *, own: bool = False) -> None:
        def job(transaction: WriteTransaction) -> None:
            if own:
                set_meta(transaction.connection, _BEHIND, b"1")
            transaction.append(
                draft(
                    "witness_alarm",
                    actor=None,
                    about=self._context.me,
                    references={"member": member.fingerprint},
                    facts={"detail": detail},
                )
            )

        # Whoever is refused for a reason that was told before finds it in the log too.
        async with self._alarming:
            if (member.fingerprint, detail) in self._alarmed:
                return
            await self._context.database.write(job)
            self._alarmed.add((member.fingerprint, detail))
        self._context.events.tell("alarm", name=member.name, detail=detail)
