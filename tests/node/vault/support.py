"""What the vault's tests share: a clock set by hand, a small vault with everything in it."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from node.vault.blobs import SealedFile
from node.vault.database import LogDraft, Subject, WriteTransaction
from node.vault.keyslots import KeyslotRecord
from node.vault.records import library
from node.vault.records.library import BlobRow, ImageRow
from node.vault.vault import Vault
from protocol.labels import NO_TEAM
from protocol.limits import ARGON2_MIN_MEMORY_BYTES
from protocol.sealed_blob import BlobContext
from tests.support import ROOT

SMALL = ARGON2_MIN_MEMORY_BYTES
"""Argon2id memory of test vaults: the least that is accepted."""
PASSPHRASE = "correct horse battery staple"
START = 1_750_000_000_000


class ManualClock:
    """Time that a test sets."""

    def __init__(self, now: int = START) -> None:
        self.time = now

    def now(self) -> int:
        """Wall time in Unix milliseconds."""
        return self.time

    def monotonic(self) -> int:
        """Milliseconds since the test's start."""
        return self.time - START


async def new_vault(folder: Path, clock: ManualClock | None = None) -> Vault:
    """Return an open vault without content."""
    vault, _ = await Vault.create(
        folder,
        name="Ada's laptop",
        passphrase=PASSPHRASE,
        clock=clock or ManualClock(),
        entropy=os.urandom,
        memory_bytes=SMALL,
    )
    return vault


async def reopen(folder: Path, clock: ManualClock | None = None) -> Vault:
    """Return the vault of folder, opened again."""
    return await Vault.open(
        folder, passphrase=PASSPHRASE, clock=clock or ManualClock(), entropy=os.urandom
    )


def flip(path: Path, offset: int, mask: int = 0x01) -> None:
    """Change bits of one byte of a file, as a failing disk does; twice is never."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ mask,)))


def context(image_id: bytes, rendition: bytes) -> bytes:
    """Return the context under which a test seals."""
    return BlobContext(team=NO_TEAM, device=bytes(32), image=image_id, rendition=rendition).encode()


@dataclass(frozen=True)
class Picture:
    """A picture of a test vault with the sealed files that it needs."""

    name: str
    image_id: bytes
    version_id: bytes
    blobs: dict[str, bytes]


@dataclass(frozen=True)
class Filled:
    """What is in a test vault."""

    pictures: list[Picture]
    capability_id: bytes
    slot: int
    received: bytes
    """The blob of a received picture called "sent.jpg"."""


async def fill(vault: Vault, *, pictures: int = 3, size: int = 20_000) -> Filled:
    """Import pictures, issue a capability over them, hold one picture of a peer, and log it."""
    made = [await _import(vault, f"picture-{number}.jpg", size) for number in range(pictures)]
    capability_id, slot = await _issue(vault, made)
    received = await _hold(vault, size)
    return Filled(pictures=made, capability_id=capability_id, slot=slot, received=received)


def _row(kind: str, key: bytes | None, sealed_under: bytes, sealed: SealedFile) -> BlobRow:
    return BlobRow(
        blob_id=sealed.blob_id,
        kind=kind,
        key=key,
        context=sealed_under,
        sealed_bytes=sealed.length,
        sealed_sha256=sealed.sha256,
    )


async def _import(vault: Vault, name: str, size: int) -> Picture:
    image_id, version_id = os.urandom(16), os.urandom(16)
    rows = {}
    for kind, length in (("original", size), ("thumbnail", 3000), ("rendition", size // 2)):
        key, sealed_under = os.urandom(32), context(image_id, kind.encode())
        sealed = await vault.blobs.seal_bytes(os.urandom(length), key, sealed_under)
        kept = None if kind == "rendition" else key
        rows[kind] = (_row(kind, kept, sealed_under, sealed), key, sealed.commitment)

    def job(transaction: WriteTransaction) -> None:
        db = transaction.connection
        for row, _, _ in rows.values():
            library.insert_blob(db, row, now=transaction.now)
        library.insert_image(
            db,
            ImageRow(
                image_id=image_id,
                name=name,
                classification="internal",
                imported_at=transaction.now,
                version_id=version_id,
                number=1,
                format="jpeg",
                width=4,
                height=3,
                size=size,
                sha256=os.urandom(32),
                blob_id=rows["original"][0].blob_id,
            ),
            thumbnails={256: rows["thumbnail"][0].blob_id},
            provenance=None,
        )
        library.index_for_search(db, image_id)
        rendition, key, commitment = rows["rendition"]
        db.execute(
            "INSERT INTO renditions (rendition_id, version_id, spec, blob_id, key, commitment,"
            " format, width, height, disclosure, created_at)"
            " VALUES (?, ?, 'preview:2048', ?, ?, ?, 'jpeg', 4, 3, x'', ?)",
            (os.urandom(32), version_id, rendition.blob_id, key, commitment, transaction.now),
        )
        image = Subject(kind="image", reference=image_id)
        transaction.append(
            LogDraft(event="imported", subjects=(image,), values=(("name", name.encode(), image),))
        )

    await vault.database.write(job)
    return Picture(
        name=name,
        image_id=image_id,
        version_id=version_id,
        blobs={kind: row.blob_id for kind, (row, _, _) in rows.items()},
    )


async def _issue(vault: Vault, pictures: list[Picture]) -> tuple[bytes, int]:
    capability_id, key = os.urandom(16), os.urandom(32)
    sealed_under = context(pictures[0].image_id, b"list")
    sealed = await vault.blobs.seal_bytes(b"the list", key, sealed_under)
    slot = vault.keyslots.allocate()
    vault.keyslots.write(
        slot, capability_id, KeyslotRecord(slot_secret=os.urandom(32), mix=bytes(32))
    )

    def job(transaction: WriteTransaction) -> None:
        db = transaction.connection
        row = _row("image_list", None, sealed_under, sealed)
        library.insert_blob(db, row, now=transaction.now)
        db.execute(
            "INSERT INTO grants (capability_id, capability_hash, holder, terms, signature,"
            " holder_share, list_key, list_blob_id, slot, image_count, created_at, expires_at)"
            " VALUES (?, ?, ?, x'', x'', ?, ?, ?, ?, ?, ?, ?)",
            (
                *(capability_id, os.urandom(32), os.urandom(32), os.urandom(32), key),
                *(sealed.blob_id, slot, len(pictures), transaction.now, transaction.now + 1000),
            ),
        )
        db.executemany(
            "INSERT INTO grant_images (capability_id, position, image_id, version_id)"
            " VALUES (?, ?, ?, ?)",
            [
                (capability_id, position, one.image_id, one.version_id)
                for position, one in enumerate(pictures)
            ],
        )
        capability = Subject(kind="capability", reference=capability_id)
        transaction.append(LogDraft(event="issued", subjects=(capability,)))

    await vault.database.write(job)
    return capability_id, slot


async def _hold(vault: Vault, size: int) -> bytes:
    capability_id, image_id = os.urandom(16), os.urandom(16)
    sealed_under = context(image_id, b"received")
    sealed = await vault.blobs.seal_bytes(os.urandom(size), os.urandom(32), sealed_under)

    def job(transaction: WriteTransaction) -> None:
        db = transaction.connection
        row = _row("received", None, sealed_under, sealed)
        library.insert_blob(db, row, now=transaction.now)
        db.execute(
            "INSERT INTO held (capability_id, capability_hash, issuer, terms, signature,"
            " holder_share, received_at, expires_at) VALUES (?, ?, ?, x'', x'', ?, ?, ?)",
            (
                *(capability_id, os.urandom(32), os.urandom(32), os.urandom(32)),
                *(transaction.now, transaction.now + 1000),
            ),
        )
        db.execute(
            "INSERT INTO held_images (capability_id, position, image_id, name, blob_id)"
            " VALUES (?, 0, ?, 'sent.jpg', ?)",
            (capability_id, image_id, sealed.blob_id),
        )

    await vault.database.write(job)
    return sealed.blob_id


async def end(vault: Vault, filled: Filled) -> None:
    """End the capabilities of a test vault, in the order in which services do it."""

    def job(transaction: WriteTransaction) -> None:
        end_in_index(transaction, filled.capability_id)
        db = transaction.connection
        db.execute("UPDATE held_images SET blob_id = NULL WHERE blob_id = ?", (filled.received,))
        db.execute("DELETE FROM blobs WHERE blob_id = ?", (filled.received,))

    await vault.database.write(job)
    await asyncio.to_thread(vault.keyslots.destroy, [filled.slot])
    await vault.blobs.delete([filled.received])


def end_in_index(transaction: WriteTransaction, capability_id: bytes) -> None:
    """End an issued capability as far as the index goes."""
    transaction.connection.execute(
        "UPDATE grants SET ended_at = ?, holder_share = NULL, list_key = NULL, slot = NULL"
        " WHERE capability_id = ?",
        (transaction.now, capability_id),
    )


async def kill_writer(program: Path, home: Path, *, after: float) -> list[list[bytes]]:
    """Run a program on a vault, and kill it so many seconds after its first line.

    Return the words of every whole line that it wrote.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        str(home),
        PASSPHRASE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    first = await process.stdout.readline()
    await asyncio.sleep(after)
    process.kill()
    lines = (first + await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    return [line.split() for line in lines if line.endswith(b"\n")]
