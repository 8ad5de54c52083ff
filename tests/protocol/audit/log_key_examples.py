"""Log keys, evidence and witnesses written a second time: json, hashlib and msgpack alone.

Run as a program it prints the examples of docs/spec/log-keys.md and docs/spec/evidence.md.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec

from protocol.primitives import SigningKey
from tests.protocol.audit.support import START, digits, sha256, subproof
from tests.protocol.audit.support import mth as root_over
from tests.protocol.spec_examples import fields, rewrite, table
from tests.support import ROOT

_ANN: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "identity.json").read_text())
CERTIFICATE = bytes.fromhex(_ANN["certificate"])
FINGERPRINT = bytes.fromhex(_ANN["fingerprint"])
IDENTITY, FIRST_KEY, COSIGNING = (
    SigningKey(bytes.fromhex(_ANN["seeds"][name])) for name in ("identity", "log", "cosigning")
)
SECOND_SEED, RESTORED_SEED = bytes(range(96, 128)), bytes(range(128, 160))
SECOND_KEY, RESTORED_KEY = SigningKey(SECOND_SEED), SigningKey(RESTORED_SEED)

_NAME = base64.b32encode(FINGERPRINT).decode().rstrip("=").lower()
ORIGINS = (f"safelight/{_NAME}/0", f"safelight/{_NAME}/1")


def _entry(seq: int, event: str, commitments: dict[str, str] | None = None) -> bytes:
    return json.dumps(
        {
            "actor": "",
            "commitments": commitments or {},
            "event": event,
            "nonce": digits(f"nonce {seq} {event}", 32),
            "seq": seq,
            "subjects": [],
            "time": START + 60_000 * seq,
            "v": 1,
        },
        separators=(",", ":"),
    ).encode()


_CLOSED = {name: digits(name, 64) for name in ("closing", "epoch", "key")}
LOG = [
    _entry(0, "incarnation_started"),
    _entry(1, "imported"),
    _entry(2, "epoch_closed", _CLOSED),
    _entry(3, "released"),
    _entry(4, "revoked"),
]
FORKED = [*LOG[:3], _entry(3, "denied"), _entry(4, "revoked")]


def _leaves(log: list[bytes]) -> list[bytes]:
    return [sha256(b"\x00" + one) for one in log]


def text(log: list[bytes], size: int, origin: str = ORIGINS[0]) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root_over(_leaves(log)[:size])).decode()}\n"


def note(log: list[bytes], size: int, key: SigningKey, origin: str = ORIGINS[0]) -> str:
    signed = text(log, size, origin)
    key_id = sha256(origin.encode() + b"\n\x01" + key.public)[:4]
    field = base64.b64encode(key_id + key.sign(signed.encode())).decode()
    return f"{signed}\n— {origin} {field}\n"


def statement(**changes: Any) -> bytes:
    """Return the body of the statement of epoch 1, with some fields changed."""
    body = {
        "type": "log-key",
        "origin": ORIGINS[0],
        "incarnation": 0,
        "epoch": 1,
        "key": SECOND_KEY.public,
        "previous": note(LOG, 3, FIRST_KEY).encode(),
        **changes,
    }
    return msgspec.msgpack.encode(body)


def input_of(body: bytes, kind: str = "log-key", team: bytes = bytes(32)) -> bytes:
    return b"safelight/v1/" + kind.encode() + b"\x00" + team + body


def signed(body: bytes, kind: str = "log-key", team: bytes = bytes(32)) -> bytes:
    signature = IDENTITY.sign(input_of(body, kind, team))
    return msgspec.msgpack.encode({"body": body, "signature": signature})


ROLLED = signed(statement())
RESTARTED = signed(
    statement(
        origin=ORIGINS[1],
        incarnation=1,
        epoch=0,
        key=RESTORED_KEY.public,
        previous=note(LOG, 4, SECOND_KEY).encode(),
    )
)
OTHER_KEY = signed(statement(key=RESTORED_KEY.public))


def evidence(kind: str, first: bytes, second: bytes, **changes: Any) -> bytes:
    return msgspec.msgpack.encode(
        {
            "type": "evidence",
            "kind": kind,
            "certificate": CERTIFICATE,
            "statements": [ROLLED],
            "first": first,
            "second": second,
            "root": b"",
            "proof": [],
            **changes,
        }
    )


TWO_ROOTS = evidence(
    "two_roots", note(LOG, 4, SECOND_KEY).encode(), note(FORKED, 4, SECOND_KEY).encode()
)
FORK = evidence(
    "fork",
    note(LOG, 4, SECOND_KEY).encode(),
    note(FORKED, 5, SECOND_KEY).encode(),
    root=root_over(_leaves(FORKED)[:4]),
    proof=subproof(4, _leaves(FORKED), True),
)
TWO_KEYS = evidence("two_keys", ROLLED, OTHER_KEY, statements=[])

WITNESS = f"safelight/witness/{_NAME}"


def request() -> str:
    """Return an add-checkpoint request from size 3 to 5 of the example log."""
    proof = [base64.b64encode(one).decode() for one in subproof(3, _leaves(LOG), True)]
    return "\n".join(["old 3", *proof, "", note(LOG, 5, SECOND_KEY)])


def cosignature(seconds: int) -> str:
    """Return the cosignature of the request's checkpoint, by the example device itself."""
    message = f"cosignature/v1\ntime {seconds}\n{text(LOG, 5)}".encode()
    key_id = sha256(WITNESS.encode() + b"\n\x04" + COSIGNING.public)[:4]
    field = key_id + seconds.to_bytes(8, "big") + COSIGNING.sign(message)
    return f"— {WITNESS} {base64.b64encode(field).decode()}\n"


def log_key_vectors() -> dict[str, Any]:
    return {
        "certificate": CERTIFICATE.hex(),
        "origins": list(ORIGINS),
        "second_seed": SECOND_SEED.hex(),
        "restored_seed": RESTORED_SEED.hex(),
        "entries": [one.decode() for one in LOG],
        "heads": [note(LOG, size, FIRST_KEY if size <= 3 else SECOND_KEY) for size in range(6)],
        "rolled": {
            "body": statement().hex(),
            "signed_message": input_of(statement()).hex(),
            "statement": ROLLED.hex(),
        },
        "restarted": RESTARTED.hex(),
        "spans": [
            [0, 3, FIRST_KEY.public.hex()],
            [4, None, SECOND_KEY.public.hex()],
        ],
        "refused_statements": {
            "signed as a receipt": ["authentication", signed(statement(), "receipt").hex()],
            "signed for a team": ["authentication", signed(statement(), team=b"\x07" * 32).hex()],
            "of another origin": ["origin", signed(statement(origin=ORIGINS[1])).hex()],
            "of another incarnation": ["origin", signed(statement(incarnation=1)).hex()],
            "of epoch 0 of incarnation 0": ["key", signed(statement(epoch=0)).hex()],
            "the cosigning key": ["key", signed(statement(key=COSIGNING.public)).hex()],
            "a key of small order": ["key", signed(statement(key=bytes(32))).hex()],
            "an epoch too far": ["epoch_gap", signed(statement(epoch=2)).hex()],
            "a closing head of nobody": [
                "key",
                signed(statement(previous=note(LOG, 3, RESTORED_KEY).encode())).hex(),
            ],
            "no closing head": ["malformed_note", signed(statement(previous=b"")).hex()],
            "an empty epoch": [
                "epoch_gap",
                signed(statement(previous=note(LOG, 0, FIRST_KEY).encode())).hex(),
            ],
            "an unknown field": ["encoding", signed(statement(more=1)).hex()],
            "a negative epoch": ["encoding", signed(statement(epoch=-1)).hex()],
        },
        "refused_heads": {
            "by the first key after its epoch": ["key", note(LOG, 4, FIRST_KEY)],
            "by the second key before its epoch": ["key", note(LOG, 3, SECOND_KEY)],
            "of an incarnation that nobody announced": [
                "origin",
                note(LOG, 2, RESTORED_KEY, ORIGINS[1]),
            ],
        },
    }


def evidence_vectors() -> dict[str, Any]:
    same = note(LOG, 4, SECOND_KEY).encode()
    return {
        "two_roots": TWO_ROOTS.hex(),
        "fork": FORK.hex(),
        "two_keys": TWO_KEYS.hex(),
        "refused": {
            "one head twice": ["no_evidence", evidence("two_roots", same, same).hex()],
            "a log that grew": [
                "no_evidence",
                evidence(
                    "fork",
                    same,
                    note(LOG, 5, SECOND_KEY).encode(),
                    root=root_over(_leaves(LOG)[:4]),
                    proof=subproof(4, _leaves(LOG), True),
                ).hex(),
            ],
            "one statement twice": [
                "no_evidence",
                evidence("two_keys", ROLLED, ROLLED, statements=[]).hex(),
            ],
            "without the statements": [
                "key",
                evidence(
                    "two_roots",
                    same,
                    note(FORKED, 4, SECOND_KEY).encode(),
                    statements=[],
                ).hex(),
            ],
        },
    }


def witness_vectors() -> dict[str, Any]:
    return {
        "name": WITNESS,
        "request": request(),
        "held": note(LOG, 3, FIRST_KEY),
        "time": START + 300_000,
        "answer": cosignature((START + 300_000) // 1000),
    }


def log_key_examples() -> dict[str, str]:
    """Return the examples of docs/spec/log-keys.md."""
    return {
        "statement": fields(statement()),
        "previous": note(LOG, 3, FIRST_KEY),
        "statement-bytes": table({"body": statement(), "statement": ROLLED}),
        "first-head": note(LOG, 4, SECOND_KEY),
    }


def evidence_examples() -> dict[str, str]:
    """Return the examples of docs/spec/evidence.md."""
    return {
        "evidence": fields(TWO_ROOTS),
        "heads": note(LOG, 4, SECOND_KEY) + "\n" + note(FORKED, 4, SECOND_KEY),
        "evidence-bytes": table({"evidence": TWO_ROOTS}),
    }


if __name__ == "__main__":
    rewrite("log-keys.md", log_key_examples())
    rewrite("evidence.md", evidence_examples())
