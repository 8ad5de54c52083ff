"""Transfers: whole or not at all, taken up where they stopped."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import pytest_asyncio

from node.vault.blobs import BlobStore, Incoming
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    RemoteProtocolError,
)
from protocol.limits import MIB
from protocol.primitives import sha256
from protocol.sealed_blob import seal
from tests.node.vault.support import context

KEY = bytes(range(32))
CONTEXT = context(b"\x01" * 16, b"received")
SEALED = seal(KEY, CONTEXT, os.urandom(3 * MIB + 5), salt=bytes(24))
MESSAGE = 65_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest_asyncio.fixture
async def store(folder: Path) -> BlobStore:
    return await BlobStore.open(folder, entropy=os.urandom)


async def begin(store: BlobStore, data: bytes = SEALED) -> Incoming:
    return await store.receive(length=len(data), sha256=sha256(data))


async def send(incoming: Incoming, data: bytes) -> None:
    for start in range(0, len(data), MESSAGE):
        await incoming.write(data[start : start + MESSAGE])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_arrives_whole_becomes_a_sealed_file(store: BlobStore, folder: Path) -> None:
    incoming = await begin(store)
    await send(incoming, SEALED)

    file = await incoming.finish()
    await incoming.suspend()

    assert (file.length, file.sha256) == (len(SEALED), sha256(SEALED))
    assert file.commitment == SEALED[32:64]
    assert await store.read_range(file.blob_id, 0, len(SEALED)) == SEALED
    assert len(files(folder)) == 1
    assert len(await store.open_bytes(file.blob_id, KEY, CONTEXT)) == 3 * MIB + 5


@pytest.mark.parametrize("stop", [0, 10, MIB, MIB + 123, len(SEALED) - 1, len(SEALED)])
async def test_a_transfer_goes_on_where_it_stopped(
    store: BlobStore, folder: Path, stop: int
) -> None:
    first = await begin(store)
    await send(first, SEALED[:stop])
    await first.suspend()

    again = await BlobStore.open(folder, entropy=os.urandom)
    second = await begin(again)
    assert second.offset == stop
    await send(second, SEALED[stop:])
    file = await second.finish()

    assert await again.read_range(file.blob_id, 0, len(SEALED)) == SEALED


async def test_other_bytes_than_announced_are_thrown_away(store: BlobStore, folder: Path) -> None:
    incoming = await begin(store)
    await send(incoming, SEALED[:-1] + bytes((SEALED[-1] ^ 1,)))

    with pytest.raises(AuthenticationError):
        await incoming.finish()
    await incoming.suspend()

    assert files(folder) == []
    fresh = await begin(store)
    assert fresh.offset == 0
    await fresh.suspend()


async def test_bytes_that_are_no_sealed_file_are_thrown_away(
    store: BlobStore, folder: Path
) -> None:
    junk = b"not a sealed file" * 10
    incoming = await begin(store, junk)
    await send(incoming, junk)

    with pytest.raises(EncodingError):
        await incoming.finish()

    assert files(folder) == []


async def test_more_bytes_than_announced_are_refused(store: BlobStore) -> None:
    incoming = await begin(store)
    await send(incoming, SEALED)

    with pytest.raises(RemoteProtocolError):
        await incoming.write(b"x")
    await incoming.suspend()


async def test_a_transfer_that_ends_early_is_refused_and_kept(store: BlobStore) -> None:
    incoming = await begin(store)
    await send(incoming, SEALED[:-1])
    with pytest.raises(RemoteProtocolError):
        await incoming.finish()

    await incoming.suspend()

    again = await begin(store)
    assert again.offset == len(SEALED) - 1
    await again.write(SEALED[-1:])
    await again.finish()


async def test_a_part_that_is_longer_than_announced_is_begun_anew(
    store: BlobStore, folder: Path
) -> None:
    await (await begin(store)).suspend()
    (part,) = files(folder)
    part.write_bytes(bytes(len(SEALED) + 1))

    incoming = await begin(store)

    assert incoming.offset == 0
    await incoming.suspend()


async def test_what_one_sender_left_is_no_other_sender_s_beginning(store: BlobStore) -> None:
    first = await store.receive(length=len(SEALED), sha256=sha256(SEALED), source=b"mallory")
    await send(first, bytes(MIB))
    second = await store.receive(length=len(SEALED), sha256=sha256(SEALED), source=b"bob")

    assert second.offset == 0
    await first.suspend()
    await send(second, SEALED)
    await second.finish()


async def test_the_same_bytes_are_received_once_at_a_time(store: BlobStore) -> None:
    first = await begin(store)
    with pytest.raises(LocalError):
        await begin(store)

    await first.suspend()

    second = await begin(store)
    await second.suspend()


async def test_a_transfer_that_has_ended_takes_nothing(store: BlobStore) -> None:
    incoming = await begin(store)
    await incoming.suspend()
    await incoming.suspend()

    with pytest.raises(LocalError):
        await incoming.write(b"x")
    with pytest.raises(LocalError):
        await incoming.finish()


async def test_a_receiver_that_is_cancelled_keeps_what_has_come(store: BlobStore) -> None:
    incoming = await begin(store)
    took = asyncio.Event()

    async def receive() -> None:
        try:
            await send(incoming, SEALED[: 2 * MIB])
            took.set()
            await asyncio.sleep(60)
        finally:
            await incoming.suspend()

    task = asyncio.create_task(receive())
    await took.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    again = await begin(store)
    assert again.offset == 2 * MIB
    await send(again, SEALED[2 * MIB :])
    await again.finish()


async def test_a_receiver_cancelled_while_it_finishes_leaves_a_whole_file(
    store: BlobStore, folder: Path
) -> None:
    incoming = await begin(store)
    await send(incoming, SEALED)
    task = asyncio.create_task(incoming.finish())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await incoming.suspend()

    (left,) = files(folder)
    assert left.read_bytes() == SEALED
