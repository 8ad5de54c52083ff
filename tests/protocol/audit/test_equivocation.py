"""Evidence: it convinces whoever checks it, and nobody has any against an honest log."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.checkpoint import Checkpoint, cosign, sign_checkpoint
from protocol.audit.equivocation import (
    Comparison,
    Evidence,
    Kind,
    compare_heads,
    decode_evidence_untrusted,
    encode_evidence,
    forked_root_untrusted,
    head_evidence,
    key_evidence,
    verify_evidence_untrusted,
)
from protocol.audit.log_keys import LogKeys, OneLogKey
from protocol.audit.tree import EMPTY_ROOT, consistency_proof, leaf_hash, root_of
from protocol.errors import LimitError, LocalError, LogError, RemoteError
from protocol.limits import MAX_EVIDENCE_BYTES
from tests.protocol.audit import log_key_support as epochs
from tests.protocol.audit.log_key_support import ANN, FIRST, SECOND, TO_ONE, signed
from tests.protocol.audit.support import StoredTree
from tests.protocol.audit.tamper_support import BOB, KEYS, LOG, at, grown, head
from tests.protocol.people import person
from tests.support import vectors

HERE, THERE = (grown(LOG[:9], 20, story) for story in ("here", "there"))
TWO_ROOTS = head_evidence(KEYS, head(HERE, 15), head(THERE, 15))


def proof(log: Sequence[bytes], old: int, new: int) -> tuple[bytes, ...]:
    return tuple(consistency_proof(old, new, StoredTree.of([leaf_hash(data) for data in log]).read))


def fork(old: int, new: int) -> Evidence:
    return head_evidence(
        KEYS,
        head(HERE, old),
        head(THERE, new),
        root=at(THERE, old).root,
        proof=proof(THERE, old, new),
    )


FORK, TWO_KEYS = fork(13, 15), key_evidence(ANN.public, TO_ONE, signed(key=epochs.OTHER.public))


def code_of(evidence: Evidence) -> str:
    with pytest.raises(RemoteError) as error:
        verify_evidence_untrusted(evidence)
    return error.value.code


# Comparing ----------------------------------------------------------------------------------------


def test_two_heads_say_what_their_sizes_and_roots_say() -> None:
    empty = Checkpoint(origin=FIRST, size=0, root=EMPTY_ROOT)
    impossible = Checkpoint(origin=FIRST, size=0, root=bytes(32))

    assert compare_heads(at(HERE, 15), at(HERE, 15)) is Comparison.CONSISTENT
    assert compare_heads(at(HERE, 15), at(THERE, 15)) is Comparison.EQUIVOCATION
    assert compare_heads(at(HERE, 15), at(THERE, 16)) is Comparison.NEED_CONSISTENCY
    assert compare_heads(at(HERE, 16), at(THERE, 15)) is Comparison.NEED_CONSISTENCY
    assert compare_heads(empty, at(HERE, 15)) is Comparison.CONSISTENT
    assert compare_heads(at(HERE, 15), empty) is Comparison.CONSISTENT
    assert compare_heads(empty, impossible) is Comparison.EQUIVOCATION
    assert compare_heads(impossible, at(HERE, 15)) is Comparison.NEED_CONSISTENCY
    with pytest.raises(LocalError):
        compare_heads(at(HERE, 15), Checkpoint(origin=SECOND, size=15, root=bytes(32)))


# Evidence that convinces --------------------------------------------------------------------------


@pytest.mark.parametrize("evidence", [TWO_ROOTS, FORK, TWO_KEYS], ids=lambda one: str(one.kind))
def test_evidence_convinces_whoever_has_nothing_else(evidence: Evidence) -> None:
    handed_on = decode_evidence_untrusted(encode_evidence(evidence))
    shown = verify_evidence_untrusted(handed_on)

    assert handed_on == evidence
    assert (shown.identity, shown.kind, shown.origin) == (ANN.public, evidence.kind, FIRST)
    assert shown.first != shown.second


@pytest.mark.parametrize(("old", "new"), [(10, 11), (13, 20), (16, 17), (16, 20), (12, 16)])
def test_a_fork_is_proven_between_any_two_sizes(old: int, new: int) -> None:
    shown = verify_evidence_untrusted(fork(old, new))

    assert (shown.kind, shown.first, shown.second) == (Kind.FORK, at(HERE, old), at(THERE, new))


def test_the_heads_of_evidence_come_in_any_order_and_with_cosignatures() -> None:
    line = cosign(at(HERE, 15), name="w/bob", key=BOB, now=1000)
    turned = head_evidence(
        KEYS,
        head(THERE, 15),
        head(HERE, 13) + cosign(at(HERE, 13), name="w/bob", key=BOB, now=1000),
        root=at(THERE, 13).root,
        proof=proof(THERE, 13, 15),
    )

    assert verify_evidence_untrusted(turned).first == at(HERE, 13)
    assert head_evidence(KEYS, head(HERE, 15) + line, head(THERE, 15)).kind is Kind.TWO_ROOTS


def test_heads_of_later_epochs_come_with_the_statements_that_they_need() -> None:
    log = [*epochs.LOG[:13], *grown([], 20, "another")[13:]]
    evidence = head_evidence(
        epochs.KEYS, epochs.note(20, epochs.TWO), epochs.note(20, epochs.TWO, log=log)
    )

    assert evidence.statements == epochs.KEYS.statements
    assert verify_evidence_untrusted(evidence).kind is Kind.TWO_ROOTS
    assert code_of(msgspec.structs.replace(evidence, statements=evidence.statements[:1])) == "key"


# Evidence that is none ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"second": head(HERE, 15)},
        {"second": head(THERE, 16)},
        {"first": head(HERE, 14)},
        {"root": bytes(32)},
        {"proof": (bytes(32),)},
        {"kind": Kind.FORK},
    ],
    ids=lambda changes: "/".join(changes),
)
def test_two_heads_that_do_not_contradict_each_other_are_no_evidence(
    changes: dict[str, object],
) -> None:
    assert code_of(msgspec.structs.replace(TWO_ROOTS, **changes)) == "no_evidence"


@pytest.mark.parametrize(
    "changes",
    [
        {"root": at(HERE, 13).root},
        {"root": bytes(32)},
        {"root": b""},
        {"proof": ()},
        {"proof": FORK.proof[::-1]},
        {"first": head(THERE, 13)},
        {"first": head(THERE, 16)},
        {"first": FORK.second, "second": FORK.first},
        {"second": head(HERE, 15)},
        {"kind": Kind.TWO_ROOTS},
    ],
    ids=lambda changes: "/".join(changes),
)
def test_a_fork_without_its_proof_is_no_evidence(changes: dict[str, object]) -> None:
    assert code_of(msgspec.structs.replace(FORK, **changes)) == "no_evidence"


@pytest.mark.parametrize(
    "changes",
    [
        {"second": TO_ONE},
        {"second": signed(epoch=2)},
        {"statements": (TO_ONE,)},
        {"root": bytes(32)},
        {"proof": (bytes(32),)},
    ],
    ids=lambda changes: "/".join(changes),
)
def test_two_statements_that_do_not_contradict_each_other_are_no_evidence(
    changes: dict[str, object],
) -> None:
    assert code_of(msgspec.structs.replace(TWO_KEYS, **changes)) == "no_evidence"


def test_what_somebody_else_signed_is_no_evidence() -> None:
    bea = person("Bea")
    forged = sign_checkpoint(at(THERE, 15), BOB)
    by_bea = msgspec.structs.replace(TWO_ROOTS, certificate=bea.public.certificate)
    keys_of_bea = msgspec.structs.replace(TWO_KEYS, certificate=bea.public.certificate)

    assert code_of(msgspec.structs.replace(TWO_ROOTS, second=forged)) == "key"
    assert code_of(by_bea) == "origin"
    assert code_of(keys_of_bea) == "authentication"
    assert code_of(msgspec.structs.replace(TWO_ROOTS, certificate=b"")) == "encoding"
    assert code_of(msgspec.structs.replace(TWO_ROOTS, statements=(b"",))) == "encoding"


def test_heads_of_two_incarnations_do_not_contradict_each_other() -> None:
    begun = signed(origin=SECOND, incarnation=1, epoch=0, key=epochs.OTHER.public, previous=b"")
    keys = LogKeys.of(ANN.public).with_statement_untrusted(begun)
    second = epochs.note(15, epochs.OTHER, origin=SECOND)

    with pytest.raises(LogError) as error:
        head_evidence(keys, head(HERE, 15), second)
    assert error.value.code == "origin"


def test_evidence_is_bounded() -> None:
    huge = msgspec.structs.replace(TWO_ROOTS, statements=(bytes(MAX_EVIDENCE_BYTES),))

    with pytest.raises(LimitError):
        encode_evidence(huge)


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=2, unique=True).map(sorted),
    st.sampled_from([HERE, THERE]),
    st.sampled_from([bytes(32), at(HERE, 13).root, at(THERE, 13).root]),
    st.lists(st.sampled_from([leaf_hash(one) for one in HERE]), max_size=4),
)
def test_nobody_has_evidence_against_an_honest_log(
    sizes: list[int], log: list[bytes], root: bytes, hashes: list[bytes]
) -> None:
    for path in (proof(log, *sizes), tuple(hashes)):
        for claimed in (root, at(log, sizes[0]).root):
            with pytest.raises(LogError):
                head_evidence(
                    KEYS, head(log, sizes[0]), head(log, sizes[1]), root=claimed, proof=path
                )


@given(st.integers(0, 19), st.integers(1, 20), st.integers(1, 20))
def test_heads_of_two_stories_contradict_each_other_from_where_they_part(
    parted: int, one: int, other: int
) -> None:
    here, there = (grown(LOG[:parted], 20, story) for story in ("here", "there"))
    smaller, larger = (here, there) if one <= other else (there, here)
    sizes = sorted((one, other))
    root = at(larger, sizes[0]).root if one != other else b""
    path = proof(larger, *sizes)

    def found() -> Evidence:
        return head_evidence(KEYS, head(here, one), head(there, other), root=root, proof=path)

    if sizes[0] > parted:
        assert verify_evidence_untrusted(found()).first == at(smaller, sizes[0])
    else:
        with pytest.raises(LogError):
            found()


# The root that a forked log's own proof shows -----------------------------------------------------


def test_a_proof_of_another_history_shows_its_root() -> None:
    for new in range(2, 21):
        for old in range(1, new):
            path = proof(THERE, old, new)
            root = at(THERE, old).root
            found = forked_root_untrusted(old, new, at(THERE, new).root, path, root)
            assert found == root
            untold = forked_root_untrusted(old, new, at(THERE, new).root, path)
            assert untold == (None if old & (old - 1) == 0 else root)


@pytest.mark.parametrize("old", [1, 2, 4, 8, 16])
def test_a_fork_from_a_power_of_two_is_proven_by_the_root_that_its_log_tells(old: int) -> None:
    here, there = (grown(LOG[: old - 1], 20, story) for story in ("here", "there"))
    for new in range(old + 1, 21):
        path, root = proof(there, old, new), at(there, old).root
        assert root != at(here, old).root

        found = forked_root_untrusted(old, new, at(there, new).root, path, root)

        assert found == root
        evidence = head_evidence(KEYS, head(here, old), head(there, new), root=found, proof=path)
        assert verify_evidence_untrusted(evidence).kind is Kind.FORK
        # A root that somebody else made up is bound to nothing.
        for lie in (at(here, old).root, bytes(32), bytes(31), b""):
            assert forked_root_untrusted(old, new, at(there, new).root, path, lie) is None


@pytest.mark.parametrize(("old", "new"), [(0, 5), (5, 5), (6, 5), (-3, 5)])
def test_no_root_is_shown_between_sizes_that_have_no_proof(old: int, new: int) -> None:
    assert forked_root_untrusted(old, new, bytes(32), (bytes(32),)) is None


@given(st.lists(st.binary(min_size=31, max_size=32), max_size=6), st.integers(1, 2**64))
def test_foreign_proofs_show_no_root(hashes: list[bytes], new: int) -> None:
    assert forked_root_untrusted(3, new, bytes(32), hashes) is None


# Published vectors --------------------------------------------------------------------------------


def test_the_worked_equivocation_is_one() -> None:
    worked = json.loads(vectors("tlog", "worked.json").read_bytes())
    log = worked["keys"]["log"]
    keys = OneLogKey(origin=log["name"], public=bytes.fromhex(log["public"]))
    one, other = (
        keys.open_head_untrusted(note.encode()) for note in worked["equivocation_evidence"]
    )

    assert compare_heads(one, other) is Comparison.EQUIVOCATION


# Foreign bytes ------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_foreign_bytes_are_no_evidence(data: bytes) -> None:
    with pytest.raises(RemoteError):
        decode_evidence_untrusted(data)


a_note = st.binary(max_size=60) | st.sampled_from([head(HERE, 15), head(THERE, 13), TO_ONE])


@given(
    st.builds(
        Evidence,
        kind=st.sampled_from(Kind),
        certificate=st.sampled_from([ANN.public.certificate, b"x"]),
        statements=st.lists(a_note, max_size=2).map(tuple),
        first=a_note,
        second=a_note,
        root=st.binary(max_size=33),
        proof=st.lists(st.binary(max_size=33), max_size=3).map(tuple),
    )
)
def test_foreign_evidence_raises_remote_errors_and_nothing_else(evidence: Evidence) -> None:
    sent = decode_evidence_untrusted(encode_evidence(evidence))
    with pytest.raises(RemoteError):
        verify_evidence_untrusted(sent)


def test_a_root_is_that_of_the_log_it_is_of() -> None:
    assert at(HERE, 9) == at(THERE, 9)
    assert root_of([leaf_hash(one) for one in HERE]) != at(THERE).root
