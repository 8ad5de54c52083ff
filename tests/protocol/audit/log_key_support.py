"""A member whose log has epochs and incarnations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.log_keys import LogKeys, LogKeyStatement, sign_log_key
from protocol.audit.tree import leaf_hash, root_of
from protocol.primitives import SigningKey
from tests.protocol.audit.support import entries, sha256
from tests.protocol.people import person

ANN = person("Ann")
FIRST = origin_of(ANN.public.fingerprint)
SECOND = origin_of(ANN.public.fingerprint, 1)
LOG = entries(20)


def new_key(label: str) -> SigningKey:
    return SigningKey(sha256(f"log key {label}".encode()))


ONE, TWO, OTHER = (new_key(label) for label in ("epoch 1", "epoch 2", "other"))


def note(size: int, key: SigningKey, *, origin: str = FIRST, log: Sequence[bytes] = LOG) -> bytes:
    """Return the head of the first size entries of log, signed by key."""
    root = root_of(leaf_hash(data) for data in log[:size])
    return sign_checkpoint(Checkpoint(origin=origin, size=size, root=root), key)


def said(**changes: Any) -> LogKeyStatement:
    """Return the statement of epoch 1, which begins after entry 5, with some fields changed."""
    fields: dict[str, Any] = {
        "origin": FIRST,
        "incarnation": 0,
        "epoch": 1,
        "key": ONE.public,
        "previous": note(6, ANN.log),
    }
    return LogKeyStatement(**{**fields, **changes})


def signed(**changes: object) -> bytes:
    return sign_log_key(said(**changes), signer=ANN)


TO_ONE = signed()
TO_TWO = signed(epoch=2, key=TWO.public, previous=note(12, ONE))
"""Epochs: sizes 0 to 6 by the certificate's key, 7 to 12 by ONE, from 13 on by TWO."""
KEYS = LogKeys.of(ANN.public).with_statement_untrusted(TO_ONE).with_statement_untrusted(TO_TWO)
