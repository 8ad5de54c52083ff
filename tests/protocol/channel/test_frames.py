from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.channel.frames import (
    CHANNEL_FRAMES,
    DATA_BYTES,
    HEADER_BYTES,
    Frame,
    FrameType,
    pack_credit,
    pack_frame,
    parse_credit_untrusted,
    parse_frame_untrusted,
    parse_refusal_untrusted,
)
from protocol.errors import Reason, RemoteProtocolError
from protocol.limits import MAX_BODY_BYTES, STREAM_WINDOW_BYTES

BOUNDS = {
    FrameType.REQUEST: (0, MAX_BODY_BYTES),
    FrameType.ANSWER: (0, MAX_BODY_BYTES),
    FrameType.ANSWER_STREAM: (0, MAX_BODY_BYTES),
    FrameType.REFUSAL: (1, 10),
    FrameType.DATA: (1, 65_514),
    FrameType.END: (0, 0),
    FrameType.RESET: (0, 0),
    FrameType.CANCEL: (0, 0),
    FrameType.CREDIT: (4, 4),
    FrameType.PING: (0, 0),
    FrameType.CLOSE: (1, 32),
}


def _id(kind: FrameType) -> int:
    return 0 if kind in CHANNEL_FRAMES else 7


def test_the_layout_is_type_id_payload() -> None:
    assert pack_frame(FrameType.ANSWER, 0x01020304, b"body") == b"\x02\x01\x02\x03\x04body"


@pytest.mark.parametrize("kind", FrameType)
def test_payloads_keep_the_bounds_of_their_type(kind: FrameType) -> None:
    least, most = BOUNDS[kind]
    for size in (least, most):
        payload = bytes(size)
        packed = pack_frame(kind, _id(kind), payload)

        assert parse_frame_untrusted(packed) == Frame(kind, _id(kind), payload)
    for size in (least - 1, most + 1):
        if size >= 0:
            with pytest.raises(RemoteProtocolError, match="bounds"):
                parse_frame_untrusted(pack_frame(kind, _id(kind), bytes(size)))


@pytest.mark.parametrize("kind", FrameType)
def test_only_frames_about_the_channel_have_request_id_zero(kind: FrameType) -> None:
    wrong = 7 - _id(kind)

    with pytest.raises(RemoteProtocolError, match="request id"):
        parse_frame_untrusted(pack_frame(kind, wrong, bytes(BOUNDS[kind][0])))


@pytest.mark.parametrize("code", [0, 12, 255])
def test_an_unknown_type_is_refused(code: int) -> None:
    with pytest.raises(RemoteProtocolError, match="unknown"):
        parse_frame_untrusted(bytes([code, 0, 0, 0, 1]))


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_a_frame_cut_inside_its_header_is_refused(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match="header"):
        parse_frame_untrusted(pack_frame(FrameType.PING, 0)[:length])


def test_a_full_data_frame_fills_a_noise_message() -> None:
    assert len(pack_frame(FrameType.DATA, 1, bytes(DATA_BYTES))) + 16 == 65_535


def test_credit_is_one_byte_to_one_window() -> None:
    for amount in (1, STREAM_WINDOW_BYTES):
        assert parse_credit_untrusted(pack_credit(amount)) == amount
    for amount in (0, STREAM_WINDOW_BYTES + 1, 2**32 - 1):
        with pytest.raises(RemoteProtocolError):
            parse_credit_untrusted(pack_credit(amount))


@pytest.mark.parametrize("payload", [b"Expired", b"\xff", b"x", b" expired", b"expired\n"])
def test_a_refusal_names_a_known_reason(payload: bytes) -> None:
    assert parse_refusal_untrusted(b"expired") is Reason.EXPIRED
    with pytest.raises(RemoteProtocolError):
        parse_refusal_untrusted(payload)


@given(plaintext=st.binary(max_size=64))
def test_random_bytes_are_a_frame_in_one_spelling_or_a_remote_error(plaintext: bytes) -> None:
    try:
        frame = parse_frame_untrusted(plaintext)
    except RemoteProtocolError:
        return

    assert pack_frame(*frame) == plaintext
