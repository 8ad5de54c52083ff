"""Signed heads exchanged with peers, so that no log is quietly rewritten.

Belongs here: which heads are told and kept, and what does not go together.
Never here: tree arithmetic (``protocol.audit``), the own log's writing, cosignatures
(``cosigning``, ``witnessed``), or what an alarm leads to (``alarms``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from node.services.alarms import EQUIVOCATION, FORK, ROLLBACK, Alarms
from node.services.context import Context
from node.transport.driver import Session
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection, get_meta, set_meta
from node.vault.records import team as rows
from node.vault.records import witness as witness_rows
from protocol.audit.checkpoint import Checkpoint, parse_checkpoint_untrusted
from protocol.audit.equivocation import (
    encode_evidence,
    forked_root_untrusted,
    head_evidence,
    key_evidence,
)
from protocol.audit.note import split_note_untrusted
from protocol.audit.proof import verify_consistency
from protocol.audit.tree import Frontier
from protocol.errors import LimitError, LogError, Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.limits import MAX_HEAD_BYTES
from protocol.messages import FetchHead, Head, Hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from node.services.log_keys import LogKeyring
    from protocol.audit.log_keys import LogKeys

_BEHIND: Final = "log_behind"
"""Key in ``meta``: a peer has shown a head of this log that this log does not extend."""
_MOST_SHOWN: Final = 32
"""Heads of one log that wait to be proven: those of releases, and those that others hold."""

_TRIES: Final = 5
"""How often a head is compared anew because another one came to be held meanwhile."""

_PLAIN: Final = {
    ROLLBACK: "the log is shorter than a head that it signed before",
    FORK: "the log does not extend a head that it signed before",
    EQUIVOCATION: "the log has two signed heads of one size",
}


_NOTHING: Final = Head(note=b"", proof=())


class Shown(NamedTuple):
    """A head of somebody's log, verified, with the bytes that its keeper signed."""

    head: Checkpoint
    note: bytes


class ContradictionError(LogError):
    """Two signed heads of one log that do not go together."""

    code = "fork"

    def __init__(self, kind: str, first: Shown, second: Shown, answer: Head = _NOTHING) -> None:
        super().__init__(_PLAIN[kind])
        self.kind = kind
        self.first = first
        self.second = second
        self.answer = answer
        """What their keeper gave as the proof that one extends the other."""


class Witnessing:
    """Keeps the newest verified head of every peer's log."""

    def __init__(
        self, context: Context, log_keys: LogKeyring, alarms: Alarms, *, behind: bool
    ) -> None:
        self._context = context
        self._log_keys = log_keys
        self.alarms = alarms
        self.behind = behind
        """This node's log is not the one its peers hold heads of, or its keyslots are not those
        of its index: it was restored or cloned. It appends and releases nothing."""
        self.own_told: dict[bytes, bytes] = {}
        """By fingerprint, the newest head of the own log that each peer said it holds."""
        self.on_told: Callable[[], None] = lambda: None
        """Called when a peer has said which head of the own log it holds."""
        log_keys.on_contradiction = self._contradicted

    @classmethod
    async def load(cls, context: Context, log_keys: LogKeyring, alarms: Alarms) -> Witnessing:
        """Return what the vault knows."""
        known = await context.database.read(lambda db: get_meta(db, _BEHIND))
        behind = known is not None or context.vault.restored
        return cls(context, log_keys, alarms, behind=behind)

    async def heads(self, member: Identity) -> tuple[bytes, bytes]:
        """Return the own newest head and the newest one held of a peer; empty where none."""
        origin = (await self._log_keys.keys_of(member)).origin

        def query(db: Connection) -> tuple[bytes, bytes]:
            mine = log_store.head(db)
            yours = rows.peer_head(db, origin)
            return (b"" if mine is None else mine.note, b"" if yours is None else yours[1])

        return await self._context.database.read(query)

    async def answer_head(self, request: FetchHead) -> Head:
        """Return the own newest head, and the proof that was asked for if there is one."""

        def query(db: Connection) -> Head:
            mine = log_store.head(db)
            if mine is None:
                return _NOTHING
            end = request.to_size or mine.size
            if not 0 < request.from_size <= end <= mine.size:
                return Head(note=mine.note, proof=())
            proof = log_store.consistency_proof(db, request.from_size, end)
            root = Frontier.from_nodes(request.from_size, log_store.node_reader(db)).root()
            return Head(note=mine.note, proof=tuple(proof), root=root)

        return await self._context.database.read(query)

    # On contact -----------------------------------------------------------------------------------

    async def check_heads(self, session: Session, member: Identity, hello: Hello) -> None:
        """Check and keep what a peer says of both logs; Refused where dealings have stopped."""
        try:
            await self._log_keys.hear(session, member, hello.log_keys)
            await self.check_own(member, hello.your_head)
            await self.alarms.refresh()
            if not self.alarms.stopped(member.fingerprint):
                async with self.watched(member):
                    await self._check_theirs(session, member, hello.my_head)
                    await self._check_shown(session, member)
        except RemoteError:
            raise Refused(Reason.UNKNOWN, "the log's head does not fit") from None
        if self.alarms.stopped(member.fingerprint):
            raise Refused(Reason.UNKNOWN, "the log's head does not fit")

    async def check_own(self, teller: Identity, note: bytes) -> None:
        """Compare the head that a peer holds of this log with this log."""
        self.own_told[teller.fingerprint] = note
        try:
            if note:
                await self._compare_own(teller, note)
        finally:
            self.on_told()

    async def hear_of_own(self, teller: Identity, note: bytes) -> None:
        """Compare a head of this log, about which a peer speaks beside its greeting."""
        before = self.behind
        await self._compare_own(teller, note)
        if self.behind and not before:
            self.own_told[teller.fingerprint] = note
            self.on_told()

    async def _compare_own(self, teller: Identity, note: bytes) -> None:
        own = await self._log_keys.own()
        try:
            theirs = Shown(own.open_head_untrusted(note), note)
        except RemoteError:
            return  # Not signed by this node: it proves nothing about this node.
        if theirs.head.origin != own.origin:
            return  # Of a log that this node has given up.

        def extends(db: Connection) -> tuple[bool, Shown | None]:
            newest = log_store.head(db)
            mine = None if newest is None else stored_head(newest.note)
            if mine is None or theirs.head.size > mine.head.size:
                return False, mine
            tree = Frontier.from_nodes(theirs.head.size, log_store.node_reader(db))
            return tree.root() == theirs.head.root, mine

        fits, mine = await self._context.database.read(extends)
        if fits or self.behind:
            return
        self.behind = True

        def note_behind(transaction: WriteTransaction) -> None:
            set_meta(transaction.connection, _BEHIND, b"1")

        await self._context.database.write(note_behind)
        size = 0 if mine is None else mine.head.size
        await self.alarms.sound(
            kind=_kind(theirs.head.size, size, told=size),
            about=self._context.me,
            origin=own.origin,
            detail="the own log does not extend a head that it signed before",
            first=note,
            second=b"" if mine is None else mine.note,
            evidence=_evidence(own, theirs, mine),
            member=teller,
        )

    async def _check_theirs(self, session: Session, member: Identity, note: bytes) -> None:
        keys = await self._log_keys.keys_of(member)
        if not note:
            known = await self.held(member, keys.origin)
            if known is not None:
                nothing = Shown(Checkpoint(origin=keys.origin, size=0, root=b""), b"")
                raise ContradictionError(ROLLBACK, known, nothing)
            return
        told = await self.open_head(session, member, note)
        if told.head.origin != (await self._log_keys.keys_of(member)).origin:
            # Said before its keeper began the new one, and overtaken on its way; or never again.
            raise Refused(Reason.NOT_READY, "the log is one that its keeper has given up")
        await self.take(session, member, told)

    async def take(
        self, session: Session, member: Identity, told: Shown, *, proven: bytes | None = None
    ) -> None:
        """Let the peer prove that a head and the one held go together; keep the newer one.

        ``proven`` is forgotten as one that waits to be proven. Raises ContradictionError, or
        Refused where it cannot be told now.
        """
        for _ in range(_TRIES):
            known = await self.held(member, told.head.origin)
            newest = told
            if known is not None:
                await self._prove(session, member, known, told)
                newest = max(known, told, key=lambda one: one.head.size)
            if await self._keep(member, newest, over=known, proven=proven):
                return
        raise Refused(Reason.NOT_READY)

    # After a release ------------------------------------------------------------------------------

    async def check_release(
        self, session: Session, member: Identity, head: Checkpoint, note: bytes
    ) -> None:
        """Raise LogError, after an alarm, for a release whose head is not of the log held.

        A head that is only older than the one held may have been overtaken on its way; the
        peer then has to prove at once that its log extends both.
        """
        known = await self.held(member, head.origin)
        if known is None or head.size > known.head.size:
            return
        try:
            async with self.watched(member):
                await self._prove(session, member, known, Shown(head, note))
        except RemoteError as error:
            raise LogError("the release's head is not of the log that was shown before") from error

    async def follow(self, session: Session, member: Identity) -> None:
        """Prove that the peer's log extends every head of it that was shown to anybody."""
        try:
            async with self.watched(member):
                await self._check_shown(session, member)
        except RemoteError:
            await session.close()

    async def hear_of(self, member: Identity, shown: Shown) -> bool:
        """Take in a head of a member's log that somebody else was shown.

        Says whether the member has to prove it. An alarm is raised where it contradicts the head
        held by itself.
        """
        origin = shown.head.origin
        if self.alarms.settled(shown.note):
            return False
        while (known := await self.held(member, origin)) is None:
            # Several tell at once, and another head may come to be held meanwhile.
            if await self._keep(member, shown, over=None, proven=None):
                return False
        waiting = await self._context.database.read(lambda db: rows.release_heads(db, origin))
        for other in (known, *map(stored_head, waiting)):
            if other.head.size == shown.head.size and other.head.root != shown.head.root:
                await self._sound(member, ContradictionError(EQUIVOCATION, other, shown))
                return False
        if known.head.size == shown.head.size:
            return False
        if origin != (await self._log_keys.keys_of(member)).origin:
            return False  # Nobody can be asked any more how a log went on that was given up.

        def job(transaction: WriteTransaction) -> bool:
            db = transaction.connection
            if witness_rows.unproven(db, origin) >= _MOST_SHOWN:
                return False
            rows.add_release_head(db, origin=origin, size=shown.head.size, note=shown.note)
            return True

        return (await self._context.database.write(job)).value

    async def _check_shown(self, session: Session, member: Identity) -> None:
        origin = (await self._log_keys.keys_of(member)).origin
        for note in await self._context.database.read(lambda db: rows.release_heads(db, origin)):
            told = await self.open_head(session, member, note)
            await self.take(session, member, told, proven=note)

    # One head -------------------------------------------------------------------------------------

    async def open_head(self, session: Session, member: Identity, note: bytes) -> Shown:
        """Verify a head of a peer's log, asking for keys that are not known; LogError."""
        if len(note) > MAX_HEAD_BYTES:
            raise LogError("checkpoint: too long", code="malformed_checkpoint")
        head = await self._log_keys.opened(
            session, member, lambda keys: keys.open_head_untrusted(note)
        )
        return Shown(head, note)

    async def held(self, member: Identity, origin: str) -> Shown | None:
        """Return the newest verified head of a log of a member, or None."""
        row = await self._context.database.read(lambda db: rows.peer_head(db, origin))
        return None if row is None else stored_head(row[1])

    async def _prove(self, session: Session, member: Identity, known: Shown, told: Shown) -> None:
        """Let the peer prove that one signed head of its log extends another.

        Raises ContradictionError where it does not, Refused where it speaks of a newer log.

        A log that went on elsewhere can prove nothing of its past, also not of two heads that go
        together. What contradicts them is the newest head: whoever notices, over whichever two,
        names that one, and so raises the one alarm that others raise too.
        """
        try:
            await _ask_proof(session, known, told)
        except ContradictionError as contradiction:
            newest = await self._newest(session, member, known, contradiction.answer.note)
            if newest is None or newest.note in (known.note, told.note):
                raise
            for one in (known, told):
                await _ask_proof(session, one, newest)

    async def _newest(
        self, session: Session, member: Identity, known: Shown, note: bytes
    ) -> Shown | None:
        """Return the head that a peer gave as its log's newest, None where it gave none.

        Raises Refused where it is of a newer log than the head known: that one proves nothing.
        """
        if not note:
            return None
        try:
            newest = await self.open_head(session, member, note)
        except RemoteError:
            return None
        if newest.head.origin != known.head.origin:
            raise Refused(Reason.NOT_READY, "the peer has begun a new log")
        return newest

    async def _keep(
        self, member: Identity, shown: Shown, *, over: Shown | None, proven: bytes | None
    ) -> bool:
        """Keep a head that was verified against the one held before.

        False where another one is held by now: two heads that each extend an older one need not
        go together. ``proven`` is forgotten as one that waits to be proven.
        """
        origin = shown.head.origin

        def job(transaction: WriteTransaction) -> bool:
            db = transaction.connection
            held = rows.peer_head(db, origin)
            if (None if held is None else held[1]) != (None if over is None else over.note):
                return False
            if over is None or over.head.size != shown.head.size:
                rows.set_peer_head(
                    db,
                    origin=origin,
                    fingerprint=member.fingerprint,
                    size=shown.head.size,
                    note=shown.note,
                    now=self._context.clock.now(),
                )
            if proven is not None:
                rows.remove_release_head(db, origin=origin, note=proven)
            return True

        return (await self._context.database.write(job)).value

    # Alarms ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watched(self, member: Identity) -> AsyncIterator[None]:
        """Raise an alarm for what the checks inside find, and let the error pass."""
        try:
            yield
        except ContradictionError as contradiction:
            await self._sound(member, contradiction)
            raise
        except RemoteError as error:
            await self.alarms.remark(member, str(error))
            raise

    async def _sound(self, member: Identity, contradiction: ContradictionError) -> None:
        keys = await self._log_keys.keys_of(member)
        await self.alarms.sound(
            kind=contradiction.kind,
            about=member.fingerprint,
            origin=contradiction.first.head.origin,
            detail=str(contradiction),
            first=contradiction.first.note,
            second=contradiction.second.note,
            evidence=_evidence(
                keys, contradiction.first, contradiction.second, contradiction.answer
            ),
            member=member,
        )

    async def _contradicted(self, member: Identity, error: RemoteError, signed: bytes) -> None:
        """Raise an alarm for a statement about a log key that contradicts what is known."""
        keys = await self._log_keys.keys_of(member)
        held = await self._context.database.read(lambda db: rows.peer_head(db, keys.origin))
        first, evidence = _two_keys(keys, signed)
        await self.alarms.sound(
            kind=EQUIVOCATION if error.code == "equivocation" else ROLLBACK,
            about=member.fingerprint,
            origin=keys.origin,
            detail=str(error),
            first=first or (b"" if held is None else held[1]),
            second=signed,
            evidence=evidence,
            member=member,
        )


async def _ask_proof(session: Session, known: Shown, told: Shown) -> None:
    """Ask a peer for the proof that two heads of its log go together; ContradictionError."""
    older, newer = sorted((known, told), key=lambda one: one.head.size)
    answer = _NOTHING
    if older.head.size != newer.head.size:
        given = await session.request(FetchHead(from_size=older.head.size, to_size=newer.head.size))
        answer = given if isinstance(given, Head) else answer
    try:
        verify_consistency(
            older.head.size, newer.head.size, older.head.root, newer.head.root, answer.proof
        )
    except LogError:
        kind = _kind(known.head.size, told.head.size, told=told.head.size)
        raise ContradictionError(kind, known, told, answer) from None


def _evidence(
    keys: LogKeys, one: Shown, other: Shown | None, answer: Head = _NOTHING
) -> bytes | None:
    """Return what convinces anybody that two heads do not go together; None where nothing does."""
    if other is None or not other.note:
        return None
    first, second = sorted((one, other), key=lambda shown: shown.head.size)
    root, proof = b"", answer.proof
    try:
        if first.head.size != second.head.size:
            found = forked_root_untrusted(
                first.head.size, second.head.size, second.head.root, proof, answer.root
            )
            root = b"" if found is None else found
        else:
            proof = ()
        return encode_evidence(head_evidence(keys, first.note, second.note, root=root, proof=proof))
    except (LogError, LimitError):
        return None


def _two_keys(keys: LogKeys, signed: bytes) -> tuple[bytes, bytes | None]:
    """Return the statement that another one contradicts, with the evidence, as far as there is."""
    for known in keys.statements:
        try:
            return known, encode_evidence(key_evidence(keys.identity, known, signed))
        except (RemoteError, LimitError):
            continue
    return b"", None


def stored_head(note: bytes) -> Shown:
    """Return a head that was verified before it was stored."""
    text, _ = split_note_untrusted(note)
    return Shown(parse_checkpoint_untrusted(text), note)


def _kind(one: int, other: int, *, told: int) -> str:
    """Return what two heads that do not go together are called, by the newer word of the two."""
    if one == other:
        return EQUIVOCATION
    return ROLLBACK if told == min(one, other) else FORK
