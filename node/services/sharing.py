"""Granting capabilities: what a person asks for, what the policy allows, what is signed.

Belongs here: issuing, in the order that makes it safe (keyslot before commit, commit
before answer).
Never here: listing, amending and ending (``granted``, ``amending``, ``ending``), answering
opens (``opening``), rendering, or sending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from node.errors import UsageError
from node.imaging.pool import Ownership
from node.services.context import Context
from node.services.copies import encode_ownership
from node.services.crediting import Crediting, Wish
from node.services.disclosing import Disclosing, watermark_words
from node.services.drafts import Drafts
from node.services.entries import draft, limits_in_words
from node.services.exporting import ENDINGS
from node.services.library import Library, blob_row
from node.services.membership import Membership
from node.services.moments import parse_duration, parse_moment, readable, rfc3339
from node.services.whole import whole
from node.vault.database import WriteTransaction
from node.vault.keyslots import KeyslotRecord
from node.vault.records import grants as rows
from node.vault.records import library, outbox
from node.vault.records.grants import GrantRow
from node.vault.records.library import BlobRow, ImageRow
from protocol.capability.keys import (
    NO_FACTOR_MIX,
    factor_mix,
    factor_proof_key,
    factor_secret,
    generate_phrase,
)
from protocol.capability.terms import (
    RIGHTS,
    Capability,
    ImageItem,
    Terms,
    capability_hash,
    encode_image_list,
    image_list_hash,
    issue,
    parse_rendition,
    seal_capability,
    sentence,
)
from protocol.encoding import encode
from protocol.errors import Reason, Refused
from protocol.identity import Identity
from protocol.labels import NO_TEAM
from protocol.limits import (
    FACTOR_SALT_BYTES,
    MAX_IMAGES,
)
from protocol.policy import BUILT_IN_POLICY, GUEST, Allow, Deny, ShareRequest, decide
from protocol.sealed_blob import BlobContext


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What is offered, whoever gets it."""

    images: list[ImageRow]
    starts: int
    factor: bool
    usage_terms: str
    ownership: Ownership | None
    """The credit that copies carry."""
    names: bool | None
    """Whether holders are told what the pictures are called here; None: members are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issued:
    """A capability whose secrets are on disk and whose row is not yet committed."""

    grant: GrantRow
    holder: Identity
    terms: Terms
    sealed: bytes
    list_blob: BlobRow
    record: KeyslotRecord
    phrase: str | None = field(repr=False)


class Sharing:
    """Issues capabilities."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        library_service: Library,
        disclosing: Disclosing,
        crediting: Crediting,
        *,
        wake_rendering: Callable[[], None],
        poke: Callable[[bytes], None],
        deadlines_changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._membership = membership
        self._library = library_service
        self._disclosing = disclosing
        self._crediting = crediting
        self._wake_rendering = wake_rendering
        self._poke = poke
        self._deadlines_changed = deadlines_changed

    # Share ----------------------------------------------------------------------------------------

    async def share(
        self,
        *,
        what: list[str],
        to: list[str],
        duration: str | None,
        rights: list[str],
        opens: int | None,
        rendition: str | None,
        watermark: bool | None,
        factor: bool,
        not_before: str | None,
        terms: str,
        lease: str | None,
        dry_run: bool,
        credit: str = "",
        copyright_notice: str = "",
        no_credit: bool = False,
        names: bool | None = None,
        look_into: int | None = None,
        instead_of: bytes | None = None,
    ) -> dict[str, Any]:
        """Grant one capability to each person; with dry_run only say what would be granted.

        ``look_into`` is of how many pictures a dry run says what would leave; None is all.
        ``instead_of`` is the id of a lapsed capability to one person that this one replaces.
        NodeError with a StripCode where a picture cannot be cleaned as it would have to be.
        """
        wish = Wish(
            credit=credit, copyright_notice=copyright_notice, terms=terms, no_credit=no_credit
        )
        now = self._context.clock.now()
        images = await self._library.resolve_many(what)
        holders = list({one.fingerprint: one for one in map(self._membership.resolve, to)}.values())
        self._check_shape(images, holders, rights)
        ownership = await self._crediting.of_all(what, images, wish)
        starts = now if not_before is None else max(now, parse_moment(not_before, now=now))
        asked = ShareRequest(
            classifications=tuple(image.classification for image in images),
            duration_ms=None if duration is None else parse_duration(duration, now=starts),
            opens=opens,
            rendition=rendition,
            watermark=watermark,
            rights=tuple(right for right in RIGHTS if right in rights),
            lease_ms=0 if lease is None else parse_duration(lease, now=now),
        )
        allowed = {one.fingerprint: self._decide(asked, one) for one in holders}
        offer = _Offer(
            images=images,
            starts=starts,
            factor=factor,
            usage_terms=terms,
            ownership=ownership,
            names=names,
        )
        originals = [parse_rendition(one.rendition).kind == "original" for one in allowed.values()]
        if wish.says_who and any(originals):
            raise UsageError(
                "an original is shared as it is, without a credit",
                hint="share clean copies, or leave out --credit and --copyright",
            )
        if dry_run:
            # What leaves depends on the pictures alone; who gets it, only on the holder.
            pictures = await self._disclosing.foretell(
                images[:look_into], allowed[holders[0].fingerprint], offer.ownership
            )
            return {
                "capabilities": [
                    self._preview(one, allowed[one.fingerprint], offer) for one in holders
                ],
                "pictures": pictures,
                "dry_run": True,
            }
        await self._disclosing.require_clean(images, list(allowed.values()), ownership)
        issued = await whole(self._issue(holders, allowed, offer, instead_of))
        return {
            "capabilities": [
                {
                    **self._describe_new(one.terms, one.holder, allowed[one.holder.fingerprint]),
                    **({"factor": one.phrase} if one.phrase is not None else {}),
                }
                for one in issued
            ]
        }

    async def foresee(
        self,
        *,
        what: list[str],
        to: str,
        rights: list[str],
        rendition: str | None,
        watermark: bool | None,
    ) -> tuple[list[ImageRow], Terms, str]:
        """Return the pictures, the terms and the holder's name of a share that is not made.

        Of the terms only what shows in a copy means anything. Raises what `share` would.
        """
        images = await self._library.resolve_many(what)
        holder = self._membership.resolve(to)
        self._check_shape(images, [holder], rights)
        asked = ShareRequest(
            classifications=tuple(image.classification for image in images),
            rendition=rendition,
            watermark=watermark,
            rights=tuple(right for right in RIGHTS if right in rights),
        )
        offer = _Offer(
            images=images,
            starts=self._context.clock.now(),
            factor=False,
            usage_terms="",
            ownership=None,
            names=None,
        )
        return images, self._unsigned(holder, self._decide(asked, holder), offer), holder.name

    async def _issue(
        self,
        holders: list[Identity],
        allowed: dict[bytes, Allow],
        offer: _Offer,
        instead_of: bytes | None,
    ) -> list[_Issued]:
        """Make and commit every capability; on a failure none, and no keyslot stays taken."""
        issued: list[_Issued] = []
        try:
            async with Drafts(self._context.vault.blobs) as drafts:
                for one in holders:
                    limits = allowed[one.fingerprint]
                    issued.append(await self._prepare(drafts, one, limits, offer))
                await self._commit(issued, offer.images, instead_of)
        except Exception:
            keyslots = self._context.vault.keyslots
            await asyncio.to_thread(keyslots.destroy, [_slot(one.grant) for one in issued])
            raise
        return issued

    def _check_shape(
        self,
        images: list[ImageRow],
        holders: list[Identity],
        rights: list[str],
    ) -> None:
        if unknown := [right for right in rights if right not in RIGHTS]:
            raise UsageError(f"no right {unknown[0]!r}", hint="rights: " + ", ".join(RIGHTS))
        if len(images) > MAX_IMAGES:
            raise UsageError(f"more than {MAX_IMAGES} pictures in one capability")
        if not holders:
            raise UsageError("nobody to share with", hint="name a member: --to NAME")
        if any(one.fingerprint == self._context.me for one in holders):
            raise UsageError("these pictures are yours already", hint="share with somebody else")

    def _decide(self, asked: ShareRequest, holder: Identity) -> Allow:
        self._membership.may_grant(holder.fingerprint)
        decision = decide(
            asked,
            holder_role=self._membership.role_of(holder.fingerprint) or "guest",
            sharer_role=self._membership.role_of(self._context.me) or "guest",
        )
        if isinstance(decision, Deny):
            raise Refused(
                Reason.POLICY, f"not to {holder.name}: {decision.reason}", hint=decision.hint
            )
        return decision

    def _terms(
        self,
        holder: Identity,
        allowed: Allow,
        offer: _Offer,
        *,
        list_hash: bytes,
        salt: bytes | None,
        capability_id: bytes,
    ) -> Terms:
        return Terms(
            capability_id=capability_id,
            issuer=self._context.me,
            holder=holder.fingerprint,
            team=self._membership.team_id,
            image_count=len(offer.images),
            image_list_hash=list_hash,
            rights=allowed.rights,
            rendition=allowed.rendition,
            watermark=allowed.watermark,
            not_before=offer.starts,
            expires_at=offer.starts + allowed.duration_ms,
            max_opens=allowed.opens,
            scope="image",
            factor_salt=salt,
            lease=allowed.lease_ms,
            classification=allowed.classification,
            usage_terms=offer.usage_terms,
            policy_version=BUILT_IN_POLICY.version,
            roster_version=self._membership.version,
        )

    def _unsigned(self, holder: Identity, allowed: Allow, offer: _Offer) -> Terms:
        """Return terms that nobody signs: without an id, a list and a salt."""
        return self._terms(
            holder, allowed, offer, list_hash=bytes(32), capability_id=bytes(16),
            salt=bytes(FACTOR_SALT_BYTES) if offer.factor else None,
        )  # fmt: skip

    def _preview(self, holder: Identity, allowed: Allow, offer: _Offer) -> dict[str, Any]:
        terms = self._unsigned(holder, allowed, offer)
        return {
            **self._describe_new(terms, holder, allowed),
            "id": None,
            "watermark": watermark_words(terms, holder.name, self._context.clock.now()),
            "names": self._names(holder, offer),
        }

    def _names(self, holder: Identity, offer: _Offer) -> list[str]:
        """Return what a holder is told that the pictures are called: a name is metadata too."""
        told = offer.names
        if told is None:
            told = self._membership.role_of(holder.fingerprint) not in (None, GUEST)
        return [
            image.name if told else f"picture-{number}.{ENDINGS.get(image.format, image.format)}"
            for number, image in enumerate(offer.images, 1)
        ]

    async def _prepare(
        self,
        drafts: Drafts,
        holder: Identity,
        allowed: Allow,
        offer: _Offer,
    ) -> _Issued:
        """Make a capability: its list is sealed on disk, its keyslot still to be written."""
        context, entropy = self._context, self._context.entropy
        capability_id, list_key, holder_share = entropy(16), entropy(32), entropy(32)
        listed = encode_image_list(
            tuple(
                ImageItem(
                    image_id=image.image_id,
                    name=name,
                    format=image.format,
                    width=image.width,
                    height=image.height,
                    bytes=image.size,
                )
                for image, name in zip(offer.images, self._names(holder, offer), strict=True)
            )
        )
        list_context = _list_context(self._membership.team_id, context.me, capability_id)
        sealed_list = await drafts.seal(listed, list_key, list_context)
        mix, proof_key, salt, phrase = NO_FACTOR_MIX, None, None, None
        if offer.factor:
            phrase, salt = generate_phrase(entropy), entropy(FACTOR_SALT_BYTES)
            secret = await asyncio.to_thread(factor_secret, phrase, salt)
            mix, proof_key = factor_mix(secret), factor_proof_key(secret)
        terms = self._terms(
            holder,
            allowed,
            offer,
            list_hash=image_list_hash(listed),
            salt=salt,
            capability_id=capability_id,
        )
        signed = issue(terms=terms, issuer=context.identity)
        sealed = seal_capability(
            Capability(
                signed_terms=signed,
                holder_share=holder_share,
                list_key=list_key,
                list_sealed_sha256=sealed_list.sha256,
                list_sealed_bytes=sealed_list.length,
            ),
            sender=context.identity,
            recipient=holder,
            team_id=self._membership.team_id,
            entropy=entropy,
        )
        slot = await asyncio.to_thread(context.vault.keyslots.allocate)
        record = KeyslotRecord(slot_secret=entropy(32), mix=mix, proof_key=proof_key)
        body = encode(terms)
        grant = GrantRow(
            capability_id=capability_id,
            capability_hash=capability_hash(body),
            holder=holder.fingerprint,
            terms=body,
            signature=signed,
            holder_share=holder_share,
            list_key=list_key,
            list_blob_id=sealed_list.blob_id,
            slot=slot,
            image_count=len(offer.images),
            created_at=context.clock.now(),
            expires_at=terms.expires_at,
            opens_added=0,
            amendments=0,
            opens=0,
            last_open=None,
            delivered_at=None,
            received_at=None,
            revoked_at=None,
            revocation_seen=None,
            ended_at=None,
            lapsed_at=None,
            reissued_as=None,
            ownership=None if offer.ownership is None else encode_ownership(offer.ownership),
        )
        return _Issued(
            grant=grant,
            holder=holder,
            terms=terms,
            sealed=sealed,
            list_blob=blob_row("image_list", list_key, list_context, sealed_list),
            phrase=phrase,
            record=record,
        )

    async def _commit(
        self, issued: list[_Issued], images: list[ImageRow], instead_of: bytes | None
    ) -> None:
        """Write the keyslots, then commit: no row ever names a slot that is not on disk."""
        pictures = [(image.image_id, image.version_id) for image in images]
        keyslots = self._context.vault.keyslots
        await asyncio.to_thread(
            keyslots.write_all,
            [(_slot(one.grant), one.grant.capability_id, one.record) for one in issued],
        )

        def job(transaction: WriteTransaction) -> None:
            for one in issued:
                # The roster may have changed while the capability was made.
                self._membership.may_grant(one.grant.holder)
                library.insert_blob(transaction.connection, one.list_blob, now=one.grant.created_at)
                rows.insert_grant(transaction.connection, one.grant, pictures)
                if instead_of is not None and not rows.reissue(
                    transaction.connection, instead_of, one.grant.capability_id
                ):
                    raise UsageError("it was issued anew already")
                outbox.put(
                    transaction.connection,
                    peer=one.grant.holder,
                    kind="capability",
                    body=one.sealed,
                    capability_id=one.grant.capability_id,
                    now=one.grant.created_at,
                )
                transaction.append(
                    draft(
                        "issued",
                        actor=self._context.me,
                        about=self._context.me,
                        references={
                            "holder": one.grant.holder,
                            "capability": one.grant.capability_id,
                        },
                        facts={
                            "terms": one.grant.capability_hash.hex(),
                            "new": limits_in_words(one.terms.expires_at, one.terms.max_opens),
                        },
                        personal={"sentence": self._sentence(one.terms, one.holder)},
                    )
                )

        await self._context.database.write(job)
        self._deadlines_changed()
        self._wake_rendering()
        for one in issued:
            self._poke(one.grant.holder)

    def _sentence(self, terms: Terms, holder: Identity) -> str:
        return sentence(
            terms,
            holder_name=holder.name,
            issuer_name=self._context.identity.public.name,
            until=readable(terms.expires_at),
            since=readable(terms.not_before)
            if terms.not_before > self._context.clock.now()
            else None,
        )

    def _describe_new(self, terms: Terms, holder: Identity, allowed: Allow) -> dict[str, Any]:
        return {
            "id": terms.capability_id.hex(),
            "holder": holder.name,
            "images": terms.image_count,
            "rights": list(terms.rights),
            "rendition": terms.rendition,
            "expires_at": rfc3339(terms.expires_at),
            "not_before": rfc3339(terms.not_before),
            "opens_left": terms.max_opens,
            "classification": terms.classification,
            "sentence": self._sentence(terms, holder),
            "changed_by_policy": list(allowed.changes),
        }


def _slot(grant: GrantRow) -> int:
    assert grant.slot is not None, "a new capability has a keyslot"
    return grant.slot


def _list_context(team_id: bytes, issuer: bytes, capability_id: bytes) -> bytes:
    """Return the context under which a capability's image list is sealed."""
    return BlobContext(
        team=team_id or NO_TEAM, device=issuer, image=capability_id, rendition=b"image-list"
    ).encode()
