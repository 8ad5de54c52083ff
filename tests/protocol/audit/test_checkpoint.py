"""Checkpoints: the log's own signature over three lines, and cosignatures beside it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.checkpoint import (
    Checkpoint,
    cosign,
    format_checkpoint,
    open_checkpoint_untrusted,
    open_cosigned_untrusted,
    origin_of,
    parse_checkpoint_untrusted,
    sign_checkpoint,
    verify_cosignature_untrusted,
)
from protocol.audit.note import (
    KeyType,
    Unverified,
    VerifierKey,
    open_note_untrusted,
    sign_note,
    verify_note_signature_untrusted,
)
from protocol.audit.proof import verify_inclusion
from protocol.audit.tree import EMPTY_ROOT, leaf_hash
from protocol.errors import LocalError, LogError
from protocol.primitives import SigningKey, verify_signature
from tests.protocol.audit.support import ALICE, BOB, ORIGIN, START
from tests.support import vectors

ROOT = bytes(range(100, 132))
CHECKPOINT = Checkpoint(origin=ORIGIN, size=20, root=ROOT)
TEXT = format_checkpoint(CHECKPOINT)
SIGNED = sign_checkpoint(CHECKPOINT, ALICE)
BOB_KEY = VerifierKey(name="bob", key_type=KeyType.COSIGNATURE, public=BOB.public)


def code_of(data: bytes) -> str:
    with pytest.raises(LogError) as refusal:
        open_checkpoint_untrusted(data, ORIGIN, ALICE.public)
    return refusal.value.code


def test_a_checkpoint_is_three_lines() -> None:
    assert f"{ORIGIN}\n20\n{base64.b64encode(ROOT).decode()}\n".encode() == TEXT


def test_a_signed_checkpoint_opens() -> None:
    assert open_checkpoint_untrusted(SIGNED, ORIGIN, ALICE.public) == CHECKPOINT


def test_an_origin_names_the_fingerprint_and_the_incarnation() -> None:
    assert origin_of(bytes(32)) == f"safelight/{'a' * 52}/0"
    assert origin_of(b"\xff" * 32, 3) == f"safelight/{'7' * 51}q/3"


some_checkpoints = st.builds(
    Checkpoint,
    origin=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40),
    size=st.integers(0, 2**63 - 1),
    root=st.binary(min_size=32, max_size=32),
)


@given(some_checkpoints)
def test_what_was_formatted_parses_to_the_same_checkpoint(checkpoint: Checkpoint) -> None:
    assert checkpoint == parse_checkpoint_untrusted(format_checkpoint(checkpoint))


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": ""},
        {"origin": "a\nb"},
        {"origin": "a\rb"},
        {"size": -1},
        {"size": 2**63},
        {"root": bytes(31)},
        {"root": bytes(33)},
    ],
    ids=str,
)
def test_a_checkpoint_that_would_not_parse_is_not_signed(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"origin": ORIGIN, "size": 20, "root": ROOT}
    with pytest.raises(LocalError):
        sign_checkpoint(Checkpoint(**{**fields, **changes}), ALICE, "name")


@given(st.binary(max_size=120))
def test_foreign_bytes_raise_log_error_and_nothing_else(data: bytes) -> None:
    for foreign in (data, data + b"\n", TEXT[:-1] + data, ORIGIN.encode() + b"\n" + data + b"\n"):
        with contextlib.suppress(LogError):
            assert foreign == format_checkpoint(parse_checkpoint_untrusted(foreign))
        with pytest.raises(LogError):
            open_checkpoint_untrusted(foreign, ORIGIN, ALICE.public)


# Tamper matrix, T12 and T13 -----------------------------------------------------------------------


class TestForeignHeads:
    """Heads that are well-formed and not Alice's."""

    other = Checkpoint(origin=origin_of(bytes(32)), size=20, root=ROOT)

    def test_t12a_a_head_of_another_key_under_alices_name_is_unsigned(self) -> None:
        assert code_of(sign_checkpoint(CHECKPOINT, BOB)) == "unsigned"

    def test_t12b_with_alices_key_id_pasted_its_signature_is_bad(self) -> None:
        alice = VerifierKey(name=ORIGIN, key_type=KeyType.NOTE, public=ALICE.public)
        field = base64.b64encode(alice.key_id + BOB.sign(TEXT)).decode()
        forged = TEXT + f"\n— {ORIGIN} {field}\n".encode()

        assert code_of(forged) == "bad_signature"

    def test_t12c_a_head_of_alices_key_for_another_origin_is_unsigned(self) -> None:
        assert code_of(sign_checkpoint(self.other, ALICE)) == "unsigned"

    def test_t12d_under_alices_name_it_is_of_another_origin(self) -> None:
        assert code_of(sign_checkpoint(self.other, ALICE, ORIGIN)) == "origin"


ROOT_LINE = base64.b64encode(ROOT).decode()
MALFORMED = {
    "T13a size 020": f"{ORIGIN}\n020\n{ROOT_LINE}\n",
    "T13b size +20": f"{ORIGIN}\n+20\n{ROOT_LINE}\n",
    "T13c size 2^64": f"{ORIGIN}\n{2**64}\n{ROOT_LINE}\n",
    "T13c size 2^63": f"{ORIGIN}\n{2**63}\n{ROOT_LINE}\n",
    "T13d 31-byte root": f"{ORIGIN}\n20\n{base64.b64encode(ROOT[:31]).decode()}\n",
    "T13e non-canonical base64": f"{ORIGIN}\n20\n{ROOT_LINE[:-2]}{chr(ord(ROOT_LINE[-2]) + 1)}=\n",
    "T13f no root line": f"{ORIGIN}\n20\n",
    "T13g CR before LF": TEXT.decode().replace("\n", "\r\n"),
    "T13h empty origin": f"\n20\n{ROOT_LINE}\n",
    "T13i unicode digit size": f"{ORIGIN}\n٢٠\n{ROOT_LINE}\n",
    "size 2_0": f"{ORIGIN}\n2_0\n{ROOT_LINE}\n",
    "size and a space": f"{ORIGIN}\n20 \n{ROOT_LINE}\n",
    "no size": f"{ORIGIN}\n\n{ROOT_LINE}\n",
    "no last line feed": TEXT.decode()[:-1],
    "a root of 33 bytes": f"{ORIGIN}\n20\n{base64.b64encode(ROOT + b'x').decode()}\n",
}


def signed_anyway(text: str) -> bytes:
    """Return text as a note that Alice's key signed, as no honest code of ours would."""
    alice = VerifierKey(name=ORIGIN, key_type=KeyType.NOTE, public=ALICE.public)
    field = base64.b64encode(alice.key_id + ALICE.sign(text.encode())).decode()
    return f"{text}\n— {ORIGIN} {field}\n".encode()


@pytest.mark.parametrize("case", MALFORMED)
def test_t13_a_malformed_head_is_refused_however_well_it_is_signed(case: str) -> None:
    text = MALFORMED[case]
    with pytest.raises(LogError) as refusal:
        parse_checkpoint_untrusted(text.encode())

    assert refusal.value.code == "malformed_checkpoint"
    assert code_of(signed_anyway(text)) in {"malformed_checkpoint", "malformed_note"}


def test_t13j_a_head_with_an_extension_line_is_refused() -> None:
    assert code_of(signed_anyway(TEXT.decode() + "more\n")) == "extension"


# Cosignatures -------------------------------------------------------------------------------------


def test_a_cosigned_checkpoint_opens_with_its_witness() -> None:
    data = SIGNED + cosign(CHECKPOINT, name="bob", key=BOB, now=START + 1)
    checkpoint, cosignatures = open_cosigned_untrusted(data, ORIGIN, ALICE.public, [BOB_KEY])

    assert checkpoint == CHECKPOINT
    assert [(one.key, one.time) for one in cosignatures] == [(BOB_KEY, START)]


def test_a_checkpoint_without_the_logs_signature_is_refused_whoever_cosigned() -> None:
    data = TEXT + b"\n" + cosign(CHECKPOINT, name="bob", key=BOB, now=START)
    with pytest.raises(LogError) as refusal:
        open_cosigned_untrusted(data, ORIGIN, ALICE.public, [BOB_KEY])

    assert refusal.value.code == "unsigned"


def test_a_cosignature_line_verifies_alone() -> None:
    line = cosign(CHECKPOINT, name="bob", key=BOB, now=START + 999)

    assert verify_cosignature_untrusted(line, CHECKPOINT, BOB_KEY).time == START


LINE = cosign(CHECKPOINT, name="bob", key=BOB, now=START)
LATER = bytearray(base64.b64decode(LINE.split()[2]))
LATER[11] += 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "malformed_note"),
        (b"\n", "malformed_note"),
        (LINE[:-1], "malformed_note"),
        (LINE + b"\n", "malformed_note"),
        (LINE + LINE, "malformed_note"),
        (LINE.replace(b"\n", b"\r\n"), "malformed_note"),
        (b"\xff" + LINE, "malformed_note"),
        (LINE.replace(b"bob", b"b" * 2**16), "malformed_note"),
        (LINE.replace(b"bob", b"eve"), "unsigned"),
        (cosign(CHECKPOINT, name="bob", key=ALICE, now=START), "unsigned"),
        (sign_note(TEXT, name="bob", key=BOB).split(b"\n\n")[1], "unsigned"),
        (f"— bob {base64.b64encode(LATER).decode()}\n".encode(), "bad_signature"),
        (
            cosign(Checkpoint(origin=ORIGIN, size=21, root=ROOT), name="bob", key=BOB, now=START),
            "bad_signature",
        ),
    ],
)
def test_a_bad_cosignature_line_is_refused(line: bytes, code: str) -> None:
    with pytest.raises(LogError) as refusal:
        verify_cosignature_untrusted(line, CHECKPOINT, BOB_KEY)

    assert code == refusal.value.code


@given(st.binary(max_size=120))
def test_foreign_bytes_are_no_cosignature(data: bytes) -> None:
    for line in (data, data + b"\n", "— bob ".encode() + data + b"\n"):
        with pytest.raises(LogError):
            verify_cosignature_untrusted(line, CHECKPOINT, BOB_KEY)


# Published vectors --------------------------------------------------------------------------------


class TestWorked:
    @pytest.fixture
    def worked(self) -> Any:
        return json.loads(vectors("tlog", "worked.json").read_bytes())

    @staticmethod
    def checkpoint(worked: Any, size: int) -> Checkpoint:
        root = bytes.fromhex(worked["roots"][size])
        return Checkpoint(origin="safelight.example/log/alice", size=size, root=root)

    @pytest.mark.parametrize("size", [3, 5])
    def test_checkpoints_are_reproduced(self, worked: Any, size: int) -> None:
        known = worked[f"checkpoint_size{size}"]
        checkpoint = self.checkpoint(worked, size)

        assert known["body"].encode() == format_checkpoint(checkpoint)
        assert known["signed"].encode() == sign_checkpoint(checkpoint, ALICE)

    def test_cosignatures_are_reproduced(self, worked: Any) -> None:
        checkpoint = self.checkpoint(worked, 5)
        bob = cosign(checkpoint, name="safelight.example/w/bob", key=BOB, now=START)
        carol_key = SigningKey(bytes(range(64, 96)))
        carol = cosign(
            checkpoint, name="safelight.example/w/carol", key=carol_key, now=START + 1000
        )

        assert worked["cosignature_bob"]["line"].encode() == bob
        assert worked["cosignature_bob"]["raw76_hex"] == base64.b64decode(bob.split()[2]).hex()
        assert worked["checkpoint_size5"]["cosigned"].encode() == (
            sign_checkpoint(checkpoint, ALICE) + bob + carol
        )

    def test_the_two_heads_of_an_equivocation_both_open(self, worked: Any) -> None:
        one, two = (
            open_checkpoint_untrusted(note.encode(), "safelight.example/log/alice", ALICE.public)
            for note in worked["equivocation_evidence"]
        )

        assert one.size == two.size
        assert one.root != two.root

    def test_cosignatures_of_the_witness_script_verify(self, worked: Any) -> None:
        witness = VerifierKey(
            name="safelight.example/w/bob", key_type=KeyType.COSIGNATURE, public=BOB.public
        )
        verified = 0
        for step in worked["witness_script"]:
            if step["status"] == 200:
                note = step["body"].partition("\n\n")[2].encode()
                checkpoint = open_checkpoint_untrusted(
                    note, "safelight.example/log/alice", ALICE.public
                )
                line = step["response"].encode()
                cosignature = verify_cosignature_untrusted(line, checkpoint, witness)
                assert step["now"] * 1000 == cosignature.time
                now = step["now"] * 1000
                assert line == cosign(checkpoint, name=witness.name, key=BOB, now=now)
                verified += 1

        assert verified >= 3


def sigsum_cases() -> list[tuple[str, dict[str, list[str]]]]:
    data = json.loads(vectors("tlog", "sigsum", "proofs.json").read_bytes())
    cases = []
    for proof in data["proofs"]:
        fields: dict[str, list[str]] = {}
        for line in proof["proof"].splitlines():
            name, _, value = line.partition("=")
            fields.setdefault(name, []).append(value)
        cases.append((proof["message_hex"], fields))
    return cases


def test_sigsum_proofs_with_their_tree_heads_and_cosignatures_verify() -> None:
    data = json.loads(vectors("tlog", "sigsum", "proofs.json").read_bytes())
    log_key = bytes.fromhex(data["log_key"])
    log_hash = hashlib.sha256(log_key).hexdigest()
    witnesses = {
        hashlib.sha256(bytes.fromhex(key)).hexdigest(): bytes.fromhex(key)
        for key in data["witness_keys"]
    }
    for message_hex, fields in sigsum_cases():
        root = bytes.fromhex(fields["root_hash"][0])
        head = Checkpoint(
            origin=f"sigsum.org/v1/tree/{log_hash}", size=int(fields["tree_size"][0]), root=root
        )
        text = format_checkpoint(head)
        verify_signature(log_key, text, bytes.fromhex(fields["signature"][0]))

        cosigned = 0
        for cosignature in fields["cosignature"]:
            key_hash, time, signature = cosignature.split()
            if key_hash in witnesses:
                key = VerifierKey(
                    name="witness", key_type=KeyType.COSIGNATURE, public=witnesses[key_hash]
                )
                field = int(time).to_bytes(8, "big") + bytes.fromhex(signature)
                signed = Unverified(name="witness", key_id=key.key_id, signature=field)
                verified = verify_note_signature_untrusted(text, signed, key)
                assert int(time) * 1000 == verified.time
                cosigned += 1
        assert cosigned == 3

        _, key_hash, leaf_signature = fields["leaf"][0].split()
        checksum = hashlib.sha256(hashlib.sha256(bytes.fromhex(message_hex)).digest()).digest()
        leaf = leaf_hash(checksum + bytes.fromhex(leaf_signature) + bytes.fromhex(key_hash))
        proof = [bytes.fromhex(value) for value in fields["node_hash"]]
        verify_inclusion(int(fields["leaf_index"][0]), head.size, leaf, proof, root)


def test_a_rekor_v2_entry_with_its_checkpoint_verifies() -> None:
    bundle = json.loads(
        vectors("tlog", "rekor-v2", "staging-rekor-v2.txt.sigstore.json").read_bytes()
    )
    trusted = json.loads(vectors("tlog", "rekor-v2", "trusted_root.excerpt.json").read_bytes())
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    public = base64.b64decode(trusted["rawBytes"])[-32:]
    origin = "log2025-alpha1.rekor.sigstage.dev"
    inclusion = entry["inclusionProof"]
    checkpoint = open_checkpoint_untrusted(
        inclusion["checkpoint"]["envelope"].encode(), origin, public
    )

    assert (int(inclusion["treeSize"]), base64.b64decode(inclusion["rootHash"])) == (
        checkpoint.size,
        checkpoint.root,
    )
    verify_inclusion(
        int(inclusion["logIndex"]),
        checkpoint.size,
        leaf_hash(base64.b64decode(entry["canonicalizedBody"])),
        [base64.b64decode(value) for value in inclusion["hashes"]],
        checkpoint.root,
    )


def test_the_head_of_the_go_checksum_database_parses() -> None:
    cases = json.loads(vectors("tlog", "notes", "notes.json").read_bytes())
    heads = [case for case in cases if "go.sum database tree" in case["note"]]
    assert len(heads) == 2
    for case in heads:
        text = case["note"].partition("\n\n")[0].encode() + b"\n"
        checkpoint = parse_checkpoint_untrusted(text)
        assert checkpoint.origin == "go.sum database tree"
        assert text == format_checkpoint(checkpoint)


def test_the_head_of_an_empty_log_is_a_checkpoint() -> None:
    empty = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)
    data = sign_checkpoint(empty, ALICE)

    assert empty == open_checkpoint_untrusted(data, ORIGIN, ALICE.public)
    assert open_note_untrusted(
        data, [VerifierKey(name=ORIGIN, key_type=KeyType.NOTE, public=ALICE.public)]
    ).text.startswith(ORIGIN.encode() + b"\n0\n")
