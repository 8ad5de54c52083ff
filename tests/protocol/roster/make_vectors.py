"""Makes tests/vectors/roster.json: ``python -m tests.protocol.roster.make_vectors``.

Recipe: Alice founds a team, Bob joins as an editor and gets a WELCOME; then versions that
must be refused, and two histories that a version joins. People and entropy are fixed
(``tests.protocol.people``).
"""

from __future__ import annotations

import functools
import json
from typing import Any

import msgspec

from protocol.encoding import encode
from protocol.labels import NO_TEAM
from protocol.limits import MAX_ROSTER_JUMP
from protocol.roster.changes import merge
from protocol.roster.metadata import renewed, sign_roster, with_member, with_role
from protocol.roster.trusted import TrustedRoster
from protocol.roster.welcome import seal_welcome
from tests.protocol.people import DAY, NOW, person, stream
from tests.protocol.roster.simulator import edited, envelope, founded, member, signed, successor
from tests.protocol.spec_examples import fields, rewrite, table
from tests.support import ROOT

PATH = ROOT / "tests" / "vectors" / "roster.json"
ALICE, BOB, CAROL = person("Alice"), person("Bob"), person("Carol")


@functools.cache
def make() -> dict[str, Any]:
    """Return the vectors; bytes are lowercase hexadecimal."""
    one = founded()
    body = successor(one, [*one.roster.members, member("Bob", "editor")])
    two = one.update_untrusted(signed(one, body, "Alice"))
    back = successor(two, [member("Alice")])
    welcome = seal_welcome(
        rosters=two.signed_versions,
        addresses=[(ALICE.public.fingerprint, "192.0.2.7", 7411)],
        sender=ALICE,
        recipient=BOB.public,
        entropy=stream("welcome"),
    )
    repeated = envelope(signed(two, back, "Alice"))
    refused = {
        "unsigned": ("authentication", sign_roster(back, signers=[], team_id=two.team_id)),
        "signed by an editor": ("authentication", signed(two, back, "Bob")),
        "signed for no team": (
            "authentication",
            sign_roster(back, signers=[ALICE], team_id=NO_TEAM),
        ),
        "a signer twice": (
            "encoding",
            encode(msgspec.structs.replace(repeated, signatures=repeated.signatures * 2)),
        ),
        "no parents": ("encoding", signed(two, edited(back, parents=()), "Alice")),
        "another parent": (
            "roster_parents",
            signed(two, edited(back, parents=(bytes(32),)), "Alice"),
        ),
        "a version skipped": ("roster_gap", signed(two, edited(back, version=4), "Alice")),
        "the same version again": (
            "roster_conflict",
            signed(two, successor(one, [member("Alice")]), "Alice"),
        ),
        "an old version": ("roster_old", two.signed_versions[1]),
        "threshold zero": ("encoding", signed(two, edited(back, threshold=0), "Alice")),
        "threshold over the administrators": (
            "encoding",
            signed(two, edited(back, threshold=2), "Alice"),
        ),
        "numbers skipped without another history": (
            "roster_gap",
            signed(two, edited(back, version=2 + MAX_ROSTER_JUMP), "Alice"),
        ),
        "too many numbers skipped": (
            "roster_jump",
            signed(
                two,
                edited(
                    back,
                    version=3 + MAX_ROSTER_JUMP,
                    parents=tuple(sorted((two.hash, bytes(32)))),
                ),
                "Alice",
            ),
        ),
        "an unknown role": (
            "unsupported",
            signed(two, edited(back, members=(member("Alice"), member("Bob", "owner"))), "Alice"),
        ),
    }
    return {
        "format": "docs/spec/roster.md",
        "recipe": "tests/protocol/roster/make_vectors.py",
        "team_id": two.team_id.hex(),
        "versions": [
            {"hash": two.hashes[number].hex(), "signed": data.hex()}
            for number, data in enumerate(two.signed_versions, start=1)
        ],
        "recipient_agreement_secret": BOB.agreement_secret.hex(),
        "recipient_certificate": BOB.public.certificate.hex(),
        "welcome": welcome.hex(),
        "refused_after_version_2": [
            {"name": name, "expect": expect, "signed": data.hex()}
            for name, (expect, data) in refused.items()
        ],
        "two_histories_after_version_2": _histories(two),
    }


def _histories(two: TrustedRoster) -> dict[str, Any]:
    """Return a shorter and a longer history after version 2, and the version that joins them."""
    shorter = _then(two, with_role(two.roster, BOB.public.fingerprint, "guest", now=NOW + DAY))
    longer = _then(two, with_member(two.roster, CAROL.public, "reviewer", now=NOW + DAY))
    longer = _then(longer, renewed(longer.roster, now=NOW + 2 * DAY))
    joining = signed(two, merge(shorter, longer, now=NOW + 3 * DAY), "Alice")
    return {
        "shorter": [data.hex() for data in shorter.signed_versions[2:]],
        "longer": [data.hex() for data in longer.signed_versions[2:]],
        "joining": joining.hex(),
        "hash": shorter.update_untrusted(joining).hash.hex(),
    }


def _then(trusted: TrustedRoster, body: bytes) -> TrustedRoster:
    return trusted.update_untrusted(signed(trusted, body, "Alice"))


def roster_examples() -> dict[str, str]:
    """Return the examples of docs/spec/roster.md."""
    made = make()
    first, second = (envelope(bytes.fromhex(one["signed"])) for one in made["versions"])
    return {
        "version-1": fields(first.body),
        "version-2": fields(second.body),
        "signed": table(
            {
                "body of version 1": first.body,
                "team id": bytes.fromhex(made["team_id"]),
                "hash of version 1": bytes.fromhex(made["versions"][0]["hash"]),
                "signer": first.signatures[0].signer,
                "signature": first.signatures[0].signature,
            }
        ),
    }


def welcome_examples() -> dict[str, str]:
    """Return the examples of docs/spec/welcome.md."""
    made = make()
    data = bytes.fromhex(made["welcome"])
    return {
        "welcome": table(
            {
                "recipient secret": bytes.fromhex(made["recipient_agreement_secret"]),
                "magic": data[:4],
                "welcome id": data[4:20],
                "parts": data[20:22],
                "first 96 of part 0": data[22:118],
                "size of part 0": f"{len(data) - 22} bytes",
            }
        )
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=2) + "\n")
    rewrite("roster.md", roster_examples())
    rewrite("welcome.md", welcome_examples())
