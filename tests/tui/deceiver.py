"""The program in front of a node that was itself deceived: every text in its answers is hostile.

Belongs here: putting payloads into real answers, between the control client and the gateway, and
writing down which dialogs are opened.
Never here: what is expected of the program.

Run as a process (``main``), so that a test reads what really goes to its terminal. The first row
of each list has every payload in each of its texts, the rows after it one each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from node.control.client import ControlClient, ControlError
from tests.tui.payloads import PAYLOADS

WRITTEN = frozenset(
    (
        *("name", "names", "albums", "tags", "holder", "issuer", "sentence", "usage_terms"),
        *("subject", "actor", "detail", "message", "hint", "team", "why", "words", "found"),
        *("problem", "changed_by_policy", "value", "tag", "group", "check", "event", "role"),
        *("watermark", "rendezvous", "addresses"),
    )
)
"""Fields that a person or another node could have written, and more that look like it."""

ALL = " ".join(one for one in PAYLOADS if len(one) < 100)
_LISTS = frozenset({"images", "members", "found", "entries", "checks", "findings"})
_KINDS = frozenset({"kind", "event", "time"})
"""Of an event: what it is, and when; what is told of it hangs on these."""
_REFUSED = frozenset({"fetch", "extend", "export", "audit_alarm_clear"})
"""Methods that are answered with an error in hostile words."""
_PENDING = [{"id": "1", "changes": [ALL], "signed_by": [ALL], "missing": 1, "signed": False}]
_MADE_UP: dict[str, Any] = {
    "team_pending": _PENDING,
    "team_resolve": {"changes": [ALL], "changes_elsewhere": [ALL], "pending": False, "missing": 0},
    "audit_verify": {"ok": False, "size": 1, "problems": [{"index": 0, "message": ALL}]},
    "join": {"team": ALL, "words": [ALL, "canyon"]},
}
"""Answers of methods that this team gives no cause for."""
_ALARM = {
    "id": 1, "name": ALL, "fingerprint": "", "own": False, "origin": "peer", "kind": "fork",
    "detail": ALL, "proven": True, "raised_at": "2030-01-01T00:00:00Z", "state": "stands",
    "over_since": None,
}  # fmt: skip

OPENED = "DIALOGS_ARE_WRITTEN_TO"
"""Names the file in the environment: a line for each dialog, who makes it and what it is."""


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
    if value == "admin":
        return value  # Who is none may open few of the dialogs.
    if isinstance(value, str) and field in WRITTEN:
        return payload + value
    return value


def _of_row(place: int) -> str:
    return PAYLOADS[place - 1] if place else ALL


def changed(method: str, params: Any, answer: Any) -> Any:
    """Return an answer with what brings more dialogs up than this team gives cause for."""
    if method == "status":
        return {**answer, "alarms": [_ALARM]}
    if method == "team_show":
        return {**answer, "pending": 1}
    if method == "inbox":
        rights = {"rights": ["view", "save"], "factor": True}
        for one in answer:
            one["images"] = [{**image, "opens_left": 2} for image in one["images"]]
        return [{**one, **rights} for one in answer]
    if method == "share" and not params.dry_run:
        made = [{**one, "factor": ALL} for one in answer["capabilities"]]
        return {**answer, "capabilities": made}
    return answer


def write_dialogs() -> None:
    """Write down from now on which dialogs are made, and by which function."""
    from tui.screens.dialog import Dialog

    written = os.open(os.environ[OPENED], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    usual = Dialog.__init__

    def made(self: Dialog[Any], *args: Any, **options: Any) -> None:
        usual(self, *args, **options)
        frame = sys._getframe(1)
        while frame.f_code.co_name == "__init__" and frame.f_back is not None:
            frame = frame.f_back
        module = Path(frame.f_code.co_filename).stem
        line = f"{module}.{frame.f_code.co_qualname} {type(self).__name__}\n"
        os.write(written, line.encode())

    Dialog.__init__ = made  # type: ignore[method-assign,assignment]


def honest() -> None:
    """Run the program as it is; only its dialogs are written down."""
    write_dialogs()
    from tui.start import main as program

    program()


def main() -> None:
    """Run the program on poisoned answers."""
    write_dialogs()
    honest_call, honest_stream = ControlClient.call, ControlClient.stream

    async def call(self: ControlClient, method: str, params: Any = None, **options: Any) -> Any:
        if method in _REFUSED:
            raise ControlError(ALL, code="policy", hint=ALL)
        if method in _MADE_UP:
            return _MADE_UP[method]
        try:
            answer = await honest_call(self, method, params, **options)
        except ControlError as error:
            raise ControlError(ALL + error.message, code=error.code, hint=ALL) from None
        return poisoned(changed(method, params, answer), ALL, method)

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
