"""Proofs are refused for any other leaf, tree or hash."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.proof import verify_consistency, verify_inclusion
from protocol.audit.tree import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
)
from protocol.errors import LogError
from tests.protocol.audit.support import StoredTree, entries
from tests.support import vectors

LEAVES = [leaf_hash(bytes([i])) for i in range(34)]
TREE = StoredTree.of(LEAVES)
ROOTS = [root_of(LEAVES[:size]) for size in range(35)]


def included(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    """Say whether the proof is accepted; a refusal must carry the code of inclusion."""
    try:
        verify_inclusion(index, size, leaf, proof, root)
    except LogError as error:
        return error.code != "inclusion"
    return True


def consistent(old: int, new: int, root_old: bytes, root_new: bytes, proof: list[bytes]) -> bool:
    """Say whether the proof is accepted; a refusal must carry the code of consistency."""
    try:
        verify_consistency(old, new, root_old, root_new, proof)
    except LogError as error:
        return error.code != "consistency"
    return True


def flip(value: bytes, bit: int) -> bytes:
    return value[: bit // 8] + bytes([value[bit // 8] ^ 1 << bit % 8]) + value[bit // 8 + 1 :]


def damaged(proof: list[bytes]) -> Iterator[list[bytes]]:
    """Yield proof with each hash dropped, doubled, flipped in a bit and cut, and one more."""
    for at, value in enumerate(proof):
        yield proof[:at] + proof[at + 1 :]
        yield [*proof[:at], value, *proof[at:]]
        yield [*proof[:at], flip(value, 37 * at % 256), *proof[at + 1 :]]
        yield [*proof[:at], value[:-1], *proof[at + 1 :]]
    yield [*proof, bytes(32)]
    yield [bytes(32), *proof]


# Every proof of every small tree ------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 34))
def test_every_inclusion_proof_holds_for_its_leaf_and_no_damage_to_it_does(size: int) -> None:
    for index in range(size):
        leaf, root = LEAVES[index], ROOTS[size]
        proof = inclusion_proof(index, size, TREE.read)

        assert included(index, size, leaf, proof, root)
        assert not any(included(index, size, leaf, bad, root) for bad in damaged(proof))
        assert not included(index, size, flip(leaf, index), proof, root)
        assert not included(index, size, leaf, proof, flip(root, index))
        assert not any(
            included(other, size, leaf, proof, root) for other in range(-1, 67) if other != index
        )


@pytest.mark.parametrize("new", range(1, 34))
def test_every_consistency_proof_holds_for_its_trees_and_no_damage_to_it_does(new: int) -> None:
    for old in range(1, new + 1):
        roots = ROOTS[old], ROOTS[new]
        proof = consistency_proof(old, new, TREE.read)

        assert consistent(old, new, *roots, proof)
        assert not any(consistent(old, new, *roots, bad) for bad in damaged(proof))
        assert not consistent(old, new, flip(roots[0], old), roots[1], proof)
        assert not consistent(old, new, roots[0], flip(roots[1], old), proof)
        assert old == new or not consistent(old, new, roots[0][:-1], roots[1], proof)
        assert not any(
            consistent(other, new, ROOTS[other], roots[1], proof)
            for other in range(1, 35)
            if other != old
        )


def test_no_consistency_proof_starts_from_the_empty_tree() -> None:
    assert not consistent(0, 1, EMPTY_ROOT, ROOTS[1], [])
    assert not consistent(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert not consistent(2, 1, ROOTS[2], ROOTS[1], [])


def test_the_boundary_between_two_hashes_cannot_move() -> None:
    leaf, (sibling, *rest) = LEAVES[0], inclusion_proof(0, 4, TREE.read)
    old, (first, *others) = ROOTS[2], consistency_proof(2, 4, TREE.read)

    moved = [sibling[1:], *rest]
    assert not included(0, 4, leaf + sibling[:1], moved, ROOTS[4])
    moved = [first[1:], *others]
    assert not consistent(2, 4, old + first[:1], ROOTS[4], moved)


def test_one_size_has_one_root() -> None:
    assert consistent(5, 5, ROOTS[5], ROOTS[5], [])
    assert not consistent(5, 5, ROOTS[5], ROOTS[6], [])


# Tamper matrix, T14 -------------------------------------------------------------------------------


class TestTamperedInclusion:
    leaves = tuple(leaf_hash(data) for data in entries(20))
    tree = StoredTree.of(leaves)
    root = root_of(leaves)
    leaf = leaves[7]
    proof = inclusion_proof(7, 20, tree.read)

    def test_t14a_an_honest_proof_is_accepted(self) -> None:
        assert included(7, 20, self.leaf, self.proof, self.root)

    def test_t14b_a_dropped_hash_is_rejected(self) -> None:
        assert not included(7, 20, self.leaf, self.proof[:-1], self.root)

    def test_t14c_an_appended_hash_is_rejected(self) -> None:
        assert not included(7, 20, self.leaf, [*self.proof, self.root], self.root)

    def test_t14d_another_index_is_rejected(self) -> None:
        assert not included(6, 20, self.leaf, self.proof, self.root)

    def test_t14e_an_index_of_the_size_is_rejected(self) -> None:
        assert not included(20, 20, self.leaf, self.proof, self.root)

    def test_t14f_an_index_over_2_to_the_63_is_rejected(self) -> None:
        assert not included(2**63 + 7, 20, self.leaf, self.proof, self.root)

    def test_t14g_another_size_is_accepted_because_a_proof_does_not_bind_it(self) -> None:
        assert included(7, 21, self.leaf, self.proof, self.root)

    def test_t14h_an_interior_node_offered_as_an_entry_is_rejected(self) -> None:
        interior = leaf_hash(self.leaves[6] + self.leaves[7])
        assert not included(3, 10, interior, self.proof[1:], self.root)

    def test_t14i_a_node_hash_passed_as_leaf_hash_is_accepted_so_compute_it(self) -> None:
        assert included(3, 10, self.tree.read(1, 3), self.proof[1:], self.root)


# Published vectors --------------------------------------------------------------------------------


def merkle_cases(kind: str) -> list[dict[str, Any]]:
    folder = vectors("tlog", "transparency-dev-merkle", "testdata", kind)
    return [json.loads(file.read_bytes()) for file in sorted(folder.rglob("*.json"))]


def decoded(case: dict[str, Any], field: str) -> bytes:
    return base64.b64decode(case[field] or "")


def test_transparency_dev_inclusion_proofs_are_judged_as_published() -> None:
    verdicts = []
    for case in merkle_cases("inclusion"):
        proof = [base64.b64decode(value) for value in case["proof"] or []]
        accepted = included(
            case["leafIdx"],
            case["treeSize"],
            decoded(case, "leafHash"),
            proof,
            decoded(case, "root"),
        )
        assert accepted is not case["wantErr"], case["desc"]
        verdicts.append(accepted)

    assert (verdicts.count(True), verdicts.count(False)) == (6, 92)


def test_transparency_dev_consistency_proofs_are_judged_as_published() -> None:
    verdicts = []
    for case in merkle_cases("consistency"):
        proof = [base64.b64decode(value) for value in case["proof"] or []]
        roots = decoded(case, "root1"), decoded(case, "root2")
        accepted = consistent(case["size1"], case["size2"], *roots, proof)
        assert accepted is not case["wantErr"], case["desc"]
        verdicts.append(accepted)

    assert (verdicts.count(True), verdicts.count(False)) == (6, 92)


class TestArgon2020:
    """A certificate transparency log of 961,984,013 leaves."""

    @staticmethod
    def load(name: str) -> Any:
        return json.loads(vectors("tlog", "golang-mod-argon2020", f"{name}.json").read_bytes())

    def test_its_inclusion_proof_verifies(self) -> None:
        head, proof = self.load("sth"), self.load("proof")
        leaf = leaf_hash(decoded(self.load("entries")["entries"][0], "leaf_input"))
        path = [base64.b64decode(value) for value in proof["audit_path"]]
        root = decoded(head, "sha256_root_hash")

        assert included(proof["leaf_index"], head["tree_size"], leaf, path, root)
        assert not included(proof["leaf_index"] + 1, head["tree_size"], leaf, path, root)

    def test_its_consistency_proof_verifies(self) -> None:
        head = self.load("sth")
        path = [base64.b64decode(value) for value in self.load("consistency")["consistency"]]
        # The older head that golang/mod's test compares with.
        old, root_old = 3654490, base64.b64decode("AuIZ5V6sDUj1vn3Y1K85oOaQ7y+FJJKtyRTl1edIKBQ=")
        root = decoded(head, "sha256_root_hash")

        assert consistent(old, head["tree_size"], root_old, root, path)
        assert not consistent(old + 1, head["tree_size"], root_old, root, path)


# Foreign bytes ------------------------------------------------------------------------------------


hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=4)


@given(st.integers(-1, 2**64), st.integers(-1, 2**64), hashes, st.binary(max_size=33))
def test_foreign_proofs_raise_log_error_and_nothing_else(
    one: int, two: int, proof: list[bytes], root: bytes
) -> None:
    included(one, two, LEAVES[0], proof, root)
    consistent(one, two, LEAVES[0], root, proof)
