"""The vault's health as JSON has it.

Belongs here: the shape of a check's result.
Never here: checking (``vault.check``).
"""

from __future__ import annotations

from typing import Any

from node.vault.check import Problem


def describe(problems: list[Problem]) -> dict[str, Any]:
    """Return what a check found."""
    return {
        "ok": not problems,
        "problems": [
            {
                "code": one.code,
                "where": one.where,
                "message": one.message,
                "picture": one.picture,
            }
            for one in problems
        ],
    }
