"""One honest capability with everything around it, for tests to use and to break."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import msgspec

from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.entry import Entry, encode_entry
from protocol.audit.tree import inclusion_proof, leaf_hash, node_hash, root_of
from protocol.capability.keys import (
    NO_FACTOR_MIX,
    commit_issuer,
    issuer_share,
    rendition_key,
    wrap,
)
from protocol.capability.manifest import Disclosure, Manifest, rendition_context, version_hash
from protocol.capability.opening import OpenBody, open_nonce
from protocol.capability.terms import (
    Capability,
    ImageItem,
    Terms,
    capability_hash,
    encode_image_list,
    image_list_context,
    image_list_hash,
    issue,
    seal_capability,
)
from protocol.encoding import encode
from protocol.messages import Released
from protocol.primitives import sha256
from protocol.sealed_blob import commitment_of_untrusted, seal
from tests.protocol.people import DAY, NOW, person, stream

ALICE = person("Alice")
BOB = person("Bob")
CAROL = person("Carol")
TEAM = bytes(range(32))
ORIGIN = origin_of(ALICE.public.fingerprint)
HANDSHAKE = bytes(range(64))
PICTURE = b"\xff\xd8 the bytes of a small rendition \xff\xd9"

ITEMS = tuple(
    ImageItem(
        image_id=bytes([number] * 16),
        name=name,
        format="jpeg",
        width=6000,
        height=4000,
        bytes=9_000_000 + number,
    )
    for number, name in enumerate(("harbour.jpg", "Dünen (2).jpg", "東京.jpg"), start=1)
)


def honest_terms(**changes: object) -> Terms:
    """Return terms that Alice grants Bob, some fields changed."""
    terms = Terms(
        capability_id=bytes(range(16)),
        issuer=ALICE.public.fingerprint,
        holder=BOB.public.fingerprint,
        team=TEAM,
        image_count=len(ITEMS),
        image_list_hash=image_list_hash(encode_image_list(ITEMS)),
        rights=("view",),
        rendition="preview:2048",
        watermark=False,
        not_before=NOW,
        expires_at=NOW + 2 * DAY,
        max_opens=10,
        scope="image",
        factor_salt=None,
        lease=0,
        classification="internal",
        usage_terms="",
        policy_version=0,
        roster_version=2,
    )
    return msgspec.structs.replace(terms, **changes)


def honest_manifest(**changes: object) -> Manifest:
    """Return the manifest of the first picture's rendition, some fields changed."""
    return msgspec.structs.replace(case().manifest, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that both sides of one capability hold."""

    terms: Terms
    signed_terms: bytes
    hash: bytes
    capability: Capability
    sealed: bytes
    slot_secret: bytes
    secret: bytes
    rendition: bytes
    manifest: Manifest
    body: OpenBody
    released: Released


@functools.cache
def case() -> Case:
    """Return the honest case."""
    draw = stream("capability")
    terms = honest_terms()
    signed_terms = issue(terms=terms, issuer=ALICE)
    name = capability_hash(encode(terms))
    list_key = draw(32)
    sealed_list = seal(list_key, image_list_context(terms), encode_image_list(ITEMS), salt=draw(24))
    capability = Capability(
        signed_terms=signed_terms,
        holder_share=draw(32),
        list_key=list_key,
        list_sealed_sha256=sha256(sealed_list),
        list_sealed_bytes=len(sealed_list),
    )
    slot_secret, secret, rendition_id = draw(32), draw(32), draw(32)
    context = rendition_context(
        team_id=TEAM,
        issuer=ALICE.public.fingerprint,
        image_id=ITEMS[0].image_id,
        rendition_id=rendition_id,
    )
    rendition = seal(secret, context, PICTURE, salt=draw(24))
    share = issuer_share(slot_secret, rendition_id)
    commitment = commitment_of_untrusted(rendition[:64])
    key = rendition_key(
        holder_share=capability.holder_share,
        mix=NO_FACTOR_MIX,
        issuer_share=share,
        capability_hash=name,
        rendition_id=rendition_id,
    )
    manifest = Manifest(
        capability_hash=name,
        image_id=ITEMS[0].image_id,
        version_hash=version_hash(draw(16), sha256(b"the original's bytes")),
        rendition_id=rendition_id,
        rendition="preview:2048",
        disclosure=Disclosure(removed=("camera", "position"), kept=("colour profile",)),
        ciphertext_sha256=sha256(rendition),
        ciphertext_bytes=len(rendition),
        blob_commitment=commitment,
        commit_issuer=commit_issuer(share, rendition_id),
        wrapped=wrap(
            key, secret, capability_hash=name, rendition_id=rendition_id, commitment=commitment
        ),
        format="jpeg",
        width=2048,
        height=1365,
    )
    body = OpenBody(
        capability_hash=name,
        rendition_id=rendition_id,
        open_id=draw(16),
        blob_sha256=manifest.ciphertext_sha256,
        handshake_hash=HANDSHAKE,
        roster_version=2,
        factor_proof=None,
    )
    return Case(
        terms=terms,
        signed_terms=signed_terms,
        hash=name,
        capability=capability,
        sealed=seal_capability(
            capability,
            sender=ALICE,
            recipient=BOB.public,
            team_id=TEAM,
            entropy=stream("seal"),
        ),
        slot_secret=slot_secret,
        secret=secret,
        rendition=rendition,
        manifest=manifest,
        body=body,
        released=release(body, share),
    )


def entry(index: int, **changes: object) -> bytes:
    """Return an entry of Alice's log."""
    plain = Entry(
        actor="",
        commitments={},
        event="imported",
        nonce=f"{index:032x}",
        seq=index,
        subjects=(),
        time=NOW + index,
    )
    return encode_entry(msgspec.structs.replace(plain, **changes))


def release(body: OpenBody, share: bytes, *, index: int = 3, **changes: object) -> Released:
    """Return Alice's release of an open, logged at index of a log of five entries."""
    nonce = open_nonce(body.capability_hash, body.open_id).hex()
    entries = [entry(number) for number in range(5)]
    entries[index] = entry(index, **{"event": "released", "nonce": nonce, **changes})
    return publish(entries, index, share)


def publish(entries: list[bytes], index: int, share: bytes) -> Released:
    """Return a release with the honest proof of one entry of a log."""
    leaves = [leaf_hash(one) for one in entries]

    def read(level: int, position: int) -> bytes:
        if level == 0:
            return leaves[position]
        return node_hash(read(level - 1, 2 * position), read(level - 1, 2 * position + 1))

    head = Checkpoint(origin=ORIGIN, size=len(leaves), root=root_of(leaves))
    return Released(
        issuer_share=share,
        entry=entries[index],
        index=index,
        proof=tuple(inclusion_proof(index, len(leaves), read)),
        checkpoint=sign_checkpoint(head, ALICE.log),
        opens_left=9,
    )
