"""Small jobs for the one writer, and what became of them.

Belongs here: rows and entries that mean nothing, and reading them back.
Never here: what the writer promises (the tests).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from node.vault import log_store
from node.vault.database import Database, LogDraft, LogSigner, Subject, WriteTransaction
from node.vault.records import Connection, get_meta, set_meta
from protocol.audit.log_keys import OneLogKey
from protocol.audit.verify import Report, verify_log
from tests.node.vault.support import ManualClock

IMAGE = Subject(kind="image", reference=b"\x07" * 16)
LOGGED = LogDraft(event="imported", subjects=(IMAGE,), values=(("name", b"sea.jpg", IMAGE),))


async def open_database(index: Path, signer: LogSigner) -> Database:
    return await Database.open(
        index, bytes(32), clock=ManualClock(), entropy=os.urandom, prepare=lambda _: signer
    )


def log(transaction: WriteTransaction) -> int:
    return transaction.append(LOGGED)


def put(key: str, value: bytes = b"1") -> Callable[[WriteTransaction], None]:
    return lambda transaction: set_meta(transaction.connection, key, value)


def has(key: str) -> Callable[[Connection], bool]:
    return lambda db: get_meta(db, key) is not None


async def report(database: Database, signer: LogSigner) -> Report:
    """Verify the whole stored log."""

    def read(db: Connection) -> tuple[list[bytes], bytes]:
        head = log_store.head(db)
        assert head is not None
        return [one.entry for one in log_store.walk(db)], head.note

    entries, note = await database.read(read)
    return verify_log(entries, note, keys=OneLogKey(origin=signer.origin, public=signer.key.public))
