"""What a holder takes in: capabilities, manifests, amendments, revocations.

Belongs here: verifying and storing what issuers send.
Never here: reading what is held (``inbox``), ciphertext (``fetching``), or the issuer's side.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from node.services.context import Context
from node.services.entries import draft, limits_in_words
from node.services.inbox import Inbox
from node.services.membership import Membership
from node.services.peering import Link
from node.services.pixel_store import PixelStore
from node.vault.database import WriteTransaction
from node.vault.records import held as rows
from node.vault.records import outbox
from node.vault.records.held import HeldRow
from protocol.capability.manifest import (
    Manifest,
    match_terms,
    verify_manifest_untrusted,
)
from protocol.capability.statements import (
    Receipt,
    ReceiptEvent,
    apply_amendment,
    sign_receipt,
    verify_amendment_untrusted,
    verify_revocation_untrusted,
)
from protocol.capability.terms import (
    ImageItem,
    OpenedCapability,
    image_list_context,
    open_capability_untrusted,
    parse_image_list_untrusted,
    parse_terms_untrusted,
)
from protocol.errors import AuthenticationError, Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.messages import (
    Answer,
    Deliver,
    Done,
    FetchList,
)
from protocol.policy import may_issue
from protocol.primitives import sha256
from protocol.sealed_blob import open_sealed

MAX_SEALED_LIST_BYTES: Final = 64 * 1024 * 1024
"""A list of as many pictures as a capability may have."""

_LISTS_AT_ONCE: Final = 4
"""Image lists in memory at once, whoever sends them."""

_LIST_S: Final = 60.0
"""How long one image list may take."""

_MOST_HELD: Final = 1_000_000
"""Pictures in all capabilities of one issuer: bounds what a member fills another's disk with."""

_MOST_STATEMENTS: Final = 60
"""Amendments of one issuer in a minute that are taken; what is beyond comes again later."""


class Receiving:
    """Takes in what issuers send, over a link or by mail."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        inbox: Inbox,
        pixels: PixelStore,
        *,
        poke: Callable[[bytes], None],
        deadlines_changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._membership = membership
        self._inbox = inbox
        self._pixels = pixels
        self._poke = poke
        self._deadlines_changed = deadlines_changed
        self._statements: dict[bytes, deque[int]] = {}
        """When each issuer's newest amendments came."""
        self._lists = asyncio.Semaphore(_LISTS_AT_ONCE)
        self._lists_of: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    # Capabilities ---------------------------------------------------------------------------------

    async def deliver(self, link: Link, request: Deliver) -> Answer:
        """Verify and store a capability with its image list; Done once it is durable."""
        await self.take_capability(link.member, request.sealed, partial(self.fetch_list, link))
        return Done()

    async def take_capability(
        self,
        sender: Identity,
        sealed: bytes,
        sealed_list: Callable[[OpenedCapability], Awaitable[bytes]],
    ) -> None:
        """Verify and store a capability that its issuer sent, and the image list it names.

        ``sealed_list`` brings the list's sealed bytes. On return both are durable; Refused
        where nothing was stored, with the reason ``not_ready`` where it may be later.
        """
        try:
            opened = open_capability_untrusted(
                sealed,
                holder=self._context.identity,
                issuer_of=self._membership.member_by_agreement,
                team_id=self._membership.team_id,
            )
        except RemoteError:
            raise Refused(Reason.UNKNOWN) from None
        if opened.issuer.fingerprint != sender.fingerprint:
            raise Refused(Reason.UNKNOWN)
        if not may_issue(self._membership.role_of(sender.fingerprint)):
            # The roster that gives them the role may still be on its way.
            later = opened.terms.roster_version > self._membership.version
            raise Refused(Reason.NOT_READY if later else Reason.POLICY)
        if opened.capability.list_sealed_bytes > MAX_SEALED_LIST_BYTES:
            raise Refused(Reason.UNKNOWN)
        known = await self._context.database.read(lambda db: rows.held_by_hash(db, opened.hash))
        if known is not None:
            return
        # One list at a time of an issuer, few in all.
        lock = self._lists_of.setdefault(sender.fingerprint, asyncio.Lock())
        try:
            async with lock, self._lists, asyncio.timeout(_LIST_S):
                await self._store(opened, _open_list(opened, await sealed_list(opened)))
        except TimeoutError:
            raise Refused(Reason.NOT_READY) from None

    async def fetch_list(self, link: Link, opened: OpenedCapability) -> bytes:
        """Fetch the sealed image list of a capability from its issuer."""
        capability = opened.capability
        _, stream = await link.session.request_stream(FetchList(capability_hash=opened.hash))
        received = bytearray()
        async for piece in stream:
            received += piece
            if len(received) > capability.list_sealed_bytes:
                raise Refused(Reason.UNKNOWN)
        return bytes(received)

    async def _store(self, opened: OpenedCapability, items: tuple[ImageItem, ...]) -> None:
        now = self._context.clock.now()
        terms = opened.terms
        row = HeldRow(
            capability_id=terms.capability_id,
            capability_hash=opened.hash,
            issuer=opened.issuer.fingerprint,
            terms=opened.terms_body,
            signature=opened.capability.signed_terms,
            holder_share=opened.capability.holder_share,
            list_key=None,
            list_blob_id=None,
            received_at=now,
            expires_at=terms.expires_at,
            opens_added=0,
            amendments=0,
            revoked_at=None,
        )

        def job(transaction: WriteTransaction) -> None:
            db = transaction.connection
            earlier = rows.held(db, terms.capability_id)
            if earlier is not None:
                if earlier.capability_hash != opened.hash:
                    # Another capability has this id: nothing of it is replaced.
                    raise Refused(Reason.UNKNOWN)
                return
            if rows.pictures_of(db, row.issuer) + len(items) > _MOST_HELD:
                raise Refused(Reason.POLICY)
            rows.insert_held(db, row, [(item.image_id, item.name) for item in items])
            transaction.append(
                draft(
                    "received",
                    actor=opened.issuer.fingerprint,
                    about=opened.issuer.fingerprint,
                    references={
                        "issuer": opened.issuer.fingerprint,
                        "capability": terms.capability_id,
                    },
                    facts={
                        "terms": opened.hash.hex(),
                        "new": limits_in_words(terms.expires_at, terms.max_opens),
                    },
                    personal={"sentence": self._inbox.sentence(row, terms)},
                )
            )
            self._receipt(transaction, row, "received", now)

        await self._context.database.write(job)
        self._deadlines_changed()
        self._poke(row.issuer)
        self._context.events.tell(
            "received", issuer=opened.issuer.name, capability=terms.capability_id.hex()
        )

    def _receipt(
        self, transaction: WriteTransaction, row: HeldRow, event: ReceiptEvent, now: int
    ) -> None:
        """Queue a signed receipt of this event for the issuer."""
        receipt = Receipt(event=event, capability_hash=row.capability_hash, time=now)
        outbox.put(
            transaction.connection,
            peer=row.issuer,
            kind="receipt",
            body=sign_receipt(
                receipt, holder=self._context.identity, team_id=self._membership.team_id
            ),
            capability_id=row.capability_id,
            now=now,
        )

    # Manifests and statements ---------------------------------------------------------------------

    async def take_manifest(self, issuer: Identity, signed: bytes) -> Answer:
        """Verify and store the manifest of one picture; Done once it is durable."""
        manifest, row = await self._manifest_untrusted(issuer, signed)

        def job(transaction: WriteTransaction) -> bool:
            return rows.set_manifest(
                transaction.connection, row.capability_id, manifest.image_id, signed
            )

        await self._context.database.write(job)
        await self._inbox.tell_ready()
        self._context.events.tell("ready", capability=row.capability_id.hex())
        return Done()

    async def _manifest_untrusted(
        self, issuer: Identity, signed: bytes
    ) -> tuple[Manifest, HeldRow]:
        try:
            manifest = verify_manifest_untrusted(
                signed, issuer=issuer, team_id=self._membership.team_id
            )
            row = await self._held_of(issuer, manifest.capability_hash)
            match_terms(
                manifest, parse_terms_untrusted(row.terms), capability_hash=row.capability_hash
            )
        except RemoteError:
            raise Refused(Reason.UNKNOWN) from None
        image = await self._context.database.read(
            lambda db: rows.held_image(db, row.capability_id, manifest.image_id)
        )
        if image is None:
            raise Refused(Reason.UNKNOWN)
        return manifest, row

    async def take_statement(self, issuer: Identity, statement: str, signed: bytes) -> Answer:
        """Apply a signed ``amendment`` or ``revocation``; Done once it is durable."""
        try:
            if statement == "amendment":
                self._count_statement(issuer.fingerprint)
                await self._amend(issuer, signed)
            else:
                await self._revoke(issuer, signed)
        except RemoteError:
            raise Refused(Reason.UNKNOWN) from None
        return Done()

    def _count_statement(self, issuer: bytes) -> None:
        """Refuse for the moment what an issuer sends beyond a person's pace."""
        now = self._context.clock.monotonic()
        times = self._statements.setdefault(issuer, deque(maxlen=_MOST_STATEMENTS))
        if len(times) == _MOST_STATEMENTS and now - times[0] < 60_000:
            raise Refused(Reason.NOT_READY)
        times.append(now)

    async def _amend(self, issuer: Identity, signed: bytes) -> None:
        amendment = verify_amendment_untrusted(
            signed, issuer=issuer, team_id=self._membership.team_id
        )
        held = await self._held_of(issuer, amendment.capability_hash)

        def job(transaction: WriteTransaction) -> None:
            row = rows.held(transaction.connection, held.capability_id)
            assert row is not None, "held capabilities are never deleted"
            amended = apply_amendment(
                expires_at=row.expires_at,
                opens_added=row.opens_added,
                last_sequence=row.amendments,
                amendment=amendment,
            )
            if amended.sequence == row.amendments:
                return
            opens = parse_terms_untrusted(row.terms).max_opens
            rows.amend(
                transaction.connection,
                row.capability_id,
                expires_at=amended.expires_at,
                opens_added=amended.opens_added,
                sequence=amended.sequence,
            )
            transaction.append(
                draft(
                    "amended",
                    actor=issuer.fingerprint,
                    about=issuer.fingerprint,
                    references={"issuer": issuer.fingerprint, "capability": row.capability_id},
                    facts={
                        "old": limits_in_words(row.expires_at, opens + row.opens_added),
                        "new": limits_in_words(amended.expires_at, opens + amended.opens_added),
                    },
                )
            )

        await self._context.database.write(job)
        self._deadlines_changed()
        self._context.events.tell("amended", capability=held.capability_id.hex())

    async def _revoke(self, issuer: Identity, signed: bytes) -> None:
        revocation = verify_revocation_untrusted(
            signed, issuer=issuer, team_id=self._membership.team_id
        )
        held = await self._held_of(issuer, revocation.capability_hash)
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> list[bytes]:
            row = rows.held(transaction.connection, held.capability_id)
            assert row is not None, "held capabilities are never deleted"
            if row.revoked_at is not None:
                return []
            blobs = rows.end(transaction.connection, row.capability_id, revoked_at=now)
            transaction.append(
                draft(
                    "revocation_seen",
                    actor=issuer.fingerprint,
                    about=issuer.fingerprint,
                    references={"issuer": issuer.fingerprint, "capability": row.capability_id},
                )
            )
            self._receipt(transaction, row, "revocation_seen", now)
            return blobs

        self._pixels.drop_capability(held.capability_id)
        blobs = (await self._context.database.write(job)).value
        await self._context.vault.blobs.delete(blobs)
        self._poke(issuer.fingerprint)
        self._context.events.tell("revoked", capability=held.capability_id.hex())

    async def _held_of(self, issuer: Identity, capability_hash: bytes) -> HeldRow:
        """Return a held capability of this very issuer; Refused for any other."""
        row = await self._context.database.read(lambda db: rows.held_by_hash(db, capability_hash))
        if row is None or row.issuer != issuer.fingerprint:
            raise Refused(Reason.UNKNOWN)
        return row


def _open_list(opened: OpenedCapability, sealed_list: bytes) -> tuple[ImageItem, ...]:
    """Return the pictures of a sealed list; Refused unless it is the one that is named."""
    capability = opened.capability
    try:
        if sha256(sealed_list) != capability.list_sealed_sha256:
            raise AuthenticationError
        listed = open_sealed(capability.list_key, image_list_context(opened.terms), sealed_list)
        return parse_image_list_untrusted(listed, terms=opened.terms)
    except RemoteError:
        raise Refused(Reason.UNKNOWN) from None
