"""Files made to break decoders, and good ones with a few bytes changed: row 35 of the attacks.

`SAFELIGHT_LONG=1` makes the campaign of changed files long.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import pytest
from PIL import Image

from node.imaging.messages import Limits
from node.imaging.pixels import FORMATS
from node.imaging.pool import ImagingError, ImagingPool
from tests.node.imaging.process_tree import until, workers
from tests.support_pictures import corners, corrupt_files, encoded, landscape, photographs, png
from tests.support_raw import dng, dng_with_preview, raf, rw2

LONG = bool(os.environ.get("SAFELIGHT_LONG"))
REFUSALS = {"empty", "unknown_format", "broken", "too_large"}
"""What a hostile file may lead to. A dead or overdue worker is not among it."""

CPU_SECONDS: Final = 5
"""The most that one file may cost: counted by the kernel, so that a slow machine is no excuse."""
PATIENT = Limits(cpu_seconds=CPU_SECONDS, wall_seconds=300)

MAX_GROWTH_KIB: Final = 200_000
"""What the node's side may come to hold: answers, and nothing for each file."""

Job = Callable[[ImagingPool, bytes], Awaitable[Any]]
JOBS: Final[dict[str, Job]] = {
    "thumbnail": lambda pool, data: pool.measure_and_thumbnail(data),
    "preview": lambda pool, data: pool.render_preview(data, 2048),
    "pixels": lambda pool, data: pool.pixels(data, 1600, 1000),
}


async def outcome(pool: ImagingPool, job: Job, data: bytes) -> str:
    """Return `done`, or the code of the refusal."""
    try:
        await job(pool, data)
    except ImagingError as refusal:
        return str(refusal.code)
    return "done"


async def outcomes(job: Job, files: dict[str, bytes]) -> dict[str, str]:
    """Do one job with every file, and prove that the pool still works and holds no memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pool = ImagingPool(2, limits=PATIENT)
    await pool.start()
    try:
        found = await asyncio.gather(*(outcome(pool, job, data) for data in files.values()))
        assert (await pool.measure_and_thumbnail(landscape())).width == 600
        await until(lambda: workers() == [], 60)
    finally:
        await pool.close()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MAX_GROWTH_KIB
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < PATIENT.memory_bytes
    return dict(zip(files, found, strict=True))


@pytest.mark.parametrize("name", JOBS)
async def test_row_35_every_corrupt_file_is_decoded_or_refused_in_time(name: str) -> None:
    files = corrupt_files()

    found = await outcomes(JOBS[name], files)

    assert len(files) == 86
    assert {file: code for file, code in found.items() if code not in REFUSALS | {"done"}} == {}


@pytest.mark.parametrize("image_format", FORMATS)
async def test_row_35_every_corrupt_file_under_every_decoder(image_format: str) -> None:
    """A wrong name, or a node of the future, leads any decoder to any bytes."""
    files = corrupt_files()

    found = await outcomes(lambda pool, data: pool.hash_pixels(data, image_format), files)

    assert {file: code for file, code in found.items() if code not in REFUSALS | {"done"}} == {}


def mutations(data: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """Yield changed copies: flipped, overwritten, removed, repeated and inserted bytes."""
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 8, 40))):
            # Heads are where decoders learn sizes: half of the changes go there.
            end = len(changed) if chance.random() < 0.5 else min(len(changed), 600)
            at = chance.randrange(max(1, end))
            length = chance.choice((1, 2, 4, 64, 1_000))
            match chance.randrange(6):
                case 0:
                    changed[at : at + 1] = bytes([changed[at] ^ 1 << chance.randrange(8)])
                case 1:
                    changed[at : at + length] = chance.randbytes(length)
                case 2:
                    changed[at : at + 4] = chance.choice(
                        (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1")
                    )
                case 3:
                    del changed[at : at + length]
                case 4:
                    changed[at:at] = changed[at : at + length]
                case 5:
                    del changed[max(at, 1) :]
            changed = changed or bytearray(b"\xff")
        yield bytes(changed)


def seeds() -> dict[str, bytes]:
    """Return small photographs of every format, so that many copies can be tried."""
    limit = 1_000_000 if LONG else 60_000
    small = {name: data for name, data in photographs().items() if 0 < len(data) <= limit}
    return small | {
        "made.dng": dng_with_preview(orientation=6),
        "bare.dng": dng(),
        "plain.dng": dng(bitmap=corners()),
        "made.raf": raf(landscape(60, 40)),
        "made.rw2": rw2(landscape(60, 40)),
        **{
            f"{compression}.tif": encoded(corners(), "TIFF", compression=compression)
            for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        },
        "large tags.tif": encoded(corners(), "TIFF", big_tiff=True),
        "pages.tif": encoded(corners(), "TIFF", save_all=True, append_images=[corners()] * 3),
    }


@pytest.mark.parametrize("seed", range(20) if LONG else (1,))
async def test_row_35_changed_photographs_are_decoded_or_refused_in_time(seed: int) -> None:
    chance = random.Random(seed)
    files = {
        f"{name} {number}": changed
        for name, data in seeds().items()
        for number, changed in enumerate(mutations(data, chance, 40 if LONG else 6))
    }

    found = {name: await outcomes(job, files) for name, job in JOBS.items()}
    told = await outcomes(lambda pool, data: pool.inspect(data), files)

    assert len(files) > 100
    assert {file: code for file, code in told.items() if code not in REFUSALS | {"done"}} == {}
    for name, codes in found.items():
        wrong = {file: code for file, code in codes.items() if code not in REFUSALS | {"done"}}
        assert (name, wrong) == (name, {})
        # What tries nothing but refusals has not met the decoders.
        assert {"done", "broken"} <= set(codes.values())


@pytest.mark.parametrize("seed", range(20) if LONG else (1,))
async def test_row_35_changed_photographs_under_the_decoder_of_their_format(seed: int) -> None:
    chance = random.Random(1_000 + seed)
    endings = {".tif": "tiff", ".tiff": "tiff", ".heic": "heif", ".heif": "heif", ".avif": "avif"}
    originals = {
        name: (data, endings[name[name.rindex(".") :].lower()])
        for name, data in photographs().items()
        if name.lower().endswith(tuple(endings)) and len(data) <= 2_000_000
    }
    files = {
        f"{name} {number}": (changed, image_format)
        for name, (data, image_format) in originals.items()
        for number, changed in enumerate(mutations(data, chance, 40 if LONG else 6))
    }
    pool = ImagingPool(2, limits=PATIENT)
    await pool.start()

    def hashed(data: bytes, image_format: str) -> Awaitable[str]:
        return outcome(pool, lambda pool, data: pool.hash_pixels(data, image_format), data)

    found = await asyncio.gather(*(hashed(*file) for file in files.values()))
    await pool.close()

    assert files
    assert set(found) <= REFUSALS | {"done"}


def inflating_text(length: int) -> bytes:
    """Return a small PNG with a compressed text that unpacks to length bytes."""
    payload = b"zTXtComment\0\0" + zlib.compress(bytes(length), 9)
    chunk = struct.pack(">I", len(payload) - 4) + payload + struct.pack(">I", zlib.crc32(payload))
    whole = png(8, 8, rows=[bytes(33)] * 8)
    return whole[:_AFTER_IHDR] + chunk + whole[_AFTER_IHDR:]


_AFTER_IHDR: Final = 33


def animation(frames: int) -> bytes:
    """Return a GIF of many frames, none like the one before."""
    images = [
        Image.new("RGB", (64, 64), (number % 256, number // 256, 7)) for number in range(frames)
    ]
    return encoded(images[0], "GIF", save_all=True, append_images=images[1:])


def bombs() -> dict[str, bytes]:
    """Return small files that promise or become much."""
    return {
        "a wide picture": png(2_000_000, 1),
        "a high picture": png(1, 2_000_000),
        "too many pixels": png(30_000, 30_000),
        "as many as 32 bits hold": png(0x7FFFFFFF, 0x7FFFFFFF),
        "rows that end early": png(10_000, 10_000, rows=[bytes(40_001)] * 100),
        "text that unpacks to a quarter of a gigabyte": inflating_text(1 << 28),
        "a thousand frames": animation(1_000),
    }


@pytest.mark.parametrize("name", JOBS)
async def test_row_35_a_bomb_is_refused_or_costs_little(name: str) -> None:
    files = bombs()

    found = await outcomes(JOBS[name], files)

    assert set(found.values()) <= REFUSALS | {"done"}
    assert found["too many pixels"] == found["as many as 32 bits hold"] == "too_large"
    assert max(map(len, files.values())) < 1_000_000
