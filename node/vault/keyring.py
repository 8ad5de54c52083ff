"""The vault's header file: how a passphrase or a recovery phrase becomes the vault's keys.

Belongs here: the header's format, wrapping and unwrapping the vault key, the
subkeys made from it, the count of failed unlocks, and the mark of a set passphrase.
Never here: what the keys open, asking a person, or where a home is.

Every function computes and waits for the disk: call it in a thread.
Format: docs/spec/vault.md.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from node.vault.errors import (
    DamagedError,
    VaultError,
    VaultExistsError,
    VaultMissingError,
    WrongPassphraseError,
    storage_errors,
)
from node.vault.files import replace_file, sync_folder
from protocol.errors import AuthenticationError, LimitError, LocalError, UnsupportedError
from protocol.identity import recovery_phrase, recovery_secret
from protocol.labels import (
    KDF_VAULT_INDEX,
    KDF_VAULT_KEYSLOTS,
    KDF_VAULT_PASSPHRASE,
    KDF_VAULT_RECOVERY,
)
from protocol.limits import (
    ARGON2_MAX_MEMORY_BYTES,
    ARGON2_MAX_TIME,
    ARGON2_MEMORY_BYTES,
    ARGON2_MIN_MEMORY_BYTES,
    ARGON2_TIME,
    KIB,
    TAG_BYTES,
)
from protocol.primitives import (
    KEY_BYTES,
    NONCE_BYTES,
    Aead,
    Entropy,
    argon2id,
    equal,
    hkdf_expand,
    sha256,
)

HEADER_NAME: Final = "vault"
FAILURES_NAME: Final = "failed-unlocks"
ROLL_NAME: Final = "log-key-due"
"""File that is there while the passphrase was set and the log's key not yet replaced."""

VERSION: Final = 1
SALT_BYTES: Final = 16
HEADER_BYTES: Final = 240

_MAGIC: Final = b"SLV1"
_ARGON2ID: Final = 1
_MAX_FAILURES: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultKeys:
    """What an unlocked vault works with. Each is 32 bytes and made from the vault key."""

    index: bytes = field(repr=False)
    """Of the SQLCipher database."""
    keyslots: bytes = field(repr=False)
    """From which every keyslot record's key is made."""


# wrap: commitment (32) ‖ ChaCha20-Poly1305(key, zero nonce, vault key (32), ad) with tag (16)
_WRAP_BYTES: Final = 32 + KEY_BYTES + TAG_BYTES

# offset  bytes
#      0      4  "SLV1"
#      4      1  version, 1
#      5      1  password hash, 1 = Argon2id
#      6      2  zero
#      8      4  Argon2id time, big-endian
#     12      4  Argon2id memory in KiB, big-endian
#     16     16  salt of the passphrase
#     32     80  wrap under the passphrase; ad = bytes 0 to 31
#    112     16  salt of the recovery phrase
#    128     80  wrap under the recovery phrase; ad = bytes 0 to 4 and 112 to 127
#    208     32  SHA-256 of bytes 0 to 207
_LAYOUT: Final = struct.Struct(f">4sBBHII{SALT_BYTES}s{_WRAP_BYTES}s{SALT_BYTES}s{_WRAP_BYTES}s")
_CHECKSUM_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    time: int
    memory_bytes: int
    passphrase_salt: bytes
    passphrase_wrap: bytes = field(repr=False)
    recovery_salt: bytes
    recovery_wrap: bytes = field(repr=False)

    def encode(self) -> bytes:
        body = _LAYOUT.pack(
            _MAGIC,
            VERSION,
            _ARGON2ID,
            0,
            self.time,
            self.memory_bytes // KIB,
            self.passphrase_salt,
            self.passphrase_wrap,
            self.recovery_salt,
            self.recovery_wrap,
        )
        return body + sha256(body)

    def passphrase_binding(self) -> bytes:
        return self.encode()[:32]

    def recovery_binding(self) -> bytes:
        encoded = self.encode()
        return encoded[:5] + encoded[112:128]


def _parse_untrusted(data: bytes) -> _Header:
    """Return the header in data; DamagedError or UnsupportedError for anything else.

    Nothing is computed from the parameters of a header whose checksum or bounds are wrong.
    """
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(data) != HEADER_BYTES or sha256(body) != checksum:
        raise DamagedError("header", "its checksum is wrong", hint="restore it from a backup")
    magic, version, kind, zero, time, memory_kib, *parts = _LAYOUT.unpack(body)
    if magic != _MAGIC or version != VERSION or kind != _ARGON2ID:
        raise UnsupportedError("this vault is of a format that this build does not know")
    passphrase_salt, passphrase_wrap, recovery_salt, recovery_wrap = parts
    header = _Header(
        time=time,
        memory_bytes=memory_kib * KIB,
        passphrase_salt=passphrase_salt,
        passphrase_wrap=passphrase_wrap,
        recovery_salt=recovery_salt,
        recovery_wrap=recovery_wrap,
    )
    in_bounds = (
        1 <= header.time <= ARGON2_MAX_TIME
        and ARGON2_MIN_MEMORY_BYTES <= header.memory_bytes <= ARGON2_MAX_MEMORY_BYTES
    )
    if zero or not in_bounds:
        raise DamagedError("header", "its parameters are out of bounds")
    return header


# Wraps ------------------------------------------------------------------------------------------


def _password(text: str) -> bytes:
    """Return a passphrase's bytes, the same however its letters were typed."""
    try:
        password = unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError:
        raise LocalError("the passphrase is not text") from None
    if not password:
        raise LocalError("the passphrase is empty")
    return password


def _passphrase_secret(header: _Header, passphrase: str) -> bytes:
    """Return 64 bytes, wrapping key ‖ commitment, after exactly one run of Argon2id."""
    stretched = argon2id(
        _password(passphrase),
        header.passphrase_salt,
        time=header.time,
        memory_bytes=header.memory_bytes,
    )
    return hkdf_expand(stretched, KDF_VAULT_PASSPHRASE, 2 * KEY_BYTES)


def _recovery_secret(header: _Header, secret: bytes) -> bytes:
    """Return 64 bytes, wrapping key ‖ commitment, of the 32 bytes behind a recovery phrase."""
    return hkdf_expand(secret, KDF_VAULT_RECOVERY + header.recovery_salt, 2 * KEY_BYTES)


# Each wrapping key is made with a fresh salt and wraps once, so its nonce is fixed.
_NONCE: Final = bytes(NONCE_BYTES)


def _wrap(secret: bytes, vault_key: bytes, binding: bytes) -> bytes:
    key, commitment = secret[:KEY_BYTES], secret[KEY_BYTES:]
    return commitment + Aead(key).seal(_NONCE, vault_key, binding)


def _unwrap(secret: bytes, wrap: bytes, binding: bytes) -> bytes:
    key, commitment = secret[:KEY_BYTES], secret[KEY_BYTES:]
    # The commitment lets no crafted wrap open under two passphrases; it is checked first.
    if not equal(commitment, wrap[:KEY_BYTES]):
        raise WrongPassphraseError
    try:
        return Aead(key).open(_NONCE, wrap[KEY_BYTES:], binding)
    except AuthenticationError:
        raise DamagedError("header", "the vault key does not authenticate") from None


def _keys(vault_key: bytes) -> VaultKeys:
    return VaultKeys(
        index=hkdf_expand(vault_key, KDF_VAULT_INDEX, KEY_BYTES),
        keyslots=hkdf_expand(vault_key, KDF_VAULT_KEYSLOTS, KEY_BYTES),
    )


# The file ---------------------------------------------------------------------------------------


def create(
    home: Path, passphrase: str, *, entropy: Entropy, memory_bytes: int = ARGON2_MEMORY_BYTES
) -> tuple[VaultKeys, str]:
    """Write the header of a new vault; return its keys and the recovery phrase, 24 words.

    The phrase is in no file. ``memory_bytes`` of Argon2id are 64 MiB to 1 GiB. Raises LocalError,
    VaultExistsError, StorageFullError, StorageFailedError.
    """
    if has_header(home):
        raise VaultExistsError("there is a vault in this folder already")
    vault_key, secret = entropy(KEY_BYTES), entropy(KEY_BYTES)
    header = _Header(
        time=ARGON2_TIME,
        memory_bytes=memory_bytes,
        passphrase_salt=b"",
        passphrase_wrap=b"",
        recovery_salt=entropy(SALT_BYTES),
        recovery_wrap=b"",
    )
    header = _with_recovery(header, secret, vault_key)
    header = _with_passphrase(header, passphrase, vault_key, entropy, memory_bytes)
    replace_file(home / HEADER_NAME, header.encode())
    return _keys(vault_key), recovery_phrase(secret)


def has_header(home: Path) -> bool:
    """Say whether there is a header file, of whatever content."""
    return (home / HEADER_NAME).exists()


def check_header(home: Path) -> None:
    """Raise unless the header file is whole: as `unlock`, without a passphrase."""
    _read(home)


def unlock(home: Path, passphrase: str) -> VaultKeys:
    """Return the keys that a passphrase opens.

    Raises WrongPassphraseError after exactly one run of Argon2id, and counts it. Before any run:
    VaultMissingError, DamagedError, UnsupportedError, LocalError.
    """
    return _keys(_open_with_passphrase(home, _read(home), passphrase))


def unlock_with_recovery(home: Path, phrase: str) -> VaultKeys:
    """Return the keys that a recovery phrase opens; raises as `unlock`, and counts as it does.

    A phrase with a wrong word or checksum is LocalError, and not counted.
    """
    return _keys(_open_with_recovery(home, _read(home), phrase))


def change_passphrase(
    home: Path,
    old: str,
    new: str,
    *,
    entropy: Entropy,
    memory_bytes: int = ARGON2_MEMORY_BYTES,
) -> None:
    """Wrap the vault key under another passphrase; the recovery phrase stays the same.

    After a crash either the old or the new passphrase opens; `roll_is_due` where it may be the
    new one. Raises as `unlock` and `create`.
    """
    header = _read(home)
    vault_key = _open_with_passphrase(home, header, old)
    header = _with_passphrase(header, new, vault_key, entropy, memory_bytes)
    replace_file(home / ROLL_NAME, b"")
    replace_file(home / HEADER_NAME, header.encode())


def recover(
    home: Path,
    phrase: str,
    new: str,
    *,
    entropy: Entropy,
    memory_bytes: int = ARGON2_MEMORY_BYTES,
) -> VaultKeys:
    """Set a new passphrase by the recovery phrase, which stays the same; return the keys.

    `roll_is_due` from before the new passphrase opens.
    """
    header = _read(home)
    vault_key = _open_with_recovery(home, header, phrase)
    header = _with_passphrase(header, new, vault_key, entropy, memory_bytes)
    replace_file(home / ROLL_NAME, b"")
    replace_file(home / HEADER_NAME, header.encode())
    return _keys(vault_key)


def _read(home: Path) -> _Header:
    if not has_header(home):
        raise VaultMissingError("there is no vault in this folder", hint="make one with init")
    with storage_errors():
        data = (home / HEADER_NAME).read_bytes()
    return _parse_untrusted(data)


def _open_with_passphrase(home: Path, header: _Header, passphrase: str) -> bytes:
    secret = _passphrase_secret(header, passphrase)
    with _counting(home):
        return _unwrap(secret, header.passphrase_wrap, header.passphrase_binding())


def _open_with_recovery(home: Path, header: _Header, phrase: str) -> bytes:
    secret = _recovery_secret(header, recovery_secret(phrase))
    with _counting(home):
        return _unwrap(secret, header.recovery_wrap, header.recovery_binding())


def _with_passphrase(
    header: _Header, passphrase: str, vault_key: bytes, entropy: Entropy, memory_bytes: int
) -> _Header:
    if not ARGON2_MIN_MEMORY_BYTES <= memory_bytes <= ARGON2_MAX_MEMORY_BYTES:
        raise LimitError("Argon2id takes 64 MiB to 1 GiB")
    header = replace(
        header,
        time=ARGON2_TIME,
        memory_bytes=memory_bytes,
        passphrase_salt=entropy(SALT_BYTES),
    )
    secret = _passphrase_secret(header, passphrase)
    wrap = _wrap(secret, vault_key, header.passphrase_binding())
    return replace(header, passphrase_wrap=wrap)


def _with_recovery(header: _Header, secret: bytes, vault_key: bytes) -> _Header:
    wrap = _wrap(_recovery_secret(header, secret), vault_key, header.recovery_binding())
    return replace(header, recovery_wrap=wrap)


# The log's key ----------------------------------------------------------------------------------


def roll_is_due(home: Path) -> bool:
    """Say whether a passphrase was set since `forget_roll`."""
    return (home / ROLL_NAME).exists()


def forget_roll(home: Path) -> None:
    """Note that the log's key was replaced since the passphrase was set."""
    with storage_errors():
        (home / ROLL_NAME).unlink(missing_ok=True)
        sync_folder(home)


# Failed unlocks ---------------------------------------------------------------------------------


@contextmanager
def _counting(home: Path) -> Iterator[None]:
    try:
        yield
    except WrongPassphraseError:
        count = min(failed_unlocks(home) + 1, _MAX_FAILURES)
        # On a full disk the refusal still says what is wrong.
        with suppress(VaultError):
            replace_file(home / FAILURES_NAME, f"{count}\n".encode())
        raise


def failed_unlocks(home: Path) -> int:
    """Return how many unlocks failed since `forget_failed_unlocks`."""
    try:
        with (home / FAILURES_NAME).open("rb") as file:
            text = file.read(16).strip()
    except FileNotFoundError:
        return 0
    # A file that is not ours any more still says that somebody was here.
    return int(text) if text.isdigit() else 1


def forget_failed_unlocks(home: Path) -> None:
    """Start counting anew, once the count is in the audit log."""
    with storage_errors():
        (home / FAILURES_NAME).unlink(missing_ok=True)
        sync_folder(home)
