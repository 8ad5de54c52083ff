"""One way to sign a value and one way to verify it, for every statement about capabilities.

Belongs here: the steps between a typed value and the signed bytes that travel.
Never here: which values exist, or rules between their fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from protocol.encoding import decode, encode
from protocol.errors import AuthenticationError, EncodingError, LocalError, RemoteError
from protocol.identity import Identity, LocalIdentity, sign_statement, verify_statement_untrusted
from protocol.labels import SignatureType
from protocol.limits import MAX_BODY_BYTES

T = TypeVar("T")


def nothing_more(value: Any) -> None:
    """Accept every value: the sizes of its fields are all that is asked of it."""


def parse_untrusted(shape: type[T], body: bytes, rules: Callable[[T], None]) -> T:
    """Return body as a value that follows its rules; EncodingError or UnsupportedError."""
    value = decode(shape, body, limit=MAX_BODY_BYTES)
    rules(value)
    return value


def sign_value(
    value: T,
    kind: SignatureType,
    *,
    signer: LocalIdentity,
    team_id: bytes,
    rules: Callable[[T], None] = nothing_more,
) -> bytes:
    """Return a value of ours, signed; LocalError where a peer would refuse it."""
    body = encode(value)
    try:
        parse_untrusted(type(value), body, rules)
    except RemoteError as error:
        raise LocalError(str(error)) from error
    return sign_statement(signer.identity, kind, team_id, body)


def verify_value_untrusted(
    shape: type[T],
    kind: SignatureType,
    *,
    signer: Identity,
    team_id: bytes,
    signed: bytes,
    rules: Callable[[T], None] = nothing_more,
) -> T:
    """Return the value that signer signed as kind in team_id.

    Whatever was changed on the way, in the envelope as in the body, is the one
    AuthenticationError. EncodingError and UnsupportedError say that the signer itself
    wrote what this build refuses.
    """
    body = verified_body_untrusted(kind, signer=signer, team_id=team_id, signed=signed)
    return parse_untrusted(shape, body, rules)


def verified_body_untrusted(
    kind: SignatureType, *, signer: Identity, team_id: bytes, signed: bytes
) -> bytes:
    """Return the body that signer signed as kind in team_id, or raise AuthenticationError."""
    try:
        return verify_statement_untrusted(signer.identity_key, kind, team_id, signed)
    except EncodingError:
        raise AuthenticationError from None
