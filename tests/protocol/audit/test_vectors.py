"""Known answers of the log's formats, from a second writing of them, and what the docs show."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from typing import Any

import pytest

from protocol.audit.checkpoint import (
    Checkpoint,
    cosign,
    open_checkpoint_untrusted,
    open_cosigned_untrusted,
    origin_of,
    sign_checkpoint,
)
from protocol.audit.entry import EVENTS, commitment, decode_entry_untrusted, encode_entry
from protocol.audit.equivocation import (
    Kind,
    decode_evidence_untrusted,
    encode_evidence,
    verify_evidence_untrusted,
)
from protocol.audit.log_keys import LogKeys, OneLogKey, verify_log_key_untrusted
from protocol.audit.note import KeyType, VerifierKey, format_vkey
from protocol.audit.proof import verify_consistency, verify_inclusion
from protocol.audit.tlog_proof import InclusionProof, format_proof, parse_proof_untrusted
from protocol.audit.tree import consistency_proof, inclusion_proof, leaf_hash
from protocol.audit.verify import verify_log
from protocol.audit.witness import (
    format_request,
    judge_untrusted,
    parse_request_untrusted,
    witness_key,
    witness_name,
)
from protocol.encoding import encode
from protocol.errors import EncodingError, LogError, RemoteError
from protocol.identity import parse_certificate_untrusted
from tests.protocol.audit.log_key_examples import (
    COSIGNING,
    evidence_examples,
    evidence_vectors,
    log_key_examples,
    log_key_vectors,
    witness_vectors,
)
from tests.protocol.audit.support import (
    ALICE,
    BOB,
    START,
    StoredTree,
    digits,
    mth,
    path,
    sha256,
    subproof,
)
from tests.protocol.spec_examples import printed
from tests.support import ROOT

VECTORS = ROOT / "tests" / "vectors" / "audit.json"
SPEC = ROOT / "docs" / "spec"

WITNESS = "safelight/witness/bob"
SALT = bytes(range(32))


# The second writing: nothing of protocol.audit, json and hashlib only -----------------------------


def second_entry(
    seq: int, event: str, actor: str, subjects: list[str], commitments: dict[str, str]
) -> str:
    fields = {
        "v": 1,
        "seq": seq,
        "time": START + 60_000 * seq,
        "event": event,
        "actor": actor,
        "subjects": subjects,
        "nonce": digits(f"nonce {seq}", 32),
        "commitments": commitments,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def second_commitment(field: str, value: str, salt: bytes = SALT) -> str:
    message = b"safelight/commit/v1\x00" + salt + field.encode() + b"\x00" + value.encode()
    return hashlib.sha256(message).hexdigest()


def second_log() -> list[str]:
    image, holder = digits("image", 32), digits("holder", 32)
    share = digits("capability", 32)
    name = {"name": second_commitment("name", "harbour.jpg")}
    opened = {"name": second_commitment("name", "harbour.jpg", sha256(b"another salt"))}
    return [
        second_entry(0, "incarnation_started", "", [], {}),
        second_entry(1, "imported", "", [image], name),
        second_entry(2, "issued", "", [holder, share], {"terms": digits("terms", 64)}),
        second_entry(3, "released", holder, [image, share], opened),
        second_entry(4, "revoked", "", [share], {}),
    ]


def second_vkey(name: str, key_type: int, public: bytes) -> tuple[bytes, str]:
    data = bytes([key_type]) + public
    key_id = sha256(name.encode() + b"\n" + data)[:4]
    return key_id, f"{name}+{key_id.hex()}+{base64.b64encode(data).decode()}"


def second_line(name: str, field: bytes) -> str:
    return f"— {name} {base64.b64encode(field).decode()}\n"


def make_vectors() -> dict[str, Any]:
    """Return the contents of the vector file."""
    origin = f"safelight/{base64.b32encode(SALT).decode().rstrip('=').lower()}/0"
    entries = second_log()
    leaves = [sha256(b"\x00" + text.encode()) for text in entries]
    roots = [mth(leaves[:size]) for size in range(6)]
    log_id, log_vkey = second_vkey(origin, 1, ALICE.public)
    bob_id, bob_vkey = second_vkey(WITNESS, 4, BOB.public)

    def signed(text: str) -> str:
        return f"{text}\n{second_line(origin, log_id + ALICE.sign(text.encode()))}"

    root = base64.b64encode(roots[5]).decode()
    text = f"{origin}\n5\n{root}\n"
    seconds = START // 1000 + 300
    message = f"cosignature/v1\ntime {seconds}\n{text}"
    cosignature = bob_id + seconds.to_bytes(8, "big") + BOB.sign(message.encode())
    proof = [base64.b64encode(value).decode() for value in path(3, leaves)]
    tlog_proof = "\n".join(["c2sp.org/tlog-proof@v1", "index 3", *proof, "", signed(text)])
    good = entries[3]
    return {
        "recipe": (
            "A log of five entries. Its key, which signs heads, and the key of a witness are "
            "made from the Ed25519 seeds here; its origin names the fingerprint here. Hashes are "
            "hexadecimal. 'refused_entries' are no entries, 'refused_heads' are notes that the "
            "log's key signed and that are no checkpoints of it. 'log_keys', 'evidence' and "
            "'add_checkpoint' are of the device of identity.json; what is refused there stands "
            "with the code of its refusal."
        ),
        "fingerprint": SALT.hex(),
        "origin": origin,
        "log": {"seed": bytes(range(32)).hex(), "vkey": log_vkey},
        "witness": {"seed": bytes(range(32, 64)).hex(), "vkey": bob_vkey},
        "commitment": {
            "salt": SALT.hex(),
            "field": "name",
            "value": "harbour.jpg",
            "commitment": second_commitment("name", "harbour.jpg"),
        },
        "entries": entries,
        "leaf_hashes": [leaf.hex() for leaf in leaves],
        "roots": [value.hex() for value in roots],
        "inclusion": [
            {
                "index": index,
                "size": size,
                "proof": [value.hex() for value in path(index, leaves[:size])],
            }
            for size in range(1, 6)
            for index in range(size)
        ],
        "consistency": [
            {
                "old": old,
                "new": new,
                "proof": [value.hex() for value in subproof(old, leaves[:new], True)],
            }
            for new in range(1, 6)
            for old in range(1, new + 1)
        ],
        "checkpoint": signed(text),
        "cosignature": {
            "time": seconds * 1000,
            "message": message,
            "line": second_line(WITNESS, cosignature),
        },
        "tlog_proof": tlog_proof,
        "refused_entries": {
            "a space": good.replace(",", ", ", 1),
            "fields in another order": '{"v":1,' + good[1:].replace(',"v":1', ""),
            "a field twice": good.replace('"v":1', '"v":1,"v":1'),
            "an unknown field": good.replace('"v":1', '"v":1,"w":1'),
            "an unknown version": good.replace('"v":1', '"v":2'),
            "an unknown event": good.replace('"released"', '"viewed"'),
            "a fraction": good.replace('"seq":3', '"seq":3.0'),
            "a leading zero": good.replace('"seq":3', '"seq":03'),
            "an integer of 2^53": good.replace('"seq":3', '"seq":9007199254740992'),
            "an escaped letter": good.replace('"released"', '"\\u0072eleased"'),
            "digits in capitals": good.replace(digits("image", 32), digits("image", 32).upper()),
            "commitments out of order": good.replace(
                '"commitments":{', f'"commitments":{{"size":"{"0" * 64}",'
            ),
            "a line feed at the end": good + "\n",
        },
        "refused_heads": {
            "a size with a leading zero": signed(f"{origin}\n05\n{root}\n"),
            "a size of 2^63": signed(f"{origin}\n{2**63}\n{root}\n"),
            "a root of 31 bytes": signed(
                f"{origin}\n5\n{base64.b64encode(roots[5][:31]).decode()}\n"
            ),
            "bits left over in base64": signed(
                f"{origin}\n5\n{root[:-2]}{chr(ord(root[-2]) + 1)}=\n"
            ),
            "no root": signed(f"{origin}\n5\n"),
            "an extension line": signed(f"{text}more\n"),
            "another origin": signed(text.replace(origin, origin[:-1] + "1")),
            "a signature of another text": signed(text).replace("\n5\n", "\n6\n"),
        },
        "log_keys": log_key_vectors(),
        "evidence": evidence_vectors(),
        "add_checkpoint": witness_vectors(),
    }


def known() -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads(VECTORS.read_text())
    return vectors


def test_the_vector_file_says_what_the_second_writing_gives() -> None:
    assert known() == make_vectors()


# Known answers ------------------------------------------------------------------------------------


def test_the_origin_and_the_keys_are_reproduced() -> None:
    origin = origin_of(bytes.fromhex(known()["fingerprint"]))
    log = VerifierKey(name=origin, key_type=KeyType.NOTE, public=ALICE.public)

    assert known()["origin"] == origin
    assert known()["log"]["vkey"] == format_vkey(log)
    assert known()["witness"]["vkey"] == format_vkey(witness())


def witness() -> VerifierKey:
    return VerifierKey(name=WITNESS, key_type=KeyType.COSIGNATURE, public=BOB.public)


def test_the_commitment_is_reproduced() -> None:
    case = known()["commitment"]

    assert case["commitment"] == (
        commitment(bytes.fromhex(case["salt"]), case["field"], case["value"].encode()).hex()
    )


def test_the_entries_and_their_tree_are_reproduced() -> None:
    vectors = known()
    entries = [text.encode() for text in vectors["entries"]]
    leaves = [leaf_hash(data) for data in entries]
    tree = StoredTree.of(leaves)

    assert entries == [encode_entry(decode_entry_untrusted(data)) for data in entries]
    assert vectors["leaf_hashes"] == [leaf.hex() for leaf in leaves]
    for case in vectors["inclusion"]:
        index, size = case["index"], case["size"]
        proof = inclusion_proof(index, size, tree.read)
        root = bytes.fromhex(vectors["roots"][size])
        assert case["proof"] == [value.hex() for value in proof]
        verify_inclusion(index, size, leaves[index], proof, root)
    for case in vectors["consistency"]:
        proof = consistency_proof(case["old"], case["new"], tree.read)
        roots = [bytes.fromhex(vectors["roots"][case[key]]) for key in ("old", "new")]
        assert case["proof"] == [value.hex() for value in proof]
        verify_consistency(case["old"], case["new"], roots[0], roots[1], proof)


def test_the_head_its_cosignature_and_its_proof_are_reproduced() -> None:
    vectors = known()
    checkpoint = Checkpoint(
        origin=vectors["origin"], size=5, root=bytes.fromhex(vectors["roots"][5])
    )
    signed = sign_checkpoint(checkpoint, ALICE)
    time = vectors["cosignature"]["time"]
    line = cosign(checkpoint, name=WITNESS, key=BOB, now=time)
    opened, cosignatures = open_cosigned_untrusted(
        signed + line, checkpoint.origin, ALICE.public, [witness()]
    )
    proof = parse_proof_untrusted(vectors["tlog_proof"].encode())

    assert vectors["checkpoint"].encode() == signed
    assert vectors["cosignature"]["line"].encode() == line
    assert (checkpoint, [time]) == (opened, [one.time for one in cosignatures])
    assert vectors["tlog_proof"].encode() == format_proof(3, proof.hashes, signed)
    hashes = tuple(map(bytes.fromhex, vectors["inclusion"][13]["proof"]))
    assert proof == InclusionProof(index=3, hashes=hashes, checkpoint=signed)


def test_the_whole_log_verifies() -> None:
    vectors = known()
    report = verify_log(
        [text.encode() for text in vectors["entries"]],
        vectors["checkpoint"].encode(),
        keys=OneLogKey(origin=vectors["origin"], public=ALICE.public),
    )

    assert (report.ok, report.size, report.flagged) == (True, 5, ())


@pytest.mark.parametrize("case", make_vectors()["refused_entries"])
def test_what_is_no_entry_is_refused(case: str) -> None:
    with pytest.raises(EncodingError):
        decode_entry_untrusted(known()["refused_entries"][case].encode())


@pytest.mark.parametrize("case", make_vectors()["refused_heads"])
def test_what_is_no_head_is_refused(case: str) -> None:
    with pytest.raises(LogError):
        open_checkpoint_untrusted(
            known()["refused_heads"][case].encode(), known()["origin"], ALICE.public
        )


# Log keys, evidence and witnesses -----------------------------------------------------------------


def log_keys() -> LogKeys:
    identity = parse_certificate_untrusted(bytes.fromhex(known()["log_keys"]["certificate"]))
    return LogKeys.of(identity)


def test_the_statements_about_log_keys_are_reproduced_and_taken() -> None:
    case = known()["log_keys"]
    signed = bytes.fromhex(case["rolled"]["statement"])
    keys = log_keys().with_statement_untrusted(signed)
    said = verify_log_key_untrusted(signed, signer=keys.identity)
    restarted = keys.with_statement_untrusted(bytes.fromhex(case["restarted"]))

    assert case["rolled"]["body"] == encode(said).hex()
    assert case["origins"] == [keys.origin, restarted.origin]
    assert case["spans"] == [
        [first, last, key.hex()] for first, last, key in keys.spans(keys.origin)
    ]
    for size, head in enumerate(case["heads"]):
        assert restarted.open_head_untrusted(head.encode()).size == size
    entries = [text.encode() for text in case["entries"]]
    assert verify_log(entries, case["heads"][5].encode(), keys=keys).ok


@pytest.mark.parametrize("case", log_key_vectors()["refused_statements"])
def test_what_is_no_statement_about_a_log_key_is_refused(case: str) -> None:
    code, statement = known()["log_keys"]["refused_statements"][case]
    with pytest.raises(RemoteError) as error:
        log_keys().with_statement_untrusted(bytes.fromhex(statement))

    assert code == error.value.code


@pytest.mark.parametrize("case", log_key_vectors()["refused_heads"])
def test_what_is_no_head_of_an_epoch_is_refused(case: str) -> None:
    code, head = known()["log_keys"]["refused_heads"][case]
    keys = log_keys().with_statement_untrusted(
        bytes.fromhex(known()["log_keys"]["rolled"]["statement"])
    )
    with pytest.raises(LogError) as error:
        keys.open_head_untrusted(head.encode())

    assert code == error.value.code


@pytest.mark.parametrize("kind", Kind)
def test_the_evidence_is_reproduced_and_convinces(kind: Kind) -> None:
    data = bytes.fromhex(known()["evidence"][kind])
    evidence = decode_evidence_untrusted(data)

    assert data == encode_evidence(evidence)
    assert verify_evidence_untrusted(evidence).kind is kind


@pytest.mark.parametrize("case", evidence_vectors()["refused"])
def test_what_is_no_evidence_is_refused(case: str) -> None:
    code, data = known()["evidence"]["refused"][case]
    with pytest.raises(RemoteError) as error:
        verify_evidence_untrusted(decode_evidence_untrusted(bytes.fromhex(data)))

    assert code == error.value.code


def test_the_request_to_a_witness_and_its_answer_are_reproduced() -> None:
    case = known()["add_checkpoint"]
    keys = log_keys().with_statement_untrusted(
        bytes.fromhex(known()["log_keys"]["rolled"]["statement"])
    )
    request = parse_request_untrusted(case["request"].encode())
    held = keys.open_head_untrusted(case["held"].encode())
    told = judge_untrusted(request, held, keys.open_head_untrusted)
    line = cosign(
        told, name=witness_name(keys.identity.fingerprint), key=COSIGNING, now=case["time"]
    )

    assert case["request"].encode() == format_request(request)
    assert (request.old, told.size) == (3, 5)
    assert case["name"] == witness_key(keys.identity).name
    assert case["answer"].encode() == line


@pytest.mark.parametrize(
    ("document", "examples"),
    [("log-keys.md", log_key_examples()), ("evidence.md", evidence_examples())],
    ids=["log keys", "evidence"],
)
def test_a_document_shows_what_the_second_writing_gives(
    document: str, examples: dict[str, str]
) -> None:
    assert examples == printed(document)


# Documents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ("audit-entry.md", lambda v: v["entries"][1]),
        ("audit-entry.md", lambda v: v["commitment"]["commitment"]),
        ("audit-log.md", lambda v: "\n".join(v["entries"])),
        ("audit-log.md", lambda v: v["tlog_proof"]),
        ("audit-log.md", lambda v: "\n".join(v["leaf_hashes"])),
        ("audit-log.md", lambda v: v["roots"][5]),
        ("checkpoint.md", lambda v: v["checkpoint"] + v["cosignature"]["line"]),
        ("checkpoint.md", lambda v: v["cosignature"]["message"]),
        ("checkpoint.md", lambda v: v["log"]["vkey"]),
        ("checkpoint.md", lambda v: v["add_checkpoint"]["request"]),
        ("checkpoint.md", lambda v: v["add_checkpoint"]["answer"]),
        ("checkpoint.md", lambda v: v["witness"]["vkey"]),
    ],
)
def test_the_documents_show_real_bytes(document: str, shown: Any) -> None:
    assert shown(make_vectors()) in (SPEC / document).read_text()


def test_the_document_names_every_event_and_no_other() -> None:
    text = (SPEC / "audit-entry.md").read_text()
    table = text.partition("| event |")[2].partition("\n\n")[0]
    named = [row.split("`")[1] for row in table.splitlines() if row.startswith("| `")]

    assert sorted(EVENTS) == sorted(named)


if __name__ == "__main__":
    json.dump(make_vectors(), sys.stdout, indent=1, ensure_ascii=False)
    print()
