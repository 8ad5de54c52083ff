"""The tamper matrix of docs/tamper-matrix.md, row by row, with the outcome it states.

An OK, a 200 or an ACCEPT in a row that tampers is what the matrix says: not found out there.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable

import pytest

from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.entry import commitment, decode_entry_untrusted, encode_entry
from protocol.audit.equivocation import (
    decode_evidence_untrusted,
    encode_evidence,
    head_evidence,
    verify_evidence_untrusted,
)
from protocol.audit.log_keys import LogKeys, OneLogKey
from protocol.audit.note import KeyType, VerifierKey
from protocol.audit.proof import verify_inclusion
from protocol.audit.reconcile import check_receipts, match_opens
from protocol.audit.tree import consistency_proof, inclusion_proof, leaf_hash, node_hash, root_of
from protocol.errors import AuthenticationError, LogError
from protocol.primitives import Aead
from tests.protocol.audit import log_key_support as epochs
from tests.protocol.audit.log_key_support import FIRST
from tests.protocol.audit.support import START, StoredTree, digits, entry
from tests.protocol.audit.tamper_support import (
    BOB,
    CAROL,
    HOUR,
    KEYS,
    LOG,
    LOG_KEY,
    ONE_KEY,
    STRANGER,
    Witness,
    at,
    gossip,
    grown,
    head,
    line,
    offline,
    quorum,
    raw_line,
    rewritten,
)
from tests.support import ROOT

Play = Callable[[], object]
ROWS: dict[str, Play] = {}

DOCUMENT = ROOT / "docs" / "tamper-matrix.md"
EXPECTED = {
    row[1].strip(): row[4].strip()
    for row in (text.split("|") for text in DOCUMENT.read_text().splitlines())
    if len(row) == 6 and re.fullmatch(r" T\d\d[a-j]? ", row[1])
}


def row(name: str) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        assert name not in ROWS
        ROWS[name] = play
        return play

    return add


IN_THE_NODE = {
    # What searches find is the node's own; the log knows nothing of it.
    "T22": "tests/node/services/test_log_verifying.py::"
    "test_a_search_index_that_hides_an_entry_is_found",
}


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in IN_THE_NODE])
def test_row(name: str) -> None:
    assert str(ROWS[name]()) == EXPECTED[name]


@pytest.mark.parametrize("name", IN_THE_NODE)
def test_the_row_is_played_in_the_node(name: str) -> None:
    file, _, test = IN_THE_NODE[name].partition("::")
    played = (ROOT / file).read_text().partition(f"def {test}(")[2].partition("\nasync def ")[0]

    assert f"Row {name} of the tamper matrix" in played
    assert f'"{EXPECTED[name].removeprefix("REJECT ")}"' in played


def test_every_row_of_the_matrix_is_played_and_no_other() -> None:
    assert len(EXPECTED) == 75
    assert sorted([*ROWS, *IN_THE_NODE]) == sorted(EXPECTED)


# Rewriting and cutting a log ----------------------------------------------------------------------

SEEN_12 = (at(LOG, 12),)


@row("T00")
def honest() -> str:
    return offline(LOG, head(LOG), seen=SEEN_12)


@row("T01")
def byte_changed() -> str:
    at_nonce = LOG[5].index(b'"nonce":"') + 9
    changed = LOG[5][:at_nonce] + (b"1" if LOG[5][at_nonce] != ord("1") else b"2")
    return offline([*LOG[:5], changed + LOG[5][at_nonce + 1 :], *LOG[6:]], head(LOG))


@row("T02")
def middle_entry_deleted() -> str:
    return offline(LOG[:7] + LOG[8:], head(LOG))


@row("T03")
def two_entries_swapped() -> str:
    return offline([*LOG[:4], LOG[5], LOG[4], *LOG[6:]], head(LOG))


@row("T04a")
def rewritten_alone() -> str:
    return offline(rewritten(5), head(rewritten(5)))


@row("T04b")
def rewritten_against_a_witnessed_head() -> str:
    return offline(rewritten(5), head(rewritten(5)), seen=SEEN_12)


@row("T04c")
def rewritten_and_pushed() -> int:
    return Witness.of(LOG, 12).add(12, rewritten(5), 20)


@row("T05a")
def cut_alone() -> str:
    return offline(LOG[:10], head(LOG, 10))


@row("T05b")
def cut_below_a_witnessed_head() -> str:
    return offline(LOG[:10], head(LOG, 10), seen=SEEN_12)


@row("T05c")
def cut_and_pushed() -> int:
    return Witness.of(LOG, 12).add(12, LOG, 10)


@row("T05d")
def cut_and_pushed_in_ignorance() -> int:
    return Witness.of(LOG, 12).add(10, LOG, 10)


@row("T06a")
def cut_above_a_witnessed_head() -> str:
    return offline(LOG[:15], head(LOG, 15), seen=SEEN_12)


@row("T06b")
def cut_above_a_witnessed_head_below_a_receipt() -> str:
    leaves = [leaf_hash(one) for one in LOG]

    def shown(index: int) -> bytes | None:
        return leaves[index] if index < 15 else None

    kept = [(7, leaves[7]), (17, leaves[17])]
    assert check_receipts(kept[:1], shown) == []
    (problem,) = check_receipts(kept, shown)
    assert problem.index == 17
    return f"REJECT {problem.code}"


@row("T07")
def backdated() -> str:
    slipped_in = encode_entry(entry(8, nonce=digits("slipped in", 32), time=START + 7))
    moved = [encode_entry(entry(seq + 1, nonce=digits(f"nonce {seq}", 32))) for seq in range(8, 20)]
    log = [*LOG[:8], slipped_in, *moved]
    assert offline(log, head(log)) == "OK"
    return offline(log, head(log), seen=SEEN_12)


# Equivocation -------------------------------------------------------------------------------------

ONE_STORY, OTHER_STORY = (grown(LOG[:12], 20, story) for story in ("one", "other"))


@row("T08a")
def each_peer_alone() -> str:
    bob, carol = Witness.of(LOG, 12), Witness.of(LOG, 12)
    return f"{bob.add(12, ONE_STORY, 16)}/{carol.add(12, OTHER_STORY, 16)}"


@row("T08b")
def heads_of_one_size_gossiped() -> str:
    return gossip(head(ONE_STORY, 16), head(OTHER_STORY, 16))


@row("T08c")
def other_story_to_the_same_witness() -> int:
    bob = Witness.of(LOG, 12)
    assert bob.add(12, ONE_STORY, 16) == 200
    return bob.add(16, OTHER_STORY, 16)


@row("T09a")
def heads_of_two_sizes_gossiped() -> str:
    return gossip(head(ONE_STORY, 16), head(OTHER_STORY, 17))


@row("T09b")
def mirror_proves_the_fork() -> bool:
    tree = StoredTree.of([leaf_hash(one) for one in OTHER_STORY])
    proof = consistency_proof(16, 17, tree.read)
    evidence = head_evidence(
        KEYS,
        head(ONE_STORY, 16),
        head(OTHER_STORY, 17),
        root=at(OTHER_STORY, 16).root,
        proof=proof,
    )
    shown = verify_evidence_untrusted(decode_evidence_untrusted(encode_evidence(evidence)))
    with pytest.raises(LogError):  # An honest log gives nobody such evidence.
        head_evidence(
            KEYS,
            head(OTHER_STORY, 16),
            head(OTHER_STORY, 17),
            root=at(OTHER_STORY, 16).root,
            proof=proof,
        )
    return shown.first == at(ONE_STORY, 16) and shown.second == at(OTHER_STORY, 17)


# Quorum -------------------------------------------------------------------------------------------

HEAD = head(LOG)
BOBS, CAROLS = line("bob", BOB, at(LOG)), line("carol", CAROL, at(LOG))


@row("T10")
def stale() -> str:
    two_days_ago = START - 48 * HOUR
    note = HEAD + line("bob", BOB, at(LOG), two_days_ago)
    note += line("carol", CAROL, at(LOG), two_days_ago)
    assert quorum(note, now=two_days_ago) == "OK"
    return quorum(note)


@row("T11a")
def two_of_two() -> str:
    return quorum(HEAD + BOBS + CAROLS)


@row("T11b")
def one_twice() -> str:
    return quorum(HEAD + BOBS + BOBS)


@row("T11c")
def two_of_one_witness() -> str:
    return quorum(HEAD + BOBS + line("bob", BOB, at(LOG), START + 1000))


@row("T11d")
def of_an_unknown_key() -> str:
    return quorum(HEAD + BOBS + line("carol", STRANGER, at(LOG)))


@row("T11e")
def time_altered() -> str:
    field = base64.b64decode(CAROLS.split()[-1])
    later = (int.from_bytes(field[4:12], "big") + 60).to_bytes(8, "big")
    return quorum(HEAD + BOBS + raw_line("w/carol", field[:4], later + field[12:]))


@row("T11f")
def relabelled_as_a_note_signature() -> str:
    field = base64.b64decode(CAROLS.split()[-1])
    plain = VerifierKey(name="w/carol", key_type=KeyType.NOTE, public=CAROL.public)
    return quorum(HEAD + BOBS + raw_line("w/carol", plain.key_id, field[12:]))


@row("T11g")
def moved_to_another_size() -> str:
    return quorum(HEAD + BOBS + line("carol", CAROL, at(LOG, 19)))


@row("T11h")
def without_the_log() -> str:
    return quorum(HEAD.partition(b"\n\n")[0] + b"\n\n" + BOBS + CAROLS)


# Heads of somebody else, and heads that are none --------------------------------------------------

TEXT = HEAD.partition(b"\n\n")[0] + b"\n"
LOG_VKEY = VerifierKey(name=FIRST, key_type=KeyType.NOTE, public=LOG_KEY.public)
ELSEWHERE = Checkpoint(origin=origin_of(bytes(32)), size=20, root=at(LOG).root)


@row("T12a")
def head_of_another_key() -> str:
    return offline(LOG, head(LOG, key=BOB))


@row("T12b")
def head_of_another_key_with_the_key_id_pasted() -> str:
    return offline(LOG, TEXT + b"\n" + raw_line(FIRST, LOG_VKEY.key_id, BOB.sign(TEXT)))


@row("T12c")
def head_for_another_origin() -> str:
    return offline(LOG, sign_checkpoint(ELSEWHERE, LOG_KEY))


@row("T12d")
def head_of_another_origin_under_the_right_name() -> str:
    return offline(LOG, sign_checkpoint(ELSEWHERE, LOG_KEY, FIRST))


def malformed(text: str) -> str:
    """Sign a text that is no checkpoint, as no code of ours would, and open it."""
    field = LOG_KEY.sign(text.encode())
    note = f"{text}\n".encode() + raw_line(FIRST, LOG_VKEY.key_id, field)
    outcomes = {offline(LOG, note, keys=keys) for keys in (ONE_KEY, KEYS)}
    known = {"REJECT malformed_checkpoint", "REJECT malformed_note", "REJECT ext"}
    assert outcomes <= known
    assert len(outcomes) == 1
    (found,) = outcomes
    return found if found == "REJECT ext" else "REJECT"


ROOT64 = base64.b64encode(at(LOG).root).decode()
MALFORMED = {
    "T13a": f"{FIRST}\n020\n{ROOT64}\n",
    "T13b": f"{FIRST}\n+20\n{ROOT64}\n",
    "T13c": f"{FIRST}\n{2**64}\n{ROOT64}\n",
    "T13d": f"{FIRST}\n20\n{base64.b64encode(at(LOG).root[:31]).decode()}\n",
    "T13e": f"{FIRST}\n20\n{ROOT64[:-2]}{chr(ord(ROOT64[-2]) + 1)}=\n",
    "T13f": f"{FIRST}\n20\n",
    "T13g": f"{FIRST}\r\n20\r\n{ROOT64}\r\n",
    "T13h": f"\n20\n{ROOT64}\n",
    "T13i": f"{FIRST}\n٢٠\n{ROOT64}\n",
    "T13j": f"{FIRST}\n20\n{ROOT64}\nmore\n",
}
for _name, _text in MALFORMED.items():
    row(_name)(functools.partial(malformed, _text))


# Inclusion proofs ---------------------------------------------------------------------------------

LEAVES = [leaf_hash(one) for one in LOG]
TREE = StoredTree.of(LEAVES)
PATH = inclusion_proof(7, 20, TREE.read)


def proof(index: int, size: int, leaf: bytes, path: list[bytes], of: int = 20) -> str:
    try:
        verify_inclusion(index, size, leaf, path, root_of(LEAVES[:of]))
    except LogError:
        return "REJECT"
    return "ACCEPT"


@row("T14a")
def proof_honest() -> str:
    return proof(7, 20, LEAVES[7], PATH)


@row("T14b")
def proof_with_a_hash_dropped() -> str:
    found = {proof(7, 20, LEAVES[7], PATH[:at] + PATH[at + 1 :]) for at in range(len(PATH))}
    return "/".join(found)


@row("T14c")
def proof_with_a_hash_appended() -> str:
    return proof(7, 20, LEAVES[7], [*PATH, PATH[-1]])


@row("T14d")
def proof_of_another_index() -> str:
    return "/".join({proof(index, 20, LEAVES[7], PATH) for index in range(20) if index != 7})


@row("T14e")
def proof_of_the_size_as_index() -> str:
    return proof(20, 20, LEAVES[7], PATH)


@row("T14f")
def proof_of_a_huge_index() -> str:
    return proof(2**63 + 7, 20, LEAVES[7], PATH)


@row("T14g")
def proof_in_another_size() -> str:
    return proof(7, 21, LEAVES[7], PATH)


@row("T14h")
def proof_of_an_interior_node_as_an_entry() -> str:
    entry_of_64_bytes = LEAVES[6] + LEAVES[7]
    return proof(3, 10, leaf_hash(entry_of_64_bytes), PATH[1:])


@row("T14i")
def proof_of_an_interior_node_as_a_leaf_hash() -> str:
    return proof(3, 10, node_hash(LEAVES[6], LEAVES[7]), PATH[1:])


# Crashes, restores and clones ---------------------------------------------------------------------


@row("T15a")
def torn_after_the_head() -> str:
    return offline([*LOG, LOG[0][:100]], HEAD)


@row("T15b")
def head_before_its_entries() -> str:
    return offline(LOG[:18], HEAD)


@row("T16a")
def restored_witness_cosigns_a_fork() -> int:
    bob = Witness.of(LOG, 12)
    backup = bob.held
    assert bob.add(12, ONE_STORY, 20) == 200
    bob.held = backup
    return bob.add(12, OTHER_STORY, 20)


@row("T16b")
def heads_of_a_restored_witness_gossiped() -> str:
    one = head(ONE_STORY) + line("bob", BOB, at(ONE_STORY))
    return gossip(one, head(OTHER_STORY) + line("bob", BOB, at(OTHER_STORY)))


@row("T17")
def cloned() -> str:
    disk, clone = (grown(LOG, 25, story) for story in ("disk", "clone"))
    return gossip(head(disk), head(clone))


@row("T18")
def clock_set_back() -> str:
    log = [*LOG[:11], encode_entry(entry(11, time=START - HOUR)), *LOG[12:]]
    return offline(log, head(log))


# Values beside the log ----------------------------------------------------------------------------

SALT, NAME = bytes(range(32)), b"bob@"
SUBJECT_KEY = bytes(range(1, 33))
SEALED = Aead(SUBJECT_KEY).seal(bytes(12), SALT + NAME, b"holder")
PERSONAL = encode_entry(entry(5, commitments={"holder": commitment(SALT, "holder", NAME).hex()}))
LOG_ABOUT_BOB = [*LOG[:5], PERSONAL, *LOG[6:]]


def view(key: bytes | None, sealed: bytes = SEALED) -> str:
    """Return what a person is shown of the field, as a node does: only what was committed to."""
    if key is None:
        return "erased"
    try:
        opened = Aead(key).open(bytes(12), sealed, b"holder")
    except AuthenticationError:
        return "REJECT"
    committed = decode_entry_untrusted(PERSONAL).commitments["holder"]
    if commitment(opened[:32], "holder", opened[32:]).hex() != committed:
        return "REJECT"
    return opened[32:].decode()


@row("T19a")
def readable_with_its_key() -> str:
    return view(SUBJECT_KEY)


@row("T19b")
def gone_without_its_key() -> str:
    return view(None)


@row("T19c")
def verifies_without_its_key() -> str:
    return offline(LOG_ABOUT_BOB, head(LOG_ABOUT_BOB))


@row("T19d")
def wrong_key_shows_nothing() -> str:
    other = bytes(range(2, 34))
    forged = Aead(other).seal(bytes(12), SALT + b"eve@", b"holder")
    assert view(other, forged) == "REJECT"
    return view(other)


@row("T19e")
def altered_after_erasure() -> str:
    altered = PERSONAL.replace(
        commitment(SALT, "holder", NAME).hex().encode(),
        commitment(SALT, "holder", b"eve@").hex().encode(),
    )
    return offline([*LOG[:5], altered, *LOG[6:]], head(LOG_ABOUT_BOB))


DICTIONARY = [b"ann@", b"bob@", b"eve@"]


@row("T20a")
def guessed_from_an_unsalted_hash() -> str:
    logged = hashlib.sha256(NAME).digest()
    guesses = {hashlib.sha256(one).digest() for one in DICTIONARY}
    return "FOUND" if logged in guesses else "safe"


@row("T20b")
def not_guessed_without_the_salt() -> str:
    shown = decode_entry_untrusted(PERSONAL)
    in_reach = (bytes(32), bytes.fromhex(shown.nonce) * 2, bytes.fromhex(shown.actor) * 2)
    guesses = {commitment(salt, "holder", one).hex() for salt in in_reach for one in DICTIONARY}
    guesses |= {hashlib.sha256(one).hexdigest() for one in DICTIONARY}
    assert commitment(SALT, "holder", NAME).hex() == shown.commitments["holder"]
    return "FOUND" if shown.commitments["holder"] in guesses else "safe"


# Epochs -------------------------------------------------------------------------------------------
#
# Sizes 0 to 6 are signed by the certificate's key, 7 to 12 by the next one, from 13 on by today's.

TODAY = OneLogKey(origin=FIRST, public=epochs.TWO.public)


def epoch(note: bytes, keys: LogKeys = epochs.KEYS) -> str:
    try:
        keys.open_head_untrusted(note)
    except LogError as error:
        return f"REJECT {error.code}"
    return "OK"


@row("T21a")
def todays_key() -> str:
    return epoch(epochs.note(15, epochs.TWO))


@row("T21b")
def first_key_up_to_its_roll() -> str:
    return epoch(epochs.note(6, LOG_KEY))


@row("T21c")
def todays_key_for_an_old_size() -> str:
    return epoch(epochs.note(4, epochs.TWO))


@row("T21d")
def old_key_for_a_later_size() -> str:
    return "/".join({epoch(epochs.note(size, LOG_KEY)) for size in (7, 15)})


@row("T21e")
def epoch_skipped() -> str:
    skipping = epochs.signed(epoch=2, key=epochs.TWO.public, previous=epochs.note(6, LOG_KEY))
    try:
        LogKeys.of(epochs.ANN.public).with_statement_untrusted(skipping)
    except LogError as error:
        return f"REJECT {error.code.replace('_', ' ')}"
    return "OK"


def rewritten_by_a_thief() -> tuple[list[bytes], bytes]:
    log = rewritten(3)[:15]
    return log, head(log, key=epochs.TWO)


@row("T21f")
def thief_rewrites_an_old_epoch() -> str:
    return offline(*rewritten_by_a_thief(), keys=TODAY)


@row("T21g")
def thief_meets_a_closing_head() -> str:
    log, signed = rewritten_by_a_thief()
    assert offline(LOG[:15], epochs.note(15, epochs.TWO), keys=epochs.KEYS) == "OK"
    return offline(log, signed, keys=epochs.KEYS)


# Two logs side by side, and commitments -----------------------------------------------------------


@row("T23")
def served_and_not_logged() -> str:
    issuer = [decode_entry_untrusted(one) for one in LOG]
    holder = [entry(seq, event="opened") for seq in range(20) if seq != 5]
    found = match_opens(issuer, holder)
    assert [one.seq for one in found.released_only] == [5]
    assert (len(found.matched), found.opened_only) == (19, ())
    return "UNMATCHED"


@row("T24a")
def commitment_opens() -> bool:
    return commitment(SALT, "holder", NAME).hex() in PERSONAL.decode()


@row("T24b")
def commitment_of_something_else() -> bool:
    others = (
        commitment(SALT, "holder", b"eve@"),
        commitment(SALT, "name", NAME),
        commitment(bytes(32), "holder", NAME),
    )
    return any(one.hex() in PERSONAL.decode() for one in others)
