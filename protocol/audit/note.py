"""Signed notes: a text with lines of signatures below it (C2SP signed-note v1.0.0).

Belongs here: verifier keys, signature lines, and opening a note against known
keys, plain Ed25519 (type 1) and timestamped cosignatures (type 4).
Never here: what the text says (``checkpoint``), or which keys are acceptable.

Everything that parses raises LogError and nothing else. Format: docs/spec/checkpoint.md.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.errors import AuthenticationError, LocalError, LogError
from protocol.limits import MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES
from protocol.primitives import SigningKey, is_valid_point, sha256, verify_signature

KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_SIGNATURE_MARK: Final = "— "
_CONTROL_BUT_LINE_FEED: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class KeyType(IntEnum):
    """The type byte of a verifier key: what its signatures are over."""

    NOTE = 0x01
    """Ed25519 over the text (signed-note)."""
    COSIGNATURE = 0x04
    """Ed25519 over a time and the text (tlog-cosignature, "cosignature/v1")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key under the name it signs with."""

    name: str
    """Not empty; no white space, control character or ``+``."""
    key_type: KeyType
    public: bytes
    """32 bytes, Ed25519."""

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise LocalError("a key name is not empty and has no space, control character or +")

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name ‖ 0A ‖ type ‖ public)."""
        preimage = self.name.encode() + b"\n" + bytes([self.key_type]) + self.public
        return sha256(preimage)[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A signature that verifies."""

    key: VerifierKey
    time: int | None
    """When it was made, Unix milliseconds (whole seconds); None for a key of type NOTE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """A signature of a key that the opener does not know. It proves nothing."""

    name: str
    key_id: bytes
    signature: bytes
    """All that stands after the key id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note at least one signature of which verifies."""

    text: bytes
    """UTF-8, ends with a line feed."""
    verified: tuple[Verified, ...]
    """One for each known key that signed, in the note's order."""
    unverified: tuple[Unverified, ...]


# Verifier keys ----------------------------------------------------------------------------------


def is_key_name(name: str) -> bool:
    """Say whether name may stand in a signature line."""
    return bool(name) and not any(c == "+" or c.isspace() or c < " " for c in name)


def format_vkey(key: VerifierKey) -> str:
    """Return the text form ``name+keyid+base64(type ‖ public)``."""
    public = base64.b64encode(bytes([key.key_type]) + key.public).decode()
    return f"{key.name}+{key.key_id.hex()}+{public}"


def parse_vkey_untrusted(text: str) -> VerifierKey:
    """Parse the text form of a verifier key.

    Raises LogError: code ``vkey`` for a malformed one, ``vkey_type`` for a type this build does
    not know.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    if not is_key_name(name) or not _KEY_ID.fullmatch(key_id):
        raise LogError("verifier key: malformed", code="vkey")
    data = parse_base64_untrusted(encoded, what="verifier key", code="vkey")
    try:
        key_type = KeyType(data[0] if data else 0)
    except ValueError:
        raise LogError("verifier key: unknown type", code="vkey_type") from None
    if not is_valid_point(data[1:]):
        raise LogError("verifier key: not a valid Ed25519 key", code="vkey")
    key = VerifierKey(name=name, key_type=key_type, public=data[1:])
    if key.key_id.hex() != key_id:
        raise LogError("verifier key: its id is not the hash of its key", code="vkey")
    return key


# Signing ----------------------------------------------------------------------------------------
#
# text (ends with LF) ‖ LF ‖ one or more lines
#   U+2014 SP name SP base64(key id 4 ‖ signature) LF
# signature, type 1: Ed25519(text), 64 bytes
# signature, type 4: u64be seconds ‖ Ed25519("cosignature/v1\ntime " seconds "\n" ‖ text), 72 bytes


def sign_note(text: bytes, *, name: str, key: SigningKey) -> bytes:
    """Return text with one signature of type NOTE below it.

    Raises LocalError for a text that no note can carry or a name that no key can have.
    """
    if not is_note_text(text):
        raise LocalError("a note is UTF-8 lines without control characters")
    public = VerifierKey(name=name, key_type=KeyType.NOTE, public=key.public)
    return text + b"\n" + _line(public, key.sign(text))


def sign_cosignature(text: bytes, *, name: str, key: SigningKey, now: int) -> bytes:
    """Return the line of a signature of type COSIGNATURE over text at now (Unix milliseconds).

    Only whole seconds are signed. The key must never sign anything of another type.
    """
    public = VerifierKey(name=name, key_type=KeyType.COSIGNATURE, public=key.public)
    seconds = now // 1000
    signature = key.sign(_cosigned(seconds, text))
    return _line(public, seconds.to_bytes(_TIME_BYTES, "big") + signature)


def _line(key: VerifierKey, signature: bytes) -> bytes:
    encoded = base64.b64encode(key.key_id + signature).decode()
    return f"{_SIGNATURE_MARK}{key.name} {encoded}\n".encode()


def _cosigned(seconds: int, text: bytes) -> bytes:
    return b"cosignature/v1\ntime %d\n" % seconds + text


# Opening ----------------------------------------------------------------------------------------


def is_note_text(text: bytes) -> bool:
    """Say whether text may be signed: UTF-8, ends with LF, no other control character."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return text.endswith(b"\n") and not _CONTROL_BUT_LINE_FEED.search(text)


def open_note_untrusted(data: bytes, verifiers: Iterable[VerifierKey]) -> Note:
    """Open a note: at least one of verifiers signed it, and none of them badly.

    Signatures of other keys are passed over; a second signature of one key is dropped. Raises
    LogError: code ``malformed_note``, ``bad_signature`` where a known key's signature fails,
    ``unsigned`` where no known key signed.
    """
    text, signatures = split_note_untrusted(data)
    known = {(key.name, key.key_id): key for key in verifiers}
    verified: dict[VerifierKey, Verified] = {}
    unverified = []
    for signature in signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            unverified.append(signature)
        elif key not in verified:
            verified[key] = verify_note_signature_untrusted(text, signature, key)
    if not verified:
        raise LogError("note: no signature of a known key", code="unsigned")
    return Note(text=text, verified=tuple(verified.values()), unverified=tuple(unverified))


def split_note_untrusted(data: bytes) -> tuple[bytes, tuple[Unverified, ...]]:
    """Return the text of a note and its signatures. Nothing is verified.

    Raises LogError (code ``malformed_note``).
    """
    if len(data) > MAX_NOTE_BYTES or not is_note_text(data):
        raise _malformed()
    # The text may hold empty lines itself: signatures follow the last one.
    body, separator, signatures = data.rpartition(b"\n\n")
    if not separator or not signatures:
        raise _malformed()
    lines = signatures.decode().split("\n")[:-1]
    if len(lines) > MAX_NOTE_SIGNATURES:
        raise _malformed()
    return body + b"\n", tuple(map(parse_signature_line_untrusted, lines))


def parse_signature_line_untrusted(line: str) -> Unverified:
    """Parse one signature line without its line feed; LogError ``malformed_note``."""
    name, space, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    if not line.startswith(_SIGNATURE_MARK) or not space or not is_key_name(name):
        raise _malformed()
    data = parse_base64_untrusted(encoded, what="note", code="malformed_note")
    if len(data) <= KEY_ID_BYTES:
        raise _malformed()
    return Unverified(name=name, key_id=data[:KEY_ID_BYTES], signature=data[KEY_ID_BYTES:])


def verify_note_signature_untrusted(
    text: bytes, signature: Unverified, key: VerifierKey
) -> Verified:
    """Verify one signature over text; LogError ``bad_signature`` unless it is key's."""
    field, time, message = signature.signature, None, text
    if key.key_type is KeyType.COSIGNATURE:
        seconds = int.from_bytes(field[:_TIME_BYTES], "big")
        field, time, message = field[_TIME_BYTES:], seconds * 1000, _cosigned(seconds, text)
    try:
        verify_signature(key.public, message, field)
    except AuthenticationError:
        raise LogError(f"note: bad signature of {key.name}", code="bad_signature") from None
    return Verified(key=key, time=time)


def _malformed() -> LogError:
    return LogError("note: malformed", code="malformed_note")


# Shared with the other text formats of the log ---------------------------------------------------


def parse_base64_untrusted(text: str, *, what: str, code: str) -> bytes:
    """Decode standard base64 with padding; LogError for every spelling but the canonical one."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise LogError(f"{what}: not base64", code=code) from None
    # The decoder takes any value for the bits that the padding leaves over.
    if base64.b64encode(data).decode() != text:
        raise LogError(f"{what}: not canonical base64", code=code)
    return data


def parse_decimal_untrusted(text: str, *, limit: int, what: str, code: str) -> int:
    """Parse a number as its only decimal spelling, at most limit; LogError otherwise."""
    if not _DECIMAL.fullmatch(text) or int(text) > limit:
        raise LogError(f"{what}: not a decimal number in range", code=code)
    return int(text)
