"""Joining by code: two honest people meet; a wrong code, a bad offer and a bad verdict join nobody.

Those who come between them stand in ``test_attackers``.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

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
from protocol.joining.session import Declined, JoinAnswer, Joiner, JoinOffer
from protocol.limits import MAX_ADDRESSES, MAX_JOINING_MESSAGE_BYTES
from protocol.rendezvous.address import RendezvousAddress
from tests.protocol.joining.sides import (
    CODE,
    WRONG,
    accepted,
    file_of,
    inviter,
    joiner,
    played,
    some,
)
from tests.protocol.people import person, stream

RENDEZVOUS = RendezvousAddress(host="meet.example", port=7412, key=bytes(range(32))).text
NEUTRAL = b"\x01" + bytes(31)
"""The neutral element of Ed25519."""


# Two honest people --------------------------------------------------------------------------------


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
    third = one.receive_untrusted(some(other.receive_untrusted(one.first())))
    fifth = some(one.receive_untrusted(some(other.receive_untrusted(some(third)))))
    other.receive_untrusted(fifth)
    one.receive_untrusted(other.accept(verdict))

    assert one.accepted == verdict
    assert len(fifth) <= MAX_JOINING_MESSAGE_BYTES


# Our own mistakes ---------------------------------------------------------------------------------


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


# Wrong codes --------------------------------------------------------------------------------------


def test_a_wrong_code_is_seen_by_the_inviter_at_message_3() -> None:
    one, other = joiner(code=WRONG), inviter()
    third = some(one.receive_untrusted(some(other.receive_untrusted(one.first()))))

    with pytest.raises(AuthenticationError):
        other.receive_untrusted(third)
    assert not one.proved
    assert other.joiner_file is None


def test_an_inviter_who_does_not_know_the_code_is_seen_at_message_4() -> None:
    """A false inviter sends a fourth message although the third was wrong to it."""
    one, false = joiner(), inviter("Mallory", code=WRONG)
    third = some(one.receive_untrusted(some(false.receive_untrusted(one.first()))))
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
        side.receive_untrusted(some(guess.receive_untrusted(some(answers[0]))))


def test_row_9_nothing_in_the_clear_depends_on_the_words_but_the_masked_points() -> None:
    """The offer names the number; who hears both messages has no locator of the secret."""
    one = encode(JoinOffer(versions=(1,), number=7, pake=bytes(33)))
    same = joiner().first()
    other = joiner(code=WRONG).first()

    assert same[:-33] == other[:-33] == one[:-33]
    assert same[-33:] != other[-33:]


# Offers and answers -------------------------------------------------------------------------------


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
    answer = some(inviter().receive_untrusted(_offer(versions=(1, 2, 255))))

    assert msgspec.msgpack.decode(answer, type=JoinAnswer).version == 1


def test_an_offer_edited_on_the_way_fails_though_it_says_the_same() -> None:
    """Both clear messages are in the prologue, so that no downgrade passes."""
    one, other = joiner(), inviter()
    one.first()
    third = one.receive_untrusted(some(other.receive_untrusted(_offer(versions=(1, 2)))))

    with pytest.raises(AuthenticationError):
        other.receive_untrusted(some(third))


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


# Secrets ------------------------------------------------------------------------------------------


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
