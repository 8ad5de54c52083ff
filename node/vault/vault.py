"""A vault as a whole: made, opened, checked against itself, and closed.

Belongs here: the order in which the parts are opened and closed, and what start-up
repairs.
Never here: what any part does, or use cases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from node.ports import Clock
from node.vault import keyring, log_keys
from node.vault.blobs import BlobStore
from node.vault.database import Database, LogDraft, LogSigner, Subject, WriteTransaction
from node.vault.errors import DamagedError, StorageFullError
from node.vault.home import Home
from node.vault.keyring import VaultKeys
from node.vault.keyslots import Keyslots
from node.vault.records import Connection, get_meta, set_meta, stored
from node.vault.records import grants as grant_rows
from protocol.audit.checkpoint import origin_of
from protocol.audit.log_keys import sign_log_key
from protocol.errors import LocalError, SafelightError
from protocol.identity import LastingSeeds, LocalIdentity, Seeds, load_identity, make_identity
from protocol.limits import ARGON2_MEMORY_BYTES
from protocol.primitives import KEY_BYTES, Entropy

T = TypeVar("T")

SEEDS_META: Final = "seeds"
"""Key in ``meta``: identity, agreement and cosigning seed, 32 bytes each. The log's keys are
replaced and erased one after the other, so they have a table of their own."""
CERTIFICATE_META: Final = "certificate"
"""Key in ``meta``: the identity's certificate as it travels."""
GENERATION_META: Final = "keyslot_generation"
"""Key in ``meta``: which keyslot file belongs to this index."""


class Vault:
    """An open vault. Made by `create` or `open`, ended by `close`."""

    def __init__(
        self,
        *,
        home: Home,
        keys: VaultKeys,
        database: Database,
        keyslots: Keyslots,
        blobs: BlobStore,
        identity: LocalIdentity,
        restored: bool,
        closing: AsyncExitStack,
    ) -> None:
        self.home = home
        self.keys = keys
        self.database = database
        self.keyslots = keyslots
        self.blobs = blobs
        self.identity = identity
        self.restored = restored
        """The keyslot file is not the one of this index, which so came from a backup."""
        self._closing = closing

    @classmethod
    async def create(
        cls,
        folder: Path,
        *,
        name: str,
        passphrase: str,
        clock: Clock,
        entropy: Entropy,
        memory_bytes: int = ARGON2_MEMORY_BYTES,
    ) -> tuple[Vault, str]:
        """Make an identity called name and an empty vault in folder, and open it.

        Returns the vault and the recovery phrase, 24 words that are in no file. A crash before
        the end leaves a folder in which `create` works again. ``memory_bytes`` of Argon2id are
        64 MiB to 1 GiB. Raises LocalError (name, passphrase), VaultExistsError, VaultBusyError,
        StorageFullError, StorageFailedError.
        """
        home = Home(folder)
        seeds = Seeds.generate(entropy)
        identity = make_identity(seeds, name=name, now=clock.now())
        async with AsyncExitStack() as closing:
            lock = await asyncio.to_thread(home.begin)
            closing.callback(lock.release)

            def make() -> tuple[VaultKeys, str, bytes]:
                keys, phrase = keyring.create(
                    folder, passphrase, entropy=entropy, memory_bytes=memory_bytes
                )
                keyslots = Keyslots.create(home.keyslots, keys.keyslots, entropy=entropy)
                keyslots.close()
                return keys, phrase, keyslots.generation

            keys, phrase, generation = await asyncio.to_thread(make)

            def prepare(db: Connection) -> LogSigner:
                set_meta(db, SEEDS_META, _join(seeds))
                set_meta(db, CERTIFICATE_META, identity.public.certificate)
                set_meta(db, GENERATION_META, generation)
                log_keys.put_first(db, seeds.log)
                return log_keys.read_signer(db, identity.public)

            database = await Database.open(
                home.index, keys.index, clock=clock, entropy=entropy, prepare=prepare
            )
            await database.close()
            await asyncio.to_thread(home.complete)
            vault = await cls._open(home, keys, clock=clock, entropy=entropy, closing=closing)
        return vault, phrase

    @classmethod
    async def open(cls, folder: Path, *, passphrase: str, clock: Clock, entropy: Entropy) -> Vault:
        """Open the vault in folder, and repair what a crash left.

        Raises VaultMissingError, VaultBusyError, WrongPassphraseError, DamagedError,
        UnsupportedError, StorageFullError, StorageFailedError.
        """
        home = Home(folder)
        async with AsyncExitStack() as closing:
            await asyncio.to_thread(home.require)
            lock = await asyncio.to_thread(home.lock)
            closing.callback(lock.release)
            keys = await asyncio.to_thread(keyring.unlock, folder, passphrase)
            return await cls._open(home, keys, clock=clock, entropy=entropy, closing=closing)

    @classmethod
    async def _open(
        cls,
        home: Home,
        keys: VaultKeys,
        *,
        clock: Clock,
        entropy: Entropy,
        closing: AsyncExitStack,
    ) -> Vault:
        """Open the parts of a locked home; ``closing`` gets what `close` undoes."""
        identities: list[LocalIdentity] = []

        def prepare(db: Connection) -> LogSigner:
            identities.append(read_identity(db))
            return log_keys.read_signer(db, identities[0].public)

        database = await Database.open(
            home.index, keys.index, clock=clock, entropy=entropy, prepare=prepare
        )
        closing.push_async_callback(database.close)
        live, blob_ids, generation = await database.read(_read_expected)
        keyslots = await asyncio.to_thread(
            partial(_open_keyslots, home, keys, live=live, entropy=entropy)
        )
        closing.callback(keyslots.close)
        blobs = await BlobStore.open(home.blobs, entropy=entropy)
        await blobs.sweep(blob_ids, now=clock.now())
        await _log_failed_unlocks(home, database, identities[0])
        vault = cls(
            home=home,
            keys=keys,
            database=database,
            keyslots=keyslots,
            blobs=blobs,
            identity=identities[0],
            restored=keyslots.generation != generation,
            closing=closing,
        )
        with suppress(StorageFullError):  # It stays due; what is there can be looked at.
            await vault._roll_if_due()
        vault._closing = closing.pop_all()
        return vault

    async def close(self) -> None:
        """Finish what is being written, close every file, and let other processes have the home."""
        await self._closing.aclose()

    # The log's keys -------------------------------------------------------------------------------

    async def roll_log_key(self, tell: Callable[[bytes], None] = lambda _signed: None) -> bytes:
        """Replace the log's key and erase the old one; return what peers are told, signed.

        ``tell`` is called with that as soon as it is durable, before the new key signs anything.
        On return no file of the home has the old key, in whatever form, unless a query still
        reads pages from before: then the write-ahead log has it until it is emptied next. Raises
        as `Database.write`, and LocalError for a vault that may be an older copy of itself.
        """
        if self.restored:
            raise LocalError(
                "this vault came from a backup, and begins a new log with a new key first",
                hint="it does when it meets a member",
            )
        sign = partial(sign_log_key, signer=self.identity)

        def job(transaction: WriteTransaction) -> bytes:
            transaction.roll_log_key(sign)
            return log_keys.statements(transaction.connection)[-1]

        statement = (await self.database.write(job, alone=True)).value
        tell(statement)
        # The pages that had the old key are in the write-ahead log until it is emptied.
        await self.database.truncate_wal()
        await asyncio.to_thread(keyring.forget_roll, self.home.folder)
        return statement

    async def begin_log(
        self,
        incarnation: int,
        previous: bytes,
        also: Callable[[WriteTransaction], T],
    ) -> T:
        """Begin the node's next log, and do with it, in one transaction, what else that takes.

        ``previous`` is the last known head of the log before, empty where none is known. The
        vault counts as restored no more. Returns what ``also`` returns.
        """
        origin = origin_of(self.identity.public.fingerprint, incarnation)
        sign = partial(sign_log_key, signer=self.identity)

        def job(transaction: WriteTransaction) -> T:
            connection = transaction.connection
            transaction.begin_log(origin, incarnation, previous, sign)
            set_meta(connection, GENERATION_META, self.keyslots.generation)
            return also(transaction)

        done = (await self.database.write(job, alone=True)).value
        self.restored = False
        await self.database.truncate_wal()
        await asyncio.to_thread(keyring.forget_roll, self.home.folder)
        return done

    # Passphrase -----------------------------------------------------------------------------------

    async def check_passphrase(self, passphrase: str) -> None:
        """Raise WrongPassphraseError unless passphrase opens this vault; it is counted then."""
        await asyncio.to_thread(keyring.unlock, self.home.folder, passphrase)
        await _log_failed_unlocks(self.home, self.database, self.identity)

    async def change_passphrase(
        self, old: str, new: str, *, entropy: Entropy, memory_bytes: int = ARGON2_MEMORY_BYTES
    ) -> None:
        """Let another passphrase open this vault, and replace the log's key.

        Raises as `keyring.change_passphrase` and `roll_log_key`.
        """
        change = partial(
            keyring.change_passphrase,
            self.home.folder,
            old,
            new,
            entropy=entropy,
            memory_bytes=memory_bytes,
        )
        await asyncio.to_thread(change)
        await self._roll_if_due()

    async def _roll_if_due(self) -> None:
        """Replace the log's key where the passphrase was set anew since the last time."""
        if not self.restored and await asyncio.to_thread(keyring.roll_is_due, self.home.folder):
            await self.roll_log_key()


async def recover(
    folder: Path,
    *,
    phrase: str,
    passphrase: str,
    entropy: Entropy,
    memory_bytes: int = ARGON2_MEMORY_BYTES,
) -> None:
    """Set the passphrase of the closed vault in folder by its recovery phrase.

    The log's key is replaced when the vault is opened next.

    Raises VaultBusyError while a process uses the vault, and as `keyring.recover`.
    """
    home = Home(folder)

    def work() -> None:
        home.require()
        lock = home.lock()
        try:
            keyring.recover(folder, phrase, passphrase, entropy=entropy, memory_bytes=memory_bytes)
        finally:
            lock.release()

    await asyncio.to_thread(work)


async def _log_failed_unlocks(home: Home, database: Database, identity: LocalIdentity) -> None:
    """Put failed unlocks into the audit log, once one has succeeded."""
    count = await asyncio.to_thread(keyring.failed_unlocks, home.folder)
    if not count:
        return
    me = Subject(kind="member", reference=identity.public.fingerprint)

    def job(transaction: WriteTransaction) -> None:
        draft = LogDraft(event="unlock_failed", values=(("count", str(count).encode(), me),))
        transaction.append(draft)

    await database.write(job)
    await asyncio.to_thread(keyring.forget_failed_unlocks, home.folder)


def read_identity(db: Connection) -> LocalIdentity:
    """Return the identity that an index holds; DamagedError where it holds none that fits."""
    seeds, certificate = get_meta(db, SEEDS_META), get_meta(db, CERTIFICATE_META)
    if seeds is None or certificate is None or len(seeds) != _SEEDS * KEY_BYTES:
        raise DamagedError("index", "it holds no identity")
    try:
        return load_identity(_split(seeds), certificate)
    except SafelightError as error:
        raise DamagedError("index", f"its identity: {error}") from None


_SEEDS: Final = 3


def _join(seeds: LastingSeeds) -> bytes:
    return seeds.identity + seeds.agreement + seeds.cosigning


def _split(data: bytes) -> LastingSeeds:
    identity, agreement, cosigning = (
        data[start : start + KEY_BYTES] for start in range(0, _SEEDS * KEY_BYTES, KEY_BYTES)
    )
    return LastingSeeds(identity=identity, agreement=agreement, cosigning=cosigning)


def _read_expected(db: Connection) -> tuple[dict[int, bytes], set[bytes], bytes | None]:
    """Return the keyslots in use, the sealed files with a row, and the keyslots' generation."""
    return grant_rows.live_slots(db), stored.blob_ids(db), get_meta(db, GENERATION_META)


def _open_keyslots(
    home: Home, keys: VaultKeys, *, live: dict[int, bytes], entropy: Entropy
) -> Keyslots:
    # Keyslots are in no backup, so a restored home has none. The new file's generation says so.
    if not home.keyslots.exists():
        Keyslots.create(home.keyslots, keys.keyslots, entropy=entropy).close()
    return Keyslots.open(home.keyslots, keys.keyslots, live=live, entropy=entropy)
