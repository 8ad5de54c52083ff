"""Checking the index: its pages, its structure, and the audit log in it.

Belongs here: what SQLCipher, SQLite and the log's verifier find.
Never here: files beside the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from node.vault import log_store
from node.vault.checks.problem import Problem, index_problem, read_index, reason, some
from node.vault.connection import SqlConnection, open_unread
from node.vault.errors import VaultError, index_errors
from node.vault.home import Home
from node.vault.keyring import VaultKeys
from node.vault.log_keys import own_keys
from node.vault.records import Connection
from node.vault.vault import read_identity
from protocol.audit.checkpoint import origin_of
from protocol.audit.log_keys import LogKeys
from protocol.audit.tree import Frontier, leaf_hash
from protocol.audit.verify import verify_log


def check_pages(home: Home, keys: VaultKeys) -> list[Problem]:
    """Authenticate every page of the file."""
    try:
        with index_errors():
            db = open_unread(home.index, keys.index, read_only=True)
            try:
                # A page that is being written just now fails too, but not twice.
                found = _bad_pages(db)
                again = set(_bad_pages(db)) if found else set()
            finally:
                db.close()
    except VaultError as error:
        return [index_problem(reason(error))]
    return some([index_problem(text) for text in found if text in again])


def _bad_pages(db: SqlConnection) -> list[str]:
    return [text for (text,) in db.execute("PRAGMA cipher_integrity_check").fetchall()]


def check_structure(home: Home, keys: VaultKeys) -> list[Problem]:
    """Let SQLite check trees, indexes, column types and references."""

    def check(db: SqlConnection) -> list[Problem]:
        broken = [text for (text,) in db.execute("PRAGMA integrity_check").fetchall()]
        if broken == ["ok"]:
            broken = []
        dangling = db.execute("PRAGMA foreign_key_check").fetchall()
        broken += [f"row {row} of {table} refers to no {to}" for table, row, to, _ in dangling]
        return [index_problem(text) for text in broken]

    return _ask(home, keys, check)


def check_log(home: Home, keys: VaultKeys) -> list[Problem]:
    """Verify every entry against the signed head, and the stored tree against the entries."""
    return _ask(home, keys, _check_log)


def _ask(
    home: Home, keys: VaultKeys, check: Callable[[SqlConnection], list[Problem]]
) -> list[Problem]:
    try:
        return some(read_index(home, keys, check))
    except VaultError as error:
        return [index_problem(reason(error))]


def _check_log(db: Connection) -> list[Problem]:
    identity = read_identity(db).public
    keys = own_keys(db, identity)
    rows = db.execute("SELECT DISTINCT incarnation FROM log_entries").fetchall()
    present = sorted({0, *log_store.incarnations(db), *(one for (one,) in rows)})
    return [
        problem
        for incarnation in present
        for problem in _check_incarnation(db, keys, origin_of(identity.fingerprint, incarnation))
    ]


def _check_incarnation(db: Connection, keys: LogKeys, origin: str) -> list[Problem]:
    """Verify one of the node's logs, in all epochs of its key."""
    incarnation = int(origin.rpartition("/")[2])
    head = log_store.head(db, incarnation)
    (entries,) = db.execute(
        "SELECT count(*) FROM log_entries WHERE incarnation = ?", (incarnation,)
    ).fetchone()
    if head is None:
        return [] if not entries else [_log_problem(None, "it has entries and no signed head")]
    problems: list[Problem] = []
    entries_read = _entries_of_tree(db, incarnation, problems)
    report = verify_log(entries_read, head.note, keys=keys, origin=origin)
    problems += [_log_problem(one.index, one.message) for one in report.problems]
    if report.ok and not report.size == head.size == entries:
        message = f"{entries} entries are stored, the head covers {report.size}"
        problems.append(_log_problem(None, message))
    return problems


def _entries_of_tree(db: Connection, incarnation: int, problems: list[Problem]) -> Iterator[bytes]:
    """Yield every entry; add a problem for each stored hash that is not the entries' own."""
    read = log_store.node_reader(db, incarnation)
    frontier = Frontier()
    for one in log_store.walk(db, incarnation):
        leaf = leaf_hash(one.entry)
        for level, position, expected in [(0, one.index, leaf), *frontier.append(leaf)]:
            if read(level, position) != expected:
                message = f"the stored hash of tree node {level}/{position} is wrong"
                problems.append(_log_problem(one.index, message))
        yield one.entry


def _log_problem(index: int | None, message: str) -> Problem:
    where = "audit log" if index is None else f"audit log, entry {index}"
    return Problem(code="log", where=where, message=message)
