"""Opening a channel, and everything that must keep one from opening."""

from __future__ import annotations

import pytest

from protocol.channel.connection import Connection
from protocol.channel.events import ConnectionClosed, Established
from protocol.channel.offer import Offer, encode_offer
from protocol.channel.states import Role, State
from protocol.encoding import encode
from protocol.errors import AuthenticationError, LocalError, LocalProtocolError
from protocol.limits import HANDSHAKE_TIMEOUT_MS, MAX_OFFER_BYTES
from protocol.noise.handshake_state import HandshakeState
from protocol.primitives import x25519_public
from tests.protocol.channel.pair import (
    INITIATOR_SECRET,
    RESPONDER_SECRET,
    Pair,
    closed,
    deliver,
    drain,
    make_initiator,
    make_responder,
)
from tests.protocol.noise.low_order import LOW_ORDER

OTHER_SECRET = bytes([3]) * 32
OTHER_TEAM = bytes([8]) * 32
RELAYED = Offer(transport="relay", relay_session=b"circuit 1")


def _flip(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


def _captured() -> tuple[list[bytes], list[bytes]]:
    """Return what each side of an honest handshake sent."""
    initiator, responder = make_initiator(), make_responder()
    from_initiator = initiator.data_to_send()
    for message in from_initiator:
        responder.receive_data(message, now=0)
    from_responder = responder.data_to_send()
    initiator.receive_data(from_responder[0], now=0)
    return from_initiator + initiator.data_to_send(), from_responder


def test_both_sides_agree_on_keys_hash_and_version() -> None:
    initiator, responder = Pair().established

    assert isinstance(initiator, Established)
    assert isinstance(responder, Established)
    assert initiator.remote_static == x25519_public(RESPONDER_SECRET)
    assert responder.remote_static == x25519_public(INITIATOR_SECRET)
    assert initiator.handshake_hash == responder.handshake_hash
    assert initiator.version == responder.version == 1


def test_an_open_channel_says_what_it_is() -> None:
    pair = Pair()

    assert pair.initiator.state is State.OPEN
    assert pair.initiator.remote_static == x25519_public(RESPONDER_SECRET)
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash
    assert len(pair.initiator.handshake_hash) == 64
    assert repr(pair.initiator) == "Connection(open)"


def test_what_a_channel_is_stays_known_after_it_closes() -> None:
    pair = Pair()
    before = pair.initiator.handshake_hash
    pair.initiator.close()

    assert pair.initiator.handshake_hash == before


def test_nothing_is_known_and_nothing_may_pass_before_both_sides_have_proved_themselves() -> None:
    initiator = make_initiator()

    with pytest.raises(LocalProtocolError):
        _ = initiator.handshake_hash
    with pytest.raises(LocalProtocolError):
        _ = initiator.remote_static
    with pytest.raises(LocalProtocolError):
        initiator.send_request(b"")
    with pytest.raises(LocalProtocolError):
        initiator.send_answer(2, b"")
    with pytest.raises(LocalProtocolError):
        initiator.stream_credit(2)


def test_the_offer_goes_first_and_in_the_clear() -> None:
    offer, first = make_initiator().data_to_send()

    assert offer == encode_offer(Offer())
    assert len(first) == 48


def test_the_static_keys_never_pass_in_the_clear() -> None:
    sent = b"".join(message for side in _captured() for message in side)

    assert x25519_public(INITIATOR_SECRET) not in sent
    assert x25519_public(RESPONDER_SECRET) not in sent


def test_a_relayed_channel_opens_the_same_way() -> None:
    Pair(initiator=make_initiator(offer=RELAYED), responder=make_responder(offer=RELAYED))


@pytest.mark.parametrize(
    ("offered", "carried"),
    [
        (Offer(), RELAYED),
        (RELAYED, Offer()),
        (RELAYED, Offer(transport="relay", relay_session=b"circuit 2")),
    ],
)
def test_an_offer_for_another_transport_is_refused(offered: Offer, carried: Offer) -> None:
    initiator, responder = make_initiator(offer=offered), make_responder(offer=carried)
    deliver(initiator, responder)

    assert closed(responder).reason == "remote_protocol"
    assert responder.data_to_send() == []


def test_the_highest_common_version_is_chosen() -> None:
    pair = Pair(
        initiator=make_initiator(offer=Offer(versions=(1, 2, 3))),
        responder=make_responder(offer=Offer(versions=(2, 3, 9))),
    )

    assert [event.version for event in pair.established if isinstance(event, Established)] == [3, 3]


def test_no_common_version_closes() -> None:
    initiator = make_initiator(offer=Offer(versions=(1,)))
    responder = make_responder(offer=Offer(versions=(2,)))
    deliver(initiator, responder)

    assert closed(responder) == ConnectionClosed(
        reason="unsupported", remote=True, detail="no common version"
    )


def test_an_offer_edited_on_the_way_fails_at_the_first_message() -> None:
    initiator, responder = make_initiator(offer=Offer(versions=(1, 2))), make_responder()
    _offer, first = initiator.data_to_send()
    responder.receive_data(encode_offer(Offer(versions=(1,))), now=0)
    responder.receive_data(first, now=0)

    assert closed(responder).reason == "authentication"
    assert responder.data_to_send() == []


def test_a_version_that_was_not_offered_closes() -> None:
    initiator, responder = make_initiator(), make_responder()
    offer, first = initiator.data_to_send()
    responder.receive_data(offer, now=0)
    assert responder._handshake is not None
    responder._handshake._version = 2
    responder.receive_data(first, now=0)
    deliver(responder, initiator)

    assert closed(initiator).reason == "unsupported"


@pytest.mark.parametrize(
    "offer",
    [
        b"",
        b"\x80",
        b"\xff" * MAX_OFFER_BYTES,
        encode_offer(Offer()) + b"\x00",
        bytes(MAX_OFFER_BYTES + 1),
        encode(Offer(versions=())),
        encode(Offer(versions=(0,))),
        encode(Offer(versions=(256,))),
        encode(Offer(versions=(2, 1))),
        encode(Offer(versions=(1, 1))),
        encode(Offer(versions=tuple(range(1, 18)))),
        encode(Offer(transport="relay")),
        encode(Offer(relay_session=b"x")),
        encode(Offer(transport="relay", relay_session=bytes(65))),
    ],
)
def test_a_bad_offer_closes_and_is_not_answered(offer: bytes) -> None:
    responder = make_responder()
    responder.receive_data(offer, now=0)

    assert closed(responder).reason in {"encoding", "remote_protocol"}
    assert responder.data_to_send() == []


def test_a_bad_offer_of_our_own_is_a_local_error() -> None:
    with pytest.raises(LocalError, match="ascending"):
        make_initiator(offer=Offer(versions=()))


def test_keys_that_do_not_fit_the_role_are_local_errors() -> None:
    for role, remote_static in ((Role.INITIATOR, None), (Role.RESPONDER, bytes(32))):
        with pytest.raises(LocalError, match="initiator names"):
            Connection(
                role=role,
                static_secret=INITIATOR_SECRET,
                remote_static=remote_static,
                team_id=bytes(32),
                entropy=bytes,
                now=0,
            )
    with pytest.raises(LocalError, match="team_id"):
        make_initiator(team_id=b"short")
    with pytest.raises(LocalError, match="32 bytes"):
        make_responder(secret=b"short")
    with pytest.raises(LocalError, match="our own"):
        make_initiator(to=INITIATOR_SECRET)


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_low_order_points_close_without_a_crash(point: bytes) -> None:
    responder = make_responder()
    responder.receive_data(encode_offer(Offer()), now=0)
    responder.receive_data(point + bytes(16), now=0)
    initiator = make_initiator()
    initiator.receive_data(point + bytes(40), now=0)

    assert closed(responder).reason == "authentication"
    assert closed(initiator).reason == "authentication"
    with pytest.raises(AuthenticationError):
        Connection(
            role=Role.INITIATOR,
            static_secret=INITIATOR_SECRET,
            remote_static=point,
            team_id=bytes(32),
            entropy=bytes,
            now=0,
        )


@pytest.mark.parametrize("number", range(3))
def test_every_flipped_handshake_message_closes(number: int) -> None:
    initiator, responder = make_initiator(), make_responder()
    if number == 0:
        offer, first = initiator.data_to_send()
        responder.receive_data(offer, now=0)
        responder.receive_data(_flip(first), now=0)
    else:
        deliver(initiator, responder)
        deliver(responder, initiator, through=_flip if number == 1 else bytes)
        deliver(initiator, responder, through=_flip)
    victim = initiator if number == 1 else responder

    assert closed(victim).reason == "authentication"


def test_another_team_cannot_open_a_channel() -> None:
    initiator, responder = make_initiator(team_id=OTHER_TEAM), make_responder()
    deliver(initiator, responder)

    assert closed(responder).reason == "authentication"


def test_a_node_that_does_not_hold_the_key_cannot_answer() -> None:
    initiator, responder = make_initiator(to=RESPONDER_SECRET), make_responder(secret=OTHER_SECRET)
    deliver(initiator, responder)

    assert closed(responder).reason == "authentication"
    assert responder.data_to_send() == []


def test_a_node_cannot_open_a_channel_to_itself() -> None:
    initiator = make_initiator(secret=OTHER_SECRET)
    assert initiator._handshake is not None
    noise = initiator._handshake._noise
    noise._keys["s"] = (RESPONDER_SECRET, x25519_public(RESPONDER_SECRET))
    responder = make_responder()
    deliver(initiator, responder)
    deliver(responder, initiator)
    deliver(initiator, responder)

    assert closed(responder).reason == "authentication"


def test_a_thief_of_a_nodes_key_cannot_pose_to_that_node_as_another() -> None:
    claimed = x25519_public(INITIATOR_SECRET)
    for known in (RESPONDER_SECRET, OTHER_SECRET):
        initiator, responder = make_initiator(secret=OTHER_SECRET), make_responder()
        assert initiator._handshake is not None
        initiator._handshake._noise._keys["s"] = (known, claimed)
        deliver(initiator, responder)
        deliver(responder, initiator)
        deliver(initiator, responder)

        assert closed(responder).reason == "authentication"


def test_a_captured_handshake_replayed_to_the_same_node_or_another_opens_nothing() -> None:
    from_initiator, from_responder = _captured()
    for secret in (RESPONDER_SECRET, OTHER_SECRET):
        responder = make_responder(secret=secret)
        for message in from_initiator:
            responder.receive_data(message, now=0)

        assert closed(responder).reason == "authentication"
    for secret in (INITIATOR_SECRET, OTHER_SECRET):
        initiator = make_initiator(secret=secret)
        initiator.receive_data(from_responder[0], now=0)

        assert closed(initiator).reason == "authentication"


@pytest.mark.parametrize("number", range(3))
def test_one_captured_handshake_message_replaces_none_of_another_handshake(number: int) -> None:
    from_initiator, from_responder = _captured()
    captured = [from_initiator[1], from_responder[0], from_initiator[2]][number]
    initiator, responder = make_initiator(), make_responder()
    offer, first = initiator.data_to_send()
    responder.receive_data(offer, now=0)
    responder.receive_data(captured if number == 0 else first, now=0)
    deliver(responder, initiator, through=lambda message: captured if number == 1 else message)
    deliver(initiator, responder, through=lambda message: captured if number == 2 else message)
    ends = [event for side in (initiator, responder) for event in drain(side)]

    assert any(isinstance(event, ConnectionClosed) for event in ends)
    assert not any(
        isinstance(event, Established) and event.remote_static == x25519_public(INITIATOR_SECRET)
        for event in ends
    )


def test_messages_reflected_to_their_sender_close_the_channel() -> None:
    initiator = make_initiator()
    offer, first = initiator.data_to_send()
    for message in (offer, first):
        victim = make_initiator()
        victim.receive_data(message, now=0)

        assert closed(victim).remote
    pair = Pair()
    pair.initiator.send_request(b"question")
    for message in pair.initiator.data_to_send():
        pair.initiator.receive_data(message, now=0)

    assert closed(pair.initiator).reason == "authentication"


def test_a_handshake_message_with_a_payload_it_may_not_carry_closes() -> None:
    initiator, responder = make_initiator(), make_responder()
    assert initiator._handshake is not None
    noise: HandshakeState = initiator._handshake._begin(encode_offer(Offer()))
    responder.receive_data(encode_offer(Offer()), now=0)
    responder.receive_data(noise.write_message(b"payload"), now=0)

    assert closed(responder).reason == "remote_protocol"


def test_a_handshake_ends_after_five_seconds() -> None:
    for side in (make_initiator(now=1_000), make_responder(now=1_000)):
        deadline = 1_000 + HANDSHAKE_TIMEOUT_MS

        assert side.next_timer() == deadline
        side.handle_timer(now=deadline - 1)
        assert side.state is not State.CLOSED
        side.handle_timer(now=deadline)
        assert closed(side).reason == "handshake_timeout"
        assert side.next_timer() is None


def test_a_peer_that_trickles_gets_no_more_time() -> None:
    initiator, responder = make_initiator(), make_responder()
    offer, first = initiator.data_to_send()
    responder.receive_data(offer, now=4_000)
    responder.receive_data(first, now=4_900)

    assert responder.next_timer() == HANDSHAKE_TIMEOUT_MS


def test_the_keys_of_the_handshake_are_dropped_with_it() -> None:
    pair = Pair()
    waiting = make_initiator()
    waiting.close()

    assert pair.initiator._handshake is None
    assert pair.responder._handshake is None
    assert waiting._handshake is None


def test_closing_before_the_channel_is_open_says_nothing_to_the_peer() -> None:
    responder = make_responder()
    responder.close("shutting_down")

    assert closed(responder) == ConnectionClosed(reason="shutting_down", remote=False)
    assert responder.data_to_send() == []
