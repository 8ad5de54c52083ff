"""What a holder takes in: capabilities, manifests, amendments, revocations, ciphertext.

Belongs here: verifying and storing what issuers send, the inbox, and prefetching.
Never here: opening (``viewing``), or the issuer's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from node.errors import AmbiguousError, TamperedError, UnknownError, UnreachableError
from node.services.context import Context
from node.services.entries import draft, limits_in_words
from node.services.library import Progress, blob_row
from node.services.loops import forever
from node.services.membership import Membership
from node.services.moments import readable, rfc3339
from node.services.peering import Link, Peering
from node.vault.blobs import Incoming
from node.vault.database import WriteTransaction
from node.vault.errors import DamagedError, StorageFullError
from node.vault.records import Connection, library, outbox
from node.vault.records import held as rows
from node.vault.records.held import HeldImageRow, HeldRow
from protocol.capability.manifest import (
    Manifest,
    match_ciphertext,
    match_terms,
    rendition_context,
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
    Terms,
    image_list_context,
    open_capability_untrusted,
    parse_image_list_untrusted,
    parse_terms_untrusted,
    sentence,
)
from protocol.errors import AuthenticationError, Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.limits import MAX_CLOCK_STEP_BACK_MS
from protocol.messages import (
    Answer,
    Deliver,
    Done,
    FetchList,
    FetchRendition,
    Streamed,
)
from protocol.policy import may_issue
from protocol.primitives import Sha256, sha256
from protocol.sealed_blob import open_sealed

MAX_SEALED_LIST_BYTES: Final = 64 * 1024 * 1024
"""A list of as many pictures as a capability may have."""

_LISTS_AT_ONCE: Final = 4
"""Image lists in memory at once, whoever sends them."""

_LIST_S: Final = 60.0
"""How long one image list may take."""

_STALL_S: Final = 30.0
"""How long a transfer may stand still."""

_MOST_HELD: Final = 1_000_000
"""Pictures in all capabilities of one issuer: bounds what a member fills another's disk with."""

_MOST_STATEMENTS: Final = 60
"""Amendments of one issuer in a minute that are taken; what is beyond comes again later."""

_REACH_S: Final = 10.0
"""How long a fetch waits for the issuer."""


class Receiving:
    """Takes in what issuers send and keeps it until it is over."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        peering: Peering,
        *,
        poke: Callable[[bytes], None],
        drop_pixels: Callable[[bytes], None],
    ) -> None:
        self._context = context
        self._membership = membership
        self._peering = peering
        self._poke = poke
        self._drop_pixels = drop_pixels
        self._expiry: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._deadlines_changed = asyncio.Event()
        self._fetching: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._statements: dict[bytes, deque[int]] = {}
        """When each issuer's newest amendments came."""
        self._lists = asyncio.Semaphore(_LISTS_AT_ONCE)
        self._lists_of: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def start(self) -> None:
        """Begin to drop what expires."""
        self._expiry = asyncio.create_task(
            forever(self._end_expired, "expiry of what is held"), name="held expiry"
        )

    async def close(self) -> None:
        """Stop; what expires meanwhile is dropped at the next start."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)

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
                    personal={"sentence": self._sentence(row, terms)},
                )
            )
            self._receipt(transaction, row, "received", now)

        await self._context.database.write(job)
        self._deadlines_changed.set()
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
        async with self._changed:
            self._changed.notify_all()
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
        self._deadlines_changed.set()
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

        self._drop_pixels(held.capability_id)
        blobs = (await self._context.database.write(job)).value
        await self._delete(blobs)
        self._poke(issuer.fingerprint)
        self._context.events.tell("revoked", capability=held.capability_id.hex())

    async def _held_of(self, issuer: Identity, capability_hash: bytes) -> HeldRow:
        """Return a held capability of this very issuer; Refused for any other."""
        row = await self._context.database.read(lambda db: rows.held_by_hash(db, capability_hash))
        if row is None or row.issuer != issuer.fingerprint:
            raise Refused(Reason.UNKNOWN)
        return row

    # Inbox ----------------------------------------------------------------------------------------

    async def inbox(self) -> list[dict[str, Any]]:
        """Return what this node was granted, newest first."""
        now = self._context.clock.now()

        def query(db: Connection) -> list[dict[str, Any]]:
            return [
                self._describe(row, rows.held_images(db, row.capability_id), now)
                for row in rows.all_held(db)
            ]

        return await self._context.database.read(query)

    def _describe(self, row: HeldRow, images: list[HeldImageRow], now: int) -> dict[str, Any]:
        terms = parse_terms_untrusted(row.terms)
        limit = terms.max_opens + row.opens_added
        used = [image.opens for image in images]
        left = limit - (sum(used) if terms.scope == "capability" else min(used, default=0))
        if row.revoked_at is not None:
            state = "revoked"
        elif row.expires_at <= now:
            state = "expired"
        elif left <= 0:
            state = "exhausted"
        elif terms.not_before > now:
            state = "pending"
        else:
            state = "live"
        return {
            "id": row.capability_id.hex(),
            "issuer": self._membership.name_of(row.issuer),
            "images": [
                {
                    "id": image.image_id.hex(),
                    "name": image.name,
                    "ready": image.manifest is not None,
                    "fetched": image.blob_id is not None,
                    "opens_left": max(0, limit - image.opens),
                }
                for image in images
            ],
            "rights": list(terms.rights),
            "rendition": terms.rendition,
            "state": state,
            "received_at": rfc3339(row.received_at),
            "not_before": rfc3339(terms.not_before),
            "expires_at": rfc3339(row.expires_at),
            "opens_left": max(0, left),
            "factor": terms.factor_salt is not None,
            "usage_terms": terms.usage_terms,
            "sentence": self._sentence(row, terms),
        }

    def _sentence(self, row: HeldRow, terms: Terms) -> str:
        return sentence(
            terms,
            holder_name=self._context.identity.public.name,
            issuer_name=self._membership.name_of(row.issuer),
            until=readable(row.expires_at),
            since=readable(terms.not_before)
            if terms.not_before > self._context.clock.now()
            else None,
            max_opens=terms.max_opens + row.opens_added,
        )

    async def resolve(self, text: str) -> HeldRow:
        """Return the held capability that an id or unique id prefix means."""
        prefix = text.lower()
        found = (
            []
            if not prefix or prefix.strip("0123456789abcdef")
            else await self._context.database.read(lambda db: rows.find_held(db, prefix))
        )
        if not found:
            raise UnknownError(f"no capability {text!r}", hint="safelight inbox lists them")
        if len(found) > 1:
            raise AmbiguousError(f"{text!r} fits several", [one.hex()[:12] for one in found])
        row = await self._context.database.read(lambda db: rows.held(db, found[0]))
        assert row is not None, "held capabilities are never deleted"
        return row

    async def resolve_images(self, row: HeldRow, wanted: list[str]) -> list[HeldImageRow]:
        """Return the pictures of a held capability that names or id prefixes mean; all for none."""
        images = await self._context.database.read(
            lambda db: rows.held_images(db, row.capability_id)
        )
        if not wanted:
            return images
        chosen: dict[bytes, HeldImageRow] = {}
        for text in (unicodedata.normalize("NFC", one) for one in wanted):
            found = [image for image in images if image.name == text]
            found = found or [
                image
                for image in images
                if len(text) >= 4 and image.image_id.hex().startswith(text.lower())
            ]
            if not found:
                raise UnknownError(
                    f"no picture {text!r} in that capability", hint="safelight inbox lists them"
                )
            if len(found) > 1:
                raise AmbiguousError(
                    f"{text!r} means several pictures",
                    [f"{image.name} ({image.image_id.hex()[:8]})" for image in found],
                )
            chosen[found[0].image_id] = found[0]
        return list(chosen.values())

    # Ciphertext -----------------------------------------------------------------------------------

    async def fetch(
        self, row: HeldRow, images: list[HeldImageRow], *, progress: Progress
    ) -> dict[str, Any]:
        """Prefetch the sealed renditions that are ready; no open is spent."""
        self.check_live(row)
        ready = [image for image in images if image.manifest is not None]
        for done, image in enumerate(ready, 1):
            await self.ensure_ciphertext(row, image)
            progress(done, len(ready), "fetching")
        return {
            "fetched": len(ready),
            "not_ready": len(images) - len(ready),
            "leased": 0,
            "until": None,
        }

    async def current(self, row: HeldRow) -> HeldRow:
        """Return a held capability as it is by now."""
        found = await self._context.database.read(lambda db: rows.held(db, row.capability_id))
        assert found is not None, "held capabilities are never deleted"
        return found

    def check_live(self, row: HeldRow) -> None:
        """Raise Refused where this node knows that a capability is over."""
        if row.revoked_at is not None:
            raise Refused(Reason.REVOKED, "the issuer has revoked that capability")
        late = self._context.clock.now() - MAX_CLOCK_STEP_BACK_MS
        if row.expires_at <= late or row.holder_share is None:
            # Until then the issuer is asked, whose clock alone decides.
            raise Refused(Reason.EXPIRED, "that capability has expired")

    async def wait_ready(
        self,
        row: HeldRow,
        image_id: bytes,
        timeout: float,  # noqa: ASYNC109
    ) -> HeldImageRow:
        """Return a picture once its manifest is here; Refused(not_ready) after timeout seconds."""

        async def current() -> HeldImageRow:
            image = await self._context.database.read(
                lambda db: rows.held_image(db, row.capability_id, image_id)
            )
            assert image is not None, "pictures of held capabilities are never deleted"
            return image

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout)), self._changed:
                while (image := await current()).manifest is None:
                    await self._changed.wait()
                return image
        raise Refused(
            Reason.NOT_READY,
            "the issuer has not made that picture ready yet",
            hint="try again in a moment",
        )

    async def ensure_ciphertext(self, row: HeldRow, image: HeldImageRow) -> bytes:
        """Return the blob id of a picture's whole, verified ciphertext, fetched where missing."""
        assert image.manifest is not None, "fetched only once it is ready"
        issuer = self._membership.member(row.issuer)
        if issuer is None:
            raise Refused(Reason.NOT_MEMBER, "the issuer is no longer in the team")
        manifest = verify_manifest_untrusted(
            image.manifest, issuer=issuer, team_id=self._membership.team_id
        )
        # By content and issuer: several capabilities may name the same bytes.
        transfer = row.issuer + manifest.ciphertext_sha256
        lock = self._fetching.setdefault(transfer, asyncio.Lock())
        async with lock:
            current = await self._context.database.read(
                lambda db: rows.held_image(db, row.capability_id, image.image_id)
            )
            assert current is not None, "pictures of held capabilities are never deleted"
            if current.blob_id is not None and await self._is_whole(current.blob_id, manifest):
                return current.blob_id
            return await self._fetch_one(row, image, manifest)

    async def _is_whole(self, blob_id: bytes, manifest: Manifest) -> bool:
        """Say whether a ciphertext is still what was fetched; forget one that is not.

        It is looked at before every open, so that a damaged disk costs none.
        """
        digest = Sha256()
        try:
            async for piece in self._context.vault.blobs.stream(blob_id):
                digest.update(piece)
        except DamagedError:
            pass
        if digest.digest() == manifest.ciphertext_sha256:
            return True

        def job(transaction: WriteTransaction) -> None:
            rows.forget_ciphertext(transaction.connection, blob_id)

        await self._context.database.write(job)
        await self._delete([blob_id])
        return False

    async def _fetch_one(self, row: HeldRow, image: HeldImageRow, manifest: Manifest) -> bytes:
        incoming = await self._context.vault.blobs.receive(
            length=manifest.ciphertext_bytes,
            sha256=manifest.ciphertext_sha256,
            source=row.issuer,
        )
        try:
            link = await self._peering.reach(row.issuer, _REACH_S)
            await self._fill(link, incoming, manifest)
            sealed = await incoming.finish()
            match_ciphertext(
                manifest,
                sha256=sealed.sha256,
                length=sealed.length,
                commitment=sealed.commitment,
            )
        except RemoteError:
            raise TamperedError(
                "the issuer's bytes are not those of the manifest; no open was spent",
                hint="try again; if it happens again, tell the issuer",
            ) from None
        except StorageFullError:
            # What does not fit is not kept: it would leave room for nothing else.
            await incoming.discard()
            raise
        finally:
            # Keeps what has come, so that the next try goes on from there.
            await incoming.suspend()
        context = rendition_context(
            team_id=self._membership.team_id,
            issuer=row.issuer,
            image_id=manifest.image_id,
            rendition_id=manifest.rendition_id,
        )

        def job(transaction: WriteTransaction) -> HeldRow:
            db = transaction.connection
            current = rows.held(db, row.capability_id)
            assert current is not None, "held capabilities are never deleted"
            if current.holder_share is not None:
                blob = blob_row("received", None, context, sealed)
                library.insert_blob(db, blob, now=self._context.clock.now())
                rows.set_ciphertext(db, row.capability_id, image.image_id, sealed.blob_id)
            return current

        current = (await self._context.database.write(job)).value
        if current.holder_share is None:
            # It ended while its bytes were on their way.
            await self._delete([sealed.blob_id])
            self.check_live(current)
        return sealed.blob_id

    async def _fill(self, link: Link, incoming: Incoming, manifest: Manifest) -> None:
        """Receive the rest of a ciphertext behind what an earlier connection left."""
        if incoming.offset == manifest.ciphertext_bytes:
            return
        answer, stream = await link.session.request_stream(
            FetchRendition(rendition_id=manifest.rendition_id, offset=incoming.offset)
        )
        expected = manifest.ciphertext_bytes - incoming.offset
        if not isinstance(answer, Streamed) or answer.length != expected:
            raise TamperedError("the issuer sends another length than the manifest names")
        pieces = aiter(stream)
        with contextlib.suppress(StopAsyncIteration):
            while True:
                try:
                    async with asyncio.timeout(_STALL_S):
                        piece = await anext(pieces)
                except TimeoutError:
                    raise UnreachableError(
                        "the issuer sends no more", hint="try again: it goes on from there"
                    ) from None
                await incoming.write(piece)

    # Expiry ---------------------------------------------------------------------------------------

    async def _end_expired(self) -> None:
        while True:
            self._deadlines_changed.clear()
            await self._end_those_over()
            deadline = await self._context.database.read(rows.next_expiry)
            pause = None
            if deadline is not None:
                left = deadline + MAX_CLOCK_STEP_BACK_MS - self._context.clock.now()
                pause = min(max(0.05, left / 1000), 3600.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._deadlines_changed.wait()

    async def _end_those_over(self) -> None:
        """Drop what is over by any clock that an issuer may go by."""
        before = self._context.clock.now() - MAX_CLOCK_STEP_BACK_MS

        def job(transaction: WriteTransaction) -> list[tuple[bytes, list[bytes]]]:
            db = transaction.connection
            return [(one, rows.end(db, one, revoked_at=None)) for one in rows.expired(db, before)]

        if not await self._context.database.read(lambda db: rows.expired(db, before)):
            return
        for capability_id, blobs in (await self._context.database.write(job)).value:
            self._drop_pixels(capability_id)
            await self._delete(blobs)

    async def _delete(self, blobs: list[bytes]) -> None:
        if blobs:
            await self._context.vault.blobs.delete(blobs)


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
