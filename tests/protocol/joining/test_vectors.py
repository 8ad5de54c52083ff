"""Known answers of joining by code, and the examples of its specification."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.errors import SafelightError
from tests.protocol.joining.make_vectors import PATH, VERDICT, examples, make, pair
from tests.protocol.spec_examples import printed

VECTORS = json.loads(PATH.read_text())


def test_the_product_still_makes_the_committed_vectors() -> None:
    assert make() == VECTORS


def test_the_messages_lead_to_a_member_and_to_the_same_words() -> None:
    sides = pair(1)
    for number, message in enumerate(VECTORS["messages"], start=1):
        side = sides.inviter if number % 2 == 1 else sides.joiner
        answer = side.receive_untrusted(bytes.fromhex(message))
        if number == 5:
            answer = sides.inviter.accept(VERDICT)

        following = VECTORS["messages"][number:] or [""]

        assert (answer or b"").hex() == following[0]

    assert sides.joiner.accepted == VERDICT
    assert " ".join(sides.joiner.words) == " ".join(sides.inviter.words) == VECTORS["words"]


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: str(case["name"]))
def test_what_must_be_refused_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    sides = pair(case["message"])
    side = sides.inviter if case["message"] % 2 == 1 else sides.joiner

    with pytest.raises(SafelightError) as caught:
        side.receive_untrusted(bytes.fromhex(case["data"]))
    assert caught.value.code == case["expect"]


def test_the_specification_prints_what_the_code_makes() -> None:
    assert printed("joining.md") == examples()
