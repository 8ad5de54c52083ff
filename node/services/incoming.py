"""What members ask of this node: each request to the service that answers it.

Belongs here: the one table from message to service, and serving sealed bytes.
Never here: decisions about a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from weakref import WeakValueDictionary

from node.services.administering import Administering
from node.services.auditing import Auditing
from node.services.context import Context
from node.services.cosigning import ChannelCosigning
from node.services.gossip import Gossip
from node.services.opening import Opening
from node.services.peering import Link
from node.services.receiving import Receiving
from node.transport.driver import Reply
from node.transport.streams import STREAM_PIECE_BYTES
from node.vault.errors import VaultError
from node.vault.records import grants, library
from protocol.errors import Reason, Refused
from protocol.messages import (
    AddCheckpoint,
    Deliver,
    DeliverManifest,
    DeliverStatement,
    FetchHeads,
    FetchList,
    FetchRendition,
    OpenRequest,
    ProposeRoster,
    Request,
    Streamed,
)

_STREAMS_OF_ONE: Final = 8
"""Files read for one member at once: each holds a piece in memory until it is taken."""


class Incoming:
    """Answers the requests of greeted members."""

    def __init__(
        self,
        context: Context,
        opening: Opening,
        receiving: Receiving,
        auditing: Auditing,
        administering: Administering,
        cosigning: ChannelCosigning,
        gossip: Gossip,
    ) -> None:
        self._context = context
        self._opening = opening
        self._receiving = receiving
        self._auditing = auditing
        self._administering = administering
        self._cosigning = cosigning
        self._gossip = gossip
        self._places: WeakValueDictionary[bytes, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, link: Link, request: Request) -> Reply:
        """Return the answer to one request, or raise Refused."""
        try:
            return await self._answer(link, request)
        except VaultError:
            # Not the peer's fault and perhaps soon over: it keeps what it sent, and tries again.
            raise Refused(Reason.NOT_READY) from None

    async def _answer(self, link: Link, request: Request) -> Reply:
        match request:
            case OpenRequest():
                return await self._opening.answer(link, request)
            case FetchRendition():
                return await self._rendition(link, request)
            case FetchList():
                return await self._list(link, request)
            case Deliver():
                return await self._receiving.deliver(link, request)
            case DeliverManifest():
                return await self._receiving.take_manifest(link.member, request.signed)
            case DeliverStatement(statement="receipt"):
                return await self._auditing.take_receipt(link.member, request.signed)
            case DeliverStatement(statement="amendment" | "revocation"):
                return await self._receiving.take_statement(
                    link.member, request.statement, request.signed
                )
            case AddCheckpoint():
                return await self._cosigning.answer(link.session, link.member, request)
            case FetchHeads():
                return await self._gossip.answer(request)
            case ProposeRoster():
                return await self._administering.hear_proposal_untrusted(
                    link.member, request.signed
                )
            case _:
                raise Refused(Reason.UNKNOWN)

    async def _rendition(self, link: Link, request: FetchRendition) -> Reply:
        """Stream a rendition's ciphertext to any member: it is useless without a release."""
        row = await self._context.database.read(
            lambda db: grants.rendition(db, request.rendition_id)
        )
        if row is None:
            raise Refused(Reason.UNKNOWN)
        return await self._sealed(link, row.blob_id, request.offset)

    async def _list(self, link: Link, request: FetchList) -> Reply:
        """Stream a capability's sealed image list to its holder."""
        row = await self._context.database.read(
            lambda db: grants.grant_by_hash(db, request.capability_hash)
        )
        if row is None or row.list_blob_id is None or row.holder != link.member.fingerprint:
            raise Refused(Reason.UNKNOWN)
        return await self._sealed(link, row.list_blob_id, 0)

    async def _sealed(self, link: Link, blob_id: bytes, offset: int) -> Reply:
        blob = await self._context.database.read(lambda db: library.blob(db, blob_id))
        if blob is None or not 0 <= offset <= blob.sealed_bytes:
            raise Refused(Reason.UNKNOWN)
        stream = self._pieces(link.member.fingerprint, blob_id, offset, blob.sealed_bytes)
        return Streamed(length=blob.sealed_bytes - offset), stream

    async def _pieces(
        self, fingerprint: bytes, blob_id: bytes, offset: int, end: int
    ) -> AsyncIterator[bytes]:
        """Yield a file's bytes; it is not held open while a slow reader gives no credit."""
        places = self._places.setdefault(fingerprint, asyncio.Semaphore(_STREAMS_OF_ONE))
        async with places:
            while offset < end:
                size = min(STREAM_PIECE_BYTES, end - offset)
                yield await self._context.vault.blobs.read_range(blob_id, offset, size)
                offset += size
