"""The known answers of the channel, and the specification that shows them."""

from __future__ import annotations

import json

import pytest

from protocol.channel.frames import pack_frame, parse_frame_untrusted
from protocol.channel.offer import CHANNEL_VERSION, decode_offer_untrusted, encode_offer
from protocol.errors import RemoteError
from tests.protocol.channel.examples import (
    END,
    SPECIFICATION,
    START,
    VECTORS,
    make_vectors,
    print_example,
)

STORED = json.loads(VECTORS.read_text())


def test_the_code_still_gives_the_stored_answers() -> None:
    assert make_vectors() == STORED


def test_the_example_of_the_specification_is_the_stored_transcript() -> None:
    document = SPECIFICATION.read_text()

    assert document.split(START)[1].split(END)[0] == print_example(STORED["transcript"])


def test_the_specification_and_the_code_name_the_same_version() -> None:
    first_line = SPECIFICATION.read_text().splitlines()[0]

    assert first_line == f"# Safelight channel, version {CHANNEL_VERSION}"


@pytest.mark.parametrize("case", STORED["offers"], ids=lambda case: case["name"])
def test_offers_are_read_as_the_vectors_say(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["data"])
    if case["expect"] == "accept":
        assert encode_offer(decode_offer_untrusted(data)) == data
    else:
        with pytest.raises(RemoteError) as caught:
            decode_offer_untrusted(data)
        assert caught.value.code == case["expect"]


@pytest.mark.parametrize("case", STORED["frames"], ids=lambda case: case["name"])
def test_frames_are_read_as_the_vectors_say(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["data"])
    if case["expect"] == "accept":
        assert pack_frame(*parse_frame_untrusted(data)) == data
    else:
        with pytest.raises(RemoteError) as caught:
            parse_frame_untrusted(data)
        assert caught.value.code == case["expect"]
