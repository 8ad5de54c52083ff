"""The proof of one entry as a file that needs nothing beside it to be checked.

Belongs here: a tlog-proof that carries the entry and the keys of its log in its ``extra``.
Never here: tlog-proof itself (``tlog_proof``), or whether the log's keeper is whom one thinks.

No signature covers ``extra``; what is in it proves itself: the entry by its hash, the keys by the
fingerprint that is part of the log's origin. Format: docs/spec/audit-log.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from protocol.audit.checkpoint import Checkpoint
from protocol.audit.entry import Entry, decode_entry_untrusted
from protocol.audit.log_keys import LogKeys
from protocol.audit.tlog_proof import format_proof, parse_proof_untrusted, verify_proof_untrusted
from protocol.encoding import decode, encode
from protocol.errors import LogError
from protocol.identity import Identity, parse_certificate_untrusted
from protocol.limits import MAX_NOTE_BYTES


class ProvenEntry(
    msgspec.Struct, frozen=True, tag="proven-entry", forbid_unknown_fields=True, kw_only=True
):
    """What stands in the ``extra`` of a proof that is a file by itself."""

    entry: bytes
    """The exact bytes that the log hashes."""
    certificate: bytes
    """Of the log's keeper."""
    statements: tuple[bytes, ...]
    """About the keeper's log keys, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What a proof shows."""

    keeper: Identity
    """Who that is, a person has to know."""
    index: int
    entry: Entry
    head: Checkpoint


def format_proof_file(
    keys: LogKeys, *, index: int, entry: bytes, proof: Sequence[bytes], note: bytes
) -> bytes:
    """Return the file; LocalError where it would be longer than a proof may be."""
    proven = ProvenEntry(
        entry=entry, certificate=keys.identity.certificate, statements=keys.statements
    )
    return format_proof(index, proof, note, extra=encode(proven))


def verify_proof_file_untrusted(data: bytes) -> Proven:
    """Verify a proof by nothing but itself.

    Raises LogError as verify_proof_untrusted, ``malformed_proof`` without the extra, and the
    RemoteError kinds of a certificate, a key statement or an entry that is none.
    """
    extra = parse_proof_untrusted(data).extra
    if extra is None:
        raise LogError("inclusion proof: it does not bring its entry", code="malformed_proof")
    proven = decode(ProvenEntry, extra, limit=2 * MAX_NOTE_BYTES)
    keys = LogKeys.of(parse_certificate_untrusted(proven.certificate))
    for statement in proven.statements:
        keys = keys.with_statement_untrusted(statement)
    proof, witnessed = verify_proof_untrusted(data, entry=proven.entry, keys=keys)
    return Proven(
        keeper=keys.identity,
        index=proof.index,
        entry=decode_entry_untrusted(proven.entry),
        head=witnessed.checkpoint,
    )
