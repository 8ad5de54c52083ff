"""The known answers of sealing to a person, and the example that its specification shows.

``python -m tests.protocol.noise.sealed_examples`` writes them anew, after an intended change.
"""

from __future__ import annotations

import json
from typing import Any, Final

from protocol.labels import NO_TEAM, PROLOGUE_WELCOME
from protocol.noise.one_way import seal_to
from protocol.primitives import x25519_public
from tests.protocol.noise.low_order import LOW_ORDER
from tests.support import ROOT

VECTORS: Final = ROOT / "tests" / "vectors" / "sealed_to_person.json"
SPECIFICATION: Final = ROOT / "docs" / "spec" / "sealed-to-person.md"

SENDER: Final = bytes(range(0x20))
RECIPIENT: Final = bytes(range(0x20, 0x40))
EPHEMERAL: Final = bytes(range(0x40, 0x60))
PROLOGUE: Final = PROLOGUE_WELCOME + NO_TEAM
PLAINTEXT: Final = b"welcome"


def make_vectors() -> dict[str, Any]:
    """Return everything that stands in sealed_to_person.json."""
    sealed = _seal(PLAINTEXT)
    own = seal_to(
        sender_secret=RECIPIENT,
        recipient_public=x25519_public(SENDER),
        prologue=PROLOGUE,
        plaintext=PLAINTEXT,
        entropy=lambda size: EPHEMERAL[:size],
    )
    return {
        "recipe": "Secrets are counting bytes. Every case is opened by the recipient under the "
        "prologue.",
        "sender_secret": SENDER.hex(),
        "sender_public": x25519_public(SENDER).hex(),
        "recipient_secret": RECIPIENT.hex(),
        "recipient_public": x25519_public(RECIPIENT).hex(),
        "ephemeral_secret": EPHEMERAL.hex(),
        "prologue": PROLOGUE.hex(),
        "plaintext": PLAINTEXT.hex(),
        "sealed": sealed.hex(),
        "cases": [
            {"name": name, "expect": expect, "sealed": data.hex()}
            for name, expect, data in (
                ("sealed", "opens", sealed),
                ("empty plaintext", "opens", _seal(b"")),
                ("shorter than any", "remote_protocol", sealed[:95]),
                ("ephemeral key changed", "authentication", _flip(sealed, 0)),
                ("static key changed", "authentication", _flip(sealed, 32)),
                ("tag of the static key changed", "authentication", _flip(sealed, 79)),
                ("plaintext changed", "authentication", _flip(sealed, 80)),
                ("tag changed", "authentication", _flip(sealed, len(sealed) - 1)),
                ("cut short", "authentication", sealed[:-1]),
                ("extended", "authentication", sealed + b"\x00"),
                ("ephemeral key of low order", "authentication", LOW_ORDER[2] + sealed[32:]),
                ("sealed by the recipient to another", "authentication", own),
            )
        ],
    }


def _seal(plaintext: bytes) -> bytes:
    return seal_to(
        sender_secret=SENDER,
        recipient_public=x25519_public(RECIPIENT),
        prologue=PROLOGUE,
        plaintext=plaintext,
        entropy=lambda size: EPHEMERAL[:size],
    )


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


START: Final = "<!-- printed by tests/protocol/noise/sealed_examples.py -->\n"
END: Final = "<!-- end of print -->\n"


def print_example(vectors: dict[str, Any]) -> str:
    """Return the complete example of the specification."""
    names = list(vectors)[1:-1]
    lines = [
        f"{name.replace('_', ' '):17} "
        + ("\n" + " " * 18).join(
            vectors[name][start : start + 64] for start in range(0, len(vectors[name]), 64)
        )
        for name in names
    ]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def main() -> None:
    """Write the vectors and the printed part of the specification."""
    vectors = make_vectors()
    VECTORS.write_text(json.dumps(vectors, indent=1) + "\n")
    before, rest = SPECIFICATION.read_text().split(START)
    _old, after = rest.split(END)
    SPECIFICATION.write_text(before + START + print_example(vectors) + END + after)


if __name__ == "__main__":
    main()
