"""Known answers of mail, and the examples of its specification.

``python -m tests.protocol.mail_examples`` writes them anew, after an intended change.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

import msgspec

from protocol.encoding import encode
from protocol.identity import LocalIdentity, sign_statement
from protocol.labels import PROLOGUE_MAIL, PROLOGUE_WELCOME, SignatureType
from protocol.limits import MAIL_CLOCK_SLACK_MS, MAIL_LIFETIME_MS
from protocol.mail import MailBody, seal_mail
from protocol.noise.one_way import seal_to
from tests.protocol.people import DAY, NOW, person, stream
from tests.protocol.spec_examples import fields, rewrite, table
from tests.support import ROOT

PATH: Final = ROOT / "tests" / "vectors" / "mail.json"
TEAM: Final = bytes([7]) * 32
ALICE, BOB, MALLORY = person("Alice"), person("Bob"), person("Mallory")
EPHEMERAL: Final = stream("mail")(32)
BODY: Final = MailBody(
    message_id=bytes(range(16)),
    recipient=BOB.public.fingerprint,
    sequence=3,
    expires_at=NOW + DAY,
    kind="revocation",
    body=b"a signed revocation",
)


def _sealed(
    *,
    sender: LocalIdentity = ALICE,
    signer: LocalIdentity = ALICE,
    signed_as: SignatureType = SignatureType.MAIL,
    label: bytes = PROLOGUE_MAIL,
    **changes: Any,
) -> bytes:
    body = encode(msgspec.structs.replace(BODY, **changes))
    return seal_to(
        sender_secret=sender.agreement_secret,
        recipient_public=BOB.public.agreement_key,
        prologue=label + TEAM,
        plaintext=sign_statement(signer.identity, signed_as, TEAM, body),
        entropy=stream("mail"),
    )


@functools.cache
def make() -> dict[str, Any]:
    """Return the vectors; bytes are lowercase hexadecimal, times Unix milliseconds."""
    sealed = seal_mail(
        BODY, sender=ALICE, recipient=BOB.public, team_id=TEAM, entropy=stream("mail")
    )
    latest = NOW + MAIL_LIFETIME_MS + MAIL_CLOCK_SLACK_MS
    cases = {
        "as it was written": ("opens", sealed),
        "the latest expiry": ("opens", _sealed(expires_at=latest)),
        "a later expiry": ("clock", _sealed(expires_at=latest + 1)),
        "expired this moment": ("expired", _sealed(expires_at=NOW)),
        "sealed by no member": ("not_member", _sealed(sender=MALLORY, signer=MALLORY)),
        "signed by another": ("authentication", _sealed(signer=MALLORY)),
        "signed as a receipt": ("authentication", _sealed(signed_as=SignatureType.RECEIPT)),
        "sealed as a welcome": ("authentication", _sealed(label=PROLOGUE_WELCOME)),
        "to somebody else": (
            "authentication",
            _sealed(recipient=MALLORY.public.fingerprint),
        ),
        "a kind of the future": ("unsupported", _sealed(kind="letter")),
        "sequence 0": ("encoding", _sealed(sequence=0)),
        "over its bound": ("remote_protocol", bytes(59_001)),
    }
    return {
        "format": "docs/spec/mail.md",
        "recipe": "tests/protocol/mail_examples.py",
        "team_id": TEAM.hex(),
        "now": NOW,
        "members": [one.public.certificate.hex() for one in (ALICE, BOB)],
        "recipient_agreement_secret": BOB.agreement_secret.hex(),
        "sender_agreement_secret": ALICE.agreement_secret.hex(),
        "ephemeral_secret": EPHEMERAL.hex(),
        "body": encode(BODY).hex(),
        "cases": [
            {"name": name, "expect": expect, "sealed": data.hex()}
            for name, (expect, data) in cases.items()
        ],
    }


def examples() -> dict[str, str]:
    """Return the examples of docs/spec/mail.md."""
    made = make()
    body = encode(BODY)
    sealed = bytes.fromhex(made["cases"][0]["sealed"])
    return {
        "body": fields(body),
        "mail": table(
            {
                "team id": TEAM,
                "body": body,
                "signed": sign_statement(ALICE.identity, SignatureType.MAIL, TEAM, body),
                "sender's agreement secret": ALICE.agreement_secret,
                "recipient's agreement secret": BOB.agreement_secret,
                "ephemeral secret": EPHEMERAL,
                "prologue": PROLOGUE_MAIL + TEAM,
                "sealed": sealed,
            }
        ),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=2) + "\n")
    rewrite("mail.md", examples())
