"""Sealed files: what is on disk, what comes back, and what a crash leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from node.vault.blob_folder import PART_KEPT_MS
from node.vault.blobs import BlobStore, SealedFile, Swept
from node.vault.errors import DamagedError, StorageFullError
from protocol.errors import AuthenticationError, RemoteError
from protocol.limits import CHUNK_BYTES, MIB
from protocol.primitives import sha256
from protocol.sealed_blob import HEADER_BYTES, commitment_of_untrusted, sealed_length
from tests.node.vault.disks import tmpfs
from tests.node.vault.support import START, context, flip

KEY = bytes(range(32))
CONTEXT = context(b"\x01" * 16, b"original")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest_asyncio.fixture
async def store(folder: Path) -> BlobStore:
    return await BlobStore.open(folder, entropy=os.urandom)


def path_of(folder: Path, file: SealedFile) -> Path:
    return folder / file.blob_id.hex()[:2] / file.blob_id.hex()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def opened(store: BlobStore, file: SealedFile, key: bytes = KEY) -> bytes:
    return b"".join([piece async for piece in store.open_stream(file.blob_id, key, CONTEXT)])


async def test_what_is_sealed_comes_back_whole_and_streamed(store: BlobStore, folder: Path) -> None:
    plaintext = os.urandom(3 * MIB + 17)

    file = await store.seal_bytes(plaintext, KEY, CONTEXT)

    data = path_of(folder, file).read_bytes()
    assert plaintext == await store.open_bytes(file.blob_id, KEY, CONTEXT)
    assert plaintext == await opened(store, file)
    assert (file.length, file.sha256) == (len(data), sha256(data))
    assert file.length == sealed_length(len(plaintext))
    assert file.commitment == commitment_of_untrusted(data[:HEADER_BYTES])
    assert files(folder) == [path_of(folder, file)]


@settings(max_examples=30, deadline=None)
@given(
    pieces=st.lists(
        st.integers(0, 2 * CHUNK_BYTES + 5) | st.sampled_from([CHUNK_BYTES, CHUNK_BYTES - 1]),
        max_size=4,
    )
)
def test_pieces_of_any_size_come_back(
    pieces: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = [os.urandom(size) for size in pieces]

    async def play() -> None:
        store = await BlobStore.open(tmp_path_factory.mktemp("any"), entropy=os.urandom)
        file = await store.seal_stream(data, KEY, CONTEXT)

        assert b"".join(data) == await opened(store, file)
        assert file.length == sealed_length(sum(pieces))

    asyncio.run(play())


async def test_row_45_the_same_picture_twice_gives_unrelated_files(
    store: BlobStore, folder: Path
) -> None:
    first = await store.seal_bytes(b"the same picture" * 1000, KEY, CONTEXT)
    second = await store.seal_bytes(b"the same picture" * 1000, KEY, CONTEXT)

    one, other = path_of(folder, first).read_bytes(), path_of(folder, second).read_bytes()
    equal = sum(left == right for left, right in zip(one[8:], other[8:], strict=True))
    assert equal < len(one) // 100
    assert first.blob_id != second.blob_id


async def test_only_its_owner_may_touch_a_file(store: BlobStore, folder: Path) -> None:
    file = await store.seal_bytes(b"picture", KEY, CONTEXT)

    path = path_of(folder, file)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_sealed_bytes_are_read_from_any_place(store: BlobStore, folder: Path) -> None:
    file = await store.seal_bytes(os.urandom(2 * MIB), KEY, CONTEXT)
    data = path_of(folder, file).read_bytes()

    assert data == b"".join([piece async for piece in store.stream(file.blob_id)])
    assert data[1000:] == b"".join([piece async for piece in store.stream(file.blob_id, 1000)])
    assert data[70_000:70_100] == await store.read_range(file.blob_id, 70_000, 100)
    assert data[-5:] == await store.read_range(file.blob_id, file.length - 5, 100)


async def test_a_missing_file_is_damage(store: BlobStore, folder: Path) -> None:
    file = await store.seal_bytes(b"picture", KEY, CONTEXT)
    path_of(folder, file).unlink()

    with pytest.raises(DamagedError):
        await store.open_bytes(file.blob_id, KEY, CONTEXT)
    with pytest.raises(DamagedError):
        await opened(store, file)
    with pytest.raises(DamagedError):
        await store.read_range(file.blob_id, 0, 1)


async def test_no_byte_of_a_changed_file_is_taken_for_the_picture(
    store: BlobStore, folder: Path
) -> None:
    plaintext = os.urandom(100_000)
    file = await store.seal_bytes(plaintext, KEY, CONTEXT)

    for offset in (0, 9, 40, HEADER_BYTES, 30_000, file.length - 1):
        flip(path_of(folder, file), offset)
        with pytest.raises(RemoteError):
            await store.open_bytes(file.blob_id, KEY, CONTEXT)
        with pytest.raises(RemoteError):
            await opened(store, file)
        flip(path_of(folder, file), offset)
    assert plaintext == await store.open_bytes(file.blob_id, KEY, CONTEXT)


async def test_row_6_a_file_put_in_another_s_place_does_not_open(
    store: BlobStore, folder: Path
) -> None:
    other = context(b"\x02" * 16, b"original")
    file = await store.seal_bytes(b"picture", KEY, CONTEXT)

    with pytest.raises(AuthenticationError):
        await store.open_bytes(file.blob_id, KEY, other)
    with pytest.raises(AuthenticationError):
        await store.open_bytes(file.blob_id, bytes(32), CONTEXT)


async def test_a_source_that_fails_leaves_no_file(store: BlobStore, folder: Path) -> None:
    def source() -> Iterator[bytes]:
        yield bytes(MIB)
        raise LookupError("the camera was unplugged")

    with pytest.raises(LookupError):
        await store.seal_stream(source(), KEY, CONTEXT)

    assert files(folder) == []


async def test_deleted_files_are_gone_and_deleting_again_is_harmless(
    store: BlobStore, folder: Path
) -> None:
    gone = [(await store.seal_bytes(b"picture", KEY, CONTEXT)).blob_id for _ in range(3)]
    stays = await store.seal_bytes(b"picture", KEY, CONTEXT)

    await store.delete(gone)
    await store.delete(gone)

    assert files(folder) == [path_of(folder, stays)]


async def test_start_up_sweeps_what_a_crash_left_and_nothing_else(
    store: BlobStore, folder: Path
) -> None:
    known = await store.seal_bytes(b"picture", KEY, CONTEXT)
    orphan = await store.seal_bytes(b"picture", KEY, CONTEXT)
    torn = path_of(folder, orphan).with_name("ab" * 16 + ".tmp")
    torn.write_bytes(b"torn")
    foreign = folder / "00" / "README"
    foreign.write_bytes(b"not ours")
    incoming = folder / "incoming"
    fresh, stale = incoming / f"{'1' * 64}.part", incoming / f"{'2' * 64}.part"
    for path, age in ((fresh, PART_KEPT_MS - 1000), (stale, PART_KEPT_MS + 1000)):
        path.write_bytes(b"half")
        os.utime(path, ns=(0, (START - age) * 1_000_000))

    swept = await store.sweep({known.blob_id}, now=START)

    assert swept == Swept(temporary=1, orphans=1, parts=1)
    assert files(folder) == sorted([path_of(folder, known), foreign, fresh])


@pytest.mark.root
async def test_a_full_disk_leaves_no_file_and_the_same_call_works_later(
    tmp_path: Path,
) -> None:
    with tmpfs(tmp_path, kib=4096) as disk:
        folder = disk / "blobs"
        store = await BlobStore.open(folder, entropy=os.urandom)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(2_000_000))
        with pytest.raises(StorageFullError):
            await store.seal_bytes(bytes(3_000_000), KEY, CONTEXT)
        assert files(folder) == []

        ballast.unlink()
        file = await store.seal_bytes(bytes(3_000_000), KEY, CONTEXT)

        assert bytes(3_000_000) == await store.open_bytes(file.blob_id, KEY, CONTEXT)
