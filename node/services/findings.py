"""What a look at a vault and its machine found.

Belongs here: the shape of a finding, and of a report of them.
Never here: looking (``doctor``, ``machine``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """Less safe than it could be, and nothing is wrong."""
    PROBLEM = "problem"
    """Something is wrong, or soon will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    check: str
    """What was looked at, in one word."""
    state: State
    message: str
    """A sentence without its full stop."""
    hint: str = ""
    """What to do; empty where nothing is to be done."""
    code: str = ""
    """Stable name of a problem; that of the check where it has no name of its own."""


def described(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON has them."""
    return [{**asdict(one), "code": one.code or one.check} for one in findings]


def report(checks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what `doctor` prints of described findings: `ok` where there is no problem."""
    problems = [
        {name: one[name] for name in ("code", "message", "hint")}
        for one in checks
        if one["state"] == State.PROBLEM
    ]
    return {"ok": not problems, "problems": problems, "checks": list(checks)}
