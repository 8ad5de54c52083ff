"""Checking the keyslots against the capabilities that the index says they belong to.

Belongs here: which slot holds what it must not, or lacks what it must hold.
Never here: the slots' format (``node.vault.keyslots``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from node.vault.checks.problem import Problem, index_problem, read_index, reason
from node.vault.errors import VaultError
from node.vault.home import Home
from node.vault.keyring import VaultKeys
from node.vault.keyslots import Slot, SlotState, look
from node.vault.records import Connection, get_meta, stored
from node.vault.records.grants import live_slots
from node.vault.vault import GENERATION_META
from protocol.errors import SafelightError

_PAUSES_S: Final = (0.0, 0.05, 0.3)
"""Before each further look where something seems wrong: what is being issued or ended just now is
not for long, and a secret is overwritten and synced a moment after its capability has ended."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the index says of the keyslots."""

    generation: bytes | None
    live: dict[int, bytes]
    ended: set[bytes]
    pictures: dict[bytes, str | None]
    """Of live and ended capabilities."""


def check_keyslots(home: Home, keys: VaultKeys) -> list[Problem]:
    """Authenticate every keyslot, and compare each with its capability."""
    problems = _look_once(home, keys)
    for pause in _PAUSES_S:
        if problems:
            time.sleep(pause)
            again = set(_look_once(home, keys))
            problems = [problem for problem in problems if problem in again]
    return problems


def _look_once(home: Home, keys: VaultKeys) -> list[Problem]:
    try:
        expected = read_index(home, keys, _read_expected)
    except VaultError as error:
        return [index_problem(reason(error))]
    try:
        generation, slots = look(home.keyslots, keys.keyslots)
    except SafelightError as error:
        return [Problem(code="keyslot", where=home.keyslots.name, message=reason(error))]
    problems = [] if generation == expected.generation else [_RESTORED]
    by_number = {slot.number: slot for slot in slots}
    for number, capability_id in sorted(expected.live.items()):
        problems += _check_live(number, capability_id, by_number.pop(number, None), expected)
    for slot in by_number.values():
        problems += _check_unused(slot, expected)
    return problems


def _read_expected(db: Connection) -> _Expected:
    live, ended = live_slots(db), stored.ended_capabilities(db)
    pictures = {one: stored.pictures_of(db, one) for one in (*live.values(), *ended)}
    return _Expected(get_meta(db, GENERATION_META), live, ended, pictures)


def _check_live(
    number: int, capability_id: bytes, slot: Slot | None, expected: _Expected
) -> list[Problem]:
    if slot is not None and slot.capability_id == capability_id:
        return []
    damaged = slot is not None and slot.state is SlotState.DAMAGED
    what = "does not authenticate" if damaged else "does not hold the secret of its capability"
    message = f"{what}: capability {capability_id.hex()[:8]} can release nothing"
    return [_problem(number, message, expected.pictures[capability_id])]


def _check_unused(slot: Slot, expected: _Expected) -> list[Problem]:
    if slot.state is SlotState.DAMAGED:
        return [_problem(slot.number, "does not authenticate; no capability uses it")]
    if slot.capability_id in expected.ended:
        picture = expected.pictures[slot.capability_id]
        # The capability's name tells it from another that has the slot at the second look.
        message = f"still holds the secret of {slot.capability_id.hex()[:8]}, which is over"
        return [_problem(slot.number, message, picture, code="keyslot_left")]
    return []


_RESTORED = Problem(
    code="restored",
    where="keyslots",
    message="the keyslots are not those of this index, which came from a backup",
)


def _problem(
    number: int, message: str, picture: str | None = None, *, code: str = "keyslot"
) -> Problem:
    return Problem(code=code, where=f"keyslot {number}", message=message, picture=picture)
