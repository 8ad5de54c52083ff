"""Makes tests/vectors/joining.json: ``python -m tests.protocol.joining.make_vectors``.

Recipe: Bob joins Alice's team with the code 7-canyon-lava; then messages that must be refused,
each in the place of the one of that number. People are fixed (``tests.protocol.people``); what
each side draws stands in the vectors, in the order of its use.
"""

from __future__ import annotations

import functools
import io
import json
from typing import Any, Final

import msgspec

from protocol.encoding import encode
from protocol.joining.session import Inviter, JoinAnswer, Joiner, JoinOffer
from protocol.labels import NO_TEAM, PAKE_INVITER, PAKE_JOINER, PROLOGUE_JOINING
from protocol.primitives import Entropy
from tests.protocol import spake2_reference
from tests.protocol.joining.sides import CODE, WRONG, Pair, accepted, file_of, joiner
from tests.protocol.people import person, stream
from tests.protocol.spec_examples import fields, rewrite, table
from tests.support import ROOT

PATH: Final = ROOT / "tests" / "vectors" / "joining.json"
DRAWS: Final = {side: stream(f"vectors/{side}")(96) for side in ("joiner", "inviter")}
"""64 bytes for SPAKE2, 32 for the ephemeral key."""
VERDICT: Final = accepted(
    rendezvous="meet.example:7412/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
)


def _entropy(side: str) -> Entropy:
    return io.BytesIO(DRAWS[side]).read


def pair(until: int) -> Pair:
    """Return the two of the vectors, with the messages up to this number."""
    made = Pair(
        joiner=Joiner(CODE, person("Bob"), file_of("Bob"), _entropy("joiner")),
        inviter=Inviter(CODE, person("Alice"), _entropy("inviter")),
        messages=[],
    )
    made.messages.append(made.joiner.first())
    while len(made.messages) < until:
        side = made.inviter if len(made.messages) % 2 == 1 else made.joiner
        answer = side.receive_untrusted(made.messages[-1])
        made.messages.append(made.inviter.accept(VERDICT) if answer is None else answer)
    return made


@functools.cache
def make() -> dict[str, Any]:
    """Return the vectors; bytes are lowercase hexadecimal."""
    whole = pair(6)
    offer, answer, third, fourth, fifth, sixth = whole.messages
    psk = spake2_reference.key(
        first=True,
        password=b"canyon-lava",
        entropy=DRAWS["joiner"][:64],
        theirs=msgspec.msgpack.decode(answer, type=JoinAnswer).pake,
        id_a=PAKE_JOINER,
        id_b=PAKE_INVITER,
    )
    declining = pair(5)
    declining.inviter.receive_untrusted(declining.messages[-1])
    wrong = joiner(code=WRONG)
    wrong.first()
    opened = msgspec.msgpack.decode(offer, type=JoinOffer)
    neutral = b"\x01" + bytes(31)
    refused = [
        (1, "encoding", "a field missing", offer[:1].replace(b"\x84", b"\x85") + offer[1:]),
        (1, "remote_protocol", "another number", _replaced(opened, number=8)),
        (1, "unsupported", "no common version", _replaced(opened, versions=(2,))),
        (1, "encoding", "versions out of order", _replaced(opened, versions=(2, 1))),
        (1, "authentication", "the neutral point", _replaced(opened, pake=b"A" + neutral)),
        (
            1,
            "authentication",
            "the neutral point in a second spelling",
            _replaced(opened, pake=b"A\xee" + b"\xff" * 30 + b"\x7f"),
        ),
        (
            1,
            "authentication",
            "a point of the other side",
            _replaced(opened, pake=msgspec.msgpack.decode(answer, type=JoinAnswer).pake),
        ),
        (2, "encoding", "the offer reflected", offer),
        (
            2,
            "authentication",
            "the joiner's point reflected as the inviter's",
            encode(JoinAnswer(version=1, pake=b"B" + opened.pake[1:])),
        ),
        (
            2,
            "unsupported",
            "a version that was not offered",
            _replaced(msgspec.msgpack.decode(answer, type=JoinAnswer), version=2),
        ),
        (3, "authentication", "a wrong code", wrong.receive_untrusted(answer)),
        (3, "remote_protocol", "cut short", third[:47]),
        (3, "authentication", "reflected from message 4", fourth),
        (4, "authentication", "the static key changed", _flipped(fourth, 40)),
        (4, "authentication", "message 3 reflected", third + bytes(64)),
        (5, "authentication", "the identity file changed", _flipped(fifth, 100)),
        (5, "authentication", "message 3 again", third + bytes(64)),
        (6, "policy", "declined", declining.inviter.decline("policy")),
        (6, "authentication", "changed", _flipped(sixth, 0)),
        (6, "remote_protocol", "over its bound", bytes(16_385)),
    ]
    whole.joiner.receive_untrusted(sixth)
    return {
        "format": "docs/spec/joining.md",
        "recipe": "tests/protocol/joining/make_vectors.py",
        "code": CODE.text,
        "joiner": {
            "agreement_secret": person("Bob").agreement_secret.hex(),
            "pake_entropy": DRAWS["joiner"][:64].hex(),
            "ephemeral_secret": DRAWS["joiner"][64:].hex(),
            "identity_file": file_of("Bob").hex(),
        },
        "inviter": {
            "agreement_secret": person("Alice").agreement_secret.hex(),
            "pake_entropy": DRAWS["inviter"][:64].hex(),
            "ephemeral_secret": DRAWS["inviter"][64:].hex(),
            "certificate": person("Alice").public.certificate.hex(),
        },
        "psk": psk.hex(),
        "messages": [message.hex() for message in whole.messages],
        "verdict": encode(VERDICT).hex(),
        "handshake_hash": whole.joiner._finished().handshake_hash.hex(),
        "words": " ".join(whole.joiner.words),
        "refused": [
            {"name": name, "message": number, "expect": expect, "data": (data or b"").hex()}
            for number, expect, name, data in refused
        ],
    }


def _replaced(value: msgspec.Struct, **changes: Any) -> bytes:
    return encode(msgspec.structs.replace(value, **changes))


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def examples() -> dict[str, str]:
    """Return the examples of docs/spec/joining.md."""
    made = make()
    messages = [bytes.fromhex(message) for message in made["messages"]]
    prologue = PROLOGUE_JOINING + NO_TEAM + messages[0] + messages[1]
    joins, invites = made["joiner"], made["inviter"]
    return {
        "joining": table(
            {
                "code": made["code"],
                "joiner's agreement secret": bytes.fromhex(joins["agreement_secret"]),
                "joiner's SPAKE2 entropy": bytes.fromhex(joins["pake_entropy"]),
                "joiner's ephemeral secret": bytes.fromhex(joins["ephemeral_secret"]),
                "inviter's agreement secret": bytes.fromhex(invites["agreement_secret"]),
                "inviter's SPAKE2 entropy": bytes.fromhex(invites["pake_entropy"]),
                "inviter's ephemeral secret": bytes.fromhex(invites["ephemeral_secret"]),
                "1 → offer": messages[0],
                "2 ← answer": messages[1],
                "SPAKE2 key": bytes.fromhex(made["psk"]),
                "prologue": prologue,
                "3 → psk, e": messages[2],
                "4 ← e, ee, s, es": messages[3],
                "5 → s, se, identity file": messages[4][:96],
                "size of message 5": f"{len(messages[4])} bytes",
                "6 ← accepted": messages[5][:64],
                "size of message 6": f"{len(messages[5])} bytes",
                "handshake hash": bytes.fromhex(made["handshake_hash"]),
                "words": made["words"],
            }
        ),
        "offer": fields(messages[0]),
        "answer": fields(messages[1]),
        "accepted": fields(bytes.fromhex(made["verdict"])),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=2) + "\n")
    rewrite("joining.md", examples())
