"""Proofs that are files by themselves, and the entries that a pack holds."""

from __future__ import annotations

import pytest

from protocol.audit.log_keys import LogKeys
from protocol.audit.pack import read_entries_untrusted
from protocol.audit.proof_file import format_proof_file, verify_proof_file_untrusted
from protocol.audit.tlog_proof import format_proof
from protocol.audit.tree import inclusion_proof, leaf_hash
from protocol.errors import EncodingError, LocalError, LogError, RemoteError
from tests.protocol.audit.packs import ALICE, KEY_1, KEY_2, Log, archive, honest, log_key
from tests.protocol.audit.support import StoredTree

PARTS = honest()
FIRST, SECOND = PARTS.logs
KEYS = (
    LogKeys.of(ALICE.public)
    .with_statement_untrusted(log_key(FIRST, 1, KEY_1, FIRST.head(6, ALICE.log)))
    .with_statement_untrusted(log_key(SECOND, 0, KEY_2, FIRST.head(8, KEY_1)))
)


def proof_of(log: Log, index: int) -> bytes:
    tree = StoredTree.of([leaf_hash(entry) for entry in log.entries])
    size = len(log.entries)
    return format_proof_file(
        KEYS,
        index=index,
        entry=log.entries[index],
        proof=inclusion_proof(index, size, tree.read),
        note=log.head(size, KEY_2 if log is SECOND else KEY_1),
    )


@pytest.mark.parametrize("log", [FIRST, SECOND])
def test_a_proof_file_proves_itself(log: Log) -> None:
    for index in range(len(log.entries)):
        proven = verify_proof_file_untrusted(proof_of(log, index))

        assert proven.keeper == ALICE.public
        assert (proven.index, proven.entry.seq) == (index, index)
        assert (proven.head.origin, proven.head.size) == (log.origin, len(log.entries))


def test_a_proof_that_does_not_bring_its_entry_needs_it_beside() -> None:
    with pytest.raises(LogError, match="does not bring its entry"):
        verify_proof_file_untrusted(format_proof(0, (), FIRST.head(1, ALICE.log)))


def test_every_byte_of_a_proof_file_matters() -> None:
    data = proof_of(FIRST, 2)
    said = verify_proof_file_untrusted(data)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        try:
            assert verify_proof_file_untrusted(bytes(changed)) == said
        except RemoteError:
            continue


def test_a_proof_with_more_keys_than_it_has_room_for_is_not_made() -> None:
    entry = FIRST.entries[0].replace(b'"nonce"', b'"nonce"')
    with pytest.raises(LocalError):
        format_proof_file(KEYS, index=0, entry=entry * 400, proof=(), note=FIRST.head(1, ALICE.log))


def test_the_entries_of_a_pack_come_with_what_is_told_of_them() -> None:
    told = list(read_entries_untrusted(PARTS.pack()))

    assert [(one.incarnation, one.entry.seq) for one in told] == [
        *((0, index) for index in range(8)),
        *((1, index) for index in range(3)),
    ]
    assert told[0].values == {"name": "übergabe.jpg".encode(), "empty": b""}
    assert told[3].values == {}
    assert list(read_entries_untrusted(PARTS.pack({"log-0.txt": b"", "log-1.txt": b""}))) == []
    for bad in (b"", archive({"log-0.txt": b"=name 00 00\n"}.items())):
        with pytest.raises(EncodingError):
            list(read_entries_untrusted(bad))
