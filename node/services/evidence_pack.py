"""Evidence of the own log for others: packs of all of it, and proofs of single entries.

Belongs here: what goes into a pack, which values are disclosed, and writing it.
Never here: the format (``protocol.audit.pack``), verifying, or words for people.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from node.errors import NodeError, UnknownError, UsageError
from node.services.context import Context
from node.services.entries import draft, facts_of
from node.services.library import Progress
from node.services.log_reading import LogReading, Selection
from node.services.membership import Membership
from node.services.moments import readable, rfc3339
from node.vault import log_store
from node.vault.checks.problem import read_index
from node.vault.connection import SqlConnection
from node.vault.database import WriteTransaction
from node.vault.log_keys import own_keys
from node.vault.log_store import StoredEntry
from node.vault.records import Connection, log, witness
from protocol.audit.checkpoint import origin_of
from protocol.audit.log_keys import LogKeys
from protocol.audit.note import format_vkey
from protocol.audit.pack import (
    MANIFEST,
    TABLE,
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
from protocol.audit.proof_file import format_proof_file
from protocol.audit.tlog_proof import format_proof
from protocol.audit.witness import witness_key
from protocol.errors import LimitError, LocalError
from protocol.identity import format_fingerprint
from protocol.policy import BUILT_IN_POLICY
from protocol.primitives import Sha256

ALL: Final = "all"
NONE: Final = "none"

_SHIPPED: Final = Path(__file__).parents[1] / "evidence"
_MOST_PROOFS: Final = 1_000
"""Entries that get a proof of their own: more than a person hands on one by one."""
_MOST_SELECTED: Final = 2**31
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_LABEL: Final = "exporting the log"
_COLUMNS: Final = ("holder", "issuer", "member", "image", "capability", "album")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disclosed:
    """Which values of which entries a pack tells."""

    fields: frozenset[str] | None
    """None is every field."""
    entries: frozenset[tuple[int, int]] | None
    """(incarnation, index); None is every entry."""

    def has(self, entry: StoredEntry) -> bool:
        """Say whether anything of an entry may be told."""
        if self.fields is not None and not self.fields:
            return False
        return self.entries is None or (entry.incarnation, entry.index) in self.entries

    def values(self, db: Connection, entry: StoredEntry) -> dict[str, log_store.Value]:
        """Return what is told of an entry, by field in order."""
        if not self.has(entry):
            return {}
        held = log_store.values(db, entry.index, entry.incarnation)
        return {
            name: held[name] for name in sorted(held) if self.fields is None or name in self.fields
        }


class EvidencePacks:
    """Exports the own log."""

    def __init__(self, context: Context, membership: Membership, log_reading: LogReading) -> None:
        self._context = context
        self._membership = membership
        self._log_reading = log_reading

    # One entry ------------------------------------------------------------------------------------

    async def prove(self, *, index: int, incarnation: int | None) -> dict[str, Any]:
        """Return the proof of one entry, under the head that most others cosigned."""

        def query(db: Connection) -> dict[str, Any]:
            number = log_store.current(db) if incarnation is None else incarnation
            head, entry = log_store.head(db, number), log_store.entry(db, index, number)
            if head is None or entry is None:
                raise UnknownError(f"the log has no entry {index}", hint="safelight audit log")
            heads = _heads(db, self._context.me, number)
            size = max((size for size in heads if size > index), key=lambda one: (
                len(_signatures(heads[one])), one))  # fmt: skip
            proof = log_store.inclusion_proof(db, index, size, number)
            keys = own_keys(db, self._context.identity.public)
            try:
                data = format_proof_file(
                    keys, index=index, entry=entry.entry, proof=proof, note=heads[size]
                )
            except LocalError:
                raise NodeError(
                    "this log had too many keys for a proof in one file",
                    code="too_large",
                    hint="safelight audit export has room for them",
                ) from None
            return {
                "index": index,
                "incarnation": number,
                "origin": origin_of(self._context.me, number),
                "size": size,
                "cosignatures": len(_signatures(heads[size])) - 1,
                "proof": data.decode(),
                "entry": base64.b64encode(entry.entry).decode(),
            }

        return await self._context.database.read(query)

    # All of it ------------------------------------------------------------------------------------

    async def export(
        self,
        *,
        out: str,
        table: bool,
        disclose: list[str],
        who: str | None,
        image: str | None,
        since: str | None,
        until: str | None,
        progress: Progress,
    ) -> dict[str, Any]:
        """Write a pack to a new file; the log says that it was exported.

        Raises UsageError, UnknownError, and NodeError ``write_failed`` or ``too_large``.
        """
        fields = _fields(disclose)
        selection = await self._log_reading.select(who=who, image=image, since=since, until=until)
        path = Path(out)
        file = _new_file(path)
        try:
            with file:
                await self._note(fields, selection)
                counts = await asyncio.to_thread(
                    self._write, file, fields, selection, table, progress
                )
        except BaseException as error:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            if isinstance(error, OSError):
                raise NodeError(
                    f"cannot write {path}: {error.strerror}", code="write_failed",
                    hint="free some space, or choose another folder",
                ) from None  # fmt: skip
            if isinstance(error, LimitError):
                raise NodeError(str(error), code="too_large") from None
            raise
        return {
            "path": str(path),
            "fingerprint": format_fingerprint(self._context.me),
            **counts,
        }

    async def _note(self, fields: frozenset[str] | None, selection: Selection) -> None:
        def job(transaction: WriteTransaction) -> None:
            told = ALL if fields is None else ", ".join(sorted(fields)) or NONE
            transaction.append(
                draft(
                    "exported",
                    actor=self._context.me,
                    about=self._context.me,
                    facts={
                        "what": "log",
                        "disclosed": told,
                        "of": "every entry" if selection.everything else "chosen entries",
                    },
                )
            )

        await self._context.database.write(job)

    def _write(
        self,
        file: BinaryIO,
        fields: frozenset[str] | None,
        selection: Selection,
        table: bool,
        progress: Progress,
    ) -> dict[str, Any]:
        vault = self._context.vault

        def pack(db: SqlConnection) -> dict[str, Any]:
            chosen = None
            if not selection.everything:
                found = selection.newest(db, _MOST_SELECTED)
                chosen = frozenset((one.incarnation, one.index) for one in found)
            return self._pack(db, file, _Disclosed(fields=fields, entries=chosen), table, progress)

        counts = read_index(vault.home, vault.keys, pack)
        file.flush()
        os.fsync(file.fileno())
        return counts

    def _pack(
        self,
        db: Connection,
        file: BinaryIO,
        disclosed: _Disclosed,
        table: bool,
        progress: Progress,
    ) -> dict[str, Any]:
        public, now = self._context.identity.public, self._context.clock.now()
        keys = own_keys(db, public)
        numbers = [int(origin.rpartition("/")[2]) for origin in keys.origins]
        sizes = dict.fromkeys(numbers, 0)
        for number in numbers:
            head = log_store.head(db, number)
            sizes[number] = 0 if head is None else head.size
        total = sum(sizes.values())
        counts = {"entries": total, "disclosed": 0, "receipts": 0}
        archive = _Archive(file)
        archive.add("README.txt", [self._readme(now)])
        archive.add("verify.py", [(_SHIPPED / "verify.py").read_bytes()])
        archive.add("certificate.bin", [public.certificate])
        archive.add("log-keys.bin", map(frame, keys.statements))
        archive.add("roster.bin", map(frame, self._rosters()))
        archive.add("policy.json", [_policy()])
        archive.add("witnesses.txt", self._witnesses(db, keys))

        done = 0
        for number in numbers:

            def lines(number: int = number) -> Iterator[bytes]:
                nonlocal done
                for entry in _walk(db, number, sizes[number]):
                    yield entry.entry + b"\n"
                    for name, held in disclosed.values(db, entry).items():
                        counts["disclosed"] += 1
                        yield value_line(name, held.salt, held.value)
                    if disclosed.has(entry) and (found := log.receipt(db, entry)) is not None:
                        counts["receipts"] += 1
                        yield receipt_line(*found)
                    done += 1
                    if done % 1_000 == 0:
                        progress(done, total, _LABEL)

            archive.add(log_name(number), lines())
            for size, note in _heads(db, public.fingerprint, number).items():
                archive.add(head_name(number, size), [note])
        if disclosed.entries is not None and len(disclosed.entries) <= _MOST_PROOFS:
            for number, index in sorted(disclosed.entries):
                head = log_store.head(db, number)
                assert head is not None, "it has entries"
                proof = log_store.inclusion_proof(db, index, head.size, number)
                archive.add(proof_name(number, index), [format_proof(index, proof, head.note)])
        if table:
            archive.add(TABLE, self._table(db, sizes, disclosed))
        manifest = sign_manifest(archive.files, signer=self._context.identity, now=now)
        archive.add(MANIFEST, [manifest])
        archive.close()
        progress(total, total, _LABEL)
        return counts

    def _readme(self, now: int) -> bytes:
        public = self._context.identity.public
        about = (
            f"Exported by {public.name}, {readable(now)}.\n"
            f"Fingerprint: {format_fingerprint(public.fingerprint)}\n\n"
        )
        return about.encode() + (_SHIPPED / "README.txt").read_bytes()

    def _rosters(self) -> tuple[bytes, ...]:
        return self._membership.trusted.signed_versions if self._membership.founded else ()

    def _witnesses(self, db: Connection, keys: LogKeys) -> list[bytes]:
        """Return the keys of everybody who cosigned and is no member."""
        found = {row.vkey for row in witness.witness_urls(db)}
        for origin in keys.origins:
            found |= {row.witness for row in witness.cosignatures(db, origin)}
        if self._membership.founded:
            members = self._membership.trusted.members.values()
            found -= {format_vkey(witness_key(one)) for one in members}
        return [f"{vkey}\n".encode() for vkey in sorted(found)]

    def _table(
        self, db: Connection, sizes: dict[int, int], disclosed: _Disclosed
    ) -> Iterator[bytes]:
        yield _row(["log", "entry", "time", "event", *_COLUMNS, "more"])
        for number, size in sizes.items():
            for entry in _walk(db, number, size):
                held = disclosed.values(db, entry)
                references, facts = facts_of({name: one.value for name, one in held.items()})
                cells = [
                    self._membership.name_of(references[name])
                    if name in ("holder", "issuer", "member") and name in references
                    else references.get(name, b"").hex()
                    for name in _COLUMNS
                ]
                more = "; ".join(f"{name}: {text}" for name, text in facts.items())
                place = [str(number), str(entry.index), rfc3339(entry.time) or "", entry.event]
                yield _row([*place, *cells, more])


def _policy() -> bytes:
    """Return the policy for people and programs. There is version 0, which is built in."""
    encoder = msgspec.json.Encoder(order="sorted", enc_hook=dict)
    return msgspec.json.format(encoder.encode(BUILT_IN_POLICY), indent=1) + b"\n"


class _Archive:
    """A pack's archive while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stored: list[StoredFile] = []
        self.files: list[PackFile] = []

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write one file; its header follows once its length is known."""
        start = self._file.tell()
        self._file.write(local_header(StoredFile(name=name, length=0, crc=0)))
        crc = length = 0
        digest = Sha256()
        for piece in pieces:
            self._file.write(piece)
            crc, length = binascii.crc32(piece, crc), length + len(piece)
            digest.update(piece)
        stored = StoredFile(name=name, length=length, crc=crc)
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(local_header(stored))
        self._file.seek(end)
        self._stored.append(stored)
        self.files.append(PackFile(name, length, digest.digest()))

    def close(self) -> None:
        """Write what stands behind all files."""
        self._file.write(directory(self._stored))


def _walk(db: Connection, incarnation: int, size: int) -> Iterator[StoredEntry]:
    for entry in log_store.walk(db, incarnation):
        if entry.index >= size:
            return
        yield entry


def _heads(db: Connection, me: bytes, incarnation: int) -> dict[int, bytes]:
    """Return the newest head of a log and those that others cosigned, by size, ascending."""
    newest = log_store.head(db, incarnation)
    heads = {} if newest is None else {newest.size: newest.note}
    for row in witness.cosignatures(db, origin_of(me, incarnation)):
        known = heads.setdefault(row.size, row.note)
        lines = [line for line in _signatures(row.note) if line not in _signatures(known)]
        heads[row.size] = known + b"".join(lines)
    return dict(sorted(heads.items()))


def _signatures(note: bytes) -> list[bytes]:
    return note.rpartition(b"\n\n")[2].splitlines(keepends=True)


def _fields(disclose: list[str]) -> frozenset[str] | None:
    """Return the fields that are meant, None for all; UsageError for what is no field."""
    if not disclose or disclose == [NONE]:
        return frozenset()
    if ALL in disclose:
        return None
    for field in disclose:
        if not _FIELD.fullmatch(field) or field == NONE:
            raise UsageError(
                f"not a field: {field!r}", hint="all, none, or fields such as holder,image,name"
            )
    return frozenset(disclose)


def _new_file(path: Path) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "w+b")
    except FileExistsError:
        raise NodeError(
            f"{path} exists and is never overwritten", code="exists", hint="name another file"
        ) from None
    except OSError as error:
        raise NodeError(f"cannot write {path}: {error.strerror}", code="write_failed") from None


def _row(cells: list[str]) -> bytes:
    """Return a line of the table; no cell is one that a spreadsheet would calculate."""
    guarded = [f"'{cell}" if cell[:1] in tuple("=+-@\t\r\n") and cell else cell for cell in cells]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(guarded)
    return text.getvalue().encode()
