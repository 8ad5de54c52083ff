"""Known answers of mail, and the examples of its specification."""

from __future__ import annotations

import json

import pytest

from protocol.encoding import encode
from protocol.errors import SafelightError
from protocol.identity import Identity, parse_certificate_untrusted
from protocol.mail import MailBody, open_mail_untrusted
from tests.protocol.mail_examples import PATH, examples, make
from tests.protocol.people import person
from tests.protocol.spec_examples import printed

VECTORS = json.loads(PATH.read_text())
MEMBERS = [parse_certificate_untrusted(bytes.fromhex(one)) for one in VECTORS["members"]]


def opened(case: dict[str, str]) -> tuple[Identity, MailBody]:
    """Open a case as its recipient does."""
    return open_mail_untrusted(
        bytes.fromhex(case["sealed"]),
        recipient=person("Bob"),
        by_agreement={one.agreement_key: one for one in MEMBERS},
        team_id=bytes.fromhex(VECTORS["team_id"]),
        now=VECTORS["now"],
    )


def test_the_product_still_makes_the_committed_vectors() -> None:
    assert make() == VECTORS


def test_the_mail_says_what_was_written() -> None:
    sender, body = opened(VECTORS["cases"][0])

    assert sender == MEMBERS[0]
    assert encode(body).hex() == VECTORS["body"]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: str(case["name"]))
def test_each_case_ends_as_the_vectors_say(case: dict[str, str]) -> None:
    if case["expect"] == "opens":
        assert opened(case)[0] == MEMBERS[0]
        return
    with pytest.raises(SafelightError) as caught:
        opened(case)
    assert caught.value.code == case["expect"]


def test_the_specification_prints_what_the_code_makes() -> None:
    assert printed("mail.md") == examples()
