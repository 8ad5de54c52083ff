"""Sealed files that are on disk before the row that names them.

Belongs here: their removal where the row is never stored.
Never here: sealing (``vault.blobs``), or what a crash leaves, which the next start sweeps.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from node.vault.blobs import BlobStore, SealedFile
from node.vault.errors import DamagedError, StorageFailedError


class Drafts:
    """Seals files for rows that are written before the block ends.

    Where the block fails with nothing stored, its files are removed. Run it in ``whole``: what
    is cancelled half way leaves open whether the rows are stored, and then the files stay.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._sealing: list[asyncio.Task[SealedFile]] = []

    async def seal(self, plaintext: bytes, key: bytes, context: bytes) -> SealedFile:
        """Seal as ``BlobStore.seal_bytes``."""
        task = asyncio.create_task(self._blobs.seal_bytes(plaintext, key, context))
        self._sealing.append(task)
        return await task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After a failed sync nobody knows what is stored, and nothing more is written.
        if not isinstance(error, Exception) or isinstance(error, StorageFailedError | DamagedError):
            return
        # One that failed may have left others behind that are still being written.
        done = await asyncio.gather(*self._sealing, return_exceptions=True)
        await self._blobs.delete(one.blob_id for one in done if isinstance(one, SealedFile))
