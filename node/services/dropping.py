"""The end of what is held when its time is over.

Belongs here: dropping the pixels, shares and ciphertext of capabilities that expired.
Never here: the issuer's side (``ending``), or revocations that arrive (``receiving``).
"""

from __future__ import annotations

import asyncio
import contextlib

from node.services.context import Context
from node.services.loops import forever
from node.services.pixel_store import PixelStore
from node.vault.database import WriteTransaction
from node.vault.records import held as rows
from protocol.limits import MAX_CLOCK_STEP_BACK_MS


class Dropping:
    """Drops what is over by any clock that an issuer may go by."""

    def __init__(self, context: Context, pixels: PixelStore) -> None:
        self._context = context
        self._pixels = pixels
        self._expiry: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Begin to drop what expires."""
        self._expiry = asyncio.create_task(
            forever(self._drop_expired, "expiry of what is held"), name="held expiry"
        )

    async def close(self) -> None:
        """Stop; what expires meanwhile is dropped at the next start."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)

    def deadlines_changed(self) -> None:
        """Look again at what expires next."""
        self._changed.set()

    async def _drop_expired(self) -> None:
        while True:
            self._changed.clear()
            await self._drop_those_over()
            deadline = await self._context.database.read(rows.next_expiry)
            pause = None
            if deadline is not None:
                left = deadline + MAX_CLOCK_STEP_BACK_MS - self._context.clock.now()
                pause = min(max(0.05, left / 1000), 3600.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _drop_those_over(self) -> None:
        before = self._context.clock.now() - MAX_CLOCK_STEP_BACK_MS

        def job(transaction: WriteTransaction) -> list[tuple[bytes, list[bytes]]]:
            db = transaction.connection
            return [(one, rows.end(db, one, revoked_at=None)) for one in rows.expired(db, before)]

        if not await self._context.database.read(lambda db: rows.expired(db, before)):
            return
        for capability_id, blobs in (await self._context.database.write(job)).value:
            self._pixels.drop_capability(capability_id)
            await self._context.vault.blobs.delete(blobs)
