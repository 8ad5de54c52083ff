from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import (
    AuthenticationError,
    LimitError,
    LocalError,
    LocalProtocolError,
    RemoteError,
    RemoteProtocolError,
)
from protocol.noise.handshake_state import HandshakeState
from protocol.noise.patterns import XK, XXPSK0, X
from protocol.primitives import x25519_public
from tests.protocol.noise.low_order import LOW_ORDER

ALICE, BOB, MALLORY = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32


def _initiator(*, secret: bytes = ALICE, to: bytes = BOB, prologue: bytes = b"p") -> HandshakeState:
    return HandshakeState(
        XK,
        initiator=True,
        prologue=prologue,
        s=secret,
        rs=x25519_public(to),
        entropy=os.urandom,
    )


def _responder(*, secret: bytes = BOB, prologue: bytes = b"p") -> HandshakeState:
    return HandshakeState(XK, initiator=False, prologue=prologue, s=secret, entropy=os.urandom)


def _complete(initiator: HandshakeState, responder: HandshakeState) -> list[bytes]:
    messages = []
    for number in range(3):
        writer, reader = (initiator, responder) if number % 2 == 0 else (responder, initiator)
        messages.append(writer.write_message(b""))
        reader.read_message_untrusted(messages[-1])
    return messages


def test_both_sides_end_with_the_same_hash_and_each_others_keys() -> None:
    initiator, responder = _initiator(), _responder()
    assert responder.rs is None

    _complete(initiator, responder)

    assert initiator.handshake_hash == responder.handshake_hash
    assert x25519_public(BOB) == initiator.rs
    assert x25519_public(ALICE) == responder.rs


def test_two_handshakes_of_the_same_keys_have_different_hashes() -> None:
    first, second = _initiator(), _initiator()
    _complete(first, _responder())
    _complete(second, _responder())

    assert first.handshake_hash != second.handshake_hash


def test_another_prologue_fails_at_the_first_message() -> None:
    message = _initiator(prologue=b"one").write_message(b"")

    with pytest.raises(AuthenticationError):
        _responder(prologue=b"two").read_message_untrusted(message)


def test_a_message_for_another_key_fails() -> None:
    message = _initiator(to=MALLORY).write_message(b"")

    with pytest.raises(AuthenticationError):
        _responder(secret=BOB).read_message_untrusted(message)


@pytest.mark.parametrize("number", range(3))
def test_every_captured_message_replayed_to_the_same_node_or_another_gets_nowhere(
    number: int,
) -> None:
    captured = _complete(_initiator(), _responder())
    same, other = _responder(secret=BOB), _responder(secret=MALLORY)
    if number == 0:
        # The first message alone passes at the same node: it proves nothing, and nothing follows.
        same.read_message_untrusted(captured[0])
        same.write_message(b"")
        with pytest.raises(AuthenticationError):
            same.read_message_untrusted(captured[2])
        with pytest.raises(AuthenticationError):
            other.read_message_untrusted(captured[0])
    elif number == 1:
        for victim in (_initiator(), _initiator(secret=MALLORY)):
            victim.write_message(b"")
            with pytest.raises(AuthenticationError):
                victim.read_message_untrusted(captured[1])
    else:
        for victim in (same, other):
            with pytest.raises(RemoteError):
                victim.read_message_untrusted(captured[2])


def test_a_message_reflected_to_its_sender_fails() -> None:
    initiator = _initiator()
    message = initiator.write_message(b"")

    with pytest.raises(AuthenticationError):
        initiator.read_message_untrusted(message)


def test_our_own_static_key_from_the_other_side_is_a_reflection() -> None:
    initiator, responder = _initiator(), _responder(secret=BOB)
    initiator._keys["s"] = (BOB, x25519_public(BOB))
    responder.read_message_untrusted(initiator.write_message(b""))
    initiator.read_message_untrusted(responder.write_message(b""))
    message = initiator.write_message(b"")

    with pytest.raises(AuthenticationError):
        responder.read_message_untrusted(message)
    assert responder.rs is None


def test_our_own_static_key_as_the_one_to_reach_is_refused() -> None:
    with pytest.raises(LocalError, match="our own"):
        _initiator(secret=BOB, to=BOB)


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_a_low_order_ephemeral_key_aborts_without_a_crash(point: bytes) -> None:
    responder = _responder()

    with pytest.raises(AuthenticationError):
        responder.read_message_untrusted(point + bytes(16))
    with pytest.raises(LocalProtocolError):
        responder.write_message(b"")


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_a_low_order_static_key_aborts_without_a_crash(point: bytes) -> None:
    initiator = HandshakeState(
        XK, initiator=True, prologue=b"", s=ALICE, rs=point, entropy=os.urandom
    )

    with pytest.raises(AuthenticationError):
        initiator.write_message(b"")
    with pytest.raises(LocalProtocolError):
        initiator.write_message(b"")


def test_a_failed_message_ends_the_handshake_even_for_the_true_one() -> None:
    initiator, responder = _initiator(), _responder()
    message = initiator.write_message(b"")

    with pytest.raises(AuthenticationError):
        responder.read_message_untrusted(message[:-1] + bytes([message[-1] ^ 1]))
    with pytest.raises(LocalProtocolError):
        responder.read_message_untrusted(message)
    assert not responder.complete


@pytest.mark.parametrize("length", [0, 31, 32, 47])
def test_a_first_message_cut_short_is_a_remote_error(length: int) -> None:
    message = _initiator().write_message(b"")

    with pytest.raises(RemoteProtocolError):
        _responder().read_message_untrusted(message[:length])


def test_a_third_message_cut_inside_the_static_key_is_a_remote_error() -> None:
    initiator, responder = _initiator(), _responder()
    responder.read_message_untrusted(initiator.write_message(b""))
    initiator.read_message_untrusted(responder.write_message(b""))

    with pytest.raises(RemoteProtocolError):
        responder.read_message_untrusted(initiator.write_message(b"")[:47])


def test_a_message_is_at_most_65535_bytes_both_ways() -> None:
    largest = 65_535 - 48

    assert len(_initiator().write_message(bytes(largest))) == 65_535
    with pytest.raises(LimitError):
        _initiator().write_message(bytes(largest + 1))
    with pytest.raises(RemoteProtocolError):
        _responder().read_message_untrusted(bytes(65_536))


def test_turns_are_kept() -> None:
    with pytest.raises(LocalProtocolError):
        _responder().write_message(b"")
    with pytest.raises(LocalProtocolError):
        _initiator().read_message_untrusted(b"")


def test_nothing_is_final_before_the_end_and_nothing_follows_it() -> None:
    initiator, responder = _initiator(), _responder()
    with pytest.raises(LocalProtocolError):
        _ = initiator.handshake_hash
    with pytest.raises(LocalProtocolError):
        initiator.split()

    _complete(initiator, responder)

    with pytest.raises(LocalProtocolError):
        initiator.write_message(b"")
    with pytest.raises(LocalProtocolError):
        responder.read_message_untrusted(b"")


def test_keys_that_the_pattern_lacks_or_cannot_use_are_local_errors() -> None:
    with pytest.raises(LocalError, match="32 bytes"):
        _initiator(secret=bytes(31))
    with pytest.raises(LocalError, match="pre-shared"):
        HandshakeState(
            XK, initiator=False, prologue=b"", s=BOB, entropy=os.urandom, psks=(bytes(32),)
        )
    with pytest.raises(LocalError, match="static key"):
        HandshakeState(XK, initiator=True, prologue=b"", s=ALICE, entropy=os.urandom)
    with pytest.raises(LocalError, match="static key"):
        HandshakeState(XK, initiator=False, prologue=b"", s=None, entropy=os.urandom)
    with pytest.raises(LocalError, match="entropy"):
        HandshakeState(
            X, initiator=True, prologue=b"", s=ALICE, rs=x25519_public(BOB), entropy=None
        ).write_message(b"")


def test_a_wrong_pre_shared_key_fails() -> None:
    pattern = XXPSK0
    initiator = HandshakeState(
        pattern, initiator=True, prologue=b"", s=ALICE, entropy=os.urandom, psks=(bytes([1]) * 32,)
    )
    responder = HandshakeState(
        pattern, initiator=False, prologue=b"", s=BOB, entropy=os.urandom, psks=(bytes([2]) * 32,)
    )

    with pytest.raises(AuthenticationError):
        responder.read_message_untrusted(initiator.write_message(b""))


def test_the_pre_shared_key_pattern_of_joining_works_with_the_same_engine() -> None:
    pattern = XXPSK0
    psk = bytes([9]) * 32
    sides = [
        HandshakeState(pattern, initiator=first, prologue=b"", s=s, entropy=os.urandom, psks=(psk,))
        for first, s in ((True, ALICE), (False, BOB))
    ]

    _complete(*sides)

    assert sides[0].handshake_hash == sides[1].handshake_hash


@given(message=st.binary(max_size=200))
def test_random_bytes_raise_remote_errors_only(message: bytes) -> None:
    with pytest.raises(RemoteError):
        _responder().read_message_untrusted(message)


def test_no_repr_shows_a_secret() -> None:
    initiator = _initiator()

    assert repr(initiator) == "HandshakeState(XK, initiator, message 0)"
    assert repr(_responder()) == "HandshakeState(XK, responder, message 0)"
    assert repr(initiator._symmetric) == f"SymmetricState(h={initiator._symmetric.h.hex()})"
