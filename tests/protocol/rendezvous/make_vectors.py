"""Makes tests/vectors/admission.json: ``python -m tests.protocol.rendezvous.make_vectors``.

Recipe: Alice's team of one registers; then Alice and Bea are administrators, both of whom have
to sign, and Bob is a member; then admissions that must be refused or lack signatures.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

import msgspec

from protocol.encoding import encode
from protocol.identity import signature_input
from protocol.labels import SignatureType
from protocol.messages import Done
from protocol.rendezvous.address import RendezvousAddress
from protocol.rendezvous.admission import (
    Admission,
    AdmissionSignature,
    SignedAdmission,
    sign_admission,
)
from protocol.rendezvous.messages import (
    NO_CALLER,
    Attend,
    Attending,
    Call,
    Circuit,
    Deposit,
    Ring,
)
from tests.protocol.people import DAY, NOW, person
from tests.protocol.spec_examples import fields, rewrite, table
from tests.support import ROOT

PATH: Final = ROOT / "tests" / "vectors" / "admission.json"
TEAM: Final = bytes([7]) * 32
ADDRESS: Final = RendezvousAddress(host="meet.example", port=7412, key=bytes(range(32)))


def _admission(administrators: str, members: str, **rest: int) -> Admission:
    return Admission(
        team_id=TEAM,
        version=rest["version"],
        threshold=rest["threshold"],
        administrators=tuple(
            sorted(person(name).public.identity_key for name in administrators.split())
        ),
        keys=tuple(sorted(person(name).public.agreement_key for name in members.split())),
    )


FIRST: Final = _admission("Alice", "Alice", version=1, threshold=1)
SECOND: Final = _admission("Alice Bea", "Alice Bea Bob", version=2, threshold=2)


def _signed(admission: Admission, signers: str = "", **changes: Any) -> bytes:
    """Sign whatever it is."""
    body = encode(msgspec.structs.replace(admission, **changes))
    message = signature_input(SignatureType.ADMISSION, TEAM, body)
    signatures = sorted(
        (
            AdmissionSignature(
                signer=person(name).public.identity_key,
                signature=person(name).identity.sign(message),
            )
            for name in signers.split()
        ),
        key=lambda one: one.signer,
    )
    return encode(SignedAdmission(body=body, signatures=tuple(signatures)))


@functools.cache
def make() -> dict[str, Any]:
    """Return the vectors; bytes are lowercase hexadecimal."""
    first = sign_admission(encode(FIRST), [person("Alice")])
    roster = signature_input(SignatureType.ROSTER, TEAM, encode(SECOND))
    as_roster = AdmissionSignature(
        signer=person("Alice").public.identity_key,
        signature=person("Alice").identity.sign(roster),
    )
    missing = {
        "signed by both": (0, _signed(SECOND, "Alice Bea")),
        "signed by Alice, an administrator of both": (1, _signed(SECOND, "Alice")),
        "signed by Bea, an administrator of the later": (1, _signed(SECOND, "Bea")),
        "signed by nobody": (2, _signed(SECOND)),
        "signed by a member and a stranger": (2, _signed(SECOND, "Bob Mallory")),
        "a signature of a roster": (
            2,
            encode(SignedAdmission(body=encode(SECOND), signatures=(as_roster,))),
        ),
        "without Alice, signed by the new ones": (
            1,
            _signed(_admission("Bea", "Bea", version=3, threshold=1), "Bea"),
        ),
    }
    refused = {
        "the same version": ("admission_old", _signed(FIRST, "Alice")),
        "another team": ("remote_protocol", _signed(SECOND, "Alice Bea", team_id=bytes(32))),
        "threshold zero": ("encoding", _signed(SECOND, "Alice Bea", threshold=0)),
        "threshold over the administrators": (
            "encoding",
            _signed(SECOND, "Alice Bea", threshold=3),
        ),
        "keys out of order": (
            "encoding",
            _signed(SECOND, "Alice Bea", keys=SECOND.keys[::-1]),
        ),
        "a key twice": ("encoding", _signed(SECOND, "Alice", keys=SECOND.keys[:1] * 2)),
        "a signer twice": (
            "encoding",
            encode(SignedAdmission(body=encode(SECOND), signatures=(as_roster, as_roster))),
        ),
    }
    return {
        "format": "docs/spec/rendezvous.md",
        "recipe": "tests/protocol/rendezvous/make_vectors.py",
        "address": {"text": ADDRESS.text, "key": ADDRESS.key.hex()},
        "in_force": first.hex(),
        "then": [
            {"name": name, "missing": lacking, "signed": data.hex()}
            for name, (lacking, data) in missing.items()
        ],
        "refused": [
            {"name": name, "expect": expect, "signed": data.hex()}
            for name, (expect, data) in refused.items()
        ],
    }


def examples() -> dict[str, str]:
    """Return the examples of docs/spec/rendezvous.md."""
    bob, session, token = person("Bob").public.agreement_key, bytes([3]) * 16, bytes([2]) * 32
    return {
        "address": table({"key": ADDRESS.key, "address": ADDRESS.text}),
        "admission": fields(encode(SECOND)),
        "signed": table(
            {
                "body": encode(FIRST),
                "signer": person("Alice").public.identity_key,
                "signed": bytes.fromhex(make()["in_force"]),
            }
        ),
        "session": table(
            {
                "node → attend": encode(Attend(team_id=TEAM)),
                "node ← attending": encode(Attending(version=2, online=())),
                "node → call": encode(Call(key=bob)),
                "node ← circuit": encode(Circuit(token=token, session=session)),
                "callee ← ring": encode(
                    Ring(
                        caller=person("Alice").public.agreement_key,
                        token=bytes([4]) * 32,
                        session=session,
                        slot=0,
                    )
                ),
                "callee → done": encode(Done()),
                "slot's owner ← ring": encode(
                    Ring(caller=NO_CALLER, token=token, session=session, slot=7)
                ),
                "node → deposit": encode(
                    Deposit(
                        recipient=bob,
                        mail_id=bytes(range(16)),
                        expires_at=NOW + DAY,
                        sealed=b"sealed mail",
                    )
                ),
            }
        ),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=2) + "\n")
    rewrite("rendezvous.md", examples())
