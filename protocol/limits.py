"""Every bound of the protocol, each with its reason.

Belongs here: named numbers with their unit and why they are what they are.
Never here: settings a user changes, or code.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024

# Sealed blob
CHUNK_BYTES: Final = 65_536
"""Plaintext bytes of a full chunk: large enough that the AEAD runs at memory speed."""
TAG_BYTES: Final = 16
"""Poly1305 tag."""
MAX_BLOB_CHUNKS: Final = 2**32 - 1
"""Chunk counter bound: 256 TiB, far over any picture, far under nonce reuse."""
MAX_RENDITION_NAME_BYTES: Final = 64
"""What names a rendition inside a blob's context: a word, or an id of 32 bytes in hex."""

# Identity
MAX_CERTIFICATE_BYTES: Final = 1 * KIB
"""Four keys, a signature and the longest name, with room for framing."""
MAX_ADDRESSES: Final = 16
"""Addresses of one node: every interface of a laptop, and some."""
MAX_HOST_BYTES: Final = 255
"""A DNS name in text is never longer."""
MAX_IDENTITY_FILE_BYTES: Final = 8 * KIB
"""A certificate and the longest addresses."""

# Channel
MAX_NOISE_MESSAGE_BYTES: Final = 65_535
"""Noise specification, section 3."""
MAX_OFFER_BYTES: Final = 256
"""The clear offer is a short list; nothing unauthenticated is parsed beyond this."""
MAX_BODY_BYTES: Final = 60_000
"""One request or response body fits one Noise message with room for framing."""
REKEY_MESSAGES: Final = 2**16
"""Both directions rekey after this many transport messages (architecture 4.4)."""
MAX_REQUESTS_IN_FLIGHT: Final = 64
"""Unanswered requests of one side: bounds the peer's memory."""
STREAM_WINDOW_BYTES: Final = 4 * MIB
"""Credit of a new stream: fills a fast LAN, bounds memory."""
ANSWER_BYTES: Final = 4_096
"""Every answer to an open is padded to this, so that a refusal looks like a release."""
STREAM_CREDIT_BYTES: Final = 1 * MIB
"""Consumed bytes that a reader gathers before it returns them as credit: a quarter window."""
MAX_RELAY_SESSION_BYTES: Final = 64
"""Session id in the clear offer: opaque, chosen by a rendezvous."""
MAX_VERSIONS_OFFERED: Final = 16
"""Channel versions one build may speak at once."""
MAX_CLOSE_REASON_BYTES: Final = 32
"""Reason of a close: a code, not prose."""
HANDSHAKE_TIMEOUT_MS: Final = 10_000
"""A peer that has not proved itself by then is closed: bounds half-open channels, and lets a line
through that takes two seconds each way."""
KEEP_ALIVE_MS: Final = 10_000
"""A side with nothing to say for this long sends a ping: under common NAT timeouts."""
SILENCE_MS: Final = 25_000
"""A peer unheard for this long is gone: a team is whole again 30 seconds after a cut has healed.
It pings at least every two KEEP_ALIVE_MS."""

# Sealing to a person
MAX_SEALED_PLAINTEXT_BYTES: Final = 60_000
"""Noise X is one message of 65,535 bytes with its overhead (architecture 4.1)."""
MAX_CAPABILITY_BYTES: Final = 64 * KIB
"""Sealed capability (architecture 4.5): one Noise message is never longer."""
MAX_WELCOME_BYTES: Final = 4 * MIB
"""A roster of 50 members with its history, in sealed parts."""

# Capability
MAX_IMAGES: Final = 100_000
"""Pictures of one capability: a whole library of the size the budgets name."""
MAX_RENDITION_BYTES: Final = 512 * MIB + 1 * MIB
"""Sealed bytes of one rendition: the largest file that import takes, and its tags."""
MAX_OPENS: Final = 1_000_000
"""There is no unlimited capability."""
MAX_USAGE_TERMS_BYTES: Final = 8 * KIB
"""Free text of the sharer: a page, not a book."""
MAX_NAME_BYTES: Final = 256
"""Names of people, teams, pictures, albums, tags in UTF-8."""
FACTOR_SALT_BYTES: Final = 16
MAX_IMAGE_LIST_BYTES: Final = 40 * MIB
"""An image list of MAX_IMAGES pictures, each with the longest name."""
MAX_IMAGE_EDGE: Final = 2**31 - 1
"""Pixels of one side: what PNG, the widest of the formats, can say."""
MAX_PREVIEW_PIXELS: Final = 65_535
"""Long edge of a preview: what JPEG, the format of previews, can say."""
MAX_DISCLOSURES: Final = 64
"""Groups of metadata that a manifest names as removed, and again as kept."""

# Roster
MAX_MEMBERS: Final = 500
"""Ten times the team sizes Safelight is made for."""
MAX_ROSTER_UPDATE_BYTES: Final = 1 * MIB
"""Everything one roster.update may carry (architecture 4.6)."""
MAX_ROSTER_PARENTS: Final = 8
"""Rosters of one version that the next one joins: two in practice."""
MAX_ROSTER_JUMP: Final = 1_000
"""Numbers skipped where two histories are joined: more than a team makes while it is cut in two,
and too few for a signer to run through all numbers there are."""
ROSTER_LIFETIME_MS: Final = 365 * 24 * 3_600_000
"""A year: long enough to forget nothing, short enough that a frozen roster shows."""
MAX_WELCOME_ADDRESSES: Final = 4_096
"""MAX_ADDRESSES of every member of a team five times the size Safelight is made for."""

ROSTER_RENEWAL_MS: Final = 30 * 24 * 3_600_000
"""An administrator's node renews a roster that has less than this left: a month of holidays."""

# Joining
INVITATION_MS: Final = 10 * 60_000
"""How long an invitation code is good: read over the telephone, typed, corrected once."""
MAX_INVITATION_NUMBER: Final = 9_999
"""What names an invitation on a network or server: short to say, and no secret."""
CODE_WORDS: Final = 2
"""Words of a code, of 2,048 each: one guess in four million."""
JOINING_TIMEOUT_MS: Final = 30_000
"""From the first message of a joining to its last: five small messages through a slow relay."""
MAX_JOINING_MESSAGE_BYTES: Final = 16 * KIB
"""An identity file, or what a newcomer is told of the team."""
MAX_SLOT_BYTES: Final = 64 * KIB
"""Both ways through an invitation's slot of a rendezvous (architecture 4.8)."""

# Rendezvous
MAX_CLAIM_SECRET_BYTES: Final = 64
MAX_MAIL_BYTES: Final = 59_000
"""A sealed mail, so that one always fits a message beside its number."""
MAIL_LIFETIME_MS: Final = 7 * 24 * 3_600_000
"""How long mail waits for its reader: over a week-end and a holiday."""
CIRCUIT_TOKEN_BYTES: Final = 32
"""What admits one socket to one end of one circuit."""
MAX_ADMISSION_BYTES: Final = 59_000
"""A signed admission, so that one always fits a message beside a claim's secret."""
MAX_MAILS_AT_ONCE: Final = 256
"""Mails of one answer, and numbers of one acknowledgement."""
MAIL_CLOCK_SLACK_MS: Final = 3_600_000
"""How far the clock of a mail's sender may be ahead of its reader's: a wrong zone, not more."""
MAX_RENDEZVOUS_ADDRESS_BYTES: Final = 512
"""The longest host, in brackets, with its port and key, has 317."""

# Announcements
MAX_ANNOUNCED_VALUE_BYTES: Final = 64
"""A value of a TXT record of ours: hexadecimal, or a number."""

# Passwords
ARGON2_TIME: Final = 3
ARGON2_MEMORY_BYTES: Final = 256 * MIB
ARGON2_MIN_MEMORY_BYTES: Final = 64 * MIB
"""Less is refused on read: a downgrade by whoever wrote the file."""
ARGON2_MAX_MEMORY_BYTES: Final = 1024 * MIB
"""More is refused before computing: a denial of service by whoever wrote the file."""
ARGON2_MAX_TIME: Final = 10

# Log
MAX_ENTRY_BYTES: Final = 65_535
"""tlog-tiles stores an entry behind a 16-bit length."""
MAX_NOTE_BYTES: Final = 64 * KIB
MAX_NOTE_SIGNATURES: Final = 100
"""As Go's sumdb/note: more is malformed."""
MAX_PROOF_HASHES: Final = 63
"""A proof of a tree of fewer than 2^63 leaves is never longer."""
MAX_GROUP_COMMIT: Final = 256
"""Entries of one transaction: bounds the wait of the last one."""
MAX_TREE_SIZE: Final = 2**63 - 1
"""Leaves of a tree: a size is a signed 64-bit integer in every implementation."""
MAX_LOG_INTEGER: Final = 2**53 - 1
"""Integers of an entry: every JSON reader sees the same number (RFC 8785)."""
LOG_SLICE_ENTRIES: Final = 2**15
"""Entries verified in one piece: a power of two, some 20 MB, about a tenth of a second."""
MAX_LOG_KEY_BYTES: Final = 4 * KIB
"""A signed statement about a log key: a head with its own signature, and room for cosignatures."""
MAX_LOG_KEYS: Final = 1_024
"""Statements of one identity: a new key every week for nineteen years. Taking them all costs a
reader about a second."""
MAX_LOG_KEYS_AT_ONCE: Final = 14
"""Statements of one answer: so many of the longest fit one body."""
MAX_HEAD_BYTES: Final = 800
"""A member's head as it is handed on: a checkpoint with its one signature has some 300 bytes."""
MAX_HEADS_AT_ONCE: Final = 64
"""Heads of one answer: so many of MAX_HEAD_BYTES fit one body."""
COSIGNATURE_CLOCK_SLACK_MS: Final = 3_600_000
"""How far the clock of a witness may be ahead of a reader's: a wrong zone, not more."""
MAX_EVIDENCE_BYTES: Final = 1 * MIB
"""Two notes and MAX_LOG_KEYS statements of some 600 bytes."""
MAX_REPORTED_PROBLEMS: Final = 64
"""Problems a verification names: the first is what matters, the next show how far it goes."""

# Clock
MAX_TIME_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: later ones cannot be written as RFC 3339."""
MAX_CLOCK_STEP_BACK_MS: Final = 120_000
"""Wall time earlier than the high-water mark by more than this denies (4.9)."""
MAX_CLOCK_DRIFT_MS: Final = 3_600_000
"""Wall and monotonic time further apart than this pause releases (4.9)."""
DENIALS_LOGGED_PER_MINUTE: Final = 10
"""Per holder; further denials of that minute become one counted summary (4.5)."""
REDELIVERY_MS: Final = 24 * 3_600_000
"""How long the same open_id redelivers (4.5)."""
PIXELS_SHOWN_MS: Final = 15 * 60_000
"""How long one open keeps pixels in node memory (4.5)."""
