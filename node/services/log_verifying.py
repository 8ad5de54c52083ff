"""Verifying the own log: every entry, hash, value and search column of every incarnation.

Belongs here: which heads count, the processes that look at slices, and the report.
Never here: what a slice is compared with (``vault.checks.log_slices``), rules of the log
(``protocol.audit.verify``).

A long log is cut into slices that two processes look at, each over a connection of its own, so
that the node goes on serving; a short one is not worth starting them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from node.services.context import Context
from node.services.entries import facts_of
from node.services.library import Progress
from node.services.membership import Membership
from node.services.moments import rfc3339
from node.vault import log_store
from node.vault.checks.log_slices import Finding, Job, Slice, Subjects, look, look_at_indexes
from node.vault.checks.problem import read_index
from node.vault.connection import SqlConnection
from node.vault.errors import DamagedError
from node.vault.log_keys import own_keys
from node.vault.records import Connection, witness
from node.vault.records import log as log_rows
from node.vault.records.witness import Cosigned
from protocol.audit.checkpoint import Checkpoint, origin_of
from protocol.audit.log_keys import LogKeys
from protocol.audit.note import format_vkey
from protocol.audit.tree import Frontier
from protocol.audit.verify import (
    Problem,
    Report,
    combine_slices,
    plan_slices,
    verify_slice,
)
from protocol.audit.witness import witness_key
from protocol.errors import RemoteError
from protocol.identity import Identity, format_fingerprint
from protocol.limits import MAX_REPORTED_PROBLEMS

_PROCESSES: Final = 2
_WORTH_PROCESSES: Final = 20_000
"""Entries that this process looks at in the time that another takes to start."""
_LABEL: Final = "verifying the log"
_NEWEST: Final = 512
"""More of the newest entries than so many, and at most twice as many, are looked at in a moment."""
_MOST_VERIFIED: Final = 100
"""Notes of verifying among which the newest about the log is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """One incarnation as it is to be verified."""

    incarnation: int
    origin: str
    size: int
    """Entries that the head covers; 0 where it does not open."""
    note: bytes
    stored: int
    """Entries that are there."""
    seen: tuple[Checkpoint, ...]
    """Heads that others cosigned."""
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a moment's look at the log tells."""

    looked: int
    """How many of the newest entries were compared with the signed head."""
    problems: tuple[Problem, ...]
    verified: Verified | None
    """How it came out when all of it was verified last; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the log says of the last time that somebody had it verified."""

    at: int
    """Unix milliseconds."""
    ok: bool
    size: str
    """Entries then."""
    problems: str
    """How many were found."""


class LogVerifying:
    """Verifies the own log."""

    def __init__(self, context: Context, membership: Membership) -> None:
        self._context = context
        self._membership = membership

    async def verify(self, progress: Progress = lambda *_: None) -> dict[str, Any]:
        """Verify everything that is stored of the own log, and say who cosigned it.

        ``problems`` name entries by index. At most two processes work, and memory stays flat.
        """
        database = self._context.database
        try:
            keys, logs, cosigned = await database.read(self._plan)
            findings, unsearchable = await asyncio.gather(
                self._look([one for log in logs for one in log.slices], progress),
                asyncio.to_thread(self._look_at_indexes),
            )
            newest, problems, flagged = await database.read(
                lambda db: _judge(db, keys, logs, findings)
            )
        except DamagedError as error:
            return self._damaged(error)
        problems += unsearchable
        cosigners, covered = self._cosigners(keys.origin, cosigned)
        return {
            "ok": not problems,
            "origin": keys.origin,
            "size": newest.size,
            "root": newest.root.hex() or None,
            "cosigned_by": cosigners,
            "unwitnessed": max(0, newest.size - covered),
            "problems": [_plain(one) for one in problems[:MAX_REPORTED_PROBLEMS]],
            "flagged": [_plain(one) for one in flagged[:MAX_REPORTED_PROBLEMS]],
            "log": format_fingerprint(self._context.me),
        }

    async def glance(self) -> Glance:
        """Compare the newest entries with the signed head, whatever the length of the log."""
        try:
            return await self._context.database.read(self._glance)
        except DamagedError as error:
            found = Problem(index=None, code="damaged", message=error.reason)
            return Glance(looked=0, problems=(found,), verified=None)

    def _glance(self, db: Connection) -> Glance:
        verified = _last_verified(db)
        head, incarnation = log_store.head(db), log_store.current(db)
        if head is None and log_store.entry(db, 0, incarnation) is None:
            return Glance(looked=0, problems=(), verified=verified)
        try:
            keys = own_keys(db, self._context.identity.public)
            note = b"" if head is None else head.note
            signed = keys.open_head_untrusted(note, origin_of(self._context.me, incarnation))
        except RemoteError as error:
            found = Problem(index=None, code="head", message=f"the signed head: {error}")
            return Glance(looked=0, problems=(found,), verified=verified)
        first = max(0, (signed.size - 1) // _NEWEST - 1) * _NEWEST
        problems = tuple(_newest_problems(db, incarnation, signed, first))
        return Glance(looked=signed.size - first, problems=problems, verified=verified)

    def _damaged(self, error: DamagedError) -> dict[str, Any]:
        """Report what cannot even be read."""
        return {
            "ok": False,
            "origin": origin_of(self._context.me),
            "size": 0,
            "root": None,
            "cosigned_by": [],
            "unwitnessed": 0,
            "problems": [{"index": None, "code": "damaged", "message": error.reason}],
            "flagged": [],
            "log": format_fingerprint(self._context.me),
        }

    # What there is --------------------------------------------------------------------------------

    def _plan(self, db: Connection) -> tuple[LogKeys, list[_Log], dict[str, list[Cosigned]]]:
        keys = own_keys(db, self._context.identity.public)
        cosigned: dict[str, list[Cosigned]] = {}
        logs = []
        counted = db.execute(
            "SELECT incarnation, count(*) FROM log_entries GROUP BY incarnation"
        ).fetchall()
        stored = dict.fromkeys(log_store.incarnations(db), 0) | dict(counted)
        for incarnation in sorted(stored):
            origin = origin_of(self._context.me, incarnation)
            cosigned[origin] = witness.cosignatures(db, origin)
            head = log_store.head(db, incarnation)
            note = b"" if head is None else head.note
            seen = tuple(
                filter(None, (_opened(keys, origin, one.note) for one in cosigned[origin]))
            )
            signed = _opened(keys, origin, note)
            size = 0 if signed is None else signed.size
            cuts = plan_slices(size, (*keys.closings(origin), *seen))
            logs.append(
                _Log(
                    incarnation=incarnation,
                    origin=origin,
                    note=note,
                    stored=stored[incarnation],
                    size=size,
                    seen=seen,
                    slices=tuple(
                        Slice(incarnation=incarnation, first=one.start, end=one.stop)
                        for one in cuts
                    ),
                )
            )
        return keys, logs, cosigned

    def _cosigners(
        self, origin: str, cosigned: dict[str, list[Cosigned]]
    ) -> tuple[list[dict[str, Any]], int]:
        """Return who cosigned the newest log, and the largest size that anybody did."""
        members: dict[str, Identity] = {}
        if self._membership.founded:
            everybody = self._membership.trusted.members.values()
            members = {format_vkey(witness_key(one)): one for one in everybody}
        found = cosigned.get(origin, [])
        people = [
            {
                "witness": row.witness.partition("+")[0],
                "name": members[row.witness].name if row.witness in members else None,
                "size": row.size,
                "time": rfc3339(row.signed_at),
            }
            for row in found
        ]
        return people, max((row.size for row in found), default=0)

    # Looking --------------------------------------------------------------------------------------

    def _look_at_indexes(self) -> list[Problem]:
        vault = self._context.vault
        return read_index(vault.home, vault.keys, look_at_indexes)

    async def _look(self, slices: list[Slice], progress: Progress) -> dict[Slice, Finding]:
        total = sum(one.end - one.first for one in slices)
        progress(0, total, _LABEL)
        if total <= _WORTH_PROCESSES:
            vault = self._context.vault

            def work() -> dict[Slice, Finding]:
                return read_index(vault.home, vault.keys, lambda db: _all(db, slices))

            return await asyncio.to_thread(work)
        done = 0
        findings: dict[Slice, Finding] = {}

        def found(one: Slice, finding: Finding) -> None:
            nonlocal done
            findings[one] = finding
            done += one.end - one.first
            progress(done, total, _LABEL)

        parts = [slices[number::_PROCESSES] for number in range(_PROCESSES)]
        working = [asyncio.create_task(self._delegate(part, found)) for part in parts if part]
        try:
            await asyncio.gather(*working)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
        return findings

    async def _delegate(self, slices: list[Slice], found: Callable[[Slice, Finding], None]) -> None:
        """Let another process look at slices; DamagedError where it cannot."""
        vault = self._context.vault
        job = Job(index=str(vault.home.index), key=vault.keys.index, slices=tuple(slices))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "node.vault.checks.log_slices",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the node, which then ends this
        )
        assert process.stdin is not None, "it was asked for"
        assert process.stdout is not None, "it was asked for"
        try:
            process.stdin.write(msgspec.msgpack.encode(job))
            process.stdin.write_eof()
            for one in slices:
                length = int.from_bytes(await process.stdout.readexactly(4), "big")
                data = await process.stdout.readexactly(length)
                found(one, msgspec.msgpack.decode(data, type=Finding))
            await process.wait()
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError):
            raise DamagedError("index", "a page of the log cannot be read") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _opened(keys: LogKeys, origin: str, note: bytes) -> Checkpoint | None:
    try:
        return keys.open_head_untrusted(note, origin)
    except RemoteError:
        return None


def _newest_problems(
    db: Connection, incarnation: int, signed: Checkpoint, first: int
) -> list[Problem]:
    """Return what is wrong with the entries from a multiple of _NEWEST on."""
    tree = Frontier.from_nodes(first, log_store.node_reader(db, incarnation))
    problems: list[Problem] = []
    for start in range(first, signed.size, _NEWEST):
        limit = min(_NEWEST, signed.size - start)
        page = log_store.entries(db, start=start, limit=limit, incarnation=incarnation)
        result = verify_slice((one.entry for one in page), first=start)
        problems += result.problems
        for level, root in result.subtrees:
            tree.append_subtree(level, root)
        if result.count < limit:
            break
    if tree.size < signed.size:
        message = f"the head covers {signed.size} entries, and not all of them are here"
        problems.append(Problem(index=None, code="fewer", message=message))
    elif tree.root() != signed.root:
        message = "the entries do not hash to the signed root: one was changed, added or removed"
        problems.append(Problem(index=None, code="root", message=message))
    return problems


def _last_verified(db: Connection) -> Verified | None:
    """Return how it came out when the log was verified last."""
    found = log_rows.newest(db, subjects=[], since=None, limit=_MOST_VERIFIED, events=("verified",))
    for one in reversed(found):
        _, facts = facts_of(
            {
                field: value.value
                for field, value in log_store.values(db, one.index, one.incarnation).items()
            }
        )
        if facts.get("what") == "log":
            return Verified(
                at=one.time,
                ok=facts.get("ok") == "yes",
                size=facts.get("size", ""),
                problems=facts.get("problems", ""),
            )
    return None


def _all(db: SqlConnection, slices: list[Slice]) -> dict[Slice, Finding]:
    subjects = Subjects(db)
    return {one: look(db, one, subjects) for one in slices}


def _judge(
    db: Connection, keys: LogKeys, logs: list[_Log], findings: dict[Slice, Finding]
) -> tuple[Report, list[Problem], list[Problem]]:
    """Return the newest log's report, and the problems and flags of all logs."""
    newest = Report(ok=True, origin=keys.origin, size=0, root=b"", problems=(), flagged=())
    problems: list[Problem] = []
    flagged: list[Problem] = []
    for log in logs:
        whole = []
        for one in log.slices:
            whole.append(findings[one])
            if findings[one].result.count < one.end - one.first:
                break
        newest = combine_slices(
            [found.result for found in whole],
            log.note,
            keys=keys,
            origin=log.origin,
            seen=log.seen,
            uncovered=max(0, log.stored - log.size),
        )
        beside = [one for found in whole for one in found.problems]
        beside += _upper_nodes(db, log, whole)
        prefix = "" if log.origin == keys.origin else f"in log {log.incarnation}: "
        problems += [_prefixed(one, prefix) for one in (*newest.problems, *beside)]
        flagged += [_prefixed(one, prefix) for one in newest.flagged]
    return newest, problems, flagged


def _upper_nodes(db: Connection, log: _Log, whole: list[Finding]) -> list[Problem]:
    """Compare the stored nodes above the slices."""
    tree = Frontier()
    read = log_store.node_reader(db, log.incarnation)
    problems = []
    for found in whole:
        for level, root in found.result.subtrees:
            for node in tree.append_subtree(level, root):
                try:
                    good = read(node[0], node[1]) == node[2]
                except DamagedError:
                    good = False
                if not good:
                    message = (
                        f"the stored hash of tree node {node[0]}/{node[1]} is wrong or missing"
                    )
                    problems.append(Problem(index=node[1] << node[0], code="tree", message=message))
    return problems


def _prefixed(problem: Problem, prefix: str) -> Problem:
    return replace(problem, message=prefix + problem.message)


def _plain(problem: Problem) -> dict[str, Any]:
    return {"index": problem.index, "code": problem.code, "message": problem.message}
