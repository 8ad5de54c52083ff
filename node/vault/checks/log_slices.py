"""Looking at one slice of the stored log: entries, tree nodes, search columns, values.

Belongs here: what one slice of one log's tables is compared with, and the program of a process
that looks at many.
Never here: planning slices, starting processes (``services.log_verifying``), rules of the log
(``protocol.audit.verify``).

As a program it takes one job, as MessagePack on stdin, and writes one finding for each slice to
stdout, each behind its length in 4 bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from node.vault import log_store
from node.vault.connection import open_index
from node.vault.errors import index_errors
from node.vault.records import Connection
from protocol.audit.entry import commitment
from protocol.audit.tree import HASH_BYTES
from protocol.audit.verify import Problem, SliceResult, verify_slice
from protocol.errors import AuthenticationError, LocalError
from protocol.limits import MAX_REPORTED_PROBLEMS
from protocol.primitives import Aead

_PAGE: Final = 2_048
"""Entries whose values are read at a time."""
_MOST_CIPHERS: Final = 20_000
_BY: Final = b'{"actor":"'
"""How the one spelling of an entry begins, before the pseudonym of who did it, or a quote."""


class Slice(msgspec.Struct, frozen=True):
    """Which entries to look at."""

    incarnation: int
    first: int
    end: int


class Job(msgspec.Struct, frozen=True):
    """What a process is to do. The key comes over a pipe and stands nowhere else."""

    index: str
    """Path of the index."""
    key: bytes
    slices: tuple[Slice, ...]


class Finding(msgspec.Struct, frozen=True):
    """What was found in one slice."""

    incarnation: int
    result: SliceResult
    problems: tuple[Problem, ...]
    """Of what stands beside the entries: ``tree``, ``index``, ``value``."""


class Subjects:
    """The keys of everything that entries are about, as far as they are not erased."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._ciphers: dict[int, Aead] = {}
        rows = db.execute("SELECT subject_id, key FROM log_subjects")
        self.by_pseudonym: dict[str, int] = {
            log_store.pseudonym(key).hex(): subject_id for subject_id, key in rows.fetchall()
        }
        self._actors: dict[bytes, int | None] = {
            pseudonym.encode(): number for pseudonym, number in self.by_pseudonym.items()
        }
        self._living = frozenset(self._actors.values())

    def is_by(self, entry: bytes, actor: int | None) -> bool:
        """Say whether a subject's number is of who did what an entry says."""
        at = len(_BY)
        if entry[at : at + 1] == b'"':
            return actor is None
        # Of who was erased nobody can be found by the number that is left.
        named = self._actors.get(entry[at : at + 32])
        return actor == named if named is not None else actor not in self._living

    def cipher(self, subject_id: int) -> Aead | None:
        """Return what opens a subject's values; None where it is erased."""
        cipher = self._ciphers.get(subject_id)
        if cipher is None:
            row = self._db.execute(
                "SELECT key FROM log_subjects WHERE subject_id = ?", (subject_id,)
            ).fetchone()
            if row is None:
                return None
            if len(self._ciphers) >= _MOST_CIPHERS:
                self._ciphers.clear()
            cipher = self._ciphers[subject_id] = Aead(row[0])
        return cipher


def look(db: Connection, one: Slice, subjects: Subjects) -> Finding:
    """Return what is wrong in one slice; it holds at most a slice in memory."""
    problems: list[Problem] = []
    read: list[bytes] = []
    """The entries."""
    stored: list[bytes] = []
    """What is stored of the tree beside each."""
    times: list[int] = []

    def compare(level: int, hashes: Sequence[bytes]) -> None:
        start, at = one.first >> level, level * HASH_BYTES
        found = [beside[at : at + HASH_BYTES] for beside in stored[(1 << level) - 1 :: 1 << level]]
        if found != list(hashes):
            place = next(
                (
                    at
                    for at, pair in enumerate(zip(found, hashes, strict=False))
                    if pair[0] != pair[1]
                ),
                min(len(found), len(hashes)),
            )
            message = f"the stored hash of tree node {level}/{start + place} is wrong or missing"
            _add(problems, Problem(index=(start + place) << level, code="tree", message=message))

    def entries() -> Iterator[bytes]:
        rows = db.execute(
            "SELECT log_index, time, event, actor, entry, hashes FROM log_entries"
            " WHERE incarnation = ? AND log_index >= ? AND log_index < ? ORDER BY log_index",
            (one.incarnation, one.first, one.end),
        ).fetchall()
        expected = one.first
        for index, time, event, actor, entry, hashes in rows:
            if index != expected:
                return  # What is missing is missed by whoever counts.
            expected += 1
            # In an entry's one spelling these bytes stand at these places and nowhere else.
            if (
                not entry.endswith(b'"time":%d,"v":1}' % time)
                or b'},"event":"%b","nonce":"' % event.encode() not in entry
                or not subjects.is_by(entry, actor)
            ):
                message = "searches find this entry as something that it is not"
                _add(problems, Problem(index=index, code="index", message=message))
            read.append(entry)
            stored.append(hashes)
            times.append(time)
            yield entry

    result = verify_slice(entries(), first=one.first, nodes=compare)
    problems += _clock_back(db, one, times)
    problems += _values(db, one, read, subjects)
    return Finding(
        incarnation=one.incarnation,
        result=result,
        problems=tuple(problems[:MAX_REPORTED_PROBLEMS]),
    )


def _clock_back(db: Connection, one: Slice, times: Sequence[int]) -> Iterator[Problem]:
    """Compare what is stored of a clock set back with the times of entries."""
    before = db.execute(
        "SELECT time FROM log_entries WHERE incarnation = ? AND log_index = ?",
        (one.incarnation, one.first - 1),
    ).fetchone()
    told = db.execute(
        "SELECT log_index FROM log_clock_back WHERE incarnation = ? AND log_index >= ?"
        " AND log_index < ?",
        (one.incarnation, one.first, one.first + len(times)),
    ).fetchall()
    pairs = pairwise([times[0] if before is None else before[0], *times] if times else [])
    found = {place for place, (last, time) in enumerate(pairs, one.first) if time < last}
    for place in sorted(found ^ {place for (place,) in told})[:MAX_REPORTED_PROBLEMS]:
        message = "searches do not find entries about here by their times"
        yield Problem(index=place, code="index", message=message)


def _values(
    db: Connection, one: Slice, entries: Sequence[bytes], subjects: Subjects
) -> list[Problem]:
    """Compare values with commitments: each opens, and none is hidden that was not erased."""
    problems: list[Problem] = []
    for start in range(0, len(entries), _PAGE):
        page = entries[start : start + _PAGE]
        first = one.first + start
        told: list[list[tuple[str, int, bytes]]] = [[] for _ in page]
        for index, field, subject_id, sealed in db.execute(
            "SELECT log_index, field, subject_id, sealed FROM log_values WHERE incarnation = ?"
            " AND log_index >= ? AND log_index < ?",
            (one.incarnation, first, first + len(page)),
        ).fetchall():
            told[index - first].append((field, subject_id, sealed))
        for index, (data, values) in enumerate(zip(page, told, strict=True), first):
            for code, message in _told(one.incarnation, index, data, values, subjects):
                _add(problems, Problem(index=index, code=code, message=message))
    return problems


def _told(
    incarnation: int,
    index: int,
    entry: bytes,
    values: list[tuple[str, int, bytes]],
    subjects: Subjects,
) -> Iterator[tuple[str, str]]:
    # Taken apart by its one spelling, which the entry's own check has looked at: decoding takes
    # several times as long.
    committed, _, rest = entry.partition(b'},"event":"')
    place = log_store.place_of(incarnation, index)
    for field, subject_id, sealed in values:
        cipher = subjects.cipher(subject_id)
        if cipher is None or not _opens(cipher, place, field, sealed, committed):
            yield "value", f"the value stored for {field} is not what the entry committed to"
    if len(values) < committed.count(b'":"') - 1:
        named = rest.partition(b'"subjects":[')[2].partition(b"]")[0].decode(errors="replace")
        if named and all(one in subjects.by_pseudonym for one in named.strip('"').split('","')):
            yield "index", "searches do not find all of this entry, and nobody erased the rest"


def _opens(cipher: Aead, place: bytes, field: str, sealed: bytes, committed: bytes) -> bool:
    try:
        salt, value = log_store.open_sealed(cipher, place, field, sealed)
        digest = commitment(salt, field, value).hex()
    except (AuthenticationError, LocalError):
        return False
    return f'"{field}":"{digest}"'.encode() in committed


def look_at_indexes(db: Connection) -> list[Problem]:
    """Return what is wrong with the indexes that searches use beside the log's own tables."""
    found = [
        text
        for table in ("log_entries", "log_values", "log_clock_back")
        for (text,) in db.execute(f"PRAGMA integrity_check({table})").fetchall()
        if text != "ok"
    ]
    return [
        Problem(index=None, code="index", message=f"searches do not find what is stored: {text}")
        for text in found[:MAX_REPORTED_PROBLEMS]
    ]


def _add(problems: list[Problem], problem: Problem) -> None:
    if len(problems) < MAX_REPORTED_PROBLEMS:
        problems.append(problem)


def main() -> None:
    """Do the job on stdin."""
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    with index_errors():
        db = open_index(Path(job.index), job.key, read_only=True)
        try:
            db.execute("BEGIN")
            subjects = Subjects(db)
            for one in job.slices:
                data = msgspec.msgpack.encode(look(db, one, subjects))
                sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
                sys.stdout.buffer.flush()
        finally:
            db.close()


if __name__ == "__main__":
    main()
