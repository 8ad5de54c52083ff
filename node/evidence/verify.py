#!/usr/bin/env python3
"""Check a Safelight evidence pack without Safelight: standard library and PyNaCl, nothing else.

    python3 verify.py PACK.zip [--json]

It exits with 0 where everything holds, 5 where something does not, and names what and where.
It proves that the log is what its signed heads say, that disclosed values are those the log
committed to, and who signed receipts and cosigned heads. It does not prove who a person is:
compare the fingerprint it prints with the one you know. Format: docs/spec/evidence-pack.md.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import mmap
import re
import struct
import sys
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import CryptoError

NO_TEAM, MOST = bytes(32), 64
EVENTS = (
    b"imported classified rendered issued delivered released redelivered denied leased received "
    b"opened saved amended exported revoked revocation_seen erased reviewed policy_changed "
    b"roster_changed member_removed closed drilled verified restored witness_alarm manifest_alarm "
    b"unlock_failed member_added incarnation_started epoch_closed requested purged"
).split()
FIELD, NUMBER = rb"[a-z][a-z0-9_]{0,31}", rb"(0|[1-9][0-9]{0,15})"
ENTRY = re.compile(
    rb'\{"actor":"(?:[0-9a-f]{32})?","commitments":\{((?:"%b":"[0-9a-f]{64}"(?:,(?=")|(?=\})))*)\}'
    rb',"event":"([a-z_]{1,32})","nonce":"[0-9a-f]{32}","seq":%b,"subjects":\['
    rb'((?:"[0-9a-f]{32}"(?:,(?=")|(?=\])))*)\],"time":%b,"v":1\}' % (FIELD, NUMBER, NUMBER)
)
TOLD = re.compile(rb"=(%b) ([0-9a-f]{64}) ((?:[0-9a-f]{2})*)" % FIELD)
FIXED = ("README.txt", "certificate.bin", "log-keys.bin", "policy.json", "roster.bin",
         "verify.py", "witnesses.txt")  # fmt: skip
NAME = re.compile(r"log-(0|[1-9]\d{0,8})(-head-[1-9]\d{0,18})?\.txt|proof-\d{1,9}-\d{1,19}\.txt")
EMPTY = hashlib.sha256(b"").digest()
Epochs = dict[str, list[tuple[int | None, bytes]]]
"""Origin to (last size or None, key) of each epoch of that log."""
Witnesses = dict[tuple[str, bytes], tuple[str, bytes]]
"""What a signature line calls somebody to name and key."""


class BadError(Exception):
    """Something does not hold; the text says what."""


def need(condition: Any, what: str) -> None:
    """Raise BadError unless condition holds."""
    if not condition:
        raise BadError(what)


# Container: a ZIP archive in its one spelling (spec, section 3) -----------------------------------


def container(data: memoryview) -> dict[str, memoryview]:
    """Return the archive's files; every byte of it must be where it has to be."""
    need(len(data) >= 22 and bytes(data[-22:-18]) == b"PK\5\6", "it is no archive")
    count, start = struct.unpack_from("<H4xL", data, len(data) - 12)
    files: dict[str, memoryview] = {}
    at, position = start, 0
    for _ in range(count):
        need(at + 46 <= len(data) - 22, "its directory is cut")
        crc, length, name_length = struct.unpack_from("<L4xLH", data, at + 16)
        name = bytes(data[at + 46 : at + 46 + name_length])
        common = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, crc, length, length, name_length, 0)
        local = b"PK\3\4" + common + name
        entry = b"PK\1\2\x14\3" + common + struct.pack("<3H2L", 0, 0, 0, 0x81A40000, position)
        begin = position + len(local)
        need(bytes(data[at : at + 46 + name_length]) == entry + name, "its directory is malformed")
        need(bytes(data[position:begin]) == local, "a file is not where the directory says")
        at, position = at + len(entry + name), begin + length
        need(position <= start and re.fullmatch(rb"[A-Za-z0-9.-]+", name), "a file is malformed")
        need(name.decode() not in files, "a name stands there twice")
        files[name.decode()] = data[begin:position]
        need(binascii.crc32(files[name.decode()]) == crc, f"{name.decode()} has a wrong checksum")
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, at - start, start, 0)
    need(position == start and bytes(data[at:]) == end, "it holds more than its files")
    return files


def frames(data: memoryview, width: int) -> Any:
    """Yield the parts of a file, each behind its length."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + width], "big")
        need(at + width + length <= len(data), "a file ends too early")
        yield bytes(data[at + width : at + width + length])
        at += width + length


# Signed values: MessagePack in its one spelling, behind an Ed25519 signature ----------------------

LENGTHS = {0xC4: (1, 0, "b"), 0xC5: (2, 256, "b"), 0xC6: (4, 65536, "b"), 0xD9: (1, 32, "s"),
           0xDA: (2, 256, "s"), 0xDB: (4, 65536, "s"), 0xDC: (2, 16, "a"), 0xDD: (4, 65536, "a"),
           0xDE: (2, 16, "m"), 0xDF: (4, 65536, "m"), 0xCC: (1, 128, "i"), 0xCD: (2, 256, "i"),
           0xCE: (4, 65536, "i"), 0xCF: (8, 1 << 32, "i")}  # fmt: skip


def value(data: bytes, at: int = 0, depth: int = 0) -> tuple[Any, int]:
    """Return the value that starts at a place, and where the next one does."""
    need(at < len(data) and depth < 9, "a value is cut")
    tag, at = data[at], at + 1
    if tag < 0x80:
        return tag, at
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
    if tag < 0xC0:
        kind, count = ("m", tag & 15) if tag < 0x90 else ("a", tag & 15)
        kind, count = ("s", tag & 31) if tag >= 0xA0 else (kind, count)
    else:
        need(tag in LENGTHS, "a value of an unknown type")
        width, least, kind = LENGTHS[tag]
        need(at + width <= len(data), "a value is cut")
        count, at = int.from_bytes(data[at : at + width], "big"), at + width
        need(count >= least, "a value in more bytes than it needs")
    if kind == "i":
        return count, at
    if kind in "bs":
        need(at + count <= len(data), "a value is cut")
        found = data[at : at + count]
        return found if kind == "b" else found.decode(), at + count
    items = []
    for _ in range(count * 2 if kind == "m" else count):
        item, at = value(data, at, depth + 1)
        items.append(item)
    if kind == "a":
        return items, at
    need(all(isinstance(key, str) for key in items[::2]), "a key is no text")
    need(len(set(items[::2])) == count, "a key stands there twice")
    return dict(zip(items[::2], items[1::2], strict=True)), at


def struct_of(data: Any, names: str, tag: str | None = None) -> list[Any]:
    """Return the fields of a value: exactly those, in their order; data may be parsed already."""
    if isinstance(data, bytes):
        try:
            data, end = value(raw := data)
        except UnicodeDecodeError:
            raise BadError("text that is no UTF-8") from None
        need(end == len(raw), "more than one value")
    wanted = ([] if tag is None else ["type"]) + names.split()
    need(isinstance(data, dict) and list(data) == wanted, "a value with other fields")
    need(tag is None or data["type"] == tag, "a value of another kind")
    return [data[name] for name in names.split()]


def verified(public: bytes, message: bytes, signature: Any) -> bool:
    """Say whether signature is public's over message."""
    if not isinstance(signature, bytes) or len(signature) != 64 or len(public) != 32:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except CryptoError:
        return False
    return True


def signed(data: bytes, public: bytes, kind: str, team: bytes) -> bytes:
    """Return the body that public signed as kind in a team."""
    body, signature = struct_of(data, "body signature")
    if not isinstance(body, bytes):
        raise BadError("a body that is none")
    message = b"safelight/v1/" + kind.encode() + b"\0" + team + body
    need(verified(public, message, signature), f"a {kind} whose signature does not verify")
    return body


def blake(label: bytes, data: bytes) -> bytes:
    """Return the hash that names something."""
    return hashlib.blake2b(b"safelight/v1/hash/" + label + b"\0" + data, digest_size=32).digest()


@functools.cache
def certificate(data: bytes) -> dict[str, Any]:
    """Return the device that a certificate names: its keys, name and fingerprint."""
    body, _ = struct_of(data, "body signature")
    need(isinstance(body, bytes) and len(data) <= 1024, "a certificate that is none")
    version, name, created, *keys = struct_of(
        body, "version name created identity agreement log cosigning", "certificate"
    )
    need(version == 1 and isinstance(created, int), "a certificate of another version")
    need(all(isinstance(key, bytes) and len(key) == 32 for key in keys), "a key of a wrong size")
    need(all(crypto_core_ed25519_is_valid_point(keys[place]) for place in (0, 2, 3)), "a bad key")
    need(len(set(keys)) == 4 and signed(data, keys[0], "certificate", NO_TEAM) == body, "a key")
    need(isinstance(name, str) and name.isprintable() and name == name.strip() != "", "a name")
    return {"name": name, "identity": keys[0], "log": keys[2], "cosigning": keys[3],
            "keys": keys, "fingerprint": blake(b"fingerprint", b"".join(keys))}  # fmt: skip


def base32(fingerprint: bytes) -> str:
    """Return a fingerprint as logs and witnesses are named by it."""
    return base64.b32encode(fingerprint).decode().rstrip("=").lower()


# Heads: signed notes (C2SP signed-note, tlog-checkpoint, tlog-cosignature) ------------------------


def note_of(data: bytes) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    """Return a note's text, and (name, key id, signature) of each line below it."""
    body, gap, lines = data.rpartition(b"\n\n")
    try:
        text, below = (body + b"\n").decode(), lines.decode()
    except UnicodeDecodeError:
        raise BadError("a head that is no text") from None
    control = re.search(rb"[\x00-\x09\x0b-\x1f]", data)
    need(gap and below.endswith("\n") and not control and len(data) <= 65536, "a malformed head")
    found: list[tuple[str, bytes, bytes]] = []
    for line in below[:-1].split("\n"):
        match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)", line)
        need(match and len(found) < 100, "a malformed signature line")
        signature = exact64(match[2] if match else "")
        need(len(signature) > 4, "a malformed signature line")
        found.append((match[1] if match else "", signature[:4], signature[4:]))
    return text.encode(), found


def exact64(text: str) -> bytes:
    """Return what base64 in its one spelling stands for."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    need(base64.b64encode(data).decode() == text, "base64 in another spelling")
    return data


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return what stands for a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def open_head(note: bytes, epochs: Epochs) -> tuple[str, int, bytes]:
    """Return origin, size and root of a head signed by the key that its size asks for."""
    text, lines = note_of(note)
    match = re.fullmatch(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([^\n]+)\n", text.decode())
    need(match, "a malformed head")
    origin, size, root = match.groups() if match else ("", "0", "")
    need(origin in epochs and int(size) < 2**63 and len(exact64(root)) == 32, "of another log")
    key = next(key for last, key in epochs[origin] if last is None or int(size) <= last)
    ours = [
        one for name, one_id, one in lines if (name, one_id) == (origin, key_id(origin, 1, key))
    ]
    need(ours and verified(key, text, ours[0]), "a head not signed by the log key of its epoch")
    return origin, int(size), exact64(root)


def log_keys(data: memoryview, me: dict[str, Any]) -> tuple[Epochs, list[tuple[str, int, bytes]]]:
    """Return which key signs which sizes of which log, and the heads that statements cite."""
    origin = f"safelight/{base32(me['fingerprint'])}/"
    epochs: Epochs = {origin + "0": [(None, me["log"])]}
    cited, used, newest = [], set(me["keys"]), 0
    for statement in frames(data, 4):
        body = signed(statement, me["identity"], "log-key", NO_TEAM)
        log, number, epoch, key, previous = struct_of(
            body, "origin incarnation epoch key previous", "log-key"
        )
        known = isinstance(number, int) and log == f"{origin}{number}" and key not in used
        need(known and isinstance(previous, bytes) and isinstance(epoch, int), "a log key")
        need(len(key) == 32 and crypto_core_ed25519_is_valid_point(key), "a log key that is none")
        if number == newest and epoch == len(epochs[log]):
            head = open_head(previous, {log: epochs[log]})
            need(head[1] >= max(1, (epochs[log][-2][0] or 0) + 1 if epoch > 1 else 1), "an epoch")
            epochs[log][-1:] = [(head[1], epochs[log][-1][1]), (None, key)]
        else:
            need(number > newest and epoch == 0, "a log key that does not follow the one before")
            head, epochs_before = None, dict(epochs)
            if previous:
                head = open_head(previous, epochs_before)
            epochs[log], newest = [(None, key)], number
        used.add(key)
        cited += [head] if head else []
    return epochs, cited


# The team: whose receipts and cosignatures count --------------------------------------------------


def roster(data: memoryview) -> tuple[bytes, dict[bytes, dict[str, Any]]]:
    """Return the team's id and everybody who was ever a member, by the signed rosters."""
    team, before, threshold = NO_TEAM, (0, b""), 0
    everybody: dict[bytes, dict[str, Any]] = {}
    before_admins: list[dict[str, Any]] = []
    for version_bytes in frames(data, 4):
        body, signatures = struct_of(version_bytes, "body signatures", "signed-roster")
        need(isinstance(body, bytes) and isinstance(signatures, list), "a malformed roster")
        version, _, parents, _, _, needed, members = struct_of(
            body, "version team_name parents created expires_at threshold members", "roster"
        )
        people = []
        for member in members:
            card, role = struct_of(member, "certificate role")
            people.append({**certificate(card), "admin": role == "admin"})
        prints = [person["fingerprint"] for person in people]
        keys = [key for person in people for key in person["keys"]]
        need(prints == sorted(prints) and len(set(keys)) == len(keys), "members twice in a roster")
        if before[0]:
            jump = 1000 if len(parents) > 1 else 1
            follows = before[0] < version <= before[0] + jump and before[1] in parents
        else:
            follows = version == 1 and parents == []
        need(follows, "a roster that does not follow the one before")
        message = b"safelight/v1/roster\0" + team + body
        by = dict(struct_of(one, "signer signature") for one in signatures)
        admins = [person for person in people if person["admin"]]
        for people_who_sign, enough in ((before_admins, threshold), (admins, needed)):
            good = sum(
                verified(one["identity"], message, by.get(one["fingerprint"]))
                for one in people_who_sign
            )
            need(good >= enough, "a roster signed by too few")
        team = team if before[0] else blake(b"team", body)
        before, before_admins, threshold = (version, blake(b"roster", body)), admins, needed
        everybody.update({person["fingerprint"]: person for person in people})
    return team, everybody


# The pack -----------------------------------------------------------------------------------------


class Pack:
    """One pack, and what is found in it."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.problems: list[dict[str, Any]] = []
        self.flagged: list[dict[str, Any]] = []
        self.leaves: dict[str, bytearray] = {}
        """Of each log, 33 bytes for each entry: its leaf hash, and whether it is a release."""
        self.result: dict[str, Any] = {
            "fingerprint": "", "name": "", "origin": "", "size": 0, "root": "", "cosigned_by": [],
            "unwitnessed": 0, "entries": 0, "disclosed": 0, "receipts": 0,
        }  # fmt: skip

    def add(self, code: str, message: str, index: int | None = None, flag: bool = False) -> None:
        """Note a problem, or what is only worth a look."""
        found = self.flagged if flag else self.problems
        if len(found) < MOST:
            found.append({"index": index, "code": code, "message": message})

    def verify(self) -> dict[str, Any]:
        """Check all there is, and return what was found."""
        code = "pack"
        try:
            self.files = container(self.data)
            *first, last = list(self.files) or [""]
            need(last == "manifest.bin" and set(FIXED) <= set(first), "a file is missing")
            others = set(first) - set(FIXED) - {"log.csv"}
            need(all(NAME.fullmatch(name) for name in others), "a file that no pack has")
            code = "certificate"
            me = certificate(bytes(self.files["certificate.bin"]))
            self.result |= {"fingerprint": base32(me["fingerprint"]), "name": me["name"]}
            self.manifest(me)
            code = "key"
            self.epochs, cited = log_keys(self.files["log-keys.bin"], me)
            code = "roster"
            self.team, self.people = roster(self.files["roster.bin"])
            code = "pack"
            self.witnesses = known_witnesses(self.files["witnesses.txt"], self.people, me)
            here = {name for name in self.files if re.fullmatch(r"log-\d+\.txt", name)}
            need(here == {f"log-{one.split('/')[2]}.txt" for one in self.epochs}, "a log too few")
            for origin in self.epochs:
                heads = self.heads(origin)
                self.log(origin, heads, [one[1:] for one in cited if one[0] == origin])
            for name in self.files:
                if name.startswith("proof-"):
                    self.proof(name)
        except (BadError, TypeError, ValueError) as error:
            self.add(code, str(error) or code)
        ok = not self.problems
        return {"ok": ok, **self.result, "problems": self.problems, "flagged": self.flagged}

    def manifest(self, me: dict[str, Any]) -> None:
        """Check that every file is the one that the exporter signed for."""
        try:
            data = bytes(self.files["manifest.bin"])
            body = signed(data, me["identity"], "evidence-pack", NO_TEAM)
            version, _, listed = struct_of(body, "version created files", "evidence-pack")
            named = [struct_of(one, "name length sha256") for one in listed]
            need(version == 1, "of another version")
            need([one[0] for one in named] == list(self.files)[:-1], "files were added or removed")
        except (BadError, TypeError) as error:
            self.add("manifest", f"the list of files: {error}")
            return
        for name, length, digest in named:
            file = self.files[name]
            if len(file) != length or hashlib.sha256(file).digest() != digest:
                self.add("manifest", f"{name} is not what was exported")

    def heads(self, origin: str) -> list[tuple[int, bytes]]:
        """Return (size, root) of a log's heads that verify; the last log's say who cosigned it."""
        heads: list[tuple[int, bytes]] = []
        best: dict[str, tuple[int, int, str]] = {}
        number = origin.split("/")[2]
        for name, data in self.files.items():
            if not (match := re.fullmatch(rf"log-{number}-head-(\d+)\.txt", name)):
                continue
            try:
                note = bytes(data)
                _, size, root = open_head(note, {origin: self.epochs[origin]})
                need(size == int(match[1]), "its size is not the one of its name")
            except BadError as error:
                self.add("head", f"{name}: {error}")
                continue
            heads.append((size, root))
            try:
                for who, (time, person) in cosigned(note, self.witnesses).items():
                    best[who] = max(best.get(who, (0, 0, "")), (size, time, person))
            except BadError as error:
                self.add("cosignature", f"{name}: {error}")
        heads.sort()
        size, root = heads[-1] if heads else (0, EMPTY)
        keys = ("size", "time", "name")
        by = [{"witness": who, **dict(zip(keys, best[who], strict=True))} for who in sorted(best)]
        self.result |= {"origin": origin, "size": size, "root": root.hex(), "cosigned_by": by}
        self.result["unwitnessed"] = size - max([one[0] for one in best.values()], default=0)
        return heads

    def log(self, origin: str, heads: list[Any], cited: list[tuple[int, bytes]]) -> None:
        """Check the entries of one log against its heads, and what is told of them."""
        number, sha = int(origin.split("/")[2]), hashlib.sha256
        closings = {last for last, _ in self.epochs[origin] if last is not None}
        roots = {0: EMPTY, **{size: b"" for size, _ in [*heads, *cited]}}
        leaves = self.leaves[origin] = bytearray()
        stack: list[tuple[int, bytes]] = []
        size, last_time, event, committed, field = 0, 0, "", b"", b""
        for line in lines(self.files[f"log-{number}.txt"]):
            if line[:1] == b"=":
                before, field = field, line[1:].partition(b" ")[0]
                if not opens(line, committed) or before >= field:
                    self.add("disclosure", "what is told is not what was committed to", size - 1)
                self.result["disclosed"] += 1
                continue
            if line[:1] == b"@":
                self.receipt(line, event, size - 1)
                continue
            leaf, place, size, field = sha(b"\0" + line).digest(), size, size + 1, b""
            try:
                event, committed, seq, time = entry_of(line)
                if seq != place:
                    self.add("sequence", f"the entry here says that it is {seq}", place)
                if time < last_time:
                    self.add("clock", "the clock went back before this entry", place, flag=True)
                last_time = time
            except BadError as error:
                event, committed = "", b""
                self.add("entry", str(error), place)
            if (size in closings and event != "epoch_closed") or (
                number and not place and event != "incarnation_started"
            ):
                self.add("epoch", "a log or epoch that does not begin or end as it must", place)
            leaves += leaf + bytes([event == "released"])
            level = 0
            while stack and stack[-1][0] == level:
                leaf, level = sha(b"\1" + stack.pop()[1] + leaf).digest(), level + 1
            stack.append((level, leaf))
            if size in roots:
                roots[size] = leaf
                for _, left in reversed(stack[:-1]):
                    roots[size] = sha(b"\1" + left + roots[size]).digest()
        old = origin != list(self.epochs)[-1]
        for covered, root, flag in [(*one, False) for one in heads] + [
            (*one, old) for one in cited
        ]:
            if covered > size:
                text = f"log {number}: a head covers {covered} entries, only {size} are here"
                self.add("lost" if flag else "fewer", text, size, flag=flag)
            elif roots[covered] != root:
                self.add("root", f"log {number}: its first {covered} entries are not those signed")
        covered = heads[-1][0] if heads else 0
        if size > covered:
            self.add("uncovered", f"log {number}: no head covers the entries from here on", covered)
        self.result["entries"] += size

    def receipt(self, line: bytes, logged: str, place: int) -> None:
        """Check what a holder signed about the entry before it, and the release that it names."""
        self.result["receipts"] += 1
        try:
            match = re.fullmatch(rb"@([0-9a-f]{64}) ((?:[0-9a-f]{2})+)", line)
            need(match, "malformed")
            holder, statement = (bytes.fromhex(one) for one in line[1:].decode().split(" "))
            need(holder in self.people, "of somebody who is no member")
            event, _, _, _, origin, index, leaf, _ = struct_of(
                signed(statement, self.people[holder]["identity"], "receipt", self.team),
                "event capability_hash image_id open_id origin index leaf_hash time",
                "receipt",
            )
            need({"received": "delivered"}.get(event, event) == logged, "of another event")
            if event in ("opened", "saved"):
                there = self.leaves.get(origin, b"")[33 * index : 33 * index + 33]
                need(there == leaf + b"\1", "of a release that is not in this log")
        except (BadError, TypeError) as error:
            self.add("receipt", f"a receipt: {error}", place)

    def proof(self, name: str) -> None:
        """Check a tlog-proof: that one entry stands under a head of its log."""
        log, index = map(int, re.findall(r"\d+", name))
        try:
            origin = next((one for one in self.epochs if one.endswith(f"/{log}")), "")
            head, _, note = bytes(self.files[name]).partition(b"\n\n")
            first, *rest = head.decode().split("\n")
            if rest and rest[0].startswith("extra "):
                exact64(rest.pop(0)[6:])
            need(first == "c2sp.org/tlog-proof@v1" and rest[:1] == [f"index {index}"], "malformed")
            need(origin, "of a log that is not here")
            _, size, root = open_head(note, {origin: self.epochs[origin]})
            node, at, last = bytes(self.leaves[origin][33 * index :][:32]), index, size - 1
            need(node and index < size and len(rest) <= 64, "of an entry that is not here")
            for sibling in map(exact64, rest[1:]):
                need(last and len(sibling) == 32, "a hash too many")
                left = at & 1 or at == last
                while left and at and not at & 1:
                    at, last = at >> 1, last >> 1
                pair = sibling + node if left else node + sibling
                node, at, last = hashlib.sha256(b"\1" + pair).digest(), at >> 1, last >> 1
            need(not last and node == root, "it does not lead to the root")
        except (BadError, ValueError) as error:
            self.add("proof", f"{name}: {error}", index)


def known_witnesses(data: memoryview, people: dict[bytes, Any], me: dict[str, Any]) -> Witnesses:
    """Return whose cosignatures count: other members, and outsiders whom the exporter names."""
    known = {}
    for fingerprint, person in people.items():
        if fingerprint != me["fingerprint"]:
            name, public = f"safelight/witness/{base32(fingerprint)}", person["cosigning"]
            known[name, key_id(name, 4, public)] = (person["name"], public)
    for line in lines(data):
        match = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+(.+)", line.decode())
        name, identifier, encoded = match.groups() if match else ("", "", "")
        key = exact64(encoded)
        good = len(key) == 33 and key[0] == 4 and crypto_core_ed25519_is_valid_point(key[1:])
        need(good and identifier == key_id(name, 4, key[1:]).hex(), "a witness's key that is none")
        known[name, bytes.fromhex(identifier)] = (name, key[1:])
    return known


def cosigned(note: bytes, witnesses: Witnesses) -> dict[str, tuple[int, str]]:
    """Return who cosigned a head: when, in Unix milliseconds, and what people call them."""
    text, found = note_of(note)
    times: dict[str, tuple[int, str]] = {}
    for name, identifier, signature in found:
        person, public = witnesses.get((name, identifier), ("", b""))
        if public and name not in times:
            time = int.from_bytes(signature[:8], "big")
            message = b"cosignature/v1\ntime %d\n" % time + text
            need(verified(public, message, signature[8:]), f"a bad cosignature of {person}")
            times[name] = (time * 1000, person)
    return times


def entry_of(line: bytes) -> tuple[str, bytes, int, int]:
    """Return event, commitments, number and time of an entry in its one spelling."""
    match = ENTRY.fullmatch(line)
    event, committed, seq, time = match.group(2, 1, 3, 5) if match else (b"", b"", 0, 0)
    fields = committed.split(b'"')[1::4]
    known = event in EVENTS and fields == sorted(set(fields)) and len(line) <= 65535
    need(known and max(int(seq), int(time)) < 2**53, "these bytes are no entry")
    return event.decode(), committed, int(seq), int(time)


def opens(line: bytes, committed: bytes) -> bool:
    """Say whether "=field salt value" is what an entry with these commitments committed to."""
    if not (match := TOLD.fullmatch(line)):
        return False
    field, salt, found = match[1], *(bytes.fromhex(match[place].decode()) for place in (2, 3))
    digest = hashlib.sha256(b"safelight/commit/v1\0" + salt + field + b"\0" + found).hexdigest()
    return b'"%b":"%b"' % (field, digest.encode()) in committed


def lines(data: memoryview) -> Any:
    """Yield the lines of a file, each of which ends with a line feed."""
    rest = b""
    for at in range(0, len(data), 1 << 18):
        *whole, rest = (rest + bytes(data[at : at + (1 << 18)])).split(b"\n")
        need(len(rest) < 1 << 20, "a line that is too long")
        yield from whole
    need(not rest, "a last line that does not end")


def main(arguments: list[str]) -> int:
    """Check the pack that is named and say what was found."""
    names = [one for one in arguments if one != "--json"]
    if len(names) != 1:
        print(__doc__)
        return 2
    with open(names[0], "rb") as file:
        size = file.seek(0, 2)
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    found = Pack(memoryview(data)).verify()
    if "--json" in arguments:
        print(json.dumps(found))
    else:
        print("the pack verifies" if found["ok"] else "the pack does NOT verify")
        for name, what in found.items():
            for one in what if isinstance(what, list) else [what]:
                if name in ("problems", "flagged"):
                    where = "" if one["index"] is None else f"entry {one['index']}: "
                    print(f"  {name}: {where}{one['message']!a}")
                elif one != "":
                    print(f"  {name}: {one!a}")
    return 0 if found["ok"] else 5


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
