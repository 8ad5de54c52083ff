"""The program in front of a node that was itself deceived: every text in its answers is hostile.

Belongs here: putting payloads into real answers, between the control client and the gateway.
Never here: what is expected of the program.

Run as a process (``main``), so that a test reads what really goes to its terminal. The first row
of each list has every payload in each of its texts, the rows after it one each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from node.control.client import ControlClient, ControlError
from tests.tui.payloads import PAYLOADS

WRITTEN = frozenset(
    (
        *("name", "names", "albums", "tags", "holder", "issuer", "sentence", "usage_terms"),
        *("subject", "actor", "detail", "message", "hint", "team", "why", "words", "found"),
        *("problem", "changed_by_policy", "value", "tag", "group", "check", "event", "role"),
    )
)
"""Fields that a person or another node could have written, and more that look like it."""

ALL = " ".join(one for one in PAYLOADS if len(one) < 100)
_LISTS = frozenset({"images", "members", "found", "entries", "checks", "findings"})
_KINDS = frozenset({"kind", "event", "time"})
"""Of an event: what it is, and when; what is told of it hangs on these."""
_REFUSED = frozenset({"fetch", "extend"})
"""Methods that are answered with an error in hostile words."""


def poisoned(value: Any, payload: str, field: str = "") -> Any:
    """Return an answer in which every text that a person could have written is hostile."""
    if isinstance(value, list):
        if value and isinstance(value[0], dict) and (field in _LISTS or not field):
            rows = [value[place % len(value)] for place in range(len(PAYLOADS) + 1)]
            return [poisoned(row, _of_row(place), "row") for place, row in enumerate(rows)]
        return [poisoned(one, payload, field) for one in value]
    if isinstance(value, dict):
        changed = {name: poisoned(one, payload, name) for name, one in value.items()}
        if "total" in value:
            changed["total"] = max(int(value["total"]), len(PAYLOADS) + 1)
        return changed
    if isinstance(value, str) and field in WRITTEN:
        return payload + value
    return value


def _of_row(place: int) -> str:
    return PAYLOADS[place - 1] if place else ALL


def main() -> None:
    """Run the program on poisoned answers."""
    honest_call, honest_stream = ControlClient.call, ControlClient.stream

    async def call(self: ControlClient, method: str, params: Any = None, **options: Any) -> Any:
        if method in _REFUSED:
            raise ControlError(ALL, code="policy", hint=ALL)
        return poisoned(await honest_call(self, method, params, **options), ALL, method)

    async def stream(self: ControlClient, method: str, params: Any = None) -> AsyncIterator[Any]:
        async for event in honest_stream(self, method, params):
            yield {
                name: ALL + value if isinstance(value, str) and name not in _KINDS else value
                for name, value in event.items()
            }

    ControlClient.call = call  # type: ignore[method-assign]
    ControlClient.stream = stream  # type: ignore[assignment,method-assign]
    from tui.start import main as program

    program()
