"""Known answers of admissions, and the examples of the rendezvous' specification."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.errors import RemoteError
from protocol.rendezvous.address import parse_rendezvous_address
from protocol.rendezvous.admission import Admission, check_admission_untrusted
from tests.protocol.rendezvous.make_vectors import PATH, examples, make
from tests.protocol.spec_examples import printed

VECTORS = json.loads(PATH.read_text())


def in_force() -> Admission:
    """Return the admission that the others follow."""
    return check_admission_untrusted(bytes.fromhex(VECTORS["in_force"]), None)[0]


def test_the_product_still_makes_the_committed_vectors() -> None:
    assert make() == VECTORS


def test_the_first_admission_is_in_force() -> None:
    assert check_admission_untrusted(bytes.fromhex(VECTORS["in_force"]), None)[1] == 0


def test_the_address_has_the_key() -> None:
    address = VECTORS["address"]

    assert parse_rendezvous_address(address["text"]).key.hex() == address["key"]


@pytest.mark.parametrize("case", VECTORS["then"], ids=lambda case: str(case["name"]))
def test_what_follows_lacks_as_many_signatures_as_the_vectors_say(case: dict[str, Any]) -> None:
    _admission, missing = check_admission_untrusted(bytes.fromhex(case["signed"]), in_force())

    assert missing == case["missing"]


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: str(case["name"]))
def test_what_must_be_refused_is_refused_for_its_reason(case: dict[str, str]) -> None:
    with pytest.raises(RemoteError) as caught:
        check_admission_untrusted(bytes.fromhex(case["signed"]), in_force())
    assert caught.value.code == case["expect"]


def test_the_specification_prints_what_the_code_makes() -> None:
    assert printed("rendezvous.md") == examples()
