"""Evidence packs to test with: a whole team's worth of one, built by the format's own rules.

Belongs here: an honest pack as named parts, and putting (changed) parts together again.
Never here: checking one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.audit.checkpoint import Checkpoint, cosign, origin_of, sign_checkpoint
from protocol.audit.entry import Entry, commitment, encode_entry
from protocol.audit.log_keys import LogKeyStatement, sign_log_key
from protocol.audit.note import KeyType, VerifierKey, format_vkey
from protocol.audit.pack import (
    MANIFEST,
    PackFile,
    frame,
    head_name,
    log_name,
    proof_name,
    receipt_line,
    sign_manifest,
    value_line,
)
from protocol.audit.pack_container import StoredFile, directory, local_header
from protocol.audit.tlog_proof import format_proof
from protocol.audit.tree import inclusion_proof, leaf_hash, root_of
from protocol.audit.witness import witness_name
from protocol.capability.statements import Receipt, ReceiptEvent, sign_receipt
from protocol.identity import LocalIdentity, Seeds, make_identity
from protocol.labels import NO_TEAM
from protocol.primitives import SigningKey, sha256
from protocol.roster.metadata import (
    founding_roster,
    parse_roster_untrusted,
    sign_roster,
    team_id,
    with_member,
)
from tests.protocol.audit.support import START, StoredTree, digits

ROOT = Path(__file__).parents[3]
VERIFIER = ROOT / "node" / "evidence" / "verify.py"
OUTSIDER = SigningKey(b"outside witness".ljust(32))
OUTSIDE_NAME = "witness.example/one"


def person(name: str) -> LocalIdentity:
    seeds = Seeds(
        **{
            kind: sha256(f"{name} {kind}".encode())
            for kind in ("identity", "agreement", "log", "cosigning")
        }
    )
    return make_identity(seeds, name=name, now=START)


ALICE, BOB, CAROL = person("alice"), person("bob"), person("carol")


def rosters() -> tuple[bytes, list[bytes]]:
    first = founding_roster(team_name="Press", admin=ALICE.public, now=START)
    team = team_id(first)
    signed = [sign_roster(first, signers=[ALICE], team_id=NO_TEAM)]
    body = first
    for member in (BOB, CAROL):
        roster, _ = parse_roster_untrusted(body, known={})
        body = with_member(roster, member.public, "editor", now=START)
        signed.append(sign_roster(body, signers=[ALICE], team_id=team))
    return team, signed


TEAM, ROSTERS = rosters()


@dataclass
class Log:
    """One incarnation of a log, entry for entry."""

    number: int
    lines: list[tuple[bytes, list[bytes]]] = field(default_factory=list)
    """Each entry and the lines told of it."""

    @property
    def origin(self) -> str:
        return origin_of(ALICE.public.fingerprint, self.number)

    @property
    def entries(self) -> list[bytes]:
        return [entry for entry, _ in self.lines]

    def add(self, event: str, told: dict[str, bytes] | None = None, **changes: object) -> int:
        index = len(self.lines)
        salts = {name: sha256(f"{self.number} {index} {name}".encode()) for name in told or {}}
        fields: dict[str, Any] = {
            "actor": "",
            "commitments": {
                name: commitment(salts[name], name, value).hex()
                for name, value in (told or {}).items()
            },
            "event": event,
            "nonce": digits(f"nonce {self.number} {index}", 32),
            "seq": index,
            "subjects": (digits("subject", 32),),
            "time": START + index,
            **changes,
        }
        entry = encode_entry(Entry(**fields))
        lines = [value_line(name, salts[name], (told or {})[name]) for name in sorted(told or {})]
        self.lines.append((entry, lines))
        return index

    def head(self, size: int, key: SigningKey, *, by: Iterable[LocalIdentity] = ()) -> bytes:
        root = root_of(leaf_hash(entry) for entry in self.entries[:size])
        checkpoint = Checkpoint(origin=self.origin, size=size, root=root)
        note = sign_checkpoint(checkpoint, key)
        for witness in by:
            name = witness_name(witness.public.fingerprint)
            note += cosign(checkpoint, name=name, key=witness.cosigning, now=START + 5_000)
        return note

    def text(self) -> bytes:
        return b"".join(entry + b"\n" + b"".join(told) for entry, told in self.lines)


def receipt(
    event: ReceiptEvent, log: Log, release: int | None, *, by: LocalIdentity = BOB
) -> bytes:
    about: dict[str, Any] = {}
    if release is not None:
        about = {
            "image_id": bytes(16), "open_id": bytes(16), "origin": log.origin, "index": release,
            "leaf_hash": leaf_hash(log.entries[release]),
        }  # fmt: skip
    statement = Receipt(event=event, capability_hash=bytes(32), time=START, **about)
    return receipt_line(by.public.fingerprint, sign_receipt(statement, holder=by, team_id=TEAM))


def log_key(log: Log, epoch: int, key: SigningKey, previous: bytes) -> bytes:
    return sign_log_key(
        LogKeyStatement(
            origin=log.origin, incarnation=log.number, epoch=epoch, key=key.public,
            previous=previous,
        ),
        signer=ALICE,
    )  # fmt: skip


KEY_1, KEY_2 = SigningKey(b"log key of epoch 1".ljust(32)), SigningKey(b"incarnation 1".ljust(32))


@dataclass
class Parts:
    """The files of a pack, and what they were made from."""

    logs: list[Log]
    files: dict[str, bytes]

    def pack(
        self, changed: Mapping[str, bytes] | None = None, *, signer: LocalIdentity = ALICE
    ) -> bytes:
        """Return the pack with the files changed that are named, listed anew by signer."""
        files = {**self.files, **(changed or {})}
        listed = [PackFile(name, len(data), sha256(data)) for name, data in files.items()]
        files[MANIFEST] = sign_manifest(listed, signer=signer, now=START)
        return archive(files.items())


def archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    stored, data = [], b""
    for name, content in files:
        one = StoredFile(name=name, length=len(content), crc=zlib.crc32(content))
        stored.append(one)
        data += local_header(one) + content
    return data + directory(stored)


def honest() -> Parts:
    """Two incarnations, the first of two epochs; receipts, cosignatures, proofs, values."""
    first, second = Log(0), Log(1)
    first.add("imported", {"name": "übergabe.jpg".encode(), "empty": b""})
    first.add("issued", {"holder": BOB.public.fingerprint})
    release = first.add("released", {"holder": BOB.public.fingerprint, "image": bytes(16)})
    first.add("delivered")
    first.lines[-1][1].append(receipt("received", first, None))
    first.add("opened", {"release": b"2"})
    first.lines[-1][1].append(receipt("opened", first, release))
    first.add("epoch_closed", {"epoch": b"0"})
    closing = first.head(6, ALICE.log, by=[BOB])
    first.add("denied", time=START)  # the clock went back
    first.add("revoked")
    keys = [log_key(first, 1, KEY_1, closing)]
    last = first.head(8, KEY_1, by=[BOB, CAROL])
    keys.append(log_key(second, 0, KEY_2, last))
    second.add("incarnation_started", {"previous": last})
    second.add("imported")
    second.add("saved")
    second.lines[-1][1].append(receipt("saved", first, release, by=BOB))
    witnessed = second.head(2, KEY_2, by=[CAROL])
    checkpoint = Checkpoint(
        origin=second.origin, size=2, root=root_of(map(leaf_hash, second.entries[:2]))
    )
    witnessed += cosign(checkpoint, name=OUTSIDE_NAME, key=OUTSIDER, now=START + 9_000)
    vkey = format_vkey(
        VerifierKey(name=OUTSIDE_NAME, key_type=KeyType.COSIGNATURE, public=OUTSIDER.public)
    )
    tree = StoredTree.of([leaf_hash(entry) for entry in first.entries])
    proof = format_proof(2, inclusion_proof(2, 8, tree.read), last, extra=first.entries[2])
    return Parts(
        logs=[first, second],
        files={
            "README.txt": b"Read me.\n",
            "verify.py": VERIFIER.read_bytes(),
            "certificate.bin": ALICE.public.certificate,
            "log-keys.bin": b"".join(map(frame, keys)),
            "roster.bin": b"".join(map(frame, ROSTERS)),
            "policy.json": b"{}",
            "witnesses.txt": vkey.encode() + b"\n",
            log_name(0): first.text(),
            head_name(0, 6): closing,
            head_name(0, 8): last,
            log_name(1): second.text(),
            head_name(1, 2): witnessed,
            head_name(1, 3): second.head(3, KEY_2),
            proof_name(0, 2): proof,
            "log.csv": b"entry\n",
        },
    )
