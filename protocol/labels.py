"""Every domain-separation string of Safelight.

Belongs here: labels of signatures, key derivations, hashes and contexts.
Never here: code that uses them. Two labels are never equal and none is a
prefix of another followed by data of free length (a test holds both).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SIGNATURE_PREFIX: Final = b"safelight/v1/"
"""First bytes of everything an identity key signs (architecture 4.1)."""

NO_TEAM: Final = bytes(32)
"""team_id where no team exists yet: certificates, local blobs, prologues of joining."""


class SignatureType(StrEnum):
    """What a signature is for; stands between the prefix and a zero byte."""

    CERTIFICATE = "certificate"
    IDENTITY_FILE = "identity-file"
    ROSTER = "roster"
    POLICY = "policy"
    LOG_KEY = "log-key"
    CAPABILITY = "capability"
    MANIFEST = "manifest"
    AMENDMENT = "amendment"
    REVOCATION = "revocation"
    OPEN_REQUEST = "open-request"
    RECEIPT = "receipt"
    MAIL = "mail"
    ADMISSION = "admission"
    EVIDENCE_PACK = "evidence-pack"


# Hashes (BLAKE2b, label ‖ data)
HASH_FINGERPRINT: Final = b"safelight/v1/hash/fingerprint\x00"
HASH_TEAM: Final = b"safelight/v1/hash/team\x00"
HASH_ROSTER: Final = b"safelight/v1/hash/roster\x00"
HASH_CAPABILITY: Final = b"safelight/v1/hash/capability\x00"
HASH_IMAGE_LIST: Final = b"safelight/v1/hash/image-list\x00"
HASH_VERSION: Final = b"safelight/v1/hash/version\x00"
HASH_OPEN_NONCE: Final = b"safelight/v1/hash/open-nonce\x00"
HASH_PSEUDONYM: Final = b"safelight/v1/hash/pseudonym\x00"
HASH_ANNOUNCEMENT: Final = b"safelight/v1/hash/announcement\x00"
HASH_JOINING_WORDS: Final = b"safelight/v1/hash/joining-words\x00"

# Commitments
COMMIT_ISSUER_SHARE: Final = b"safelight/v1/commit/issuer-share\x00"
COMMIT_LOG_VALUE: Final = b"safelight/commit/v1\x00"

# Key derivations (HKDF info, label ‖ data)
KDF_SEALED_BLOB: Final = b"safelight/v1/kdf/sealed-blob\x00"
KDF_ISSUER_SHARE: Final = b"safelight/v1/kdf/issuer-share\x00"
KDF_RENDITION_KEY: Final = b"safelight/v1/kdf/rendition-key\x00"
KDF_FACTOR_MIX: Final = b"safelight/v1/kdf/factor-mix\x00"
KDF_FACTOR_PROOF: Final = b"safelight/v1/kdf/factor-proof\x00"
KDF_VAULT_PASSPHRASE: Final = b"safelight/v1/kdf/vault/passphrase\x00"
KDF_VAULT_RECOVERY: Final = b"safelight/v1/kdf/vault/recovery\x00"
KDF_VAULT_INDEX: Final = b"safelight/v1/kdf/vault/index\x00"
KDF_VAULT_KEYSLOTS: Final = b"safelight/v1/kdf/vault/keyslots\x00"
KDF_KEYSLOT_RECORD: Final = b"safelight/v1/kdf/keyslot-record\x00"

# Prologues of Noise X (sealing to a person)
PROLOGUE_CHANNEL: Final = b"safelight/v1/prologue/channel\x00"
PROLOGUE_SEALED_CAPABILITY: Final = b"safelight/v1/prologue/capability\x00"
PROLOGUE_WELCOME: Final = b"safelight/v1/prologue/welcome\x00"
PROLOGUE_MAIL: Final = b"safelight/v1/prologue/mail\x00"

# Prologue of Noise XXpsk0 (joining by code)
PROLOGUE_JOINING: Final = b"safelight/v1/prologue/joining\x00"

# Names of the two ends of SPAKE2 (joining by code)
PAKE_JOINER: Final = b"safelight/v1/pake/joiner\x00"
PAKE_INVITER: Final = b"safelight/v1/pake/inviter\x00"
