"""An evidence pack: a whole log, what is disclosed of it, and everything that proves it.

Belongs here: the files of a pack, its signed list of files, and verifying one.
Never here: the archive (``pack_container``), choosing what is disclosed, reading or writing
files.

    README.txt verify.py        for whoever opens it; verify.py checks a pack without Safelight
    certificate.bin             the exporter's certificate
    log-keys.bin                statements about the exporter's log keys
    roster.bin policy.json      versions of the roster, and the policy
    witnesses.txt               keys of witnesses outside the team
    log-0.txt                   entries of incarnation 0, each with what is told of it
    log-0-head-17.txt           heads of that log with their cosignatures
    proof-0-3.txt               tlog-proofs of single entries
    log.csv                     the same for a spreadsheet; evidence of nothing
    manifest.bin                signed: name, length and SHA-256 of all the others

Nothing here raises for what a pack holds: problems are reported. Format:
docs/spec/evidence-pack.md. ``node/evidence/verify.py`` is a second implementation, which ships in
every pack; a test holds that both say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec

from protocol.audit.checkpoint import Checkpoint, origin_of
from protocol.audit.entry import Entry, commitment, decode_entry_untrusted
from protocol.audit.log_keys import LogKeys, verify_log_key_untrusted
from protocol.audit.note import KeyType, VerifierKey, parse_vkey_untrusted
from protocol.audit.pack_container import MAX_PACK_FILES, read_container_untrusted
from protocol.audit.proof import verify_inclusion
from protocol.audit.quorum import Quorum, open_witnessed_untrusted
from protocol.audit.tlog_proof import parse_proof_untrusted
from protocol.audit.tree import EMPTY_ROOT, HASH_BYTES, Frontier, leaf_hash
from protocol.audit.verify import Problem
from protocol.audit.witness import witness_key
from protocol.capability.statements import verify_receipt_untrusted
from protocol.encoding import decode, encode
from protocol.errors import EncodingError, LogError, RemoteError
from protocol.identity import (
    Identity,
    LocalIdentity,
    parse_certificate_untrusted,
    sign_statement,
    verify_statement_untrusted,
)
from protocol.labels import NO_TEAM, SignatureType
from protocol.limits import MAX_REPORTED_PROBLEMS
from protocol.primitives import Sha256
from protocol.roster.metadata import parse_roster_untrusted, parse_signed_roster_untrusted
from protocol.roster.trusted import TrustedRoster

PACK_VERSION: Final = 1
REQUIRED_FILES: Final = frozenset(
    (
        "README.txt",
        "certificate.bin",
        "log-keys.bin",
        "policy.json",
        "roster.bin",
        "verify.py",
        "witnesses.txt",
    )
)
MANIFEST: Final = "manifest.bin"
TABLE: Final = "log.csv"
MAX_LINE_BYTES: Final = 1024 * 1024
"""The longest line that a writer makes is a value of 65,535 bytes in hexadecimal, and its salt."""
_MAX_MANIFEST_BYTES: Final = 128 * MAX_PACK_FILES

_OTHER_FILE: Final = re.compile(
    r"log-(?P<log>0|[1-9][0-9]{0,8})(?:-head-(?P<head>[1-9][0-9]{0,18}))?\.txt"
    r"|proof-(?P<proof_log>[0-9]{1,9})-(?P<index>[0-9]{1,19})\.txt"
)
_VALUE: Final = re.compile(
    rb"=(?P<field>[a-z][a-z0-9_]{0,31}) (?P<salt>[0-9a-f]{64}) (?P<value>(?:[0-9a-f]{2})*)"
)
_RECEIPT: Final = re.compile(rb"@(?P<holder>[0-9a-f]{64}) (?P<signed>(?:[0-9a-f]{2})+)")
_LOGGED_AS: Final = {"received": "delivered"}
"""Events of receipts that the issuer's log calls something else."""


# Making one ---------------------------------------------------------------------------------------


class PackFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the exporter says of one file."""

    name: str
    length: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class PackManifest(
    msgspec.Struct, frozen=True, tag="evidence-pack", forbid_unknown_fields=True, kw_only=True
):
    """Every file of a pack but this one, in the archive's order."""

    version: int
    created: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
    """Unix milliseconds, by the exporter's clock."""
    files: Annotated[tuple[PackFile, ...], msgspec.Meta(max_length=MAX_PACK_FILES)]


def sign_manifest(files: Iterable[PackFile], *, signer: LocalIdentity, now: int) -> bytes:
    """Return the signed list of a pack's files."""
    manifest = PackManifest(version=PACK_VERSION, created=now, files=tuple(files))
    return sign_statement(signer.identity, SignatureType.EVIDENCE_PACK, NO_TEAM, encode(manifest))


def log_name(incarnation: int) -> str:
    """Return the name of the file of one log's entries."""
    return f"log-{incarnation}.txt"


def head_name(incarnation: int, size: int) -> str:
    """Return the name of the file of one head."""
    return f"log-{incarnation}-head-{size}.txt"


def proof_name(incarnation: int, index: int) -> str:
    """Return the name of the file of one entry's proof."""
    return f"proof-{incarnation}-{index}.txt"


def value_line(name: str, salt: bytes, value: bytes) -> bytes:
    """Return the line that discloses a field of the entry above it."""
    return f"={name} {salt.hex()} {value.hex()}\n".encode()


def receipt_line(holder: bytes, signed: bytes) -> bytes:
    """Return the line of the receipt that the entry above it is about."""
    return f"@{holder.hex()} {signed.hex()}\n".encode()


def frame(statement: bytes) -> bytes:
    """Return a statement as it stands in a file of several: behind its length."""
    return len(statement).to_bytes(4, "big") + statement


# Verifying one ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigner:
    """A witness, and the largest head of the newest log that it cosigned."""

    witness: str
    """The name it signs under."""
    name: str
    """The member's name; of an outside witness, the one it signs under."""
    size: int
    time: int
    """When, Unix milliseconds."""


@dataclass(slots=True, kw_only=True)
class PackReport:
    """What verifying a pack found. Origin, size, root and cosigners are of the newest log."""

    exporter: Identity | None = None
    """None where the certificate does not verify. Who that is, a person has to know."""
    created: int = 0
    """Unix milliseconds, by the exporter's clock; 0 where the list of files does not verify."""
    origin: str = ""
    size: int = 0
    root: bytes = b""
    cosigned_by: list[Cosigner] = field(default_factory=list)
    entries: int = 0
    """Of all logs."""
    disclosed: int = 0
    receipts: int = 0
    problems: list[Problem] = field(default_factory=list)
    """At most MAX_REPORTED_PROBLEMS."""
    flagged: list[Problem] = field(default_factory=list)
    """What an honest log may show; at most as many."""

    @property
    def ok(self) -> bool:
        """Say whether there is no problem."""
        return not self.problems

    @property
    def unwitnessed(self) -> int:
        """Entries of the newest log after the largest head that anybody cosigned."""
        return self.size - max((one.size for one in self.cosigned_by), default=0)

    def add(self, code: str, message: str, index: int | None = None) -> None:
        """Note a problem."""
        _add(self.problems, Problem(index=index, code=code, message=message))

    def flag(self, code: str, message: str, index: int) -> None:
        """Note what is worth a look."""
        _add(self.flagged, Problem(index=index, code=code, message=message))


def _add(found: list[Problem], problem: Problem) -> None:
    if len(found) < MAX_REPORTED_PROBLEMS:
        found.append(problem)


def verify_pack_untrusted(data: bytes | memoryview) -> PackReport:
    """Verify an evidence pack, whose bytes may be a mapped file. Raises nothing."""
    verifier = _Verifier()
    try:
        verifier.verify(memoryview(data))
    except _FatalError as error:
        verifier.report.add(error.code, str(error))
    return verifier.report


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldEntry:
    """An entry of a pack, and what is disclosed of it."""

    incarnation: int
    entry: Entry
    values: dict[str, bytes]


def read_entries_untrusted(data: bytes | memoryview) -> Iterator[ToldEntry]:
    """Yield the entries of a pack that verifies, in their order; EncodingError for another."""
    files = read_container_untrusted(memoryview(data))
    for name, content in files.items():
        match = _OTHER_FILE.fullmatch(name)
        if match is None or match["log"] is None or match["head"] is not None:
            continue
        told: ToldEntry | None = None
        for line in _lines(content):
            value = _VALUE.fullmatch(line)
            if value is not None and told is not None:
                text = value["value"].decode()
                told.values[value["field"].decode()] = bytes.fromhex(text)
            elif not line.startswith(b"@"):
                if told is not None:
                    yield told
                entry = decode_entry_untrusted(line)
                told = ToldEntry(incarnation=int(match["log"]), entry=entry, values={})
        if told is not None:
            yield told


class _FatalError(Exception):
    """Nothing after this can be looked at."""

    def __init__(self, code: str, why: object) -> None:
        super().__init__(str(why))
        self.code = code


class _Verifier:
    """The steps of docs/spec/evidence-pack.md, section 6, in their order."""

    def __init__(self) -> None:
        self.report = PackReport()
        self.files: dict[str, memoryview] = {}
        self.leaves: dict[str, bytearray] = {}
        """Of each log, HASH_BYTES for each entry and a byte that says whether it is a release."""
        self.team_id = NO_TEAM
        self.people: dict[bytes, Identity] = {}
        """Everybody who was ever a member, by fingerprint."""

    def verify(self, data: memoryview) -> None:
        """Take all steps; _FatalError where one stops the others."""
        try:
            self.files = read_container_untrusted(data)
        except RemoteError as error:
            raise _FatalError("pack", error) from None
        self.check_names()
        try:
            me = parse_certificate_untrusted(bytes(self.files["certificate.bin"]))
        except RemoteError as error:
            raise _FatalError("certificate", error) from None
        self.report.exporter = me
        self.check_manifest(me)
        keys, cited = self.read_keys(me)
        self.read_rosters()
        names = self.read_witnesses(me)
        origins = {origin_of(me.fingerprint, number): number for number in self.numbers}
        if set(origins) != set(cited):
            raise _FatalError("pack", "a log is missing, or has no key")
        for origin in cited:
            heads = self.check_heads(origin, origins[origin], keys, names)
            closings = {one.size for one in keys.closings(origin)}
            log = _Log(self, origin, origins[origin], closings)
            log.check([(one, False) for one in heads]
                      + [(one, origin != keys.origin) for one in cited[origin]])  # fmt: skip
        for name in self.files:
            match = _OTHER_FILE.fullmatch(name)
            if match is not None and match["index"] is not None:
                self.check_proof(name, int(match["proof_log"]), int(match["index"]), keys)

    def check_names(self) -> None:
        """Raise _FatalError unless the files are those of a pack."""
        *names, last = list(self.files) or [""]
        others = set(names) - REQUIRED_FILES - {TABLE}
        if last != MANIFEST or not set(names) >= REQUIRED_FILES:
            raise _FatalError("pack", "a file is missing")
        if not all(_OTHER_FILE.fullmatch(name) for name in others):
            raise _FatalError("pack", "it has a file that no pack has")

    @property
    def numbers(self) -> list[int]:
        """The incarnations whose entries are here."""
        matches = [_OTHER_FILE.fullmatch(name) for name in self.files]
        return [
            int(match["log"])
            for match in matches
            if match is not None and match["log"] is not None and match["head"] is None
        ]

    def check_manifest(self, me: Identity) -> None:
        """Report every file that is not the one the exporter signed for."""
        try:
            body = verify_statement_untrusted(
                me.identity_key,
                SignatureType.EVIDENCE_PACK,
                NO_TEAM,
                bytes(self.files[MANIFEST]),
                limit=_MAX_MANIFEST_BYTES,
            )
            manifest = decode(PackManifest, body, limit=_MAX_MANIFEST_BYTES)
        except RemoteError as error:
            self.report.add("manifest", f"the list of files: {error}")
            return
        names = [file.name for file in manifest.files]
        if manifest.version != PACK_VERSION or names != list(self.files)[:-1]:
            self.report.add("manifest", "the list of files is not that of these files")
            return
        self.report.created = manifest.created
        for file in manifest.files:
            digest = Sha256()
            digest.update(self.files[file.name])
            if (file.length, file.sha256) != (len(self.files[file.name]), digest.digest()):
                self.report.add("manifest", f"{file.name} is not what was exported")

    def read_keys(self, me: Identity) -> tuple[LogKeys, dict[str, list[Checkpoint]]]:
        """Return the log keys, and of each log the heads that statements cite."""
        keys = LogKeys.of(me)
        cited: dict[str, list[Checkpoint]] = {keys.origin: []}
        try:
            for signed in self.frames("log-keys.bin"):
                statement = verify_log_key_untrusted(signed, signer=me)
                before, keys = keys, keys.with_statement_untrusted(signed)
                if keys is before:
                    raise LogError("a statement stands there twice", code="key")
                cited.setdefault(keys.origin, [])
                if statement.previous:
                    head = keys.open_head_untrusted(statement.previous)
                    cited[head.origin].append(head)
        except RemoteError as error:
            raise _FatalError("key", error) from None
        return keys, cited

    def read_rosters(self) -> None:
        """Learn who was ever a member; no roster is a team of nobody."""
        versions = []
        try:
            versions = list(self.frames("roster.bin"))
            if versions:
                self.team_id = TrustedRoster.load_untrusted(versions).team_id
            for signed in versions:
                body = parse_signed_roster_untrusted(signed).body
                known = {one.certificate: one for one in self.people.values()}
                _, members = parse_roster_untrusted(body, known=known)
                self.people.update({one.fingerprint: one for one in members})
        except RemoteError as error:
            raise _FatalError("roster", error) from None

    def read_witnesses(self, me: Identity) -> dict[VerifierKey, str]:
        """Return whose cosignatures count, with what people call them."""
        names = {
            witness_key(person): person.name
            for person in self.people.values()
            if person.fingerprint != me.fingerprint
        }
        try:
            for line in _lines(self.files["witnesses.txt"]):
                key = parse_vkey_untrusted(line.decode())
                if key.key_type is not KeyType.COSIGNATURE:
                    raise LogError("verifier key: not one of a witness", code="vkey_type")
                names[key] = key.name
        except (RemoteError, UnicodeDecodeError) as error:
            raise _FatalError("pack", error) from None
        return names

    def check_heads(
        self, origin: str, number: int, keys: LogKeys, names: Mapping[VerifierKey, str]
    ) -> list[Checkpoint]:
        """Return the heads of a log that verify; the report says who cosigned the last log's."""
        heads = []
        cosigners: dict[str, Cosigner] = {}
        quorum = Quorum(witnesses=tuple(names), threshold=0)
        for name, data in self.files.items():
            match = _OTHER_FILE.fullmatch(name)
            if match is None or match["head"] is None or int(match["log"]) != number:
                continue
            note = bytes(data)
            try:
                head = keys.open_head_untrusted(note, origin)
            except LogError as error:
                self.report.add("head", f"{name}: {error}")
                continue
            if head.size != int(match["head"]):
                self.report.add("head", f"{name}: of another size than its name says")
                continue
            heads.append(head)
            try:
                witnessed = open_witnessed_untrusted(
                    note, keys=keys, quorum=quorum, now=0, origin=origin
                )
            except LogError as error:
                self.report.add("cosignature", f"{name}: {error}")
                continue
            for one in witnessed.cosignatures:
                known = cosigners.get(one.key.name)
                time = one.time or 0
                if known is None or (known.size, known.time) < (head.size, time):
                    cosigners[one.key.name] = Cosigner(
                        witness=one.key.name, name=names[one.key], size=head.size, time=time
                    )
        heads.sort(key=lambda one: one.size)
        newest = heads[-1] if heads else Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
        self.report.origin, self.report.size = origin, newest.size
        self.report.root = newest.root
        self.report.cosigned_by = [cosigners[name] for name in sorted(cosigners)]
        return heads

    def check_receipt(self, line: bytes, logged: str, index: int) -> None:
        """Check what a holder signed about the entry above, and the release that it names."""
        self.report.receipts += 1
        try:
            match = _RECEIPT.fullmatch(line)
            if match is None:
                raise EncodingError("malformed")
            holder = self.people.get(bytes.fromhex(match["holder"].decode()))
            if holder is None:
                raise EncodingError("of somebody who is no member")
            signed = bytes.fromhex(match["signed"].decode())
            receipt = verify_receipt_untrusted(signed, holder=holder, team_id=self.team_id)
            if _LOGGED_AS.get(receipt.event, receipt.event) != logged:
                raise EncodingError("of another event than the entry's")
            if receipt.event in ("opened", "saved") and (
                _leaf(self.leaves.get(receipt.origin), receipt.index) != receipt.leaf_hash + b"\x01"
            ):
                raise EncodingError("of a release that is not in this log")
        except RemoteError as error:
            self.report.add("receipt", f"a receipt: {error}", index)

    def check_proof(self, name: str, number: int, index: int, keys: LogKeys) -> None:
        """Check a tlog-proof: that one entry stands under a head of its log."""
        origin = origin_of(keys.identity.fingerprint, number)
        try:
            proof = parse_proof_untrusted(bytes(self.files[name]))
            head = keys.open_head_untrusted(proof.checkpoint, origin)
            leaf = _leaf(self.leaves.get(origin), index)[:HASH_BYTES]
            verify_inclusion(index, head.size, leaf, proof.hashes, head.root)
        except LogError as error:
            self.report.add("proof", f"{name}: {error}", index)
            return
        if proof.index != index:
            self.report.add("proof", f"{name}: of another entry than its name says", index)

    def frames(self, name: str) -> Iterator[bytes]:
        """Yield the statements of a file."""
        data = self.files[name]
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            if at + 4 + length > len(data):
                raise EncodingError(f"{name} ends too early")
            yield bytes(data[at + 4 : at + 4 + length])
            at += 4 + length


class _Log:
    """One log's entries on their way through the tree."""

    def __init__(self, pack: _Verifier, origin: str, number: int, closings: set[int]) -> None:
        self._pack = pack
        self._report = pack.report
        self._origin = origin
        self._number = number
        self._closings = closings
        self._leaves = pack.leaves[origin] = bytearray()
        self._tree = Frontier()
        self._last_time = 0
        self._entry: Entry | None = None
        self._field = b""
        """The last one disclosed of this entry."""

    def check(self, heads: list[tuple[Checkpoint, bool]]) -> None:
        """Check entries and what is told of them against heads.

        A head may cover more entries than there are where it says so: a restored log lost its end.
        """
        roots = {head.size: b"" for head, _ in heads} | {0: EMPTY_ROOT}
        try:
            for line in _lines(self._pack.files[log_name(self._number)]):
                if line.startswith(b"="):
                    self._value(line)
                elif line.startswith(b"@"):
                    event = "" if self._entry is None else self._entry.event
                    self._pack.check_receipt(line, event, self._tree.size - 1)
                else:
                    self._append(line)
                    if self._tree.size in roots:
                        roots[self._tree.size] = self._tree.root()
        except EncodingError as error:
            raise _FatalError("pack", error) from None
        size, covered = self._tree.size, self._report.size
        self._report.entries += size
        for head, may_be_lost in heads:
            if head.size > size:
                message = self._said(f"a head covers {head.size} entries, only {size} are here")
                add = self._report.flag if may_be_lost else self._report.add
                add("lost" if may_be_lost else "fewer", message, size)
            elif roots[head.size] != head.root:
                message = self._said(f"its first {head.size} entries are not those signed")
                self._report.add("root", message)
        if size > covered:
            message = self._said("no head covers the entries from here on")
            self._report.add("uncovered", message, covered)
        return

    def _append(self, line: bytes) -> None:
        report, place = self._report, self._tree.size
        leaf = leaf_hash(line)
        self._tree.append(leaf)
        self._field = b""
        try:
            self._entry = decode_entry_untrusted(line)
        except EncodingError as error:
            self._entry = None
            report.add("entry", str(error), place)
        event = ""
        if self._entry is not None:
            event, time = self._entry.event, self._entry.time
            if self._entry.seq != place:
                report.add("sequence", f"the entry here says that it is {self._entry.seq}", place)
            if time < self._last_time:
                report.flag("clock", "the clock went back before this entry", place)
            self._last_time = time
        closes = place + 1 in self._closings and event != "epoch_closed"
        begins = bool(self._number) and not place and event != "incarnation_started"
        if closes or begins:
            report.add("epoch", "a log or epoch that does not begin or end as it must", place)
        self._leaves += leaf + bytes([event == "released"])

    def _value(self, line: bytes) -> None:
        self._report.disclosed += 1
        match = _VALUE.fullmatch(line)
        # What stands behind the sign up to the first space, as the order of fields goes by it.
        before, self._field = self._field, line[1:].partition(b" ")[0]
        if match is not None and self._entry is not None and before < self._field:
            salt, value = (bytes.fromhex(match[name].decode()) for name in ("salt", "value"))
            name = match["field"].decode()
            if commitment(salt, name, value).hex() == self._entry.commitments.get(name):
                return
        message = "what is told of it is not what it committed to"
        self._report.add("disclosure", message, self._tree.size - 1)

    def _said(self, what: str) -> str:
        return f"log {self._number}: {what}"


def _leaf(leaves: bytearray | None, index: int) -> bytes:
    width = HASH_BYTES + 1
    return b"" if leaves is None else bytes(leaves[width * index : width * (index + 1)])


def _lines(data: memoryview) -> Iterator[bytes]:
    """Yield the lines of a file, each of which ends with a line feed; EncodingError otherwise."""
    rest = b""
    for at in range(0, len(data), 2**18):
        *whole, rest = (rest + bytes(data[at : at + 2**18])).split(b"\n")
        if len(rest) >= MAX_LINE_BYTES:
            raise EncodingError("a line that is too long")
        yield from whole
    if rest:
        raise EncodingError("a last line that does not end")
