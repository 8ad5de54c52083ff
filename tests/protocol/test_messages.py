"""Node-to-node messages: each goes and comes back, and nothing else is one."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import messages
from protocol.encoding import encode
from protocol.errors import EncodingError, LimitError, Reason, RemoteError
from protocol.limits import ANSWER_BYTES, MAX_BODY_BYTES, MAX_PROOF_HASHES
from protocol.messages import (
    Answer,
    Count,
    DeliverStatement,
    Denied,
    Done,
    FetchHead,
    Hello,
    Message,
    OpenRequest,
    Released,
    Request,
    Streamed,
    decode_answer_untrusted,
    decode_padded_untrusted,
    decode_request_untrusted,
    encode_message,
    encode_padded,
)

REQUESTS: tuple[type[Message], ...] = get_args(Request)
ANSWERS: tuple[type[Message], ...] = get_args(Answer)
counts = st.integers(0, 2**53 - 1)


def any_of(kinds: tuple[type[Message], ...]) -> st.SearchStrategy[Any]:
    """Return a strategy of every message of these kinds."""
    return st.one_of(
        [
            st.builds(
                kind,
                **{
                    field.name: counts
                    for field in msgspec.structs.fields(kind)
                    if field.type == Count
                },
            )
            for kind in kinds
        ]
    )


RELEASED = Released(
    issuer_share=bytes(32),
    entry=b"{}",
    index=7,
    proof=(bytes(32), bytes([1]) * 32),
    checkpoint=b"note",
    opens_left=3,
)


def test_every_message_is_a_request_or_an_answer_and_not_both() -> None:
    every = {
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, Message) and value is not Message
    }

    assert set(REQUESTS) | set(ANSWERS) == every
    assert not set(REQUESTS) & set(ANSWERS)


def test_every_message_has_a_tag_of_its_own() -> None:
    tags = [kind.__struct_config__.tag for kind in (*REQUESTS, *ANSWERS)]

    assert len(set(tags)) == len(tags)
    assert {kind.__struct_config__.tag_field for kind in (*REQUESTS, *ANSWERS)} == {"kind"}


def test_the_bytes_of_a_request_name_it_first() -> None:
    assert encode_message(FetchHead(from_size=5)) == (
        b"\x83\xa4kind\xaahead.fetch\xa9from_size\x05\xa7to_size\x00"
    )


@given(any_of(REQUESTS))
def test_every_request_comes_back(request_sent: Request) -> None:
    assert decode_request_untrusted(encode_message(request_sent)) == request_sent


@given(any_of(ANSWERS))
def test_every_answer_comes_back(answer: Answer) -> None:
    assert decode_answer_untrusted(encode_message(answer)) == answer


@given(any_of(REQUESTS + ANSWERS))
def test_an_answer_is_no_request_and_a_request_no_answer(message: Message) -> None:
    wrong = decode_answer_untrusted if type(message) in REQUESTS else decode_request_untrusted

    with pytest.raises(EncodingError):
        wrong(encode_message(message))


@given(st.binary(max_size=60))
def test_bytes_of_a_stranger_raise_nothing_but_an_encoding_error(data: bytes) -> None:
    for decode in (decode_request_untrusted, decode_answer_untrusted, decode_padded_untrusted):
        with pytest.raises(EncodingError):
            decode(data)


@pytest.mark.parametrize(
    "body",
    [
        encode(OpenRequest(signed=b"x")) + b"\x00",
        encode(OpenRequest(signed=b"x")).replace(b"\xc4\x01x", b"\xc5\x00\x01x"),
        b"\x83" + encode(OpenRequest(signed=b"x"))[1:] + b"\xa6signed\xc4\x01x",
        b"\x83" + encode(OpenRequest(signed=b"x"))[1:] + b"\xa5extra\x01",
        encode(OpenRequest(signed=b"x")).replace(b"\xa4open", b"\xa4oben"),
        encode(OpenRequest(signed=b"x")).replace(b"\xa4kind", b"\xa4type"),
        encode(FetchHead(from_size=5)).replace(b"\x05", b"\xcc\x05"),
        b"\x81\xa4kind\xa4open",
        b"\x80",
        b"\xc0",
        b"",
    ],
)
def test_only_the_one_encoding_of_a_request_is_read(body: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_request_untrusted(body)


@pytest.mark.parametrize("count", [-1, 2**53, 2**64 - 1])
def test_a_count_out_of_bounds_is_refused(count: int) -> None:
    with pytest.raises(EncodingError):
        decode_request_untrusted(encode(FetchHead(from_size=count)))


def test_a_body_over_the_limit_is_not_looked_at() -> None:
    fits = MAX_BODY_BYTES - len(encode(OpenRequest(signed=bytes(50_000)))) + 50_000

    assert decode_request_untrusted(encode(OpenRequest(signed=bytes(fits))))
    with pytest.raises(EncodingError):
        decode_request_untrusted(encode(OpenRequest(signed=bytes(fits + 1))))
    with pytest.raises(EncodingError):
        decode_answer_untrusted(bytes(MAX_BODY_BYTES + 1))


# Answers to an open ------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [RELEASED, *(Denied(reason=reason) for reason in Reason)])
def test_every_answer_to_an_open_has_one_length(answer: Released | Denied) -> None:
    padded = encode_padded(answer)

    assert len(padded) == ANSWER_BYTES
    assert decode_padded_untrusted(padded) == answer


def test_the_longest_release_fits() -> None:
    longest = msgspec.structs.replace(
        RELEASED,
        entry=bytes(1000),
        proof=(bytes(32),) * MAX_PROOF_HASHES,
        checkpoint=bytes(500),
        index=2**53 - 1,
        opens_left=2**53 - 1,
    )

    assert decode_padded_untrusted(encode_padded(longest)) == longest


def test_an_answer_fills_its_size_and_no_more() -> None:
    fits = ANSWER_BYTES - 2 - len(encode(msgspec.structs.replace(RELEASED, entry=bytes(1000))))
    full = msgspec.structs.replace(RELEASED, entry=bytes(1000 + fits))

    assert decode_padded_untrusted(encode_padded(full)) == full
    with pytest.raises(LimitError):
        encode_padded(msgspec.structs.replace(RELEASED, entry=bytes(1001 + fits)))


def padded(length: int, body: bytes, size: int = ANSWER_BYTES) -> bytes:
    return (length.to_bytes(2, "big") + body).ljust(size, b"\x00")


BODY = encode(Denied(reason="expired"))
WRONG_PADDING = {
    "nothing": b"",
    "one byte": b"\x00",
    "no padding": padded(len(BODY), BODY, size=0),
    "a byte short": padded(len(BODY), BODY, size=ANSWER_BYTES - 1),
    "a byte long": padded(len(BODY), BODY, size=ANSWER_BYTES + 1),
    "last byte set": padded(len(BODY), BODY)[:-1] + b"\x01",
    "first padding byte set": padded(len(BODY), BODY + b"\x01"),
    "length a byte short": padded(len(BODY) - 1, BODY),
    "length a byte long": padded(len(BODY) + 1, BODY),
    "length of everything": padded(ANSWER_BYTES - 2, BODY),
    "length over everything": padded(ANSWER_BYTES - 1, BODY),
    "largest length": padded(65_535, BODY),
    "no length": padded(0, BODY),
    "all zero": bytes(ANSWER_BYTES),
    "answer to something else": padded(len(encode(Done())), encode(Done())),
    "stream": padded(len(encode(Streamed(length=1))), encode(Streamed(length=1))),
    "request": padded(len(encode(OpenRequest(signed=b""))), encode(OpenRequest(signed=b""))),
}


@pytest.mark.parametrize("data", WRONG_PADDING.values(), ids=WRONG_PADDING)
def test_an_answer_padded_otherwise_is_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_padded_untrusted(data)


@given(st.integers(0, ANSWER_BYTES - 1), st.integers(1, 255))
def test_a_changed_byte_of_a_padded_answer_gives_another_one_or_none(at: int, change: int) -> None:
    data = bytearray(encode_padded(RELEASED))
    data[at] ^= change
    try:
        answer = decode_padded_untrusted(bytes(data))
    except RemoteError:
        return

    assert answer != RELEASED


def test_a_message_is_a_value() -> None:
    hello = Hello(roster_version=1, roster_hash=bytes(32), my_head=b"", your_head=b"", log_keys=0)
    statement = DeliverStatement(statement="receipt", signed=b"")

    assert hello == Hello(
        roster_version=1, roster_hash=bytes(32), my_head=b"", your_head=b"", log_keys=0
    )
    with pytest.raises(AttributeError):
        statement.signed = b"other"  # type: ignore[misc]


def test_a_release_does_not_show_the_share() -> None:
    shown = repr(msgspec.structs.replace(RELEASED, issuer_share=b"share" + bytes(27)))

    assert "share" not in shown
    assert "opens_left=3" in shown
