"""A verifier with any fault of the list fails a test, and without one passes them all."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest

from protocol.audit.entry import decode_entry_untrusted, encode_entry
from protocol.audit.proof import verify_consistency, verify_inclusion
from protocol.audit.tree import consistency_proof, inclusion_proof, leaf_hash, root_of
from protocol.audit.verify import verify_log
from protocol.errors import EncodingError, LogError
from tests.protocol.audit.seeded_faults import FAULTS, Fault
from tests.protocol.audit.support import StoredTree, digits, entry
from tests.protocol.audit.tamper_support import LOG, ONE_KEY, head
from tests.support import ROOT

LEAVES = [leaf_hash(one) for one in LOG]


@functools.cache
def results() -> dict[str, str]:
    """Play all faults in a process of their own, which patches what it imports."""
    module = "tests.protocol.audit.seeded_faults"
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, capture_output=True, check=True, timeout=280
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_seeded_fault_fails_its_test(fault: Fault) -> None:
    assert results()[fault.name] == "failed"


@pytest.mark.parametrize("test", sorted({fault.test for fault in FAULTS}))
def test_without_a_fault_every_one_of_these_tests_passes(test: str) -> None:
    assert results()[test] == "passed"


def test_no_two_faults_are_one() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({(fault.module, fault.old, fault.new, fault.nth) for fault in FAULTS}) == len(FAULTS)


# What no other test says so sharply ---------------------------------------------------------------


def test_an_index_of_the_size_is_refused() -> None:
    # In a tree of 2 the path of index 2 would be that of index 0 of a tree that has it.
    for size in range(1, 21):
        tree = StoredTree.of(LEAVES[:size])
        for index in range(size):
            path = inclusion_proof(index, size, tree.read)
            with pytest.raises(LogError):
                verify_inclusion(size, size, LEAVES[index], path, root_of(LEAVES[:size]))


def test_a_node_passed_as_a_leaf_hash_is_refused_in_a_larger_tree() -> None:
    tree = StoredTree.of(LEAVES)
    path = inclusion_proof(7, 20, tree.read)

    with pytest.raises(LogError):
        verify_inclusion(3, 20, tree.read(1, 3), path[1:], root_of(LEAVES))


def test_a_consistency_proof_of_a_smaller_tree_is_refused() -> None:
    path = consistency_proof(3, 4, StoredTree.of(LEAVES).read)
    roots = root_of(LEAVES[:3]), root_of(LEAVES[:4])
    verify_consistency(3, 4, *roots, path)

    with pytest.raises(LogError):
        verify_consistency(3, 8, *roots, path)


def test_two_entries_of_one_millisecond_are_not_flagged() -> None:
    same = [encode_entry(entry(seq, time=5)) for seq in range(3)]

    assert verify_log(same, head(same), keys=ONE_KEY).flagged == ()


def test_an_entry_commits_to_a_field_once() -> None:
    name = f'"name":"{digits("name", 64)}"'
    good = encode_entry(entry(0, commitments={"name": digits("name", 64)}))

    with pytest.raises(EncodingError):
        decode_entry_untrusted(good.replace(name.encode(), f"{name},{name}".encode()))
