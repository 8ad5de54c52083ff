"""Which keys sign whose heads: statements told, fetched, kept, and the own key replaced.

Belongs here: the log keys of members as this node knows them, and telling members of its own.
Never here: what the statements mean (``protocol.audit.log_keys``), the own private key
(``node.vault``), or heads (``witnessing``).

A statement is durable before it is told, and told before any head that its key signs. Whoever
meets a head of a key that they do not know asks for the statements once, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from node.errors import UsageError
from node.services.context import Context
from node.services.whole import whole
from node.transport.driver import Session
from node.vault import keyring
from node.vault import log_keys as own_rows
from node.vault.database import WriteTransaction
from node.vault.errors import DamagedError
from node.vault.records import Connection, get_meta, set_meta
from node.vault.records import peer_keys as rows
from node.vault.records import team as team_rows
from protocol.audit.checkpoint import parse_checkpoint_untrusted
from protocol.audit.log_keys import LogKeys, verify_log_key_untrusted
from protocol.audit.note import split_note_untrusted
from protocol.errors import AuthenticationError, LogError, Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.limits import MAX_LOG_KEYS, MAX_LOG_KEYS_AT_ONCE
from protocol.messages import AnnounceLogKey, Answer, Done, FetchLogKeys, KeyStatements

T = TypeVar("T")

BEHIND_META: Final = "log_behind"
"""Key in ``meta``: this log is not the newest that its node has shown to others."""
LOST_META: Final = "lost_incarnation"
"""Key in ``meta``: the newest incarnation that this node began elsewhere, where what it said of
its key does not fit what is known here; decimal."""

_FETCH_S: Final = 10.0
"""How long a peer may take to give its statements."""
_MAY_BE_NEW: Final = frozenset({"key", "origin"})
"""Why a head does not open where its key may have been announced since."""


class LogKeyring:
    """The log keys of this node and of every member."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[bytes, LogKeys] = {}
        self._own: LogKeys | None = None
        self._changes = 0
        """How often the own keys have changed since the start."""
        self._taking: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self.on_contradiction: Callable[[Identity, RemoteError, bytes], Awaitable[None]] = _nothing
        """Told of a member's statement that contradicts what they showed before."""
        self.on_new: Callable[[bytes], None] = lambda _signed: None
        """Told of a statement of this node that members are to know."""
        self.on_lost: Callable[[], Awaitable[None]] = _unheard
        """Told when a member had a statement of this node that it did not know itself."""

    # What is known --------------------------------------------------------------------------------

    async def own(self) -> LogKeys:
        """Return the log keys of this node."""
        if self._own is not None:
            return self._own
        public, changes = self._context.identity.public, self._changes
        own = await self._context.database.read(lambda db: own_rows.own_keys(db, public))
        if changes == self._changes:  # Otherwise it is from before a key that is told already.
            self._own = own
        return own

    async def keys_of(self, member: Identity) -> LogKeys:
        """Return the log keys of a member as far as they are known; of this node all."""
        if member.fingerprint == self._context.me:
            return await self.own()
        known = self._known.get(member.fingerprint)
        if known is None:
            known = LogKeys.of(member)
            try:
                for signed in await self._context.database.read(
                    lambda db: rows.statements(db, member.fingerprint)
                ):
                    known = known.with_statement_untrusted(signed)
            except RemoteError as error:
                raise DamagedError("index", f"log keys of {member.name}: {error}") from None
            known = self._known.setdefault(member.fingerprint, known)
        return known

    async def opened(self, session: Session, member: Identity, read: Callable[[LogKeys], T]) -> T:
        """Return what read returns for a member's log keys.

        Where it raises LogError for a key that may be new, the member is asked for statements,
        and read tries again.
        """
        keys = await self.keys_of(member)
        # A member whose node was restored may count from an earlier statement than it did.
        for after in sorted({0, len(keys.statements)}, reverse=True):
            try:
                return read(keys)
            except LogError as error:
                if error.code not in _MAY_BE_NEW:
                    raise
            keys = await self._learn(session, member, after)
        return read(keys)

    # Peers' statements ----------------------------------------------------------------------------

    async def hear(self, session: Session, member: Identity, count: int) -> None:
        """Take in how many statements a member has made: fetch those that are new.

        A member that has made fewer than it did was restored from a backup; it is told the
        others again. RemoteError for a statement that is not good.
        """
        keys = await self.keys_of(member)
        known = len(keys.statements)
        if count > known:
            await self._learn(session, member, known)
        for signed in keys.statements[count:]:
            with contextlib.suppress(Refused):
                await session.request(AnnounceLogKey(signed=signed))

    async def _learn(self, session: Session, member: Identity, after: int) -> LogKeys:
        """Fetch a member's statements after the first so many, and keep those that are new."""
        try:
            async with asyncio.timeout(_FETCH_S):
                while after < MAX_LOG_KEYS:
                    answer = await session.request(FetchLogKeys(after=after))
                    if not isinstance(answer, KeyStatements) or not answer.statements:
                        break
                    for signed in answer.statements:
                        await self._take_untrusted(member, signed)
                    after += len(answer.statements)
        except TimeoutError:
            raise Refused(Reason.NOT_READY) from None
        return await self.keys_of(member)

    async def _take_untrusted(self, member: Identity, signed: bytes) -> None:
        """Keep a member's next statement durably; RemoteError where it does not fit."""
        lock = self._taking.setdefault(member.fingerprint, asyncio.Lock())
        async with lock:
            keys = await self.keys_of(member)
            try:
                more = keys.with_statement_untrusted(signed)
            except LogError as error:
                if error.code == "equivocation":
                    await self.on_contradiction(member, error, signed)
                raise
            if more is keys:
                return
            await whole(self._keep(member, keys, more, signed))

    async def _keep(self, member: Identity, keys: LogKeys, more: LogKeys, signed: bytes) -> None:
        """Make a statement durable that leads from the keys known to more of them.

        To the end, also where the alarm closes the session that brought it: otherwise a node
        whose new log cites too little could never be dealt with again.
        """
        if more.incarnation != keys.incarnation and not await self._cites_last(keys, signed):
            # The head that is held proves it. What follows is another log, and told apart.
            uncited = LogError(
                "the new log does not cite the last head that the old one showed", code="uncited"
            )
            await self.on_contradiction(member, uncited, signed)

        def job(transaction: WriteTransaction) -> None:
            position = len(keys.statements)
            rows.add_statement(transaction.connection, member.fingerprint, position, signed)

        await self._context.database.write(job)
        self._known[member.fingerprint] = more

    async def _cites_last(self, keys: LogKeys, signed: bytes) -> bool:
        """Say whether a new log cites a head of the old one that is not older than the one held."""
        held = await self._context.database.read(lambda db: team_rows.peer_head(db, keys.origin))
        if held is None:
            return True
        previous = verify_log_key_untrusted(signed, signer=keys.identity).previous
        if not previous:
            return False
        cited = keys.open_head_untrusted(previous)
        shown = parse_checkpoint_untrusted(split_note_untrusted(held[1])[0])
        return (
            cited.origin == shown.origin
            and cited.size >= shown.size
            and (cited.size > shown.size or cited.root == shown.root)
        )

    # What peers ask -------------------------------------------------------------------------------

    async def answer(self, request: FetchLogKeys) -> Answer:
        """Return some of this node's statements."""
        statements = (await self.own()).statements
        return KeyStatements(
            statements=statements[request.after : request.after + MAX_LOG_KEYS_AT_ONCE]
        )

    async def announced(self, session: Session, member: Identity, signed: bytes) -> Answer:
        """Take in a statement that a member made, or that they keep of this node; Refused."""
        try:
            try:
                await self._take_untrusted(member, signed)
            except LogError as error:
                if error.code != "epoch_gap":
                    raise
                await self._learn(session, member, len((await self.keys_of(member)).statements))
                await self._take_untrusted(member, signed)
        except AuthenticationError:
            await self._hear_own_untrusted(signed)
        except RemoteError:
            raise Refused(Reason.UNKNOWN, "the statement about a log key is not good") from None
        return Done()

    async def _hear_own_untrusted(self, signed: bytes) -> None:
        """Take in a statement of this node that only others still have."""
        public = self._context.identity.public
        try:
            statement = verify_log_key_untrusted(signed, signer=public)
        except RemoteError:
            raise Refused(Reason.UNKNOWN, "the statement about a log key is not good") from None

        def job(transaction: WriteTransaction) -> bool:
            db = transaction.connection
            keys = own_rows.own_keys(db, public)
            try:
                if keys.with_statement_untrusted(signed) is keys:
                    return False
                own_rows.put_lost(db, statement, signed)
            except RemoteError:
                newest = max(statement.incarnation, lost_incarnation(db))
                set_meta(db, LOST_META, str(newest).encode())
            set_meta(db, BEHIND_META, b"1")
            return True

        if (await self._context.database.write(job)).value:
            self._forget_own()
            await self.on_lost()

    # The own key ----------------------------------------------------------------------------------

    async def roll(self) -> int:
        """Replace the own log key, tell members of the next one, and return its epoch.

        UsageError where this vault is not the newest of its node.
        """
        if await self._context.database.read(lambda db: get_meta(db, BEHIND_META)) is not None:
            raise UsageError(
                "this vault was restored or copied: it begins a new log, with a new key, first",
                hint="safelight doctor says what it waits for",
            )
        await whole(self._context.vault.roll_log_key(self.changed))
        self._context.events.tell("log_key", epoch=(await self.own()).epoch)
        return (await self.own()).epoch

    async def roll_if_due(self) -> None:
        """Replace the own key where a passphrase was set since it was replaced last."""
        vault = self._context.vault
        if vault.restored or not await asyncio.to_thread(keyring.roll_is_due, vault.home.folder):
            return
        with contextlib.suppress(UsageError):  # A new log comes first, with a new key.
            await self.roll()

    def changed(self, signed: bytes) -> None:
        """Tell members of a statement that was made, and go by it."""
        self._forget_own()
        self.on_new(signed)

    def _forget_own(self) -> None:
        self._own = None
        self._changes += 1


def lost_incarnation(db: Connection) -> int:
    """Return the newest incarnation begun elsewhere that does not fit what is known here, or 0."""
    known = get_meta(db, LOST_META)
    return 0 if known is None else int(known)


async def _unheard() -> None:
    """Tell nobody."""


async def _nothing(_member: Identity, _error: RemoteError, _signed: bytes) -> None:
    """Tell nobody."""
