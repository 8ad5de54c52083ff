"""The sealed files: one for each original, thumbnail, rendition and received picture.

Belongs here: making, reading, receiving, deleting and sweeping files of sealed bytes.
Never here: the sealed format (``protocol.sealed_blob``), rows of the index, or which
picture a file is of.

A file is written under a temporary name, synced, renamed, and its folder synced; only then
may a row name it. So a crash leaves at most files without a row, which `sweep` removes.
Reading and writing happens in threads, in pieces that keep the ciphers at memory speed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from node.vault.blob_folder import BLOB_ID_BYTES, BlobFolder, SealedFile, Swept
from node.vault.errors import DamagedError, StorageFailedError, storage_errors
from node.vault.files import create_file, sync, write_all
from node.vault.receiving import Incoming
from protocol.errors import LocalError
from protocol.limits import MIB
from protocol.primitives import Data, Entropy, Sha256, blake2b
from protocol.sealed_blob import HEADER_BYTES, SALT_BYTES, Opener, Sealer, open_sealed

__all__ = ["BlobStore", "Incoming", "SealedFile", "Swept"]

_PIECE: Final = 1 * MIB
"""Bytes that one call of a thread reads or writes."""


class BlobStore:
    """The sealed files of one vault."""

    def __init__(self, folder: BlobFolder) -> None:
        self._folder = folder
        self._receiving: set[bytes] = set()

    @classmethod
    async def open(cls, folder: Path, *, entropy: Entropy) -> BlobStore:
        """Return the store in folder, whose missing folders are made."""
        files = BlobFolder(folder, entropy=entropy)
        await asyncio.to_thread(files.make)
        return cls(files)

    # Sealing --------------------------------------------------------------------------------------

    async def seal_bytes(self, plaintext: bytes, key: bytes, context: bytes) -> SealedFile:
        """Seal plaintext under a key of its own (32 bytes) and return the durable file.

        ``context`` is an encoded BlobContext. Raises StorageFullError, StorageFailedError.
        """
        view = memoryview(plaintext)
        pieces = (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))
        return await self.seal_stream(pieces, key, context)

    async def seal_stream(self, pieces: Iterable[Data], key: bytes, context: bytes) -> SealedFile:
        """Seal as `seal_bytes` what pieces yields, which is asked in a thread.

        What pieces raises is raised here, and leaves no file. Best are pieces of about 1 MiB.
        """
        return await asyncio.to_thread(self._seal, pieces, key, context)

    def _seal(self, pieces: Iterable[Data], key: bytes, context: bytes) -> SealedFile:
        folder = self._folder
        sealer = Sealer(key, context, salt=folder.entropy(SALT_BYTES))
        digest = Sha256()
        length = 0
        blob_id = folder.entropy(BLOB_ID_BYTES)
        temporary = folder.path(blob_id).with_suffix(".tmp")
        with folder.disk.writing():
            descriptor = create_file(temporary)
        try:
            for sealed in _sealed(sealer, pieces):
                digest.update(sealed)
                length += len(sealed)
                with folder.disk.writing():
                    write_all(descriptor, sealed)
            with folder.disk.writing():
                sync(descriptor)
            folder.name(temporary, blob_id)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return SealedFile(
            blob_id=blob_id, length=length, sha256=digest.digest(), commitment=sealer.commitment
        )

    # Reading --------------------------------------------------------------------------------------

    async def open_bytes(self, blob_id: bytes, key: bytes, context: bytes) -> bytes:
        """Return the plaintext of a whole blob, every byte of it verified.

        Raises DamagedError where the file is missing, StorageFailedError where it cannot be read,
        and AuthenticationError, EncodingError or UnsupportedError where it is not what was sealed
        under this key and context.
        """

        def read() -> bytes:
            with self._open_file(blob_id) as file:
                return open_sealed(key, context, _read(file, -1))

        return await asyncio.to_thread(read)

    async def open_stream(self, blob_id: bytes, key: bytes, context: bytes) -> AsyncIterator[bytes]:
        """Yield the plaintext of a blob in verified pieces of about 1 MiB; raises as `open_bytes`.

        The plaintext is whole once the iterator has ended without an error.
        """
        with await asyncio.to_thread(self._open_file, blob_id) as file:
            opener = Opener(key, context, await asyncio.to_thread(_read, file, HEADER_BYTES))

            def read() -> tuple[bool, bytes]:
                sealed = _read(file, _PIECE)
                return bool(sealed), opener.update(sealed) if sealed else opener.finish()

            more = True
            while more:
                more, plaintext = await asyncio.to_thread(read)
                if plaintext:
                    yield plaintext

    async def read_range(self, blob_id: bytes, offset: int, length: int) -> bytes:
        """Return up to length sealed bytes of a file from offset on, unverified.

        Raises DamagedError where the file is missing, StorageFailedError where it cannot be read.
        """

        def read() -> bytes:
            with self._open_file(blob_id, offset) as file:
                return _read(file, length)

        return await asyncio.to_thread(read)

    async def stream(self, blob_id: bytes, offset: int = 0) -> AsyncIterator[bytes]:
        """Yield the sealed bytes of a file from offset on in pieces of 1 MiB, as `read_range`."""
        with await asyncio.to_thread(self._open_file, blob_id, offset) as file:
            while piece := await asyncio.to_thread(_read, file, _PIECE):
                yield piece

    def _open_file(self, blob_id: bytes, offset: int = 0) -> FileIO:
        try:
            with storage_errors():
                file = FileIO(self._folder.path(blob_id))
                file.seek(offset)
        except StorageFailedError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                message = f"the file {blob_id.hex()} is missing"
                raise DamagedError("blob", message) from None
            raise
        return file

    # Receiving ------------------------------------------------------------------------------------

    async def receive(self, *, length: int, sha256: bytes, source: bytes = b"") -> Incoming:
        """Begin to receive sealed bytes of this length and hash, or go on where it stopped.

        ``source`` is who sends them: what one sender left is never another's to go on from.
        Ask the sender for bytes from the result's ``offset`` on. LocalError while the same
        bytes are being received from the same source already.
        """
        transfer = blake2b(sha256 + source)
        if transfer in self._receiving:
            raise LocalError("these bytes are being received already")
        self._receiving.add(transfer)

        def ended() -> None:
            self._receiving.discard(transfer)

        def begin() -> Incoming:
            part = self._folder.part(transfer)
            return Incoming(self._folder, part, length=length, sha256=sha256, ended=ended)

        try:
            return await asyncio.to_thread(begin)
        except BaseException:
            ended()
            raise

    # Removing -------------------------------------------------------------------------------------

    async def delete(self, blob_ids: Iterable[bytes]) -> None:
        """Delete files whose rows are gone, durably; missing ones are no error."""
        paths = [self._folder.path(blob_id) for blob_id in blob_ids]
        await asyncio.to_thread(self._folder.remove, paths)

    async def sweep(self, known: Collection[bytes], *, now: int) -> Swept:
        """Remove what a crash left, before anything else uses the folder.

        ``known`` are the ids that rows name, ``now`` is Unix milliseconds. Removes temporary
        files, files of no row, and parts of transfers that stopped PART_KEPT_MS ago.
        """
        return await asyncio.to_thread(self._folder.sweep, known, now=now)


def _sealed(sealer: Sealer, pieces: Iterable[Data]) -> Iterator[bytes]:
    yield sealer.header
    for piece in pieces:
        yield sealer.update(piece)
    yield sealer.finish()


def _read(file: FileIO, size: int) -> bytes:
    with storage_errors():
        return file.read(size)
