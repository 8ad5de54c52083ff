"""Two logs side by side: what one node says it gave, and what another says it took.

Belongs here: matching opens of two logs, and receipts that a log must bear out.
Never here: fetching anybody's log, or verifying one (``verify``).

Every open has a nonce that both logs must name (docs/spec/audit-entry.md, "nonce").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from protocol.audit.entry import Entry
from protocol.audit.verify import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Opens of one issuer and one holder, each in the order of its own log."""

    matched: tuple[tuple[Entry, Entry], ...]
    """The issuer's entry and the holder's of one open."""
    released_only: tuple[Entry, ...]
    """The issuer served them, the holder does not say that it opened."""
    opened_only: tuple[Entry, ...]
    """The holder says that it opened, the issuer does not say that it served."""


def match_opens(issuer: Iterable[Entry], holder: Iterable[Entry]) -> Reconciliation:
    """Match the issuer's entries ``released`` with the holder's ``opened``, by nonce.

    Entries of other events are passed over. An entry matches one entry at most.
    """
    waiting: dict[str, list[Entry]] = {}
    for entry in holder:
        if entry.event == "opened":
            waiting.setdefault(entry.nonce, []).append(entry)
    matched: list[tuple[Entry, Entry]] = []
    released_only: list[Entry] = []
    for entry in issuer:
        if entry.event != "released":
            continue
        if opened := waiting.get(entry.nonce):
            matched.append((entry, opened.pop(0)))
        else:
            released_only.append(entry)
    left = [entry for entries in waiting.values() for entry in entries]
    return Reconciliation(
        matched=tuple(matched),
        released_only=tuple(released_only),
        opened_only=tuple(sorted(left, key=lambda entry: entry.seq)),
    )


def check_receipts(
    receipts: Iterable[tuple[int, bytes]], leaf_of: Callable[[int], bytes | None]
) -> list[Problem]:
    """Return a problem (code ``receipt``) for each receipt that the log does not bear out.

    A receipt is the index and the leaf hash that it names. ``leaf_of`` returns the leaf hash of
    the log at an index, None where the log's head does not cover it.
    """
    problems = []
    for index, leaf in receipts:
        found = leaf_of(index)
        if found != leaf:
            message = "there is a receipt for another entry here"
            if found is None:
                message = "there is a receipt for this entry, and the log ends before it"
            problems.append(Problem(index=index, code="receipt", message=message))
    return problems
