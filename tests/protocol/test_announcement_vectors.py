"""Known answers of announcements, and the example of their specification."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.announcement import Announcement, announcement_tag, parse_announcement_untrusted
from protocol.errors import RemoteError
from tests.protocol.announcement_examples import PATH, examples, make
from tests.protocol.spec_examples import printed

VECTORS = json.loads(PATH.read_text())


def parsed(values: dict[str, str | None]) -> Announcement:
    """Read what a vector announces."""
    return parse_announcement_untrusted(
        {key.encode(): None if value is None else value.encode() for key, value in values.items()}
    )


def test_the_product_still_makes_the_committed_vectors() -> None:
    assert make() == VECTORS


def test_the_tag_is_that_of_key_nonce_and_port() -> None:
    nonce = bytes.fromhex(VECTORS["nonce"])
    key = bytes.fromhex(VECTORS["agreement_key"])
    tag = announcement_tag(key, nonce=nonce, port=VECTORS["port"])

    assert tag.hex() == VECTORS["tag"]
    for name, invitation in (("without_invitation", None), ("with_invitation_7", 7)):
        expected = Announcement(nonce=nonce, tag=tag, invitation=invitation)

        assert parsed(VECTORS[name]) == expected


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: str(case["name"]))
def test_what_must_be_refused_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteError) as caught:
        parsed(case["values"])
    assert caught.value.code == case["expect"]


def test_the_specification_prints_what_the_code_makes() -> None:
    assert printed("announcement.md") == examples()
