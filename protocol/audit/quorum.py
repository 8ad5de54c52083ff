"""Enough witnesses: how many cosignatures a head must carry, whose, and how fresh.

Belongs here: counting the cosignatures of a head.
Never here: verifying one cosignature (``checkpoint``, ``note``) or collecting them.

A witness counts once, whatever it signed and under whatever name; a cosignature of an unknown
key counts for nothing; a failing one of a known key fails the head.
Rules: docs/spec/checkpoint.md, "Quorum".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.audit.checkpoint import Checkpoint
from protocol.audit.log_keys import HeadKeys
from protocol.audit.note import KeyType, Verified, VerifierKey, open_note_untrusted
from protocol.errors import LocalError, LogError
from protocol.limits import COSIGNATURE_CLOCK_SLACK_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """So many of these witnesses, none of whose cosignatures is older than that."""

    witnesses: tuple[VerifierKey, ...]
    """Of type COSIGNATURE."""
    threshold: int
    """From 0 to the number of distinct public keys of witnesses."""
    max_age: int | None = None
    """Milliseconds; None where the age does not matter."""

    def __post_init__(self) -> None:
        if any(witness.key_type is not KeyType.COSIGNATURE for witness in self.witnesses):
            raise LocalError("a witness signs cosignatures and nothing else")
        if not 0 <= self.threshold <= len({witness.public for witness in self.witnesses}):
            raise LocalError("more cosignatures are asked for than there are witnesses")


NO_WITNESS: Final = Quorum(witnesses=(), threshold=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """A head that its log signed, and the cosignatures that count."""

    checkpoint: Checkpoint
    cosignatures: tuple[Verified, ...]
    """At most one of each public key, at least the threshold; in the note's order."""


def open_witnessed_untrusted(
    note: bytes, *, keys: HeadKeys, quorum: Quorum, now: int, origin: str | None = None
) -> Witnessed:
    """Open a head that its log signed and enough witnesses cosigned; now in Unix milliseconds.

    Raises LogError: the codes of keys.open_head_untrusted, ``bad_signature`` for a cosignature
    of one of the witnesses that does not verify, ``quorum`` where too few count.
    """
    checkpoint = keys.open_head_untrusted(note, origin)
    counted: dict[bytes, Verified] = {}
    for cosignature in _cosignatures_untrusted(note, quorum.witnesses):
        if _is_fresh(cosignature, quorum.max_age, now):
            counted.setdefault(cosignature.key.public, cosignature)
    if len(counted) < quorum.threshold:
        message = f"checkpoint: cosigned by {len(counted)}, {quorum.threshold} are asked for"
        raise LogError(message, code="quorum")
    return Witnessed(checkpoint=checkpoint, cosignatures=tuple(counted.values()))


def _cosignatures_untrusted(
    note: bytes, witnesses: tuple[VerifierKey, ...]
) -> tuple[Verified, ...]:
    try:
        return open_note_untrusted(note, witnesses).verified
    except LogError as error:
        if error.code == "unsigned":
            return ()
        raise


def _is_fresh(cosignature: Verified, max_age: int | None, now: int) -> bool:
    assert cosignature.time is not None, "a Quorum has witnesses of type COSIGNATURE only"
    # A time ahead of every clock would never grow old.
    return max_age is None or -COSIGNATURE_CLOCK_SLACK_MS <= now - cosignature.time <= max_age
