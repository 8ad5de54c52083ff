"""Known answers of rosters and WELCOME, and the examples of their specifications."""

from __future__ import annotations

import json

import pytest

from protocol.errors import RemoteError
from protocol.roster.changes import merge
from protocol.roster.trusted import TrustedRoster
from protocol.roster.welcome import open_welcome_untrusted
from tests.protocol.people import DAY, NOW, person
from tests.protocol.roster.make_vectors import PATH, make, roster_examples, welcome_examples
from tests.protocol.roster.simulator import envelope
from tests.protocol.spec_examples import printed

VECTORS = json.loads(PATH.read_text())


def trusted() -> TrustedRoster:
    """Return the roster that the vectors' versions lead to."""
    return TrustedRoster.load_untrusted(bytes.fromhex(one["signed"]) for one in VECTORS["versions"])


def test_the_product_still_makes_the_committed_vectors() -> None:
    assert make() == VECTORS


def test_the_versions_are_trusted_one_after_the_other() -> None:
    assert trusted().version == 2
    assert trusted().team_id.hex() == VECTORS["team_id"]
    assert [value.hex() for value in trusted().hashes.values()] == [
        one["hash"] for one in VECTORS["versions"]
    ]


@pytest.mark.parametrize(
    "case", VECTORS["refused_after_version_2"], ids=lambda case: str(case["name"])
)
def test_what_must_be_refused_is_refused_for_its_reason(case: dict[str, str]) -> None:
    with pytest.raises(RemoteError) as caught:
        trusted().update_untrusted(bytes.fromhex(case["signed"]))
    assert caught.value.code == case["expect"]


def test_both_histories_come_to_the_version_that_joins_them() -> None:
    case = VECTORS["two_histories_after_version_2"]
    joining = bytes.fromhex(case["joining"])
    sides = []
    for side in ("shorter", "longer"):
        team = trusted()
        for update in case[side]:
            team = team.update_untrusted(bytes.fromhex(update))
        sides.append(team)

    assert sides[0].rivals(sides[1])
    assert [team.update_untrusted(joining).hash.hex() for team in sides] == [case["hash"]] * 2
    assert merge(*sides, now=NOW + 3 * DAY) == envelope(joining).body


def test_the_welcome_opens() -> None:
    administrator, team, addresses, rendezvous = open_welcome_untrusted(
        bytes.fromhex(VECTORS["welcome"]), recipient=person("Bob")
    )

    assert administrator.name == "Alice"
    assert team == trusted()
    assert addresses == ((administrator.fingerprint, "192.0.2.7", 7411),)
    assert rendezvous is None


def test_the_specifications_print_what_the_code_makes() -> None:
    assert printed("roster.md") == roster_examples()
    assert printed("welcome.md") == welcome_examples()
