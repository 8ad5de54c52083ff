"""Verifying a whole log: its entries against its signed head, offline.

Belongs here: rules between entries, and the comparison with the head, with the heads
that closed its epochs, and with heads that others hold. The work comes in slices, pure
functions that a pool of processes can run, and one cheap step that combines their results.
Never here: processes, databases, or asking others what they hold.

    plan_slices(size)  ->  verify_slice(entries of one slice)  …  ->  combine_slices(results)

Format: docs/spec/audit-log.md, "Verifying".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocol.audit.checkpoint import Checkpoint
from protocol.audit.entry import EntryScanner
from protocol.audit.log_keys import HeadKeys
from protocol.audit.tree import Frontier, Seen, complete_subtrees_of, leaf_hash
from protocol.errors import EncodingError, LocalError, LogError
from protocol.limits import LOG_SLICE_ENTRIES, MAX_REPORTED_PROBLEMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a log, or worth a look."""

    index: int | None
    """The entry, or None where it is the log as a whole."""
    code: str
    """``entry``, ``sequence``, ``fewer``, ``root``, ``fork``, ``rollback``, or the code of the
    head's LogError; of what is only flagged: ``clock``, ``uncovered``."""
    message: str
    """For people; lower case, no full stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """What verifying one slice found. Small, and fit to cross a process boundary."""

    first: int
    count: int
    subtrees: tuple[tuple[int, bytes], ...]
    """(level, root) of the complete subtrees of its leaves, left to right."""
    problems: tuple[Problem, ...]
    flagged: tuple[Problem, ...]
    start: tuple[int, int] | None
    """(index, time) of the first readable entry; None where no entry is readable."""
    last_time: int
    """Time of the last readable entry; 0 where none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of verifying a log."""

    ok: bool
    """True where there is no problem. Flags do not count."""
    origin: str
    size: int
    """Entries that the head covers; 0 where the head does not verify."""
    root: bytes
    """The signed root; empty where the head does not verify."""
    problems: tuple[Problem, ...]
    """At most MAX_REPORTED_PROBLEMS of entries in their order, then what concerns other heads and
    the whole."""
    flagged: tuple[Problem, ...]
    """What an honest log may show: a clock set back, entries after the head. At most as many."""


def plan_slices(size: int, heads: Iterable[Checkpoint] = ()) -> Iterator[range]:
    """Yield the indices of each slice of a log of size entries, in order.

    A slice ends at the size of every one of heads: those that closed an epoch, and those that
    others have seen.
    """
    cuts = sorted({head.size for head in heads} | {size})
    first = 0
    for cut in cuts:
        end = min(cut, size)
        while first < end:
            # A slice is never longer than the power of two that its first index is a multiple of.
            aligned = first & -first or LOG_SLICE_ENTRIES
            last = min(first + min(aligned, LOG_SLICE_ENTRIES), end)
            yield range(first, last)
            first = last


def verify_slice(entries: Iterable[bytes], *, first: int, nodes: Seen | None = None) -> SliceResult:
    """Verify consecutive entries, the first of which has index first.

    ``nodes`` is called with each level of the slice's complete subtrees. Bad entries are
    reported, never raised. Raises LocalError unless first is a multiple of a power of two that
    is not below the number of entries, as plan_slices makes it.
    """
    scan = EntryScanner().scan_untrusted
    leaves: list[bytes] = []
    problems: list[Problem] = []
    flagged: list[Problem] = []
    start: tuple[int, int] | None = None
    last_time = 0
    for index, entry in enumerate(entries, first):
        leaves.append(leaf_hash(entry))
        try:
            seq, time = scan(entry)
        except EncodingError as error:
            _add(problems, Problem(index=index, code="entry", message=str(error)))
            continue
        if seq != index:
            _add(problems, _wrong_sequence(index, seq))
        if start is None:
            start = (index, time)
        elif time < last_time:
            _add(flagged, _clock_back(index, last_time - time))
        last_time = time
    if leaves and first & ((1 << (len(leaves) - 1).bit_length()) - 1):
        raise LocalError("a slice starts at a multiple of its own size, rounded up")
    return SliceResult(
        first=first,
        count=len(leaves),
        subtrees=tuple(complete_subtrees_of(leaves, nodes)),
        problems=tuple(problems),
        flagged=tuple(flagged),
        start=start,
        last_time=last_time,
    )


def combine_slices(
    slices: Iterable[SliceResult],
    head: bytes,
    *,
    keys: HeadKeys,
    origin: str | None = None,
    seen: Sequence[Checkpoint] = (),
    uncovered: int = 0,
) -> Report:
    """Compare the slices of a log, in order and without gaps, with its signed head.

    The log is that named origin, or keys.origin. ``seen`` are heads of it, opened by its keys,
    that others hold. Slices are those of plan_slices with the log's closings and with seen.
    ``uncovered`` is how many entries are stored after those the head covers. Raises LocalError
    where slices do not follow each other, go beyond the head, or were cut otherwise, and where a
    head of seen is of another log.
    """
    origin = keys.origin if origin is None else origin
    try:
        checkpoint = keys.open_head_untrusted(head, origin)
    except LogError as error:
        return _refused(origin, error)
    return _combine(slices, checkpoint, keys.closings(origin), seen, uncovered)


def verify_log(
    entries: Iterable[bytes],
    head: bytes,
    *,
    keys: HeadKeys,
    origin: str | None = None,
    seen: Sequence[Checkpoint] = (),
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify all entries of a log against its signed head, in this process.

    The log is that named origin, or keys.origin. Every head that closed an epoch is compared
    too: whoever holds today's key cannot rewrite what an earlier key signed. So is each of
    ``seen``, heads of this log, opened by its keys, that others hold. ``progress`` is called
    with the number of entries verified, once a slice. Entries after the signed ones are counted
    and flagged, not read: a crash may leave them there, even torn.
    """
    origin = keys.origin if origin is None else origin
    try:
        checkpoint = keys.open_head_untrusted(head, origin)
    except LogError as error:
        return _refused(origin, error)
    closings = keys.closings(origin)
    remaining = iter(entries)
    slices: list[SliceResult] = []
    for indices in plan_slices(checkpoint.size, (*closings, *seen)):
        entries_of_slice = itertools.islice(remaining, len(indices))
        result = verify_slice(entries_of_slice, first=indices.start)
        slices.append(result)
        if progress is not None:
            progress(result.first + result.count)
        if result.count < len(indices):
            break
    return _combine(slices, checkpoint, closings, seen, uncovered=sum(1 for _ in remaining))


def _combine(
    slices: Iterable[SliceResult],
    checkpoint: Checkpoint,
    closings: Sequence[Checkpoint],
    seen: Sequence[Checkpoint],
    uncovered: int,
) -> Report:
    tree = Frontier()
    others = [(head, _other_closing) for head in closings] + [(head, _forked) for head in seen]
    roots = {head.size: b"" for head, _ in others} | {0: tree.root()}
    problems: list[Problem] = []
    flagged: list[Problem] = []
    last_time = 0
    for part in slices:
        if part.first != tree.size or part.first + part.count > checkpoint.size:
            raise LocalError("slices cover what the head covers, in order and without gaps")
        for level, root in part.subtrees:
            tree.append_subtree(level, root)
        if tree.size in roots:
            roots[tree.size] = tree.root()
        problems.extend(part.problems)
        if part.start is not None:
            index, time = part.start
            if time < last_time:
                flagged.append(_clock_back(index, last_time - time))
            last_time = part.last_time
        flagged.extend(part.flagged)
    del problems[MAX_REPORTED_PROBLEMS:], flagged[MAX_REPORTED_PROBLEMS:]

    if any(head.origin != checkpoint.origin for head in seen):
        raise LocalError("a log is compared with heads of its own")
    for head, told in others:
        if head.size <= tree.size and not roots[head.size]:
            raise LocalError("slices end where every head to compare with does")
        if head.size <= tree.size and roots[head.size] != head.root:
            problems.append(told(head.size))
    problems.extend(
        _rolled_back(head.size, checkpoint.size) for head in seen if head.size > checkpoint.size
    )
    if tree.size < checkpoint.size:
        message = f"the head covers {checkpoint.size} entries, only {tree.size} are here"
        problems.append(Problem(index=tree.size, code="fewer", message=message))
    elif tree.root() != checkpoint.root:
        message = "the entries do not hash to the signed root: one was changed, added or removed"
        problems.append(Problem(index=None, code="root", message=message))
    if uncovered:
        message = f"entries after the signed head: {uncovered}"
        flagged.append(Problem(index=checkpoint.size, code="uncovered", message=message))
    return Report(
        ok=not problems,
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
        problems=tuple(problems),
        flagged=tuple(flagged),
    )


def _refused(origin: str, error: LogError) -> Report:
    problem = Problem(index=None, code=error.code, message=str(error))
    return Report(ok=False, origin=origin, size=0, root=b"", problems=(problem,), flagged=())


def _wrong_sequence(index: int, seq: int) -> Problem:
    return Problem(index=index, code="sequence", message=f"the entry here says that it is {seq}")


def _other_closing(size: int) -> Problem:
    message = f"the first {size} entries do not hash to the root that the key of their epoch signed"
    return Problem(index=size - 1, code="root", message=message)


def _forked(size: int) -> Problem:
    message = f"the first {size} entries do not hash to the root of a head that was seen before"
    return Problem(index=max(size - 1, 0), code="fork", message=message)


def _rolled_back(size: int, covered: int) -> Problem:
    message = f"a head of {size} entries was seen before, this one covers {covered}"
    return Problem(index=covered, code="rollback", message=message)


def _clock_back(index: int, step: int) -> Problem:
    message = f"the clock went back by {step} ms before this entry"
    return Problem(index=index, code="clock", message=message)


def _add(problems: list[Problem], problem: Problem) -> None:
    if len(problems) < MAX_REPORTED_PROBLEMS:
        problems.append(problem)
