"""The node's own log keys as the index keeps them: the private one in use, every statement made.

Belongs here: rows of ``log_keys``, and what they say as a whole.
Never here: rolling a key (``log_writer``), the statement's format (``protocol.audit.log_keys``),
statements of peers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.vault.errors import DamagedError
from node.vault.records import Connection
from protocol.audit.checkpoint import origin_of
from protocol.audit.log_keys import LogKeys, LogKeyStatement, verify_log_key_untrusted
from protocol.errors import RemoteError
from protocol.identity import Identity
from protocol.primitives import KEY_BYTES, SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSigner:
    """In whose name heads are signed."""

    origin: str
    """The log's name, as ``protocol.audit.checkpoint.origin_of`` makes it."""
    key: SigningKey = field(repr=False)
    """The log key, which signs heads and nothing else."""
    incarnation: int = 0
    epoch: int = 0
    closing: bytes = field(default=b"", repr=False)
    """The head that closed the epoch before; empty in the first epoch of a log."""


def statements(db: Connection) -> list[bytes]:
    """Return every statement that this node made, or was told to have made, in their order."""
    rows = db.execute(
        "SELECT statement FROM log_keys WHERE statement IS NOT NULL ORDER BY incarnation, epoch"
    ).fetchall()
    return [bytes(statement) for (statement,) in rows]


def own_keys(db: Connection, identity: Identity) -> LogKeys:
    """Return all log keys of this node; DamagedError where its statements do not fit together."""
    keys = LogKeys.of(identity)
    try:
        for statement in statements(db):
            keys = keys.with_statement_untrusted(statement)
    except RemoteError as error:
        raise DamagedError("index", f"the log's keys: {error}") from None
    return keys


def read_signer(db: Connection, identity: Identity) -> LogSigner:
    """Return who signs the log; DamagedError where the index has no key that fits."""
    found = db.execute(
        "SELECT incarnation, epoch, statement, seed FROM log_keys WHERE seed IS NOT NULL"
    ).fetchall()
    if len(found) != 1:
        raise DamagedError("index", "it does not have exactly one key of the log")
    ((incarnation, epoch, signed, seed),) = found
    key, closing, expected = SigningKey(seed), b"", identity.log_key
    if signed is not None:
        try:
            statement = verify_log_key_untrusted(signed, signer=identity)
        except RemoteError as error:
            raise DamagedError("index", f"the log's key: {error}") from None
        expected = statement.key
        closing = statement.previous if statement.epoch else b""
    if key.public != expected:
        raise DamagedError("index", "the log's key is not the one that was announced")
    return LogSigner(
        origin=origin_of(identity.fingerprint, incarnation),
        key=key,
        incarnation=incarnation,
        epoch=epoch,
        closing=closing,
    )


def put_first(db: Connection, seed: bytes) -> None:
    """Keep the first log key, which the certificate names."""
    db.execute("INSERT INTO log_keys (incarnation, epoch, seed) VALUES (0, 0, ?)", (seed,))


def put_next(db: Connection, statement: LogKeyStatement, signed: bytes, seed: bytes) -> None:
    """Keep the next log key, and erase the one before it."""
    assert len(seed) == KEY_BYTES, "drawn so"
    db.execute("UPDATE log_keys SET seed = NULL WHERE seed IS NOT NULL")
    db.execute(
        "INSERT INTO log_keys (incarnation, epoch, statement, seed) VALUES (?, ?, ?, ?)",
        (statement.incarnation, statement.epoch, signed, seed),
    )


def put_lost(db: Connection, statement: LogKeyStatement, signed: bytes) -> None:
    """Keep a statement of this node that only its peers still had: its key is lost."""
    db.execute(
        "INSERT INTO log_keys (incarnation, epoch, statement) VALUES (?, ?, ?)",
        (statement.incarnation, statement.epoch, signed),
    )


def newest_incarnation(db: Connection) -> int:
    """Return the newest incarnation that is known to have begun, here or elsewhere."""
    (newest,) = db.execute("SELECT max(incarnation) FROM log_keys").fetchone()
    return int(newest)
