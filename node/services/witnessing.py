"""Signed heads exchanged with peers, so that no log is quietly rewritten.

Belongs here: which heads are told and kept, and the alarm when one does not fit.
Never here: tree arithmetic (``protocol.audit``) or the own log's writing.
"""

from __future__ import annotations

from node.services.context import Context
from node.services.entries import draft
from node.transport.driver import Session
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import team as rows
from protocol.audit.checkpoint import Checkpoint, open_checkpoint_untrusted, origin_of
from protocol.audit.proof import verify_consistency
from protocol.errors import LogError, Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.messages import FetchHead, Head, Hello


class Witnessing:
    """Keeps the newest verified head of every peer's log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.behind = False
        """A peer proved a later head of this node's own log: it was restored or cloned."""
        self._alarmed: set[tuple[bytes, str]] = set()
        """Alarms already raised in this run: a peer that comes again does not fill the log."""

    async def heads(self, fingerprint: bytes) -> tuple[bytes, bytes]:
        """Return the own newest head and the newest one held of a peer; empty where none."""

        def query(db: Connection) -> tuple[bytes, bytes]:
            mine = log_store.head(db)
            yours = rows.peer_head(db, origin_of(fingerprint))
            return (b"" if mine is None else mine.note, b"" if yours is None else yours[1])

        return await self._context.database.read(query)

    async def check_heads(self, session: Session, member: Identity, hello: Hello) -> None:
        """Check and keep what a peer says of both logs; Refused after an alarm."""
        await self._check_own(member, hello.your_head)
        await self._check_theirs(session, member, hello.my_head)

    async def answer_head(self, request: FetchHead) -> Head:
        """Return the own newest head with the proof that it extends an older one."""

        def query(db: Connection) -> Head:
            mine = log_store.head(db)
            if mine is None or not 0 < request.from_size <= mine.size:
                return Head(note=b"" if mine is None else mine.note, proof=())
            return Head(
                note=mine.note,
                proof=tuple(log_store.consistency_proof(db, request.from_size, mine.size)),
            )

        return await self._context.database.read(query)

    async def _check_own(self, member: Identity, note: bytes) -> None:
        if not note:
            return
        public = self._context.identity.public
        try:
            theirs = open_checkpoint_untrusted(
                note, origin=origin_of(public.fingerprint), log_public=public.log_key
            )
        except RemoteError:
            return  # Not signed by this node: it proves nothing about this node.
        mine = await self._context.database.read(log_store.head)
        if (mine is None or theirs.size > mine.size) and not self.behind:
            self.behind = True
            await self._alarm(member, "the own log is behind a head that it signed before")

    async def _check_theirs(self, session: Session, member: Identity, note: bytes) -> None:
        origin = origin_of(member.fingerprint)
        held = await self._context.database.read(lambda db: rows.peer_head(db, origin))
        try:
            if not note and held is None:
                return
            told = open_checkpoint_untrusted(note, origin=origin, log_public=member.log_key)
            if held is not None:
                told, note = await self._extend(session, member, told, note, held)
        except (LogError, RemoteError) as error:
            await self._alarm(member, str(error))
            raise Refused(Reason.UNKNOWN, "the log's head does not fit") from None

        def job(transaction: WriteTransaction) -> None:
            rows.set_peer_head(
                transaction.connection,
                origin=origin,
                fingerprint=member.fingerprint,
                size=told.size,
                note=note,
                now=self._context.clock.now(),
            )

        await self._context.database.write(job)

    async def _extend(
        self,
        session: Session,
        member: Identity,
        told: Checkpoint,
        note: bytes,
        held: tuple[int, bytes],
    ) -> tuple[Checkpoint, bytes]:
        """Return the peer's head that provably extends the held one; LogError where none does."""
        origin = origin_of(member.fingerprint)
        old = open_checkpoint_untrusted(held[1], origin=origin, log_public=member.log_key)
        if told.size == old.size and told.root == old.root:
            return told, note
        answer = await session.request(FetchHead(from_size=old.size))
        if not isinstance(answer, Head):
            raise LogError("the peer does not show its head")
        new = open_checkpoint_untrusted(answer.note, origin=origin, log_public=member.log_key)
        if new.size < max(old.size, told.size):
            raise LogError("the peer's log is shorter than it was")
        verify_consistency(old.size, new.size, old.root, new.root, answer.proof)
        return new, answer.note

    async def _alarm(self, member: Identity, detail: str) -> None:
        if (member.fingerprint, detail) in self._alarmed:
            return
        self._alarmed.add((member.fingerprint, detail))

        def job(transaction: WriteTransaction) -> None:
            transaction.append(
                draft(
                    "witness_alarm",
                    actor=None,
                    about=self._context.me,
                    references={"member": member.fingerprint},
                    facts={"detail": detail},
                )
            )

        await self._context.database.write(job)
        self._context.events.tell("alarm", name=member.name, detail=detail)
