"""Imaging: thumbnails through the pool against bare Pillow, and previews of large pictures.

Belongs here: measurements, each as a dict with what was measured and its figures.
Never here: assertions; the tests next to the code hold what must be true.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from node.imaging.errors import ImagingError
from node.imaging.formats import sniff
from node.imaging.made import made_pictures
from node.imaging.pool import ImagingPool, Mark, Strength
from node.imaging.rendition import make_thumbnails_untrusted
from tests.support import samples

SIZES = (256, 1024)
ROUNDS = 3
LARGE = (6000, 4000)
_MARK = Mark(name="Bob", words="", date="2026-11-22", code="3f9a12c4", strength=Strength.MEDIUM)


def run() -> list[dict[str, Any]]:
    """Measure; rates are pictures a second over all cores, best of three rounds."""
    cores = os.cpu_count() or 1
    photographs = _readable(samples("photos"))
    large = [made_pictures(1, LARGE)[0][1]] * 8
    return [
        _thumbnails("thumbnails of the sample photographs", photographs, cores),
        _thumbnails("thumbnails of 24-megapixel JPEGs", large, cores),
        *asyncio.run(_one_at_a_time(large[0])),
    ]


def _readable(folder: Path) -> list[bytes]:
    """Return the pictures that bare Pillow reads too: else there is nothing to compare with."""
    pictures = []
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if sniff(data[:32]) is not None:
            with contextlib.suppress(ImagingError, OSError, SyntaxError, ValueError):
                _same_steps(data)
                _bare_pillow(data)
                pictures.append(data)
    return pictures


def _thumbnails(what: str, pictures: list[bytes], cores: int) -> dict[str, Any]:
    """Alternate the ways, so that a noisy machine is noisy for all."""
    ways: dict[str, Callable[[], float]] = {
        "pool": lambda: asyncio.run(_pooled(pictures, cores)),
        "bare": lambda: _forked(_bare_pillow, pictures, cores),
        "same": lambda: _forked(_same_steps, pictures, cores),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, measure in ways.items():
            rates[way].append(len(pictures) / measure())
    best = {way: max(measured) for way, measured in rates.items()}
    return {
        "what": what,
        "pictures": len(pictures),
        "cores": cores,
        "pool_per_second": round(best["pool"], 1),
        "pool_per_second_and_core": round(best["pool"] / cores, 1),
        "bare_pillow_per_second": round(best["bare"], 1),
        "ratio_to_bare_pillow": round(best["pool"] / best["bare"], 2),
        "same_steps_without_pool_per_second": round(best["same"], 1),
        "ratio_to_same_steps": round(best["pool"] / best["same"], 2),
    }


def _forked(thumbnail: Callable[[bytes], int], pictures: list[bytes], cores: int) -> float:
    """Return the seconds that cores forked processes take; they inherit the pictures."""
    start = time.perf_counter()
    turn = multiprocessing.Value("i", 0)
    processes = [
        multiprocessing.get_context("fork").Process(target=_work, args=(thumbnail, pictures, turn))
        for _ in range(cores)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, "a way that stops early is not faster"
    return time.perf_counter() - start


def _work(thumbnail: Callable[[bytes], int], pictures: list[bytes], turn: Any) -> None:
    warnings.simplefilter("ignore")
    while True:
        with turn.get_lock():
            mine, turn.value = turn.value, turn.value + 1
        if mine >= len(pictures):
            return
        thumbnail(pictures[mine])


def _bare_pillow(data: bytes) -> int:
    """Do what a plain script does: draft-mode thumbnails of the same sizes and quality."""
    total = 0
    with Image.open(io.BytesIO(data)) as image:
        for size in sorted(SIZES, reverse=True):
            image.thumbnail((size, size))
            output = io.BytesIO()
            image.convert("RGB").save(output, "JPEG", quality=82)
            total += len(output.getvalue())
    return total


def _same_steps(data: bytes) -> int:
    """Do what a worker does, with nothing around it."""
    return len(make_thumbnails_untrusted(data, SIZES).encoded)


async def _pooled(pictures: list[bytes], cores: int) -> float:
    pool = ImagingPool(cores)
    await pool.start()
    try:
        start = time.perf_counter()
        await asyncio.gather(*(pool.measure_and_thumbnail(data, SIZES) for data in pictures))
        return time.perf_counter() - start
    finally:
        await pool.close()


async def _one_at_a_time(data: bytes) -> list[dict[str, Any]]:
    pool = ImagingPool()
    await pool.start()
    try:
        jobs = {
            "preview:2048 of a 24-megapixel JPEG": lambda: pool.render_preview(data, 2048),
            "the same with a watermark": lambda: pool.render_preview(data, 2048, mark=_MARK),
            "clean copy of a 24-megapixel JPEG, compared": lambda: pool.clean(data),
            "inspection of a 24-megapixel JPEG": lambda: pool.inspect(data),
            "1600x1000 pixels of a 24-megapixel JPEG": lambda: pool.pixels(data, 1600, 1000),
            "thumbnails of one 24-megapixel JPEG": lambda: pool.measure_and_thumbnail(data, SIZES),
        }
        return [await _latency(what, job) for what, job in jobs.items()]
    finally:
        await pool.close()


async def _latency(what: str, job: Any) -> dict[str, Any]:
    times = []
    for _ in range(10):
        start = time.perf_counter()
        await job()
        times.append((time.perf_counter() - start) * 1000)
    return {
        "what": what,
        "p50_ms": round(statistics.median(times), 1),
        "best_ms": round(min(times), 1),
        "worst_ms": round(max(times), 1),
    }


if __name__ == "__main__":
    for row in run():
        print(row)
