"""The tree: roots, growth, and the making of proofs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    complete_subtrees_of,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)
from protocol.errors import LocalError
from tests.protocol.audit.support import StoredTree, mth, path, sha256, subproof
from tests.support import vectors

LEAVES = [leaf_hash(bytes([i])) for i in range(130)]
TREE = StoredTree.of(LEAVES)


def test_hashes_are_those_of_rfc_6962() -> None:
    assert sha256(b"") == EMPTY_ROOT
    assert sha256(b"\x00entry") == leaf_hash(b"entry")
    assert sha256(b"\x01" + b"L" * 32 + b"R" * 32) == node_hash(b"L" * 32, b"R" * 32)


@pytest.mark.parametrize("size", range(131))
def test_every_root_is_the_recursive_one(size: int) -> None:
    expected = mth(LEAVES[:size])

    assert expected == root_of(LEAVES[:size])
    assert expected == Frontier.from_nodes(size, TREE.read).root()


def test_a_frontier_has_the_right_root_at_every_size() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES):
        assert size == frontier.size
        assert mth(LEAVES[:size]) == frontier.root()
        frontier.append(leaf)


def test_appending_returns_the_nodes_it_completes() -> None:
    frontier = Frontier()
    completed = [frontier.append(leaf) for leaf in LEAVES[:4]]

    assert [
        [],
        [(1, 0, mth(LEAVES[:2]))],
        [],
        [(1, 1, mth(LEAVES[2:4])), (2, 0, mth(LEAVES[:4]))],
    ] == completed


def test_a_stored_tree_holds_every_complete_subtree_once() -> None:
    complete = {
        (level, position): mth(LEAVES[position << level : (position + 1) << level])
        for level in range(8)
        for position in range(len(LEAVES) >> level)
    }

    assert complete == TREE.nodes


def test_a_copy_grows_apart() -> None:
    frontier = Frontier.from_nodes(3, TREE.read)
    copy = frontier.copy()
    copy.append(LEAVES[3])

    assert (3, mth(LEAVES[:3])) == (frontier.size, frontier.root())
    assert (4, mth(LEAVES[:4])) == (copy.size, copy.root())


def test_appending_a_subtree_is_appending_its_leaves() -> None:
    frontier = Frontier()
    frontier.append_subtree(2, mth(LEAVES[:4]))
    completed = frontier.append_subtree(2, mth(LEAVES[4:8]))
    frontier.append_subtree(1, mth(LEAVES[8:10]))

    assert [(3, 0, mth(LEAVES[:8]))] == completed
    assert (10, mth(LEAVES[:10])) == (frontier.size, frontier.root())


def test_a_subtree_is_appended_at_a_multiple_of_its_size_only() -> None:
    frontier = Frontier.from_nodes(2, TREE.read)
    with pytest.raises(LocalError):
        frontier.append_subtree(2, LEAVES[0])

    assert (2, mth(LEAVES[:2])) == (frontier.size, frontier.root())


@given(st.integers(0, 130))
def test_complete_subtrees_cover_the_leaves_the_largest_first(size: int) -> None:
    first = 0
    for level, root in complete_subtrees_of(LEAVES[:size]):
        assert mth(LEAVES[first : first + (1 << level)]) == root
        first += 1 << level

    assert size == first


@pytest.mark.parametrize("size", range(34))
def test_whoever_listens_is_told_of_every_complete_subtree(size: int) -> None:
    told: dict[tuple[int, int], bytes] = {}

    def listen(level: int, roots: Sequence[bytes]) -> None:
        told.update({(level, position): root for position, root in enumerate(roots)})

    assert complete_subtrees_of(LEAVES[:size], listen) == complete_subtrees_of(LEAVES[:size])
    assert told == StoredTree.of(LEAVES[:size]).nodes


@pytest.mark.parametrize("size", range(1, 66))
def test_every_inclusion_proof_is_the_recursive_one(size: int) -> None:
    for index in range(size):
        assert path(index, LEAVES[:size]) == inclusion_proof(index, size, TREE.read)


@pytest.mark.parametrize("new", range(1, 66))
def test_every_consistency_proof_is_the_recursive_one(new: int) -> None:
    for old in range(1, new + 1):
        assert subproof(old, LEAVES[:new], True) == consistency_proof(old, new, TREE.read)


def test_all_proofs_up_to_130_leaves_have_the_published_digests() -> None:
    inclusion, consistency = hashlib.sha256(), hashlib.sha256()
    for size in range(1, 131):
        for index in range(size):
            proof = inclusion_proof(index, size, TREE.read)
            inclusion.update(line(index, size, proof))
    for new in range(1, 131):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, TREE.read)
            consistency.update(line(old, new, proof))

    assert inclusion.hexdigest() == (
        "893ce6eea61adc33c22c0e3a952498b76dfa3c282e78ac659f6fcc0ea44f9983"
    )
    assert consistency.hexdigest() == (
        "2498232e1aebe8d1aa8d339d897fc471f4495fe0b8a55ac08f7dae3d88bc4c2a"
    )


def line(left: int, right: int, proof: list[bytes]) -> bytes:
    return " ".join([str(left), str(right), *(value.hex() for value in proof)]).encode() + b"\n"


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_there_is_no_inclusion_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(LocalError):
        inclusion_proof(index, size, TREE.read)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 3), (4, 3), (-1, 3)])
def test_there_is_no_consistency_proof_from_nothing_or_back(old: int, new: int) -> None:
    with pytest.raises(LocalError):
        consistency_proof(old, new, TREE.read)


def test_the_worked_tree_is_reproduced() -> None:
    worked = json.loads(vectors("tlog", "worked.json").read_bytes())
    leaves = [leaf_hash(entry.encode()) for entry in worked["entries"]]
    tree = StoredTree.of(leaves)

    assert worked["leaf_hashes"] == [leaf.hex() for leaf in leaves]
    assert worked["roots"] == [root_of(leaves[:size]).hex() for size in range(6)]
    assert worked["nodes"] == {
        "[0,2)": tree.read(1, 0).hex(),
        "[2,4)": tree.read(1, 1).hex(),
        "[0,4)": tree.read(2, 0).hex(),
    }
    assert len(worked["inclusion"]) == len(worked["consistency"]) == 15
    for case in worked["inclusion"]:
        proof = inclusion_proof(case["index"], case["size"], tree.read)
        assert case["proof"] == [value.hex() for value in proof]
    for case in worked["consistency"]:
        proof = consistency_proof(case["old"], case["new"], tree.read)
        assert case["proof"] == [value.hex() for value in proof]
