"""The known answers of sealing to a person, and the specification that shows them."""

from __future__ import annotations

import json

import pytest

from protocol.errors import RemoteError
from protocol.noise.one_way import open_from_untrusted
from tests.protocol.noise.sealed_examples import (
    END,
    PROLOGUE,
    RECIPIENT,
    SPECIFICATION,
    START,
    VECTORS,
    make_vectors,
    print_example,
)

STORED = json.loads(VECTORS.read_text())


def test_the_code_still_gives_the_stored_answers() -> None:
    assert make_vectors() == STORED


def test_the_example_of_the_specification_is_the_stored_one() -> None:
    document = SPECIFICATION.read_text()

    assert document.split(START)[1].split(END)[0] == print_example(STORED)


@pytest.mark.parametrize("case", STORED["cases"], ids=lambda case: case["name"])
def test_sealed_messages_open_as_the_vectors_say(case: dict[str, str]) -> None:
    sealed = bytes.fromhex(case["sealed"])
    if case["expect"] == "opens":
        sender, _plaintext = open_from_untrusted(
            recipient_secret=RECIPIENT, prologue=PROLOGUE, sealed=sealed
        )
        assert sender.hex() == STORED["sender_public"]
    else:
        with pytest.raises(RemoteError) as caught:
            open_from_untrusted(recipient_secret=RECIPIENT, prologue=PROLOGUE, sealed=sealed)
        assert caught.value.code == case["expect"]
