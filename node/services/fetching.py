"""Sealed renditions on their way to a holder.

Belongs here: fetching ciphertext, going on where a transfer stopped, and verifying what came
against the manifest.
Never here: capabilities and manifests (``receiving``), or opening (``viewing``).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final
from weakref import WeakValueDictionary

from node.errors import TamperedError, UnreachableError
from node.services.context import Context
from node.services.inbox import Inbox
from node.services.library import Progress, blob_row
from node.services.membership import Membership
from node.services.peering import Link, Peering
from node.vault.blobs import Incoming
from node.vault.database import WriteTransaction
from node.vault.errors import DamagedError, StorageFullError
from node.vault.records import held as rows
from node.vault.records import library
from node.vault.records.held import HeldImageRow, HeldRow
from protocol.capability.manifest import (
    Manifest,
    match_ciphertext,
    rendition_context,
    verify_manifest_untrusted,
)
from protocol.errors import Reason, Refused, RemoteError
from protocol.messages import FetchRendition, Streamed
from protocol.primitives import Sha256

_STALL_S: Final = 30.0
"""How long a transfer may stand still."""

_REACH_S: Final = 10.0
"""How long a fetch waits for the issuer."""


class Fetching:
    """Brings the ciphertext of held pictures to this node's disk; no open is spent."""

    def __init__(
        self, context: Context, membership: Membership, peering: Peering, inbox: Inbox
    ) -> None:
        self._context = context
        self._membership = membership
        self._peering = peering
        self._inbox = inbox
        self._running: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def fetch(
        self, row: HeldRow, images: list[HeldImageRow], *, progress: Progress
    ) -> dict[str, Any]:
        """Prefetch the sealed renditions that are ready; no open is spent."""
        self._inbox.check_live(row)
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
        lock = self._running.setdefault(transfer, asyncio.Lock())
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
        await self._context.vault.blobs.delete([blob_id])
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
            await self._context.vault.blobs.delete([sealed.blob_id])
            self._inbox.check_live(current)
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
