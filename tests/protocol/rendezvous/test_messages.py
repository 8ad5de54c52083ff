"""Messages of a rendezvous: each side reads what the other may write, and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import EncodingError, RemoteError
from protocol.limits import MAX_ADMISSION_BYTES, MAX_MAIL_BYTES
from protocol.messages import Done, Hello, Message, encode_message
from protocol.rendezvous.messages import (
    NO_CALLER,
    Admit,
    Admitted,
    Attend,
    Attending,
    Call,
    Circuit,
    Claim,
    CloseSlot,
    Collect,
    Collected,
    Deposit,
    JoinSlot,
    Mails,
    MailWaiting,
    OpenSlot,
    Present,
    Ring,
    Slot,
    decode_node_answer_untrusted,
    decode_node_request_untrusted,
    decode_server_answer_untrusted,
    decode_server_request_untrusted,
)

KEY, TOKEN, SESSION = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 16
CLAIM = Claim(secret="one-time", admission=b"admission")
DEPOSIT = Deposit(recipient=KEY, mail_id=bytes(16), expires_at=1, sealed=b"sealed")
RING = Ring(caller=NO_CALLER, token=TOKEN, session=SESSION, slot=7)
CIRCUIT = Circuit(token=TOKEN, session=SESSION)

WRITTEN: dict[Callable[[bytes], Message], list[Message]] = {
    decode_node_request_untrusted: [
        CLAIM,
        Admit(admission=b"admission"),
        Attend(team_id=bytes(32)),
        Call(key=KEY),
        OpenSlot(),
        CloseSlot(number=7),
        JoinSlot(number=7),
        DEPOSIT,
        Collect(after=0),
        Collected(numbers=(1, 2)),
    ],
    decode_server_answer_untrusted: [
        Done(),
        Admitted(version=2, missing=1),
        Attending(version=2, online=(KEY,)),
        CIRCUIT,
        Slot(number=7, expires_at=1),
        Mails(mails=((1, b"sealed"),), more=False),
    ],
    decode_server_request_untrusted: [RING, Present(key=KEY, online=True), MailWaiting()],
    decode_node_answer_untrusted: [Done()],
}
EVERY = {type(message): message for messages in WRITTEN.values() for message in messages}
CASES = [(decoder, message) for decoder in WRITTEN for message in EVERY.values()]


@pytest.mark.parametrize(
    ("decoder", "message"), CASES, ids=lambda one: getattr(one, "__name__", type(one).__name__)
)
def test_each_side_reads_what_the_other_may_write_and_nothing_else(
    decoder: Callable[[bytes], Message], message: Message
) -> None:
    body = encode_message(message)
    if message in WRITTEN[decoder]:
        assert decoder(body) == message
    else:
        with pytest.raises(EncodingError):
            decoder(body)


@pytest.mark.parametrize("decoder", WRITTEN)
def test_messages_between_nodes_are_none_of_a_rendezvous(
    decoder: Callable[[bytes], Message],
) -> None:
    hello = Hello(roster_version=1, roster_hash=KEY, my_head=b"", your_head=b"", log_keys=0)

    with pytest.raises(EncodingError):
        decoder(encode_message(hello))


OUT_OF_BOUNDS: list[tuple[Message, dict[str, Any]]] = [
    (CLAIM, {"secret": ""}),
    (CLAIM, {"secret": "x" * 65}),
    (CLAIM, {"admission": bytes(MAX_ADMISSION_BYTES + 1)}),
    (Admit(admission=b""), {"admission": bytes(MAX_ADMISSION_BYTES + 1)}),
    (Attend(team_id=bytes(32)), {"team_id": bytes(31)}),
    (Call(key=KEY), {"key": KEY[1:]}),
    (CloseSlot(number=7), {"number": 0}),
    (JoinSlot(number=7), {"number": 10_000}),
    (DEPOSIT, {"recipient": KEY + b"\x00"}),
    (DEPOSIT, {"mail_id": bytes(15)}),
    (DEPOSIT, {"expires_at": -1}),
    (DEPOSIT, {"sealed": bytes(MAX_MAIL_BYTES + 1)}),
    (Collect(after=0), {"after": -1}),
    (Collected(numbers=(1,)), {"numbers": ()}),
    (Collected(numbers=(1,)), {"numbers": (1,) * 257}),
    (CIRCUIT, {"token": TOKEN[1:]}),
    (CIRCUIT, {"session": b""}),
    (CIRCUIT, {"session": bytes(65)}),
    (Slot(number=7, expires_at=1), {"number": 0}),
    (Attending(version=1, online=()), {"online": (KEY,) * 501}),
    (Mails(mails=(), more=False), {"mails": ((1, b""),) * 257}),
    (RING, {"caller": b""}),
    (RING, {"slot": 10_000}),
    (RING, {"slot": -1}),
    (Present(key=KEY, online=True), {"key": b""}),
]


@pytest.mark.parametrize(("message", "changes"), OUT_OF_BOUNDS)
def test_a_value_out_of_bounds_is_refused(message: Message, changes: dict[str, Any]) -> None:
    decoder = next(one for one, messages in WRITTEN.items() if type(message) in map(type, messages))
    decoder(encode_message(message))

    with pytest.raises(EncodingError):
        decoder(encode_message(msgspec.structs.replace(message, **changes)))


@pytest.mark.parametrize("decoder", WRITTEN)
@given(body=st.binary(max_size=200))
def test_random_bytes_raise_remote_errors_only(
    decoder: Callable[[bytes], Message], body: bytes
) -> None:
    with pytest.raises(RemoteError):
        decoder(body)


def test_no_repr_shows_what_admits_somebody() -> None:
    assert repr(CLAIM) == "Claim()"
    assert repr(CIRCUIT) == f"Circuit(session={SESSION.hex()})"
    assert repr(RING) == f"Ring(caller={NO_CALLER.hex()}, session={SESSION.hex()}, slot=7)"
