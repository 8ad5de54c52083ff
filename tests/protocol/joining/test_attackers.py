"""Whoever comes between two people who join: on the way, out of turn, with the code and a lie."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    LocalProtocolError,
    RemoteError,
    RemoteProtocolError,
)
from protocol.joining.code import InvitationCode, new_words
from protocol.joining.session import Inviter, JoinAnswer, Joiner, JoinOffer
from protocol.labels import NO_TEAM, PAKE_INVITER, PAKE_JOINER, PROLOGUE_JOINING
from protocol.limits import MAX_JOINING_MESSAGE_BYTES
from protocol.noise.handshake_state import HandshakeState
from protocol.noise.patterns import XXPSK0
from protocol.primitives import Spake2
from tests.protocol.joining.sides import accepted, file_of, inviter, joiner, played, some
from tests.protocol.noise.low_order import LOW_ORDER
from tests.protocol.people import person, stream

# In the middle ------------------------------------------------------------------------------------


RELAYS = 500
"""Each of the two joins that a relay runs at once is an attempt."""


@pytest.mark.timeout(1_500)  # the exchange is computed in Python: 16 s here
def test_row_10_a_relay_that_runs_two_joins_at_once_joins_nobody() -> None:
    """It may give each of messages 1 to 5 to either of the two who wait for one like it."""
    chance = random.Random(10)
    attempts = joined = 0
    for attempt in range(RELAYS):
        words = stream(f"attempt/{attempt}")
        codes = [InvitationCode(number=7, words=new_words(words)) for _ in range(2)]
        joiners = [
            joiner(name, code, str(attempt))
            for name, code in zip(("Bob", "Bea"), codes, strict=True)
        ]
        inviters = [
            inviter(name, code, str(attempt))
            for name, code in zip(("Alice", "Ann"), codes, strict=True)
        ]
        crossed = 1 + chance.randrange(31)
        messages: list[bytes | None] = [side.first() for side in joiners]
        for step in range(5):
            if crossed >> step & 1:
                messages.reverse()
            sides: Sequence[Joiner | Inviter] = inviters if step % 2 == 0 else joiners
            messages = [
                _received(side, message) for side, message in zip(sides, messages, strict=True)
            ]
        joined += sum(side.joiner_file is not None for side in inviters)
        attempts += len(joiners)

    assert (attempts, joined) == (1_000, 0)


def _received(side: Joiner | Inviter, message: bytes | None) -> bytes | None:
    if message is None:
        return None
    try:
        return side.receive_untrusted(message)
    except RemoteError:
        return None


def test_row_10_a_relay_in_the_middle_that_guesses_is_seen_by_both() -> None:
    """It plays inviter to the joiner and joiner to the inviter, each with one guess."""
    for attempt in range(20):
        code = InvitationCode(number=7, words=new_words(stream(f"guess/{attempt}")))
        bob, alice = joiner(), inviter()
        false_alice = inviter("Mallory", code, str(attempt))
        false_bob = joiner("Mallory", code, str(attempt))
        third = bob.receive_untrusted(some(false_alice.receive_untrusted(bob.first())))
        with pytest.raises(AuthenticationError):
            false_alice.receive_untrusted(some(third))
        third = false_bob.receive_untrusted(some(alice.receive_untrusted(false_bob.first())))
        with pytest.raises(AuthenticationError):
            alice.receive_untrusted(some(third))


def test_row_10_the_verdict_of_another_joining_is_not_taken() -> None:
    one, other = played(6, label="one"), played(6, label="other")

    with pytest.raises(AuthenticationError):
        one.joiner.receive_untrusted(other.messages[-1])


def test_row_10_who_knows_the_code_of_another_joining_has_other_words_on_each_side() -> None:
    """A relay that was told the code still cannot make both ends show the same words."""
    bob, alice = joiner(), inviter()
    false_alice, false_bob = inviter("Mallory"), joiner("Mallory")
    _meet(bob, false_alice)
    _meet(false_bob, alice)

    assert bob.words == false_alice.words
    assert alice.words != bob.words


def _meet(one: Joiner, other: Inviter) -> None:
    third = one.receive_untrusted(some(other.receive_untrusted(one.first())))
    other.receive_untrusted(some(one.receive_untrusted(some(other.receive_untrusted(some(third))))))


# Messages out of turn, changed, cut and long ------------------------------------------------------


def _receiver(number: int) -> tuple[Joiner | Inviter, list[bytes]]:
    """Return who waits for the message of this number, and all messages up to it."""
    pair = played(number)
    return (pair.inviter if number % 2 == 1 else pair.joiner), pair.messages


@pytest.mark.parametrize(
    ("number", "replayed"),
    [(n, m) for n, m in itertools.product(range(2, 7), range(1, 6)) if m < n],
)
def test_row_10_an_earlier_message_again_ends_the_joining(number: int, replayed: int) -> None:
    """Reflected to its sender as well as repeated to its receiver."""
    side, messages = _receiver(number)

    with pytest.raises(RemoteError):
        side.receive_untrusted(messages[replayed - 1])
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        side.receive_untrusted(messages[-1])


@pytest.mark.parametrize("number", range(1, 7))
def test_a_message_of_an_earlier_joining_is_not_taken(number: int) -> None:
    """But for the offer, with which a replayed joining begins and never ends."""
    earlier = played(number, label="earlier")
    side, _messages = _receiver(number)

    if number == 1:
        side.receive_untrusted(earlier.messages[0])
        side, replayed = side, played(3, label="earlier").messages[2]
    elif number == 2:
        third = some(side.receive_untrusted(earlier.messages[1]))
        side, replayed = inviter(), third
        side.receive_untrusted(joiner().first())
    else:
        replayed = earlier.messages[-1]
    with pytest.raises(AuthenticationError):
        side.receive_untrusted(replayed)


@pytest.mark.parametrize("number", range(1, 7))
def test_a_truncated_or_over_long_message_ends_the_joining(number: int) -> None:
    lengths: list[Callable[[bytes], bytes]] = [
        lambda message: b"",
        lambda message: message[:-1],
        lambda message: message[: len(message) // 2],
        lambda message: message + b"\x00",
        lambda message: message.ljust(MAX_JOINING_MESSAGE_BYTES, b"\x00"),
        lambda message: message.ljust(MAX_JOINING_MESSAGE_BYTES + 1, b"\x00"),
    ]
    for changed in lengths:
        side, messages = _receiver(number)

        with pytest.raises(RemoteError):
            side.receive_untrusted(changed(messages[-1]))
        with pytest.raises(RemoteProtocolError, match="out of turn"):
            side.receive_untrusted(messages[-1])


def _play_on(side: Joiner | Inviter, other: Joiner | Inviter, message: bytes | None) -> None:
    while message is not None:
        message = side.receive_untrusted(message)
        side, other = other, side


@settings(max_examples=60, deadline=None)
@given(number=st.integers(1, 6), data=st.data())
def test_no_changed_message_leads_to_a_member(number: int, data: st.DataObject) -> None:
    """Each is refused at once, or what both ends then make of it never fits together."""
    pair = played(number)
    message = bytearray(pair.messages[-1])
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] ^= 1 << data.draw(st.integers(0, 7))
    side: Joiner | Inviter = pair.inviter if number % 2 == 1 else pair.joiner
    other: Joiner | Inviter = pair.joiner if number % 2 == 1 else pair.inviter

    with pytest.raises(RemoteError):
        _play_on(side, other, bytes(message))
    assert pair.inviter.joiner_file is None or number == 6
    with pytest.raises(LocalProtocolError):
        _ = pair.joiner.accepted


@settings(max_examples=60, deadline=None)
@given(number=st.integers(1, 6), message=st.binary(max_size=200))
def test_random_bytes_raise_remote_errors_only(number: int, message: bytes) -> None:
    side, _messages = _receiver(number)

    with pytest.raises(RemoteError):
        side.receive_untrusted(message)


def test_a_joiner_who_is_spoken_to_first_says_nothing() -> None:
    side = joiner()

    with pytest.raises(RemoteProtocolError, match="out of turn"):
        side.receive_untrusted(played(2).messages[-1])


def test_whoever_speaks_while_the_inviter_decides_is_not_decided_about() -> None:
    pair = played(5)
    pair.inviter.receive_untrusted(pair.messages[-1])

    with pytest.raises(RemoteProtocolError, match="out of turn"):
        pair.inviter.receive_untrusted(pair.messages[-1])
    with pytest.raises(LocalProtocolError, match="nobody"):
        pair.inviter.accept(accepted())


# A member of the handshake who knows the code, and lies -------------------------------------------


class Liar:
    """A joiner who knows the code, and says what it likes in each Noise message."""

    def __init__(self, other: Inviter) -> None:
        self._other = other
        self._pake = Spake2(
            first=True,
            password=b"canyon-lava",
            id_a=PAKE_JOINER,
            id_b=PAKE_INVITER,
            entropy=stream("liar"),
        )
        offer = encode(JoinOffer(versions=(1,), number=7, pake=self._pake.message))
        answer = some(other.receive_untrusted(offer))
        key = msgspec.msgpack.decode(answer, type=JoinAnswer).pake
        self.handshake = HandshakeState(
            XXPSK0,
            initiator=True,
            prologue=PROLOGUE_JOINING + NO_TEAM + offer + answer,
            s=person("Mallory").agreement_secret,
            entropy=stream("liar's ephemeral"),
            psks=(self._pake.finish_untrusted(key),),
        )


def test_an_identity_file_of_another_than_who_proved_its_key_is_refused() -> None:
    other = inviter()
    liar = Liar(other)
    fourth = other.receive_untrusted(liar.handshake.write_message(b""))
    liar.handshake.read_message_untrusted(some(fourth))

    with pytest.raises(AuthenticationError, match="identity file"):
        other.receive_untrusted(liar.handshake.write_message(file_of("Bob")))
    assert other.joiner_file is None
    with pytest.raises(LocalProtocolError, match="nobody"):
        other.accept(accepted())


@pytest.mark.parametrize("payload", [b"", b"\xc0", file_of("Mallory")[:-1], bytes(9_000)])
def test_a_fifth_message_without_an_identity_file_is_refused(payload: bytes) -> None:
    other = inviter()
    liar = Liar(other)
    fourth = other.receive_untrusted(liar.handshake.write_message(b""))
    liar.handshake.read_message_untrusted(some(fourth))

    with pytest.raises(RemoteError):
        other.receive_untrusted(liar.handshake.write_message(payload))
    assert other.joiner_file is None


def test_a_third_message_that_carries_something_is_refused() -> None:
    other = inviter()
    liar = Liar(other)

    with pytest.raises(RemoteProtocolError, match="carries nothing"):
        other.receive_untrusted(liar.handshake.write_message(b"more"))


def test_a_fourth_message_that_carries_something_is_refused() -> None:
    pair = played(3)
    pair.inviter._finished().read_message_untrusted(pair.messages[-1])
    fourth = pair.inviter._finished().write_message(b"more")

    with pytest.raises(RemoteProtocolError, match="carries nothing"):
        pair.joiner.receive_untrusted(fourth)
    assert not pair.joiner.proved


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_an_ephemeral_key_of_low_order_is_refused_though_the_code_is_right(point: bytes) -> None:
    other = inviter()
    handshake = Liar(other).handshake
    symmetric = handshake._symmetric
    symmetric.mix_key_and_hash(next(handshake._unused_psks))
    handshake._mix_ephemeral(point)

    with pytest.raises(AuthenticationError):
        other.receive_untrusted(point + symmetric.encrypt_and_hash(b""))


def test_nobody_joins_themselves() -> None:
    one, other = joiner("Alice"), inviter("Alice")
    third = one.receive_untrusted(some(other.receive_untrusted(one.first())))
    fourth = other.receive_untrusted(some(third))

    with pytest.raises(AuthenticationError):
        one.receive_untrusted(some(fourth))
