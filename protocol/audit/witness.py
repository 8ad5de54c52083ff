"""Witnessing a log: the add-checkpoint request and its judgement (C2SP tlog-witness v1.0.0).

Belongs here: the request as text, and the one decision whether a witness cosigns,
for HTTP and for the channel between nodes alike.
Never here: storing what was cosigned, servers, or which logs a witness accepts.

A witness reads what it holds, calls judge_untrusted, and stores the checkpoint with its whole
note in one transaction; it cosigns after the commit. Format: docs/spec/checkpoint.md, "Witnesses".
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.audit.checkpoint import Checkpoint
from protocol.audit.note import (
    KeyType,
    VerifierKey,
    parse_base64_untrusted,
    parse_decimal_untrusted,
)
from protocol.audit.proof import verify_consistency
from protocol.audit.tree import EMPTY_ROOT, HASH_BYTES
from protocol.errors import LocalError, LogError
from protocol.identity import Identity
from protocol.limits import MAX_NOTE_BYTES, MAX_PROOF_HASHES, MAX_TREE_SIZE

_CODE: Final = "malformed_request"
_WHAT: Final = "add-checkpoint"


class WitnessRefusedError(LogError):
    """A witness does not cosign; ``status`` is the one of tlog-witness."""

    code = "witness"

    def __init__(self, message: str, *, status: int, size: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """400, 403, 404, 409 or 422."""
        self.size = size
        """With 409, the size of what the witness holds."""


def witness_name(fingerprint: bytes) -> str:
    """Return the name a node cosigns under: ``safelight/witness/<fingerprint>``.

    The fingerprint stands in lowercase base32 without padding, as in an origin.
    """
    return f"safelight/witness/{base64.b32encode(fingerprint).decode().rstrip('=').lower()}"


def witness_key(identity: Identity) -> VerifierKey:
    """Return the key that verifies a node's cosignatures."""
    return VerifierKey(
        name=witness_name(identity.fingerprint),
        key_type=KeyType.COSIGNATURE,
        public=identity.cosigning_key,
    )


# "old " decimal LF
# (base64(hash) LF)*            at most 63, the consistency proof
# LF
# signed checkpoint, as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpointRequest:
    """Please cosign this checkpoint, which extends the one of size old that you hold."""

    old: int
    """The size the witness is thought to hold; 0 where it holds none."""
    proof: tuple[bytes, ...]
    """Consistency proof from old to the checkpoint's size, 32 bytes each."""
    note: bytes
    """The signed checkpoint, not yet opened."""


def format_request(request: AddCheckpointRequest) -> bytes:
    """Return the body of the request; LocalError where it would not parse again."""
    lines = [f"old {request.old}", *(base64.b64encode(value).decode() for value in request.proof)]
    body = "\n".join([*lines, "", ""]).encode() + request.note
    try:
        same = parse_request_untrusted(body) == request
    except LogError:
        same = False
    if not same:
        raise LocalError("a request is a size, up to 63 hashes and a checkpoint")
    return body


def parse_request_untrusted(body: bytes) -> AddCheckpointRequest:
    """Parse the body of a request; LogError (code ``malformed_request``) for anything else.

    An HTTP witness answers that with 400.
    """
    head, blank, note = body.partition(b"\n\n")
    if len(body) > 2 * MAX_NOTE_BYTES or not blank or not note:
        raise LogError(f"{_WHAT}: no checkpoint", code=_CODE)
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise LogError(f"{_WHAT}: not ASCII", code=_CODE) from None
    if not first.startswith("old "):
        raise LogError(f"{_WHAT}: no old size", code=_CODE)
    old = parse_decimal_untrusted(
        first.removeprefix("old "), limit=MAX_TREE_SIZE, what=_WHAT, code=_CODE
    )
    proof = tuple(parse_base64_untrusted(line, what=_WHAT, code=_CODE) for line in lines)
    if len(proof) > MAX_PROOF_HASHES or any(len(value) != HASH_BYTES for value in proof):
        raise LogError(f"{_WHAT}: not up to {MAX_PROOF_HASHES} hashes", code=_CODE)
    return AddCheckpointRequest(old=old, proof=proof, note=note)


def judge_untrusted(
    request: AddCheckpointRequest,
    held: Checkpoint | None,
    open_head: Callable[[bytes], Checkpoint],
) -> Checkpoint:
    """Return the checkpoint to store and then cosign; WitnessRefusedError where it must not be.

    ``held`` is the last checkpoint this witness cosigned for the origin, None where it is the
    first. ``open_head`` opens a note of a log that the witness accepts, as
    LogKeys.open_head_untrusted does; its LogError becomes 404 for code ``origin``, 400 for a
    signed text that is no checkpoint, and 403 for anything else. LocalError where held is of
    another log than it opens.
    """
    try:
        told = open_head(request.note)
    except LogError as error:
        raise _not_opened(error) from None
    if held is not None and held.origin != told.origin:
        raise LocalError("a witness compares heads of one log")
    if request.old > told.size:
        raise WitnessRefusedError("the old size is over that of the checkpoint", status=400)
    size = 0 if held is None else held.size
    if request.old != size:
        raise WitnessRefusedError("the old size is not what is held", status=409, size=size)
    if told.size == 0 and told.root != EMPTY_ROOT:
        raise WitnessRefusedError("an empty tree with a root of another", status=422)
    if held is None or held.size == 0:
        # Everything extends the empty tree, and no proof says so.
        if request.proof:
            raise WitnessRefusedError("a proof from the empty tree", status=422)
        return told
    try:
        verify_consistency(held.size, told.size, held.root, told.root, request.proof)
    except LogError as error:
        raise WitnessRefusedError(str(error), status=422) from None
    return told


def _not_opened(error: LogError) -> WitnessRefusedError:
    status = {"origin": 404, "malformed_checkpoint": 400, "extension": 400}.get(error.code, 403)
    return WitnessRefusedError(str(error), status=status)
