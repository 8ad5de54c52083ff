"""Joining by code: two honest people meet, and nobody else comes between them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    LocalProtocolError,
    Reason,
    Refused,
    RemoteError,
    RemoteProtocolError,
    SafelightError,
    UnsupportedError,
)
from protocol.identity import export_identity_file
from protocol.joining.code import InvitationCode, new_words
from protocol.joining.session import (
    Declined,
    Inviter,
    JoinAnswer,
    Joiner,
    JoinOffer,
)
from protocol.labels import NO_TEAM, PAKE_INVITER, PAKE_JOINER, PROLOGUE_JOINING
from protocol.limits import MAX_ADDRESSES, MAX_JOINING_MESSAGE_BYTES
from protocol.noise.handshake_state import HandshakeState
from protocol.noise.patterns import XXPSK0
from protocol.primitives import Spake2
from protocol.rendezvous.address import RendezvousAddress
from tests.protocol.joining.sides import (
    CODE,
    WRONG,
    accepted,
    file_of,
    inviter,
    joiner,
    played,
)
from tests.protocol.noise.low_order import LOW_ORDER
from tests.protocol.people import person, stream

RENDEZVOUS = RendezvousAddress(host="meet.example", port=7412, key=bytes(range(32))).text
NEUTRAL = b"\x01" + bytes(31)
"""The neutral element of Ed25519."""


# Two honest people ------------------------------------------------------------------------------


def test_two_people_with_one_code_meet() -> None:
    verdict = accepted(rendezvous=RENDEZVOUS)
    pair = played(5)

    assert pair.inviter.receive_untrusted(pair.messages[-1]) is None
    assert pair.inviter.joiner_file == file_of("Bob")
    assert pair.joiner.receive_untrusted(pair.inviter.accept(verdict)) is None
    assert pair.joiner.accepted == verdict
    assert pair.joiner.inviter_key == person("Alice").public.agreement_key
    assert pair.joiner.words == pair.inviter.words
    assert len(pair.joiner.words) == 8


def test_every_joining_has_words_of_its_own() -> None:
    words = set()
    for label in ("one", "two", "three"):
        pair = played(6, label=label)
        pair.joiner.receive_untrusted(pair.messages[-1])
        words.add(pair.joiner.words)

    assert len(words) == 3


def test_the_joiner_knows_from_message_4_that_its_code_was_right() -> None:
    pair = played(4)
    before = pair.joiner.proved
    pair.joiner.receive_untrusted(pair.messages[-1])

    assert not before
    assert pair.joiner.proved


def test_a_declined_joiner_learns_the_reason() -> None:
    pair = played(5)
    pair.inviter.receive_untrusted(pair.messages[-1])

    with pytest.raises(Refused) as caught:
        pair.joiner.receive_untrusted(pair.inviter.decline("policy"))
    assert caught.value.reason is Reason.POLICY
    with pytest.raises(LocalProtocolError):
        _ = pair.joiner.accepted


def test_the_longest_verdict_and_identity_file_fit_their_messages() -> None:
    longest = "h" * 255
    addresses = ((longest, 65_535),) * MAX_ADDRESSES
    verdict = accepted(
        team_name="t" * 256,
        addresses=addresses,
        rendezvous=RendezvousAddress(host=longest, port=65_535, key=bytes(32)).text,
    )
    bob = person("Bob")
    file = export_identity_file(bob, addresses)
    one, other = Joiner(CODE, bob, file, stream("joiner")), inviter()
    third = one.receive_untrusted(_some(other.receive_untrusted(one.first())))
    fifth = _some(one.receive_untrusted(_some(other.receive_untrusted(_some(third)))))
    other.receive_untrusted(fifth)
    one.receive_untrusted(other.accept(verdict))

    assert one.accepted == verdict
    assert len(fifth) <= MAX_JOINING_MESSAGE_BYTES


# Our own mistakes -------------------------------------------------------------------------------


def test_a_joiner_shows_its_own_identity_file_only() -> None:
    with pytest.raises(LocalError, match="another device"):
        Joiner(CODE, person("Bob"), file_of("Mallory"), stream("joiner"))
    with pytest.raises(LocalError, match="Signed: not"):
        Joiner(CODE, person("Bob"), b"\xc0", stream("joiner"))


def test_the_first_message_is_sent_once() -> None:
    side = joiner()
    side.first()

    with pytest.raises(LocalProtocolError, match="once"):
        side.first()


def test_nothing_is_known_before_it_is_proved() -> None:
    pair = played(3)

    for ask in (
        lambda: joiner().words,
        lambda: pair.joiner.words,
        lambda: joiner().inviter_key,
        lambda: pair.joiner.inviter_key,
        lambda: pair.joiner.accepted,
        lambda: pair.inviter.words,
    ):
        with pytest.raises(LocalProtocolError):
            ask()
    assert pair.inviter.joiner_file is None


def test_an_inviter_decides_once_and_only_about_somebody_who_waits() -> None:
    pair = played(5)
    with pytest.raises(LocalProtocolError, match="nobody"):
        pair.inviter.accept(accepted())
    pair.inviter.receive_untrusted(pair.messages[-1])
    pair.inviter.decline("unknown")

    with pytest.raises(LocalProtocolError, match="nobody"):
        pair.inviter.decline("unknown")
    with pytest.raises(LocalProtocolError, match="nobody"):
        pair.inviter.accept(accepted())


REFUSED_VERDICTS: dict[str, tuple[dict[str, Any], type[RemoteError]]] = {
    "a team name that acts": ({"team_name": "a\x1b[2J"}, EncodingError),
    "no team name": ({"team_name": ""}, EncodingError),
    "a role of the future": ({"role": "owner"}, UnsupportedError),
    "an address that is none": ({"addresses": (("a b", 1),)}, EncodingError),
    "a port that is none": ({"addresses": (("a", 0),)}, EncodingError),
    "too many addresses": ({"addresses": (("a", 1),) * 17}, EncodingError),
    "a rendezvous that is none": ({"rendezvous": "meet.example"}, EncodingError),
    "a rendezvous in another spelling": ({"rendezvous": RENDEZVOUS + " "}, EncodingError),
    "no version": ({"version": 0}, EncodingError),
    "a short team id": ({"team_id": bytes(31)}, EncodingError),
    "no certificate": ({"certificate": b""}, EncodingError),
    "another's certificate": (
        {"certificate": person("Mallory").public.certificate},
        AuthenticationError,
    ),
}


@pytest.mark.parametrize("case", REFUSED_VERDICTS)
def test_an_inviter_cannot_say_what_a_joiner_would_refuse(case: str) -> None:
    pair = played(5)
    pair.inviter.receive_untrusted(pair.messages[-1])

    with pytest.raises(LocalError):
        pair.inviter.accept(accepted(**REFUSED_VERDICTS[case][0]))
    with pytest.raises(LocalError, match="Reason"):
        pair.inviter.decline("because")
    # It is still the inviter's turn.
    pair.joiner.receive_untrusted(pair.inviter.accept(accepted()))


@pytest.mark.parametrize("case", REFUSED_VERDICTS)
def test_a_joiner_refuses_a_verdict_that_breaks_a_rule(case: str) -> None:
    changes, error = REFUSED_VERDICTS[case]
    pair = played(5)
    pair.inviter.receive_untrusted(pair.messages[-1])
    message = pair.inviter._decide(accepted(**changes))

    with pytest.raises(error):
        pair.joiner.receive_untrusted(message)
    with pytest.raises(LocalProtocolError):
        _ = pair.joiner.accepted


def test_a_reason_of_the_future_is_no_acceptance() -> None:
    pair = played(5)
    pair.inviter.receive_untrusted(pair.messages[-1])

    with pytest.raises(UnsupportedError):
        pair.joiner.receive_untrusted(pair.inviter._decide(Declined(reason="because")))


# Wrong codes ------------------------------------------------------------------------------------


def test_a_wrong_code_is_seen_by_the_inviter_at_message_3() -> None:
    one, other = joiner(code=WRONG), inviter()
    third = _some(one.receive_untrusted(_some(other.receive_untrusted(one.first()))))

    with pytest.raises(AuthenticationError):
        other.receive_untrusted(third)
    assert not one.proved
    assert other.joiner_file is None


def test_an_inviter_who_does_not_know_the_code_is_seen_at_message_4() -> None:
    """A false inviter sends a fourth message although the third was wrong to it."""
    one, false = joiner(), inviter("Mallory", code=WRONG)
    third = _some(one.receive_untrusted(_some(false.receive_untrusted(one.first()))))
    handshake = false._finished()
    symmetric = handshake._symmetric
    symmetric.mix_key_and_hash(next(handshake._unused_psks))
    handshake._mix_ephemeral(third[:32])
    symmetric.mix_hash(third[32:])
    handshake._remote["e"], handshake._position = third[:32], 1

    with pytest.raises(AuthenticationError):
        one.receive_untrusted(handshake.write_message(b""))
    assert not one.proved
    with pytest.raises(LocalProtocolError):
        _ = one.inviter_key


def test_row_9_a_thousand_guesses_reach_one_run_of_the_exchange() -> None:
    side = inviter()
    guess = joiner("Mallory", code=WRONG)
    first = guess.first()
    answers = []
    for _ in range(1_000):
        try:
            answers.append(side.receive_untrusted(first))
        except RemoteError:
            continue

    assert len(answers) == 1
    # And the one guess is over too: it was answered out of turn.
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        side.receive_untrusted(_some(guess.receive_untrusted(_some(answers[0]))))


def test_row_9_nothing_in_the_clear_depends_on_the_words_but_the_masked_points() -> None:
    """The offer names the number; who hears both messages has no locator of the secret."""
    one = encode(JoinOffer(versions=(1,), number=7, pake=bytes(33)))
    same = joiner().first()
    other = joiner(code=WRONG).first()

    assert same[:-33] == other[:-33] == one[:-33]
    assert same[-33:] != other[-33:]


# In the middle ----------------------------------------------------------------------------------


def _some(message: bytes | None) -> bytes:
    assert message is not None
    return message


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
        third = bob.receive_untrusted(_some(false_alice.receive_untrusted(bob.first())))
        with pytest.raises(AuthenticationError):
            false_alice.receive_untrusted(_some(third))
        third = false_bob.receive_untrusted(_some(alice.receive_untrusted(false_bob.first())))
        with pytest.raises(AuthenticationError):
            alice.receive_untrusted(_some(third))


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
    third = one.receive_untrusted(_some(other.receive_untrusted(one.first())))
    other.receive_untrusted(
        _some(one.receive_untrusted(_some(other.receive_untrusted(_some(third)))))
    )


# Messages out of turn, changed, cut and long ----------------------------------------------------


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
        third = _some(side.receive_untrusted(earlier.messages[1]))
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


# Offers and answers -----------------------------------------------------------------------------


def _offer(**changes: Any) -> bytes:
    offer = msgspec.msgpack.decode(joiner().first(), type=JoinOffer)
    return encode(msgspec.structs.replace(offer, **changes))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"number": 8}, RemoteProtocolError),
        ({"number": 0}, EncodingError),
        ({"number": 10_000}, EncodingError),
        ({"versions": ()}, EncodingError),
        ({"versions": (0, 1)}, EncodingError),
        ({"versions": (1, 1)}, EncodingError),
        ({"versions": (2, 1)}, EncodingError),
        ({"versions": tuple(range(1, 18))}, EncodingError),
        ({"versions": (2,)}, UnsupportedError),
        ({"pake": b"A" + bytes(31)}, EncodingError),
        ({"pake": b"A" + NEUTRAL}, AuthenticationError),
        ({"pake": b"A" + NEUTRAL[:-1] + b"\x80"}, AuthenticationError),
        ({"pake": b"A" + bytes(32)}, AuthenticationError),
        ({"pake": b"A" + b"\xff" * 32}, AuthenticationError),
    ],
)
def test_an_offer_that_breaks_a_rule_is_refused_unanswered(
    changes: dict[str, Any], error: type[RemoteError]
) -> None:
    side = inviter()

    with pytest.raises(error):
        side.receive_untrusted(_offer(**changes))


def test_an_offer_of_further_versions_is_answered_with_the_highest_common_one() -> None:
    answer = _some(inviter().receive_untrusted(_offer(versions=(1, 2, 255))))

    assert msgspec.msgpack.decode(answer, type=JoinAnswer).version == 1


def test_an_offer_edited_on_the_way_fails_though_it_says_the_same() -> None:
    """Both clear messages are in the prologue, so that no downgrade passes."""
    one, other = joiner(), inviter()
    one.first()
    third = one.receive_untrusted(_some(other.receive_untrusted(_offer(versions=(1, 2)))))

    with pytest.raises(AuthenticationError):
        other.receive_untrusted(_some(third))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"version": 2}, UnsupportedError),
        ({"version": 0}, EncodingError),
        ({"pake": b"B" + bytes(33)}, EncodingError),
        ({"pake": b"B" + NEUTRAL}, AuthenticationError),
    ],
)
def test_an_answer_that_breaks_a_rule_is_refused(
    changes: dict[str, Any], error: type[RemoteError]
) -> None:
    pair = played(2)
    answer = msgspec.msgpack.decode(pair.messages[-1], type=JoinAnswer)

    with pytest.raises(error):
        pair.joiner.receive_untrusted(encode(msgspec.structs.replace(answer, **changes)))


@pytest.mark.parametrize("side_byte", [b"A", b"B", b"S", b"\x00"])
def test_row_10_a_reflected_point_is_refused_whatever_side_it_claims(side_byte: bytes) -> None:
    one = joiner()
    own = msgspec.msgpack.decode(one.first(), type=JoinOffer).pake

    with pytest.raises(AuthenticationError):
        one.receive_untrusted(encode(JoinAnswer(version=1, pake=side_byte + own[1:])))


# A member of the handshake who knows the code, and lies -----------------------------------------


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
        answer = _some(other.receive_untrusted(offer))
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
    liar.handshake.read_message_untrusted(_some(fourth))

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
    liar.handshake.read_message_untrusted(_some(fourth))

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
    third = one.receive_untrusted(_some(other.receive_untrusted(one.first())))
    fourth = other.receive_untrusted(_some(third))

    with pytest.raises(AuthenticationError):
        one.receive_untrusted(_some(fourth))


# Secrets ----------------------------------------------------------------------------------------


def test_no_repr_and_no_error_shows_the_code_or_a_key() -> None:
    pair = played(3)
    shown = [repr(pair.joiner), repr(pair.inviter), repr(pair.joiner._started)]
    try:
        inviter(code=WRONG).receive_untrusted(pair.messages[-1])
    except SafelightError as error:
        shown += [str(error), error.hint, repr(error)]

    assert shown[:3] == ["Joiner(number=7)", "Inviter(number=7)", "Spake2()"]
    assert not any(word in text for text in shown for word in (*CODE.words, *WRONG.words))


def test_a_verdict_that_is_neither_is_refused() -> None:
    pair = played(5)
    pair.inviter.receive_untrusted(pair.messages[-1])
    strange: Any = JoinAnswer(version=1, pake=bytes(33))

    with pytest.raises(EncodingError):
        pair.joiner.receive_untrusted(pair.inviter._decide(strange))
