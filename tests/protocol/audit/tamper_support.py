"""Who tampers and who verifies: what the rows of the tamper matrix are played with."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from protocol.audit.checkpoint import Checkpoint, cosign, sign_checkpoint
from protocol.audit.entry import encode_entry
from protocol.audit.equivocation import (
    Comparison,
    compare_heads,
    decode_evidence_untrusted,
    encode_evidence,
    head_evidence,
    verify_evidence_untrusted,
)
from protocol.audit.log_keys import HeadKeys, LogKeys, OneLogKey
from protocol.audit.note import KeyType, VerifierKey
from protocol.audit.quorum import Quorum, open_witnessed_untrusted
from protocol.audit.tree import consistency_proof, leaf_hash, root_of
from protocol.audit.verify import Report, verify_log
from protocol.audit.witness import (
    AddCheckpointRequest,
    WitnessRefusedError,
    format_request,
    judge_untrusted,
    parse_request_untrusted,
)
from protocol.errors import LogError
from protocol.primitives import SigningKey
from tests.protocol.audit.log_key_support import ANN, FIRST
from tests.protocol.audit.support import START, StoredTree, entries, entry

LOG_KEY = ANN.log
KEYS = LogKeys.of(ANN.public)
ONE_KEY = OneLogKey(origin=FIRST, public=LOG_KEY.public)
BOB, CAROL, STRANGER = (SigningKey(bytes(range(start, start + 32))) for start in (32, 64, 96))
LOG = entries(20)
NOW = START
HOUR = 3_600_000


def witness(name: str, key: SigningKey) -> VerifierKey:
    return VerifierKey(name=f"w/{name}", key_type=KeyType.COSIGNATURE, public=key.public)


TWO_OF_TWO = Quorum(
    witnesses=(witness("bob", BOB), witness("carol", CAROL)), threshold=2, max_age=HOUR
)


def at(log: Sequence[bytes], size: int | None = None) -> Checkpoint:
    """Return the head of the first size entries of log, not yet signed."""
    size = len(log) if size is None else size
    return Checkpoint(origin=FIRST, size=size, root=root_of(leaf_hash(one) for one in log[:size]))


def head(log: Sequence[bytes], size: int | None = None, key: SigningKey = LOG_KEY) -> bytes:
    return sign_checkpoint(at(log, size), key)


def line(name: str, key: SigningKey, of: Checkpoint, now: int = NOW) -> bytes:
    """Return the cosignature of the witness name."""
    return cosign(of, name=f"w/{name}", key=key, now=now)


def raw_line(name: str, key_id: bytes, signature: bytes) -> bytes:
    return f"— {name} {base64.b64encode(key_id + signature).decode()}\n".encode()


def rewritten(index: int, log: Sequence[bytes] = LOG) -> list[bytes]:
    """Return log with one entry that tells another story."""
    return [*log[:index], encode_entry(entry(index, event="denied")), *log[index + 1 :]]


def grown(log: Sequence[bytes], size: int, story: str) -> list[bytes]:
    """Return log with further entries, up to size, that only this story has."""
    more = (
        encode_entry(entry(seq, nonce=f"{sum(story.encode()):032x}"))
        for seq in range(len(log), size)
    )
    return [*log, *more]


# Outcomes, as the matrix words them ---------------------------------------------------------------


def offline(
    log: Iterable[bytes],
    signed: bytes,
    *,
    keys: HeadKeys = ONE_KEY,
    seen: Sequence[Checkpoint] = (),
) -> str:
    """Verify log against its head, and against heads seen by others."""
    return outcome(verify_log(log, signed, keys=keys, seen=seen))


def outcome(report: Report) -> str:
    if report.problems:
        word = {"bad_signature": "bad sig", "extension": "ext"}.get(
            code := report.problems[-1].code
        )
        return f"REJECT {word or code}"
    if report.flagged:
        flag = report.flagged[0]
        return "OK, flagged" if flag.code == "clock" else f"OK +{flag.message.split(': ')[1]}"
    return "OK"


def quorum(note: bytes, now: int = NOW) -> str:
    """Ask for fresh cosignatures of Bob and of Carol."""
    try:
        open_witnessed_untrusted(note, keys=ONE_KEY, quorum=TWO_OF_TWO, now=now)
    except LogError as error:
        words = {"bad_signature": "bad cosig", "unsigned": "no log"}
        return f"REJECT {words.get(error.code, error.code)}"
    return "OK"


def gossip(one: bytes, other: bytes) -> str:
    """Compare two heads of one log, and hand on what they prove to somebody who knows neither."""
    heads = [KEYS.open_head_untrusted(note) for note in (one, other)]
    comparison = compare_heads(*heads)
    if comparison is not Comparison.EQUIVOCATION:
        return str(comparison.value)
    handed_on = encode_evidence(head_evidence(KEYS, one, other))
    shown = verify_evidence_untrusted(decode_evidence_untrusted(handed_on))
    assert (shown.origin, shown.identity) == (FIRST, ANN.public)
    assert (shown.first, shown.second) == tuple(heads)
    return "EQUIVOCATION PROOF"


@dataclass
class Witness:
    """A witness as the protocol wants one: it stores before it answers."""

    held: Checkpoint | None = None
    notes: list[bytes] = field(default_factory=list)
    """Every head it cosigned, with the log's signature."""

    @classmethod
    def of(cls, log: Sequence[bytes], size: int) -> Witness:
        made = cls()
        assert made.add(0, log, size) == 200
        return made

    def add(self, old: int, log: Sequence[bytes], size: int) -> int:
        """Ask for a cosignature of log's head of that size; return the status."""
        tree = StoredTree.of([leaf_hash(one) for one in log])
        proof = consistency_proof(old, size, tree.read) if 0 < old <= size else ()
        body = format_request(
            AddCheckpointRequest(old=old, proof=tuple(proof), note=head(log, size))
        )
        asked = parse_request_untrusted(body)
        try:
            self.held = judge_untrusted(asked, self.held, KEYS.open_head_untrusted)
        except WitnessRefusedError as refusal:
            return refusal.status
        self.notes.append(asked.note)
        return 200
