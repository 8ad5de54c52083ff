from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import (
    AuthenticationError,
    LimitError,
    LocalError,
    RemoteError,
    RemoteProtocolError,
)
from protocol.limits import MAX_SEALED_PLAINTEXT_BYTES
from protocol.noise.one_way import SEALED_OVERHEAD_BYTES, open_from_untrusted, seal_to
from protocol.primitives import x25519_public
from tests.protocol.noise.low_order import LOW_ORDER

SENDER, RECIPIENT, OTHER = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32


def _seal(plaintext: bytes, *, to: bytes = RECIPIENT, prologue: bytes = b"label") -> bytes:
    return seal_to(
        sender_secret=SENDER,
        recipient_public=x25519_public(to),
        prologue=prologue,
        plaintext=plaintext,
        entropy=os.urandom,
    )


def _open(sealed: bytes, *, by: bytes = RECIPIENT, prologue: bytes = b"label") -> bytes:
    sender, plaintext = open_from_untrusted(recipient_secret=by, prologue=prologue, sealed=sealed)

    assert x25519_public(SENDER) == sender
    return plaintext


@given(plaintext=st.binary(max_size=300), prologue=st.binary(max_size=80))
def test_what_is_sealed_opens_and_names_its_sender(plaintext: bytes, prologue: bytes) -> None:
    sealed = _seal(plaintext, prologue=prologue)

    assert SEALED_OVERHEAD_BYTES + len(plaintext) == len(sealed)
    assert plaintext == _open(sealed, prologue=prologue)


def test_sealing_twice_gives_unrelated_bytes() -> None:
    assert _seal(b"same") != _seal(b"same")


def test_the_largest_plaintext_passes_and_one_byte_more_does_not() -> None:
    largest = bytes(MAX_SEALED_PLAINTEXT_BYTES)

    assert largest == _open(_seal(largest))
    with pytest.raises(LimitError):
        _seal(largest + b"\x00")
    with pytest.raises(RemoteProtocolError):
        _open(bytes(SEALED_OVERHEAD_BYTES + MAX_SEALED_PLAINTEXT_BYTES + 1))


def test_every_changed_byte_fails() -> None:
    sealed = _seal(b"plaintext")

    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(AuthenticationError):
            _open(bytes(changed))


def test_cut_or_extended_messages_fail() -> None:
    sealed = _seal(b"plaintext")

    for length in range(len(sealed)):
        with pytest.raises(RemoteError):
            _open(sealed[:length])
    with pytest.raises(AuthenticationError):
        _open(sealed + b"\x00")


def test_another_recipient_or_another_prologue_fails() -> None:
    with pytest.raises(AuthenticationError):
        _open(_seal(b"secret"), by=OTHER)
    with pytest.raises(AuthenticationError):
        _open(_seal(b"secret", prologue=b"capability"), prologue=b"welcome")


def test_a_message_returned_to_its_sender_fails() -> None:
    with pytest.raises(AuthenticationError):
        _open(_seal(b"secret"), by=SENDER)


def test_sealing_to_oneself_is_refused() -> None:
    with pytest.raises(LocalError):
        _seal(b"secret", to=SENDER)


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_low_order_points_fail_on_both_sides(point: bytes) -> None:
    with pytest.raises(AuthenticationError):
        seal_to(
            sender_secret=SENDER,
            recipient_public=point,
            prologue=b"",
            plaintext=b"",
            entropy=os.urandom,
        )
    with pytest.raises(AuthenticationError):
        _open(point + _seal(b"secret")[32:])


@given(sealed=st.binary(max_size=300))
def test_random_bytes_raise_remote_errors_only(sealed: bytes) -> None:
    with pytest.raises(RemoteError):
        _open(sealed)
