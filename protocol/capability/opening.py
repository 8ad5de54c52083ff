"""One open: the holder's request, the issuer's one answer, and what the holder verifies.

Belongs here: the signed open request, the order of reasons to refuse one, and the
checks by which a holder accepts a release.
Never here: counting, logging, or anything that waits; those are one transaction of the
issuer's node.
Specification: docs/spec/capability.md, section 8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from protocol.audit.checkpoint import Checkpoint
from protocol.audit.entry import Entry, decode_entry_untrusted
from protocol.audit.log_keys import LogKeys
from protocol.audit.proof import verify_inclusion
from protocol.audit.tree import leaf_hash
from protocol.capability.fields import Count, Hash, Hash64, Id
from protocol.capability.keys import commit_issuer
from protocol.capability.manifest import Manifest
from protocol.capability.signed import sign_value, verify_value_untrusted
from protocol.errors import AuthenticationError, EncodingError, LogError, Reason
from protocol.identity import Identity, LocalIdentity
from protocol.labels import HASH_OPEN_NONCE, SignatureType
from protocol.limits import REDELIVERY_MS
from protocol.messages import Released
from protocol.primitives import KEY_BYTES, blake2b, equal

# The request ------------------------------------------------------------------------------------


class OpenBody(
    msgspec.Struct, frozen=True, tag="open-request", forbid_unknown_fields=True, kw_only=True
):
    """What a holder signs to open one rendition over one channel."""

    capability_hash: Hash
    rendition_id: Hash
    open_id: Id
    """Drawn and stored by the holder before it asks: the same one asks for the same open again."""
    blob_sha256: Hash
    """Of the whole ciphertext that the holder has verified."""
    handshake_hash: Hash64
    """Of the channel that carries the request; on another channel it is void."""
    roster_version: Count
    """That the holder goes by."""
    factor_proof: Hash64 | None
    """`keys.factor_proof`, None where the terms name no second factor."""


def sign_open(body: OpenBody, *, holder: LocalIdentity, team_id: bytes) -> bytes:
    """Return an open request of ours, signed; LocalError for a field of the wrong size."""
    return sign_value(body, SignatureType.OPEN_REQUEST, signer=holder, team_id=team_id)


def verify_open_untrusted(
    signed: bytes, *, holder: Identity, team_id: bytes, handshake_hash: bytes
) -> OpenBody:
    """Return the open request that holder signed for this channel.

    AuthenticationError for another signer, team or channel; EncodingError for what the
    holder should not have written.
    """
    body = verify_value_untrusted(
        OpenBody, SignatureType.OPEN_REQUEST, signer=holder, team_id=team_id, signed=signed
    )
    if not equal(body.handshake_hash, handshake_hash):
        raise AuthenticationError
    return body


def open_nonce(capability_hash: bytes, open_id: bytes) -> bytes:
    """Return the 16-byte nonce of the log entry of an open, in the issuer's and the holder's log.

    Who knows the open finds its entry; nobody else learns which capability it is of.
    """
    return blake2b(HASH_OPEN_NONCE + capability_hash + open_id, size=16)


# The answer -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantState:
    """What the issuer's index says of one picture of a capability, inside the transaction."""

    revoked: bool
    not_before: int
    expires_at: int
    """With amendments applied."""
    max_opens: int
    """The terms'."""
    opens_added: int
    """By amendments."""
    scope: Literal["image", "capability"]
    opens_of_image: int
    opens_of_capability: int
    rendition_ready: bool

    @property
    def opens_left(self) -> int:
        """How many opens of this picture remain."""
        used = self.opens_of_image if self.scope == "image" else self.opens_of_capability
        return max(0, self.max_opens + self.opens_added - used)


def check(
    state: GrantState | None,
    *,
    now: int,
    member: bool,
    clock_ok: bool,
    policy_ok: bool,
    factor_ok: bool,
) -> Reason | None:
    """Return the one reason to refuse a new open, or None to release.

    The first that applies of: ``unknown not_member clock revoked expired not_yet policy
    factor not_ready exhausted``. ``state`` is None where no capability of that hash, holder,
    rendition and blob exists. What must not be counted comes before what is counted.
    """
    standing = _check_standing(
        state,
        now=now,
        member=member,
        clock_ok=clock_ok,
        policy_ok=policy_ok,
        factor_ok=factor_ok,
    )
    if standing is not None or state is None:
        return standing
    if not state.rendition_ready:
        return Reason.NOT_READY
    if state.opens_left == 0:
        return Reason.EXHAUSTED
    return None


def check_redelivery(
    state: GrantState | None,
    *,
    now: int,
    member: bool,
    clock_ok: bool,
    policy_ok: bool,
    factor_ok: bool,
    released_at: int,
    opened: bool,
) -> Reason | None:
    """Return the one reason to refuse an open_id that was released before, or None to redeliver.

    Everything but the count is checked again. Once the holder's receipt says ``opened``, or
    after 24 hours, the open is spent: ``exhausted``.
    """
    standing = _check_standing(
        state,
        now=now,
        member=member,
        clock_ok=clock_ok,
        policy_ok=policy_ok,
        factor_ok=factor_ok,
    )
    if standing is not None:
        return standing
    if opened or now >= released_at + REDELIVERY_MS:
        return Reason.EXHAUSTED
    return None


def _check_standing(
    state: GrantState | None,
    *,
    now: int,
    member: bool,
    clock_ok: bool,
    policy_ok: bool,
    factor_ok: bool,
) -> Reason | None:
    if state is None:
        return Reason.UNKNOWN
    refusals = (
        (not member, Reason.NOT_MEMBER),
        (not clock_ok, Reason.CLOCK),
        (state.revoked, Reason.REVOKED),
        (now >= state.expires_at, Reason.EXPIRED),
        (now < state.not_before, Reason.NOT_YET),
        (not policy_ok, Reason.POLICY),
        (not factor_ok, Reason.FACTOR),
    )
    return next((reason for refused, reason in refusals if refused), None)


# What the holder verifies -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRelease:
    """A release whose entry is proven to be in the issuer's log."""

    issuer_share: bytes = field(repr=False)
    entry: Entry
    leaf_hash: bytes
    """Of the entry, 32 bytes: what the holder's receipt names."""
    checkpoint: Checkpoint
    """The issuer's head that the entry is proven under."""
    opens_left: int


def verify_release_untrusted(
    released: Released, *, body: OpenBody, manifest: Manifest, keys: LogKeys
) -> VerifiedRelease:
    """Verify an issuer's release before anything of it is used.

    The entry must be the release of this very open, be included in the log's tree under a
    head of the issuer's newest log, signed by the key of its epoch, and the share must be the
    one committed to. Raises LogError for the log's part (code ``key`` or ``origin`` where the
    issuer may have announced a key since), AuthenticationError for the share, EncodingError for
    an impossible count.
    """
    checkpoint = keys.open_head_untrusted(released.checkpoint, keys.origin)
    try:
        entry = decode_entry_untrusted(released.entry)
    except EncodingError:
        raise LogError("release: its entry is malformed", code="entry") from None
    nonce = open_nonce(body.capability_hash, body.open_id)
    if (entry.event, entry.nonce, entry.seq) != ("released", nonce.hex(), released.index):
        raise LogError("release: its entry is not of this open", code="entry")
    leaf = leaf_hash(released.entry)
    verify_inclusion(released.index, checkpoint.size, leaf, released.proof, checkpoint.root)
    ours = (manifest.capability_hash, manifest.rendition_id)
    if ours != (body.capability_hash, body.rendition_id):
        raise AuthenticationError
    if len(released.issuer_share) != KEY_BYTES:
        raise AuthenticationError
    commitment = commit_issuer(released.issuer_share, body.rendition_id)
    if not equal(commitment, manifest.commit_issuer):
        raise AuthenticationError
    if released.opens_left < 0:
        raise EncodingError("release: a count below zero")
    return VerifiedRelease(
        issuer_share=released.issuer_share,
        entry=entry,
        leaf_hash=leaf,
        checkpoint=checkpoint,
        opens_left=released.opens_left,
    )
