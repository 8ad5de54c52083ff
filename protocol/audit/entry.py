"""Entries of the audit log: one event each, as canonical JSON.

Belongs here: the grammar of an entry, its encoder, its one decoder, and the
commitments that stand in an entry where a personal value would.
Never here: hashing into the tree (``tree``), rules between entries (``verify``),
or what a node stores beside an entry.

Format: docs/spec/audit-entry.md.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Final

import msgspec

from protocol.errors import EncodingError, LimitError, LocalError
from protocol.labels import COMMIT_LOG_VALUE
from protocol.limits import MAX_ENTRY_BYTES, MAX_LOG_INTEGER
from protocol.primitives import sha256

ENTRY_VERSION: Final = 1
SALT_BYTES: Final = 32

EVENTS: Final = frozenset(
    (
        "imported",
        "classified",
        "rendered",
        "issued",
        "delivered",
        "released",
        "redelivered",
        "denied",
        "leased",
        "received",
        "opened",
        "saved",
        "amended",
        "exported",
        "revoked",
        "revocation_seen",
        "erased",
        "reviewed",
        "policy_changed",
        "roster_changed",
        "member_removed",
        "closed",
        "drilled",
        "verified",
        "restored",
        "witness_alarm",
        "manifest_alarm",
        "unlock_failed",
        "member_added",
        "incarnation_started",
        "epoch_closed",
        "requested",
        "purged",
    )
)
"""Everything an entry may say happened (docs/spec/audit-entry.md, "event")."""

_EVENT_BYTES: Final = frozenset(event.encode() for event in EVENTS)
_HEX_DIGITS: Final = b"0123456789abcdef"

# {"actor":"<32 hex or nothing>","commitments":{"<field>":"<64 hex>",…},"event":"<event>",
#  "nonce":"<32 hex>","seq":<integer>,"subjects":["<32 hex>",…],"time":<integer>,"v":1}
#
# No string of this grammar can need an escape and no number can need a sign, fraction or
# exponent, so what it matches is RFC 8785, the order of commitments apart.
_FIELD: Final = rb"[a-z][a-z0-9_]{0,31}"
_COMMITTED: Final = rb'"' + _FIELD + rb'":"[0-9a-f]{64}"'
_PSEUDONYM: Final = rb'"[0-9a-f]{32}"'
_INTEGER: Final = rb"(0|[1-9][0-9]{0,15})"
_ENTRY: Final = re.compile(
    rb'\{"actor":"(?:[0-9a-f]{32})?"'
    rb',"commitments":\{((?:' + _COMMITTED + rb"(?:," + _COMMITTED + rb")*+)?)\}"
    rb',"event":"([a-z_]{1,32})"'
    rb',"nonce":' + _PSEUDONYM + rb',"seq":' + _INTEGER + rb',"subjects":\['
    rb"(?:" + _PSEUDONYM + rb"(?:," + _PSEUDONYM + rb")*+)?\]"
    rb',"time":' + _INTEGER + rb',"v":1\}'
)
_IS_FIELD: Final = re.compile(_FIELD)


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event of the log. Fields stand in the order of their names: that is their encoding."""

    actor: str
    """Pseudonym of who did it, 32 lowercase hexadecimal digits, or empty: this node itself."""
    commitments: dict[str, str]
    """Field name to the commitment (64 hexadecimal digits) to a value stored elsewhere."""
    event: str
    """What happened, one of EVENTS."""
    nonce: str
    """32 hexadecimal digits: keeps equal events apart, and matches the entries of two logs."""
    seq: int
    """Position in the log, from 0."""
    subjects: tuple[str, ...]
    """Pseudonyms of whom and what it is about, 32 hexadecimal digits each."""
    time: int
    """Wall time of the node, Unix milliseconds. May go back; verification flags that."""
    v: int = ENTRY_VERSION
    """Version of this format."""


_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """Return the canonical bytes of entry, which are what the log stores and hashes.

    Raises LimitError where they are over MAX_ENTRY_BYTES, LocalError where a field is not what
    docs/spec/audit-entry.md allows.
    """
    try:
        data = _encoder.encode(entry)
    except UnicodeError:
        raise LocalError("entry: text that is not Unicode") from None
    if len(data) > MAX_ENTRY_BYTES:
        raise LimitError(f"entry: {len(data)} bytes, at most {MAX_ENTRY_BYTES} allowed")
    try:
        _own.scan_untrusted(data)
    except EncodingError as error:
        raise LocalError(str(error)) from None
    return data


def decode_entry_untrusted(data: bytes) -> Entry:
    """Decode an entry; EncodingError for every spelling but the canonical one."""
    scan_entry_untrusted(data)
    return _decoder.decode(data)


def scan_entry_untrusted(data: bytes) -> tuple[int, int]:
    """Check that data is a canonical entry and return its seq and time, without building it.

    Raises EncodingError exactly where decode_entry_untrusted does.
    """
    match = _ENTRY.fullmatch(data)
    if match is None:
        raise EncodingError("entry: not the canonical encoding")
    commitments, event, seq, time = match.groups()
    if event not in _EVENT_BYTES:
        raise EncodingError("entry: unknown event")
    fields = commitments.split(b'"')[1::4]
    if any(left >= right for left, right in itertools.pairwise(fields)):
        raise EncodingError("entry: commitments are not in the order of their fields")
    return _in_bounds(data, int(seq), int(time))


def _in_bounds(data: bytes, seq: int, time: int) -> tuple[int, int]:
    if len(data) > MAX_ENTRY_BYTES:
        raise EncodingError(f"entry: {len(data)} bytes, at most {MAX_ENTRY_BYTES} allowed")
    if seq > MAX_LOG_INTEGER or time > MAX_LOG_INTEGER:
        raise EncodingError("entry: integer out of range")
    return seq, time


_SHAPES: Final = 64
"""Shapes that a scanner learns: more than an honest log has, few enough to learn in no time."""
_HEX_VALUE: Final = re.compile(rb'"(?:[0-9a-f]{64}|[0-9a-f]{32})"(?!:)')
_NUMBER: Final = re.compile(rb'"(seq|time)":[0-9]+')


class EntryScanner:
    """scan_entry_untrusted for many entries: the same answers, about twice as fast.

    It learns the shape of entries it has checked: all bytes but the hexadecimal digits of values
    and the two numbers. An entry of a known shape needs no look at single digits. Its constant
    bytes are compared one by one, and deleting every hexadecimal digit from all of it must leave
    what the shape's first entry left; the constant bytes account for all of that, so nothing but
    digits can stand where digits must.
    """

    __slots__ = ("_shapes",)

    def __init__(self) -> None:
        self._shapes: dict[bytes, re.Pattern[bytes]] = {}

    def scan_untrusted(self, data: bytes) -> tuple[int, int]:
        """Return seq and time of an entry; EncodingError as scan_entry_untrusted."""
        skeleton = data.translate(None, _HEX_DIGITS)
        shape = self._shapes.get(skeleton)
        match = shape.fullmatch(data) if shape is not None else None
        if match is not None:
            seq, time = match.groups()
            return _in_bounds(data, int(seq), int(time))
        numbers = scan_entry_untrusted(data)
        if shape is None and len(self._shapes) < _SHAPES:
            self._shapes[skeleton] = _shape_of(data)
        return numbers


_own: Final = EntryScanner()
"""Knows the shapes of the entries that this process writes."""


def _shape_of(entry: bytes) -> re.Pattern[bytes]:
    """Return the pattern of all entries that differ from this one in digits only."""
    pattern = _HEX_VALUE.sub(lambda value: b'".{%d}"' % (len(value[0]) - 2), re.escape(entry))
    return re.compile(_NUMBER.sub(rb'"\1":' + _INTEGER, pattern), re.DOTALL)


def commitment(salt: bytes, field: str, value: bytes) -> bytes:
    """Return SHA-256("safelight/commit/v1" 00 salt field 00 value), 32 bytes.

    The salt is SALT_BYTES of fresh entropy, stored beside value: without both the commitment
    says nothing, with both it proves the value. LocalError for another size of salt or a field
    that is no field name.
    """
    if len(salt) != SALT_BYTES:
        raise LocalError("the salt of a commitment is 32 bytes")
    return sha256(COMMIT_LOG_VALUE + salt + _field_name(field) + value)


@functools.lru_cache(maxsize=256)
def _field_name(field: str) -> bytes:
    """Return a field's name as commitments have it, with the byte that ends it."""
    name = field.encode()
    if not _IS_FIELD.fullmatch(name):
        raise LocalError("a field name is 1 to 32 of a-z, 0-9 and _, a letter first")
    return name + b"\x00"
