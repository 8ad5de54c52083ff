"""Who a node is, and what its signature means.

Belongs here: the four keys of a device, its self-signed certificate, the forms
in which a person compares or writes them down, the one signed envelope of every
statement, and what text of a peer may be shown.
Never here: who is a member (``roster``), what a statement says, where seeds are kept.
Specification: docs/spec/identity.md.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from mnemonic import Mnemonic

from protocol.encoding import decode, encode
from protocol.errors import AuthenticationError, EncodingError, LocalError, UnsupportedError
from protocol.labels import HASH_FINGERPRINT, NO_TEAM, SIGNATURE_PREFIX, SignatureType
from protocol.limits import (
    MAX_ADDRESSES,
    MAX_BODY_BYTES,
    MAX_CERTIFICATE_BYTES,
    MAX_HOST_BYTES,
    MAX_IDENTITY_FILE_BYTES,
    MAX_NAME_BYTES,
)
from protocol.primitives import (
    KEY_BYTES,
    Entropy,
    SigningKey,
    blake2b,
    is_valid_point,
    verify_signature,
    x25519,
    x25519_public,
)

CERTIFICATE_VERSION: Final = 1
FINGERPRINT_BYTES: Final = 32
FINGERPRINT_WORDS: Final = 8
RECOVERY_WORDS: Final = 24

Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
"""A public key as it stands in a certificate: exactly 32 bytes."""
Time = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Unix milliseconds that every reader of JSON holds exactly."""

# Keys -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LastingSeeds:
    """The independent 32-byte secrets that a device keeps for good: no key is another's child."""

    identity: bytes = field(repr=False)
    agreement: bytes = field(repr=False)
    cosigning: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds(LastingSeeds):
    """All four secrets that a certificate is made from."""

    log: bytes = field(repr=False)
    """Of the log's first key, which is erased once another one follows it."""

    @classmethod
    def generate(cls, entropy: Entropy) -> Seeds:
        """Draw four fresh seeds."""
        return cls(
            identity=entropy(KEY_BYTES),
            agreement=entropy(KEY_BYTES),
            log=entropy(KEY_BYTES),
            cosigning=entropy(KEY_BYTES),
        )


class Certificate(msgspec.Struct, frozen=True, tag="certificate", forbid_unknown_fields=True):
    """What a device says of itself; its identity key signs these bytes (spec section 3)."""

    version: int
    name: str
    """What the device's owner calls it: 1 to MAX_NAME_BYTES bytes that `is_clean_name` accepts."""
    created: Time
    identity: Key
    """Ed25519: signs statements."""
    agreement: Key
    """X25519: channels and sealing."""
    log: Key
    """Ed25519: heads of the log's epoch 0 and nothing else."""
    cosigning: Key
    """Ed25519: cosignatures of other logs and nothing else."""


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed statement on the wire: the exact bytes that were signed, and the signature."""

    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device whose certificate has been verified. Public."""

    fingerprint: bytes
    """32 bytes over the four keys: the device's name in every statement."""
    name: str
    created: int
    identity_key: bytes
    agreement_key: bytes
    log_key: bytes
    cosigning_key: bytes
    certificate: bytes = field(repr=False)
    """The certificate's exact bytes as they travel."""

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {format_fingerprint(self.fingerprint)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalIdentity:
    """The device of this node: its public identity and the secrets behind it."""

    public: Identity
    identity: SigningKey
    agreement_secret: bytes = field(repr=False)
    """X25519, 32 bytes."""
    first_log: SigningKey | None
    """Signs heads of the log's first epoch; None where it is kept elsewhere, or erased."""
    cosigning: SigningKey

    @property
    def log(self) -> SigningKey:
        """The log's first key; LocalError where this identity is without it."""
        if self.first_log is None:
            raise LocalError("the log's first key is not at hand: it may be erased")
        return self.first_log


def fingerprint(identity: bytes, agreement: bytes, log: bytes, cosigning: bytes) -> bytes:
    """Return the 32-byte BLAKE2b fingerprint of a device's four public keys."""
    return blake2b(HASH_FINGERPRINT + identity + agreement + log + cosigning)


def make_identity(seeds: Seeds, *, name: str, now: int) -> LocalIdentity:
    """Make a device's keys and certificate; LocalError for a name that peers would refuse."""
    if not is_clean_name(name):
        raise LocalError(
            "this name cannot stand in a certificate",
            hint=f"use 1 to {MAX_NAME_BYTES} bytes of plain text on one line",
        )
    identity = SigningKey(seeds.identity)
    body = encode(
        Certificate(
            version=CERTIFICATE_VERSION,
            name=name,
            created=now,
            identity=identity.public,
            agreement=x25519_public(seeds.agreement),
            log=SigningKey(seeds.log).public,
            cosigning=SigningKey(seeds.cosigning).public,
        )
    )
    signed = sign_statement(identity, SignatureType.CERTIFICATE, NO_TEAM, body)
    return load_identity(seeds, signed)


def load_identity(seeds: LastingSeeds, certificate: bytes) -> LocalIdentity:
    """Join stored seeds and their certificate; LocalError where they do not belong together.

    Without the seed of the log's first key the certificate is believed about it.
    """
    public = parse_certificate_untrusted(certificate)
    log = SigningKey(seeds.log) if isinstance(seeds, Seeds) else None
    local = LocalIdentity(
        public=public,
        identity=SigningKey(seeds.identity),
        agreement_secret=seeds.agreement,
        first_log=log,
        cosigning=SigningKey(seeds.cosigning),
    )
    ours = (
        local.identity.public,
        x25519_public(seeds.agreement),
        public.log_key if log is None else log.public,
        local.cosigning.public,
    )
    if fingerprint(*ours) != public.fingerprint:
        raise LocalError("the certificate was not made from these seeds")
    return local


def parse_certificate_untrusted(data: bytes) -> Identity:
    """Return the device that a peer's certificate names.

    The signature is by the key inside, so it proves no more than that the holder of
    the identity key wrote the rest. Raises EncodingError (bytes, name), UnsupportedError
    (version) or AuthenticationError (signature, unusable key).
    """
    signed = decode(Signed, data, limit=MAX_CERTIFICATE_BYTES)
    certificate = decode(Certificate, signed.body, limit=MAX_CERTIFICATE_BYTES)
    if certificate.version != CERTIFICATE_VERSION:
        raise UnsupportedError("certificate: a version this build does not know")
    if not _usable_keys_untrusted(certificate):
        raise AuthenticationError("certificate: a key that no honest device has")
    message = signature_input(SignatureType.CERTIFICATE, NO_TEAM, signed.body)
    verify_signature(certificate.identity, message, signed.signature)
    if not is_clean_name(certificate.name):
        raise EncodingError("certificate: a name that cannot be shown")
    return Identity(
        fingerprint=fingerprint(
            certificate.identity, certificate.agreement, certificate.log, certificate.cosigning
        ),
        name=certificate.name,
        created=certificate.created,
        identity_key=certificate.identity,
        agreement_key=certificate.agreement,
        log_key=certificate.log,
        cosigning_key=certificate.cosigning,
        certificate=data,
    )


_FIELD_PRIME: Final = 2**255 - 19


def _usable_keys_untrusted(certificate: Certificate) -> bool:
    keys = (certificate.identity, certificate.log, certificate.cosigning, certificate.agreement)
    if len(set(keys)) != len(keys) or not all(is_valid_point(key) for key in keys[:3]):
        return False
    # A second spelling of a key would pass for another device's.
    if int.from_bytes(certificate.agreement, "little") >= _FIELD_PRIME:
        return False
    # A clamped scalar is a multiple of the cofactor, so it takes exactly the points of low order
    # to zero, which x25519 refuses.
    try:
        x25519(bytes(KEY_BYTES), certificate.agreement)
    except AuthenticationError:
        return False
    return True


# Signed statements ------------------------------------------------------------------------------

# What is signed: "safelight/v1/" ‖ type ‖ 0x00 ‖ team id (32) ‖ body


def signature_input(kind: SignatureType, team_id: bytes, body: bytes) -> bytes:
    """Return the exact bytes under a statement's signature; team_id is 32 bytes (spec section 4).

    The type is ASCII without a zero byte and the team id has one size, so no two
    triples give the same bytes.
    """
    if len(team_id) != len(NO_TEAM):
        raise LocalError("a team id is 32 bytes")
    return b"".join((SIGNATURE_PREFIX, kind.encode("ascii"), b"\x00", team_id, body))


def sign_statement(key: SigningKey, kind: SignatureType, team_id: bytes, body: bytes) -> bytes:
    """Return body, signed by an identity key, as the bytes that travel."""
    return encode(Signed(body=body, signature=key.sign(signature_input(kind, team_id, body))))


def verify_statement_untrusted(
    public: bytes,
    kind: SignatureType,
    team_id: bytes,
    signed: bytes,
    *,
    limit: int = MAX_BODY_BYTES,
) -> bytes:
    """Return the body that public signed as kind in team_id; parse it only after.

    Raises EncodingError for bytes that are no envelope or are longer than limit, and
    AuthenticationError for any other key, type, team or body.
    """
    statement = decode(Signed, signed, limit=limit)
    verify_signature(public, signature_input(kind, team_id, statement.body), statement.signature)
    return statement.body


# For people -------------------------------------------------------------------------------------

_BASE32_CHARACTERS: Final = 52
"""32 bytes in base32 without its padding, which is "====" here."""


def format_fingerprint(value: bytes) -> str:
    """Return a fingerprint as people see it: lowercase base32 in 13 groups of 4."""
    text = base64.b32encode(value).decode("ascii").rstrip("=").lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def parse_fingerprint(text: str) -> bytes:
    """Read a fingerprint in any case, with or without dashes; LocalError for anything else."""
    compact = text.replace("-", "")
    # str.upper turns some letters outside ASCII into letters of the alphabet.
    if len(compact) != _BASE32_CHARACTERS or not compact.isascii():
        raise LocalError("this is not a fingerprint", hint="it is 52 letters and digits")
    try:
        value = base64.b32decode(compact.upper() + "====")
    except binascii.Error:
        raise LocalError("this is not a fingerprint", hint="it has a to z and 2 to 7") from None
    if format_fingerprint(value).replace("-", "") != compact.lower():
        raise LocalError("this is not a fingerprint", hint="its last letter is wrong")
    return value


@functools.cache
def _english() -> Mnemonic:
    return Mnemonic("english")


def fingerprint_words(value: bytes) -> tuple[str, ...]:
    """Return a fingerprint's first 88 bits as 8 BIP-39 words, for comparing by voice.

    Never 24 words, which would look like a recovery phrase.
    """
    number = int.from_bytes(value[:11], "big")
    words = _english().wordlist
    return tuple(
        words[number >> (11 * place) & 0x7FF] for place in reversed(range(FINGERPRINT_WORDS))
    )


def recovery_phrase(secret: bytes) -> str:
    """Return the 24 BIP-39 words of a 32-byte secret."""
    if len(secret) != KEY_BYTES:
        raise LocalError("a recovery secret is 32 bytes")
    return _english().to_mnemonic(secret)


def recovery_secret(phrase: str) -> bytes:
    """Return the 32-byte secret behind 24 words; LocalError for a wrong word, count or checksum.

    The error names no word: it may be shown or logged.
    """
    words = phrase.lower().split()
    if len(words) != RECOVERY_WORDS:
        raise LocalError(f"a recovery phrase has {RECOVERY_WORDS} words, not {len(words)}")
    known = set(_english().wordlist)
    for place, word in enumerate(words, start=1):
        if word not in known:
            raise LocalError(f"word {place} of the recovery phrase is not in the list")
    try:
        return bytes(_english().to_entropy(words))
    except ValueError:
        raise LocalError(
            "the recovery phrase has a wrong word", hint="check the words and their order"
        ) from None


# Text of a peer ---------------------------------------------------------------------------------

_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Control, format (all bidirectional marks are), private use, surrogate, and every separator."""
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that show nothing: two names could differ by these alone."""


def _is_shown(character: str) -> bool:
    if character == " ":
        return True
    return (
        character not in _INVISIBLE and unicodedata.category(character) not in _REFUSED_CATEGORIES
    )


def is_clean_name(text: str) -> bool:
    """Say whether text may be a name: NFC, 1 to MAX_NAME_BYTES bytes, one line, nothing hidden."""
    return (
        all(_is_shown(character) for character in text)
        and text == text.strip(" ")
        and 1 <= len(text.encode()) <= MAX_NAME_BYTES
        and unicodedata.is_normalized("NFC", text)
    )


def clean_text(text: str, limit_bytes: int) -> str:
    """Return what may be shown of a peer's text: one line, at most limit_bytes of UTF-8.

    White space and line ends become a space; control, format and bidirectional characters
    and the like are dropped. The result, where any is left, satisfies `is_clean_name`
    up to its length.
    """
    shown = (
        character if _is_shown(character) else " " if character.isspace() else ""
        for character in text
    )
    # Normalising takes quadratic time in a run of combining marks, so the length is cut before.
    line = unicodedata.normalize("NFC", "".join(shown)[:limit_bytes]).strip(" ")
    return line.encode()[:limit_bytes].decode(errors="ignore").rstrip(" ")


# Identity file ----------------------------------------------------------------------------------


class IdentityFile(msgspec.Struct, frozen=True, tag="identity-file", forbid_unknown_fields=True):
    """What a person hands to an administrator: who my device is, and where it listens."""

    certificate: bytes
    addresses: tuple[tuple[str, int], ...]
    """(host, port), best first, at most MAX_ADDRESSES."""


_HOST: Final = re.compile(r"[0-9A-Za-z._:%-]+")


def is_address(host: str, port: int) -> bool:
    """Say whether host could be a name or IP address, and port a TCP port. Resolves nothing."""
    return len(host) <= MAX_HOST_BYTES and _HOST.fullmatch(host) is not None and 1 <= port <= 65_535


def _are_addresses(addresses: tuple[tuple[str, int], ...]) -> bool:
    return len(addresses) <= MAX_ADDRESSES and all(is_address(*address) for address in addresses)


def export_identity_file(local: LocalIdentity, addresses: Iterable[tuple[str, int]]) -> bytes:
    """Return the signed identity file of this node; LocalError for an address that is none."""
    file = IdentityFile(certificate=local.public.certificate, addresses=tuple(addresses))
    if not _are_addresses(file.addresses):
        raise LocalError("an address is wrong, or there are too many")
    return sign_statement(local.identity, SignatureType.IDENTITY_FILE, NO_TEAM, encode(file))


def parse_identity_file_untrusted(data: bytes) -> tuple[Identity, tuple[tuple[str, int], ...]]:
    """Return the device and the addresses of someone's identity file.

    Raises as `parse_certificate_untrusted`, and EncodingError for an address that is none.
    """
    signed = decode(Signed, data, limit=MAX_IDENTITY_FILE_BYTES)
    file = decode(IdentityFile, signed.body, limit=MAX_IDENTITY_FILE_BYTES)
    identity = parse_certificate_untrusted(file.certificate)
    message = signature_input(SignatureType.IDENTITY_FILE, NO_TEAM, signed.body)
    verify_signature(identity.identity_key, message, signed.signature)
    if not _are_addresses(file.addresses):
        raise EncodingError("identity file: an address that is none")
    return identity, file.addresses
