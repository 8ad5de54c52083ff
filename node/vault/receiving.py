"""Sealed bytes that arrive from a peer, and may arrive in several goes.

Belongs here: gathering one transfer in a part file, taking it up again, and making
a sealed file of it once every byte is there and is the one announced.
Never here: asking a peer for bytes, or opening them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from node.vault.blob_folder import BLOB_ID_BYTES, BlobFolder, SealedFile
from node.vault.files import FILE_MODE, sync, write_all
from protocol.errors import AuthenticationError, LocalError, RemoteError, RemoteProtocolError
from protocol.limits import MIB
from protocol.primitives import Sha256, equal
from protocol.sealed_blob import HEADER_BYTES, commitment_of_untrusted

_PIECE = 1 * MIB
"""Bytes stored and hashed at a time, while the next ones gather."""


class Incoming:
    """One transfer. Made by `BlobStore.receive`; end it with `finish` or `suspend`.

    Whoever receives calls `suspend` in the end whatever happens: it keeps the bytes for another
    time, and is harmless after `finish`.
    """

    def __init__(
        self,
        folder: BlobFolder,
        part: Path,
        *,
        length: int,
        sha256: bytes,
        ended: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._length = length
        self._sha256 = sha256
        self._ended = ended
        self._path = part
        self._digest = Sha256()
        self._gathered = bytearray()
        self._storing: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[SealedFile | None] | None = None
        self.offset = 0
        """Bytes that are here. Ask the sender to begin with this one."""
        with folder.disk.writing():
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, FILE_MODE)
            self._take_up()

    def _take_up(self) -> None:
        """Hash what an earlier transfer left; more than there can be is thrown away."""
        if os.fstat(self._descriptor).st_size > self._length:
            os.ftruncate(self._descriptor, 0)
        while piece := os.pread(self._descriptor, _PIECE, self.offset):
            self._digest.update(piece)
            self.offset += len(piece)

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises RemoteProtocolError for more than were announced, StorageFullError,
        StorageFailedError.
        """
        if self._ending is not None:
            raise LocalError("the transfer has ended")
        if self.offset + len(data) > self._length:
            raise RemoteProtocolError("more bytes arrived than were announced")
        self._gathered += data
        self.offset += len(data)
        if len(self._gathered) >= _PIECE:
            await self._store_gathered()

    async def finish(self) -> SealedFile:
        """Check the whole against length and hash, and return it as a durable file.

        Raises RemoteProtocolError where bytes are missing (they may still come), and
        AuthenticationError, EncodingError or UnsupportedError where the bytes are others: then
        they are thrown away.
        """
        if self._ending is not None:
            raise LocalError("the transfer has ended")
        if self.offset != self._length:
            raise RemoteProtocolError("fewer bytes arrived than were announced")
        # A caller that goes away must not leave a thread with a file that is closed meanwhile.
        finishing = asyncio.create_task(self._finish())
        self._ending = finishing
        return await asyncio.shield(finishing)

    async def suspend(self) -> None:
        """Keep what is here, and let the same bytes be received again."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._suspend())
        await asyncio.wait([self._ending])
        if not self._ending.cancelled():
            self._ending.exception()  # What could not be kept is asked for again.

    async def discard(self) -> None:
        """Throw away what is here, for example because the disk is full of it."""
        await self.suspend()
        await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def _finish(self) -> SealedFile:
        try:
            await self._store_all()
            return await asyncio.to_thread(self._make_file)
        finally:
            self._close()

    async def _suspend(self) -> None:
        try:
            await self._store_all()
        finally:
            self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._ended()

    async def _store_all(self) -> None:
        await self._store_gathered()
        await self._stored()

    async def _store_gathered(self) -> None:
        await self._stored()
        if self._gathered:
            piece, self._gathered = self._gathered, bytearray()
            self._storing = asyncio.create_task(asyncio.to_thread(self._store, piece))

    async def _stored(self) -> None:
        """Return once the piece that is being stored is; a cancelled caller leaves it running."""
        if self._storing is not None:
            await asyncio.wait([self._storing])
            storing, self._storing = self._storing, None
            storing.result()

    def _store(self, piece: bytearray) -> None:
        with self._folder.disk.writing():
            write_all(self._descriptor, piece)
        self._digest.update(piece)

    def _make_file(self) -> SealedFile:
        try:
            if not equal(self._digest.digest(), self._sha256):
                raise AuthenticationError("the bytes that arrived are not those announced")
            header = os.pread(self._descriptor, HEADER_BYTES, 0)
            commitment = commitment_of_untrusted(header)
        except RemoteError:
            self._folder.remove([self._path])
            raise
        blob_id = self._folder.entropy(BLOB_ID_BYTES)
        with self._folder.disk.writing():
            sync(self._descriptor)
        self._folder.name(self._path, blob_id)
        return SealedFile(
            blob_id=blob_id, length=self._length, sha256=self._sha256, commitment=commitment
        )
