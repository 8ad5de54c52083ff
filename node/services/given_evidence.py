"""What somebody handed over as evidence: a pack, a proof, or proof of two histories.

Belongs here: telling which one a file is, and the report of each in the same words.
Never here: verifying (``protocol.audit``), the own log (``log_verifying``), vaults.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node.errors import NodeError
from node.services.moments import rfc3339
from protocol.audit.equivocation import decode_evidence_untrusted, verify_evidence_untrusted
from protocol.audit.pack import verify_pack_untrusted
from protocol.audit.proof_file import verify_proof_file_untrusted
from protocol.audit.verify import Problem
from protocol.errors import RemoteError
from protocol.identity import format_fingerprint
from protocol.limits import MAX_EVIDENCE_BYTES, MAX_NOTE_BYTES

_PROOF = b"c2sp.org/tlog-proof"


def verify_file(path: Path) -> dict[str, Any]:
    """Return what a file proves, and what is wrong with it; NodeError where it cannot be read."""
    with mapped(path) as data:
        start = bytes(data[: len(_PROOF)])
        if start == _PROOF:
            return _proof(bytes(data[: 2 * MAX_NOTE_BYTES + 1]))
        if start[:2] == b"PK":
            return _pack(data)
        return _evidence(bytes(data[: MAX_EVIDENCE_BYTES + 1]))


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """Hold a file's bytes without reading them all; NodeError where it cannot be read."""
    try:
        with path.expanduser().open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                yield memoryview(b"")
                return
            # It is let go with the last view of it.
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no file"
        raise NodeError(f"cannot read {path}: {why}", code="read_failed") from None
    yield memoryview(whole)


def _pack(data: memoryview) -> dict[str, Any]:
    report = verify_pack_untrusted(data)
    exporter = report.exporter
    return {
        "ok": report.ok,
        "kind": "pack",
        "fingerprint": None if exporter is None else format_fingerprint(exporter.fingerprint),
        "name": None if exporter is None else exporter.name,
        "created": rfc3339(report.created) if report.created else None,
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex() or None,
        "cosigned_by": [
            {"witness": one.witness, "name": one.name, "size": one.size, "time": rfc3339(one.time)}
            for one in report.cosigned_by
        ],
        "unwitnessed": report.unwitnessed,
        "entries": report.entries,
        "disclosed": report.disclosed,
        "receipts": report.receipts,
        "problems": [_plain(one) for one in report.problems],
        "flagged": [_plain(one) for one in report.flagged],
    }


def _proof(data: bytes) -> dict[str, Any]:
    try:
        proven = verify_proof_file_untrusted(data)
    except RemoteError as error:
        return _wrong("proof", error)
    return {
        "ok": True,
        "kind": "proof",
        "fingerprint": format_fingerprint(proven.keeper.fingerprint),
        "name": proven.keeper.name,
        "origin": proven.head.origin,
        "size": proven.head.size,
        "root": proven.head.root.hex(),
        "index": proven.index,
        "event": proven.entry.event,
        "time": rfc3339(proven.entry.time),
        "cosigned_by": [],
        "unwitnessed": proven.head.size,
        "problems": [],
        "flagged": [],
    }


def _evidence(data: bytes) -> dict[str, Any]:
    try:
        shown = verify_evidence_untrusted(decode_evidence_untrusted(data))
    except RemoteError as error:
        return _wrong("evidence", error)
    return {
        "ok": True,
        "kind": "evidence",
        "fingerprint": format_fingerprint(shown.identity.fingerprint),
        "name": shown.identity.name,
        "shows": shown.kind.value,
        "origin": shown.origin,
        "size": getattr(shown.second, "size", 0),
        "root": None,
        "cosigned_by": [],
        "unwitnessed": 0,
        "problems": [],
        "flagged": [],
    }


def _wrong(kind: str, error: RemoteError) -> dict[str, Any]:
    return {
        "ok": False,
        "kind": kind,
        "fingerprint": None,
        "name": None,
        "origin": "",
        "size": 0,
        "root": None,
        "cosigned_by": [],
        "unwitnessed": 0,
        "problems": [{"index": None, "code": error.code, "message": str(error)}],
        "flagged": [],
    }


def _plain(problem: Problem) -> dict[str, Any]:
    return {"index": problem.index, "code": problem.code, "message": problem.message}
