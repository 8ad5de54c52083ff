"""Evidence packs: both verifiers say the same of honest ones and of every tampering."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nacl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.audit.checkpoint import Checkpoint, cosign, sign_checkpoint
from protocol.audit.pack import (
    MANIFEST,
    PackFile,
    PackManifest,
    frame,
    head_name,
    log_name,
    proof_name,
    value_line,
    verify_pack_untrusted,
)
from protocol.audit.pack_container import (
    MAX_PACK_BYTES,
    StoredFile,
    directory,
    local_header,
    read_container_untrusted,
)
from protocol.audit.tree import EMPTY_ROOT, leaf_hash, root_of
from protocol.audit.witness import witness_name
from protocol.encoding import encode
from protocol.errors import EncodingError, LimitError
from protocol.identity import sign_statement
from protocol.labels import NO_TEAM, SignatureType
from tests.protocol.audit.packs import (
    ALICE,
    BOB,
    CAROL,
    KEY_1,
    KEY_2,
    ROSTERS,
    VERIFIER,
    Log,
    Parts,
    archive,
    honest,
    log_key,
    person,
    receipt,
)

_spec = importlib.util.spec_from_file_location("standalone_verifier", VERIFIER)
assert _spec is not None
assert _spec.loader is not None
standalone = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(standalone)

HONEST = honest()
PACK = HONEST.pack()


def ours(data: bytes) -> dict[str, Any]:
    """Return what Safelight says of a pack, in the words of the stand-alone verifier."""
    report = verify_pack_untrusted(data)
    exporter = report.exporter
    return {
        "ok": report.ok,
        "fingerprint": "" if exporter is None else standalone.base32(exporter.fingerprint),
        "name": "" if exporter is None else exporter.name,
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex(),
        "cosigned_by": sorted(
            (one.witness, one.name, one.size, one.time) for one in report.cosigned_by
        ),
        "unwitnessed": report.unwitnessed,
        "entries": report.entries,
        "disclosed": report.disclosed,
        "receipts": report.receipts,
        "problems": [(one.index, one.code) for one in report.problems],
        "flagged": [(one.index, one.code) for one in report.flagged],
    }


def theirs(data: bytes) -> dict[str, Any]:
    said: dict[str, Any] = standalone.Pack(memoryview(data)).verify()
    return comparable(said)


def comparable(said: dict[str, Any]) -> dict[str, Any]:
    return {
        **said,
        "cosigned_by": sorted(
            (one["witness"], one["name"], one["size"], one["time"]) for one in said["cosigned_by"]
        ),
        "problems": [(one["index"], one["code"]) for one in said["problems"]],
        "flagged": [(one["index"], one["code"]) for one in said["flagged"]],
    }


def judged(data: bytes) -> dict[str, Any]:
    """Return what both verifiers say; they have to say the same."""
    said = ours(data)

    assert theirs(data) == said
    return said


def codes(data: bytes) -> set[str]:
    said = judged(data)

    assert said["ok"] == (not said["problems"])
    return {code for _, code in said["problems"]}


# Honest ones ------------------------------------------------------------------------------------


def test_an_honest_pack_verifies() -> None:
    said = judged(PACK)

    assert said["ok"]
    assert said["flagged"] == [(6, "clock")]
    assert (said["size"], said["unwitnessed"], said["entries"]) == (3, 1, 11)
    assert (said["disclosed"], said["receipts"]) == (8, 3)
    assert [name for _, name, _, _ in said["cosigned_by"]] == ["carol", "witness.example/one"]


@pytest.mark.parametrize("changed", [False, True])
def test_the_verifier_in_the_pack_runs_with_pynacl_and_nothing_else(
    tmp_path: Path, changed: bool
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    packages = Path(nacl.__file__).parents[1]
    for name in ("nacl", "_cffi_backend", "cffi", "pycparser"):
        for found in packages.glob(f"{name}*"):
            if not found.name.endswith("-info"):
                (site / found.name).symlink_to(found)
    pack, program = tmp_path / "pack.zip", tmp_path / "verify.py"
    log = log_name(0)
    pack.write_bytes(HONEST.pack({log: HONEST.files[log][:-9]}) if changed else PACK)
    with zipfile.ZipFile(pack) as opened:
        program.write_bytes(opened.read("verify.py"))
    code = (
        f"import runpy, sys; sys.path.append({str(site)!r}); sys.argv[:] = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(program), str(pack), "--json"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env={})

    assert done.returncode == (5 if changed else 0), done.stderr
    assert comparable(json.loads(done.stdout)) == judged(pack.read_bytes())


def test_the_verifier_says_what_it_found_to_people_too(tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    for data, first, code in ((PACK, "the pack verifies", 0), (PACK[:-1], "does NOT verify", 5)):
        pack.write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-I", str(VERIFIER), str(pack)], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert (done.returncode, first in done.stdout) == (code, True), done.stderr
    usage = subprocess.run([sys.executable, "-I", str(VERIFIER)], capture_output=True, check=False)
    assert usage.returncode == 2


def test_any_zip_program_opens_a_pack() -> None:
    with zipfile.ZipFile(io.BytesIO(PACK)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()[:-1]} == HONEST.files


def test_a_pack_without_team_log_or_table_verifies() -> None:
    files = {
        **dict.fromkeys(("log-keys.bin", "roster.bin", "witnesses.txt", log_name(0)), b""),
        "README.txt": b"", "verify.py": b"", "policy.json": b"",
        "certificate.bin": ALICE.public.certificate,
    }  # fmt: skip
    said = judged(Parts(logs=[], files=files).pack())

    assert said["ok"]
    assert (said["size"], said["root"], said["unwitnessed"]) == (0, EMPTY_ROOT.hex(), 0)


def test_a_restored_log_may_have_lost_its_end() -> None:
    cut = b"".join(entry + b"\n" + b"".join(told) for entry, told in HONEST.logs[0].lines[:7])
    files = {name: data for name, data in HONEST.files.items() if name != head_name(0, 8)}
    files = {**files, log_name(0): cut, head_name(0, 7): HONEST.logs[0].head(7, KEY_1)}
    del files[proof_name(0, 2)]
    said = judged(Parts(logs=[], files=files).pack())

    assert said["ok"]
    assert (7, "lost") in said["flagged"]


# Tampering by whoever has the pack in hands -------------------------------------------------------


@pytest.mark.parametrize("name", [*HONEST.files, MANIFEST])
def test_a_changed_file_is_named(name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(PACK)) as opened:
        files = {one: opened.read(one) for one in opened.namelist()}
    for place in (0, len(files[name]) // 2, len(files[name]) - 1):
        changed = bytearray(files[name])
        changed[place] ^= 1
        data = archive({**files, name: bytes(changed)}.items())

        assert codes(data) & {"manifest", "certificate"}
        said = [one.message for one in verify_pack_untrusted(data).problems]
        assert name in (MANIFEST, "certificate.bin") or any(name in text for text in said)
        if name not in (MANIFEST, "certificate.bin"):
            assert codes(archive({**files, name: files[name] + b"\n"}.items())) >= {"manifest"}


@pytest.mark.parametrize("name", list(HONEST.files))
def test_a_file_that_is_gone_is_missed(name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(PACK)) as opened:
        files = [(one, opened.read(one)) for one in opened.namelist() if one != name]

    assert codes(archive(files)) & {"manifest", "pack"}


def test_a_pack_listed_by_another_key_is_refused() -> None:
    assert codes(HONEST.pack(signer=BOB)) == {"manifest"}
    other = HONEST.pack({"certificate.bin": BOB.public.certificate}, signer=BOB)
    assert codes(other) == {"key"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        encode(PackManifest(version=2, created=0, files=())),
        encode(PackManifest(version=1, created=0, files=())),
        encode(PackManifest(version=1, created=0, files=(PackFile("README.txt", 1, bytes(32)),))),
        encode({"type": "evidence-pack", "version": 1, "created": 0, "files": 3}),
    ],
)
def test_a_list_of_files_that_is_none_is_refused(body: bytes) -> None:
    signed = sign_statement(ALICE.identity, SignatureType.EVIDENCE_PACK, NO_TEAM, body)

    assert codes(archive({**HONEST.files, MANIFEST: signed}.items())) == {"manifest"}


# Tampering by the exporter ------------------------------------------------------------------------

LOG = HONEST.files[log_name(0)]
LINES = LOG.splitlines(keepends=True)
PLACES = [place for place, line in enumerate(LINES) if line[:1] == b"{"]
KEYS = HONEST.files["log-keys.bin"]


def without(*places: int) -> bytes:
    return b"".join(line for place, line in enumerate(LINES) if place not in places)


def with_line(place: int, line: bytes) -> bytes:
    return b"".join([*LINES[:place], line, *LINES[place + 1 :]])


def swapped(one: int, other: int) -> bytes:
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def broken_cosignature() -> bytes:
    lines = HONEST.files[head_name(0, 8)].split(b"\n")
    lines[-2] = lines[-2][:-8] + b"AAAA" + lines[-2][-4:]
    return b"\n".join(lines)


def head_by(signer: Any, size: int = 8) -> bytes:
    return HONEST.logs[0].head(size, signer)


def foreign_root() -> bytes:
    head = Checkpoint(origin=HONEST.logs[0].origin, size=8, root=bytes(32))
    return sign_checkpoint(head, KEY_1)


L0, L1, H8, P2 = log_name(0), log_name(1), head_name(0, 8), proof_name(0, 2)
FILES, (FIRST, SECOND) = HONEST.files, HONEST.logs
PROOF = FILES[P2].split(b"\n")
LOG_VKEY = b"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n"
BOB_SIGNS, CAROL_SIGNS = (b"@" + one.public.fingerprint.hex().encode() for one in (BOB, CAROL))

CASES: dict[str, tuple[dict[str, bytes], set[str]]] = {
    "two entries swapped": (
        {L0: swapped(PLACES[2], PLACES[3])},
        {"sequence", "root", "disclosure", "receipt", "proof"},
    ),
    "an entry left out": (
        {L0: without(PLACES[7])},
        {"fewer"},
    ),
    "an entry added": (
        {L0: LOG + FIRST.entries[7] + b"\n"},
        {"sequence", "uncovered"},
    ),
    "an entry changed": (
        {L0: LOG.replace(b'"event":"revoked"', b'"event":"amended"')},
        {"root"},
    ),
    "an unknown event": (
        {L0: LOG.replace(b'"event":"revoked"', b'"event":"nothing"')},
        {"root", "entry"},
    ),
    "no entry at all": (
        {L0: with_line(PLACES[7], b"nothing\n")},
        {"root", "entry"},
    ),
    "an entry with white space": (
        {L0: LOG.replace(b'"v":1', b'"v": 1')},
        {"root", "entry", "epoch", "disclosure", "receipt", "proof"},
    ),
    "an entry of another log's event": (
        {L1: FILES[L1].replace(b"incarnation_started", b"imported")},
        {"root", "epoch"},
    ),
    "another value": (
        {L0: LOG.replace(b"=image 00", b"=image 01").replace(b" " + b"00" * 16, b" " + b"01" * 16)},
        {"disclosure"},
    ),
    "a value of a field that is none": (
        {L0: LOG.replace(b"=image ", b"=Image ")},
        {"disclosure"},
    ),
    "a value of another field": (
        {L0: LOG.replace(b"=image ", b"=imagf ")},
        {"disclosure"},
    ),
    "a value told twice": (
        {L0: with_line(1, LINES[1] + LINES[1])},
        {"disclosure"},
    ),
    "a value before all entries": (
        {L0: LINES[1] + LOG},
        {"disclosure"},
    ),
    "values in another order": (
        {L0: swapped(1, 2)},
        {"disclosure"},
    ),
    "a receipt of another event": (
        {L0: LOG.replace(LINES[PLACES[3] + 1], receipt("opened", FIRST, 2))},
        {"receipt"},
    ),
    "a receipt of no release": (
        {L0: with_line(PLACES[5] - 1, receipt("opened", FIRST, 1))},
        {"receipt"},
    ),
    "a receipt of a later entry": (
        {L0: with_line(PLACES[5] - 1, receipt("opened", FIRST, 6))},
        {"receipt"},
    ),
    "a receipt of another log": (
        {L0: with_line(PLACES[5] - 1, receipt("opened", SECOND, 2))},
        {"receipt"},
    ),
    "a receipt of a stranger": (
        {L0: with_line(PLACES[5] - 1, receipt("opened", FIRST, 2, by=person("eve")))},
        {"receipt"},
    ),
    "a receipt under another name": (
        {L0: LOG.replace(BOB_SIGNS, CAROL_SIGNS)},
        {"receipt"},
    ),
    "a receipt that is none": (
        {L0: with_line(PLACES[5] - 1, b"@00\n")},
        {"receipt"},
    ),
    "a last line that does not end": ({L0: LOG[:-1]}, {"pack"}),
    "a line without end": ({L0: LOG + b"x" * 2_000_000}, {"pack"}),
    "a head of the wrong key": ({H8: head_by(ALICE.log)}, {"head", "uncovered"}),
    "a head of a stranger": ({H8: head_by(BOB.log)}, {"head", "uncovered"}),
    "a head of another size": ({H8: head_by(KEY_1, 7)}, {"head", "uncovered"}),
    "a head of another log": ({H8: FILES[head_name(1, 3)]}, {"head", "uncovered"}),
    "a head of another root": ({H8: foreign_root()}, {"root"}),
    "a head that is none": ({H8: b"\xff\n\n\xff\n"}, {"head", "uncovered"}),
    "a head without signature": ({H8: b"a\n1\nb\n"}, {"head", "uncovered"}),
    "a broken cosignature": ({H8: broken_cosignature()}, {"cosignature"}),
    "no log keys": ({"log-keys.bin": b""}, {"pack"}),
    "a log key cut off": ({"log-keys.bin": KEYS[:-1]}, {"key"}),
    "a log key twice": (
        {"log-keys.bin": frame(log_key(FIRST, 1, KEY_1, FILES[head_name(0, 6)])) * 2},
        {"key"},
    ),
    "an epoch skipped": (
        {"log-keys.bin": frame(log_key(FIRST, 2, KEY_1, FILES[head_name(0, 6)]))},
        {"key"},
    ),
    "an epoch that closes with another entry": (
        {
            "log-keys.bin": frame(log_key(FIRST, 1, KEY_1, FIRST.head(5, ALICE.log)))
            + frame(log_key(SECOND, 0, KEY_2, b""))
        },
        {"epoch", "head"},
    ),
    "no roster": ({"roster.bin": b""}, {"receipt"}),
    "a roster left out": ({"roster.bin": frame(ROSTERS[0]) + frame(ROSTERS[2])}, {"roster"}),
    "a roster twice": ({"roster.bin": frame(ROSTERS[0]) * 2}, {"roster"}),
    "a roster cut": ({"roster.bin": frame(ROSTERS[0])[:-1]}, {"roster"}),
    "a roster of nobody's": ({"roster.bin": frame(ROSTERS[0][:-64] + bytes(64))}, {"roster"}),
    "a witness that is none": ({"witnesses.txt": b"nobody\n"}, {"pack"}),
    "a witness that is no text": ({"witnesses.txt": b"\xff\n"}, {"pack"}),
    "a log's key as a witness": (
        {"witnesses.txt": LOG_VKEY},
        {"pack"},
    ),
    "a proof of another entry": (
        {P2: FILES[P2].replace(b"index 2", b"index 3")},
        {"proof"},
    ),
    "a proof with a hash too few": (
        {P2: b"\n".join(PROOF[:3] + PROOF[4:])},
        {"proof"},
    ),
    "a proof that is none": ({P2: b"nothing"}, {"proof"}),
    "a proof of an entry that is not there": (
        {proof_name(0, 99): FILES[P2].replace(b"index 2", b"index 99")},
        {"proof"},
    ),
    "a proof of a log that is not there": ({proof_name(7, 2): FILES[P2]}, {"proof"}),
    "a file that no pack has": ({"more.txt": b""}, {"pack"}),
    "a log that has no key": ({log_name(2): b""}, {"pack"}),
    "no certificate": ({"certificate.bin": b""}, {"certificate"}),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_an_exporter_cannot_make_true_is_reported(case: str) -> None:
    changed, expected = CASES[case]

    assert codes(HONEST.pack(changed)) == expected


def test_a_cosignature_under_an_unknown_key_counts_for_nothing() -> None:
    note = HONEST.files[head_name(1, 3)]
    root = root_of(leaf_hash(entry) for entry in HONEST.logs[1].entries)
    head = Checkpoint(origin=HONEST.logs[1].origin, size=3, root=root)
    for name, key in (("eve.example", BOB.cosigning), (witness_name(bytes(32)), BOB.cosigning),
                      (witness_name(ALICE.public.fingerprint), ALICE.cosigning)):  # fmt: skip
        line = cosign(head, name=name, key=key, now=0)
        said = judged(HONEST.pack({head_name(1, 3): note + line}))
        assert (said["ok"], said["unwitnessed"]) == (True, 1)
    line = cosign(head, name=witness_name(BOB.public.fingerprint), key=BOB.cosigning, now=7_999)
    said = judged(HONEST.pack({head_name(1, 3): note + line + line}))
    assert (said["ok"], said["unwitnessed"]) == (True, 0)
    assert ("bob", 3, 7_000) in [one[1:] for one in said["cosigned_by"]]


def test_the_largest_head_that_somebody_cosigned_counts() -> None:
    log, files = HONEST.logs[1], dict(HONEST.files)
    for size in (3, 2):
        files[head_name(1, size)] = log.head(size, KEY_2, by=[BOB])
    files[head_name(1, 2)] = files.pop(head_name(1, 2))
    said = judged(Parts(logs=[], files=files).pack())

    assert [one[1:3] for one in said["cosigned_by"]] == [("bob", 3)]
    assert (said["ok"], said["unwitnessed"]) == (True, 0)


def test_problems_and_flags_are_bounded() -> None:
    log = Log(0)
    for index in range(200):
        log.add("imported", time=1000 - index, seq=500)
    parts = honest()
    said = judged(parts.pack({log_name(0): log.text()}))

    assert len(said["problems"]) == len(said["flagged"]) == 64


# The archive --------------------------------------------------------------------------------------


def file(name: str, data: bytes = b"") -> StoredFile:
    return StoredFile(name=name, length=len(data), crc=zlib.crc32(data))


def one_file(name: bytes = b"README.txt", **fields: int) -> bytes:
    """Return an archive of one empty file, with fields of its records as they are given."""
    values = {"version": 20, "flags": 0, "method": 0, "size": 0, "real": 0, "extra": 0, **fields}
    common = struct.pack(
        "<5H3L2H", values["version"], values["flags"], values["method"], 0, 33, 0,
        values["size"], values["real"], len(name), values["extra"],
    )  # fmt: skip
    local = b"PK\x03\x04" + common + name
    entry = b"PK\x01\x02\x14\x03" + common + struct.pack("<3H2L", 0, 0, 0, 0x81A40000, 0) + name
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + end


def duplicated() -> bytes:
    header = local_header(file("a.txt"))
    return header * 2 + directory([file("a.txt"), file("a.txt")])


def renamed_inside() -> bytes:
    return PACK.replace(b"README.txt", b"readme.txt", 1)


def made_by_zipfile(compression: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as opened:
        for name, data in HONEST.files.items():
            opened.writestr(name, data)
        opened.writestr("bomb.txt", bytes(50_000_000))
    return made.getvalue()


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no archive": lambda: bytes(200),
    "an end and nothing else": lambda: struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0),
    "an end that counts too many": lambda: struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 0, 0, 0),
    "bytes and no file": lambda: b"hello" + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 5, 0),
    "bytes in front": lambda: b"x" + PACK,
    "bytes behind": lambda: PACK + b"x",
    "a comment": lambda: PACK[:-2] + b"\x01\x00x",
    "a file twice": duplicated,
    "two names of one file": renamed_inside,
    "bytes between": lambda: PACK[:100] + b"x" + PACK[100:],
    "half": lambda: PACK[: len(PACK) // 2],
    "a wrong checksum": lambda: PACK[:45] + bytes([PACK[45] ^ 1]) + PACK[46:],
    "a bomb": lambda: made_by_zipfile(zipfile.ZIP_DEFLATED),
    "stored by another program": lambda: made_by_zipfile(zipfile.ZIP_STORED),
    "a path upwards": lambda: one_file(b"../../x"),
    "an absolute path": lambda: one_file(b"/etc/passwd"),
    "a name that is no text": lambda: one_file(b"\xff\xfe"),
    "no name": lambda: one_file(b""),
    "a huge size": lambda: one_file(size=2**32 - 1, real=2**32 - 1),
    "a size that unpacks to more": lambda: one_file(size=0, real=2**31),
    "a compressed file": lambda: one_file(method=8),
    "an encrypted file": lambda: one_file(flags=1),
    "an extra field": lambda: one_file(extra=4),
}


@pytest.mark.parametrize("case", list(ARCHIVES))
def test_an_archive_with_a_trick_is_refused(case: str) -> None:
    data = ARCHIVES[case]()

    assert codes(data) == {"pack"}
    if case not in ("an end and nothing else",):
        with pytest.raises(EncodingError):
            read_container_untrusted(memoryview(data))


def test_nothing_is_written_that_no_archive_can_hold() -> None:
    for bad in (file("a/b"), file(""), file("x" * 65), StoredFile(name="a", length=2**32, crc=0)):
        with pytest.raises(LimitError):
            local_header(bad)
    with pytest.raises(LimitError):
        directory([file("a")] * 65_536)
    with pytest.raises(LimitError):
        directory([StoredFile(name="a", length=MAX_PACK_BYTES, crc=0)])


# Anything -----------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=300 if not os.environ.get("SAFELIGHT_LONG") else 20_000)
def test_both_verifiers_say_the_same_of_whatever_is_done_to_a_pack(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(set(HONEST.files) - {"verify.py"})))
    content = bytearray(HONEST.files[name])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "double"])):
            case "flip" if content:
                content[place] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del content[place : place + data.draw(st.integers(1, 200))]
            case "insert":
                content[place:place] = data.draw(st.binary(max_size=5))
            case _:
                content[place:place] = content[place : place + data.draw(st.integers(1, 300))]

    judged(HONEST.pack({name: bytes(content)}))


@given(st.binary(max_size=2_000), st.integers(0, len(PACK)))
@settings(max_examples=200)
def test_no_bytes_make_a_verifier_raise(noise: bytes, place: int) -> None:
    assert not judged(PACK[:place] + noise)["ok"] or noise == PACK[place:]
    judged(noise)
    said = judged(PACK[:place] + noise + PACK[place + len(noise) :])
    assert said["ok"] == (PACK[place : place + len(noise)] == noise)


def test_a_value_line_is_bounded_by_what_an_entry_can_hold() -> None:
    assert value_line("name", bytes(32), b"a") == b"=name " + b"00" * 32 + b" 61\n"
