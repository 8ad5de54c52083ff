"""add-checkpoint: read in one spelling, and judged with the statuses of tlog-witness."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.audit.checkpoint import (
    Checkpoint,
    cosign,
    sign_checkpoint,
    verify_cosignature_untrusted,
)
from protocol.audit.log_keys import OneLogKey
from protocol.audit.note import KeyType, format_vkey, parse_vkey_untrusted
from protocol.audit.tree import EMPTY_ROOT, consistency_proof, leaf_hash, root_of
from protocol.audit.witness import (
    AddCheckpointRequest,
    WitnessRefusedError,
    format_request,
    judge_untrusted,
    parse_request_untrusted,
    witness_key,
    witness_name,
)
from protocol.errors import LocalError, LogError
from protocol.primitives import SigningKey
from tests.protocol.audit.support import ALICE, BOB, ORIGIN, StoredTree, entries, head
from tests.protocol.people import person
from tests.support import vectors

LOG = entries(20)
TREE = StoredTree.of([leaf_hash(data) for data in LOG])
KEYS = OneLogKey(origin=ORIGIN, public=ALICE.public)
HASH = base64.b64encode(bytes(32))
BODY = b"old 2\n" + HASH + b"\n\nnote\n"


def at(size: int) -> Checkpoint:
    return Checkpoint(
        origin=ORIGIN, size=size, root=root_of(leaf_hash(data) for data in LOG[:size])
    )


def request(old: int, new: int, **changes: Any) -> AddCheckpointRequest:
    proof = tuple(consistency_proof(old, new, TREE.read)) if 0 < old <= new else ()
    fields: dict[str, Any] = {"old": old, "proof": proof, "note": head(LOG, new), **changes}
    return AddCheckpointRequest(**fields)


def judged(
    asked: AddCheckpointRequest,
    held: Checkpoint | None,
    open_head: Callable[[bytes], Checkpoint] = KEYS.open_head_untrusted,
) -> tuple[int, int | None]:
    """Return status and size of the answer."""
    try:
        judge_untrusted(asked, held, open_head)
    except WitnessRefusedError as refusal:
        return refusal.status, refusal.size
    return 200, None


# The judgement ------------------------------------------------------------------------------------


def test_a_witness_follows_a_log_that_only_grows() -> None:
    held = None
    for old, new in [(0, 0), (0, 3), (3, 3), (3, 8), (8, 20)]:
        asked = parse_request_untrusted(format_request(request(old, new)))
        held = judge_untrusted(asked, held, KEYS.open_head_untrusted)
        assert held == at(new)


def test_a_first_head_needs_no_proof_of_any_size() -> None:
    assert judged(request(0, 20), None) == (200, None)


@pytest.mark.parametrize(
    ("asked", "held", "status", "size"),
    [
        (request(13, 12), at(12), 400, None),
        (request(10, 15), at(12), 409, 12),
        (request(0, 15), at(12), 409, 12),
        (request(12, 15), None, 409, 0),
        (request(12, 15), at(10), 409, 10),
        (request(12, 15, proof=()), at(12), 422, None),
        (request(12, 15, proof=(bytes(32),) * 4), at(12), 422, None),
        (request(0, 15, proof=(bytes(32),)), None, 422, None),
        (request(0, 15, proof=(bytes(32),)), at(0), 422, None),
        (request(12, 12, proof=(bytes(32),)), at(12), 422, None),
        (request(12, 15, note=head(LOG, 15, key=BOB)), at(12), 403, None),
        (request(12, 15, note=head(LOG, 15)[:-1]), at(12), 403, None),
        (
            request(12, 15, note=sign_checkpoint(at(15), ALICE).replace(b"15", b"16", 1)),
            at(12),
            403,
            None,
        ),
    ],
)
def test_every_refusal_has_its_status(
    asked: AddCheckpointRequest, held: Checkpoint | None, status: int, size: int | None
) -> None:
    assert judged(asked, held) == (status, size)


def test_equal_sizes_have_equal_roots() -> None:
    other = Checkpoint(origin=ORIGIN, size=12, root=bytes(32))

    assert judged(request(12, 12), at(12)) == (200, None)
    assert judged(request(12, 12, note=sign_checkpoint(other, ALICE)), at(12)) == (422, None)


def test_heads_of_two_logs_are_not_compared() -> None:
    other = Checkpoint(origin="another log", size=12, root=at(12).root)

    with pytest.raises(LocalError):
        judge_untrusted(request(12, 15), other, KEYS.open_head_untrusted)


def test_an_empty_head_has_the_root_of_nothing() -> None:
    wrong = Checkpoint(origin=ORIGIN, size=0, root=bytes(32))
    right = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)

    assert judged(request(0, 0, note=sign_checkpoint(right, ALICE)), None) == (200, None)
    assert judged(request(0, 0, note=sign_checkpoint(wrong, ALICE)), None) == (422, None)
    assert judged(request(0, 0, note=sign_checkpoint(wrong, ALICE)), right) == (422, None)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("origin", 404),
        ("malformed_checkpoint", 400),
        ("extension", 400),
        ("malformed_note", 403),
        ("unsigned", 403),
        ("bad_signature", 403),
        ("key", 403),
    ],
)
def test_a_head_that_does_not_open_has_its_status(code: str, status: int) -> None:
    def closed(_note: bytes) -> Checkpoint:
        raise LogError("closed", code=code)

    assert judged(request(0, 5), None, closed) == (status, None)
    # Even where the witness would answer otherwise: what it holds is told to the log alone.
    assert judged(request(3, 5), None, closed) == (status, None)


class AskedByAnyone(RuleBasedStateMachine):
    """A log that grows, forks and forgets asks one witness, whatever it says that it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.held: Checkpoint | None = None
        self.cosigned: list[list[int]] = []

    @rule(count=st.integers(1, 5), story=st.integers(0, 2))
    def grow(self, count: int, story: int) -> None:
        self.log += [story] * count

    @rule(size=st.integers(0, 30))
    def cut(self, size: int) -> None:
        del self.log[size:]

    @rule(old=st.none() | st.integers(0, 30), size=st.none() | st.integers(0, 30))
    def ask(self, old: int | None, size: int | None) -> None:
        log = self.log[:size]
        leaves = [leaf_hash(b"%d %d" % one) for one in enumerate(log)]
        if old is None:
            old = 0 if self.held is None else self.held.size
        tree = StoredTree.of(leaves)
        proof = consistency_proof(old, len(log), tree.read) if 0 < old <= len(log) else []
        told = Checkpoint(origin=ORIGIN, size=len(log), root=root_of(leaves))
        asked = AddCheckpointRequest(old=old, proof=tuple(proof), note=sign_checkpoint(told, ALICE))
        honest = not self.cosigned or log[: len(self.cosigned[-1])] == self.cosigned[-1]
        held = 0 if self.held is None else self.held.size
        status, size_told = judged(asked, self.held)
        assert (status == 200) is (honest and old == held)
        assert (size_told is None) is (status != 409)
        if status == 200:
            self.held = told
            self.cosigned.append(log)

    @invariant()
    def every_head_it_cosigned_extends_the_one_before(self) -> None:
        for one, two in itertools.pairwise(self.cosigned):
            assert two[: len(one)] == one


TestAskedByAnyone = AskedByAnyone.TestCase


# Names --------------------------------------------------------------------------------------------


def test_a_node_cosigns_under_its_fingerprint_with_its_cosigning_key() -> None:
    ann = person("Ann")
    key = witness_key(ann.public)
    line = cosign(at(5), name=witness_name(ann.public.fingerprint), key=ann.cosigning, now=5000)

    assert witness_name(bytes(range(32))) == ORIGIN.replace("/aaaq", "/witness/aaaq")[:-2]
    assert (key.key_type, key.public) == (KeyType.COSIGNATURE, ann.public.cosigning_key)
    assert parse_vkey_untrusted(format_vkey(key)) == key
    assert verify_cosignature_untrusted(line, at(5), key).time == 5000


# The request as text ------------------------------------------------------------------------------


@given(
    st.builds(
        AddCheckpointRequest,
        old=st.integers(0, 2**63 - 1),
        proof=st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
        note=st.binary(min_size=1, max_size=200),
    )
)
def test_what_was_formatted_parses_to_the_same_request(asked: AddCheckpointRequest) -> None:
    assert asked == parse_request_untrusted(format_request(asked))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 2",
        BODY.removesuffix(b"note\n"),
        BODY.replace(b"old 2\n", b""),
        BODY.replace(b"old 2", b"old 02"),
        BODY.replace(b"old 2", b"old  2"),
        BODY.replace(b"old 2", b"old -2"),
        BODY.replace(b"old 2", b"old 9223372036854775808"),
        BODY.replace(b"old 2", "old ٢".encode()),
        BODY.replace(b"old", b"Old"),
        BODY.replace(HASH, HASH[:-4]),
        BODY.replace(HASH, HASH[:-2] + b"B="),
        BODY.replace(HASH, HASH + b" "),
        BODY.replace(HASH, b"\n".join([HASH] * 64)),
        BODY.replace(b"\n", b"\r\n"),
        BODY + b"x" * 2**17,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_another_spelling_of_a_request_is_refused(body: bytes) -> None:
    with pytest.raises(LogError) as refusal:
        parse_request_untrusted(body)

    assert refusal.value.code == "malformed_request"


@pytest.mark.parametrize(
    "changes",
    [{"old": -1}, {"old": 2**63}, {"proof": (b"",)}, {"note": b""}, {"proof": (bytes(32),) * 64}],
    ids=lambda changes: str(changes)[:30],
)
def test_a_request_that_would_not_parse_is_not_written(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"old": 0, "proof": (), "note": b"note", **changes}
    with pytest.raises(LocalError):
        format_request(AddCheckpointRequest(**fields))


@given(st.binary(max_size=300))
def test_foreign_bytes_raise_log_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(LogError):
        parse_request_untrusted(data)


@given(st.integers(0, len(BODY)), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_requests_parse_canonically_or_not_at_all(at: int, new: bytes, gone: int) -> None:
    data = BODY[:at] + new + BODY[at + gone :]
    try:
        asked = parse_request_untrusted(data)
    except LogError:
        return

    assert data == format_request(asked)


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(max_size=33), max_size=5).map(tuple),
    st.binary(max_size=100),
    st.integers(0, 20),
)
def test_foreign_requests_are_judged_or_refused(
    old: int, proof: tuple[bytes, ...], note: bytes, held: int
) -> None:
    for data in (note, head(LOG, 15), head(LOG, 12)):
        asked = AddCheckpointRequest(old=old, proof=proof, note=data)
        assert judged(asked, at(held))[0] in {200, 400, 403, 409, 422}


# Published sessions -------------------------------------------------------------------------------


def test_a_published_session_is_answered_as_published() -> None:
    session = json.loads(vectors("tlog", "witness-add-checkpoint.json").read_bytes())
    keys = OneLogKey(
        origin=session["log_origin"], public=bytes.fromhex(session["log_public_key_hex"])
    )

    def open_head(note: bytes) -> Checkpoint:
        if not note.startswith(keys.origin.encode() + b"\n"):
            raise LogError("unknown log", code="origin")
        return keys.open_head_untrusted(note)

    held = None
    for published in session["requests"]:
        asked = parse_request_untrusted(published["body"].encode())
        # The session is older than tlog-witness v1.0.0, where an unknown log became 404.
        status = 404 if "unknown log" in published["assert_"] else published["status"]
        size = int(published["assert_"].split('"')[1][:-2]) if status == 409 else None
        assert judged(asked, held, open_head) == (status, size)
        if status == 200:
            held = judge_untrusted(asked, held, open_head)
    assert held is not None
    assert held.size == 5


def test_the_worked_session_is_answered_as_worked_out() -> None:
    worked = json.loads(vectors("tlog", "worked.json").read_bytes())
    log, bob = worked["keys"]["log"], worked["keys"]["bob"]
    keys = OneLogKey(origin=log["name"], public=bytes.fromhex(log["public"]))
    key = SigningKey(bytes.fromhex(bob["seed"]))
    held: Checkpoint | None = None

    def open_head(note: bytes) -> Checkpoint:
        if not note.startswith(keys.origin.encode() + b"\n"):
            raise LogError("unknown log", code="origin")
        return keys.open_head_untrusted(note)

    for step in worked["witness_script"]:
        try:
            held = judge_untrusted(parse_request_untrusted(step["body"].encode()), held, open_head)
            status = 200
            answer = cosign(held, name=bob["name"], key=key, now=1000 * step["now"]).decode()
        except WitnessRefusedError as refusal:
            status = refusal.status
            answer = "" if refusal.size is None else f"{refusal.size}\n"
        except LogError:
            status, answer = 400, ""
        assert (step["name"], status) == (step["name"], step["status"])
        if status in {200, 409}:
            assert answer == step["response"]
